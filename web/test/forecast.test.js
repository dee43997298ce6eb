import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { endings, seriesOf } from "../../public/js/lib/forecast.js";

const STEP = 600_000;
const NOW = 1000 * STEP + 5;

/** @param {any[]} models */
const history = (models) => ({ now: NOW, from: NOW - 4 * STEP, stepMs: STEP, models });

describe("until when quotas last", () => {
  it("tells what runs out before it is filled again", () => {
    const told = history([
      { model: "late", points: [], runsOutAt: NOW + 50, perHour: 0.1 },
      { model: "soon", points: [], runsOutAt: NOW + 10, perHour: 0.5 },
      { model: "filled before", points: [], runsOutAt: NOW + 50, perHour: 0.1 },
      { model: "gone", points: [], runsOutAt: NOW + 50, perHour: 0.1 },
      { model: "out already", points: [], runsOutAt: NOW - 1, perHour: 0.1 },
      { model: "steady", points: [] },
    ]);
    const all = [
      { model: "late", reset: 0 },
      { model: "soon", reset: NOW + 11 },
      { model: "filled before", reset: NOW + 49 },
      { model: "out already", reset: 0 },
      { model: "steady", reset: 0 },
    ];
    assert.deepEqual(endings(told, all), [
      { model: "soon", at: NOW + 10, perHour: 0.5 },
      { model: "late", at: NOW + 50, perHour: 0.1 },
    ]);
    assert.deepEqual(endings(undefined, all), []);
  });

  it("draws gaps where nothing was noted", () => {
    const at = (/** @type {number} */ slot, /** @type {number} */ left) => ({
      time: slot * STEP,
      left,
      accounts: 1,
    });
    const told = history([
      { model: "a", points: [at(996, 0.9), at(997, 0.8), at(999, 0.6), at(1000, 0.5)] },
      { model: "b", points: [] },
    ]);
    assert.deepEqual(seriesOf(told, ["b", "a", "unknown"]), {
      times: [997, 998, 999, 1000].map((slot) => slot * STEP),
      series: [
        { label: "b", values: [null, null, null, null] },
        { label: "a", values: [0.8, null, 0.6, 0.5] },
      ],
    });
  });
});
