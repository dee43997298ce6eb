// Asking the gateway: failures by kind, resources in their states, changes that are taken back.

import assert from "node:assert/strict";
import { after, beforeEach, describe, it, mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

globalThis.document = Object.assign(new EventTarget(), {
  baseURI: "http://gateway.test/base/",
  hidden: false,
});

const { access, api, ApiError, address, reachable } = await import("../../public/js/lib/api.js");
const { resource, freshness } = await import("../../public/js/lib/resource.js");
const { Follow } = await import("../../public/js/lib/follow.js");
const { act } = await import("../../public/js/lib/action.js");
const { standIn } = await import("../../public/js/lib/session.js");
const { toasts, dismiss } = await import("../../public/js/lib/toast.js");
const { tracker } = await import("../../public/js/lib/signal.js");

let answer = () => ({ status: 200, body: { status: "ok" } });
const asked = [];
globalThis.fetch = async (url, options) => {
  asked.push([options.method, url, options.body, Object.fromEntries(options.headers)]);
  const { status, body, headers } = await answer(url, options);
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });
};
const settle = async () => {
  for (let n = 0; n < 10; n += 1) {
    await turn();
  }
};
const quiet = () => toasts.peek().forEach(({ id }) => dismiss(id));

beforeEach(() => {
  asked.length = 0;
  access.set("in");
  quiet();
});
after(quiet);

describe("api", () => {
  it("asks below the console's own address, as no form could", async () => {
    await api("/api/x", { body: { a: 1 } });
    const [[method, url, body, headers]] = asked;
    assert.deepEqual([method, url, body], ["POST", "http://gateway.test/base/api/x", '{"a":1}']);
    assert.equal(headers["x-requested-with"], "console");
    assert.equal(headers["content-type"], "application/json");
    assert.equal(address("api/y"), "http://gateway.test/base/api/y");
  });

  const cases = [
    [400, "invalid"],
    [401, "unauthorised"],
    [403, "forbidden"],
    [404, "notFound"],
    [409, "conflict"],
    [413, "invalid"],
    [429, "limited"],
    [500, "server"],
    [502, "unavailable"],
    [503, "unavailable"],
  ];
  for (const [status, kind] of cases) {
    it(`tells ${status} as ${kind}`, async () => {
      answer = () => ({ status, body: { status: "error", error: "why" }, headers: { "retry-after": "7" } });
      await assert.rejects(api("api/x"), (error) => {
        assert.ok(error instanceof ApiError);
        assert.deepEqual(
          [error.kind, error.status, error.message, error.retryAfter],
          [kind, status, "why", 7],
        );
        return true;
      });
      assert.equal(access.peek(), status === 401 ? "out" : "in");
    });
  }

  it("keeps the session when a wrong password was sent", async () => {
    answer = () => ({ status: 401, body: { error: "wrong" } });
    await assert.rejects(api("api/session", { body: {}, quiet: true }));
    assert.equal(access.peek(), "in");
  });

  it("tells what is no JSON, and what does not answer", async () => {
    answer = () => ({ status: 200, body: "<html>" });
    await assert.rejects(api("api/x"), { kind: "server" });
    answer = () => Promise.reject(new TypeError("failed"));
    await assert.rejects(api("api/x"), { kind: "network" });
    assert.equal(reachable.peek(), false);
    answer = () => ({ status: 200, body: {} });
    await api("api/x");
    assert.equal(reachable.peek(), true);
  });

  it("takes a balancer's page for no answer, but not what the gateway says", async () => {
    for (const status of [502, 503, 504]) {
      answer = () => ({ status, body: "<html>" });
      await assert.rejects(api("api/x"), { kind: "network", status });
      assert.equal(reachable.peek(), false);
    }
    answer = () => ({ status: 503, body: { error: "away" } });
    await assert.rejects(api("api/x"), { kind: "unavailable" });
    assert.equal(reachable.peek(), true);
  });

  it("knows that a change without an answer may have been made", async () => {
    const unsure = async (/** @type {import("../../public/js/lib/api.js").Call} */ call) =>
      (await api("api/x", call).catch((error) => error)).unsure;
    for (const silent of [
      () => ({ status: 502, body: "<html>" }),
      () => Promise.reject(new TypeError("failed")),
    ]) {
      answer = silent;
      assert.deepEqual([await unsure({ body: {} }), await unsure({})], [true, false]);
    }
    answer = () => ({ status: 503, body: { error: "away" } });
    assert.equal(await unsure({ body: {} }), false);
  });

  it("stops when it is told to", async () => {
    const control = new AbortController();
    answer = () => Promise.reject(control.signal.reason);
    control.abort();
    await assert.rejects(api("api/x", { signal: control.signal }), { kind: "aborted" });
  });
});

describe("what a page reads piece by piece", () => {
  it("is fresh, then old with the reason, then fresh again", async () => {
    const rows = [];
    const read = () =>
      list.run(async () => {
        rows.push((await api("api/list")).n);
      });
    const list = new Follow(read);
    list.begin();
    answer = () => ({ status: 200, body: { n: 1 } });
    await read();
    assert.equal(list.peek().state, "ok");
    assert.equal(freshness.peek(), list.peek().at);
    answer = () => ({ status: 503, body: { error: "away" } });
    await read();
    assert.deepEqual(
      [list.peek().state, list.peek().error.message, list.peek().busy],
      ["stale", "away", false],
    );
    answer = () => ({ status: 200, body: { n: 2 } });
    await list.reload();
    assert.deepEqual([list.peek().state, list.peek().error, rows], ["ok", null, [1, 2]]);
    list.end();
    assert.equal(freshness.peek(), 0);
  });

  it("reads what came while the first piece was read, and only tells that an older one failed", async () => {
    let again = 0;
    const list = new Follow(async () => {
      again += 1;
    });
    assert.equal(await list.piece(async () => {}, false), null);
    assert.equal(again, 0);
    const first = async () => {
      list.missed = true;
    };
    assert.equal(await list.piece(first, false), null);
    assert.deepEqual([again, list.missed], [1, false]);
    answer = () => ({ status: 503, body: { error: "away" } });
    assert.equal(await list.piece(() => api("api/older"), true), null);
    assert.deepEqual(
      toasts.peek().map(({ tone, text }) => [tone, text]),
      [["bad", "away"]],
    );
    list.reset();
    const failed = await list.piece(() => api("api/list"), false);
    assert.equal(failed.message, "away");
  });

  it("hears nothing more of what was asked for before", async () => {
    const list = new Follow(async () => {});
    await list.run(async () => {});
    for (const status of [200, 503]) {
      let go = () => {};
      answer = () => new Promise((done) => (go = () => done({ status, body: {} })));
      const before = list.run(() => api("api/list"));
      await settle();
      list.reset();
      go();
      await before;
      assert.deepEqual([list.peek().state, list.peek().error], ["loading", null]);
      answer = () => ({ status: 200, body: {} });
      await list.run(() => api("api/list"));
      assert.equal(list.peek().state, "ok");
    }
  });

  it("tries again what failed at first, as what failed later", () => {
    mock.timers.enable({ apis: ["setInterval"] });
    let again = 0;
    const list = new Follow(async () => {
      again += 1;
    });
    list.begin();
    mock.timers.tick(10_000);
    assert.equal(again, 0, "it is its page that begins");
    list.set({ error: new ApiError("unavailable", 503, "away") });
    mock.timers.tick(10_000);
    assert.equal(again, 1);
    list.end();
    mock.timers.reset();
  });

  it("leaves it to its page when there is nothing yet, and a log-in to the log-in", async () => {
    const list = new Follow(async () => {});
    list.begin();
    const read = () => list.run(() => api("api/list"));
    answer = () => ({ status: 500, body: { error: "broken" } });
    await assert.rejects(read());
    assert.deepEqual([list.peek().state, list.peek().busy], ["loading", false]);
    assert.equal(list.peek().error.message, "broken");
    answer = () => ({ status: 200, body: {} });
    await read();
    answer = () => ({ status: 401, body: { error: "who" } });
    await read();
    assert.equal(list.peek().state, "ok");
    list.reset();
    assert.deepEqual([list.peek().state, list.peek().at], ["loading", 0]);
    list.end();
  });
});

describe("resources", () => {
  /** @param {string} path */
  const looked = async (path) => {
    const one = resource(path);
    const view = tracker(() => {});
    view.run(() => one.get());
    await settle();
    return { one, end: () => view.stop() };
  };

  it("are ok, then stale, then ok again", async () => {
    answer = () => ({ status: 200, body: { n: 1 } });
    const { one, end } = await looked("api/a");
    assert.deepEqual([one.peek().state, one.peek().data], ["ok", { n: 1 }]);
    assert.equal(freshness.peek(), one.peek().at);
    answer = () => ({ status: 503, body: { error: "away" } });
    await one.reload();
    assert.deepEqual(
      [one.peek().state, one.peek().data, one.peek().error.kind],
      ["stale", { n: 1 }, "unavailable"],
    );
    answer = () => ({ status: 200, body: { n: 2 } });
    await one.reload();
    assert.deepEqual([one.peek().state, one.peek().data.n, one.peek().error], ["ok", 2, null]);
    end();
  });

  it("are an error where there was nothing", async () => {
    answer = () => ({ status: 500, body: { error: "broken" } });
    const { one, end } = await looked("api/b");
    assert.deepEqual(
      [one.peek().state, one.peek().data, one.peek().error.message],
      ["error", undefined, "broken"],
    );
    end();
  });

  it("are asked for again soon after what may be over by then, and each time later", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      answer = () => ({ status: 502, body: { error: "gone" } });
      const { one, end } = await looked("api/retried");
      for (const [wait, times] of [
        [1_999, 1],
        [1, 2],
        [3_999, 2],
        [1, 3],
      ]) {
        mock.timers.tick(wait);
        await settle();
        assert.equal(asked.length, times, `after ${wait} ms more`);
      }
      answer = () => ({ status: 200, body: { n: 1 } });
      mock.timers.tick(8_000);
      await settle();
      assert.equal(one.peek().state, "ok");
      end();

      asked.length = 0;
      answer = () => ({ status: 403, body: { error: "no" } });
      const refused = await looked("api/refused");
      mock.timers.tick(59_999);
      await settle();
      assert.equal(asked.length, 1, "a refusal does not pass by itself");
      refused.end();
    } finally {
      mock.timers.reset();
    }
  });

  it("forget what they had when we are logged out", async () => {
    answer = () => ({ status: 200, body: { n: 1 } });
    const { one, end } = await looked("api/c");
    access.set("out");
    assert.deepEqual([one.peek().state, one.peek().data], ["unauthorised", undefined]);
    end();
  });

  it("are the same for everybody, and asked for once at a time", async () => {
    assert.equal(resource("api/d"), resource("api/d"));
    answer = () => ({ status: 200, body: {} });
    const { one, end } = await looked("api/d");
    asked.length = 0;
    const all = [one.reload(), one.reload(), one.reload()];
    await Promise.all(all);
    await settle();
    assert.equal(asked.length, 2, "one, and one more for what came meanwhile");
    end();
  });

  it("are there as they were when it was wished, though an older answer is under way", async () => {
    const { one, end } = await looked("api/j");
    /** @type {((text: string) => void)[]} */
    const held = [];
    answer = () => new Promise((give) => held.push((text) => give({ status: 200, body: { text } })));
    const first = one.reload();
    await settle();
    let done = false;
    const wished = one.reload().then(() => {
      done = true;
    });
    held[0]("before");
    await first;
    await settle();
    assert.deepEqual([one.peek().data.text, done], ["before", false]);
    held[1]("after");
    await wished;
    assert.equal(one.peek().data.text, "after");
    end();
  });

  it("show a change at once, and take it back when it is refused", async () => {
    let on = true;
    answer = (_, { method }) =>
      method === "GET" ? { status: 200, body: { on } } : { status: 409, body: { error: "no" } };
    const { one, end } = await looked("api/e");
    const change = act({
      on: one,
      send: () => api("api/e", { method: "POST" }),
      show: (data) => ({ ...data, on: false }),
      done: "done",
    });
    assert.equal(one.peek().data.on, false);
    assert.equal(await change, false);
    assert.equal(one.peek().data.on, true);
    assert.deepEqual(
      toasts.peek().map(({ tone, text }) => [tone, text]),
      [["bad", "no"]],
    );
    answer = (_, { method }) => {
      on = on && method === "GET";
      return { status: 200, body: { on } };
    };
    let undone = false;
    assert.ok(
      await act({
        on: one,
        send: () => api("api/e", { method: "POST" }),
        show: (data) => ({ ...data, on: false }),
        done: "done",
        undo: () => (undone = true),
      }),
    );
    assert.equal(one.peek().data.on, false);
    toasts.peek().at(-1).action.run();
    assert.ok(undone);
    end();
  });
});

describe("what stands in for Google", () => {
  const told = (...endpoints) => ({ config: { upstream: { endpoints } } });
  for (const [endpoints, host] of [
    [["http://127.0.0.1:40071"], "127.0.0.1:40071"],
    [["http://localhost:1", "http://[::1]:2"], "localhost:1, [::1]:2"],
    [["http://127.0.0.1:1", "https://cloudcode-pa.googleapis.com"], ""],
    [["https://127.0.0.1.example.com"], ""],
    [["no address"], ""],
  ]) {
    it(`is ${host || "nothing"} for ${endpoints}`, () => assert.equal(standIn(told(...endpoints)), host));
  }
  it("is not known to strangers", () => assert.equal(standIn({ version: "1" }), ""));
});
