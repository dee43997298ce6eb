// Fleet: the replicas that serve the pool, and whether they agree.

import { html, nothing } from "../../vendor/lit.js";
import { SILENT_MS } from "../lib/attention.js";
import { now } from "../lib/clock.js";
import { number, plain } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { follow, lost, LOST_MS } from "../lib/past.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { sorted, turned } from "../lib/rows.js";
import { define, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";
import { badge, chip, empty, head, sortable, stat, whole } from "../ui/parts.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["ReplicaList"]} ReplicaList */
/** @typedef {components["schemas"]["ReplicaView"]} Replica */

export const tag = "page-fleet";

/** They tell how many requests they have in flight; that is what changes without an event. */
const EVERY_MS = 5_000;

/** @type {import("../lib/resource.js").Resource<ReplicaList>} */
const replicas = resource("api/replicas", { every: EVERY_MS, events: ["replica", "settings"], steady: true });

/** @param {Replica} replica @returns {{ tone: import("../ui/parts.js").Tone, name: string }} */
export function stateOf(replica) {
  if (replica.lastSeenMs > SILENT_MS) {
    return { tone: "warn", name: "silent" };
  }
  return replica.state === "draining"
    ? { tone: "cooling", name: "draining" }
    : { tone: "ok", name: "serving" };
}

/** @type {import("../lib/rows.js").Columns<Replica>} */
const COLUMNS = {
  host: (replica) => replica.host,
  state: (replica) => stateOf(replica).name,
  version: (replica) => replica.version,
  started: (replica) => -replica.startedAt,
  inFlight: (replica) => replica.inFlight,
  settings: (replica) => replica.settingsGeneration,
};

class FleetPage extends View {
  constructor() {
    super();
    /** That replicas came and went, the oldest first. @type {import("../lib/past.js").Told[]} */
    this.told = [];
    this.end = () => {};
  }

  connectedCallback() {
    super.connectedCallback();
    this.end = follow("replica", (events) => {
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
      ${head(t("fleet.title"), t("fleet.about"))} ${whole(replicas, (data) => this.fleet(data))}
    </div>`;
  }

  /** @param {ReplicaList} data */
  fleet(data) {
    const all = data.replicas;
    if (all.length === 0) {
      return empty({ icon: "fleet", title: t("fleet.empty.title"), text: t("fleet.empty.text") });
    }
    const newest = Math.max(...all.map((replica) => replica.settingsGeneration));
    const behind = all.filter((replica) => replica.settingsGeneration < newest);
    const serving = all.filter((replica) => stateOf(replica).name === "serving");
    const gone = lost(this.told, new Set(all.map(({ id }) => id)), now() - LOST_MS);
    const order = route.get().query.get("sort") ?? "host";
    const sort = (/** @type {string} */ column) => ask({ sort: turned(order, column) });
    const heading = (/** @type {string} */ column, type = "") =>
      sortable(t(`fleet.column.${column}`), column, order, sort, type);
    return html`
      ${
        data.versions.length > 1
          ? this.notice("cooling", t("fleet.rollout", { versions: data.versions.join(", ") }))
          : nothing
      }
      ${
        gone.length > 0
          ? this.notice(
              "bad",
              t("fleet.lost", { n: gone.length }),
              html`<a class="button small" href=${href("logs", { replica: gone[0].host })}
                >${t("fleet.lost.logs")}</a
              >`,
            )
          : nothing
      }
      ${data.scriptsEqual ? nothing : this.notice("warn", t("fleet.rules"))}
      ${behind.length > 0 ? this.notice("warn", t("fleet.behind", { n: behind.length })) : nothing}
      <dl class="stats">
        ${stat(t("fleet.stat.serving"), number(serving.length), t("fleet.stat.of", { n: all.length }))}
        ${stat(
          t("fleet.stat.inFlight"),
          number(all.reduce((sum, replica) => sum + replica.inFlight, 0)),
          t("fleet.stat.fleetWide"),
        )}
        ${stat(t("fleet.stat.versions"), number(data.versions.length), data.versions.join(", "))}
        ${stat(
          t("fleet.stat.settings"),
          html`<span>${t("fleet.applied", { n: all.length - behind.length, of: all.length })}</span>`,
          t("fleet.generation", { n: newest }),
        )}
      </dl>
      <section class="panel scroll" aria-label=${t("fleet.title")} tabindex="0">
        <table class="table cards">
          <thead>
            <tr>
              ${heading("host")} ${heading("state")} ${heading("version")} ${heading("started", "end")}
              ${heading("inFlight", "end")} ${heading("settings", "end")}
              <th scope="col" class="end">${t("fleet.column.seen")}</th>
            </tr>
          </thead>
          <tbody>
            ${sorted(all, order, COLUMNS).map((replica) => this.row(replica, newest, data.versions.length > 1))}
            ${gone.map((one) => this.gone(one))}
          </tbody>
        </table>
      </section>
    `;
  }

  /** @param {import("../ui/parts.js").Tone} tone @param {string} text @param {import("../ui/parts.js").Content} action */
  notice(tone, text, action = nothing) {
    return html`<div class="notice" data-tone=${tone} role="status">
      ${icon(/** @type {import("../ui/icons.js").Icon} */ (tone))}
      <p>${text}</p>
      ${action}
    </div>`;
  }

  /** @param {{ id: string, host: string, at: number }} one */
  gone({ id, host, at }) {
    const dash = html`<span class="quiet">–</span>`;
    return html`<tr class="off">
      <th scope="row">
        <div>
          <div class="fleet-host">${plain(host)}</div>
          <div class="quiet mono" title=${id}>${id.slice(-12)}</div>
        </div>
      </th>
      <td data-label=${t("fleet.column.state")}>${badge("bad", t("fleet.state.lost"))}</td>
      <td data-label=${t("fleet.column.version")}>${dash}</td>
      <td data-label=${t("fleet.column.started")} class="end">${dash}</td>
      <td data-label=${t("fleet.column.inFlight")} class="end">${dash}</td>
      <td data-label=${t("fleet.column.settings")} class="end">${dash}</td>
      <td data-label=${t("fleet.column.seen")} class="end num nowrap">
        <x-time mode="relative" at=${at}></x-time>
      </td>
    </tr>`;
  }

  /** @param {Replica} replica @param {number} newest @param {boolean} mixed */
  row(replica, newest, mixed) {
    const { tone, name } = stateOf(replica);
    const drift = replica.settingsGeneration < newest;
    return html`<tr>
      <th scope="row">
        <div>
          <div class="fleet-host">${replica.host} ${replica.self ? chip(t("fleet.self")) : nothing}</div>
          <div class="quiet mono" title=${replica.id}>${replica.id.slice(-12)}</div>
        </div>
      </th>
      <td data-label=${t("fleet.column.state")}>${badge(tone, t(`fleet.state.${name}`))}</td>
      <td data-label=${t("fleet.column.version")} class="num">
        ${mixed ? chip(replica.version) : replica.version}
      </td>
      <td data-label=${t("fleet.column.started")} class="end num nowrap">
        <x-time mode="since" at=${replica.startedAt}></x-time>
      </td>
      <td data-label=${t("fleet.column.inFlight")} class="end num">${number(replica.inFlight)}</td>
      <td data-label=${t("fleet.column.settings")} class="end num">
        ${
          drift
            ? badge("warn", t("fleet.drift", { n: newest - replica.settingsGeneration }))
            : number(replica.settingsGeneration)
        }
      </td>
      <td data-label=${t("fleet.column.seen")} class="end num nowrap">
        <x-time mode="relative" at=${replicas.peek().at - replica.lastSeenMs} local></x-time>
      </td>
    </tr>`;
  }
}

define(tag, FleetPage);
