// Requests: each one that was answered or refused, as its line in the log has it, and its whole story.

import { guard, html, keyed, nothing } from "../../vendor/lit.js";
import { access, api } from "../lib/api.js";
import { compact, duration, number, plain } from "../lib/format.js";
import { has, language, t } from "../lib/i18n.js";
import { Follow } from "../lib/follow.js";
import { on } from "../lib/live.js";
import { prefs } from "../lib/prefs.js";
import { masked, who } from "../lib/privacy.js";
import { choices, FACETS, passes, SLOW } from "../lib/requests.js";
import { ask, filled, href, route } from "../lib/router.js";
import { matches } from "../lib/rows.js";
import { define, loadStyle, View } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { badge, empty, failure, head, searchField, segments, skeleton, staleness } from "../ui/parts.js";
import { lines } from "../ui/story.js";
import { snippet } from "../ui/snippet.js";
import { Sight } from "../ui/sight.js";
import "../ui/more.js";
import "../ui/views.js";
import { accounts } from "./accounts/changes.js";

/** @typedef {import("../lib/tail.js").LogLine} LogLine */

export const tag = "page-requests";

loadStyle("pages/requests");
loadStyle("pages/logs");

const PAGE = 200;
/** What each request's line begins with, and who writes it. */
const [WORDS, TARGET] = ["/v1/messages ", "antigravity_proxy::request"];
/** News are gathered for so long, in ms. */
const GATHER_MS = 1_000;

/** @type {Record<string, import("../ui/parts.js").Tone>} */
const TONES = {
  served: "ok",
  cancelled: "off",
  client_error: "warn",
  rate_limited: "cooling",
  overloaded: "cooling",
};

/** @param {LogLine} line @returns {Record<string, any>} */
const told = (line) => line.fields ?? {};

/** @param {LogLine} line */
function outcome(line) {
  const name = String(told(line).outcome ?? "");
  const word = has(`requests.outcome.${name}`) ? t(`requests.outcome.${name}`) : name;
  return badge(TONES[name] ?? "bad", word);
}

class RequestsPage extends View {
  constructor() {
    super();
    this.sight = new Sight(this);
    /** @type {LogLine[]} The newest first. */
    this.rows = [];
    /** @type {string | null} */
    this.older = null;
    this.next = "";
    this.loaded = false;
    this.busy = false;
    /** @type {unknown} */
    this.error = null;
    /** @type {string | null} */
    this.asked = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {import("../ui/dialog.js").Opened | null} */
    this.drawer = null;
    this.shown = "";
    /** @type {() => void} */
    this.end = () => {};
    this.fresh = new Follow(() => this.newer());
  }

  connectedCallback() {
    super.connectedCallback();
    this.asked = null;
    this.fresh.begin();
    this.end = on(["request", "gap"], () => {
      this.timer ??= setTimeout(() => {
        this.timer = undefined;
        this.newer();
      }, GATHER_MS);
    });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end();
    this.fresh.end();
    clearTimeout(this.timer);
    this.timer = undefined;
    this.drawer?.close();
  }

  get failed() {
    return route.get().query.get("state") === "failed";
  }

  /** @param {Record<string, string | number>} more */
  parameters(more) {
    const level = this.failed ? { level: "WARN,ERROR" } : {};
    return filled({ q: WORDS, limit: PAGE, ...level, ...more }).toString();
  }

  willUpdate() {
    const asked = this.parameters({});
    if (access.get() === "in" && asked !== this.asked) {
      this.asked = asked;
      this.rows = [];
      this.loaded = false;
      this.error = null;
      // Not while it is drawn.
      queueMicrotask(() => {
        this.fresh.reset();
        this.load(asked, {});
      });
    }
  }

  updated() {
    this.detail();
  }

  /** @param {LogLine[]} logs */
  own(logs) {
    return logs.filter((line) => line.target === TARGET).reverse();
  }

  /** @param {string} asked @param {Record<string, string>} more */
  async load(asked, more) {
    if (this.busy && more.before) {
      return;
    }
    this.busy = true;
    const read = async () => {
      const page = await api(`api/logs?${this.parameters(more)}`);
      if (asked === this.asked && this.isConnected) {
        this.rows = [...this.rows, ...this.own(page.logs)];
        this.older = page.older ?? null;
        this.next ||= page.next;
        this.loaded = true;
      }
    };
    this.error = await this.fresh.piece(read, Boolean(more.before));
    this.busy = false;
    this.requestUpdate();
  }

  async newer() {
    const { asked } = this;
    this.fresh.missed ||= !this.loaded;
    if (document.hidden || !this.isConnected) {
      return;
    }
    if (!this.loaded) {
      if (this.error && asked !== null) {
        await this.load(asked, {});
      }
      return;
    }
    await this.fresh.run(async () => {
      const page = await api(`api/logs?${this.parameters({ since: this.next })}`);
      if (asked === this.asked) {
        const known = new Set(this.rows.map((line) => line.id));
        this.rows = [...this.own(page.logs).filter((line) => !known.has(line.id)), ...this.rows];
        this.next = page.next;
        this.requestUpdate();
      }
    });
  }

  render() {
    const { query } = route.get();
    const search = query.get("q") ?? "";
    /** @type {Record<string, string>} */
    const wish = Object.fromEntries(
      [...Object.keys(FACETS), "slow"].map((name) => [name, query.get(name) ?? ""]),
    );
    return html`<div class="stack">
      ${head(t("requests.title"), t("requests.about"))}
      <div class="tools">
        ${searchField(t("requests.search"), search, (q) => ask({ q }))}
        ${segments(
          t("requests.filter"),
          [
            { value: "all", label: t("requests.group.all") },
            { value: "failed", label: t("requests.group.failed") },
          ],
          this.failed ? "failed" : "all",
          (state) => ask({ state: state === "all" ? null : state }, {}),
        )}
        ${Object.keys(FACETS).map((facet) =>
          this.pick(facet, wish[facet], choices(this.rows, facet, wish[facet])),
        )}
        ${this.pick("slow", wish.slow, Object.keys(SLOW))}
        ${
          Object.values(wish).some(Boolean)
            ? html`<button type="button" class="button ghost" @click=${() => this.unfiltered()}>
                ${t("requests.none.action")}
              </button>`
            : nothing
        }
        <x-views></x-views>
      </div>
      ${this.age()} ${this.body(search, wish)}
    </div>`;
  }

  age() {
    const state = this.fresh.get();
    return state.state === "stale" && this.loaded ? staleness(state, this.fresh.reload) : nothing;
  }

  unfiltered() {
    ask(
      {
        q: null,
        state: null,
        slow: null,
        ...Object.fromEntries(Object.keys(FACETS).map((facet) => [facet, null])),
      },
      {},
    );
  }

  /** One of several, of one facet. @param {string} name @param {string} chosen @param {string[]} values */
  pick(name, chosen, values) {
    const label = (/** @type {string} */ value) =>
      name === "slow"
        ? t("requests.slow.least", { time: duration(SLOW[/** @type {keyof typeof SLOW} */ (value)]) })
        : name === "outcome" && has(`requests.outcome.${value}`)
          ? t(`requests.outcome.${value}`)
          : plain(masked(value));
    return html`<label class="requests-pick">
      <span class="unseen">${t(`requests.facet.${name}`)}</span>
      <select
        class="select ${chosen ? "chosen" : ""}"
        @change=${(/** @type {Event} */ event) =>
          ask({ [name]: /** @type {HTMLSelectElement} */ (event.target).value || null }, {})}
      >
        <option value="" ?selected=${chosen === ""}>${t(`requests.pick.${name}`)}</option>
        ${values.map(
          (value) => html`<option value=${value} ?selected=${value === chosen}>${label(value)}</option>`,
        )}
      </select>
    </label>`;
  }

  /** @param {string} search @param {Record<string, string>} wish */
  body(search, wish) {
    if (this.error) {
      return failure(this.error, () => {
        this.asked = null;
        this.requestUpdate();
      });
    }
    if (!this.loaded) {
      return skeleton(10);
    }
    const shown = this.rows.filter(
      (line) =>
        passes(line, wish) && (search === "" || matches(search, [line.requestId, line.message, line.pod])),
    );
    const more = this.older
      ? keyed(
          this.older,
          html`<x-more @more=${() => this.load(this.asked ?? "", { before: this.older ?? "" })}></x-more>`,
        )
      : nothing;
    if (shown.length === 0 && !this.older) {
      const filtered = search || this.failed || Object.values(wish).some(Boolean);
      return empty({
        icon: "requests",
        title: t(filtered ? "requests.none.title" : "requests.empty.title"),
        text: t(filtered ? "requests.none.text" : "requests.empty.text"),
        action: filtered
          ? html`<button type="button" class="button" @click=${() => this.unfiltered()}>
              ${t("requests.none.action")}
            </button>`
          : html`<a class="button" href=${href("connect")}>${t("requests.empty.action")}</a>`,
      });
    }
    // What rows look like beside their own data.
    const look = `${language.get()} ${prefs.get().privacy}`;
    return html`<span class="unseen" role="status">${t("requests.count", { n: shown.length })}</span>
      <section class="panel scroll" aria-label=${t("requests.title")} tabindex="0">
        <table class="table cards requests" aria-rowcount=${this.older ? -1 : shown.length + 1}>
          <thead>
            <tr>
              <th scope="col">${t("requests.column.request")}</th>
              <th scope="col">${t("requests.column.outcome")}</th>
              <th scope="col">${t("requests.column.key")}</th>
              <th scope="col">${t("requests.column.model")}</th>
              <th scope="col" class="end">${t("requests.column.attempts")}</th>
              <th scope="col" class="end">${t("requests.column.first")}</th>
              <th scope="col" class="end">${t("requests.column.total")}</th>
              <th scope="col" class="end">${t("requests.column.tokens")}</th>
            </tr>
          </thead>
          ${this.sight.draw(
            shown,
            (line) => line.id,
            (line, index) => guard([line, index, look], () => this.row(line, index)),
            8,
          )}
        </table>
        ${more}
      </section>`;
  }

  /** @param {LogLine} line @param {number} index */
  row(line, index) {
    const fields = told(line);
    const dash = html`<span class="quiet">–</span>`;
    const input = fields["tokens.input"];
    return html`<tr aria-rowindex=${index + 2}>
      <th scope="row">
        <button
          type="button"
          class="row-link num nowrap"
          aria-haspopup="dialog"
          title=${line.requestId ?? ""}
          @click=${() => ask({ open: line.requestId ?? null }, {})}
        >
          <x-time mode="relative" at=${Date.parse(line.timestamp)}></x-time>
          <span class="mono quiet">${line.requestId?.slice(-8)}</span>
        </button>
      </th>
      <td data-label=${t("requests.column.outcome")}>
        <div class="requests-outcome">
          ${outcome(line)}
          <small class="num"
            >${fields.status} ${fields["error.type"] ? plain(String(fields["error.type"])) : nothing}</small
          >
        </div>
      </td>
      <td data-label=${t("requests.column.key")}>
        ${fields["client.key.name"] ? plain(masked(String(fields["client.key.name"]))) : dash}
      </td>
      <td data-label=${t("requests.column.model")}>
        ${fields["model.served"] || fields["model.asked"] ? plain(String(fields["model.served"] ?? fields["model.asked"])) : dash}
      </td>
      <td data-label=${t("requests.column.attempts")} class="end num">${number(fields.attempts)}</td>
      <td data-label=${t("requests.column.first")} class="end num nowrap">
        ${duration(fields.first_event_ms)}
      </td>
      <td data-label=${t("requests.column.total")} class="end num nowrap">${duration(fields.total_ms)}</td>
      <td data-label=${t("requests.column.tokens")} class="end num nowrap">
        ${
          input === undefined
            ? dash
            : `${compact(input + (fields["tokens.cache_read"] ?? 0))} → ${compact(fields["tokens.output"])}`
        }
      </td>
    </tr>`;
  }

  /** Opens or closes the drawer, as the address has it. */
  detail() {
    const { page, query } = route.peek();
    if (page !== "requests") {
      // What the next page has open is its own.
      return;
    }
    const id = query.get("open") ?? "";
    if (this.shown === id) {
      return;
    }
    this.shown = id;
    this.drawer?.close();
    this.drawer = null;
    if (!id) {
      return;
    }
    /** @type {LogLine[] | null} */
    let logs = null;
    /** @type {unknown} */
    let wrong = null;
    /** @type {import("../ui/dialog.js").Opened | null} */
    let drawer = null;
    const load = async () => {
      wrong = null;
      try {
        const asked = api(`api/logs?${new URLSearchParams({ request: id, limit: "1000" })}`);
        // Whose account it was: without its address it is told by its id.
        await (accounts.peek().data ? null : accounts.reload());
        logs = (await asked).logs;
      } catch (error) {
        wrong = error;
      }
      drawer?.draw();
    };
    drawer = open((close, titleId) => this.story(id, logs, wrong, load, () => close(), titleId), {
      kind: "drawer",
    });
    this.drawer = drawer;
    load();
    drawer.closed.then(() => {
      if (this.shown === id) {
        this.shown = "";
        this.drawer = null;
        // Where the session ended it is there again after the log-in.
        if (access.peek() === "in") {
          ask({ open: null });
        }
      }
    });
  }

  /**
   * @param {string} id @param {LogLine[] | null} logs @param {unknown} wrong @param {() => void} again
   * @param {() => void} close @param {string} titleId
   */
  story(id, logs, wrong, again, close, titleId) {
    const line = logs?.find((one) => one.target === TARGET);
    const fields = line ? told(line) : {};
    const fact = (/** @type {string} */ name, /** @type {unknown} */ value, mono = false) =>
      value === undefined || value === null || value === ""
        ? nothing
        : html`<dt>${t(`requests.fact.${name}`)}</dt>
            <dd class=${mono ? "mono" : "num"}>${plain(masked(String(value)))}</dd>`;
    const content = wrong
      ? failure(wrong, again)
      : !logs
        ? skeleton()
        : logs.length === 0
          ? empty({ icon: "logs", title: t("requests.gone.title"), text: t("requests.gone.text") })
          : html`<div class="stack wide">
              ${line ? html`<div>${outcome(line)}</div>` : nothing}
              <dl class="facts">
                ${fact("id", id, true)} ${fact("time", line?.timestamp ?? logs[0]?.timestamp)}
                ${fact("status", fields.status)} ${fact("error", fields["error.type"], true)}
                ${fact("key", fields["client.key.name"])} ${fact("peer", fields.peer, true)}
                ${fact("asked", fields["model.asked"], true)} ${fact("served", fields["model.served"], true)}
                ${this.account(fields["account.id"])} ${fact("attempts", fields.attempts)}
                ${fact("stop", fields.stop_reason, true)} ${fact("replica", logs[0]?.pod)}
                ${fact("trace", logs.find((one) => one.traceId)?.traceId, true)}
              </dl>
              ${line ? this.times(fields) : nothing} ${line ? this.tokens(fields) : nothing}
              <section class="stack" aria-label=${t("requests.lines")}>
                <h3>${t("requests.lines")}</h3>
                ${lines(logs, t("requests.details"))}
              </section>
              <div class="actions">
                <a class="button" href=${href("logs", { request: id })} @click=${close}
                  >${t("requests.inLogs")}</a
                >
              </div>
              <details>
                <summary>${t("requests.json")}</summary>
                ${snippet(masked(JSON.stringify(logs, null, 2)), t("requests.json"))}
              </details>
            </div>`;
    return frame(titleId, t("requests.story"), close, content);
  }

  /** Closes the story for a page that opens something of its own. */
  leave() {
    this.shown = "";
    this.drawer?.close();
  }

  /** Its account, by its address where it still is in the pool. @param {unknown} id */
  account(id) {
    const known = accounts.peek().data?.accounts.find((one) => one.id === id);
    return id === undefined
      ? nothing
      : html`<dt>${t("requests.fact.account")}</dt>
          <dd class=${known ? "" : "mono"}>
            ${
              known
                ? html`<a href=${href("accounts", { open: known.email })} @click=${() => this.leave()}
                    >${who(known.email)}</a
                  >`
                : plain(String(id))
            }
          </dd>`;
  }

  /** How long what took. @param {Record<string, any>} fields */
  times(fields) {
    const total = fields.total_ms;
    const [wait, first] = [fields.wait_ms ?? 0, fields.first_event_ms];
    const parts = [
      { name: "wait", ms: wait },
      ...(typeof first === "number"
        ? [
            { name: "first", ms: Math.max(0, first - wait) },
            { name: "answer", ms: Math.max(0, total - first) },
          ]
        : [{ name: "rest", ms: Math.max(0, total - wait) }]),
    ];
    return html`<section class="stack" aria-label=${t("requests.times")}>
      <h3>${t("requests.times")} <span class="quiet num">${duration(total)}</span></h3>
      <ul class="requests-times">
        ${parts.map(
          ({ name, ms }) =>
            html`<li>
              <span>${t(`requests.time.${name}`)}</span>
              <progress
                max=${Math.max(1, total)}
                value=${ms}
                aria-label=${t(`requests.time.${name}`)}
              ></progress>
              <span class="num end">${duration(ms)}</span>
            </li>`,
        )}
      </ul>
    </section>`;
  }

  /** @param {Record<string, any>} fields */
  tokens(fields) {
    if (fields["tokens.input"] === undefined) {
      return nothing;
    }
    return html`<section class="stack" aria-label=${t("requests.column.tokens")}>
      <h3>${t("requests.column.tokens")}</h3>
      <dl class="facts">
        ${["input", "cache_read", "output", "thinking"].map(
          (name) =>
            html`<dt>${t(`requests.tokens.${name}`)}</dt>
              <dd class="num">${number(fields[`tokens.${name}`])}</dd>`,
        )}
      </dl>
    </section>`;
  }
}

define(tag, RequestsPage);
