// What needs somebody, with the way to each. Loaded when it is asked for.

import { html, nothing } from "../../vendor/lit.js";
import { OWNED } from "../lib/accounts.js";
import { list, plain } from "../lib/format.js";
import { messages, t } from "../lib/i18n.js";
import { masked, who } from "../lib/privacy.js";
import { href } from "../lib/router.js";
import { tracker } from "../lib/signal.js";
import { loadStyle } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { empty, failure, skeleton } from "../ui/parts.js";
import { attention } from "./bell.js";
import { look } from "./watch.js";

/** @typedef {import("../lib/attention.js").Need} Need */

/** How far apart it is looked while the list is open, in ms. */
const OPEN_MS = 5_000;
/** Names that are told of each. */
const NAMED = 3;
/** Where each is seen to. @type {Record<import("../lib/attention.js").Kind, string>} */
const WHERE = {
  store: href("fleet"),
  client: href("settings", { q: "oauth", only: "all" }, "general"),
  setup: href("overview"),
  rejected: href("settings"),
  capacity: href("capacity", { sort: "state" }),
  banned: href("accounts", { state: "attention" }),
  signIn: href("accounts", { state: "attention" }),
  verify: href("accounts", { state: "attention" }),
  failing: href("accounts", { state: "attention" }),
  waiting: href("accounts", { state: "attention" }),
  lapsed: href("fleet"),
  silent: href("fleet"),
  drift: href("fleet", { sort: "settings" }),
  rules: href("fleet", { sort: "version" }),
  versions: href("fleet", { sort: "version" }),
  restart: href("settings", { q: "" }, "general"),
};

let opening = false;
/** @type {import("../ui/dialog.js").Opened | null} */
let shown = null;

/** Goes through all accounts that wait for their owners. @param {string[]} emails */
export async function mendAll(emails) {
  const [{ fixAll }] = await Promise.all([
    import("../pages/accounts/fix.js"),
    messages("accounts"),
    loadStyle("pages/accounts"),
  ]);
  await fixAll(emails);
  await look({ accounts: true, now: true });
}

/** The accounts that wait for their owners. */
export const waiting = () =>
  (attention.peek() ?? []).filter(({ kind }) => OWNED.includes(kind)).flatMap(({ names }) => names);

/** Opens the list. */
export async function openTray() {
  if (opening || shown) {
    return;
  }
  opening = true;
  /** @type {unknown} */
  let wrong = null;
  await messages("shell");
  await loadStyle("shell-extra");
  const ask = () => {
    wrong = null;
    look({ accounts: true, now: true })
      .catch((error) => {
        wrong = error;
      })
      .finally(() => shown?.draw());
  };
  const drawer = open((close, titleId) => panel(close, titleId, wrong, ask), { kind: "drawer" });
  shown = drawer;
  opening = false;
  const follow = tracker(() => redraw());
  // Drawn anew when something comes or goes.
  const redraw = () =>
    follow.run(() => {
      attention.get();
      drawer.draw();
    });
  redraw();
  ask();
  const again = setInterval(() => !document.hidden && look(), OPEN_MS);
  await drawer.closed;
  clearInterval(again);
  follow.stop();
  shown = null;
}

/** @param {() => void} close @param {string} titleId @param {unknown} wrong @param {() => void} again */
function panel(close, titleId, wrong, again) {
  const all = attention.get();
  const emails = waiting();
  return frame(
    titleId,
    t("shell.tray.title"),
    () => close(),
    wrong
      ? failure(wrong, again)
      : all === null
        ? skeleton(3)
        : all.length === 0
          ? empty({ icon: "ok", title: t("shell.tray.none.title"), text: t("shell.tray.none.text") })
          : html`<ul class="needs">
              ${all.map((need) => row(need, close))}
            </ul>`,
    emails.length > 0
      ? html`<button
          type="button"
          class="button primary"
          @click=${() => {
            close();
            mendAll(emails);
          }}
        >
          ${t("shell.tray.mend", { n: emails.length })}
        </button>`
      : nothing,
  );
}

/** @param {Need} need @param {() => void} close */
function row({ kind, tone, n, names }, close) {
  const account = ["banned", "signIn", "verify", "failing"].includes(kind);
  const said = names.slice(0, NAMED).map((name) => (account ? who(name) : plain(masked(name))));
  return html`<li data-tone=${tone}>
    ${icon(tone)}
    <div>
      <a class="row-link" href=${WHERE[kind]} @click=${() => close()}>${t(`shell.need.${kind}`, { n })}</a>
      <p class="quiet">${t(`shell.need.${kind}.next`)}</p>
      ${
        said.length > 0
          ? html`<small class=${account ? "" : "mono"}
              >${list(said)}${n > said.length ? ` ${t("shell.need.more", { n: n - said.length })}` : nothing}</small
            >`
          : nothing
      }
    </div>
  </li>`;
}
