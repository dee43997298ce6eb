// What the pool can do: each model over all accounts, with why an account does not take part.

import { family, moment, spentUntil, stateOf, STATES } from "./accounts.js";
import { now } from "./clock.js";
import { floorOf } from "./floors.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */
/** @typedef {components["schemas"]["AccountLimit"]} Account */

/**
 * Tens of thousands of quotas are looked through once for the same data and not with every drawing. It depends on the
 * time, too, but not by the second: what is shown counts down by itself.
 */
const REMEMBERED_MS = 5_000;

/**
 * @template {object} T
 * @template R
 * @param {(data: T) => R} work
 * @returns {(data: T) => R}
 */
function remembered(work) {
  /** @type {WeakMap<T, { at: number, result: R }>} */
  const known = new WeakMap();
  return (data) => {
    const at = now();
    const before = known.get(data);
    if (before && Math.abs(at - before.at) < REMEMBERED_MS) {
      return before.result;
    }
    const result = work(data);
    known.set(data, { at, result });
    return result;
  };
}

/**
 * `ok`; `unknown`, it may be chosen though nothing is known of its quota; `below` its threshold; `spent`, its quota is used
 * up; `limited` by the upstream; `cooling`, it rests from all requests; `attention`, its owner has to act or it does not
 * answer; `disabled`; `none`, it has no quota of this model.
 * @typedef {"ok" | "unknown" | "below" | "spent" | "limited" | "cooling" | "attention" | "disabled" | "none"} SeatState
 */

/**
 * An account as one model sees it.
 * @typedef {object} Seat
 * @property {Account} account
 * @property {SeatState} state
 * @property {number} until When that ends, 0 where it is not known.
 * @property {number | null} fraction What is left of its quota.
 * @property {number} reset When the quota is full again, 0 where it is not known.
 * @property {{ value: number, from: "model" | "account" | "pool" }} floor
 */

/** @type {Record<SeatState, import("../ui/parts.js").Tone>} */
export const SEATS = {
  ok: "ok",
  unknown: "unknown",
  below: "warn",
  spent: "bad",
  limited: "cooling",
  cooling: "cooling",
  attention: "bad",
  disabled: "off",
  none: "off",
};

/**
 * An account as all models see it, worked out once for all of them.
 * @typedef {object} Standing
 * @property {import("./accounts.js").AccountState} state
 * @property {number} until
 * @property {import("./accounts.js").Group} group
 * @property {boolean} heard Whether anything is known of its quotas.
 */

/** @param {Account} account @returns {Standing} */
function standing(account) {
  const { state, until } = stateOf(account);
  return { state, until, group: STATES[state].group, heard: Object.values(account.limits).some(Boolean) };
}

/**
 * @param {Account} account
 * @param {string} model
 * @param {number} pool `globalQuotaThreshold`.
 * @param {Standing} [known]
 * @returns {Seat}
 */
export function seatOf(account, model, pool, known = standing(account)) {
  const quota = account.limits[model];
  const fraction = quota?.remainingFraction ?? null;
  const reset = moment(quota?.resetTime);
  const floor = floorOf(account, model, pool);
  /** @param {SeatState} state */
  const is = (state, until = 0) => ({ account, state, until, fraction, reset, floor });
  const { state, until, group, heard } = known;
  if (group === "disabled") {
    return is("disabled");
  }
  if (group === "attention") {
    return is("attention");
  }
  if (state === "cooling") {
    return is("cooling", until);
  }
  if (heard && !quota) {
    return is("none");
  }
  const limit = account.modelRateLimits[model];
  const spent = spentUntil(account, model);
  if (spent !== null) {
    return is(limit?.isRateLimited && fraction !== 0 ? "limited" : "spent", spent);
  }
  if (fraction === null) {
    return is("unknown");
  }
  return fraction < floor.value ? is("below", reset) : is("ok");
}

/**
 * A model over all accounts.
 * @typedef {object} Capacity
 * @property {string} model
 * @property {"claude" | "gemini" | "other"} family
 * @property {"ok" | "degraded" | "none"} state At least half of the accounts can serve it; fewer; no one.
 * @property {Seat[]} seats Of all accounts that might serve it, also disabled ones.
 * @property {number} usable
 * @property {number} of Accounts that are not disabled.
 * @property {number | null} average What is left on average of the quotas that are known and not kept away by their owners.
 * @property {number} reset The first time a quota is full again, 0 where none is known.
 * @property {number} back When the first account can serve it again, where none can; 0 where that is not known.
 * @property {[number, number]} floors The lowest and the highest threshold.
 * @property {boolean} pinned
 * @property {boolean} hidden
 */

/**
 * @param {AccountLimits} data
 * @param {string} model
 * @param {Standing[]} [standings] Of the accounts, in their order.
 * @returns {Capacity}
 */
export function capacityOf(data, model, standings = data.accounts.map(standing)) {
  const at = now();
  const seats = data.accounts
    .map((account, index) => seatOf(account, model, data.globalQuotaThreshold, standings[index]))
    .filter(({ state }) => state !== "none");
  const taking = seats.filter(({ state }) => state !== "disabled");
  const usable = taking.filter(({ state }) => state === "ok" || state === "unknown").length;
  const known = taking.filter(({ state, fraction }) => state !== "attention" && fraction !== null);
  const first = (/** @type {number[]} */ times) => Math.min(...times.filter((time) => time > at), Infinity);
  const reset = first(taking.filter(({ state }) => state !== "attention").map((seat) => seat.reset));
  const back = usable > 0 ? Infinity : first(taking.map(({ until }) => until));
  const floors = taking.map(({ floor }) => floor.value);
  return {
    model,
    family: family(model),
    state: usable === 0 ? "none" : usable * 2 < taking.length ? "degraded" : "ok",
    seats,
    usable,
    of: taking.length,
    average:
      known.length === 0
        ? null
        : known.reduce((sum, { fraction }) => sum + (fraction ?? 0), 0) / known.length,
    reset: reset === Infinity ? 0 : reset,
    back: back === Infinity ? 0 : back,
    floors: floors.length === 0 ? [0, 0] : [Math.min(...floors), Math.max(...floors)],
    pinned: data.modelConfig[model]?.pinned === true,
    hidden: data.modelConfig[model]?.hidden === true,
  };
}

/** All models; those that are pinned come first. */
export const capacities = remembered((/** @type {AccountLimits} */ data) => {
  const standings = data.accounts.map(standing);
  return data.models
    .map((model) => capacityOf(data, model, standings))
    .sort((a, b) => Number(b.pinned) - Number(a.pinned) || (a.model < b.model ? -1 : 1));
});

/** Those that are offered. */
export const offered = remembered((/** @type {Capacity[]} */ all) => all.filter((one) => !one.hidden));

/**
 * A family's models as one: the model of it that is best off, and what is left of all its quotas on average.
 * @param {Capacity[]} all
 * @param {"claude" | "gemini" | "other"} which
 */
export function familyOf(all, which) {
  const models = all.filter((one) => one.family === which && !one.hidden);
  const [best] = models.toSorted((a, b) => b.usable - a.usable || (b.average ?? 0) - (a.average ?? 0));
  let [sum, known] = [0, 0];
  for (const { seats } of models) {
    for (const { state, fraction } of seats) {
      if (state !== "attention" && state !== "disabled" && fraction !== null) {
        sum += fraction;
        known += 1;
      }
    }
  }
  return { models, best, average: known === 0 ? null : sum / known };
}

/**
 * A time in which an account could not serve a model.
 * @typedef {object} Span
 * @property {string} email
 * @property {string} model Empty for all models.
 * @property {string} reason As the pool names it: `quota`, `rate`, `capacity`, …
 * @property {number} from
 * @property {number} until
 * @property {boolean} known Whether the end is known.
 */

/**
 * Limits as they were told one by one, as spans; a later one of the same account and model goes on or takes its place.
 * @param {{ time: number, kind: string, email?: string, model?: string, reason?: string, until?: number }[]} events
 * @returns {Span[]}
 */
export function spansOf(events) {
  /** @type {Map<string, Span>} */
  const open = new Map();
  /** @type {Span[]} */
  const all = [];
  for (const { time, kind, email, model = "", reason = "", until } of events) {
    if (!email) {
      continue;
    }
    const key = `${email}\n${model}`;
    const before = open.get(key);
    if (kind === "limit.lifted") {
      if (before && before.until > time) {
        before.until = Math.max(before.from, time);
        before.known = true;
      }
      open.delete(key);
    } else if (kind === "limit.set") {
      if (before && before.until >= time && before.reason === reason) {
        before.until = Math.max(before.until, until ?? time);
        continue;
      }
      if (before && before.until > time) {
        before.until = time;
      }
      const span = { email, model, reason, from: time, until: until ?? time, known: until !== undefined };
      open.set(key, span);
      all.push(span);
    }
  }
  return all;
}

/**
 * What holds now, and is in none of the spans because nobody told when it began.
 * @param {Capacity[]} all
 * @param {Span[]} spans
 * @param {number} at
 * @param {number} to Until when it is drawn where no end is known.
 * @returns {Span[]}
 */
export function standingLimits(all, spans, at, to) {
  const told = new Set(
    spans.filter(({ until }) => until > at).map(({ email, model }) => `${email}\n${model}`),
  );
  /** @type {Span[]} */
  const found = [];
  for (const { model, seats } of all) {
    for (const { account, state, until } of seats) {
      if (
        (state === "limited" || state === "spent" || state === "cooling") &&
        !told.has(`${account.email}\n${model}`) &&
        !told.has(`${account.email}\n`)
      ) {
        const reason = state === "spent" ? "quota" : "rate";
        found.push({ email: account.email, model, reason, from: at, until: until || to, known: until > 0 });
      }
    }
  }
  return found;
}

/**
 * What is coming: when accounts come back and quotas are full again, the soonest first.
 * @param {Capacity[]} all
 * @returns {{ at: number, kind: "back" | "reset", model: string, emails: string[] }[]}
 */
export const comingOf = remembered((/** @type {Capacity[]} */ all) => {
  const at_ = now();
  /** @type {Map<string, { at: number, kind: "back" | "reset", model: string, emails: string[] }>} */
  const found = new Map();
  for (const { model, seats } of all) {
    for (const { state, until, reset, account } of seats) {
      const back = ["limited", "spent", "cooling", "below"].includes(state);
      const at = back && until > 0 ? until : reset;
      if (at <= at_ || state === "disabled" || state === "attention") {
        continue;
      }
      // To the minute: what the upstream says of several quotas differs by moments.
      const kind = back ? "back" : "reset";
      const key = `${kind} ${model} ${Math.round(at / 60_000)}`;
      const one = found.get(key);
      if (one) {
        one.emails.push(account.email);
      } else {
        found.set(key, { at, kind, model, emails: [account.email] });
      }
    }
  }
  return [...found.values()].sort((a, b) => a.at - b.at);
});
