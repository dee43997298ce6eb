// A range of time as the address has it: `15m` before now, or a moment; and as fields for local times have it.

/** How long ago the usual ranges begin, in ms. */
export const AGO = /** @type {const} */ ({
  "15m": 900_000,
  "1h": 3_600_000,
  "6h": 21_600_000,
  "24h": 86_400_000,
});

/**
 * @param {string} text `15m`, or a time such as `2026-11-23T15:00:00.000Z`.
 * @param {number} now
 * @returns {number | null} Ms since the epoch; `null` where it is none.
 */
export function moment(text, now) {
  if (Object.hasOwn(AGO, text)) {
    return now - AGO[/** @type {keyof typeof AGO} */ (text)];
  }
  const at = Date.parse(text);
  return Number.isFinite(at) ? at : null;
}

/** For `<input type="datetime-local">`, in this machine's zone. @param {number | null} at */
export function local(at) {
  if (at === null) {
    return "";
  }
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** And back. @param {string} text @returns {string} A time of the world; empty where there is none. */
export function utc(text) {
  const at = new Date(text);
  return text && Number.isFinite(at.getTime()) ? at.toISOString() : "";
}
