// Every language says everything: the same keys, arguments and branches, and all plurals its grammar has.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { LANGUAGES, choose, language, provide, region, t } from "../../public/js/lib/i18n.js";
import { compile, parse } from "../../public/js/lib/icu.js";

const ROOT = new URL("../../public/", import.meta.url);
const codes = Object.keys(LANGUAGES);
const names = readdirSync(new URL("i18n/en/", ROOT));
const read = (code, name) => JSON.parse(readFileSync(new URL(`i18n/${code}/${name}`, ROOT), "utf8"));

/** What a message asks for: its arguments with their kinds, and the branches that are not plural categories. */
function shape(text) {
  const found = new Set();
  const walk = (parts) => {
    for (const part of parts) {
      if (typeof part !== "string" && part.kind !== "hash") {
        found.add(`${part.name}:${part.kind}`);
        for (const [branch, inner] of part.branches ?? []) {
          if (part.kind === "select" || branch.startsWith("=")) {
            found.add(`${part.name}:${branch}`);
          }
          walk(inner);
        }
      }
    }
  };
  walk(parse(text));
  return [...found].sort();
}

/** The plural branches of each plural in a message. */
function plurals(text) {
  const found = [];
  const walk = (parts) => {
    for (const part of parts) {
      if (part.branches) {
        if (part.kind === "plural") {
          found.push([...part.branches.keys()].filter((branch) => !branch.startsWith("=")).sort());
        }
        part.branches.forEach(walk);
      }
    }
  };
  walk(parse(text));
  return found;
}

/** The categories that counts up to a thousand have in a language. */
function categories(code) {
  const rules = new Intl.PluralRules(code);
  return [...new Set(Array.from({ length: 1001 }, (_, n) => rules.select(n))).add("other")].sort();
}

describe("messages", () => {
  for (const code of codes) {
    it(`has the same files in ${code}`, () => {
      assert.deepEqual(readdirSync(new URL(`i18n/${code}/`, ROOT)).sort(), [...names].sort());
    });
    for (const name of names) {
      it(`is complete in ${code}/${name}`, () => {
        const [english, texts] = [read("en", name), read(code, name)];
        assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort());
        for (const [key, text] of Object.entries(texts)) {
          assert.equal(`${key.split(".")[0]}.json`, name, `${key} belongs into another file`);
          assert.ok(text.trim(), `${key} is empty`);
          assert.deepEqual(shape(text), shape(english[key]), `${code} ${key}: arguments and branches`);
          for (const branches of plurals(text)) {
            assert.deepEqual(branches, categories(code), `${code} ${key}: plural branches`);
          }
        }
      });
    }
  }

  it("has every key that the code names, and none that nobody names", () => {
    const files = readdirSync(new URL("js/", ROOT), { recursive: true }).filter((file) =>
      file.endsWith(".js"),
    );
    const source = files.map((file) => readFileSync(new URL(`js/${file}`, ROOT), "utf8")).join("\n");
    const keys = new Set(names.flatMap((name) => Object.keys(read("en", name))));
    const namespaces = new Set(names.map((name) => name.replace(".json", "")));
    const named = new Set([...source.matchAll(/"([a-z]+\.[\w.]+)"/g)].map(([, key]) => key));
    // Keys that are put together, such as `accounts.state.${state}`.
    const patterns = [...source.matchAll(/`((?:[a-z]+)\.[^`\s]*\$\{[^`]*)`/g)]
      .map(([, text]) => text.replace(/\$\{[^}]*\}+/g, "*"))
      .map((text) => new RegExp(`^${text.replace(/[.()?"=]/g, "\\$&").replaceAll("*", ".+")}$`));
    for (const key of named) {
      const called = new RegExp(`\\bt\\(\\s*"${key.replaceAll(".", "\\.")}"`).test(source);
      if (called && namespaces.has(key.split(".")[0])) {
        assert.ok(keys.has(key), `${key} is in no file`);
      }
    }
    for (const key of keys) {
      assert.ok(named.has(key) || patterns.some((pattern) => pattern.test(key)), `nobody uses ${key}`);
    }
  });
});

describe("icu", () => {
  const cases = [
    ["plain text", {}, "plain text"],
    ["{who} is here", { who: "Ada" }, "Ada is here"],
    ["{n, number} of it", { n: 12345 }, "12,345 of it"],
    ["{n, plural, =0 {none} one {# thing} other {# things}}", { n: 0 }, "none"],
    ["{n, plural, =0 {none} one {# thing} other {# things}}", { n: 1 }, "1 thing"],
    ["{n, plural, =0 {none} one {# thing} other {# things}}", { n: 1200 }, "1,200 things"],
    ["{n, plural, one {{a} has # key} other {{a} has # keys}} now", { n: 2, a: "Bo" }, "Bo has 2 keys now"],
    ["{k, select, on {yes} other {no}}", { k: "on" }, "yes"],
    ["{k, select, on {yes} other {no}}", { k: "off" }, "no"],
    ["# is a mark", {}, "# is a mark"],
    ["{missing}", {}, "{missing}"],
  ];
  for (const [text, values, said] of cases) {
    it(`says ${JSON.stringify(text)} with ${JSON.stringify(values)}`, () => {
      assert.equal(compile(text, "en")(values), said);
    });
  }
  for (const text of ["{n", "{n, plural, one {a}}", "a } b", "{n, date}", "{n, plural, other {a}", "{}"]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parse(text), SyntaxError));
  }
});

describe("languages", () => {
  const cases = [
    ["tr", ["en"], "tr"],
    [null, ["pt-PT", "en"], "pt-BR"],
    [null, ["zh", "en"], "zh-CN"],
    [null, ["xx", "id-ID"], "id"],
    [null, ["xx"], "en"],
    ["gone", ["de", "tr"], "tr"],
  ];
  for (const [chosen, asked, code] of cases) {
    it(`takes ${code} for ${chosen} and ${asked}`, () => assert.equal(choose(chosen, asked), code));
  }

  it("falls back to English, then to the key", () => {
    provide("tr", "sample", { "sample.a": "A tr" });
    provide("en", "sample", { "sample.a": "A", "sample.b": "B {n, number}" });
    language.set("tr");
    assert.equal(t("sample.a"), "A tr");
    assert.equal(t("sample.b", { n: 1000 }), "B 1,000");
    assert.equal(t("sample.c"), "sample.c");
    language.set("en");
  });
});

describe("dates and times", () => {
  for (const [code, asked, tag] of [
    ["en", ["de-DE", "en-GB", "en-US"], "en-GB"],
    ["en", ["en", "en-GB"], "en"],
    ["en", ["de-DE"], "en"],
    ["pt-BR", ["pt-PT"], "pt-BR"],
    ["id", ["idb-ID"], "id"],
  ]) {
    it(`are written as in ${tag} for ${code} and ${asked}`, () => {
      language.set(code);
      assert.equal(region(asked), tag);
      language.set("en");
    });
  }
});
