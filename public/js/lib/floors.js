// Thresholds: down to which share of a quota an account is still chosen, and where that was said.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */
/** @typedef {components["schemas"]["AccountLimit"]} Account */

/**
 * What holds for a model of an account: said for the model, for the account, or for the pool.
 * @param {Pick<Account, "quotaThreshold" | "modelQuotaThresholds">} account
 * @param {string | null} model Null for what holds for models of which nothing is said.
 * @param {number} pool `globalQuotaThreshold`.
 * @returns {{ value: number, from: "model" | "account" | "pool" }}
 */
export function floorOf(account, model, pool) {
  const own = model === null ? undefined : account.modelQuotaThresholds[model];
  if (typeof own === "number") {
    return { value: own, from: "model" };
  }
  return typeof account.quotaThreshold === "number"
    ? { value: account.quotaThreshold, from: "account" }
    : { value: pool, from: "pool" };
}

/**
 * What is said at one place itself, and what would hold there without it.
 * @param {Pick<Account, "quotaThreshold" | "modelQuotaThresholds">} account
 * @param {string | null} model Null for the account's own.
 * @param {number} pool
 * @returns {{ own: number | null, inherited: { value: number, from: "account" | "pool" } }}
 */
export function floorAt(account, model, pool) {
  if (model === null) {
    return { own: account.quotaThreshold ?? null, inherited: { value: pool, from: "pool" } };
  }
  const inherited = floorOf(account, null, pool);
  return {
    own: account.modelQuotaThresholds[model] ?? null,
    inherited: { value: inherited.value, from: inherited.from === "account" ? "account" : "pool" },
  };
}

/**
 * What to send so that a threshold is `value`, or is inherited again with `null`. Of other models nothing is said:
 * somebody else may be changing theirs.
 * @param {string | null} model
 * @param {number | null} value
 */
export const floorChange = (model, value) =>
  model === null ? { quotaThreshold: value } : { modelQuotaThresholdChanges: { [model]: value } };

/**
 * The accounts with such a change made.
 * @param {AccountLimits} data
 * @param {ReadonlySet<string>} emails
 * @param {string | null} model
 * @param {number | null} value
 * @returns {AccountLimits}
 */
export const withFloor = (data, emails, model, value) => ({
  ...data,
  accounts: data.accounts.map((account) => {
    if (!emails.has(account.email)) {
      return account;
    }
    if (model === null) {
      const changed = { ...account, quotaThreshold: value ?? undefined };
      if (value === null) {
        delete changed.quotaThreshold;
      }
      return changed;
    }
    const models = { ...account.modelQuotaThresholds };
    if (value === null) {
      delete models[model];
    } else {
      models[model] = value;
    }
    return { ...account, modelQuotaThresholds: models };
  }),
});

/**
 * A percentage as it was typed: 0 to 99; `null` for nothing or anything else.
 * @param {string} text
 * @returns {number | null} A fraction.
 */
export function percentage(text) {
  const n = text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(n) ? Math.round(Math.min(99, Math.max(0, n))) / 100 : null;
}
