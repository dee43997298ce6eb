// What is loaded first: all at once, rather than one after the other as it is found.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { PAGES } from "../../public/js/pages.js";
import { begun, files, needs } from "../first.js";

const PUBLIC = new URL("../../public/", import.meta.url);
const read = (/** @type {string} */ name) => readFileSync(new URL(name, PUBLIC), "utf8");

describe("the first load", () => {
  it("names each module that the console and each page begin with", () => {
    assert.ok(begun().includes("vendor/lit.js") && begun().includes("js/lib/signal.js"));
    assert.ok(
      needs().accounts?.includes("js/pages/accounts.js") &&
        needs().accounts?.includes("css/pages/accounts.css"),
    );
    for (const [name, text] of Object.entries(files())) {
      assert.equal(read(name), text, `${name}: run \`make generate\``);
    }
  });

  it("of a page brings its styles and further messages along", () => {
    for (const { name, styles = [], words = [] } of PAGES) {
      const text = read(`js/pages/${name}.js`);
      const told = (pattern) => [...text.matchAll(pattern)].map(([, found]) => found);
      assert.deepEqual(styles, told(/^loadStyle\("([^"]+)"\)/gm), name);
      const used = new Set(told(/\bt\(\s*["`]([a-z]+)\./g));
      ["app", name].forEach((always) => used.delete(always));
      assert.deepEqual(words, [...used], name);
    }
  });
});
