// What needs somebody: the things that do not mend themselves, worst first, from what the gateway tells of itself.

import { STATES, stateOf } from "./accounts.js";
import { capacities } from "./pool.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["ReplicaView"]} Replica */

/**
 * @typedef {object} Known What is known; what is not there is not judged.
 * @property {components["schemas"]["StatusView"]} [status]
 * @property {components["schemas"]["AccountLimits"]} [limits]
 * @property {components["schemas"]["ReplicaList"]} [replicas]
 * @property {components["schemas"]["SettingsView"]} [settings]
 * @property {Lapsed[]} [lapsed] Replicas that ended without a word.
 */

/** @typedef {{ id: string, host: string, at: number }} Lapsed */

/**
 * `store`, it does not answer; `client`, Google refuses the OAuth client; `setup`, something required is not set up;
 * `rejected`, the shared settings are not in force; `capacity`, models that no account can serve; `banned`, `signIn`,
 * `verify` and `failing`, accounts of that state; `waiting`, accounts that wait for their owners, before more is known;
 * `lapsed` and `silent`, replicas; `drift`, replicas with older settings; `rules`, replicas with other rules; `versions`,
 * of several versions; `restart`, settings that wait for one.
 * @typedef {"store" | "client" | "setup" | "rejected" | "capacity" | "banned" | "signIn" | "verify" | "failing" | "waiting"
 *   | "lapsed" | "silent" | "drift" | "rules" | "versions" | "restart"} Kind
 */

/**
 * @typedef {object} Need
 * @property {Kind} kind
 * @property {"bad" | "warn" | "cooling"} tone
 * @property {number} n How many it concerns.
 * @property {string[]} names Which ones: addresses, models, hosts, versions or keys.
 */

/** A replica says every five seconds that it is there, and is lost after fifteen; in between it is silent. */
export const SILENT_MS = 9_000;

const RANKS = { bad: 0, warn: 1, cooling: 2 };

/** @param {Known} known @returns {Need[]} */
export function needs({ status, limits, replicas, settings, lapsed = [] }) {
  /** @type {Need[]} */
  const found = [];
  const add = (
    /** @type {Kind} */ kind,
    /** @type {Need["tone"]} */ tone,
    /** @type {string[]} */ names,
    n = names.length,
  ) => n > 0 && found.push({ kind, tone, n, names });

  if (status) {
    add("store", "bad", [], Number(!status.store.available));
    add("client", "bad", [], Number(status.oauthClientRefused));
    add(
      "setup",
      "bad",
      status.setup.filter(({ required }) => required).map(({ title }) => title),
    );
  }
  add("rejected", "bad", settings?.rejected ? [settings.rejected] : []);
  if (limits) {
    const models = capacities(limits).filter(
      ({ state, hidden, of }) => state === "none" && !hidden && of > 0,
    );
    add(
      "capacity",
      "bad",
      models.map(({ model }) => model),
    );
    for (const kind of /** @type {const} */ (["banned", "signIn", "verify", "failing"])) {
      const accounts = limits.accounts.filter((account) => stateOf(account).state === kind);
      add(
        kind,
        STATES[kind].tone === "warn" ? "warn" : "bad",
        accounts.map(({ email }) => email),
      );
    }
  } else {
    add("waiting", "warn", [], status?.accounts.invalid ?? 0);
  }
  const all = replicas?.replicas ?? [];
  const alive = new Set(all.map(({ id }) => id));
  const replaced = (/** @type {Lapsed} */ { host, at }) =>
    all.some((one) => one.host === host && one.startedAt >= at);
  add(
    "lapsed",
    "bad",
    lapsed.filter((one) => !alive.has(one.id) && !replaced(one)).map(({ host, id }) => host || id),
  );
  add(
    "silent",
    "warn",
    all.filter(({ lastSeenMs }) => lastSeenMs > SILENT_MS).map(({ host }) => host),
  );
  const newest = Math.max(0, ...all.map(({ settingsGeneration }) => settingsGeneration));
  add(
    "drift",
    "warn",
    all.filter(({ settingsGeneration }) => settingsGeneration < newest).map(({ host }) => host),
  );
  add("rules", "warn", [], Number(replicas?.scriptsEqual === false));
  add("versions", "cooling", (replicas?.versions ?? []).length > 1 ? (replicas?.versions ?? []) : []);
  add(
    "restart",
    "cooling",
    (settings?.rows ?? []).filter(({ pending }) => pending).map(({ key }) => key),
  );
  return found.sort((a, b) => RANKS[a.tone] - RANKS[b.tone]);
}
