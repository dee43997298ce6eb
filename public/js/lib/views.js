// Filters that this browser's reader gave a name to. They are kept as they were saved, in this browser only.

import { elsewhere } from "./prefs.js";
import { signal } from "./signal.js";

const KEY = "antigravity-proxy.views";
/** For each page. */
export const MOST = 20;

/** @typedef {{ name: string, query: string }} Saved `query` as the address has it, without what is open. */

/** @returns {Record<string, Saved[]>} */
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(
      Object.entries(kept).map(([page, list]) => [
        page,
        /** @type {any[]} */ (list).filter(
          (one) => typeof one?.name === "string" && typeof one?.query === "string",
        ),
      ]),
    );
  } catch {
    // Nothing was kept, or nothing that can be read, or a browser that does not let us.
    return {};
  }
}

export const views = signal(read());

elsewhere(KEY, () => views.set(read()));

/** @param {Record<string, Saved[]>} next */
function write(next) {
  views.set(next);
  try {
    localStorage.setItem(KEY, JSON.stringify(next));
  } catch {
    // A browser that keeps nothing forgets it with the tab.
  }
}

/**
 * What of an address is a view: filters and sorting, in a fixed order; what is open is not.
 * @param {URLSearchParams} query
 */
export function viewOf(query) {
  const kept = new URLSearchParams([...query].filter(([name, value]) => name !== "open" && value !== ""));
  kept.sort();
  return kept.toString();
}

/** Keeps a view; one of that name is replaced. @param {string} page @param {string} name @param {string} query */
export function keep(page, name, query) {
  const others = (views.peek()[page] ?? []).filter((one) => one.name !== name);
  write({ ...views.peek(), [page]: [...others, { name, query }].slice(-MOST) });
}

/** @param {string} page @param {string} name */
export function forget(page, name) {
  write({ ...views.peek(), [page]: (views.peek()[page] ?? []).filter((one) => one.name !== name) });
}
