// <x-views>: the saved views of the page, and a place to save the present one.

import { html } from "../../vendor/lit.js";
import { plain } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { masked } from "../lib/privacy.js";
import { go, route } from "../lib/router.js";
import { toast } from "../lib/toast.js";
import { define, View } from "../lib/view.js";
import { forget, keep, viewOf, views } from "../lib/views.js";
import { frame, open } from "./dialog.js";
import "./menu.js";

/** The address of a view. @param {string} page @param {string} query */
export const viewHref = (page, query) => `#/${page}${query ? `?${query}` : ""}`;

/** Asks for a name, and saves what the address has. @param {string} page */
function save(page) {
  const query = viewOf(route.peek().query);
  open((close, titleId) =>
    frame(
      titleId,
      t("app.views.save"),
      () => close(),
      html`<form
        id="${titleId}-form"
        @submit=${(/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
          const name = String(given.get("name")).trim();
          if (name) {
            keep(page, name, query);
            close();
            toast({ text: t("app.views.saved", { name: plain(name) }) });
          }
        }}
      >
        <p class="quiet">${t("app.views.text")}</p>
        <label class="field"
          ><span>${t("app.views.name")}</span
          ><input class="input" name="name" required maxlength="60" autocomplete="off" autofocus
        /></label>
      </form>`,
      html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
        <button type="submit" form="${titleId}-form" class="button primary">${t("app.views.keep")}</button>`,
    ),
  );
}

class Views extends View {
  render() {
    const { page, query } = route.get();
    const now = viewOf(query);
    const own = views.get()[page] ?? [];
    const present = own.find((one) => one.query === now);
    /** @type {() => import("./menu.js").Item[]} */
    const items = () => [
      ...(own.length > 0 ? [{ label: "", heading: t("app.views") }] : []),
      ...own.map((one) => ({
        label: plain(masked(one.name)),
        checked: one === present,
        run: () => go(viewHref(page, one.query)),
      })),
      ...(present
        ? [
            {
              label: t("app.views.remove", { name: plain(masked(present.name)) }),
              icon: /** @type {const} */ ("close"),
              run: () => {
                forget(page, present.name);
                toast({
                  text: t("app.views.removed", { name: plain(masked(present.name)) }),
                  action: { label: t("app.undo"), run: () => keep(page, present.name, present.query) },
                });
              },
            },
          ]
        : [
            {
              label: t("app.views.save"),
              icon: /** @type {const} */ ("plus"),
              disabled: now === "",
              run: () => save(page),
            },
          ]),
    ];
    return html`<x-menu .label=${t("app.views")} .icon=${"star"} .items=${items}></x-menu>`;
  }
}

define("x-views", Views);
