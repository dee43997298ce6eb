// What a browser needs first, so that it asks for all of it at once rather than for one after the other as it finds them:
// the modules that the console begins with, in public/index.html, and those of each page, in public/js/early.js. Written by
// `make generate`.

import { readFileSync, writeFileSync } from "node:fs";
import { PAGES } from "../public/js/pages.js";

const PUBLIC = new URL("../public/", import.meta.url);
const read = (/** @type {string} */ name) => readFileSync(new URL(name, PUBLIC), "utf8");
/** The module of `<script type="module">`. */
const ENTRY = "js/app.js";

/**
 * A module, those that it imports for certain, and those that they import.
 * @param {string} name Below public/.
 * @param {Set<string>} [found]
 */
export function closure(name, found = new Set()) {
  if (!found.has(name)) {
    found.add(name);
    for (const [, from] of read(name).matchAll(
      /^\s*(?:import|export)\s(?:[^;"]*?\sfrom\s)?\s*"(\.[^"]+)"/gm,
    )) {
      closure(new URL(from, new URL(name, PUBLIC)).href.slice(PUBLIC.href.length), found);
    }
  }
  return found;
}

/** The modules that the console begins with, without the first one. */
export const begun = () => [...closure(ENTRY)].filter((name) => name !== ENTRY).sort();

/** What each page needs beyond them. @returns {Record<string, string[]>} Files below public/, by the page's name. */
export function needs() {
  const base = closure(ENTRY);
  return Object.fromEntries(
    PAGES.map(({ name, styles = [] }) => [
      name,
      [
        ...styles.map((style) => `css/${style}.css`),
        ...[...closure(`js/pages/${name}.js`)].filter((module) => !base.has(module)).sort(),
      ],
    ]),
  );
}

/** The files that tell it, as they should be. @returns {Record<string, string>} */
export function files() {
  const links = begun().map((name) => `    <link rel="modulepreload" href="${name}" />\n`);
  const table = Object.entries(needs()).map(
    ([page, all]) => `  ${page}: [\n${all.map((name) => `    "${name}",\n`).join("")}  ],\n`,
  );
  return {
    "index.html": read("index.html").replace(/(?: {4}<link rel="modulepreload"[^\n]*\n)+/, links.join("")),
    "js/early.js": read("js/early.js").replace(
      /(const NEEDS = \{\n)[^}]*(\};)/,
      (_, before, after) => before + table.join("") + after,
    ),
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  Object.entries(files()).forEach(([name, text]) => writeFileSync(new URL(name, PUBLIC), text));
}
