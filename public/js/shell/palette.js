// The command palette: pages, accounts, settings and what can be done, found by a few letters. Loaded when it is asked for.

import { html, nothing } from "../../vendor/lit.js";
import { now } from "../lib/clock.js";
import { best } from "../lib/find.js";
import { LANGUAGES, language, messages, speak, t } from "../lib/i18n.js";
import { prefer, prefs } from "../lib/prefs.js";
import { plain } from "../lib/format.js";
import { masked, who } from "../lib/privacy.js";
import { reloadAll, resource } from "../lib/resource.js";
import { go, href } from "../lib/router.js";
import { about, logOut } from "../lib/session.js";
import { PLACES } from "../lib/shortcuts.js";
import { loadStyle } from "../lib/view.js";
import { views } from "../lib/views.js";
import { PAGES } from "../pages.js";
import { open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { viewHref } from "../ui/views.js";
import { openTray } from "./bell.js";
import { help, palette as keysOf } from "./keys.js";
import { mendAll, waiting } from "./tray.js";

/**
 * @typedef {object} Choice
 * @property {string} id
 * @property {string} label
 * @property {string} [more] What it is found by, too.
 * @property {string} [note] Said beside it.
 * @property {import("../ui/icons.js").Icon} icon
 * @property {string} [keys] The keys that do the same.
 * @property {() => unknown} run
 */

/** Of each kind. */
const [SHOWN, ACCOUNTS] = [12, 8];
const FRESH_MS = 60_000;

/** @type {() => import("../lib/resource.js").Resource<any>} */
const limits = () => resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });
/** @type {() => import("../lib/resource.js").Resource<any>} */
const settings = () => resource("api/settings", { events: ["settings"] });

let shown = false;

export async function openPalette() {
  if (shown) {
    return;
  }
  shown = true;
  await Promise.all([messages("shell"), loadStyle("shell-extra")]);
  let search = "";
  let at = 0;
  /** @type {Choice[]} */
  let flat = [];

  const dialog = open((close, titleId) => {
    const groups = found(search);
    flat = groups.flatMap(({ choices }) => choices);
    at = Math.min(at, Math.max(0, flat.length - 1));
    const run = (/** @type {Choice} */ choice) => {
      close();
      choice.run();
    };
    return html`<div class="palette">
      <h2 class="unseen" id=${titleId}>${t("shell.palette.title")}</h2>
      <label class="palette-field">
        ${icon("search")}
        <span class="unseen">${t("shell.palette.label")}</span>
        <input
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-autocomplete="list"
          aria-activedescendant=${flat[at] ? `palette-${at}` : nothing}
          placeholder=${t("shell.palette.label")}
          autocomplete="off"
          spellcheck="false"
          @input=${(/** @type {InputEvent} */ event) => {
            search = /** @type {HTMLInputElement} */ (event.target).value;
            at = 0;
            dialog.draw();
          }}
          @keydown=${(/** @type {KeyboardEvent} */ event) => {
            const last = flat.length - 1;
            const to = {
              ArrowDown: at >= last ? 0 : at + 1,
              ArrowUp: at <= 0 ? last : at - 1,
              PageDown: Math.min(last, at + 8),
              PageUp: Math.max(0, at - 8),
            }[event.key];
            if (to !== undefined) {
              event.preventDefault();
              at = Math.max(0, to);
              dialog.draw();
              dialog.element.querySelector(`#palette-${at}`)?.scrollIntoView({ block: "nearest" });
            } else if (event.key === "Enter" && !event.isComposing && flat[at]) {
              event.preventDefault();
              run(flat[at]);
            }
          }}
        />
        <kbd aria-hidden="true">Esc</kbd>
      </label>
      <div class="palette-list" role="listbox" id="palette-list" aria-label=${t("shell.palette.found")}>
        ${groups.map(
          ({ name, choices }) =>
            html`<div role="group" aria-labelledby="palette-of-${name}">
              <div class="palette-group" id="palette-of-${name}" role="presentation">
                ${t(`shell.palette.${name}`)}
              </div>
              ${choices.map((choice) => {
                const index = flat.indexOf(choice);
                return html`<div
                  role="option"
                  id="palette-${index}"
                  class="palette-choice"
                  aria-selected=${index === at}
                  @pointermove=${() => {
                    if (at !== index) {
                      at = index;
                      dialog.draw();
                    }
                  }}
                  @click=${() => run(choice)}
                >
                  ${icon(choice.icon)}<span class="palette-label">${choice.label}</span>${
                    choice.note ? html`<small>${choice.note}</small>` : nothing
                  }${choice.keys ? html`<kbd>${choice.keys}</kbd>` : nothing}
                </div>`;
              })}
            </div>`,
        )}
      </div>
      ${
        flat.length === 0
          ? html`<p class="palette-none" role="status">${t("shell.palette.none", { search })}</p>`
          : html`<span class="unseen" role="status">${t("shell.palette.count", { n: flat.length })}</span>`
      }
    </div>`;
  });
  dialog.element.classList.add("palette-dialog");
  // What is not there yet is fetched, and found then.
  for (const one of [limits(), settings()]) {
    if (now() - one.peek().at > FRESH_MS) {
      one.reload().then(() => shown && dialog.draw());
    }
  }
  await dialog.closed;
  shown = false;
}

/** @param {string} search */
function found(search) {
  const typed = search.trim() !== "";
  return [
    { name: "pages", choices: best(search, pages(), SHOWN) },
    { name: "views", choices: best(search, savedViews(), SHOWN) },
    { name: "actions", choices: best(search, actions(), typed ? SHOWN : 5) },
    { name: "accounts", choices: typed ? best(search, accounts(), ACCOUNTS) : [] },
    { name: "models", choices: typed ? best(search, models(), ACCOUNTS) : [] },
    { name: "settings", choices: typed ? best(search, keys(), ACCOUNTS) : [] },
  ].filter(({ choices }) => choices.length > 0);
}

/** @returns {Choice[]} */
function pages() {
  const letters = new Map(Object.entries(PLACES).map(([letter, page]) => [page, letter]));
  return PAGES.map((page) => ({
    id: page.name,
    label: t(`app.nav.${page.name}`),
    more: page.name,
    icon: page.icon,
    keys: prefs.get().shortcuts
      ? `G ${letters.get(/** @type {any} */ (page.name))?.toUpperCase() ?? ""}`.trim()
      : undefined,
    run: () => go(href(page.name)),
  }));
}

/** @returns {Choice[]} */
function savedViews() {
  return PAGES.flatMap((page) =>
    (views.get()[page.name] ?? []).map(({ name, query }) => ({
      id: `${page.name}?${query}`,
      label: plain(masked(name)),
      note: t(`app.nav.${page.name}`),
      icon: page.icon,
      run: () => go(viewHref(page.name, query)),
    })),
  );
}

/** @returns {Choice[]} */
function accounts() {
  return (limits().peek().data?.accounts ?? []).map((/** @type {any} */ { email, projectId }) => ({
    id: email,
    label: who(email),
    more: prefs.get().privacy ? "" : (projectId ?? ""),
    icon: "person",
    run: () => go(href("accounts", { open: email })),
  }));
}

/** @returns {Choice[]} */
function models() {
  return (limits().peek().data?.models ?? []).map((/** @type {string} */ model) => ({
    id: model,
    label: model,
    icon: "capacity",
    run: () => go(href("capacity", { open: model })),
  }));
}

/** Where each part of the settings is. */
const PARTS = /** @type {Record<string, string>} */ ({
  "Account selection": "routing",
  "Retries and waits": "routing",
  Models: "models",
});

/** @returns {Choice[]} */
function keys() {
  return (settings().peek().data?.rows ?? []).map((/** @type {any} */ row) => ({
    id: row.key,
    label: row.key,
    more: `${row.description ?? ""} ${row.section ?? ""}`,
    note: row.section,
    icon: "settings",
    run: () =>
      go(
        href(
          "settings",
          { q: row.key, only: row.applies === "fixed" ? "all" : null },
          PARTS[row.section] ?? "general",
        ),
      ),
  }));
}

/** @returns {Choice[]} */
function actions() {
  const { privacy, contrast, density, theme } = prefs.get();
  const emails = waiting();
  /** @type {(Choice | false)[]} */
  const all = [
    emails.length > 0 && {
      id: "mend",
      label: t("shell.tray.mend", { n: emails.length }),
      icon: "warn",
      run: () => mendAll(emails),
    },
    { id: "attention", label: t("shell.tray.title"), icon: "bell", keys: keysOf("t"), run: openTray },
    {
      id: "add",
      label: t("shell.action.add"),
      icon: "plus",
      run: async () => {
        const [{ signIn }] = await Promise.all([
          import("../pages/accounts/signin.js"),
          messages("accounts"),
          loadStyle("pages/accounts"),
        ]);
        if (await signIn()) {
          await limits().reload();
        }
      },
    },
    { id: "refresh", label: t("app.refresh"), icon: "refresh", keys: keysOf("r"), run: reloadAll },
    { id: "help", label: t("shell.keys.title"), icon: "info", keys: keysOf("?"), run: help },
    {
      id: "explain",
      label: t("shell.action.explain"),
      icon: "settings",
      run: () => go(href("settings", {}, "explain")),
    },
    {
      id: "failed",
      label: t("shell.action.failed"),
      icon: "requests",
      run: () => go(href("requests", { state: "failed" })),
    },
    {
      id: "errors",
      label: t("shell.action.errors"),
      icon: "logs",
      run: () => go(href("logs", { level: "ERROR,WARN" })),
    },
    {
      id: "presets",
      label: t("shell.action.presets"),
      icon: "settings",
      run: () => go(href("settings", {}, "presets")),
    },
    {
      id: "password",
      label: t("shell.action.password"),
      icon: "keys",
      run: () => go(href("settings", {}, "security")),
    },
    .../** @type {const} */ (["system", "light", "dark"]).map(
      (one) =>
        theme !== one && {
          id: `theme-${one}`,
          label: t("shell.action.theme", { name: t(`app.theme.${one}`) }),
          icon: one === "dark" ? /** @type {const} */ ("moon") : /** @type {const} */ ("sun"),
          run: () => prefer({ theme: one }),
        },
    ),
    .../** @type {const} */ (["comfortable", "compact"]).map(
      (one) =>
        density !== one && {
          id: `density-${one}`,
          label: t("shell.action.density", { name: t(`app.density.${one}`) }),
          icon: /** @type {const} */ ("menu"),
          run: () => prefer({ density: one }),
        },
    ),
    {
      id: "contrast",
      label: t("shell.action.contrast", { to: contrast === "more" ? "off" : "on" }),
      icon: "sun",
      run: () => prefer({ contrast: contrast === "more" ? "normal" : "more" }),
    },
    {
      id: "privacy",
      label: t("shell.action.privacy", { to: privacy ? "off" : "on" }),
      icon: privacy ? "eye" : "hidden",
      run: () => prefer({ privacy: !privacy }),
    },
    ...Object.entries(LANGUAGES).map(
      ([code, name]) =>
        code !== language.get() && {
          id: `language-${code}`,
          label: t("shell.action.language", { name }),
          more: code,
          icon: /** @type {const} */ ("globe"),
          run: () => {
            prefer({ language: code });
            speak(/** @type {import("../lib/i18n.js").Language} */ (code));
          },
        },
    ),
    Boolean(about.get()?.authRequired) && {
      id: "out",
      label: t("app.logOut"),
      icon: "out",
      run: logOut,
    },
  ];
  return all.filter((one) => one !== false);
}
