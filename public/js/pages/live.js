// Live: what is being answered now, on all replicas, and a way to end it.

import { html, nothing } from "../../vendor/lit.js";
import { act } from "../lib/action.js";
import { api } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { duration, number, plain } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { masked, who } from "../lib/privacy.js";
import { sampled, stuck, TONES } from "../lib/requests.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { matches, sorted, turned } from "../lib/rows.js";
import { define, loadStyle, View } from "../lib/view.js";
import { confirm } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { badge, empty, head, searchField, segments, sortable, stat, whole } from "../ui/parts.js";
import { Sight } from "../ui/sight.js";
import "../ui/chart.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["LiveRequests"]} LiveRequests */
/** @typedef {import("../lib/requests.js").LiveRequest} LiveRequest */
/** @typedef {{ request: LiveRequest, age: number, late: boolean }} Row */
/** @typedef {{ at: number, all: number, waiting: number }} Sample */

export const tag = "page-live";

loadStyle("pages/live");

/** Only ends come as events: that one begins is seen by asking. */
const EVERY_MS = 2_000;
/** What the curve shows, in ms: it begins when the page is opened. */
const SPAN_MS = 10 * 60_000;
/** Its length at first, in ms. */
const FIRST_MS = 60_000;

/** @type {import("../lib/resource.js").Resource<LiveRequests>} */
const live = resource("api/requests/live", { every: EVERY_MS, events: ["request"], steady: true });

const GROUPS = /** @type {const} */ (["all", "waiting", "trying", "answering", "stuck"]);

/** @type {Sample[]} */
let samples = [];

/** @type {import("../lib/rows.js").Columns<Row>} */
const COLUMNS = {
  age: ({ age }) => age,
  phase: ({ request }) => ["waiting", "trying", "answering", "cancelled"].indexOf(request.state),
  key: ({ request }) => request.client?.name,
  model: ({ request }) => request.model ?? request.requestedModel,
  account: ({ request }) => request.account && who(request.account),
  replica: ({ request }) => request.replica,
  attempts: ({ request }) => request.attempts,
  first: ({ request }) => request.firstEventMs,
};

class LivePage extends View {
  constructor() {
    super();
    this.sight = new Sight(this);
  }

  render() {
    return html`<div class="stack">
      ${head(t("live.title"), t("live.about"))} ${whole(live, (data, { at }) => this.view(data, at))}
    </div>`;
  }

  /** @param {LiveRequests} data @param {number} at */
  view(data, at) {
    const rows = data.requests.map((request) => {
      const age = now() - request.startedAt;
      return { request, age, late: stuck(request, age) };
    });
    const count = (/** @type {string} */ state) => rows.filter((row) => row.request.state === state).length;
    const late = rows.filter((row) => row.late).length;
    const answered = data.replicas.filter((replica) => replica.asOf);
    samples = sampled(samples, { at, all: rows.length, waiting: count("waiting") }, SPAN_MS);
    return html`
      ${data.complete ? nothing : this.notice(t("live.incomplete", { n: data.replicas.length - answered.length }))}
      ${data.omitted > 0 ? this.notice(t("live.omitted", { n: data.omitted })) : nothing}
      <dl class="stats">
        ${stat(t("live.stat.all"), number(rows.length + data.omitted), t("live.stat.fleetWide"))}
        ${stat(t("live.state.waiting"), number(count("waiting")))}
        ${stat(
          t("live.stat.stuck"),
          late > 0
            ? html`<button type="button" class="row-link" @click=${() => ask({ state: "stuck" }, {})}>
                ${number(late)}
              </button>`
            : number(0),
        )}
        ${stat(t("live.stat.replicas"), number(answered.length), t("live.stat.of", { n: data.replicas.length }))}
      </dl>
      ${
        samples.length > 1
          ? html`<section class="panel padded" aria-label=${t("live.curve")}>
              <x-chart
                .label=${t("live.curve")}
                .times=${[Math.min(at - FIRST_MS, samples[0].at - 1), ...samples.map((sample) => sample.at)]}
                .series=${[
                  { label: t("live.stat.all"), values: [null, ...samples.map((sample) => sample.all)] },
                  {
                    label: t("live.state.waiting"),
                    values: [null, ...samples.map((sample) => sample.waiting)],
                    color: 3,
                  },
                ]}
                .format=${(/** @type {number | null} */ n) => number(n)}
                .height=${128}
                .area=${true}
              ></x-chart>
            </section>`
          : nothing
      }
      ${
        rows.length === 0
          ? empty({
              icon: "live",
              title: t("live.empty.title"),
              text: t("live.empty.text"),
              action: html`<a class="button" href=${href("connect")}>${t("live.empty.action")}</a>`,
            })
          : this.list(rows, data)
      }
    `;
  }

  /** @param {string} text */
  notice(text) {
    return html`<div class="notice" data-tone="warn" role="status">
      ${icon("warn")}
      <p>${text}</p>
    </div>`;
  }

  /** @param {Row[]} rows @param {LiveRequests} data */
  list(rows, data) {
    const { query } = route.get();
    const [search, group, order] = [
      query.get("q") ?? "",
      query.get("state") ?? "all",
      query.get("sort") ?? "-age",
    ];
    const hosts = new Map(data.replicas.map((replica) => [replica.id, replica.host]));
    const found = rows.filter(
      ({ request }) =>
        search === "" ||
        matches(search, [
          request.id,
          request.client?.name,
          request.model,
          request.requestedModel,
          request.account && who(request.account),
          hosts.get(request.replica),
        ]),
    );
    const within = (/** @type {Row} */ row, /** @type {string} */ name) =>
      name === "all" || (name === "stuck" ? row.late : row.request.state === name);
    const shown = sorted(
      found.filter((row) => within(row, group)),
      order,
      COLUMNS,
      language.get(),
    );
    const choices = GROUPS.map((value) => ({
      value,
      label: t(`live.group.${value}`),
      count: found.filter((row) => within(row, value)).length,
    }));
    return html`
      <div class="tools">
        ${searchField(t("live.search"), search, (q) => ask({ q }))}
        ${segments(t("live.filter"), choices, group, (state) => ask({ state: state === "all" ? null : state }, {}))}
        <span class="unseen" role="status">${t("live.count", { n: shown.length })}</span>
      </div>
      ${
        shown.length === 0
          ? empty({
              icon: "search",
              title: t("live.none.title"),
              action: html`<button
                type="button"
                class="button"
                @click=${() => ask({ q: null, state: null }, {})}
              >
                ${t("live.none.action")}
              </button>`,
            })
          : this.table(shown, order, hosts)
      }
    `;
  }

  /** @param {Row[]} shown @param {string} order @param {Map<string, string>} hosts */
  table(shown, order, hosts) {
    const heading = (/** @type {string} */ column, downFirst = false, type = "") =>
      sortable(
        t(`live.column.${column}`),
        column,
        order,
        (name) => ask({ sort: turned(order, name, downFirst) }, {}),
        type,
      );
    return html`<section class="panel scroll" aria-label=${t("live.title")} tabindex="0">
      <table class="table cards live" aria-rowcount=${shown.length + 1}>
        <thead>
          <tr>
            ${heading("key")} ${heading("phase")} ${heading("age", true, "end")} ${heading("model")}
            ${heading("account")} ${heading("replica")} ${heading("attempts", true, "end")}
            ${heading("first", true, "end")}
            <th scope="col"><span class="unseen">${t("live.column.actions")}</span></th>
          </tr>
        </thead>
        ${this.sight.draw(
          shown,
          ({ request }) => request.id,
          (row, index) => this.row(row, hosts, index),
          9,
        )}
      </table>
    </section>`;
  }

  /** @param {Row} row @param {Map<string, string>} hosts @param {number} index */
  row({ request, late }, hosts, index) {
    const { state, requestedModel, model } = request;
    const dash = html`<span class="quiet">–</span>`;
    return html`<tr aria-rowindex=${index + 2}>
      <th scope="row">
        <div class="live-who">
          <span>${request.client ? plain(masked(request.client.name)) : t("live.noKey")}</span>
          <a
            class="mono quiet"
            href=${href("logs", { request: request.id })}
            title="${t("live.log")} · ${request.id}"
            >${request.id.slice(-12)}</a
          >
        </div>
      </th>
      <td data-label=${t("live.column.phase")}>
        <div class="live-phase">
          ${badge(late ? "warn" : TONES[state], t(`live.state.${state}`))}
          ${
            late
              ? html`<small>${t("live.late")}</small>`
              : request.waitedMs >= 1000
                ? html`<small class="num">${t("live.waited", { time: duration(request.waitedMs) })}</small>`
                : nothing
          }
        </div>
      </td>
      <td data-label=${t("live.column.age")} class="end num nowrap">
        <x-time mode="since" at=${request.startedAt}></x-time>
      </td>
      <td data-label=${t("live.column.model")}>
        <div class="live-model">
          <span>${plain(model ?? requestedModel ?? "–")}</span>
          ${
            model && requestedModel && model !== requestedModel
              ? html`<small>${t("live.asked", { model: plain(requestedModel) })}</small>`
              : nothing
          }
        </div>
      </td>
      <td data-label=${t("live.column.account")}>${request.account ? who(request.account) : dash}</td>
      <td data-label=${t("live.column.replica")}>
        ${hosts.get(request.replica) ?? request.replica.slice(-12)}
      </td>
      <td data-label=${t("live.column.attempts")} class="end num">${number(request.attempts)}</td>
      <td data-label=${t("live.column.first")} class="end num nowrap">${duration(request.firstEventMs)}</td>
      <td class="end">
        <button
          type="button"
          class="button small"
          ?disabled=${state === "cancelled"}
          aria-label=${t("live.cancelWhat", { id: request.id })}
          @click=${() => cancel(request)}
        >
          ${t("live.cancel")}
        </button>
      </td>
    </tr>`;
  }
}

/**
 * Ends a request, after a question: its client gets an error, and that cannot be taken back.
 * @param {LiveRequest} request
 */
async function cancel(request) {
  const name = request.client ? plain(masked(request.client.name)) : t("live.noKey");
  const meant = await confirm({
    title: t("live.cancel.title"),
    text: t("live.cancel.text", { name, model: plain(request.model ?? request.requestedModel ?? "–") }),
    action: t("live.cancel.action"),
    tone: "bad",
  });
  if (meant) {
    await act({
      on: live,
      send: () => api(`api/requests/${encodeURIComponent(request.id)}/cancel`, { method: "POST" }),
      show: (data) => ({
        ...data,
        requests: data.requests.map((one) =>
          one.id === request.id ? { ...one, state: /** @type {const} */ ("cancelled") } : one,
        ),
      }),
      done: t("live.cancelled", { name }),
    });
  }
}

define(tag, LivePage);
