// Keys that do something wherever the reader is, and what was pressed of a pair of them.

/** Pages by the letter that follows `g`. */
export const PLACES = /** @type {const} */ ({
  o: "overview",
  l: "live",
  r: "requests",
  u: "usage",
  c: "capacity",
  a: "accounts",
  k: "keys",
  f: "fleet",
  g: "logs",
  n: "connect",
  s: "settings",
  d: "audit",
});

/** What single keys do. */
export const SINGLE = /** @type {const} */ ({ "?": "help", "/": "search", r: "refresh", t: "attention" });

/** @typedef {{ does: "palette" | "help" | "search" | "refresh" | "attention" } | { does: "go", page: string }} Deed */

/**
 * @typedef {object} Pressed What of a keyboard's event counts.
 * @property {string} key
 * @property {boolean} ctrlKey
 * @property {boolean} metaKey
 * @property {boolean} altKey
 * @property {boolean} [repeat]
 */

/**
 * @param {Pressed} pressed
 * @param {{ writing: boolean, first: boolean, single: boolean }} where Whether the focus is in a field; whether `g` was
 *   pressed just before; whether single keys are wanted at all.
 * @returns {{ deed: Deed | null, first: boolean }} `first`: whether the next key belongs to this one.
 */
export function deed({ key, ctrlKey, metaKey, altKey, repeat }, { writing, first, single }) {
  const none = { deed: null, first: false };
  if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "k") {
    return { deed: repeat ? null : { does: "palette" }, first: false };
  }
  if (writing || !single || ctrlKey || metaKey || altKey || repeat) {
    return none;
  }
  if (first) {
    const page = key in PLACES ? PLACES[/** @type {keyof typeof PLACES} */ (key)] : "";
    return page ? { deed: { does: "go", page }, first: false } : none;
  }
  if (key === "g") {
    return { deed: null, first: true };
  }
  return key in SINGLE
    ? { deed: { does: SINGLE[/** @type {keyof typeof SINGLE} */ (key)] }, first: false }
    : none;
}
