// Settings: what the pool goes by, changed for all replicas at once, after a look at what will change.

import { html, nothing } from "../../vendor/lit.js";
import { act } from "../lib/action.js";
import { api, ApiError } from "../lib/api.js";
import { sentence } from "../lib/errors.js";
import { plain } from "../lib/format.js";
import { LANGUAGES, language, speak, t } from "../lib/i18n.js";
import { prefer, prefs } from "../lib/prefs.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { matches } from "../lib/rows.js";
import { entered, flat, same, written } from "../lib/settings.js";
import { toast } from "../lib/toast.js";
import { define, loadStyle, View } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { badge, empty, head, searchField, toggle, whole, words } from "../ui/parts.js";
import { once } from "../ui/second.js";
import { difference, settings } from "./settings/common.js";
import { explainer } from "./settings/explain.js";
import { facts, field, wrongly } from "./settings/field.js";
import { inspector } from "./settings/inspector.js";
import { aliases } from "./settings/models.js";
import { presets } from "./settings/presets.js";
import { security } from "./settings/security.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {import("../lib/settings.js").Row} Row */
/** @typedef {components["schemas"]["SettingsView"]} SettingsView */
/** @typedef {components["schemas"]["ReplicaList"]} ReplicaList */

export const tag = "page-settings";

loadStyle("pages/settings");

/** @type {import("../lib/resource.js").Resource<ReplicaList>} */
const replicas = resource("api/replicas", { every: 5_000, events: ["replica", "settings"], steady: true });

const PLACES = /** @type {const} */ ([
  "general",
  "routing",
  "explain",
  "models",
  "presets",
  "security",
  "appearance",
]);
/** The sections of the manual that choosing accounts is about. */
const ROUTING = ["Account selection", "Retries and waits"];

/** So few settings need no search. */
const SEARCHED = 6;

/** What was changed here and not applied yet, by key; it outlives a look at another page. @type {Map<string, { text: string, value: unknown, problem?: string }>} */
const draft = new Map();
/** What the gateway said of keys it refused. @type {Map<string, string>} */
const refused = new Map();

addEventListener("beforeunload", (event) => {
  if (draft.size > 0) {
    event.preventDefault();
  }
});

class SettingsPage extends View {
  constructor() {
    super();
    /** The generation that was made here last. */
    this.made = 0;
    /** The place that was brought into sight last. @type {string | null | undefined} */
    this.seen = null;
  }

  /** On a small screen not all places are in sight. */
  updated() {
    const place = route.get().rest[0];
    if (place !== this.seen) {
      this.seen = place;
      const strip = this.querySelector(".settings-places");
      const here = /** @type {HTMLElement | null} */ (strip?.querySelector("[aria-current]"));
      strip?.scrollTo({ left: (here?.offsetLeft ?? 0) - strip.clientWidth / 3 });
    }
  }

  render() {
    const place = PLACES.find((one) => one === route.get().rest[0]) ?? "general";
    return html`<div class="stack settings">
      ${head(t("settings.title"), t("settings.about"))} ${this.applied()}
      <nav class="settings-places" aria-label=${t("settings.places")}>
        ${PLACES.map(
          (one) =>
            html`<a href=${href("settings", {}, one)} aria-current=${one === place ? "page" : nothing}
              >${t(`settings.place.${one}`)}</a
            >`,
        )}
      </nav>
      <div class="stack wide">${this.place(place)}</div>
      ${draft.size > 0 ? this.bar() : nothing}
    </div>`;
  }

  /** @param {typeof PLACES[number]} place */
  place(place) {
    const redraw = () => this.requestUpdate();
    switch (place) {
      case "appearance":
        return this.appearance();
      case "security":
        return security(redraw);
      case "presets":
        return whole(settings, (data) => presets(data, (config) => this.propose(config, data)));
      case "models":
        return whole(
          settings,
          (data) =>
            html`${aliases(data)}
            ${this.form(data.rows.filter((row) => row.section === "Models" && row.key !== "modelMapping"))}`,
        );
      case "explain":
        return html`${explainer(redraw, (config) => {
          const { data } = settings.peek();
          if (data) {
            this.propose(config, data);
          }
        })}
        ${whole(settings, inspector)}`;
      case "routing":
        return whole(settings, (data) =>
          this.form(ROUTING.flatMap((section) => data.rows.filter((row) => row.section === section))),
        );
      default:
        return whole(settings, (data) =>
          this.form(
            data.rows.filter((row) => !ROUTING.includes(row.section ?? "") && row.section !== "Models"),
          ),
        );
    }
  }

  /** How many replicas go by the newest settings. */
  applied() {
    const all = replicas.get().data?.replicas;
    const newest = Math.max(this.made, settings.get().data?.generation ?? 0);
    if (!all || newest === 0) {
      return nothing;
    }
    const there = all.filter((replica) => replica.settingsGeneration >= newest).length;
    const done = there === all.length;
    return html`<p class="settings-applied" role="status">
      ${badge(done ? "ok" : "cooling", t("settings.applied", { n: there, of: all.length }))}
      <span class="quiet num">${t("settings.generation", { n: newest })}</span>
      <a href=${href("fleet")}>${t("settings.fleet")}</a>
    </p>`;
  }

  /** @param {Row[]} rows */
  form(rows) {
    const { query } = route.get();
    const search = query.get("q") ?? "";
    const only = query.get("only") ?? "editable";
    const found = rows.filter(
      (row) =>
        (only === "all" || row.applies !== "fixed" || draft.has(row.key)) &&
        (search === "" || matches(search, [row.key, row.description, row.section])),
    );
    const sections = [...new Set(found.map((row) => row.section ?? ""))];
    const fixed = rows.filter((row) => row.applies === "fixed").length;
    return html`
      <div class="tools" ?hidden=${rows.length < SEARCHED && search === "" && fixed === 0}>
        ${searchField(t("settings.search"), search, (q) => ask({ q }))}
        ${
          fixed > 0
            ? html`<label class="settings-fixed"
                ><input
                  type="checkbox"
                  .checked=${only === "all"}
                  @change=${(/** @type {Event} */ event) =>
                    ask({ only: /** @type {HTMLInputElement} */ (event.target).checked ? "all" : null }, {})}
                />${t("settings.showFixed", { n: fixed })}</label
              >`
            : nothing
        }
      </div>
      ${
        found.length === 0
          ? empty({ icon: "search", title: t("settings.none") })
          : sections.map(
              (section) =>
                html`<section class="stack" aria-label=${section}>
                  <h2 lang="en">${section}</h2>
                  <div class="panel settings-rows">
                    ${found.filter((row) => row.section === section).map((row) => this.row(row))}
                  </div>
                </section>`,
            )
      }
    `;
  }

  /** @param {Row} row */
  row(row) {
    const id = `setting-${row.key.replaceAll(".", "-")}`;
    const changed = draft.get(row.key);
    const problem = wrongly(row, changed?.problem) ?? refused.get(row.key);
    return html`<div class="settings-row ${changed ? "changed" : ""}">
      <div class="settings-what">
        <label class="mono" for=${id} id="${id}-label">${row.key}</label>
        <p class="quiet" lang="en" id="${id}-about">${words(row.description ?? "")}</p>
        ${facts(row)}
      </div>
      <div class="settings-value">
        ${
          row.applies === "fixed"
            ? this.fixed(row, id)
            : field(row, {
                id,
                text: changed ? changed.text : written(row, row.value),
                change: (text) => this.change(row, text),
                about: `${id}-about${problem ? ` ${id}-problem` : ""}`,
                wrong: problem !== undefined,
              })
        }
        ${problem ? html`<p class="form-error" role="alert" id="${id}-problem">${icon("bad")}${problem}</p>` : nothing}
        <div class="settings-notes">
          ${this.note(row)} ${changed ? badge("warn", t("settings.changed")) : nothing}
          ${
            changed
              ? html`<button
                  type="button"
                  class="button small ghost"
                  aria-label=${t("settings.backWhat", { key: row.key })}
                  @click=${once(() => this.change(row, null))}
                >
                  ${icon("undo")}${t("settings.back")}
                </button>`
              : row.stored !== undefined && row.applies !== "fixed"
                ? html`<button
                    type="button"
                    class="button small ghost"
                    aria-label=${t("settings.resetWhat", { key: row.key })}
                    @click=${once(() => this.change(row, ""))}
                  >
                    ${t("settings.reset")}
                  </button>`
                : nothing
          }
        </div>
      </div>
    </div>`;
  }

  /** When a change counts, and where the value comes from. @param {Row} row */
  note(row) {
    if (row.applies === "fixed") {
      const where = ["env", "flag"].includes(row.source)
        ? "environment"
        : row.source === "file"
          ? "file"
          : "startup";
      return html`<span title=${row.origin}>${badge("off", t(`settings.fixed.${where}`))}</span>`;
    }
    return html`${
        row.applies === "live"
          ? badge("ok", t("settings.live"))
          : badge("cooling", t(row.pending ? "settings.pending" : "settings.restart"))
      }
      <span class="quiet" title=${row.origin}
        >${row.source === "default" ? t("settings.source.default") : row.source === "store" ? t("settings.source.store") : row.origin}</span
      >`;
  }

  /** @param {Row} row @param {string} id */
  fixed(row, id) {
    const text = row.secret ? t("settings.secret") : written(row, row.value) || t("settings.nothing");
    return html`<output id=${id} class="mono settings-fixed-value" aria-labelledby="${id}-label"
      >${plain(text)}</output
    >`;
  }

  /** @param {Row} row @param {string | null} text `null` leaves it as it is. */
  change(row, text) {
    refused.delete(row.key);
    if (text === null) {
      draft.delete(row.key);
    } else {
      const wish = entered(row, text);
      if (!wish.problem && wish.value !== null && same(wish.value, row.value)) {
        draft.delete(row.key);
      } else {
        draft.set(row.key, { text, ...wish });
      }
    }
    this.requestUpdate();
  }

  bar() {
    const wrong = [...draft.values()].some(({ problem }) => problem);
    return html`<div class="settings-bar" role="region" aria-label=${t("settings.bar")}>
      <p>${t("settings.changes", { n: draft.size })}</p>
      <button
        type="button"
        class="button"
        @click=${() => {
          draft.clear();
          refused.clear();
          this.requestUpdate();
        }}
      >
        ${t("settings.discard")}
      </button>
      <button type="button" class="button primary" ?disabled=${wrong} @click=${() => this.review()}>
        ${t("settings.review")}
      </button>
    </div>`;
  }

  /**
   * Puts a preset beside what is in force, to be looked at.
   * @param {Record<string, any>} config @param {SettingsView} data
   */
  propose(config, data) {
    const rows = new Map(data.rows.map((row) => [row.key, row]));
    let [changes, fixed] = [0, 0];
    for (const [key, value] of flat(config, new Set(rows.keys()))) {
      const row = rows.get(key);
      if (row && !same(row.value, value)) {
        if (row.applies === "fixed") {
          fixed += 1;
        } else {
          changes += 1;
          draft.set(key, { text: written(row, value), value });
        }
      }
    }
    this.requestUpdate();
    if (fixed > 0) {
      toast({ tone: "warn", text: t("settings.presets.fixed", { n: fixed }) });
    }
    if (changes > 0) {
      this.review();
    } else {
      toast({ tone: "info", text: t("settings.presets.same") });
    }
  }

  /** What would change, and when it counts. */
  review() {
    const data = settings.peek().data;
    if (!data) {
      return;
    }
    const rows = new Map(data.rows.map((row) => [row.key, row]));
    let busy = false;
    const dialog = open((close, titleId) => {
      const waits = [...draft.keys()].filter((key) => rows.get(key)?.applies === "restart").length;
      return frame(
        titleId,
        t("settings.review.title", { n: draft.size }),
        () => close(),
        html`<div class="stack">
          <p>${t("settings.review.text")}</p>
          ${
            waits > 0
              ? html`<div class="notice" data-tone="cooling">
                  ${icon("cooling")}
                  <p>${t("settings.review.restart", { n: waits })}</p>
                </div>`
              : nothing
          }
          ${difference([...draft].map(([key, { value }]) => ({ key, before: rows.get(key)?.value, after: value })))}
        </div>`,
        html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
          <button
            type="button"
            class="button primary"
            ?disabled=${busy}
            @click=${async () => {
              busy = true;
              dialog.draw();
              await this.apply(data.generation);
              close();
            }}
          >
            ${t("settings.apply")}
          </button>`,
      );
    });
    dialog.element.classList.add("wide");
  }

  /** @param {number} generation What it was made for. */
  async apply(generation) {
    const before = settings.peek().data;
    const sent = [...draft];
    const wishes = Object.fromEntries(sent.map(([key, { value }]) => [key, value]));
    try {
      const made = await api("api/settings", { method: "PATCH", body: { generation, settings: wishes } });
      this.made = made.generation;
      // What was entered since is still to be looked at.
      sent.forEach(([key, wish]) => draft.get(key) === wish && draft.delete(key));
      refused.clear();
      const stored = new Map(before?.rows.map((row) => [row.key, row.stored ?? null]));
      const back = Object.fromEntries(Object.keys(wishes).map((key) => [key, stored.get(key) ?? null]));
      toast({
        text: t("settings.saved", { n: Object.keys(wishes).length }),
        action: {
          label: t("app.undo"),
          run: () =>
            act({
              on: settings,
              send: () =>
                api("api/settings", {
                  method: "PATCH",
                  body: { generation: made.generation, settings: back },
                }),
              done: t("settings.undone"),
            }),
        },
      });
      await Promise.all([settings.reload(), replicas.reload()]);
    } catch (error) {
      this.failed(error, wishes);
    }
    this.requestUpdate();
  }

  /** @param {unknown} error @param {Record<string, unknown>} wishes */
  failed(error, wishes) {
    if (error instanceof ApiError && error.kind === "conflict") {
      this.conflict(error.body, wishes);
      return;
    }
    if (error instanceof ApiError && Array.isArray(error.body?.problems)) {
      for (const { key, reason } of error.body.problems) {
        refused.set(key, reason);
      }
    }
    toast({ tone: "bad", text: sentence(error) });
  }

  /** Somebody else was faster. @param {SettingsView} theirs @param {Record<string, unknown>} wishes */
  conflict(theirs, wishes) {
    const now = new Map(theirs.rows.map((row) => [row.key, row.value]));
    settings.reload();
    const dialog = open((close, titleId) =>
      frame(
        titleId,
        t("settings.conflict.title"),
        () => close(),
        html`<div class="stack">
          <p>${t("settings.conflict.text", { n: theirs.generation })}</p>
          ${difference(
            Object.entries(wishes).map(([key, after]) => ({ key, before: now.get(key), after })),
            true,
          )}
        </div>`,
        html`<button
            type="button"
            class="button"
            @click=${() => {
              Object.keys(wishes).forEach((key) => draft.delete(key));
              close();
              this.requestUpdate();
            }}
          >
            ${t("settings.conflict.theirs")}
          </button>
          <button
            type="button"
            class="button primary"
            @click=${() => {
              close();
              this.apply(theirs.generation);
            }}
          >
            ${t("settings.conflict.mine")}
          </button>`,
      ),
    );
    dialog.element.classList.add("wide");
  }

  appearance() {
    const now = prefs.get();
    const choice = (
      /** @type {string} */ name,
      /** @type {[string, string][]} */ choices,
      /** @type {string} */ chosen,
      /** @type {(value: string) => void} */ choose,
    ) =>
      html`<fieldset class="settings-choice">
        <legend>${name}</legend>
        ${choices.map(
          ([value, label]) =>
            html`<label
              ><input
                type="radio"
                name=${name}
                value=${value}
                .checked=${value === chosen}
                @change=${() => choose(value)}
              />${label}</label
            >`,
        )}
      </fieldset>`;
    const named = (/** @type {string} */ group, /** @type {string[]} */ names) =>
      names.map((name) => /** @type {[string, string]} */ ([name, t(`app.${group}.${name}`)]));
    return html`<div class="panel padded settings-look">
      <p class="quiet">${t("settings.look.about")}</p>
      ${choice(t("app.theme"), named("theme", ["system", "light", "dark"]), now.theme, (theme) =>
        prefer({ theme: /** @type {any} */ (theme) }),
      )}
      ${choice(t("app.density"), named("density", ["comfortable", "compact"]), now.density, (density) =>
        prefer({ density: /** @type {any} */ (density) }),
      )}
      ${choice(t("app.language"), Object.entries(LANGUAGES), language.get(), (code) => {
        prefer({ language: code });
        speak(/** @type {any} */ (code));
      })}
      <div class="settings-switch">
        <span>${t("app.contrast")}</span>
        ${toggle(t("app.contrast"), now.contrast === "more", (on) => prefer({ contrast: on ? "more" : "normal" }))}
      </div>
      <div class="settings-switch">
        <span>${t("settings.look.steps")}</span>
        ${toggle(t("settings.look.steps"), now.steps, (steps) => prefer({ steps }))}
      </div>
      <div class="settings-switch">
        <span>${t("settings.look.shortcuts")}</span>
        ${toggle(t("settings.look.shortcuts"), now.shortcuts, (shortcuts) => prefer({ shortcuts }))}
      </div>
      <div class="settings-switch">
        <span>${t("app.privacy")}</span>
        ${toggle(t("app.privacy"), now.privacy, (on) => prefer({ privacy: on }))}
      </div>
    </div>`;
  }
}

define(tag, SettingsPage);
