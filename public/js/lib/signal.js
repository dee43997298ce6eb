// Values that tell who read them when they change: about all the state management the console has.

/** @type {Set<Source> | null} The reads of what runs now. */
let reads = null;

/** @typedef {{ add(watcher: () => void): void, delete(watcher: () => void): void }} Source */

/**
 * @template T
 * @typedef {object} Signal
 * @property {() => T} get The value; who reads it inside `tracker().run` is told of changes.
 * @property {() => T} peek The value, without being told.
 * @property {(next: T) => void} set
 * @property {(watcher: () => void) => () => void} subscribe Called after each change; returns the way to end that.
 */

/**
 * @template T
 * @param {T} value
 * @param {{ watched?: () => void, unwatched?: () => void }} [hooks] Called with the first watcher, and after the last.
 * @returns {Signal<T>}
 */
export function signal(value, hooks = {}) {
  /** @type {Set<() => void>} */
  const watchers = new Set();
  const source = {
    /** @param {() => void} watcher */
    add(watcher) {
      watchers.add(watcher);
      if (watchers.size === 1) {
        hooks.watched?.();
      }
    },
    /** @param {() => void} watcher */
    delete(watcher) {
      if (watchers.delete(watcher) && watchers.size === 0) {
        hooks.unwatched?.();
      }
    },
  };
  return {
    get() {
      reads?.add(source);
      return value;
    },
    peek: () => value,
    set(next) {
      if (Object.is(value, next)) {
        return;
      }
      value = next;
      for (const watcher of [...watchers]) {
        watcher();
      }
    },
    subscribe(watcher) {
      const own = () => watcher();
      source.add(own);
      return () => source.delete(own);
    },
  };
}

/**
 * Runs functions and calls `changed` when a signal changes that the last run read.
 * @param {() => void} changed
 */
export function tracker(changed) {
  /** @type {Set<Source>} */
  let sources = new Set();
  return {
    /**
     * @template T
     * @param {() => T} work
     * @returns {T}
     */
    run(work) {
      const outer = reads;
      /** @type {Set<Source>} */
      const found = new Set();
      reads = found;
      try {
        return work();
      } finally {
        reads = outer;
        // New ones first, so that nothing is dropped and taken up again.
        const before = sources;
        sources = found;
        found.forEach((source) => before.has(source) || source.add(changed));
        before.forEach((source) => found.has(source) || source.delete(changed));
      }
    },
    stop() {
      sources.forEach((source) => source.delete(changed));
      sources = new Set();
    },
  };
}
