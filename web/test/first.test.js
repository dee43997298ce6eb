// What is loaded first: all at once, rather than one after the other as it is found.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { PAGES } from "../../public/js/pages.js";

const PUBLIC = new URL("../../public/", import.meta.url);
const page = readFileSync(new URL("index.html", PUBLIC), "utf8");

/** The modules that a module imports for certain, and those that they import. */
function closure(name, found = new Set()) {
  if (!found.has(name)) {
    found.add(name);
    const text = readFileSync(new URL(name, PUBLIC), "utf8");
    for (const [, from] of text.matchAll(/^\s*(?:import|export)\s(?:[^;"]*?\sfrom\s)?\s*"(\.[^"]+)"/gm)) {
      closure(new URL(from, new URL(name, PUBLIC)).href.slice(PUBLIC.href.length), found);
    }
  }
  return found;
}

describe("the first load", () => {
  const linked = (rel) =>
    [...page.matchAll(/<link rel="([a-z]+)" href="([^"]+)"/g)]
      .filter(([, one]) => one === rel)
      .map(([, , to]) => to);

  it("names each module that the console begins with, and no other", () => {
    const [, first] = /<script type="module" src="([^"]+)">/.exec(page);
    const all = closure(first);
    assert.ok(all.has("vendor/lit.js") && all.has("js/lib/signal.js"));
    all.delete(first);
    assert.deepEqual(linked("modulepreload").sort(), [...all].sort());
  });

  it("names each once", () => {
    assert.equal(new Set(linked("modulepreload")).size, linked("modulepreload").length);
  });

  it("of a page brings its styles and further messages along", () => {
    for (const { name, styles = [], words = [] } of PAGES) {
      const text = readFileSync(new URL(`js/pages/${name}.js`, PUBLIC), "utf8");
      const told = (pattern) => [...text.matchAll(pattern)].map(([, found]) => found);
      assert.deepEqual(styles, told(/^loadStyle\("([^"]+)"\)/gm), name);
      const used = new Set(told(/\bt\(\s*["`]([a-z]+)\./g));
      ["app", name].forEach((always) => used.delete(always));
      assert.deepEqual(words, [...used], name);
    }
  });
});
