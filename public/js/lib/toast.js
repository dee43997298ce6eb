// Short messages at the edge. Errors stay until they are put away; what can be undone says so.

import { access } from "./api.js";
import { signal } from "./signal.js";

/**
 * @typedef {object} Toast
 * @property {number} id
 * @property {"ok" | "info" | "warn" | "bad"} tone
 * @property {string} text
 * @property {{ label: string, run: () => void }} [action]
 */

export const toasts = signal(/** @type {Toast[]} */ ([]));

/** @type {Map<number, ReturnType<typeof setTimeout>>} */
const timers = new Map();
let last = 0;
const [SHORT_MS, LONG_MS, MOST] = [5_000, 10_000, 5];

// They name accounts, and what they undo is not for whoever stands at the door.
access.subscribe(() => access.peek() !== "in" && toasts.set([]));

/**
 * @param {Omit<Toast, "id" | "tone"> & { tone?: Toast["tone"] }} what
 * @returns {number} For `dismiss`.
 */
export function toast(what) {
  last += 1;
  const made = { tone: /** @type {const} */ ("ok"), ...what, id: last };
  toasts.set([...toasts.peek(), made].slice(-MOST));
  keep(made.id, true);
  return made.id;
}

/** @param {number} id */
export function dismiss(id) {
  clearTimeout(timers.get(id));
  timers.delete(id);
  toasts.set(toasts.peek().filter((one) => one.id !== id));
}

/**
 * Starts or stops the time after which one goes: it stays while it is pointed at or has the focus.
 * @param {number} id
 * @param {boolean} counting
 */
export function keep(id, counting) {
  clearTimeout(timers.get(id));
  const found = toasts.peek().find((one) => one.id === id);
  if (counting && found && found.tone !== "bad") {
    timers.set(
      id,
      setTimeout(() => dismiss(id), found.action ? LONG_MS : SHORT_MS),
    );
  }
}
