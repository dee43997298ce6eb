// What happens in the pool, as it happens: one event stream per tab, gone on from where it broke off.

import { access, address, api } from "./api.js";
import { signal } from "./signal.js";

/** @typedef {"account" | "limit" | "settings" | "replica" | "key" | "models" | "request" | "gap"} About */

/** @type {About[]} */
const NAMES = ["account", "limit", "settings", "replica", "key", "models", "request", "gap"];
/** A hidden tab gives its connection back after this long: browsers have six per gateway. */
const HIDDEN_MS = 30_000;
const [FIRST_RETRY_MS, LAST_RETRY_MS] = [2_000, 30_000];

/**
 * `live`: changes are told at once. `connecting`: not yet, or not any more. `polling`: the stream does not work here, so
 * everything is asked for instead. `paused`: nobody looks.
 */
export const stream = signal(/** @type {"connecting" | "live" | "polling" | "paused"} */ ("connecting"));

/** @type {Map<About, Set<(event: any, about: About) => void>>} */
const listeners = new Map();
/** @type {EventSource | null} */
let source = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let retry;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding;
let failures = 0;
let lastId = "";
let started = false;

/**
 * Calls `listener` with each event of these kinds; returns the way to end that.
 * @param {About[]} abouts
 * @param {(event: any, about: About) => void} listener
 */
export function on(abouts, listener) {
  for (const about of abouts) {
    const set = listeners.get(about) ?? new Set();
    set.add(listener);
    listeners.set(about, set);
  }
  return () => abouts.forEach((about) => listeners.get(about)?.delete(listener));
}

/** @param {About} about @param {any} event */
function tell(about, event) {
  listeners.get(about)?.forEach((listener) => listener(event, about));
}

function open() {
  close();
  stream.set(failures > 1 ? "polling" : "connecting");
  const since = lastId ? `?since=${encodeURIComponent(lastId)}` : "";
  const opened = new EventSource(address(`api/events${since}`));
  source = opened;
  opened.onopen = () => {
    const missed = failures > 0 && !lastId;
    failures = 0;
    stream.set("live");
    if (missed) {
      tell("gap", { kind: "gap" });
    }
  };
  opened.onerror = () => {
    failures += 1;
    stream.set(failures > 1 ? "polling" : "connecting");
    if (opened.readyState === EventSource.CLOSED) {
      close();
      retry = setTimeout(open, Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LAST_RETRY_MS));
      // Browsers do not say why. Where our session has ended, nothing may be shown any longer.
      api("api/session").catch(() => {});
    }
  };
  for (const about of NAMES) {
    opened.addEventListener(about, (message) => {
      lastId = message.lastEventId || lastId;
      tell(about, JSON.parse(message.data));
    });
  }
}

function close() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

function visibility() {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      close();
      stream.set("paused");
    }, HIDDEN_MS);
  } else if (stream.peek() === "paused") {
    open();
  }
}

/** Follows the stream as long as we are let in. */
export function start() {
  if (started) {
    return;
  }
  started = true;
  document.addEventListener("visibilitychange", visibility);
  const follow = () => {
    if (access.peek() === "in") {
      open();
    } else {
      close();
      lastId = "";
      failures = 0;
    }
  };
  access.subscribe(follow);
  follow();
}
