// <x-toasts>: the short messages, one below the other.

import { html, nothing, repeat } from "../../vendor/lit.js";
import { t } from "../lib/i18n.js";
import { dismiss, keep, toasts } from "../lib/toast.js";
import { define, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";
import { once } from "../ui/second.js";

class Toasts extends View {
  constructor() {
    super();
    this.popover = "manual";
  }

  updated() {
    // Above open dialogs: in the top layer, and taken out and put in again to be the last there.
    this.hidePopover();
    if (toasts.peek().length > 0) {
      this.showPopover();
    }
  }

  render() {
    return html`<div class="toasts" role="status" aria-live="polite" aria-label=${t("app.messages")}>
      ${repeat(
        toasts.get(),
        ({ id }) => id,
        ({ id, tone, text, action }) =>
          html`<div
            class="toast"
            data-tone=${tone}
            @pointerenter=${() => keep(id, false)}
            @pointerleave=${() => keep(id, true)}
            @focusin=${() => keep(id, false)}
            @focusout=${() => keep(id, true)}
          >
            ${icon(tone)}
            <p>${text}</p>
            ${
              action
                ? html`<button
                    type="button"
                    class="button small"
                    @click=${once(() => {
                      dismiss(id);
                      action.run();
                    })}
                  >
                    ${action.label}
                  </button>`
                : nothing
            }
            <button
              type="button"
              class="button icon-only small ghost"
              aria-label=${t("app.dismiss")}
              @click=${once(() => dismiss(id))}
            >
              ${icon("close")}
            </button>
          </div>`,
      )}
    </div>`;
  }
}

define("x-toasts", Toasts);
