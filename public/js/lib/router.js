// Where the reader is: `#/accounts?q=ada&sort=-used`. Filters belong there, so that a view can be shared and Back works.

import { signal } from "./signal.js";

/**
 * @typedef {object} Route
 * @property {string} page The first part, such as `accounts`.
 * @property {string[]} rest The parts behind it, decoded.
 * @property {URLSearchParams} query
 */

/**
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const [page, ...rest] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { page: page ?? "", rest: rest.filter(Boolean), query: new URLSearchParams(query) };
}

/**
 * A query of what says something; what is empty is left out.
 * @param {Record<string, string | number | null | undefined>} wish
 */
export function filled(wish) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(wish)) {
    if (value !== null && value !== undefined && value !== "") {
      query.set(name, String(value));
    }
  }
  return query;
}

/**
 * The address of a view, for `href`.
 * @param {string} page
 * @param {Record<string, string | number | null | undefined>} [query] What is empty is left out.
 * @param {...string} rest
 */
export function href(page, query = {}, ...rest) {
  const search = filled(query);
  const path = [page, ...rest.map(encodeURIComponent)].join("/");
  return `#/${path}${search.size > 0 ? `?${search}` : ""}`;
}

export const route = signal(parse(typeof location === "undefined" ? "" : location.hash));

/** @param {string} to From `href`. @param {{ replace?: boolean }} [how] */
export function go(to, { replace = false } = {}) {
  if (to === location.hash) {
    return;
  }
  history[replace ? "replaceState" : "pushState"](null, "", to);
  route.set(parse(to));
}

/**
 * Changes parts of the query; `null` or an empty text takes one away.
 * @param {Record<string, string | null>} change
 * @param {{ replace?: boolean }} [how] Typing replaces, choosing adds to the history.
 */
export function ask(change, how = { replace: true }) {
  const { page, rest, query } = route.peek();
  go(href(page, { ...Object.fromEntries(query), ...change }, ...rest), how);
}

/** Follows the address bar. */
export function follow() {
  const moved = () => route.set(parse(location.hash));
  addEventListener("hashchange", moved);
  addEventListener("popstate", moved);
}
