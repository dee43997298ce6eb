// Keys that work on every page.

import { access } from "../lib/api.js";
import { part } from "../lib/errors.js";
import { prefs } from "../lib/prefs.js";
import { reloadAll } from "../lib/resource.js";
import { go, href } from "../lib/router.js";
import { deed } from "../lib/shortcuts.js";
import { openTray } from "./bell.js";

/** How long the second key of a pair may take. */
const PAIR_MS = 1_500;

/** The key that does it, where single keys are on. @param {string} key */
export const palette = (key) => (prefs.get().shortcuts ? key.toUpperCase() : undefined);

/** As the machine's keyboard has it. */
export const command = () => (/Mac|iPhone|iPad/.test(navigator.platform) ? "⌘ K" : "Ctrl K");

export const findAnything = async () => (await part(import("./palette.js")))?.openPalette();

/** The sheet that tells the keys. */
export const help = async () => (await part(import("./sheet.js")))?.openSheet();

let first = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let pair;

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.defaultPrevented || access.peek() !== "in") {
    return;
  }
  const at = /** @type {HTMLElement | null} */ (event.target);
  const writing = Boolean(
    at?.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [role=menu], dialog"),
  );
  const told = deed(event, { writing, first, single: prefs.peek().shortcuts });
  first = told.first;
  clearTimeout(pair);
  if (first) {
    pair = setTimeout(() => {
      first = false;
    }, PAIR_MS);
  }
  const wish = told.deed;
  if (!wish) {
    return;
  }
  event.preventDefault();
  switch (wish.does) {
    case "palette":
      findAnything();
      break;
    case "help":
      help();
      break;
    case "search": {
      const field = document.querySelector("main input[type=search]");
      /** @type {HTMLInputElement | null} */ (field)?.focus();
      break;
    }
    case "refresh":
      reloadAll();
      break;
    case "attention":
      openTray();
      break;
    case "go":
      go(href(wish.page));
      break;
  }
}

/** Hears them from now on. */
export function listen() {
  addEventListener("keydown", pressed);
}
