// A log as it grows: the newest lines, each once, and what may be done with them. Without a network and without a face.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["LogLine"]} LogLine */

/** Lines that are kept here at most: as many as the gateway itself keeps. */
export const MOST = 10_000;

export class Tail {
  constructor(most = MOST) {
    this.most = most;
    /** @type {LogLine[]} */
    this.lines = [];
    /** @type {LogLine[]} What came while it was paused. */
    this.held = [];
    /** @type {Set<string>} */
    this.known = new Set();
    /** Whether new lines wait instead of being shown. */
    this.paused = false;
  }

  clear() {
    this.lines = [];
    this.held = [];
    this.known = new Set();
  }

  /** @param {LogLine} line @returns {boolean} Whether it was new. */
  add(line) {
    if (line.id) {
      if (this.known.has(line.id)) {
        return false;
      }
      this.known.add(line.id);
    }
    const into = this.paused ? this.held : this.lines;
    into.push(line);
    // Cut in pieces: moving ten thousand lines for each new one would be felt.
    if (into.length > this.most * 1.1) {
      this.forget(into.splice(0, into.length - this.most));
    }
    return true;
  }

  /** @param {LogLine[]} gone */
  forget(gone) {
    gone.forEach((line) => line.id && this.known.delete(line.id));
  }

  /** @param {LogLine[]} older Lines before all others, the oldest first. */
  prepend(older) {
    const fresh = older.filter((line) => !line.id || !this.known.has(line.id));
    fresh.forEach((line) => line.id && this.known.add(line.id));
    this.lines = [...fresh, ...this.lines];
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    if (!paused) {
      const { held } = this;
      this.held = [];
      this.lines = [...this.lines, ...held];
      if (this.lines.length > this.most) {
        this.forget(this.lines.splice(0, this.lines.length - this.most));
      }
    }
  }

  /** The id of the newest line; a new connection goes on behind it. */
  get last() {
    const all = this.held.length > 0 ? this.held : this.lines;
    return all.findLast((line) => line.id)?.id ?? "";
  }

  /** The id of the oldest line. */
  get first() {
    return this.lines.find((line) => line.id)?.id ?? "";
  }
}

/**
 * What a search asks of the gateway, and what has to be looked at here: `/…/` is a regular expression, which the gateway
 * does not know.
 * @param {string} search
 * @returns {{ q: string, pattern: RegExp | null, wrong: boolean }}
 */
export function searched(search) {
  const found = /^\/(.+)\/$/s.exec(search.trim());
  if (!found) {
    return { q: search.trim(), pattern: null, wrong: false };
  }
  try {
    return { q: "", pattern: new RegExp(found[1], "iu"), wrong: false };
  } catch {
    return { q: "", pattern: null, wrong: true };
  }
}

/**
 * One JSON object a line.
 * @param {unknown[]} rows
 */
export const ndjson = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
