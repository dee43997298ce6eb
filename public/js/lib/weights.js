// What hybrid would choose with other weights. Each part of a score is a weight times a measure, so that the measures are
// known from an answer, and other weights can be tried without asking for anything.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SelectionCandidate"]} Candidate */
/** @typedef {"health" | "tokens" | "quota" | "rest" | "inFlight" | "affinity"} Part */
/** @typedef {Record<Part, number>} Weights */

/** The setting of each part's weight. @type {Record<Part, string>} */
export const KEYS = {
  health: "accountSelection.weights.health",
  tokens: "accountSelection.weights.tokens",
  quota: "accountSelection.weights.quota",
  rest: "accountSelection.weights.lru",
  inFlight: "accountSelection.weights.inFlight",
  affinity: "accountSelection.weights.affinity",
};

export const PARTS = /** @type {Part[]} */ (Object.keys(KEYS));

/** The first of these that anybody is in is chosen from. */
const TIERS = ["normal", "quota", "emergency", "lastResort", "probe"];

/**
 * Whether a part's measure is known: with a weight of nothing it cannot be worked out of a score.
 * @param {Part} part @param {Weights} now
 */
export const known = (part, now) => now[part] !== 0 || part === "inFlight";

/**
 * The score with other weights; `null` where there is none.
 * @param {Candidate} one
 * @param {Weights} now The weights that the answer was made with.
 * @param {Weights} wish
 */
export function scored(one, now, wish) {
  const { parts } = one;
  if (!parts) {
    return null;
  }
  return PARTS.reduce((sum, part) => {
    if (now[part] !== 0) {
      return sum + (parts[part] / now[part]) * wish[part];
    }
    return part === "inFlight" ? sum - (one.inFlight ?? 0) * wish[part] : sum;
  }, 0);
}

/**
 * Who would be chosen of those that can be used: of the best tier, the highest score; `null` where nobody can.
 * @param {Candidate[]} candidates @param {Weights} now @param {Weights} wish
 * @returns {Candidate | null}
 */
export function winner(candidates, now, wish) {
  /** @type {{ one: Candidate, tier: number, score: number } | null} */
  let best = null;
  for (const one of candidates) {
    const score = scored(one, now, wish);
    if (one.verdict !== "usable" || score === null) {
      continue;
    }
    const place = TIERS.indexOf(one.tier ?? "normal");
    const tier = place < 0 ? TIERS.length : place;
    if (
      !best ||
      tier < best.tier ||
      (tier === best.tier && (score > best.score || (score === best.score && one.chosen)))
    ) {
      best = { one, tier, score };
    }
  }
  return best?.one ?? null;
}
