// Keys that work on every page, and the sheet that tells them.

import { html } from "../../vendor/lit.js";
import { access } from "../lib/api.js";
import { messages, t } from "../lib/i18n.js";
import { prefer, prefs } from "../lib/prefs.js";
import { reloadAll } from "../lib/resource.js";
import { go, href } from "../lib/router.js";
import { deed, PLACES, SINGLE } from "../lib/shortcuts.js";
import { loadStyle } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { toggle } from "../ui/parts.js";
import { openTray } from "./tray.js";

/** How long the second key of a pair may take. */
const PAIR_MS = 1_500;

/** The key that does it, where single keys are on. @param {string} key */
export const palette = (key) => (prefs.get().shortcuts ? key.toUpperCase() : undefined);

/** As the machine's keyboard has it. */
export const command = () => (/Mac|iPhone|iPad/.test(navigator.platform) ? "⌘ K" : "Ctrl K");

export const findAnything = () => import("./palette.js").then(({ openPalette }) => openPalette());

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

let shown = false;

/** The sheet. */
export async function help() {
  if (shown) {
    return;
  }
  shown = true;
  await Promise.all([messages("shell"), loadStyle("shell-extra")]);
  const row = (/** @type {string[]} */ keys, /** @type {string} */ text) =>
    html`<div>
      <dt>${keys.map((key) => html`<kbd>${key}</kbd>`)}</dt>
      <dd>${text}</dd>
    </div>`;
  const dialog = open((close, titleId) =>
    frame(
      titleId,
      t("shell.keys.title"),
      () => close(),
      html`<div class="sheet">
        <section aria-label=${t("shell.keys.everywhere")}>
          <h3>${t("shell.keys.everywhere")}</h3>
          <dl>
            ${row(command().split(" "), t("shell.keys.palette"))}
            ${Object.entries(SINGLE).map(([key, does]) => row([key.toUpperCase()], t(`shell.keys.${does}`)))}
            ${row(["Esc"], t("shell.keys.close"))}
          </dl>
          <div class="sheet-switch">
            <span>${t("shell.keys.single")}</span>
            ${toggle(t("shell.keys.single"), prefs.get().shortcuts, (shortcuts) => {
              prefer({ shortcuts });
              dialog.draw();
            })}
          </div>
          <p class="quiet">${t("shell.keys.single.text")}</p>
        </section>
        <section aria-label=${t("shell.keys.pages")}>
          <h3>${t("shell.keys.pages")}</h3>
          <dl>
            ${Object.entries(PLACES).map(([key, page]) =>
              row(["G", key.toUpperCase()], t(`app.nav.${page}`)),
            )}
          </dl>
        </section>
      </div>`,
    ),
  );
  dialog.element.classList.add("wide");
  await dialog.closed;
  shown = false;
}
