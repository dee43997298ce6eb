// What the gateway has, kept fresh while anybody looks at it: by events where they come, else by asking again.

import { access, api, ApiError } from "./api.js";
import { on, stream } from "./live.js";
import { signal } from "./signal.js";

/**
 * `loading`: nothing there yet. `ok`. `stale`: what is there is old, for `error` kept it from being renewed. `error`:
 * nothing there, and why. `unauthorised`: nothing may be there.
 * @template T
 * @typedef {object} State
 * @property {"loading" | "ok" | "stale" | "error" | "unauthorised"} state
 * @property {T | undefined} data
 * @property {number} at When `data` was received, ms since the epoch by this machine's clock; 0 for never.
 * @property {ApiError | null} error
 * @property {boolean} busy Whether it is being asked for.
 */

/**
 * @template T
 * @typedef {object} Resource
 * @property {string} path
 * @property {() => State<T>} get Its state; a view that reads it is drawn again when it changes, and keeps it fresh.
 * @property {() => State<T>} peek
 * @property {() => Promise<void>} reload
 * @property {(change: (data: T) => T) => () => void} overlay Shows it changed, until the function it returns is called.
 */

/** While events come, asking is only for what they do not tell. */
const RARELY = 6;
/** What failed is tried again this soon, in ms, then half as soon each time. */
const RETRY_MS = 2_000;
/** Failures that may be over by then. @type {Set<import("./api.js").Failure>} */
const PASSING = new Set(["network", "timeout", "unavailable", "server", "limited"]);
/** Events come in swarms. */
const GATHER_MS = 200;
/** Seldom enough that a stream of events does not become a stream of requests. */
const APART_MS = 1_000;
/** Resources that nobody looks at and that are still kept, for an instant first paint. */
const KEPT = 40;

/** @type {Map<string, Resource<any>>} */
const all = new Map();
/** @typedef {Pick<Resource<any>, "peek" | "reload">} Watched */
/** @type {Set<Watched>} Those that are looked at. */
const watched = new Set();

/** When the oldest of what is on the screen was received; 0 while something was never. */
export const freshness = signal(0);
/** Whether anything on the screen is being asked for. */
export const busy = signal(false);

/** Looks at what is on the screen anew. */
export function survey() {
  const states = [...watched].map((one) => one.peek());
  freshness.set(states.length === 0 ? 0 : Math.min(...states.map((state) => state.at)));
  busy.set(states.some((state) => state.busy));
}

/**
 * Something that is on the screen without being a resource; to be surveyed when it changes.
 * @param {Watched} one
 * @returns {() => void} It is there no longer.
 */
export function join(one) {
  watched.add(one);
  survey();
  return () => {
    watched.delete(one);
    survey();
  };
}

/** Asks anew for everything that is on the screen. */
export async function reloadAll() {
  await Promise.all([...watched].map((one) => one.reload()));
}

/** @type {State<any>} */
const NOTHING = { state: "loading", data: undefined, at: 0, error: null, busy: false };

/**
 * The resource at a path; the same one for everybody.
 * @param {string} path Such as `api/accounts`.
 * @param {{ every?: number, events?: import("./live.js").About[], steady?: boolean }} [options] How many ms apart it is
 *   asked for while no events come (60,000); the events that make it be asked for; and whether they tell only some of
 *   its changes, so that it is asked for as often all the same.
 * @returns {Resource<any>}
 */
export function resource(path, options = {}) {
  const known = all.get(path);
  if (known) {
    all.delete(path);
    all.set(path, known);
    return known;
  }
  const made = make(path, options.every ?? 60_000, options.events ?? [], options.steady ?? false);
  all.set(path, made);
  for (const [name, old] of all) {
    if (all.size <= KEPT) {
      break;
    }
    if (!watched.has(old) && old !== made) {
      all.delete(name);
    }
  }
  return made;
}

/**
 * @param {string} path
 * @param {number} every
 * @param {import("./live.js").About[]} events
 * @param {boolean} steady
 * @returns {Resource<any>}
 */
function make(path, every, events, steady) {
  /** @type {((data: any) => any)[]} */
  let overlays = [];
  /** @type {any} */
  let base;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {AbortController | null} */
  let asking = null;
  let running = Promise.resolve();
  /** @type {Promise<void> | null} The one after it, where it was wished for meanwhile. */
  let next = null;
  let begun = 0;
  /** Since it was answered last. */
  let failures = 0;
  /** @type {(() => void)[]} */
  let ends = [];

  const state = signal(NOTHING, { watched: start, unwatched: stop });

  /** @param {Partial<State<any>>} change */
  function set(change) {
    const data = base === undefined ? undefined : overlays.reduce((shown, overlay) => overlay(shown), base);
    state.set({ ...state.peek(), ...change, data });
    survey();
  }

  /** @returns {Promise<void>} Ends when it is there as it is from now on. */
  function reload() {
    clearTimeout(timer);
    if (!asking) {
      running = read();
      return running;
    }
    // What is under way may have been read before what we were told of.
    next ??= running
      .catch(() => {})
      .then(() => {
        next = null;
        return watched.has(self) ? reload() : undefined;
      });
    return next;
  }

  async function read() {
    const own = new AbortController();
    asking = own;
    begun = Date.now();
    set({ busy: true });
    try {
      const data = await api(path, { signal: own.signal });
      base = data;
      failures = 0;
      set({ state: "ok", at: Date.now(), error: null, busy: false });
    } catch (error) {
      failed(error);
    } finally {
      if (asking === own) {
        asking = null;
      }
    }
    plan();
  }

  /** @param {unknown} error */
  function failed(error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    if (error.kind === "aborted") {
      set({ busy: false });
    } else if (error.kind === "unauthorised") {
      base = undefined;
      set({ state: "unauthorised", error, at: 0, busy: false });
    } else {
      failures += 1;
      set({ state: base === undefined ? "error" : "stale", error, busy: false });
    }
  }

  /** @param {number} [wait] */
  function plan(wait) {
    clearTimeout(timer);
    if (!watched.has(self) || document.hidden || access.peek() !== "in") {
      return;
    }
    timer = setTimeout(reload, wait ?? period());
  }

  function period() {
    const { error } = state.peek();
    if (error) {
      // A replica that went away is one of several: the next one may answer.
      const passing = PASSING.has(error.kind);
      return passing ? Math.min(every, RETRY_MS * 2 ** Math.min(failures - 1, 10)) : every;
    }
    const told = events.length > 0 && !steady && stream.peek() === "live";
    return told ? every * RARELY : every;
  }

  const soon = () => plan(Math.max(GATHER_MS, begun + APART_MS - Date.now()));

  function start() {
    watched.add(self);
    const shown = () => (document.hidden ? clearTimeout(timer) : plan(due()));
    document.addEventListener("visibilitychange", shown);
    ends = [
      on([...events, "gap"], soon),
      stream.subscribe(() => plan(due())),
      access.subscribe(() => (access.peek() === "in" ? reload() : forget())),
      () => document.removeEventListener("visibilitychange", shown),
    ];
    const age = Date.now() - state.peek().at;
    // Not while somebody is drawing.
    queueMicrotask(() => (age > APART_MS ? reload() : plan()));
    survey();
  }

  /** Until it is due, from when it was asked for last. */
  function due() {
    return Math.max(0, begun + period() - Date.now());
  }

  function stop() {
    watched.delete(self);
    clearTimeout(timer);
    ends.forEach((end) => end());
    ends = [];
    asking?.abort();
    asking = null;
    survey();
  }

  function forget() {
    asking?.abort();
    clearTimeout(timer);
    base = undefined;
    overlays = [];
    set({ state: "unauthorised", at: 0, error: null, busy: false });
  }

  const self = {
    path,
    get: state.get,
    peek: state.peek,
    reload,
    /** @param {(data: any) => any} change */
    overlay(change) {
      overlays = [...overlays, change];
      set({});
      return () => {
        overlays = overlays.filter((one) => one !== change);
        set({});
      };
    },
  };
  return self;
}

/** Forgets everything that was received; for a log-out. */
access.subscribe(() => {
  if (access.peek() !== "in") {
    for (const [path, one] of all) {
      if (!watched.has(one)) {
        all.delete(path);
      }
    }
  }
});
