// Logs: what all replicas write, as they write it.

import { html, nothing } from "../../vendor/lit.js";
import { access, address, api, ApiError } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { download } from "../lib/download.js";
import { sentence } from "../lib/errors.js";
import { number, plain } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { masked } from "../lib/privacy.js";
import { prefs } from "../lib/prefs.js";
import { resource } from "../lib/resource.js";
import { ask, filled, href, route } from "../lib/router.js";
import { MOST, ndjson, searched, Tail } from "../lib/tail.js";
import { toast } from "../lib/toast.js";
import { AGO, local, moment, utc } from "../lib/when.js";
import { define, loadStyle, View } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { badge, empty, failure, head, searchField, skeleton, staleness } from "../ui/parts.js";
import { clock, few, fields, level, LEVELS, shown } from "../ui/story.js";
import "../ui/virtual.js";
import "../ui/views.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {import("../lib/tail.js").LogLine} LogLine */
/** @typedef {components["schemas"]["ReplicaList"]} ReplicaList */

export const tag = "page-logs";

loadStyle("pages/logs");

const NAMES = /** @type {LogLine["level"][]} */ (Object.keys(LEVELS));
/** Lines that it begins with, and that each step back brings. */
const PAGE = 1_000;
/** Typing asks the gateway once it has stopped for so long, in ms. */
const TYPED_MS = 300;
const [POLL_MS, RETRY_MS] = [5_000, 2_000];

/** @type {import("../lib/resource.js").Resource<ReplicaList>} */
const replicas = resource("api/replicas", { every: 30_000, events: ["replica"] });

class LogsPage extends View {
  constructor() {
    super();
    this.tail = new Tail();
    /** @type {"connecting" | "live" | "polling" | "ended"} */
    this.state = "connecting";
    /** @type {unknown} */
    this.error = null;
    this.loaded = false;
    /** Whether there may be older lines. */
    this.more = true;
    this.busy = false;
    /** Lines that were fetched for a file so far; -1 while none is made. */
    this.fetched = -1;
    this.follows = true;
    this.failures = 0;
    /** When the gateway told something last, ms since the epoch, and why it does not now. */
    this.heard = 0;
    /** @type {ApiError | null} */
    this.problem = null;
    /** What the lines that are here were asked for with. @type {string | null} */
    this.asked = null;
    /** @type {EventSource | null} */
    this.source = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.typing = undefined;
    this.frame = 0;
    /** Where newer lines begin. */
    this.next = "";
    /** What is being typed, until it is asked for. @type {string | undefined} */
    this.typed = undefined;
    this.cleared = "";
    /** When the range begins, worked out once for what the address says: `15m` goes by when it was asked for. */
    this.range = { from: "", at: /** @type {number | null} */ (null) };
    /** Whether the fields of a range of one's own are shown. */
    this.own = false;
    this.narrow = matchMedia("(max-width: 640px)");
    this.again = () => this.requestUpdate();
    /** Templates of rows are made once, for the list compares them. */
    this.row = (/** @type {LogLine} */ line) => this.line(line);
    this.key = (/** @type {LogLine} */ line, /** @type {number} */ index) => line.id ?? `gap-${index}`;
    this.visible = () => {
      if (document.hidden) {
        this.disconnect();
      } else if (this.loaded) {
        this.connect();
      } else if (this.error) {
        this.begin(this.asked ?? "");
      }
    };
  }

  connectedCallback() {
    super.connectedCallback();
    this.narrow.addEventListener("change", this.again);
    document.addEventListener("visibilitychange", this.visible);
    this.asked = null;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.narrow.removeEventListener("change", this.again);
    document.removeEventListener("visibilitychange", this.visible);
    clearTimeout(this.typing);
    this.disconnect();
  }

  disconnect() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  /** What the address asks for. */
  wish() {
    const { query } = route.get();
    const search = query.get("q") ?? "";
    const levels = (query.get("level") ?? "")
      .split(",")
      .filter((name) => NAMES.includes(/** @type {any} */ (name)));
    const from = query.get("from") ?? "";
    if (this.range.from !== from) {
      this.range = { from, at: moment(from, now()) };
    }
    return {
      from,
      since: this.range.at,
      to: moment(query.get("to") ?? "", now()),
      search,
      ...searched(search),
      levels,
      replica: query.get("replica") ?? "",
      request: query.get("request") ?? "",
    };
  }

  /** As parameters of the gateway's. @param {Record<string, string | number>} more */
  parameters(more) {
    const { q, levels, replica, request, since, to } = this.wish();
    return filled({ q, level: levels.join(","), replica, request, from: since, to, ...more }).toString();
  }

  willUpdate() {
    const asked = this.parameters({});
    if (access.get() === "in" && asked !== this.asked) {
      this.asked = asked;
      this.tail.clear();
      this.loaded = false;
      this.more = true;
      this.error = null;
      this.cleared = "";
      this.disconnect();
      this.begin(asked);
    }
  }

  /** The newest lines, then whatever follows. @param {string} asked */
  async begin(asked) {
    try {
      const page = await api(`api/logs?${this.parameters({ limit: PAGE })}`);
      if (this.asked !== asked || !this.isConnected) {
        return;
      }
      page.logs.forEach((/** @type {LogLine} */ line) => this.tail.add(line));
      this.next = page.next;
      this.more = page.older !== null && page.older !== undefined;
      this.loaded = true;
      this.error = null;
      this.hear();
      this.connect();
    } catch (error) {
      if (this.asked === asked && this.isConnected) {
        this.error = error;
        if (!document.hidden) {
          // It may be over by then.
          clearTimeout(this.timer);
          this.timer = setTimeout(() => this.begin(asked), POLL_MS);
        }
      }
    }
    this.requestUpdate();
  }

  /** Goes on behind the newest line. */
  connect() {
    this.disconnect();
    if (this.wish().to !== null) {
      // What has an end does not go on.
      this.state = "ended";
      return;
    }
    this.state = this.failures > 1 ? "polling" : "connecting";
    const source = new EventSource(
      address(`api/logs/stream?${this.parameters({ since: this.tail.last || this.next || "" })}`),
    );
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.state = "live";
      this.hear();
      this.requestUpdate();
    };
    source.onmessage = (message) => {
      const line = JSON.parse(message.data);
      this.hear();
      this.next = message.lastEventId || this.next;
      if (this.tail.add(line)) {
        this.soon();
      }
    };
    source.onerror = () => {
      this.failures += 1;
      this.state = this.failures > 1 ? "polling" : "connecting";
      // A browser gives up after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) {
        this.disconnect();
        this.timer = setTimeout(() => this.poll(), this.failures > 1 ? POLL_MS : RETRY_MS);
      }
      this.requestUpdate();
    };
  }

  /** Where the stream does not work, lines are asked for. */
  async poll() {
    const { asked } = this;
    try {
      const page = await api(
        `api/logs?${this.parameters({ since: this.tail.last || this.next || "", limit: PAGE })}`,
      );
      if (asked !== this.asked || !this.isConnected) {
        return;
      }
      page.logs.forEach((/** @type {LogLine} */ line) => this.tail.add(line));
      this.next = page.next;
      this.hear();
      this.soon();
    } catch (error) {
      if (!(error instanceof ApiError)) {
        throw error;
      }
      this.problem = error.kind === "unauthorised" ? null : error;
      this.requestUpdate();
    }
    if (asked === this.asked && this.isConnected && access.peek() === "in") {
      this.connect();
    }
  }

  hear() {
    this.heard = Date.now();
    this.problem = null;
  }

  /** Draws once for all lines that come within a frame. */
  soon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.requestUpdate();
    });
  }

  async older() {
    this.busy = true;
    this.requestUpdate();
    try {
      const page = await api(`api/logs?${this.parameters({ before: this.tail.first, limit: PAGE })}`);
      const before = this.tail.lines.length;
      this.tail.prepend(page.logs);
      this.more = page.older !== null && page.older !== undefined && this.tail.lines.length < MOST;
      this.follows = false;
      const list = this.list;
      if (list) {
        list.atEnd = false;
        // What was in sight stays in sight.
        const box = list.box;
        const added = (this.tail.lines.length - before) * list.height;
        this.requestUpdate();
        await this.updateComplete;
        await list.updateComplete;
        if (box) {
          box.scrollTop += added;
        }
      }
    } catch (error) {
      toast({ tone: "bad", text: sentence(error) });
    }
    this.busy = false;
    this.requestUpdate();
  }

  get list() {
    return /** @type {any} */ (this.querySelector("x-rows"));
  }

  follow() {
    this.follows = true;
    const { list } = this;
    if (list) {
      list.atEnd = true;
      list.toEnd();
    }
    this.requestUpdate();
  }

  /** Asks for what was typed. */
  typedOut() {
    clearTimeout(this.typing);
    const { typed } = this;
    this.typed = undefined;
    if (typed !== undefined) {
      ask({ q: typed });
    }
  }

  /** All lines that the filters let through, as a file. */
  async save() {
    this.typedOut();
    /** @type {LogLine[]} */
    let all = [];
    let before = "";
    const { pattern } = this.wish();
    try {
      do {
        this.fetched = all.length;
        this.requestUpdate();
        const page = await api(`api/logs?${this.parameters({ before, limit: PAGE })}`);
        all = [...page.logs, ...all];
        before = page.older ?? "";
      } while (before && all.length < 2 * MOST);
      const rows = all.filter((line) => !pattern || pattern.test(line.message));
      const text = ndjson(rows);
      download(
        `antigravity-proxy-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.ndjson`,
        prefs.peek().privacy ? masked(text) : text,
        "application/x-ndjson",
      );
      toast({ text: t("logs.saved", { n: rows.length }) });
    } catch (error) {
      toast({ tone: "bad", text: sentence(error) });
    }
    this.fetched = -1;
    this.requestUpdate();
  }

  render() {
    return html`<div class="stack logs">
      ${head(t("logs.title"), t("logs.about"), this.actions())} ${this.filters()} ${this.body()}
    </div>`;
  }

  actions() {
    const saving = this.fetched >= 0;
    return html`
      <button type="button" class="button" ?disabled=${saving} @click=${() => this.save()}>
        ${icon("down")}${saving ? t("logs.saving", { n: this.fetched }) : t("logs.save")}
      </button>
      <button type="button" class="button" @click=${this.clear}>${t("logs.clear")}</button>
      <button
        type="button"
        class="button ${this.tail.paused ? "primary" : ""}"
        aria-pressed=${this.tail.paused}
        @click=${() => {
          this.tail.pause(!this.tail.paused);
          this.requestUpdate();
        }}
      >
        ${this.tail.paused ? t("logs.resume", { n: this.tail.held.length }) : t("logs.pause")}
      </button>
    `;
  }

  clear() {
    const { lines } = this.tail;
    const last = this.tail.last || this.next || "";
    const known = this.tail.known;
    this.tail.lines = [];
    this.cleared = last;
    this.next = last;
    toast({
      text: t("logs.cleared", { n: lines.length }),
      action: {
        label: t("app.undo"),
        run: () => {
          this.tail.known = new Set([...known, ...this.tail.known]);
          this.tail.lines = [...lines, ...this.tail.lines];
          this.requestUpdate();
        },
      },
    });
    this.requestUpdate();
  }

  filters() {
    const { search, wrong, levels, replica, request } = this.wish();
    const known = replicas.get().data?.replicas ?? [];
    const pods = [...new Set([...known.map((one) => one.host), ...(replica ? [replica] : [])])];
    const counts = new Map(NAMES.map((name) => [name, 0]));
    this.tail.lines.forEach((line) => counts.set(line.level, (counts.get(line.level) ?? 0) + 1));
    return html`
      <div class="tools">
        ${searchField(t("logs.search"), this.typed ?? search, (q) => {
          this.typed = q;
          clearTimeout(this.typing);
          this.typing = setTimeout(() => this.typedOut(), TYPED_MS);
        })}
        <div class="segments" role="group" aria-label=${t("logs.levels")}>
          ${NAMES.map((name) => {
            const on = levels.includes(name);
            return html`<button
              type="button"
              aria-pressed=${on}
              @click=${() =>
                ask({ level: (on ? levels.filter((one) => one !== name) : [...levels, name]).join(",") }, {})}
            >
              <span class="log-dot" data-tone=${LEVELS[name]}
                >${icon(/** @type {import("../ui/icons.js").Icon} */ (LEVELS[name]))}</span
              >${name}<span class="count num">${number(counts.get(name))}</span>
            </button>`;
          })}
        </div>
        <label class="log-replica">
          <span class="unseen">${t("logs.replica")}</span>
          <select
            class="select"
            @change=${(/** @type {Event} */ event) =>
              ask({ replica: /** @type {HTMLSelectElement} */ (event.target).value }, {})}
          >
            <option value="" ?selected=${replica === ""}>${t("logs.replica.all")}</option>
            ${pods.map((pod) => html`<option value=${pod} ?selected=${pod === replica}>${pod}</option>`)}
          </select>
        </label>
        ${this.times()}
        <x-views></x-views>
      </div>
      ${
        request
          ? html`<div class="notice" data-tone="info" role="status">
              ${icon("requests")}
              <p>${t("logs.request")} <span class="mono">${plain(request)}</span></p>
              <button type="button" class="button small" @click=${() => ask({ request: null }, {})}>
                ${t("logs.request.all")}
              </button>
            </div>`
          : nothing
      }
      ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}${t("logs.wrong")}</p>` : nothing}
    `;
  }

  /** From when to when. */
  times() {
    const { from, since, to } = this.wish();
    const known = Object.hasOwn(AGO, from);
    const own = this.own || to !== null || (from !== "" && !known);
    const chosen = own ? "own" : known ? from : "";
    const field = (
      /** @type {"from" | "to"} */ name,
      /** @type {number | null} */ at,
      /** @type {number | null} */ least,
    ) =>
      html`<label class="log-time"
        ><span>${t(`logs.time.${name}`)}</span
        ><input
          class="input num"
          type="datetime-local"
          min=${least === null ? nothing : local(least)}
          .value=${local(at)}
          @change=${(/** @type {Event} */ event) =>
            ask({ [name]: utc(/** @type {HTMLInputElement} */ (event.target).value) || null }, {})}
      /></label>`;
    return html`<label class="log-replica">
        <span class="unseen">${t("logs.time")}</span>
        <select
          class="select"
          @change=${(/** @type {Event} */ event) => {
            const { value } = /** @type {HTMLSelectElement} */ (event.target);
            this.own = value === "own";
            if (this.own) {
              ask({ from: new Date(since ?? now() - AGO["1h"]).toISOString(), to: null }, {});
            } else {
              ask({ from: value || null, to: null }, {});
            }
            this.requestUpdate();
          }}
        >
          <option value="" ?selected=${chosen === ""}>${t("logs.time.any")}</option>
          ${Object.keys(AGO).map(
            (name) =>
              html`<option value=${name} ?selected=${chosen === name}>${t(`logs.time.${name}`)}</option>`,
          )}
          <option value="own" ?selected=${chosen === "own"}>${t("logs.time.own")}</option>
        </select>
      </label>
      ${own ? html`${field("from", since, null)} ${field("to", to, since)}` : nothing}`;
  }

  body() {
    if (this.error) {
      return failure(this.error, () => {
        this.asked = null;
        this.requestUpdate();
      });
    }
    if (!this.loaded) {
      return skeleton(12);
    }
    const { pattern, levels, search, replica, request, from, to } = this.wish();
    const rows = pattern ? this.tail.lines.filter((line) => pattern.test(line.message)) : this.tail.lines;
    const filtered = levels.length > 0 || search || replica || request || from || to !== null;
    return html`
      ${
        this.problem
          ? staleness({ state: "stale", data: null, at: this.heard, error: this.problem, busy: false }, () =>
              this.poll(),
            )
          : nothing
      }
      <section class="panel log-panel" aria-label=${t("logs.title")}>
        <header class="log-state">
          ${
            this.state === "live"
              ? badge(
                  this.tail.paused ? "off" : "ok",
                  t(this.tail.paused ? "logs.state.paused" : "logs.state.live"),
                )
              : badge(this.state === "ended" ? "off" : "cooling", t(`logs.state.${this.state}`))
          }
          <span class="num quiet">${t("logs.count", { n: rows.length })}</span>
          ${
            this.more && this.tail.first && !this.cleared
              ? html`<button
                  type="button"
                  class="button small"
                  ?disabled=${this.busy}
                  @click=${() => this.older()}
                >
                  ${icon("up")}${t("logs.older")}
                </button>`
              : nothing
          }
          <span class="log-space"></span>
          <button
            type="button"
            class="button small"
            aria-pressed=${this.follows}
            @click=${() => this.follow()}
          >
            ${icon("down")}${this.follows ? t("logs.following") : t("logs.follow")}
          </button>
        </header>
        ${
          rows.length === 0
            ? empty({
                icon: "logs",
                title: t(filtered ? "logs.none.title" : "logs.empty.title"),
                text: t(filtered ? "logs.none.text" : "logs.empty.text"),
                action: filtered
                  ? html`<button
                      type="button"
                      class="button"
                      @click=${() => {
                        this.own = false;
                        ask({ q: null, level: null, replica: null, request: null, from: null, to: null }, {});
                      }}
                    >
                      ${t("logs.none.action")}
                    </button>`
                  : nothing,
              })
            : html`<x-rows
                class="log-rows"
                .items=${[...rows]}
                .row=${this.row}
                .key=${this.key}
                .height=${this.narrow.matches ? 54 : 30}
                .label=${t("logs.title")}
                .tail=${this.follows}
                @wheel=${this.moved}
                @keyup=${this.moved}
                @touchmove=${this.moved}
                @pointerup=${this.moved}
              ></x-rows>`
        }
      </section>
    `;
  }

  /** Who scrolls up stops following, and who comes back to the end goes on. */
  moved() {
    requestAnimationFrame(() => {
      const { list } = this;
      const { box } = list ?? {};
      const end = !box || box.scrollTop + box.clientHeight >= box.scrollHeight - list.height;
      if (end !== this.follows) {
        this.follows = end;
        this.requestUpdate();
      }
    });
  }

  /** @param {LogLine} line */
  line(line) {
    if (line.gap) {
      return html`<p class="log-gap">${icon("warn")}${t("logs.gap")}</p>`;
    }
    return html`<button
      type="button"
      class="log-line"
      aria-haspopup="dialog"
      @click=${() => this.details(line)}
    >
      <time class="num" datetime=${line.timestamp}>${clock(line.timestamp)}</time>
      <span class="log-level" data-tone=${LEVELS[line.level]}
        >${icon(/** @type {import("../ui/icons.js").Icon} */ (LEVELS[line.level]))}<span
          >${line.level}</span
        ></span
      >
      <span class="log-pod">${plain(line.pod)}</span>
      <span class="log-text">${shown(line.summary)} <span class="log-few">${few(line)}</span></span>
    </button>`;
  }

  /** @param {LogLine} line */
  details(line) {
    open(
      (close, titleId) =>
        frame(
          titleId,
          shown(line.summary),
          () => close(),
          html`<div class="stack wide">
            <dl class="facts">
              <dt>${t("logs.detail.level")}</dt>
              <dd>${level(line)}</dd>
              <dt>${t("logs.detail.time")}</dt>
              <dd class="num">${line.timestamp}</dd>
              <dt>${t("logs.replica")}</dt>
              <dd>${plain(line.pod)} <span class="mono quiet">${line.replica}</span></dd>
              <dt>${t("logs.detail.target")}</dt>
              <dd class="mono">${line.target}</dd>
              ${
                line.requestId
                  ? html`<dt>${t("logs.detail.request")}</dt>
                      <dd class="mono">${plain(line.requestId)}</dd>`
                  : nothing
              }
              ${
                line.traceId
                  ? html`<dt>${t("logs.detail.trace")}</dt>
                      <dd class="mono">${plain(line.traceId)}</dd>`
                  : nothing
              }
            </dl>
            ${
              line.requestId
                ? html`<div class="actions">
                    <button
                      type="button"
                      class="button"
                      @click=${() => {
                        close();
                        ask({ request: line.requestId ?? null, q: null, level: null }, {});
                      }}
                    >
                      ${t("logs.detail.all")}
                    </button>
                    <a
                      class="button"
                      href=${href("requests", { open: line.requestId })}
                      @click=${() => close()}
                      >${t("logs.detail.story")}</a
                    >
                  </div>`
                : nothing
            }
            ${
              Object.keys(line.fields ?? {}).length > 0
                ? html`<section class="stack" aria-label=${t("logs.detail.fields")}>
                    <h3>${t("logs.detail.fields")}</h3>
                    ${fields(line)}
                  </section>`
                : nothing
            }
          </div>`,
        ),
      { kind: "drawer" },
    );
  }
}

define(tag, LogsPage);
