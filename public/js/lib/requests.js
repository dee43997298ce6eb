// Requests in flight: how far each is, and whether it takes longer than it should. Requests that were answered: what they
// can be told apart by.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["LiveRequest"]} LiveRequest */
/** @typedef {components["schemas"]["LogLine"]} LogLine */

/** After so long without an account, an answer, or its end it is worth a look, in ms. */
export const PATIENCE = { waiting: 30_000, trying: 60_000, answering: 600_000, cancelled: 15_000 };

/** @type {Record<LiveRequest["state"], import("../ui/parts.js").Tone>} */
export const TONES = { waiting: "cooling", trying: "info", answering: "ok", cancelled: "off" };

/**
 * Whether it is stuck: it has been in one phase for longer than is usual.
 * @param {LiveRequest} request
 * @param {number} age How long ago it arrived, in ms.
 */
export function stuck(request, age) {
  const since = request.state === "answering" ? age - (request.firstEventMs ?? 0) : age;
  return since > PATIENCE[request.state];
}

/**
 * The samples of the last while, with one more.
 * @template {{ at: number }} T
 * @param {T[]} samples The oldest first.
 * @param {T} sample
 * @param {number} span In ms.
 */
export const sampled = (samples, sample, span) => [
  ...samples.filter(({ at }) => at > sample.at - span && at < sample.at),
  sample,
];

/** By what requests are told apart. @type {Record<string, (line: LogLine) => unknown>} */
export const FACETS = {
  outcome: ({ fields }) => fields?.outcome,
  model: ({ fields }) => fields?.["model.served"] ?? fields?.["model.asked"],
  key: ({ fields }) => fields?.["client.key.name"],
  replica: ({ pod }) => pod,
};

/** How long a slow one takes at least, in ms. */
export const SLOW = /** @type {const} */ ({ "1s": 1_000, "10s": 10_000, "60s": 60_000 });

/**
 * What there is of a facet, the most frequent first; what is chosen is among them.
 * @param {LogLine[]} lines @param {string} facet @param {string} chosen
 * @returns {string[]}
 */
export function choices(lines, facet, chosen) {
  /** @type {Map<string, number>} */
  const counts = new Map(chosen ? [[chosen, 0]] : []);
  for (const line of lines) {
    const value = FACETS[facet](line);
    if (value !== undefined && value !== null && value !== "") {
      counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
    }
  }
  return [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([value]) => value);
}

/**
 * @param {LogLine} line
 * @param {Record<string, string>} wish Values by facet, and `slow`; what is empty does not matter.
 */
export const passes = (line, wish) =>
  Object.entries(FACETS).every(([facet, value]) => !wish[facet] || String(value(line)) === wish[facet]) &&
  (!Object.hasOwn(SLOW, wish.slow ?? "") ||
    Number(line.fields?.total_ms) >= SLOW[/** @type {keyof typeof SLOW} */ (wish.slow)]);
