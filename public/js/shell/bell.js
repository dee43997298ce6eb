// <x-bell>: how many things need somebody. Which ones, and whoever keeps an eye on them, come after the first page.

import { html, nothing } from "../../vendor/lit.js";
import { access } from "../lib/api.js";
import { part } from "../lib/errors.js";
import { number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { on } from "../lib/live.js";
import { signal } from "../lib/signal.js";
import { define, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";

/** What needs somebody, the worst first; `null` before anything is known. */
export const attention = signal(/** @type {import("../lib/attention.js").Need[] | null} */ (null));

/** Events after which it has to be looked anew. @type {import("../lib/live.js").About[]} */
const NEWS = ["account", "replica", "settings", "key"];

/** Not in the way of the page that is opened first; and when it could not be loaded, how soon again, in ms. */
const [FIRST_MS, AGAIN_MS] = [1_500, 10_000];

let begun = false;

/** Opens the list. */
export const openTray = async () => (await part(import("./tray.js")))?.openTray();

/** Begins to keep an eye on them, and on what happens until that is loaded. */
function watch() {
  let news = 0;
  const end = on(NEWS, () => {
    news = Date.now();
  });
  const load = () =>
    import("./watch.js").then(
      ({ begin }) => {
        end();
        begin(news);
      },
      // The gateway may be away just then.
      () => setTimeout(load, AGAIN_MS),
    );
  setTimeout(load, FIRST_MS);
}

class Bell extends View {
  connectedCallback() {
    super.connectedCallback();
    if (!begun && access.peek() === "in") {
      begun = true;
      watch();
    }
  }

  render() {
    const all = attention.get() ?? [];
    const worst = all[0]?.tone;
    return html`<button
      type="button"
      class="button icon-only ghost tray"
      aria-haspopup="dialog"
      aria-label=${t("app.attention", { n: all.length })}
      title=${t("app.attention", { n: all.length })}
      @click=${openTray}
    >
      ${icon("bell")}${
        worst ? html`<span class="tray-count num" data-tone=${worst}>${number(all.length)}</span>` : nothing
      }
    </button>`;
  }
}

define("x-bell", Bell);
