// Usage as series: every step has a place, also those in which nothing was asked for.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["UsageReport"]} UsageReport */
/** @typedef {components["schemas"]["UsageGroup"]} UsageGroup */

export const HOUR = 3_600_000;

/**
 * @param {UsageReport} report
 * @param {(group: UsageGroup) => string} name Of the series that a group belongs to.
 * @param {number} most So many series at most; the smallest are put together under an empty name.
 * @returns {{ times: number[], series: { name: string, values: number[], total: number }[] }} The largest first.
 */
export function volume(report, name, most = 7) {
  const step = report.step === "day" ? 24 * HOUR : HOUR;
  const count = Math.max(0, Math.round((report.to - report.from) / step));
  const times = Array.from({ length: count }, (_, index) => report.from + index * step);
  /** @type {Map<string, number[]>} */
  const all = new Map();
  for (const group of report.usage) {
    const index = Math.round((group.at - report.from) / step);
    if (index < 0 || index >= count) {
      continue;
    }
    const key = name(group);
    const values = all.get(key) ?? times.map(() => 0);
    values[index] += group.requests;
    all.set(key, values);
  }
  const series = [...all]
    .map(([key, values]) => ({ name: key, values, total: values.reduce((sum, n) => sum + n, 0) }))
    .sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
  if (series.length > most) {
    const rest = series.splice(most - 1);
    series.push({
      name: "",
      values: times.map((_, index) => rest.reduce((sum, { values }) => sum + values[index], 0)),
      total: rest.reduce((sum, { total }) => sum + total, 0),
    });
  }
  return { times, series };
}
