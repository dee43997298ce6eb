// A page that the navigation has and whose content is still to come.

import { html } from "../../vendor/lit.js";
import { t } from "../lib/i18n.js";
import { define, View } from "../lib/view.js";
import { empty, head } from "./parts.js";

/**
 * @param {string} name
 * @returns {string} Its element.
 */
export function pending(name) {
  const tag = `page-${name}`;
  define(
    tag,
    class extends View {
      render() {
        return html`<div class="stack">
          ${head(t(`app.nav.${name}`))}
          ${empty({ title: t("app.pending.title"), text: t("app.pending.text") })}
        </div>`;
      }
    },
  );
  return tag;
}
