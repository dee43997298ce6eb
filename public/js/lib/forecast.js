// Until when quotas last: what the gateway foresees from the pace of the last hour.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["CapacityHistory"]} CapacityHistory */

/**
 * The models that run out before any of their quotas is full again, the soonest first.
 * @param {CapacityHistory | undefined} history
 * @param {{ model: string, reset: number }[]} all With the time of the next reset, 0 where it is not known.
 * @returns {{ model: string, at: number, perHour: number }[]}
 */
export function endings(history, all) {
  const resets = new Map(all.map(({ model, reset }) => [model, reset]));
  const found = [];
  for (const { model, runsOutAt, perHour } of history?.models ?? []) {
    const reset = resets.get(model);
    if (reset === undefined || runsOutAt === undefined || runsOutAt === null) {
      continue;
    }
    if (runsOutAt > (history?.now ?? 0) && (reset === 0 || runsOutAt < reset)) {
      found.push({ model, at: runsOutAt, perHour: perHour ?? 0 });
    }
  }
  return found.sort((a, b) => a.at - b.at);
}

/**
 * The history as a chart has it: one series for each of `models`, a gap where nothing is known.
 * @param {CapacityHistory} history
 * @param {string[]} models
 */
export function seriesOf(history, models) {
  const { stepMs } = history;
  const slot = (/** @type {number} */ at) => Math.floor(at / stepMs);
  const [first, last] = [slot(history.from) + 1, slot(history.now)];
  const times = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * stepMs);
  const known = new Map(history.models.map((one) => [one.model, one.points]));
  const series = models
    .filter((model) => known.has(model))
    .map((model) => {
      /** @type {(number | null)[]} */
      const values = times.map(() => null);
      for (const { time, left } of known.get(model) ?? []) {
        const index = slot(time) - first;
        if (index >= 0 && index < values.length) {
          values[index] = left;
        }
      }
      return { label: model, values };
    });
  return { times, series };
}
