// Figures, times and sizes as the reader's language writes them. What is not known is a dash, never a zero.

import { now } from "./clock.js";
import { language, region } from "./i18n.js";

export const UNKNOWN = "–";

/** @type {Map<string, any>} */
const made = new Map();

/**
 * @template T
 * @param {string} kind
 * @param {(code: string) => T} make
 * @returns {T}
 */
function cached(kind, make) {
  const code = language.get();
  const key = `${code} ${kind}`;
  if (!made.has(key)) {
    made.set(key, make(code));
  }
  return made.get(key);
}

/** @param {Intl.NumberFormatOptions} options @returns {(n: number) => string} */
function numbers(options) {
  const formatter = cached(JSON.stringify(options), (code) => new Intl.NumberFormat(code, options));
  return (n) => formatter.format(n);
}

/** @param {unknown} n @returns {n is number} */
const known = (n) => typeof n === "number" && Number.isFinite(n);

/**
 * `12,345`
 * @param {number | null | undefined} n
 * @param {number} [digits] At most so many after the point.
 */
export const number = (n, digits = 0) => (known(n) ? numbers({ maximumFractionDigits: digits })(n) : UNKNOWN);

/**
 * `12.3K`, for tokens and other large counts.
 * @param {number | null | undefined} n
 */
export const compact = (n) =>
  known(n)
    ? numbers(n < 1000 ? { maximumFractionDigits: 0 } : { notation: "compact", maximumFractionDigits: 1 })(n)
    : UNKNOWN;

/**
 * `76%` of 0.76.
 * @param {number | null | undefined} fraction
 * @param {number} [digits]
 */
export const percent = (fraction, digits = 0) =>
  known(fraction) ? numbers({ style: "percent", maximumFractionDigits: digits })(fraction) : UNKNOWN;

const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/**
 * `1.2 MB` of 1,234,567.
 * @param {number | null | undefined} n
 */
export function bytes(n) {
  if (!known(n)) {
    return UNKNOWN;
  }
  let step = 0;
  let value = n;
  while (Math.abs(value) >= 1000 && step < BYTES.length - 1) {
    value /= 1000;
    step += 1;
  }
  return numbers({
    style: "unit",
    unit: BYTES[step],
    unitDisplay: "short",
    maximumFractionDigits: value < 10 && step > 0 ? 1 : 0,
  })(value);
}

const UNITS = /** @type {const} */ ([
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
]);

/** @param {number} n @param {string} name */
const unit = (n, name) => numbers({ style: "unit", unit: name, unitDisplay: "narrow" })(n);

/**
 * `2h 5m` of a length in ms: its two largest units; `340ms` and `1.4s` of short ones.
 * @param {number | null | undefined} ms
 */
export function duration(ms) {
  if (!known(ms)) {
    return UNKNOWN;
  }
  if (ms < 1000) {
    return unit(Math.round(Math.max(0, ms)), "millisecond");
  }
  if (ms < 10_000) {
    return numbers({ style: "unit", unit: "second", unitDisplay: "narrow", maximumFractionDigits: 1 })(
      ms / 1000,
    );
  }
  return long(ms);
}

/**
 * `2h 5m`, in whole seconds.
 * @param {number} ms
 */
export function long(ms) {
  let rest = Math.max(0, Math.round(ms / 1000)) * 1000;
  const first = UNITS.findIndex(([, length]) => rest >= length);
  const said = [];
  for (const [name, length] of first < 0 ? UNITS.slice(3) : UNITS.slice(first, first + 2)) {
    const n = Math.floor(rest / length);
    rest -= n * length;
    if (n > 0 || said.length === 0) {
      said.push(unit(n, name));
    }
  }
  return said.join(" ");
}

/**
 * `3 minutes ago`, `in 2 hours`.
 * @param {number | null | undefined} at ms since the epoch, by the gateway's clock.
 */
export function relative(at) {
  if (!known(at)) {
    return UNKNOWN;
  }
  const away = at - now();
  const [name, length] = UNITS.find(([, ms]) => Math.abs(away) >= ms) ?? UNITS[3];
  const formatter = cached(
    "relative",
    (code) => new Intl.RelativeTimeFormat(code, { numeric: "auto", style: "short" }),
  );
  return formatter.format(Math.trunc(away / length), name);
}

/**
 * What is left until then, `2h 5m`; nothing once it is over.
 * @param {number} at
 */
export const until = (at) => (at <= now() ? "" : long(at - now()));

/** @param {string} kind @param {Intl.DateTimeFormatOptions} options */
const dates = (kind, options) => cached(kind, () => new Intl.DateTimeFormat(region(), options));

/**
 * `27 Nov 2026, 21:40:53`
 * @param {number | null | undefined} at
 */
export const dateTime = (at) =>
  known(at) ? dates("dateTime", { dateStyle: "medium", timeStyle: "medium" }).format(at) : UNKNOWN;

/**
 * `21:40`
 * @param {number | null | undefined} at
 */
export const time = (at) => (known(at) ? dates("time", { timeStyle: "short" }).format(at) : UNKNOWN);

/**
 * `a, b and c`
 * @param {string[]} words
 */
export const list = (words) =>
  cached("list", (code) => new Intl.ListFormat(code, { type: "conjunction" })).format(words);

/**
 * Makes what could deceive the eye visible: control characters and marks that turn text around.
 * @param {string} text
 */
export const plain = (text) =>
  text.replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
