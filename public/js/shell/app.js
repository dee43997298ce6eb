// <x-app>: the log-in, or the navigation, the header and one page.

import { html, nothing } from "../../vendor/lit.js";
import { access, reachable } from "../lib/api.js";
import { part } from "../lib/errors.js";
import { has, language, LANGUAGES, messages, speak, t } from "../lib/i18n.js";
import { stream } from "../lib/live.js";
import { prefer, prefs } from "../lib/prefs.js";
import { busy, freshness, reloadAll } from "../lib/resource.js";
import { href, route } from "../lib/router.js";
import { about, logOut, standIn } from "../lib/session.js";
import { define, loadStyle, styled, View } from "../lib/view.js";
import { FIRST, pageOf, PAGES } from "../pages.js";
import { icon } from "../ui/icons.js";
import { empty, failure, skeleton } from "../ui/parts.js";
import "../ui/menu.js";
import "../ui/time.js";
import "./bell.js";
import "./door.js";
import { command, findAnything, listen } from "./keys.js";
import "./toasts.js";

const GROUPS = /** @type {const} */ (["observe", "pool", "operate"]);

listen();

class App extends View {
  static properties = { page: { state: true }, failed: { state: true } };

  constructor() {
    super();
    /** @type {{ name: string, element: HTMLElement | null } | null} What is shown. */
    this.page = null;
    /** @type {unknown} */
    this.failed = null;
    this.wanted = "";
    /** @type {(() => void)[]} */
    this.ends = [];
    /** @type {import("../ui/dialog.js").Opened | null} */
    this.drawer = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.ends = [route.subscribe(() => this.turn()), access.subscribe(() => this.turn())];
    this.turn();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.ends.forEach((end) => end());
  }

  /** Loads the page that the address names. */
  async turn() {
    if (access.peek() !== "in") {
      return;
    }
    const name = route.peek().page || FIRST;
    if (name === this.wanted && !this.failed) {
      return;
    }
    const first = this.wanted === "";
    this.wanted = name;
    this.failed = null;
    this.drawer?.close();
    const page = pageOf(name);
    if (!page) {
      this.page = { name, element: null };
      return;
    }
    try {
      const tag = await load(page);
      if (this.wanted === name) {
        this.page = { name, element: document.createElement(tag) };
        await this.updateComplete;
        scrollTo(0, 0);
        if (!first) {
          // Who uses a screen reader hears where they are.
          const heading = /** @type {HTMLElement | null} */ (this.querySelector("main h1"));
          heading?.focus({ preventScroll: true });
        }
      }
    } catch (error) {
      this.failed = error;
    }
  }

  updated() {
    if (access.peek() !== "unknown" || !reachable.peek()) {
      document.getElementById("splash")?.remove();
    }
    const title = this.page && access.peek() === "in" ? `${this.title_(this.page.name)} · ` : "";
    document.title = `${title}antigravity-proxy`;
  }

  /** @param {string} name */
  title_(name) {
    return has(`app.nav.${name}`) ? t(`app.nav.${name}`) : t("app.notFound.title");
  }

  render() {
    language.get();
    const allowed = access.get();
    if (allowed === "unknown") {
      return reachable.get()
        ? nothing
        : html`<main class="alone">
            <div class="blank" role="alert">
              ${icon("bad")}
              <h1>${t("app.failure.title.network")}</h1>
              <p>${t("app.failure.network")}</p>
            </div>
          </main>`;
    }
    if (allowed !== "in") {
      return html`<x-door></x-door><x-toasts></x-toasts>`;
    }
    return html`
      <a class="skip" href="#main" @click=${this.skip}>${t("app.skip")}</a>
      <div class="shell ${prefs.get().narrow ? "narrow" : ""}">
        <nav class="side" aria-label=${t("app.nav.label")}>${this.side()}</nav>
        <div class="stage">
          ${this.header()}
          <main id="main" tabindex="-1">${this.content()}</main>
        </div>
        ${this.bar()}
      </div>
      <x-toasts></x-toasts>
    `;
  }

  /** @param {Event} event */
  skip(event) {
    // The address is the router's.
    event.preventDefault();
    /** @type {HTMLElement | null} */ (this.querySelector("main"))?.focus();
  }

  content() {
    if (this.failed) {
      return failure(this.failed, () => location.reload());
    }
    if (!this.page) {
      return skeleton();
    }
    if (!this.page.element) {
      return html`<h1 class="unseen" tabindex="-1">${t("app.notFound.title")}</h1>
        ${empty({
          icon: "unknown",
          title: t("app.notFound.title"),
          text: t("app.notFound.text"),
          action: html`<a class="button" href=${href(FIRST)}>${t("app.nav.overview")}</a>`,
        })}`;
    }
    return this.page.element;
  }

  side() {
    const { narrow } = prefs.get();
    return html`
      <a class="brand" href=${href(FIRST)}>
        <img src="favicon.svg" alt="" width="22" height="22" />
        <span>antigravity-proxy</span>
      </a>
      ${this.links()}
      <div class="side-foot">
        <span class="version num">${about.get()?.version ?? ""}</span>
        <button
          type="button"
          class="button icon-only ghost"
          aria-label=${t(narrow ? "app.nav.widen" : "app.nav.narrow")}
          aria-expanded=${!narrow}
          title=${t(narrow ? "app.nav.widen" : "app.nav.narrow")}
          @click=${() => prefer({ narrow: !narrow })}
        >
          ${icon("sidebar")}
        </button>
      </div>
    `;
  }

  links() {
    const here = route.get().page || FIRST;
    return html`<div class="links">
      ${GROUPS.map(
        (group) => html`
          <div class="nav-group" role="group" aria-label=${t(`app.nav.group.${group}`)}>
            <div class="nav-title" aria-hidden="true">${t(`app.nav.group.${group}`)}</div>
            ${PAGES.filter((page) => page.group === group).map(
              (page) =>
                html`<a
                  href=${href(page.name)}
                  class="nav-link"
                  title=${t(`app.nav.${page.name}`)}
                  aria-current=${page.name === here ? "page" : nothing}
                  >${icon(page.icon)}<span>${t(`app.nav.${page.name}`)}</span></a
                >`,
            )}
          </div>
        `,
      )}
    </div>`;
  }

  bar() {
    const here = route.get().page || FIRST;
    return html`<nav class="bar" aria-label=${t("app.nav.short")}>
      ${PAGES.filter((page) => page.bar).map(
        (page) =>
          html`<a href=${href(page.name)} aria-current=${page.name === here ? "page" : nothing}
            >${icon(page.icon)}<span>${t(`app.nav.${page.name}`)}</span></a
          >`,
      )}
      <button type="button" aria-haspopup="dialog" @click=${this.more}>
        ${icon("menu")}<span>${t("app.nav.more")}</span>
      </button>
    </nav>`;
  }

  async more() {
    const dialog = await part(import("../ui/dialog.js"));
    if (!dialog || this.drawer?.element.open) {
      return;
    }
    this.drawer = dialog.open(
      (close, titleId) =>
        dialog.frame(
          titleId,
          t("app.nav.label"),
          () => close(),
          html`<nav aria-label=${t("app.nav.label")} @click=${() => close()}>${this.links()}</nav>`,
        ),
      { kind: "drawer" },
    );
  }

  header() {
    const { privacy } = prefs.get();
    return html`<header class="top">
      <span class="top-title">${this.page ? this.title_(this.page.name) : ""}</span>
      ${this.connection()} ${this.demo()}
      <span class="grow"></span>
      ${
        privacy
          ? html`<button
              type="button"
              class="privacy"
              title=${t("app.privacy.off")}
              @click=${() => prefer({ privacy: false })}
            >
              ${icon("hidden")}<span>${t("app.privacy.badge")}</span>
            </button>`
          : nothing
      }
      <button
        type="button"
        class="button ghost find"
        aria-label=${t("app.find")}
        aria-keyshortcuts="Control+K Meta+K"
        title=${t("app.find")}
        @click=${findAnything}
      >
        ${icon("search")}<span>${t("app.find.short")}</span
        ><kbd aria-hidden="true" data-keys=${command()}></kbd>
      </button>
      <x-bell></x-bell>
      <button
        type="button"
        class="button icon-only ghost ${busy.get() ? "turning" : ""}"
        aria-label=${t("app.refresh")}
        title=${t("app.refresh")}
        @click=${() => reloadAll()}
      >
        ${icon("refresh")}
      </button>
      <x-menu
        class="top-language"
        .label=${t("app.language")}
        .icon=${"globe"}
        .items=${this.languages()}
      ></x-menu>
      <x-menu .label=${t("app.display")} .icon=${"sun"} .items=${this.display()}></x-menu>
      <button
        type="button"
        class="button icon-only ghost"
        aria-label=${t("app.logOut")}
        title=${t("app.logOut")}
        ?hidden=${!about.get()?.authRequired}
        @click=${() => logOut()}
      >
        ${icon("out")}
      </button>
    </header>`;
  }

  /** Nobody shall take a simulator's accounts and figures for real ones. */
  demo() {
    const host = standIn(about.get());
    return host
      ? html`<span class="stand-in" title=${t("app.standIn.text", { host })}
          >${icon("info")}<span aria-hidden="true">${t("app.standIn")}</span
          ><span class="unseen">${t("app.standIn.text", { host })}</span></span
        >`
      : nothing;
  }

  connection() {
    const state = reachable.get() ? stream.get() : "offline";
    const tone = { live: "ok", connecting: "cooling", polling: "cooling", paused: "off", offline: "bad" }[
      state
    ];
    const at = freshness.get();
    return html`<span class="connection" role="status">
      <span class="badge" data-tone=${tone}>
        ${icon(/** @type {import("../ui/icons.js").Icon} */ (tone))}<span
          >${t(`app.connection.${state}`)}</span
        >
      </span>
      ${
        at > 0
          ? html`<span class="fresh" aria-live="off"
              >${t("app.updated")} <x-time mode="relative" at=${at} local></x-time
            ></span>`
          : nothing
      }
    </span>`;
  }

  /** @returns {import("../ui/menu.js").Item[]} */
  languages() {
    return Object.entries(LANGUAGES).map(([code, label]) => ({
      label,
      checked: code === language.get(),
      run: () => {
        prefer({ language: code });
        speak(/** @type {import("../lib/i18n.js").Language} */ (code));
      },
    }));
  }

  /** @returns {import("../ui/menu.js").Item[]} */
  display() {
    const { theme, contrast, density, privacy } = prefs.get();
    const themes = /** @type {const} */ (["system", "light", "dark"]);
    const densities = /** @type {const} */ (["comfortable", "compact"]);
    return [
      { label: "", heading: t("app.theme") },
      ...themes.map((one) => ({
        label: t(`app.theme.${one}`),
        checked: theme === one,
        run: () => prefer({ theme: one }),
      })),
      { label: "", heading: t("app.density") },
      ...densities.map((one) => ({
        label: t(`app.density.${one}`),
        checked: density === one,
        run: () => prefer({ density: one }),
      })),
      { label: "", heading: t("app.more") },
      {
        label: t("app.contrast"),
        checked: contrast === "more",
        many: true,
        run: () => prefer({ contrast: contrast === "more" ? "normal" : "more" }),
      },
      {
        label: t("app.privacy"),
        checked: privacy,
        many: true,
        run: () => prefer({ privacy: !privacy }),
      },
    ];
  }
}

/**
 * Loads a page and all that it needs, at once. Its messages come in the present language.
 * @param {import("../pages.js").Page} page
 */
async function load(page) {
  page.styles?.forEach(loadStyle);
  const [{ tag }] = await Promise.all([page.load(), messages(page.name, ...(page.words ?? []))]);
  await styled();
  return tag;
}

define("x-app", App);
