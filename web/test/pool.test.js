// What the pool can do, its thresholds, its limits over time, and what is in a file of accounts.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CLIENTS, reader } from "../../public/js/lib/clients.js";
import { floorAt, floorChange, floorOf, percentage, withFloor } from "../../public/js/lib/floors.js";
import { preview } from "../../public/js/lib/imports.js";
import { capacities, capacityOf, comingOf, seatOf, spansOf } from "../../public/js/lib/pool.js";
import { volume } from "../../public/js/lib/volume.js";

const SOON = Date.now() + 3_600_000;
const quota = (fraction, reset = SOON) => ({
  remaining: "",
  remainingFraction: fraction,
  resetTime: new Date(reset).toISOString(),
});
const account = (email, limits, more = {}) => ({
  email,
  source: "oauth",
  enabled: true,
  modelRateLimits: {},
  isInvalid: false,
  modelQuotaThresholds: {},
  subscription: { tier: "pro" },
  status: "ok",
  limits,
  ...more,
});
const pool = (accounts, more = {}) => ({
  timestamp: "",
  totalAccounts: accounts.length,
  models: ["a-claude", "b-gemini"],
  modelConfig: {},
  globalQuotaThreshold: 0,
  accounts,
  ...more,
});

describe("thresholds", () => {
  const own = { quotaThreshold: 0.2, modelQuotaThresholds: { m: 0.3, zero: 0 } };
  it("come from the model, the account or the pool", () => {
    assert.deepEqual(floorOf(own, "m", 0.1), { value: 0.3, from: "model" });
    assert.deepEqual(floorOf(own, "zero", 0.1), { value: 0, from: "model" });
    assert.deepEqual(floorOf(own, "n", 0.1), { value: 0.2, from: "account" });
    assert.deepEqual(floorOf({ modelQuotaThresholds: {} }, "n", 0.1), { value: 0.1, from: "pool" });
    assert.deepEqual(floorAt(own, "m", 0.1), { own: 0.3, inherited: { value: 0.2, from: "account" } });
    assert.deepEqual(floorAt(own, null, 0.1), { own: 0.2, inherited: { value: 0.1, from: "pool" } });
    assert.equal(floorAt({ modelQuotaThresholds: {} }, null, 0.1).own, null);
  });
  it("change one model and say nothing of the others", () => {
    assert.deepEqual(floorChange("n", 0.5), { modelQuotaThresholdChanges: { n: 0.5 } });
    assert.deepEqual(floorChange("m", null), { modelQuotaThresholdChanges: { m: null } });
    assert.deepEqual(floorChange(null, null), { quotaThreshold: null });
    const floors = (/** @type {string | null} */ model, /** @type {number | null} */ value) => {
      const [shown] = withFloor(pool([account("a", {}, own)]), new Set(["a"]), model, value).accounts;
      return [shown.quotaThreshold, shown.modelQuotaThresholds];
    };
    assert.deepEqual(floors("n", 0.5), [0.2, { m: 0.3, zero: 0, n: 0.5 }]);
    assert.deepEqual(floors("m", null), [0.2, { zero: 0 }]);
    assert.deepEqual(floors(null, 0.4), [0.4, { m: 0.3, zero: 0 }]);
    assert.deepEqual(own.modelQuotaThresholds, { m: 0.3, zero: 0 });
  });
  it("show in the accounts that they are for", () => {
    const data = pool([account("a", {}, { quotaThreshold: 0.4 }), account("b", {})]);
    const shown = withFloor(data, new Set(["a"]), null, null);
    assert.equal("quotaThreshold" in shown.accounts[0], false);
    assert.equal(shown.accounts[1], data.accounts[1]);
  });
  it("are typed as whole percents from 0 to 99", () => {
    assert.deepEqual(["7", " 12.4 ", "150", "-3", "", "x"].map(percentage), [
      0.07,
      0.12,
      0.99,
      0,
      null,
      null,
    ]);
  });
});

describe("capacity", () => {
  const cases = [
    ["ok", account("a", { m: quota(0.5) })],
    ["unknown", account("a", {})],
    ["unknown", account("a", { m: quota(null) })],
    ["below", account("a", { m: quota(0.05) }, { quotaThreshold: 0.1 })],
    ["ok", account("a", { m: quota(0.1) }, { quotaThreshold: 0.1 })],
    ["spent", account("a", { m: quota(0) })],
    [
      "limited",
      account(
        "a",
        { m: quota(0.5), n: quota(1) },
        { modelRateLimits: { m: { isRateLimited: true, resetTime: SOON } } },
      ),
    ],
    ["cooling", account("a", { m: quota(0.5) }, { cooldownUntil: SOON })],
    ["attention", account("a", { m: quota(0.5) }, { isInvalid: true })],
    ["disabled", account("a", { m: quota(0.5) }, { enabled: false })],
    ["none", account("a", { n: quota(0.5), m: null })],
  ];
  for (const [state, one] of cases) {
    it(`has a seat that is ${state}`, () => assert.equal(seatOf(one, "m", 0).state, state));
  }
  it("counts those that are usable of those that are not disabled", () => {
    const one = capacityOf(
      pool([
        account("a", { "a-claude": quota(0.6) }),
        account("b", { "a-claude": quota(0.2) }),
        account("c", { "a-claude": quota(1) }, { isInvalid: true }),
        account("d", { "a-claude": quota(1) }, { enabled: false }),
        account("e", { "b-gemini": quota(1) }),
      ]),
      "a-claude",
    );
    assert.deepEqual([one.state, one.usable, one.of, one.seats.length], ["ok", 2, 3, 4]);
    assert.ok(Math.abs(one.average - 0.4) < 1e-9);
    assert.equal(one.family, "claude");
  });
  it("says when the first one is back where none is usable", () => {
    const later = SOON + 60_000;
    const one = capacityOf(
      pool([account("a", { m: quota(0, later) }), account("b", { m: quota(0, SOON) })]),
      "m",
    );
    assert.deepEqual([one.state, one.usable, one.back], ["none", 0, SOON]);
  });
  it("puts pinned models first", () => {
    const all = capacities(pool([], { modelConfig: { "b-gemini": { pinned: true } } }));
    assert.deepEqual(
      all.map(({ model }) => model),
      ["b-gemini", "a-claude"],
    );
  });
  it("tells what is coming in order, accounts of one moment together", () => {
    const data = pool([
      account("a", { "a-claude": quota(0.5, SOON + 3_600_000) }),
      account("b", { "a-claude": quota(0, SOON) }),
      account("c", { "a-claude": quota(0.5, SOON + 3_600_001) }),
    ]);
    const coming = comingOf([capacityOf(data, "a-claude")]);
    assert.deepEqual(
      coming.map(({ kind, emails }) => [kind, emails]),
      [
        ["back", ["b"]],
        ["reset", ["a", "c"]],
      ],
    );
  });
});

describe("limits over time", () => {
  const set = (time, until, more = {}) => ({
    time,
    until,
    kind: "limit.set",
    email: "a",
    model: "m",
    reason: "rate",
    ...more,
  });
  it("go on while they are told again", () => {
    assert.deepEqual(
      spansOf([set(0, 10), set(5, 20)]).map(({ from, until }) => [from, until]),
      [[0, 20]],
    );
  });
  it("end when they are lifted, or when another reason takes their place", () => {
    const spans = spansOf([
      set(0, 10),
      { time: 4, kind: "limit.lifted", email: "a", model: "m" },
      set(6, 9),
      set(7, 30, { reason: "quota" }),
    ]);
    assert.deepEqual(
      spans.map(({ from, until, reason }) => [from, until, reason]),
      [
        [0, 4, "rate"],
        [6, 7, "rate"],
        [7, 30, "quota"],
      ],
    );
  });
  it("know whether their end is known", () => {
    assert.deepEqual(
      spansOf([set(3, undefined)]).map(({ known, until }) => [known, until]),
      [[false, 3]],
    );
  });
});

describe("a file of accounts", () => {
  const outcomes = (text, known = []) =>
    preview(text, known).rows?.map(({ outcome, problem }) => problem ?? outcome);
  it("is read bare or wrapped, with either spelling", () => {
    const entries = [
      { email: "a@b.cd", refresh_token: "x" },
      { email: "e@b.cd", apiKey: "x" },
    ];
    assert.deepEqual(outcomes(JSON.stringify(entries)), ["new", "new"]);
    assert.deepEqual(outcomes(JSON.stringify({ accounts: entries }), ["A@B.cd"]), ["update", "new"]);
  });
  it("tells what is wrong with an entry", () => {
    const bad = [
      1,
      { email: "no" },
      { email: "a@b.cd" },
      { email: "a@b.cd", refreshToken: "x" },
      { email: "A@b.cd", refreshToken: "x" },
    ];
    assert.deepEqual(outcomes(JSON.stringify(bad)), ["entry", "email", "secret", "new", "twice"]);
    assert.equal(preview(JSON.stringify(bad), []).entries.length, 1);
  });
  it("tells what is wrong with itself", () => {
    assert.deepEqual(
      ["{", "{}", "[]"].map((text) => preview(text, []).error),
      ["json", "shape", "none"],
    );
  });
});

describe("volume", () => {
  it("has a place for every hour, and puts small series together", () => {
    const numbers = (at, model, requests) => ({ at, model, requests });
    const report = {
      from: 0,
      to: 3 * 3_600_000,
      step: "hour",
      usage: [numbers(0, "a", 5), numbers(7_200_000, "a", 1), numbers(0, "b", 2), numbers(3_600_000, "c", 1)],
    };
    const { times, series } = volume(report, ({ model }) => model, 2);
    assert.deepEqual(times, [0, 3_600_000, 7_200_000]);
    assert.deepEqual(
      series.map(({ name, values }) => [name, values]),
      [
        ["a", [5, 0, 1]],
        ["", [2, 1, 0]],
      ],
    );
  });
});

describe("clients", () => {
  const setup = { base: "http://x", key: "it's", model: 'm"', small: "s" };
  it("quote what they are given", () => {
    assert.match(CLIENTS.shell.lines(setup), /ANTHROPIC_AUTH_TOKEN='it'\\''s'/);
    assert.match(CLIENTS.powershell.lines(setup), /= 'it''s'/);
    assert.equal(JSON.parse(CLIENTS.settings.lines(setup)).env.ANTHROPIC_MODEL, 'm"');
    assert.match(CLIENTS.python.lines(setup), /model="m\\""/);
  });
  it("read events that come in pieces", () => {
    const found = [];
    const take = reader((data) => found.push(data.n));
    take('event: a\r\ndata: {"n":1}\r\n\r\nda');
    take('ta: {"n":2}\n');
    take("\n: comment\n\n");
    assert.deepEqual(found, [1, 2]);
  });
});
