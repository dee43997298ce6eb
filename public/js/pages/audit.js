// Audit: who did what, from where, and what it changed.

import { html, nothing, repeat } from "../../vendor/lit.js";
import { access, api } from "../lib/api.js";
import { COLUMNS, revertible, rowOf } from "../lib/audit.js";
import { csv, download } from "../lib/download.js";
import { sentence } from "../lib/errors.js";
import { dateTime, plain } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";
import { Follow } from "../lib/follow.js";
import { on } from "../lib/live.js";
import { prefs } from "../lib/prefs.js";
import { masked } from "../lib/privacy.js";
import { ask, filled, href, route } from "../lib/router.js";
import { toast } from "../lib/toast.js";
import { define, loadStyle, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";
import { badge, empty, failure, head, skeleton, staleness } from "../ui/parts.js";
import "../ui/menu.js";
import "../ui/views.js";
import { revert } from "./audit/revert.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AuditRecord"]} AuditRecord */

export const tag = "page-audit";

loadStyle("pages/audit");

const PAGE = 50;
/** Changes of a record that are shown at once. */
const LISTED = 8;
/** Records of a file: so many at most, fetched so many at once. */
const [FILE_MOST, FILE_PAGE] = [20_000, 200];
const ACTIONS = [
  "account",
  "accounts",
  "key",
  "settings",
  "preset",
  "claude",
  "session",
  "sessions",
  "login",
  "password",
  "signin",
  "request",
  "drain",
  "migrate",
];
const ACTORS = ["session", "password", "local", "control", "command", "key", "setup", "browser", "stranger"];
/** @type {Record<AuditRecord["outcome"], import("../ui/parts.js").Tone>} */
const TONES = { done: "ok", begun: "cooling", refused: "warn", failed: "bad", unknown: "unknown" };

class AuditPage extends View {
  constructor() {
    super();
    /** @type {AuditRecord[]} */
    this.records = [];
    /** @type {number | null} */
    this.next = null;
    this.loaded = false;
    this.busy = false;
    /** Records that were fetched for a file so far; -1 while none is made. */
    this.fetched = -1;
    /** @type {unknown} */
    this.error = null;
    /** @type {string | null} */
    this.asked = null;
    /** @type {() => void} */
    this.end = () => {};
    this.fresh = new Follow(() => this.newer());
  }

  connectedCallback() {
    super.connectedCallback();
    this.asked = null;
    this.fresh.begin();
    // Whatever changes the pool is in the trail.
    this.end = on(["account", "settings", "key", "gap"], () => this.newer());
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end();
    this.fresh.end();
  }

  /** @param {Record<string, string | number>} more */
  parameters(more) {
    const { query } = route.get();
    return filled({ actor: query.get("actor"), action: query.get("action"), ...more }).toString();
  }

  willUpdate() {
    const asked = this.parameters({});
    if (access.get() === "in" && asked !== this.asked) {
      this.asked = asked;
      this.records = [];
      this.loaded = false;
      this.error = null;
      // Not while it is drawn.
      queueMicrotask(() => {
        this.fresh.reset();
        this.load(asked);
      });
    }
  }

  /** @param {string} asked @param {Record<string, string | number>} [more] */
  async load(asked, more = {}) {
    this.busy = true;
    const read = async () => {
      const page = await api(`api/audit?${this.parameters({ limit: PAGE, ...more })}`);
      if (this.asked === asked && this.isConnected) {
        this.records = [...this.records, ...page.records];
        this.next = page.next ?? null;
        this.loaded = true;
      }
    };
    this.error = await this.fresh.piece(read, this.loaded);
    this.busy = false;
    this.requestUpdate();
  }

  /** What was added since. */
  async newer() {
    const { asked } = this;
    if (!this.loaded || asked === null) {
      this.fresh.missed = true;
      if (this.error && asked !== null) {
        await this.load(asked);
      }
      return;
    }
    await this.fresh.run(async () => {
      const page = await api(`api/audit?${this.parameters({ limit: PAGE })}`);
      if (this.asked === asked) {
        const known = new Set(this.records.map((record) => record.number));
        const fresh = page.records.filter((/** @type {AuditRecord} */ record) => !known.has(record.number));
        this.records = [...fresh, ...this.records];
        this.requestUpdate();
      }
    });
  }

  render() {
    return html`<div class="stack">
      ${head(t("audit.title"), t("audit.about"), this.actions())} ${this.tools()} ${this.age()} ${this.body()}
    </div>`;
  }

  age() {
    const state = this.fresh.get();
    return state.state === "stale" && this.loaded ? staleness(state, this.fresh.reload) : nothing;
  }

  actions() {
    return this.fetched >= 0
      ? html`<span class="quiet num" role="status">${t("audit.saving", { n: this.fetched })}</span>`
      : html`<x-menu
          .label=${t("audit.export")}
          .text=${t("audit.export")}
          .icon=${"down"}
          .items=${() =>
            /** @type {const} */ (["csv", "json"]).map((kind) => ({
              label: kind.toUpperCase(),
              run: () => this.save(kind),
            }))}
        ></x-menu>`;
  }

  /** All records that the filters let through, as a file. @param {"csv" | "json"} kind */
  async save(kind) {
    /** @type {AuditRecord[]} */
    const all = [];
    /** @type {number | null} */
    let before = null;
    try {
      do {
        this.fetched = all.length;
        this.requestUpdate();
        const page = await api(
          `api/audit?${this.parameters({ limit: FILE_PAGE, ...(before === null ? {} : { before }) })}`,
        );
        all.push(...page.records);
        before = page.next ?? null;
      } while (before !== null && all.length < FILE_MOST);
      const text = kind === "csv" ? csv([COLUMNS, ...all.map(rowOf)]) : JSON.stringify(all, null, 2);
      download(
        `antigravity-proxy-audit-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${kind}`,
        prefs.peek().privacy ? masked(text) : text,
        kind === "csv" ? "text/csv" : "application/json",
      );
      toast({ text: t("audit.saved", { n: all.length }) });
    } catch (error) {
      toast({ tone: "bad", text: sentence(error) });
    }
    this.fetched = -1;
    this.requestUpdate();
  }

  tools() {
    const { query } = route.get();
    const [actor, action] = [query.get("actor") ?? "", query.get("action") ?? ""];
    const pick = (
      /** @type {string} */ name,
      /** @type {string} */ chosen,
      /** @type {string[]} */ values,
      /** @type {(value: string) => string} */ label,
    ) =>
      html`<label class="audit-pick">
        <span>${t(`audit.filter.${name}`)}</span>
        <select
          class="select"
          @change=${(/** @type {Event} */ event) =>
            ask({ [name]: /** @type {HTMLSelectElement} */ (event.target).value }, {})}
        >
          <option value="" ?selected=${chosen === ""}>${t("audit.filter.all")}</option>
          ${[...new Set([...values, ...(chosen ? [chosen] : [])])].map(
            (value) => html`<option value=${value} ?selected=${value === chosen}>${label(value)}</option>`,
          )}
        </select>
      </label>`;
    return html`<div class="tools">
      ${pick("action", action, ACTIONS, (value) => value)}
      ${pick("actor", actor, ACTORS, (value) => (has(`audit.actor.${value}`) ? t(`audit.actor.${value}`) : value))}
      ${
        actor || action
          ? html`<button
              type="button"
              class="button ghost"
              @click=${() => ask({ actor: null, action: null }, {})}
            >
              ${t("audit.clear")}
            </button>`
          : nothing
      }
      <x-views></x-views>
    </div>`;
  }

  body() {
    if (this.error) {
      return failure(this.error, () => {
        this.asked = null;
        this.requestUpdate();
      });
    }
    if (!this.loaded) {
      return skeleton();
    }
    if (this.records.length === 0 && this.next === null) {
      return empty({ icon: "audit", title: t("audit.empty.title"), text: t("audit.empty.text") });
    }
    return html`<section class="panel scroll" aria-label=${t("audit.title")} tabindex="0">
        <table class="table cards audit">
          <thead>
            <tr>
              ${["when", "who", "what", "changes", "outcome"].map(
                (column) => html`<th scope="col">${t(`audit.column.${column}`)}</th>`,
              )}
            </tr>
          </thead>
          <tbody>
            ${repeat(
              this.records,
              (record) => record.number,
              (record) => this.row(record),
            )}
          </tbody>
        </table>
      </section>
      ${
        this.next === null
          ? html`<p class="quiet audit-end">${t("audit.end")}</p>`
          : html`<div class="actions audit-end">
              <button
                type="button"
                class="button"
                ?disabled=${this.busy}
                @click=${() => this.load(this.asked ?? "", { before: this.next ?? "" })}
              >
                ${t("audit.more")}
              </button>
            </div>`
      }`;
  }

  /** @param {AuditRecord} record */
  row(record) {
    const { actor } = record;
    const kind = has(`audit.actor.${actor.kind}`) ? t(`audit.actor.${actor.kind}`) : actor.kind;
    return html`<tr>
      <td data-label=${t("audit.column.when")} class="num nowrap">
        <div class="audit-cell">
          <span>${dateTime(record.time)}</span>
          <small><x-time mode="relative" at=${record.time}></x-time></small>
        </div>
      </td>
      <td data-label=${t("audit.column.who")}>
        <div class="audit-cell">
          <button
            type="button"
            class="row-link"
            title=${t("audit.only")}
            @click=${() => ask({ actor: actor.id ? `${actor.kind}:${actor.id}` : actor.kind }, {})}
          >
            ${kind}
          </button>
          <small class="mono">${[actor.id, record.from].filter(Boolean).join(" · ")}</small>
        </div>
      </td>
      <th scope="row">
        <div class="audit-cell">
          <span class="mono">${record.action}</span>
          ${record.target ? html`<small>${plain(masked(record.target))}</small>` : nothing}
          ${record.generation ? html`<small class="num">${t("audit.generation", { n: record.generation })}</small>` : nothing}
        </div>
      </th>
      <td data-label=${t("audit.column.changes")}>
        <div class="audit-cell">
          ${this.changes(record)}
          ${
            revertible(record)
              ? html`<button
                  type="button"
                  class="button small"
                  aria-haspopup="dialog"
                  aria-label=${t("audit.revert.what", { n: record.number })}
                  @click=${() => revert(record).then((done) => (done ? this.newer() : undefined))}
                >
                  ${icon("undo")}${t("audit.revert")}
                </button>`
              : nothing
          }
        </div>
      </td>
      <td data-label=${t("audit.column.outcome")}>
        <div class="audit-cell">
          ${badge(TONES[record.outcome] ?? "unknown", t(`audit.outcome.${record.outcome}`))}
          ${
            record.requestId
              ? html`<a href=${href("logs", { request: record.requestId })}
                  >${record.httpStatus ? t("audit.logStatus", { status: record.httpStatus }) : t("audit.log")}</a
                >`
              : nothing
          }
        </div>
      </td>
    </tr>`;
  }

  /** @param {AuditRecord} record */
  changes({ changes, omitted }) {
    if (changes.length === 0) {
      return html`<span class="quiet">–</span>`;
    }
    const shown = (/** @type {unknown} */ value) =>
      value === undefined || value === null || value === ""
        ? html`<span class="quiet">${t("audit.nothing")}</span>`
        : plain(masked(typeof value === "string" ? value : JSON.stringify(value)));
    const listed = (/** @type {typeof changes} */ some, /** @type {boolean} */ last) =>
      html`<ul class="audit-changes">
        ${some.map(
          ({ field, before, after }) =>
            html`<li>
              <span class="mono">${field}</span>
              <span class="mono"
                >${
                  before === undefined || before === null
                    ? nothing
                    : html`<del>${shown(before)}</del> ${icon("right")}<span class="unseen"
                          >${t("audit.became")}</span
                        >`
                } <ins>${shown(after)}</ins></span
              >
            </li>`,
        )}
        ${last && omitted ? html`<li class="quiet">${t("audit.omitted", { n: omitted })}</li>` : nothing}
      </ul>`;
    // A preset changes dozens at once: the record after it shall be in sight too.
    return changes.length <= LISTED + 2
      ? listed(changes, true)
      : html`${listed(changes.slice(0, LISTED), false)}
          <details class="audit-rest">
            <summary>${t("audit.others", { n: changes.length - LISTED })}</summary>
            ${listed(changes.slice(LISTED), true)}
          </details>`;
  }
}

define(tag, AuditPage);
