// Finding something by a few letters of it, best first.

/**
 * How well a search fits: the less, the better; `null` where it does not. All words must be there; a text that begins with
 * the search is best, then one of which a word begins with it, then one that has it anywhere.
 * @param {string} search
 * @param {string} label What is seen.
 * @param {string} [more] What it can be found by, too.
 * @returns {number | null}
 */
export function fit(search, label, more = "") {
  const words = folded(search).split(/\s+/).filter(Boolean);
  const [seen, hidden] = [folded(label), folded(more)];
  let sum = 0;
  for (const word of words) {
    const at = seen.indexOf(word);
    if (at === 0) {
      sum += 0;
    } else if (at > 0) {
      sum += begins(seen, word) ? 1 : 2;
    } else if (hidden.includes(word)) {
      sum += begins(hidden, word) || hidden.startsWith(word) ? 3 : 4;
    } else {
      return null;
    }
  }
  return sum;
}

/** Whether a word of the text begins with it; also `quotaThreshold` has a word `threshold`, of which case is gone. */
const begins = (/** @type {string} */ text, /** @type {string} */ word) =>
  text.split(/[^\p{L}\p{N}]+/u).some((one) => one.startsWith(word));

/** Without case and accents; Turkish dots too. @param {string} text */
const folded = (text) =>
  text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("ı", "i").replace(/\p{M}/gu, "");

/**
 * The best ones, as they came where they are as good.
 * @template {{ label: string, more?: string }} T
 * @param {string} search
 * @param {T[]} choices
 * @param {number} most
 * @returns {T[]}
 */
export function best(search, choices, most) {
  if (search.trim() === "") {
    return choices.slice(0, most);
  }
  return choices
    .map((choice) => ({ choice, rank: fit(search, choice.label, choice.more) }))
    .filter(({ rank }) => rank !== null)
    .sort((a, b) => Number(a.rank) - Number(b.rank))
    .slice(0, most)
    .map(({ choice }) => choice);
}
