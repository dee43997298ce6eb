// A text to copy.

import { html } from "../../vendor/lit.js";
import { copy } from "../lib/clipboard.js";
import { t } from "../lib/i18n.js";
import { icon } from "./icons.js";

/**
 * @param {string} text
 * @param {string} name What it is, for assistive technology.
 * @param {string} [whole] What is copied, where that is more than is shown.
 */
export const snippet = (text, name, whole = text) => html`
  <div class="snippet">
    <pre tabindex="0" role="region" aria-label=${name}>${text}</pre>
    <button
      type="button"
      class="button icon-only small ghost"
      aria-label=${t("app.copyWhat", { what: name })}
      title=${t("app.copy")}
      @click=${() => copy(whole)}
    >
      ${icon("copy")}
    </button>
  </div>
`;
