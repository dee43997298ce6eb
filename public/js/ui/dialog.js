// Dialogs and drawers: the browser's own <dialog>, which keeps the focus in and gives it back.

import { html, nothing, render } from "../../vendor/lit.js";
import { access } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { icon } from "./icons.js";
import { SECOND } from "./second.js";

let last = 0;

/** Those that are open. @type {Set<HTMLDialogElement>} */
const all = new Set();

// Nobody is let in any more: what they show is not for whoever is there now, and the log-in must not lie under them.
access.subscribe(() => {
  if (access.peek() !== "in") {
    all.forEach((element) => element.close());
  }
});

/**
 * @typedef {object} Opened
 * @property {HTMLDialogElement} element
 * @property {(value?: any) => void} close
 * @property {Promise<any>} closed What it was closed with; undefined where it was dismissed.
 * @property {() => void} draw Draws it anew.
 */

/**
 * Opens a dialog that is taken out of the page when it closes.
 * @param {(close: (value?: any) => void, titleId: string) => import("./parts.js").Content} draw
 * @param {{ kind?: "dialog" | "drawer", role?: "dialog" | "alertdialog" }} [options]
 * @returns {Opened}
 */
export function open(draw, { kind = "dialog", role = "dialog" } = {}) {
  const element = document.createElement("dialog");
  last += 1;
  const titleId = `dialog-${last}`;
  element.className = kind;
  element.setAttribute("role", role);
  element.setAttribute("aria-labelledby", titleId);
  /** @type {any} */
  let result;
  /** @param {any} [value] */
  const close = (value) => {
    result = value;
    element.close();
  };
  const again = () => render(draw(close, titleId), element);
  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => {
      all.delete(element);
      render(nothing, element);
      element.remove();
      // What had the focus before may be gone meanwhile.
      if (all.size === 0 && document.activeElement === document.body) {
        /** @type {HTMLElement | null} */ (document.querySelector("main"))?.focus({ preventScroll: true });
      }
      resolve(result);
    });
  });
  element.addEventListener("mousedown", (event) => {
    // Beside it, on its backdrop; not with the second click on what opened it.
    if (event.target === element && event.detail < 2) {
      close();
    }
  });
  document.body.append(element);
  again();
  all.add(element);
  element.showModal();
  // The browser chooses the first button, which closes it: so would a second Enter, meant for what opened it.
  if (document.activeElement?.matches(".frame > header > .button")) {
    document.getElementById(titleId)?.focus();
  }
  return { element, close, closed, draw: again };
}

/**
 * The frame of what is in a dialog.
 * @param {string} titleId
 * @param {string} title
 * @param {() => void} close
 * @param {import("./parts.js").Content} content
 * @param {import("./parts.js").Content} [actions]
 */
export const frame = (titleId, title, close, content, actions = nothing) => html`
  <section class="frame">
    <header>
      <h2 id=${titleId} tabindex="-1">${title}</h2>
      <button type="button" class="button icon-only ghost" aria-label=${t("app.close")} @click=${close}>
        ${icon("close")}
      </button>
    </header>
    <div class="content">${content}</div>
    ${actions === nothing ? nothing : html`<footer @click=${SECOND}>${actions}</footer>`}
  </section>
`;

/**
 * Asks whether it is meant.
 * @param {{ title: string, text: import("./parts.js").Content, action: string, tone?: "bad" | "plain", typed?: string }} what
 *   `typed` is a word that must be typed first.
 * @returns {Promise<boolean>}
 */
export async function confirm({ title, text, action, tone = "plain", typed }) {
  let entered = "";
  const dialog = open(
    (close, titleId) =>
      frame(
        titleId,
        title,
        () => close(false),
        html`<form
          id="${titleId}-form"
          @submit=${(/** @type {Event} */ event) => {
            event.preventDefault();
            if (typed === undefined || entered === typed) {
              close(true);
            }
          }}
        >
          <p>${text}</p>
          ${
            typed === undefined
              ? nothing
              : html`<label class="field"
                  ><span>${t("app.typeToConfirm", { word: typed })}</span
                  ><input
                    class="input"
                    autocomplete="off"
                    @input=${(/** @type {InputEvent} */ event) => {
                      entered = /** @type {HTMLInputElement} */ (event.target).value;
                      dialog.draw();
                    }}
                /></label>`
          }
        </form>`,
        html`<button type="button" class="button" @click=${() => close(false)}>${t("app.cancel")}</button>
          <button
            type="submit"
            form="${titleId}-form"
            class="button ${tone === "bad" ? "danger" : "primary"}"
            ?disabled=${typed !== undefined && entered !== typed}
          >
            ${action}
          </button>`,
      ),
    { role: "alertdialog" },
  );
  // What does no harm has the focus.
  const first = dialog.element.querySelector(typed === undefined ? "footer .button" : "input");
  /** @type {HTMLElement | null} */ (first)?.focus();
  return (await dialog.closed) === true;
}
