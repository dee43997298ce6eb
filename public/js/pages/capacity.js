// Capacity: what the pool can serve of each model, what is left, what keeps it, and what is coming.

import { guard, html, nothing, repeat, svg } from "../../vendor/lit.js";
import { act } from "../lib/action.js";
import { api } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { STATES, stateOf } from "../lib/accounts.js";
import { endings, seriesOf } from "../lib/forecast.js";
import { list, number, percent, plain, time } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { follow } from "../lib/past.js";
import { capacities, comingOf, offered, SEATS, spansOf, standingLimits } from "../lib/pool.js";
import { prefs } from "../lib/prefs.js";
import { who } from "../lib/privacy.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { matches, sorted, turned } from "../lib/rows.js";
import { define, loadStyle, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";
import {
  badge,
  chip,
  empty,
  head,
  meter,
  searchField,
  segments,
  sortable,
  toggle,
  whole,
} from "../ui/parts.js";
import { Sight } from "../ui/sight.js";
import "../ui/chart.js";
import "../ui/floor.js";
import "../ui/menu.js";
import "../ui/views.js";
import { accounts, floorForAll, setFloor } from "./accounts/changes.js";

/** @typedef {import("../lib/pool.js").Capacity} Capacity */
/** @typedef {import("../lib/forecast.js").CapacityHistory} CapacityHistory */
/** @typedef {import("../lib/pool.js").Seat} Seat */
/** @typedef {import("../lib/pool.js").AccountLimits} AccountLimits */

export const tag = "page-capacity";

loadStyle("pages/pool");
loadStyle("pages/capacity");

/** @type {import("../lib/rows.js").Columns<Capacity>} */
const COLUMNS = {
  model: ({ model }) => model,
  state: ({ usable, of }) => usable / (of || 1),
  average: ({ average }) => average,
  reset: ({ reset }) => reset || null,
};
/** @type {Record<Capacity["state"], import("../ui/parts.js").Tone>} */
const TONES = { ok: "ok", degraded: "warn", none: "bad" };
const FAMILIES = /** @type {const} */ (["all", "claude", "gemini", "other"]);
/** Accounts of one model that are listed before "more". */
const FIRST = 10;
/** Accounts of one model that are drawn as squares. */
const SQUARES = 12;
/** Of the timeline: before and behind now. */
const HOURS = [1, 6, 24, 168];
const HOUR = 3_600_000;
/** Lines of the chart at most. */
const LINES = 8;

/** What was left, noted every ten minutes; by the hours it goes back. @type {Map<number, import("../lib/resource.js").Resource<CapacityHistory>>} */
const histories = new Map(
  HOURS.map((hours) => [
    hours,
    resource(`api/capacity/history?hours=${hours}`, { every: 60_000, steady: true }),
  ]),
);

/** What everything looks like beside its own data: what was drawn for the same is not drawn again. */
const look = () => `${language.get()} ${prefs.get().privacy}`;

class CapacityPage extends View {
  constructor() {
    super();
    this.sight = new Sight(this);
    /** Models of which all accounts are listed. @type {Set<string>} */
    this.long = new Set();
    /** Limits as they were told. @type {any[]} */
    this.told = [];
    this.end = () => {};
    /** The models of which nothing will be left before they are filled again. @type {Map<string, { at: number, perHour: number }>} */
    this.ending = new Map();
  }

  connectedCallback() {
    super.connectedCallback();
    this.end = follow("limit", (events) => {
      this.told = events;
      this.requestUpdate();
    });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end();
  }

  render() {
    return html`<div class="stack">
      ${head(t("capacity.title"), t("capacity.about"))} ${whole(accounts, (data) => this.capacity(data))}
    </div>`;
  }

  /** @param {AccountLimits} data */
  capacity(data) {
    const all = capacities(data);
    if (all.length === 0) {
      const waiting = data.accounts.some((account) => STATES[stateOf(account).state].group === "attention");
      return data.accounts.length === 0
        ? empty({
            icon: "capacity",
            title: t("capacity.empty.title"),
            text: t("capacity.empty.text"),
            action: html`<a class="button primary" href=${href("accounts")}
              >${t("capacity.empty.action")}</a
            >`,
          })
        : empty({
            icon: "capacity",
            title: t("capacity.unheard.title"),
            text: t(waiting ? "capacity.unheard.waiting" : "capacity.unheard.text"),
            action: html`<a class="button" href=${href("accounts", { state: waiting ? "attention" : "" })}
              >${t("capacity.unheard.action")}</a
            >`,
          });
    }
    const { query } = route.get();
    const [search, which, order, hidden, account] = [
      query.get("q") ?? "",
      query.get("family") ?? "all",
      query.get("sort") ?? "",
      query.get("hidden") === "1",
      query.get("account") ?? "",
    ];
    const spent = query.get("spent") !== "0";
    const gone = all.filter((one) => one.state === "none" && (hidden || !one.hidden)).length;
    const found = all
      .filter((one) => hidden || !one.hidden)
      .filter((one) => spent || one.state !== "none")
      .filter((one) => search === "" || matches(search, [one.model]))
      .filter((one) => account === "" || one.seats.some((seat) => seat.account.email === account));
    const shown = sorted(
      found.filter((one) => which === "all" || one.family === which),
      order,
      COLUMNS,
      language.get(),
    );
    const choices = FAMILIES.map((value) => ({
      value,
      label: t(`capacity.family.${value}`),
      count: value === "all" ? found.length : found.filter((one) => one.family === value).length,
    })).filter(({ value, count }) => value !== "other" || count > 0 || which === "other");
    const away = all.filter((one) => one.hidden).length;
    const drawn = shown.slice(0, LINES).map(({ model }) => model);
    const history = this.history();
    this.ending = new Map(endings(history, all).map((one) => [one.model, one]));
    return html`
      ${this.words(offered(all))}
      <div class="tools">
        ${searchField(t("capacity.search"), search, (q) => ask({ q }))}
        ${segments(t("capacity.filter"), choices, which, (value) =>
          ask({ family: value === "all" ? null : value }, {}),
        )}
        <label class="pick-account">
          <span class="unseen">${t("capacity.account")}</span>
          <select
            class="select"
            .value=${account}
            @change=${(/** @type {Event} */ event) =>
              ask({ account: /** @type {HTMLSelectElement} */ (event.target).value || null }, {})}
          >
            <option value="">${t("capacity.account.all")}</option>
            ${guard([data.accounts, account, look()], () =>
              data.accounts.map(
                ({ email }) =>
                  html`<option value=${email} ?selected=${email === account}>${who(email)}</option>`,
              ),
            )}
          </select>
        </label>
        ${
          gone > 0
            ? html`<span class="with-switch"
                >${toggle(t("capacity.spent", { n: gone }), spent, (shown_) =>
                  ask({ spent: shown_ ? null : "0" }, {}),
                )}<span aria-hidden="true">${t("capacity.spent", { n: gone })}</span></span
              >`
            : nothing
        }
        ${
          away > 0
            ? html`<span class="with-switch"
                >${toggle(t("capacity.hidden", { n: away }), hidden, (shown_) =>
                  ask({ hidden: shown_ ? "1" : null }, {}),
                )}<span aria-hidden="true">${t("capacity.hidden", { n: away })}</span></span
              >`
            : nothing
        }
        <span class="unseen" role="status">${t("capacity.count", { n: shown.length })}</span>
        <x-views></x-views>
      </div>
      ${
        shown.length === 0
          ? empty({
              icon: "search",
              title: t("capacity.none.title"),
              text: t("capacity.none.text"),
              action: html`<button
                type="button"
                class="button"
                @click=${() => ask({ q: null, family: null, account: null, spent: null }, {})}
              >
                ${t("capacity.none.action")}
              </button>`,
            })
          : this.table(shown, order, account)
      }
      ${history ? guard([history, drawn.join("\n"), look()], () => this.left(history, drawn)) : nothing}
      ${guard([offered(all), history, this.told, query.get("hours"), look()], () => this.timeline(offered(all)))}
    `;
  }

  /** The hours that are looked at. */
  hours() {
    const hours = Number(route.get().query.get("hours"));
    return histories.has(hours) ? hours : 6;
  }

  history() {
    return histories.get(this.hours())?.get().data;
  }

  /** What was left of these models. @param {CapacityHistory} history @param {string[]} models */
  left(history, models) {
    const { times, series } = seriesOf(history, models);
    const noted = times.filter((_, index) => series.some(({ values }) => values[index] !== null)).length;
    return html`<section class="stack" aria-labelledby="left-title">
      <div>
        <h2 id="left-title">${t("capacity.left")}</h2>
        <p class="quiet">${t("capacity.left.text")}</p>
      </div>
      ${
        noted < 2
          ? html`<p class="panel padded quiet">${t("capacity.left.none")}</p>`
          : html`<div class="panel padded">
              <x-chart
                .label=${t("capacity.left")}
                .times=${times}
                .series=${series.map((one) => ({ ...one, label: plain(one.label) }))}
                .format=${percent}
              ></x-chart>
            </div>`
      }
    </section>`;
  }

  /** What holds, in words, before anything else. @param {Capacity[]} all */
  words(all) {
    const [none, degraded] = [
      all.filter((one) => one.state === "none"),
      all.filter((one) => one.state === "degraded"),
    ];
    const tone = none.length > 0 ? "bad" : degraded.length > 0 ? "warn" : "ok";
    return html`<div class="notice" data-tone=${tone} role="status">
      ${icon(tone)}
      <div class="words">
        ${none.length === 0 && degraded.length === 0 ? html`<p>${t("capacity.words.ok", { n: all.length })}</p>` : nothing}
        ${
          none.length > 0
            ? html`<p>
                ${t("capacity.words.none", { models: list(none.map(({ model }) => plain(model))) })}
                ${
                  none.some(({ back }) => back > 0)
                    ? html`${t("capacity.words.back")}
                        <x-time
                          mode="until"
                          at=${Math.min(...none.map(({ back }) => back || Infinity))}
                          over=${t("accounts.now")}
                        ></x-time
                        >.`
                    : nothing
                }
              </p>`
            : nothing
        }
        ${
          degraded.length > 0
            ? html`<p>
                ${t("capacity.words.degraded", { models: list(degraded.map(({ model }) => plain(model))) })}
              </p>`
            : nothing
        }
      </div>
    </div>`;
  }

  /** @param {Capacity[]} shown @param {string} order @param {string} account */
  table(shown, order, account) {
    const heading = (/** @type {string} */ column, downFirst = false) =>
      sortable(t(`capacity.column.${column}`), column, order, (name) =>
        ask({ sort: turned(order, name, downFirst) }, {}),
      );
    const open = route.get().query.get("open") ?? "";
    return html`<section class="panel" aria-label=${t("capacity.title")}>
      <table class="table cards models">
        <thead>
          <tr>
            ${heading("model")} ${heading("state")} ${heading("average")}
            <th scope="col">${t("capacity.column.threshold")}</th>
            ${heading("reset")}
            <th scope="col">${t("capacity.column.accounts")}</th>
            <th scope="col"><span class="unseen">${t("accounts.column.actions")}</span></th>
          </tr>
        </thead>
        ${this.sight.draw(
          shown,
          ({ model }) => model,
          (one) => [
            guard([one, this.ending.get(one.model)?.at, open === one.model, look()], () =>
              this.row(one, open === one.model),
            ),
            open === one.model ? this.seats(one, account) : nothing,
          ],
          7,
        )}
      </table>
    </section>`;
  }

  /** @param {Capacity} one @param {boolean} open */
  row(one, open) {
    const { model, average, floors, reset, seats } = one;
    const [low, high] = floors;
    const ending = this.ending.get(model);
    return html`<tr class=${one.hidden ? "off" : ""}>
      <th scope="row">
        <button
          type="button"
          class="row-link model-link"
          aria-expanded=${open}
          @click=${() => ask({ open: open ? null : model }, {})}
        >
          ${icon(open ? "down" : "right")}<span class="mono">${plain(model)}</span>
        </button>
        ${one.pinned ? chip(t("capacity.pinned")) : nothing}
        ${one.hidden ? chip(t("capacity.hiddenOne")) : nothing}
      </th>
      <td data-label=${t("capacity.column.state")}>
        <div class="model-state">
          ${badge(TONES[one.state], t(`capacity.state.${one.state}`))}
          <small class="num">${t("capacity.usable", { n: one.usable, of: one.of })}</small>
        </div>
      </td>
      <td data-label=${t("capacity.column.average")}>
        ${meter(average, t("capacity.averageOf", { model }), high || undefined)}
        ${
          ending
            ? html`<small class="num nowrap runs-out"
                >${t("capacity.lasts", { time: time(ending.at), share: percent(ending.perHour) })}</small
              >`
            : nothing
        }
      </td>
      <td data-label=${t("capacity.column.threshold")} class="num nowrap quiet">
        ${
          high === 0
            ? t("capacity.floor.none")
            : low === high
              ? percent(low)
              : t("capacity.floor.range", { low: percent(low), high: percent(high) })
        }
      </td>
      <td data-label=${t("capacity.column.reset")} class="num nowrap quiet">
        ${
          reset > 0
            ? html`<x-time mode="until" at=${reset} over=${t("accounts.now")}></x-time>`
            : t("app.unknown")
        }
      </td>
      <td data-label=${t("capacity.column.accounts")}>${this.squares(model, seats)}</td>
      <td class="end">
        <x-menu
          .label=${t("capacity.actions", { model })}
          .items=${[
            {
              label: t(one.pinned ? "capacity.unpin" : "capacity.pin"),
              icon: /** @type {const} */ ("up"),
              run: () => configure(model, { pinned: !one.pinned }),
            },
            {
              label: t(one.hidden ? "capacity.show" : "capacity.hide"),
              icon: one.hidden ? /** @type {const} */ ("eye") : /** @type {const} */ ("hidden"),
              run: () => configure(model, { hidden: !one.hidden }),
            },
            {
              label: t("accounts.floor.forAll"),
              icon: /** @type {const} */ ("capacity"),
              run: () => this.all(one),
            },
          ]}
        ></x-menu>
      </td>
    </tr>`;
  }

  /** @param {Capacity} one */
  all({ model, seats, floors }) {
    return floorForAll(
      seats.map(({ account }) => account.email),
      model,
      floors[1] || 0.1,
    );
  }

  /** One square for each account; the same in words. @param {string} model @param {Seat[]} seats */
  squares(model, seats) {
    /** @type {Map<Seat["state"], number>} */
    const counts = new Map();
    for (const { state } of seats) {
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    const said = [...counts].map(([state, n]) => `${t(`capacity.seat.${state}`)}: ${number(n)}`).join(", ");
    const order = /** @type {Seat["state"][]} */ (Object.keys(SEATS));
    const drawn = order
      .flatMap((state) => Array.from({ length: Math.min(counts.get(state) ?? 0, SQUARES) }, () => state))
      .slice(0, SQUARES);
    return html`<span class="squares" role="img" aria-label="${model}: ${said}" title=${said}
      >${drawn.map((state) => html`<i data-tone=${SEATS[state]} data-state=${state}></i>`)}${
        seats.length > drawn.length ? html`<small>+${number(seats.length - drawn.length)}</small>` : nothing
      }</span
    >`;
  }

  /** @param {Capacity} one @param {string} only */
  seats(one, only) {
    const { model } = one;
    const chosen = one.seats
      .filter(({ account }) => only === "" || account.email === only)
      .toSorted((a, b) => (b.fraction ?? -1) - (a.fraction ?? -1));
    const shown = this.long.has(model) ? chosen : chosen.slice(0, FIRST);
    return html`<tr class="breakdown">
      <td colspan="7">
        <div class="seats" role="group" aria-label=${t("capacity.breakdown", { model })}>
          <div class="section-head">
            <h2>${t("capacity.breakdown", { model: plain(model) })}</h2>
            <button type="button" class="button small" @click=${() => this.all(one)}>
              ${t("accounts.floor.forAll")}
            </button>
          </div>
          <p class="quiet">${t("capacity.breakdown.text")}</p>
          <ul>
            ${repeat(
              shown,
              ({ account }) => account.email,
              (seat) => this.seat(model, seat),
            )}
          </ul>
          ${
            chosen.length > FIRST
              ? html`<button
                  type="button"
                  class="button small ghost"
                  aria-expanded=${this.long.has(model)}
                  @click=${() => {
                    this.long[this.long.has(model) ? "delete" : "add"](model);
                    this.requestUpdate();
                  }}
                >
                  ${
                    this.long.has(model)
                      ? t("capacity.less")
                      : t("capacity.more", { n: chosen.length - shown.length })
                  }
                </button>`
              : nothing
          }
        </div>
      </td>
    </tr>`;
  }

  /** @param {string} model @param {Seat} seat */
  seat(model, { account, state, until, fraction, reset, floor }) {
    const own = account.modelQuotaThresholds[model] ?? null;
    const pool = accounts.peek().data?.globalQuotaThreshold ?? 0;
    const inherited = typeof account.quotaThreshold === "number" ? account.quotaThreshold : pool;
    const from = typeof account.quotaThreshold === "number" ? "account" : "pool";
    return html`<li>
      <a class="row-link" href=${href("accounts", { open: account.email })}>${who(account.email)}</a>
      <div class="seat-state">
        ${badge(
          SEATS[state],
          state === "attention" ? t(`accounts.state.${stateOf(account).state}`) : t(`capacity.seat.${state}`),
        )}
        ${
          until > 0
            ? html`<small class="num nowrap"
                >${t("accounts.back")} <x-time mode="until" at=${until} over=${t("accounts.now")}></x-time
              ></small>`
            : nothing
        }
      </div>
      <strong class="num seat-left">${fraction === null ? t("app.unknown") : percent(fraction)}</strong>
      <x-floor
        .label=${t("accounts.floor.of", { what: `${model}, ${who(account.email)}` })}
        .own=${own}
        .inherited=${inherited}
        .from=${t(`accounts.floor.from.${from}`)}
        .fraction=${fraction}
        data-from=${floor.from}
        @floor=${(/** @type {CustomEvent<number | null>} */ event) =>
          setFloor(account.email, model, event.detail)}
      ></x-floor>
      <small class="num nowrap seat-reset"
        >${
          reset > 0
            ? html`${t("capacity.resets")}
                <x-time mode="until" at=${reset} over=${t("accounts.now")}></x-time>`
            : nothing
        }</small
      >
    </li>`;
  }

  /** Limits that were and are, and what is coming: drawn, and in words. @param {Capacity[]} all */
  timeline(all) {
    const hours = this.hours();
    const at = now();
    const [from, to] = [at - (hours * HOUR) / 2, at + (hours * HOUR) / 2];
    const models = new Set(all.map(({ model }) => model));
    const told = spansOf(this.told).filter(
      (span) => span.until > from && span.from < to && (span.model === "" || models.has(span.model)),
    );
    const spans = [...told, ...standingLimits(all, told, at, to)];
    const out = [...this.ending].map(([model, { at: end }]) => ({
      at: end,
      kind: /** @type {const} */ ("out"),
      model,
      emails: /** @type {string[]} */ ([]),
    }));
    const coming = [...comingOf(all), ...out.filter(({ model }) => models.has(model))]
      .filter((one) => one.at < to)
      .sort((a, b) => a.at - b.at);
    /** @type {Map<string, import("../lib/pool.js").Span[]>} */
    const lanes = new Map();
    for (const span of spans) {
      for (const model of span.model ? [span.model] : models) {
        const key = `${model}\n${span.email}`;
        const lane = lanes.get(key);
        if (lane) {
          lane.push(span);
        } else {
          lanes.set(key, [span]);
        }
      }
    }
    const x = (/** @type {number} */ when) =>
      Math.round(((Math.min(Math.max(when, from), to) - from) / (to - from)) * 1000);
    const rows = [...lanes].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, 24);
    return html`<section class="stack timeline" aria-labelledby="timeline-title">
      <div class="section-head">
        <div>
          <h2 id="timeline-title">${t("capacity.timeline")}</h2>
          <p class="quiet">${t("capacity.timeline.text")}</p>
        </div>
        ${segments(
          t("capacity.timeline.range"),
          HOURS.map((value) => ({ value: String(value), label: t("capacity.timeline.hours", { n: value }) })),
          String(hours),
          (value) => ask({ hours: value === "6" ? null : value }, {}),
        )}
      </div>
      ${
        rows.length === 0
          ? html`<p class="panel padded quiet">${t("capacity.timeline.none")}</p>`
          : html`<div
              class="panel lanes"
              role="img"
              aria-label=${t("capacity.timeline.drawn", { n: spans.length })}
            >
              ${rows.map(([key, own]) => {
                const [model, email] = key.split("\n");
                return html`<div class="lane">
                  <span class="lane-name"
                    ><span>${who(email)}</span><small class="mono">${plain(model)}</small></span
                  >
                  <svg viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true">
                    ${own.map(
                      (span) =>
                        svg`<rect class=${span.until > at ? "now" : "past"} data-reason=${span.reason} x=${x(span.from)} y=${span.reason === "quota" ? 4 : 7} width=${Math.max(3, x(span.until) - x(span.from))} height=${span.reason === "quota" ? 12 : 6} rx="2"></rect>`,
                    )}
                    <line x1="500" x2="500" y1="0" y2="20"></line>
                  </svg>
                </div>`;
              })}
              <div class="lane lane-axis" aria-hidden="true">
                <span class="lane-kinds"
                  ><i class="quota"></i>${t("capacity.timeline.quota")}<i
                  ></i>${t("capacity.timeline.other")}</span
                >
                <span class="lane-times num"
                  ><span>${time(from)}</span><strong>${t("accounts.now")}</strong
                  ><span>${time(to)}</span></span
                >
              </div>
            </div>`
      }
      <div class="two">
        <section class="stack" aria-labelledby="coming-title">
          <h3 id="coming-title">${t("capacity.coming")}</h3>
          ${
            coming.length === 0
              ? html`<p class="quiet">${t("capacity.coming.none")}</p>`
              : html`<ol class="moments">
                  ${coming.slice(0, 12).map(
                    (one) =>
                      html`<li>
                        <span class="num nowrap"
                          ><x-time mode="until" at=${one.at} over=${t("accounts.now")}></x-time
                        ></span>
                        <span
                          >${t(`capacity.coming.${one.kind}`, {
                            model: plain(one.model),
                            n: one.emails.length,
                            emails: list(one.emails.slice(0, 3).map(who)),
                          })}</span
                        >
                      </li>`,
                  )}
                </ol>`
          }
        </section>
        <section class="stack" aria-labelledby="limits-title">
          <h3 id="limits-title">${t("capacity.limits")}</h3>
          ${
            spans.length === 0
              ? html`<p class="quiet">${t("capacity.limits.none")}</p>`
              : html`<ol class="moments">
                  ${spans
                    .toSorted((a, b) => b.from - a.from)
                    .slice(0, 12)
                    .map(
                      (span) =>
                        html`<li>
                          <span class="num nowrap"
                            >${span.from === at ? t("accounts.now") : time(span.from)}</span
                          >
                          <span
                            >${t(span.until > at ? "capacity.limit.now" : "capacity.limit.past", {
                              email: who(span.email),
                              model: span.model ? plain(span.model) : t("accounts.floor.every"),
                              reason: reasonOf(span.reason),
                              until: span.known ? time(span.until) : t("app.unknown"),
                            })}</span
                          >
                        </li>`,
                    )}
                </ol>`
          }
        </section>
      </div>
    </section>`;
  }
}

const REASONS = ["quota", "rate", "capacity", "failure", "forbidden", "unsupported", "cooling"];

/** @param {string} reason As the pool names it. */
const reasonOf = (reason) => (REASONS.includes(reason) ? t(`capacity.reason.${reason}`) : plain(reason));

/**
 * Says something of a model, for all consoles; the list shows it at once.
 * @param {string} model
 * @param {{ pinned?: boolean, hidden?: boolean }} config
 * @returns {Promise<boolean>}
 */
function configure(model, config) {
  const before = accounts.peek().data?.modelConfig[model] ?? {};
  const [name] = /** @type {("pinned" | "hidden")[]} */ (Object.keys(config));
  return act({
    on: accounts,
    send: () => api("api/models/config", { body: { modelId: model, config } }),
    show: (data) => ({
      ...data,
      modelConfig: { ...data.modelConfig, [model]: { ...data.modelConfig[model], ...config } },
    }),
    done: t(`capacity.did.${name}.${config[name] ? "on" : "off"}`, { model: plain(model) }),
    undo: () => configure(model, { [name]: before[name] === true }),
  });
}

define(tag, CapacityPage);
