// The store's time rather than the browser's: countdowns are right on a machine whose clock is not.

import { signal } from "./signal.js";

/** Milliseconds that the gateway's clock is ahead of ours. */
let skew = 0;
/** How uncertain that is; the best estimate so far is kept, but not for ever. */
let doubt = Infinity;

/**
 * Learns from an answer. Its `date` is cut to seconds, so half of one is added.
 * @param {string | null} date
 * @param {number} sent
 * @param {number} received
 */
export function learn(date, sent, received) {
  const told = date ? Date.parse(date) : NaN;
  if (Number.isNaN(told)) {
    return;
  }
  const uncertain = 500 + (received - sent) / 2;
  doubt *= 1.02;
  if (uncertain <= doubt) {
    doubt = uncertain;
    const found = told + 500 - (sent + received) / 2;
    // Below what a second-wide date can tell it is noise.
    skew = Math.abs(found) <= uncertain ? 0 : found;
  }
}

/** Milliseconds since the epoch, by the gateway's clock. */
export const now = () => Date.now() + skew;

/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

/** Changes each second while anybody looks at it. */
export const tick = signal(0, {
  watched() {
    timer = setInterval(() => tick.set(tick.peek() + 1), 1000);
  },
  unwatched() {
    clearInterval(timer);
  },
});
