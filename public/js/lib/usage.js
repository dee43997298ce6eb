// Usage as charts and tables have it.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["UsageReport"]} UsageReport */
/** @typedef {components["schemas"]["UsageGroup"]} UsageGroup */
/** @typedef {components["schemas"]["UsageNumbers"]} UsageNumbers */
/** @typedef {"model" | "key" | "status"} Dimension */
/** @typedef {"requests" | "failed" | "tokens" | "input" | "output" | "latency"} Metric */

const LENGTHS = { hour: 3_600_000, day: 86_400_000 };

/** @param {UsageNumbers} [more] */
const nothing = (more) => ({
  requests: 0,
  failed: 0,
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  thinkingTokens: 0,
  latencyMs: 0,
  ...more,
});
/** @typedef {ReturnType<typeof nothing>} Sums */

/** How a request ended where it is its client's or its own success. */
const FINE = ["success", "cancelled", "unknown"];

/** @param {Sums} sums @param {UsageGroup} row */
function add(sums, row) {
  sums.requests += row.requests;
  sums.failed += row.status && !FINE.includes(row.status) ? row.requests : 0;
  sums.inputTokens += row.inputTokens;
  sums.outputTokens += row.outputTokens;
  sums.cacheReadTokens += row.cacheReadTokens;
  sums.thinkingTokens += row.thinkingTokens;
  sums.latencyMs += row.latencyMs;
}

/** @param {UsageGroup[]} rows */
export function sum(rows) {
  const sums = nothing();
  rows.forEach((row) => add(sums, row));
  return sums;
}

/** A figure of some sums; `null` where there is none. @param {Sums} sums @param {Metric} metric */
export function figure(sums, metric) {
  switch (metric) {
    case "tokens":
      return sums.inputTokens + sums.cacheReadTokens + sums.outputTokens;
    case "input":
      return sums.inputTokens + sums.cacheReadTokens;
    case "output":
      return sums.outputTokens;
    case "latency":
      return sums.requests > 0 ? sums.latencyMs / sums.requests : null;
    default:
      return sums[metric];
  }
}

/**
 * The groups of a report, the largest first.
 * @param {UsageGroup[]} rows @param {Dimension | "none"} by @param {Metric} metric
 * @returns {{ name: string, sums: Sums, rows: UsageGroup[] }[]}
 */
export function grouped(rows, by, metric) {
  /** @type {Map<string, UsageGroup[]>} */
  const groups = new Map();
  for (const row of rows) {
    const name = by === "none" ? "" : (row[by] ?? "");
    const list = groups.get(name) ?? [];
    list.push(row);
    groups.set(name, list);
  }
  return [...groups]
    .map(([name, list]) => ({ name, sums: sum(list), rows: list }))
    .sort(
      (a, b) => (figure(b.sums, metric) ?? 0) - (figure(a.sums, metric) ?? 0) || (a.name < b.name ? -1 : 1),
    );
}

/** The beginnings of a report's steps. @param {Pick<UsageReport, "from" | "to" | "step">} report */
export function steps({ from, to, step }) {
  const length = LENGTHS[step];
  return Array.from({ length: Math.max(0, Math.round((to - from) / length)) }, (_, n) => from + n * length);
}

/**
 * A value for each step: nothing asked is 0, but a mean of nothing is a gap.
 * @param {UsageGroup[]} rows @param {number[]} times @param {Metric} metric
 */
export function line(rows, times, metric) {
  /** @type {Map<number, Sums>} */
  const at = new Map();
  for (const row of rows) {
    const sums = at.get(row.at) ?? nothing();
    add(sums, row);
    at.set(row.at, sums);
  }
  return times.map((time) => figure(at.get(time) ?? nothing(), metric));
}

/**
 * How much more or less, as a fraction; `null` where there was nothing before.
 * @param {number | null} now @param {number | null} before
 */
export const change = (now, before) => (now === null || !before ? null : (now - before) / before);

/**
 * When a range begins, on a whole step so that the question stays the same for a while.
 * @param {number} now @param {number} days
 */
export function range(now, days) {
  /** @type {"day" | "hour"} */
  const step = days > 7 ? "day" : "hour";
  const length = LENGTHS[step];
  const to = Math.floor(now / length) * length + length;
  return { step, from: to - days * 86_400_000, to };
}
