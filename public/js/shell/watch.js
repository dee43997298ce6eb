// Keeps an eye on what the header counts, without holding any of it on the screen: seldom, and when events say so.

import { needs } from "../lib/attention.js";
import { access } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { on, stream } from "../lib/live.js";
import { joined, lost, LOST_MS, past } from "../lib/past.js";
import { resource } from "../lib/resource.js";
import { attention } from "./bell.js";

/** How far apart it is asked for, in ms: what is small, and the accounts with all their quotas. */
const [SMALL_MS, LARGE_MS] = [60_000, 300_000];
/** After a log-in it is not in the way of the page that is opened first; and events come in swarms. */
const [FIRST_MS, GATHER_MS] = [1_500, 3_000];

/** The accounts are asked for no more often than that, however much happens. */
const APART_MS = 10_000;
/** Events that are remembered at most. */
const MOST = 500;

// The same options as the pages have: whoever asks first decides.
/** @type {() => import("../lib/resource.js").Resource<any>} */
const status = () =>
  resource("api/status", { every: 15_000, events: ["account", "limit", "settings", "key"] });
/** @type {() => import("../lib/resource.js").Resource<any>} */
const replicas = () =>
  resource("api/replicas", { every: 5_000, events: ["replica", "settings"], steady: true });
/** @type {() => import("../lib/resource.js").Resource<any>} */
const limits = () => resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });
/** @type {() => import("../lib/resource.js").Resource<any>} */
const settings = () => resource("api/settings", { events: ["settings"] });

/** That replicas came and went, the oldest first. @type {import("../lib/past.js").Told[]} */
let events = [];
/** @type {Record<"accounts" | "rest", ReturnType<typeof setTimeout> | undefined>} */
const soon = { accounts: undefined, rest: undefined };
/** When the accounts were asked for last. */
let large = 0;
/** When something was told last: what was asked for before does not know of it. */
let news = 0;

/** Works it out of what is there. */
export function judge() {
  const known = {
    status: status().peek().data,
    replicas: replicas().peek().data,
    limits: limits().peek().data,
    settings: settings().peek().data,
    // Which ones are there is known there, too.
    lapsed: lost(events, new Set(), now() - LOST_MS),
  };
  attention.set(known.status || known.limits ? needs(known) : null);
}

/**
 * Asks for it.
 * @param {{ accounts?: boolean, now?: boolean }} [what] Whether also for the accounts with all their quotas, which are asked
 *   for seldom else; and whether also for what was told just before.
 */
export async function look({ accounts = false, now: always = false } = {}) {
  if (access.peek() !== "in") {
    return;
  }
  const begun = Date.now();
  const wanted = [status(), replicas(), settings()];
  if (accounts || begun - large > LARGE_MS) {
    large = begun;
    wanted.push(limits());
  }
  // What a page keeps fresh need not be asked for twice.
  await Promise.all(
    wanted.map((one) => {
      const { at } = one.peek();
      return always || at <= news || begun - at > GATHER_MS ? one.reload() : undefined;
    }),
  );
  judge();
}

/** Looks a little later, once for all that happens until then. @param {boolean} accounts @param {number} wait In ms. */
function plan(accounts, wait) {
  news = Date.now();
  const name = accounts ? "accounts" : "rest";
  soon[name] ??= setTimeout(() => {
    soon[name] = undefined;
    if (!document.hidden) {
      look({ accounts });
    }
  }, wait);
}

/** Reads what the pool remembers of replicas. */
function remember() {
  if (access.peek() === "in" && stream.peek() === "live") {
    past("replica", (found) => {
      events = joined(found, events);
      judge();
    });
  }
}

/**
 * Begins; called once, a moment after somebody was let in.
 * @param {number} since When something was told last, ms since the epoch.
 */
export function begin(since) {
  news = since;
  access.subscribe(() => {
    if (access.peek() === "in") {
      plan(true, FIRST_MS);
      setTimeout(remember, FIRST_MS);
    } else {
      // What was known is not for whoever comes next.
      attention.set(null);
      events = [];
      large = 0;
    }
  });
  look({ accounts: true });
  remember();
  setInterval(() => !document.hidden && look(), SMALL_MS);
  on(["replica"], (event) => {
    events = [...events, event].slice(-MOST);
  });
  on(["replica", "settings", "key"], () => plan(false, GATHER_MS));
  on(["account"], () => plan(true, Math.max(GATHER_MS, large + APART_MS - Date.now())));
}
