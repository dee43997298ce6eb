// What is in a file of accounts, before it is sent: an array or `{ accounts: […] }`, with either spelling of the secrets.

/**
 * `new`; `update`, the pool has the account; `twice`, an entry before has the same address; `invalid`.
 * @typedef {{ email: string, outcome: "new" | "update" | "twice" | "invalid", problem?: "email" | "secret" | "both" | "entry" }} Row
 */

const ADDRESS = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

/**
 * @param {string} text
 * @param {Iterable<string>} known Addresses that the pool has.
 * @returns {{ rows: Row[], entries: unknown[] } | { error: "json" | "shape" | "none" }} `entries` are those worth sending.
 */
export function preview(text, known) {
  let document_;
  try {
    document_ = JSON.parse(text);
  } catch {
    return { error: "json" };
  }
  const entries = Array.isArray(document_) ? document_ : document_?.accounts;
  if (!Array.isArray(entries)) {
    return { error: "shape" };
  }
  if (entries.length === 0) {
    return { error: "none" };
  }
  const pool = new Set([...known].map((email) => email.toLowerCase()));
  const seen = new Set();
  const rows = entries.map((entry) => {
    const row = check(entry);
    const key = row.email.toLowerCase();
    if (row.outcome === "invalid") {
      return row;
    }
    if (seen.has(key)) {
      return { ...row, outcome: /** @type {const} */ ("twice") };
    }
    seen.add(key);
    return {
      ...row,
      outcome: pool.has(key) ? /** @type {const} */ ("update") : /** @type {const} */ ("new"),
    };
  });
  return { rows, entries: entries.filter((_, index) => ["new", "update"].includes(rows[index].outcome)) };
}

/** @param {any} entry @returns {Row} */
function check(entry) {
  if (entry === null || typeof entry !== "object" || Array.isArray(entry)) {
    return { email: "", outcome: "invalid", problem: "entry" };
  }
  const email = typeof entry.email === "string" ? entry.email.trim() : "";
  const text = (/** @type {unknown} */ value) => typeof value === "string" && value.trim() !== "";
  const token = text(entry.refresh_token) || text(entry.refreshToken);
  const key = text(entry.api_key) || text(entry.apiKey);
  if (!ADDRESS.test(email)) {
    return { email, outcome: "invalid", problem: "email" };
  }
  if (!token && !key) {
    return { email, outcome: "invalid", problem: "secret" };
  }
  return { email, outcome: "new" };
}
