// The library below the pages, without a browser.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { spentUntil, stateOf, tightest } from "../../public/js/lib/accounts.js";
import * as format from "../../public/js/lib/format.js";
import { language } from "../../public/js/lib/i18n.js";
import { prefs } from "../../public/js/lib/prefs.js";
import { masked, pseudonym, who } from "../../public/js/lib/privacy.js";
import { href, parse } from "../../public/js/lib/router.js";
import { matches, sorted, turned } from "../../public/js/lib/rows.js";
import { signal, tracker } from "../../public/js/lib/signal.js";
import { learn, now } from "../../public/js/lib/clock.js";
import { dismiss, toast, toasts } from "../../public/js/lib/toast.js";

describe("signals", () => {
  it("tell who read them, and only them", () => {
    const [a, b] = [signal(1), signal(10)];
    let changes = 0;
    const tracked = tracker(() => (changes += 1));
    assert.equal(
      tracked.run(() => a.get() + b.peek()),
      11,
    );
    b.set(20);
    assert.equal(changes, 0);
    a.set(2);
    a.set(2);
    assert.equal(changes, 1);
    tracked.run(() => b.get());
    a.set(3);
    assert.equal(changes, 1, "what the last run did not read is not watched any more");
    b.set(30);
    assert.equal(changes, 2);
    tracked.stop();
    b.set(40);
    assert.equal(changes, 2);
  });

  it("know when they are watched", () => {
    const told = [];
    const one = signal(0, { watched: () => told.push("on"), unwatched: () => told.push("off") });
    const tracked = tracker(() => {});
    tracked.run(() => one.get());
    tracked.run(() => one.get());
    const end = one.subscribe(() => {});
    tracked.stop();
    end();
    assert.deepEqual(told, ["on", "off"]);
  });

  it("nest", () => {
    const [a, b] = [signal(1), signal(1)];
    const told = [];
    const outer = tracker(() => told.push("outer"));
    const inner = tracker(() => told.push("inner"));
    outer.run(() => {
      inner.run(() => b.get());
      a.get();
    });
    b.set(2);
    a.set(2);
    assert.deepEqual(told, ["inner", "outer"]);
  });
});

describe("figures", () => {
  it("are written in the language", () => {
    const cases = [
      [format.number(1234567.891), "1,234,567.891".slice(0, 9).replace("1,234,567", "1,234,568")],
      [format.number(0.126, 2), "0.13"],
      [format.compact(999), "999"],
      [format.compact(12345), "12.3K"],
      [format.percent(0.764), "76%"],
      [format.percent(0), "0%"],
      [format.bytes(999), "999 byte"],
      [format.bytes(1_234_567), "1.2 MB"],
      [format.duration(340), "340ms"],
      [format.duration(1440), "1.4s"],
      [format.duration(65_000), "1m 5s"],
      [format.duration(7_500_000), "2h 5m"],
      [format.duration(90_000_000), "1d 1h"],
      [format.long(0), "0s"],
    ];
    for (const [said, wanted] of cases) {
      assert.equal(said, wanted);
    }
    language.set("tr");
    assert.equal(format.number(1234), "1.234");
    assert.equal(format.percent(0.5), "%50");
    language.set("en");
  });

  it("are a dash where nothing is known, never a zero", () => {
    for (const one of [
      format.number,
      format.compact,
      format.percent,
      format.bytes,
      format.duration,
      format.relative,
    ]) {
      assert.equal(one(null), format.UNKNOWN);
      assert.equal(one(undefined), format.UNKNOWN);
      assert.equal(one(NaN), format.UNKNOWN);
    }
  });

  it("show what would deceive the eye", () => {
    assert.equal(format.plain("a\u202eb\u0007c\td\n"), "a\\u202eb\\u0007c\td\n");
  });

  it("count down by the gateway's clock", () => {
    const sent = Date.now();
    learn(new Date(sent + 3_600_000).toUTCString(), sent, sent + 20);
    const ahead = now() - Date.now();
    assert.ok(Math.abs(ahead - 3_600_000) <= 1_000, `${ahead}`);
    assert.equal(format.until(now() + 60_400), "1m");
    assert.equal(format.until(now() - 1), "");
    assert.match(format.relative(now() - 180_000), /^3 min/);
  });
});

describe("addresses of views", () => {
  it("go there and back", () => {
    const to = href("accounts", { q: "a b&c", state: "", sort: null }, "x/y");
    assert.equal(to, "#/accounts/x%2Fy?q=a+b%26c");
    const { page, rest, query } = parse(to);
    assert.deepEqual([page, rest, query.get("q"), query.size], ["accounts", ["x/y"], "a b&c", 1]);
  });

  it("survive nonsense", () => {
    for (const hash of ["", "#", "#/", "#//", "#/%", "accounts", "#/accounts?%"]) {
      assert.equal(typeof parse(hash).page, "string", hash);
    }
    assert.equal(parse("#/%").page, "%");
    assert.equal(parse("#accounts").page, "accounts");
  });
});

describe("rows", () => {
  const rows = [
    { id: "a", n: 2, w: "b10" },
    { id: "b", n: null, w: "B9" },
    { id: "c", n: 1, w: null },
    { id: "d", n: 2, w: "a" },
  ];
  const columns = { n: (row) => row.n, w: (row) => row.w };
  const ids = (order) =>
    sorted(rows, order, columns)
      .map((row) => row.id)
      .join("");

  it("sort, the unknown last either way, equals as they were", () => {
    assert.deepEqual(
      [ids("n"), ids("-n"), ids("w"), ids("-w"), ids("?"), ids("-constructor")],
      ["cadb", "adcb", "dbac", "abdc", "abcd", "abcd"],
    );
  });

  it("match when all words are there", () => {
    assert.ok(matches("ADA pro", ["ada@example.com", null, "pro"]));
    assert.ok(!matches("ada free", ["ada@example.com", "pro"]));
    assert.ok(matches("  ", []));
  });

  it("turn around", () => {
    assert.deepEqual(
      [turned("a", "b"), turned("b", "b"), turned("-b", "b"), turned("a", "b", true)],
      ["b", "-b", "b", "-b"],
    );
  });
});

describe("privacy", () => {
  it("names the same address the same, in texts too", () => {
    const name = pseudonym("ada@example.com");
    assert.match(name, /^account-[0-9a-z]{5}$/);
    assert.equal(pseudonym("ADA@example.com"), name);
    assert.notEqual(pseudonym("bob@example.com"), name);
    assert.equal(who("ada@example.com"), "ada@example.com");
    prefs.set({ ...prefs.peek(), privacy: true });
    assert.equal(who("ada@example.com"), name);
    assert.equal(masked("Account ada@example.com is limited."), `Account ${name} is limited.`);
    prefs.set({ ...prefs.peek(), privacy: false });
  });
});

describe("toasts", () => {
  it("are five at most, and errors stay", () => {
    for (let n = 0; n < 7; n += 1) {
      toast({ tone: "bad", text: `${n}` });
    }
    assert.deepEqual(
      toasts.peek().map(({ text }) => text),
      ["2", "3", "4", "5", "6"],
    );
    toasts.peek().forEach(({ id }) => dismiss(id));
    assert.equal(toasts.peek().length, 0);
  });
});

describe("accounts", () => {
  const base = {
    email: "a@example.com",
    enabled: true,
    isInvalid: false,
    status: "ok",
    modelRateLimits: {},
    limits: { "claude-x": { remaining: "50%", remainingFraction: 0.5, resetTime: null } },
  };
  // Beyond what the clock is put forward by above.
  const soon = now() + 7_200_000;
  const spent = { remaining: "0%", remainingFraction: 0, resetTime: new Date(soon).toISOString() };
  const cases = [
    [{}, "ready"],
    [{ enabled: false, isInvalid: true }, "disabled"],
    [{ isInvalid: true, status: "banned" }, "banned"],
    [{ isInvalid: true, status: "invalid", verifyUrl: "https://accounts.google.com" }, "verify"],
    [{ isInvalid: true, status: "invalid" }, "signIn"],
    [{ status: "error", error: "no" }, "failing"],
    [{ cooldownUntil: soon }, "cooling"],
    [{ cooldownUntil: now() - 1 }, "ready"],
    [{ limits: {} }, "unknown"],
    [{ limits: { "claude-x": null } }, "unknown"],
    [{ limits: { "claude-x": spent } }, "limited"],
    [{ limits: { "claude-x": spent, "gemini-y": base.limits["claude-x"] } }, "ready"],
    [{ modelRateLimits: { "claude-x": { isRateLimited: true, resetTime: soon } } }, "limited"],
  ];
  for (const [change, state] of cases) {
    it(`is ${state} with ${JSON.stringify(change)}`, () => {
      assert.equal(stateOf({ ...base, ...change }).state, state);
    });
  }

  it("come back when the first of their models does", () => {
    const account = { ...base, limits: { "claude-x": spent }, modelRateLimits: {} };
    assert.ok(Math.abs(stateOf(account).until - soon) < 2);
    assert.equal(spentUntil(base, "claude-x"), null);
    const endless = { ...base, modelRateLimits: { "claude-x": { isRateLimited: true } } };
    assert.equal(spentUntil(endless, "claude-x"), 0);
    assert.equal(stateOf(endless).until, 0);
  });

  it("are as near to their end as the tightest model", () => {
    const limits = {
      "claude-a": { remainingFraction: 0.4 },
      "claude-b": { remainingFraction: 0.1 },
      "gemini-c": null,
    };
    assert.deepEqual(tightest({ ...base, limits }, "claude"), { model: "claude-b", fraction: 0.1 });
    assert.equal(tightest({ ...base, limits }, "gemini"), null);
  });
});
