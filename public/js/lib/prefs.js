// What this browser remembers: how things look. Nothing of the pool, nothing secret.

import { signal } from "./signal.js";

const KEY = "antigravity-proxy.prefs";

/**
 * @typedef {object} Prefs
 * @property {"system" | "light" | "dark"} theme
 * @property {"normal" | "more"} contrast
 * @property {"comfortable" | "compact"} density
 * @property {string | null} language
 * @property {boolean} privacy Whether addresses are replaced, for screenshots.
 * @property {boolean} narrow Whether the navigation shows icons only.
 * @property {boolean} steps Whether the overview shows steps of the set-up that are only recommended.
 * @property {boolean} shortcuts Whether single keys do something; those with Ctrl or ⌘ always do.
 */

/** @type {Prefs} */
const USUAL = {
  theme: "system",
  contrast: "normal",
  density: "comfortable",
  language: null,
  privacy: false,
  narrow: false,
  steps: true,
  shortcuts: true,
};

/** What is one of a few. @type {Record<string, unknown[]>} */
const CHOICES = {
  theme: ["system", "light", "dark"],
  contrast: ["normal", "more"],
  density: ["comfortable", "compact"],
};

/** Whether something can be the value of that name. @param {string} name @param {unknown} value */
const usable = (name, value) =>
  CHOICES[name]?.includes(value) ??
  typeof value === (name === "language" ? "string" : typeof USUAL[/** @type {keyof Prefs} */ (name)]);

/** What is kept, as far as it can be used: anybody may have written it. @returns {Prefs} */
function read() {
  try {
    const kept = Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
    return { ...USUAL, ...Object.fromEntries(kept.filter(([name, value]) => usable(name, value))) };
  } catch {
    // Nothing that can be read, or a browser that does not let us.
    return { ...USUAL };
  }
}

export const prefs = signal(read());

/**
 * Calls `run` when another tab has changed what is kept under a key: as it is known here, it would be written over with the
 * next change.
 * @param {string} kept
 * @param {() => void} run
 */
export const elsewhere = (kept, run) =>
  globalThis.addEventListener?.("storage", ({ key }) => key === kept && run());

elsewhere(KEY, () => {
  prefs.set(read());
  show();
});

/** @param {Partial<Prefs>} change */
export function prefer(change) {
  const next = { ...prefs.peek(), ...change };
  prefs.set(next);
  try {
    localStorage.setItem(KEY, JSON.stringify(next));
  } catch {
    // A browser that keeps nothing forgets it with the tab.
  }
  show();
}

/** Puts them on the page; `js/early.js` did so before the first paint. */
export function show() {
  const { theme, contrast, density } = prefs.peek();
  Object.assign(document.documentElement.dataset, { theme, contrast, density });
}
