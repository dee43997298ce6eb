// The sheet of the keys. Loaded when it is asked for.

import { html } from "../../vendor/lit.js";
import { messages, t } from "../lib/i18n.js";
import { prefer, prefs } from "../lib/prefs.js";
import { PLACES, SINGLE } from "../lib/shortcuts.js";
import { loadStyle } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { toggle } from "../ui/parts.js";
import { command } from "./keys.js";

let shown = false;

/** Opens it, once. */
export async function openSheet() {
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
