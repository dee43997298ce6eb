// What the pages of operators go by: settings, usage, a growing log, files.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { csv } from "../../public/js/lib/download.js";
import { sampled, stuck } from "../../public/js/lib/requests.js";
import { entered, flat, nested, same, written } from "../../public/js/lib/settings.js";
import { MOST, ndjson, searched, Tail } from "../../public/js/lib/tail.js";
import { change, figure, grouped, line, range, steps, sum } from "../../public/js/lib/usage.js";

const row = (more) => ({
  key: "k",
  value: null,
  origin: "",
  source: "",
  applies: "live",
  shared: "live",
  pending: false,
  ...more,
});

describe("settings", () => {
  const cases = [
    [{ type: "integer", minimum: 1, maximum: 20 }, "7", { value: 7 }],
    [{ type: "integer", minimum: 1 }, "0", { value: 0, problem: "least" }],
    [{ type: "integer", maximum: 20 }, "21", { value: 21, problem: "most" }],
    [{ type: "integer" }, "1.5", { value: 1.5, problem: "whole" }],
    [{ type: "number", exclusiveMaximum: 1 }, "1", { value: 1, problem: "most" }],
    [{ type: "number" }, "ten", { value: "ten", problem: "number" }],
    [{ type: "integer", unit: "bytes" }, "50mb", { value: "50mb" }],
    [{ type: "integer" }, " ", { value: null }],
    [{ type: "integer", enum: [429, 400] }, "400", { value: 400 }],
    [{ type: "boolean" }, "false", { value: false }],
    [{ type: "string" }, " a ", { value: "a" }],
    [{ type: "array" }, "a\n\n b", { value: ["a", "b"] }],
    [{ type: "array", minimum: 5 }, "6\n4", { value: [6, 4], problem: "least" }],
    [{ type: "object" }, '{"a":1}', { value: { a: 1 } }],
    [{ type: "object" }, "[1]", { value: "[1]", problem: "json" }],
    [{ type: "object" }, "{", { value: "{", problem: "json" }],
  ];
  for (const [shape, text, wanted] of cases) {
    it(`reads ${JSON.stringify(text)} of ${JSON.stringify(shape)}`, () => {
      const { value, problem } = entered(row(shape), text);
      assert.deepEqual({ value, problem }, { problem: undefined, ...wanted });
    });
  }

  it("writes what it reads", () => {
    for (const [shape, value] of [
      [{ type: "array" }, ["a", "b"]],
      [{ type: "object" }, { a: { b: 1 } }],
      [{ type: "number" }, 0.05],
    ]) {
      assert.deepEqual(entered(row(shape), written(row(shape), value)).value, value);
    }
    assert.equal(written(row({ type: "string" }), null), "");
  });

  it("takes documents apart and puts them together", () => {
    const keys = new Set(["a.b", "map"]);
    const document = { a: { b: 1, c: { d: [2] } }, map: { x: { y: 1 } } };
    const pairs = flat(document, keys);
    assert.deepEqual(pairs, [
      ["a.b", 1],
      ["a.c.d", [2]],
      ["map", { x: { y: 1 } }],
    ]);
    assert.deepEqual(nested(pairs), document);
  });

  it("compares without regard to order", () => {
    assert.ok(same({ a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }));
    assert.ok(same(null, undefined));
    assert.ok(!same([1, 2], [2, 1]));
  });
});

describe("a growing log", () => {
  const entry = (n) => ({ id: `${n}`, message: `line ${n}` });

  it("has each line once, and the newest of too many", () => {
    const tail = new Tail(100);
    for (let n = 0; n < 500; n += 1) {
      tail.add(entry(n));
      tail.add(entry(n));
    }
    assert.ok(tail.lines.length <= 110 && tail.lines.length >= 100);
    assert.equal(tail.lines.at(-1).id, "499");
    assert.equal(tail.known.size, tail.lines.length);
    assert.equal(MOST, 10_000);
  });

  it("holds back while it is paused, and loses nothing", () => {
    const tail = new Tail(10);
    tail.add(entry(1));
    tail.pause(true);
    tail.add(entry(2));
    assert.deepEqual([tail.lines.length, tail.held.length, tail.last], [1, 1, "2"]);
    tail.pause(false);
    assert.deepEqual(
      tail.lines.map(({ id }) => id),
      ["1", "2"],
    );
    assert.equal(tail.held.length, 0);
  });

  it("puts older lines before", () => {
    const tail = new Tail(10);
    tail.add(entry(3));
    tail.prepend([entry(1), entry(2), entry(3)]);
    assert.deepEqual(
      tail.lines.map(({ id }) => id),
      ["1", "2", "3"],
    );
    assert.equal(tail.first, "1");
  });

  it("tells a search from a regular expression", () => {
    assert.deepEqual(searched(" a/b "), { q: "a/b", pattern: null, wrong: false });
    assert.ok(searched("/a.c/").pattern.test("xABCx"));
    assert.ok(searched("/(/").wrong);
  });
});

describe("usage", () => {
  const HOUR = 3_600_000;
  const entry = (at, model, status, requests, latencyMs = 0) => ({
    at,
    model,
    status,
    requests,
    latencyMs,
    inputTokens: 1,
    outputTokens: 2,
    cacheReadTokens: 3,
    thinkingTokens: 1,
  });
  const rows = [
    entry(0, "a", "success", 2, 200),
    entry(0, "b", "rate_limited", 5),
    entry(HOUR, "a", "cancelled", 1, 100),
  ];

  it("sums", () => {
    const all = sum(rows);
    assert.equal(all.requests, 8);
    assert.equal(all.failed, 5);
    assert.equal(figure(all, "tokens"), 18);
    assert.equal(figure(sum([]), "latency"), null);
  });

  it("has the largest group first, and a value for every step", () => {
    assert.deepEqual(
      grouped(rows, "model", "requests").map(({ name }) => name),
      ["b", "a"],
    );
    const times = steps({ from: 0, to: 3 * HOUR, step: "hour" });
    assert.deepEqual(line(rows, times, "requests"), [7, 1, 0]);
    assert.deepEqual(
      line(
        rows.filter(({ model }) => model === "a"),
        times,
        "latency",
      ),
      [100, 100, null],
    );
  });

  it("compares, and begins on a whole step", () => {
    assert.equal(change(3, 2), 0.5);
    assert.equal(change(3, 0), null);
    assert.deepEqual(range(90 * HOUR + 5, 1), { step: "hour", from: 67 * HOUR, to: 91 * HOUR });
    assert.equal(range(90 * HOUR, 30).step, "day");
  });
});

describe("requests in flight", () => {
  it("are stuck after their phase's patience", () => {
    assert.ok(!stuck({ state: "waiting" }, 29_000));
    assert.ok(stuck({ state: "waiting" }, 31_000));
    assert.ok(!stuck({ state: "answering", firstEventMs: 500_000 }, 900_000));
    assert.ok(stuck({ state: "cancelled" }, 16_000));
  });

  it("are sampled for a while", () => {
    assert.deepEqual(sampled([{ at: 1 }, { at: 50 }, { at: 60 }], { at: 60 }, 20), [{ at: 50 }, { at: 60 }]);
  });
});

describe("files", () => {
  it("quotes, and makes no formulas", () => {
    assert.equal(
      csv([
        ["a", "b,c", 'd"e'],
        ["=1+1", -2, null],
      ]),
      'a,"b,c","d""e"\r\n\'=1+1,-2,\r\n',
    );
    assert.equal(ndjson([{ a: 1 }, { b: 2 }]), '{"a":1}\n{"b":2}\n');
  });
});
