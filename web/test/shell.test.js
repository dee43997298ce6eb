// What the shell goes by: finding by a few letters, keys, and what needs somebody.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { COLUMNS, revertible, rowOf, wayBack } from "../../public/js/lib/audit.js";
import { needs } from "../../public/js/lib/attention.js";
import { best, fit } from "../../public/js/lib/find.js";
import { Draft } from "../../public/js/lib/settings.js";
import { deed, PLACES } from "../../public/js/lib/shortcuts.js";
import { forget, keep, MOST, viewOf, views } from "../../public/js/lib/views.js";
import { choices, passes } from "../../public/js/lib/requests.js";
import { known, scored, winner } from "../../public/js/lib/weights.js";
import { changed, lengthened, long } from "../../public/js/lib/clients.js";
import { local, moment, utc } from "../../public/js/lib/when.js";
import { PAGES } from "../../public/js/pages.js";

describe("finding", () => {
  const order = [
    ["acc", ["Accounts", "Add account", "Reaccount"]],
    ["add acc", ["Add account"]],
    ["cafe", ["Café"]],
    ["ISTEK", ["İstekler"]],
    ["cooldown", ["defaultCooldownMs"]],
    ["", ["Accounts", "Add account", "Reaccount", "Café", "İstekler", "defaultCooldownMs"]],
    ["none of it", []],
  ];
  const labels = ["Reaccount", "Add account", "Accounts", "Café", "İstekler", "defaultCooldownMs"];
  for (const [search, wanted] of order) {
    it(`finds ${wanted.join(", ") || "nothing"} by ${JSON.stringify(search)}`, () => {
      const found = best(
        search,
        labels.map((label) => ({ label })),
        9,
      ).map(({ label }) => label);
      assert.deepEqual(
        search === "" ? [...found].sort() : found,
        search === "" ? [...wanted].sort() : wanted,
      );
    });
  }

  it("takes what is seen for better than what is not", () => {
    assert.ok(
      fit("quota", "globalQuotaThreshold", "") < fit("quota", "maxRetries", "when the quota is gone"),
    );
    assert.equal(best("q", [{ label: "a", more: "q" }, { label: "q" }], 1)[0].label, "q");
  });
});

describe("keys", () => {
  const key = (name, more = {}) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, ...more });
  const at = { writing: false, first: false, single: true };
  const cases = [
    ["Ctrl K", key("k", { ctrlKey: true }), at, "palette"],
    ["⌘ K in a field", key("K", { metaKey: true }), { ...at, writing: true, single: false }, "palette"],
    ["?", key("?"), at, "help"],
    ["? in a field", key("?"), { ...at, writing: true }, null],
    ["? where single keys are off", key("?"), { ...at, single: false }, null],
    ["Ctrl R", key("r", { ctrlKey: true }), at, null],
    ["r", key("r"), at, "refresh"],
    ["r held down", key("r", { repeat: true }), at, null],
    ["g then r", key("r"), { ...at, first: true }, "go"],
    ["g then z", key("z"), { ...at, first: true }, null],
  ];
  for (const [name, pressed, where, does] of cases) {
    it(`${name} does ${does ?? "nothing"}`, () =>
      assert.equal(deed(pressed, where).deed?.does ?? null, does));
  }

  it("waits for the second key of a pair", () => {
    assert.deepEqual(deed(key("g"), at), { deed: null, first: true });
    assert.deepEqual(deed(key("g"), { ...at, first: true }), {
      deed: { does: "go", page: "logs" },
      first: false,
    });
  });

  it("has a letter for every page", () =>
    assert.deepEqual(Object.values(PLACES).sort(), PAGES.map(({ name }) => name).sort()));
});

describe("what needs somebody", () => {
  const status = (more = {}) => ({
    store: { mode: "redis", available: true },
    oauthClientRefused: false,
    setup: [],
    accounts: { total: 1, available: 1, rateLimited: 0, invalid: 0 },
    ...more,
  });
  const account = (email, more = {}) => ({
    email,
    enabled: true,
    status: "ok",
    isInvalid: false,
    modelRateLimits: {},
    modelQuotaThresholds: {},
    limits: { opus: { remainingFraction: 0.5, resetTime: null } },
    ...more,
  });
  const limits = (...accounts) => ({ models: ["opus"], modelConfig: {}, globalQuotaThreshold: 0, accounts });
  const replica = (host, more = {}) => ({
    id: `id-${host}`,
    host,
    startedAt: 100,
    lastSeenMs: 10,
    settingsGeneration: 3,
    ...more,
  });
  const replicas = (all, more = {}) => ({ replicas: all, versions: ["1"], scriptsEqual: true, ...more });
  const spent = { limits: { opus: { remainingFraction: 0, resetTime: null } } };
  const cases = [
    [
      "nothing of a sound pool",
      { status: status(), limits: limits(account("a")), replicas: replicas([replica("x")]) },
      [],
    ],
    ["nothing where nothing is known", {}, []],
    ["a store that is away", { status: status({ store: { available: false } }) }, ["bad store 1"]],
    ["a refused client", { status: status({ oauthClientRefused: true }) }, ["bad client 1"]],
    [
      "what is required only",
      { status: status({ setup: [{ title: "A", required: true }, { title: "B" }] }) },
      ["bad setup 1 A"],
    ],
    ["accounts before more is known", { status: status({ accounts: { invalid: 3 } }) }, ["warn waiting 3"]],
    [
      "accounts by what helps, and models nobody serves",
      {
        limits: limits(
          account("v", { isInvalid: true, verifyUrl: "https://x" }),
          account("s", { isInvalid: true }),
          account("b", { status: "banned" }),
          account("f", { status: "error" }),
          account("off", { enabled: false, isInvalid: true }),
          account("e", spent),
        ),
      },
      ["bad capacity 1 opus", "bad banned 1 b", "bad signIn 1 s", "bad failing 1 f", "warn verify 1 v"],
    ],
    [
      "no model that is hidden",
      { limits: { ...limits(account("e", spent)), modelConfig: { opus: { hidden: true } } } },
      [],
    ],
    [
      "no model whose accounts are all disabled",
      { limits: limits(account("e", { ...spent, enabled: false })) },
      [],
    ],
    [
      "replicas",
      {
        replicas: replicas([replica("x", { lastSeenMs: 20_000 }), replica("y", { settingsGeneration: 2 })], {
          versions: ["1", "2"],
          scriptsEqual: false,
        }),
      },
      ["warn silent 1 x", "warn drift 1 y", "warn rules 1", "cooling versions 2 1,2"],
    ],
    [
      "lost ones that nobody replaced",
      {
        replicas: replicas([replica("x", { startedAt: 300 }), replica("alive")]),
        lapsed: [
          { id: "old-x", host: "x", at: 200 },
          { id: "id-alive", host: "alive", at: 200 },
          { id: "old-z", host: "z", at: 200 },
        ],
      },
      ["bad lapsed 1 z"],
    ],
    [
      "settings",
      {
        settings: {
          rejected: "no",
          rows: [
            { key: "a", pending: true },
            { key: "b", pending: false },
          ],
        },
      },
      ["bad rejected 1 no", "cooling restart 1 a"],
    ],
  ];
  for (const [name, told, wanted] of cases) {
    it(`tells ${name}`, () =>
      assert.deepEqual(
        needs(told).map(({ tone, kind, n, names }) => [tone, kind, n, names.join()].join(" ").trim()),
        wanted,
      ));
  }
});

describe("records of the audit", () => {
  const record = (more = {}) => ({
    number: 7,
    time: 0,
    actor: { kind: "session", id: "s1" },
    action: "settings.change",
    changes: [{ field: "maxRetries", before: 4, after: 6 }],
    outcome: "done",
    seq: 1,
    ...more,
  });
  const reverts = [
    ["a change", {}, true],
    ["a change of models", { action: "settings.models" }, true],
    ["a first change", { changes: [{ field: "a", after: 1 }] }, true],
    ["something else", { action: "key.create" }, false],
    ["what was refused", { outcome: "refused" }, false],
    ["what changed nothing", { changes: [] }, false],
    ["more than is listed", { omitted: 2 }, false],
    ["what was cut", { changes: [{ field: "a", before: "long…", after: "b" }] }, false],
    ["what was cut inside", { changes: [{ field: "a", before: { x: ["long…"] }, after: {} }] }, false],
    ["what is not shown", { changes: [{ field: "a", before: "(not shown)" }] }, false],
  ];
  for (const [name, more, can] of reverts) {
    it(`${can ? "puts back" : "does not put back"} ${name}`, () =>
      assert.equal(revertible(record(more)), can));
  }

  it("finds the way back, and what would be lost on it", () => {
    const rows = [
      { key: "maxRetries", value: 6, stored: 6, default: 5 },
      { key: "retryBaseMs", value: 900, stored: 900, default: 1000 },
      { key: "debug", value: true, stored: true, default: false },
    ];
    const changes = [
      { field: "maxRetries", before: 4, after: 6 },
      { field: "retryBaseMs", after: 800 },
      { field: "debug", before: true, after: false },
    ];
    assert.deepEqual(wayBack(record({ changes }), rows), [
      { key: "maxRetries", before: 6, after: 4, wish: 4, again: false },
      { key: "retryBaseMs", before: 900, after: 1000, wish: null, again: true },
    ]);
  });

  it("makes a row of each", () => {
    const row = Object.fromEntries(
      COLUMNS.map((name, index) => [name, rowOf(record({ omitted: 3 }))[index]]),
    );
    assert.equal(row.actorId, "s1");
    assert.equal(row.time, "1970-01-01T00:00:00.000Z");
    assert.equal(row.changes, "maxRetries: 4 → 6; +3");
    assert.equal(row.target, null);
  });
});

describe("a preset that is put together", () => {
  const rows = [
    { key: "maxRetries", type: "integer", minimum: 1, maximum: 20, value: 5, default: 5 },
    { key: "a.b", type: "number", value: 0.5, default: 0.5 },
    { key: "list", type: "array", value: ["x"], default: [] },
  ];
  it("keeps what it does not know, and knows what differs", () => {
    const draft = new Draft(rows, { maxRetries: 9, a: { b: 0.5, new: 1 }, other: true });
    assert.deepEqual(draft.differing(), ["maxRetries"]);
    assert.deepEqual(draft.config(), { maxRetries: 9, a: { b: 0.5, new: 1 }, other: true });
    draft.values.delete("a.b");
    draft.add("list");
    assert.deepEqual(draft.config(), { maxRetries: 9, list: ["x"], a: { new: 1 }, other: true });
  });
  it("takes nothing that is out of range, or empty", () => {
    const draft = new Draft(rows, { maxRetries: 9 });
    for (const [text, wrong] of [
      ["21", true],
      ["", true],
      ["7", false],
    ]) {
      draft.enter("maxRetries", text);
      assert.equal(draft.wrong, wrong, text);
    }
    assert.deepEqual(draft.config(), { maxRetries: 7 });
  });
});

describe("ranges of time", () => {
  it("are before now, or moments", () => {
    assert.equal(moment("15m", 1_000_000), 100_000);
    assert.equal(moment("1970-01-01T00:00:05Z", 9), 5_000);
    for (const text of ["", "5 days", "toString"]) {
      assert.equal(moment(text, 9), null, text);
    }
  });
  it("come back from fields as they went in", () => {
    assert.equal(utc(local(Date.UTC(2026, 10, 28, 1, 15))), "2026-11-28T01:15:00.000Z");
    assert.equal(local(null), "");
    assert.equal(utc(""), "");
    assert.equal(utc("nonsense"), "");
  });
});

describe("saved views", () => {
  it("are the filters, whatever their order, and not what is open", () => {
    const view = (text) => viewOf(new URLSearchParams(text));
    assert.equal(view("sort=-used&q=ada&open=x"), "q=ada&sort=-used");
    assert.equal(view("q=ada&sort=-used"), view("sort=-used&q=ada"));
    assert.equal(view("open=x&q="), "");
  });
  it("are kept by page, replaced by name, and not more than there is room for", () => {
    keep("logs", "A", "q=1");
    keep("logs", "B", "q=2");
    keep("logs", "A", "q=3");
    keep("audit", "A", "q=4");
    assert.deepEqual(views.peek().logs, [
      { name: "B", query: "q=2" },
      { name: "A", query: "q=3" },
    ]);
    forget("logs", "B");
    assert.deepEqual(views.peek().logs, [{ name: "A", query: "q=3" }]);
    assert.equal(views.peek().audit.length, 1);
    for (let n = 0; n < MOST + 5; n += 1) {
      keep("logs", `n${n}`, "q");
    }
    assert.equal(views.peek().logs.length, MOST);
  });
});

describe("answered requests", () => {
  const line = (fields, pod = "a") => ({ pod, fields });
  const lines = [
    line({
      outcome: "served",
      "model.served": "opus",
      "model.asked": "my",
      total_ms: 900,
      "client.key.name": "ada",
    }),
    line({ outcome: "served", "model.asked": "flash", total_ms: 12_000 }, "b"),
    line({ outcome: "deadline", "model.served": "flash", total_ms: 60_000, "client.key.name": "ben" }),
    line(undefined),
  ];
  it("are told apart by what there is, the most frequent first", () => {
    assert.deepEqual(choices(lines, "model", ""), ["flash", "opus"]);
    assert.deepEqual(choices(lines, "outcome", "gone"), ["served", "deadline", "gone"]);
    assert.deepEqual(choices([], "key", ""), []);
  });
  const cases = [
    [{}, 4],
    [{ outcome: "served" }, 2],
    [{ model: "flash", replica: "b" }, 1],
    [{ key: "ada" }, 1],
    [{ slow: "10s" }, 2],
    [{ slow: "60s", outcome: "served" }, 0],
    [{ slow: "nonsense" }, 4],
  ];
  for (const [wish, n] of cases) {
    it(`${n} of them pass ${JSON.stringify(wish)}`, () =>
      assert.equal(lines.filter((one) => passes(one, wish)).length, n));
  }
});

describe("other weights", () => {
  const now = { health: 2, tokens: 5, quota: 3, rest: 0.1, inFlight: 0, affinity: 0 };
  const one = (email, parts, more = {}) => ({
    email,
    verdict: "usable",
    chosen: false,
    tier: "normal",
    inFlight: 0,
    parts: { health: 0, tokens: 0, quota: 0, rest: 0, inFlight: 0, affinity: 0, ...parts },
    ...more,
  });
  const healthy = one("healthy", { health: 200, tokens: 100 });
  const full = one("full", { health: 100, tokens: 500 }, { inFlight: 4, chosen: true });

  it("score as those in force do where they are the same", () => {
    assert.equal(scored(full, now, now), 600);
    assert.equal(scored({ ...full, parts: null }, now, now), null);
  });
  it("choose another one", () => {
    assert.equal(winner([healthy, full], now, now)?.email, "full");
    assert.equal(winner([healthy, full], now, { ...now, tokens: 0 })?.email, "healthy");
    assert.equal(winner([healthy, full], now, { ...now, inFlight: 200 })?.email, "healthy");
  });
  it("choose by tier first, and nobody who cannot be used", () => {
    const other = one("best", { health: 9000 }, { tier: "quota" });
    const away = one("away", { health: 9000 }, { verdict: "rate" });
    assert.equal(winner([other, away, healthy], now, now)?.email, "healthy");
    assert.equal(winner([away], now, now), null);
  });
  it("keep what was chosen where it is as good", () => {
    const twin = one("twin", { health: 100, tokens: 500 });
    assert.equal(winner([twin, full], now, now)?.email, "full");
  });
  it("know what can be tried", () => {
    assert.equal(known("health", now), true);
    assert.equal(known("inFlight", now), true);
    assert.equal(known("affinity", now), false);
  });
});

describe("variables of Claude Code", () => {
  const env = {
    ANTHROPIC_MODEL: "gemini-3-pro",
    ANTHROPIC_DEFAULT_HAIKU_MODEL: "claude-x",
    ANTHROPIC_BASE_URL: "http://gemini",
  };
  it("say of Gemini’s models only that they have room", () => {
    assert.equal(long({}), null);
    assert.equal(long(env), false);
    const wide = lengthened(env, true);
    assert.deepEqual(wide, { ...env, ANTHROPIC_MODEL: "gemini-3-pro[1m]" });
    assert.equal(long(wide), true);
    assert.deepEqual(lengthened(wide, true), wide);
    assert.deepEqual(lengthened(wide, false), env);
  });
  it("send what is different, and take away what is empty", () => {
    assert.deepEqual(changed({ A: "1", B: "2", C: "3" }, { A: "1", B: " ", D: "4" }), {
      B: null,
      C: null,
      D: "4",
    });
    assert.deepEqual(changed(env, { ...env }), {});
  });
});
