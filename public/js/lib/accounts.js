// What an account is up to: one state each, with its reason, so that counts add up.

import { now } from "./clock.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AccountLimit"]} Account */

/**
 * `ready`; `cooling`, it rests from all requests; `limited`, all its models are limited or used up; `verify`, `signIn` and
 * `banned`, its owner has to act; `failing`, it does not answer; `disabled`; `unknown`, nothing was heard of it yet.
 * @typedef {"ready" | "cooling" | "limited" | "verify" | "signIn" | "banned" | "failing" | "disabled" | "unknown"} AccountState
 */
/** @typedef {"ready" | "resting" | "attention" | "disabled" | "unknown"} Group */

/** @type {Record<AccountState, { tone: import("../ui/parts.js").Tone, group: Group, rank: number }>} */
export const STATES = {
  banned: { tone: "bad", group: "attention", rank: 0 },
  signIn: { tone: "bad", group: "attention", rank: 1 },
  verify: { tone: "warn", group: "attention", rank: 2 },
  failing: { tone: "bad", group: "attention", rank: 3 },
  cooling: { tone: "cooling", group: "resting", rank: 4 },
  limited: { tone: "cooling", group: "resting", rank: 5 },
  unknown: { tone: "unknown", group: "unknown", rank: 6 },
  ready: { tone: "ok", group: "ready", rank: 7 },
  // As high as those in use: who switches one does not lose sight of it.
  disabled: { tone: "off", group: "disabled", rank: 7 },
};

/**
 * The state of an account, until when it lasts (0 where that is not known), and why.
 * @param {Account} account
 * @returns {{ state: AccountState, until: number, reason: string }}
 */
export function stateOf(account) {
  const reason = account.invalidReason ?? account.error ?? "";
  /** @param {AccountState} state */
  const is = (state, until = 0) => ({ state, until, reason });
  if (!account.enabled) {
    return is("disabled");
  }
  if (account.status === "banned") {
    return is("banned");
  }
  if (account.isInvalid) {
    return is(account.verifyUrl ? "verify" : "signIn");
  }
  if (account.status === "error") {
    return is("failing");
  }
  if ((account.cooldownUntil ?? 0) > now()) {
    return is("cooling", account.cooldownUntil ?? 0);
  }
  // Most can serve the first model that is looked at, and nothing more is worked out.
  let [heard, back] = [false, Infinity];
  for (const model in account.limits) {
    if (account.limits[model]) {
      heard = true;
      const end = spentUntil(account, model);
      if (end === null) {
        return is("ready");
      }
      back = end > 0 ? Math.min(back, end) : back;
    }
  }
  return heard ? is("limited", back < Infinity ? back : 0) : is("unknown");
}

/**
 * Until when an account cannot serve a model: `null` where it can, 0 where the end is not known.
 * @param {Account} account
 * @param {string} model
 * @returns {number | null}
 */
export function spentUntil(account, model) {
  const limit = account.modelRateLimits[model];
  if (limit?.isRateLimited && (limit.resetTime ?? Infinity) > now()) {
    return limit.resetTime ?? 0;
  }
  const quota = account.limits[model];
  if (quota?.remainingFraction === 0) {
    return moment(quota.resetTime);
  }
  return null;
}

/** Times that were read; a pool has few different ones, each many times over. @type {Map<string, number>} */
const moments = new Map();
const MOMENTS = 50_000;

/** A time of the gateway's in ms since the epoch, 0 where there is none. @param {string | null | undefined} text */
export function moment(text) {
  if (!text) {
    return 0;
  }
  let at = moments.get(text);
  if (at === undefined) {
    if (moments.size >= MOMENTS) {
      moments.clear();
    }
    at = Date.parse(text) || 0;
    moments.set(text, at);
  }
  return at;
}

/** States that only an account's owner can end. */
export const OWNED = /** @type {readonly string[]} */ (["signIn", "verify", "banned"]);

/** An account's own path of the API. @param {string} email */
export const pathOf = (email) => `api/accounts/${encodeURIComponent(email)}`;

/** @param {string} model @returns {"claude" | "gemini" | "other"} */
export function family(model) {
  return model.includes("claude") ? "claude" : model.includes("gemini") ? "gemini" : "other";
}

/**
 * What is left of the model of a family that is nearest to its end; `null` where nothing is known.
 * @param {Account} account
 * @param {"claude" | "gemini" | "other"} which
 */
export function tightest(account, which) {
  /** @type {{ model: string, fraction: number } | null} */
  let found = null;
  for (const model in account.limits) {
    const fraction = account.limits[model]?.remainingFraction;
    if (typeof fraction === "number" && (!found || fraction < found.fraction) && family(model) === which) {
      found = { model, fraction };
    }
  }
  return found;
}
