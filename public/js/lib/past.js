// What the pool remembers of its events: asked for once, when a page opens that tells of the past.

import { address } from "./api.js";
import { on } from "./live.js";

/** @typedef {import("./live.js").About} About */
/** @typedef {{ time: number, kind: string, replica?: string, host?: string, [more: string]: any }} Told */

/** How long it is told that a replica was lost, in ms. */
export const LOST_MS = 3_600_000;
/** Events that are kept at most. */
const MOST = 5_000;
/** After so long without the first event, or so long after the latest one, there are no more of them. */
const [FIRST_MS, NEXT_MS] = [4_000, 300];

/**
 * Reads what is kept of events of one kind, the oldest first.
 * @param {About} about
 * @param {(events: any[]) => void} heard Called once, with all of them.
 * @returns {() => void} Ends it early.
 */
export function past(about, heard) {
  const source = new EventSource(address(`api/events?about=${about}&history=true`));
  /** @type {any[]} */
  const found = [];
  const end = () => {
    clearTimeout(timer);
    source.close();
    if (!ended) {
      ended = true;
      heard(found);
    }
  };
  let ended = false;
  let timer = setTimeout(end, FIRST_MS);
  source.addEventListener(about, (message) => {
    found.push(JSON.parse(message.data));
    clearTimeout(timer);
    timer = setTimeout(end, NEXT_MS);
  });
  source.onerror = end;
  return () => {
    ended = true;
    end();
  };
}

/**
 * What is remembered and what was told meanwhile, the oldest first, each once.
 * @template {Told} T
 * @param {T[]} remembered
 * @param {T[]} told
 * @returns {T[]}
 */
export function joined(remembered, told) {
  const key = (/** @type {T} */ { time, kind, replica, account, model }) =>
    [time, kind, replica, account, model].join(" ");
  const known = new Set(remembered.map(key));
  return [...remembered, ...told.filter((one) => !known.has(key(one)))].slice(-MOST);
}

/**
 * Follows events of one kind: those that are remembered, and those that come.
 * @param {About} about
 * @param {(events: any[]) => void} heard Called with all of them, the oldest first, each time there are more.
 * @returns {() => void} Ends it.
 */
export function follow(about, heard) {
  /** @type {any[]} */
  let events = [];
  const keep = (/** @type {any[]} */ all) => {
    events = all;
    heard(all);
  };
  const ends = [
    past(about, (found) => keep(joined(found, events))),
    on([about], (event) => keep([...events, event].slice(-MOST))),
  ];
  return () => ends.forEach((end) => end());
}

/**
 * The replicas that ended without a word and did not come back, the latest first.
 * @param {Told[]} events Of replicas, the oldest first.
 * @param {Set<string>} there The ids of those that are known now.
 * @param {number} since Earlier ones are left out, ms since the epoch.
 * @returns {{ id: string, host: string, at: number }[]}
 */
export function lost(events, there, since) {
  /** @type {Map<string, { id: string, host: string, at: number }>} */
  const gone = new Map();
  for (const { kind, replica, host, time } of events) {
    if (!replica) {
      continue;
    }
    if (kind === "replica.lapsed" && time >= since) {
      gone.set(replica, { id: replica, host: host ?? replica, at: time });
    } else {
      gone.delete(replica);
    }
  }
  return [...gone.values()].filter(({ id }) => !there.has(id)).sort((a, b) => b.at - a.at);
}
