// What is told of replicas that came and went.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { joined, lost } from "../../public/js/lib/past.js";

const told = (time, kind, replica, host) => ({ time, kind: `replica.${kind}`, replica, host });

describe("lost replicas", () => {
  it("are those that ended without a word, the latest first", () => {
    const events = [
      told(1, "joined", "a", "pod-1"),
      told(2, "joined", "b", "pod-2"),
      told(3, "left", "c"),
      told(4, "lapsed", "a", "pod-1"),
      told(5, "lapsed", "b", "pod-2"),
    ];
    assert.deepEqual(lost(events, new Set(["d"]), 0), [
      { id: "b", host: "pod-2", at: 5 },
      { id: "a", host: "pod-1", at: 4 },
    ]);
  });
  it("are forgotten after a while", () => {
    const events = [told(4, "lapsed", "a", "pod-1"), told(9, "lapsed", "b", "pod-2")];
    assert.deepEqual(
      lost(events, new Set(), 5).map(({ id }) => id),
      ["b"],
    );
  });
  it("are not those that were only late", () => {
    const events = [told(4, "lapsed", "a", "pod-1"), told(5, "joined", "a", "pod-1"), told(6, "lapsed", "b")];
    assert.deepEqual(lost(events, new Set(["b"]), 0), []);
  });
  it("have a name also where their machine is not told", () => {
    assert.deepEqual(lost([told(4, "lapsed", "a"), { time: 5, kind: "replica.lapsed" }], new Set(), 0), [
      { id: "a", host: "a", at: 4 },
    ]);
  });
});

describe("what is remembered and what was told meanwhile", () => {
  const limit = (time, account) => ({ time, kind: "limit.set", account, model: "m" });

  it("is joined in order, each once", () => {
    const meanwhile = [limit(2, "a"), limit(3, "a")];
    assert.deepEqual(joined([limit(1, "a"), limit(2, "a")], meanwhile), [
      limit(1, "a"),
      limit(2, "a"),
      limit(3, "a"),
    ]);
  });

  it("keeps what happened to two accounts in the same moment", () => {
    assert.deepEqual(joined([limit(1, "a")], [limit(1, "b")]), [limit(1, "a"), limit(1, "b")]);
  });

  it("is bounded", () => {
    const many = Array.from({ length: 6_000 }, (_, time) => limit(time, "a"));
    assert.deepEqual(joined(many, [limit(9_000, "a")]).slice(-2), [limit(5_999, "a"), limit(9_000, "a")]);
    assert.equal(joined(many, []).length, 5_000);
  });
});
