// What the choice goes by for each account: its health, its bucket, its failures. Told in developer mode.

import { html, nothing } from "../../../vendor/lit.js";
import { act } from "../../lib/action.js";
import { api } from "../../lib/api.js";
import { number } from "../../lib/format.js";
import { language, t } from "../../lib/i18n.js";
import { who } from "../../lib/privacy.js";
import { resource } from "../../lib/resource.js";
import { ask, route } from "../../lib/router.js";
import { sorted, turned } from "../../lib/rows.js";
import { icon } from "../../ui/icons.js";
import { badge, empty, sortable, whole } from "../../ui/parts.js";
import { settings } from "./common.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SettingsView"]} SettingsView */
/** @typedef {components["schemas"]["StrategyHealth"]} Health */
/** @typedef {components["schemas"]["TrackerView"]} Tracker */

/** Scores change with each request. @type {import("../../lib/resource.js").Resource<Health>} */
const health = resource("api/strategy/health", {
  every: 5_000,
  events: ["account", "settings"],
  steady: true,
});

/** @type {import("../../lib/rows.js").Columns<Tracker>} */
const COLUMNS = {
  email: ({ email }) => who(email),
  health: ({ healthScore }) => healthScore,
  tokens: ({ tokens, maxTokens }) => tokens / (maxTokens || 1),
  failures: ({ consecutiveFailures }) => consecutiveFailures,
  inFlight: ({ inFlight }) => inFlight,
  used: ({ lastUsed }) => lastUsed,
};

/** @param {SettingsView} data */
export function inspector(data) {
  const rows = new Map(data.rows.map((one) => [one.key, one]));
  const mode = rows.get("devMode");
  return html`<section class="stack" aria-labelledby="inspector-title">
    <div>
      <h2 id="inspector-title">${t("settings.health.title")}</h2>
      <p class="quiet">${t("settings.health.about")}</p>
    </div>
    ${
      mode?.value === true
        ? whole(health, (told) => table(told, rows))
        : html`<div class="notice" data-tone="info">
            ${icon("info")}
            <p>${t("settings.health.off")}</p>
            ${
              mode && mode.applies !== "fixed"
                ? html`<button type="button" class="button small" @click=${() => developer(true)}>
                    ${t("settings.health.on")}
                  </button>`
                : nothing
            }
          </div>`
    }
  </section>`;
}

/** @param {boolean} on @returns {Promise<boolean>} */
const developer = (on) =>
  act({
    on: settings,
    send: () => api("api/settings", { method: "PATCH", body: { settings: { devMode: on ? true : null } } }),
    done: t(on ? "settings.health.switched" : "settings.undone"),
    undo: on ? () => developer(false) : undefined,
  });

/** @param {Health} told @param {Map<string, import("../../lib/settings.js").Row>} rows */
function table({ strategy, trackers }, rows) {
  if (!trackers) {
    return empty({
      icon: "settings",
      title: t("settings.health.none.title", { strategy }),
      text: t("settings.health.none.text"),
    });
  }
  if (trackers.accounts.length === 0) {
    return empty({ icon: "accounts", title: t("settings.health.empty") });
  }
  const most = Number(rows.get("accountSelection.healthScore.maxScore")?.value ?? 100);
  const least = Number(rows.get("accountSelection.healthScore.minUsable")?.value ?? 0);
  const order = route.get().query.get("sort") ?? "health";
  const heading = (/** @type {string} */ column, type = "", downFirst = false) =>
    sortable(
      t(`settings.health.column.${column}`),
      column,
      order,
      (name) => ask({ sort: turned(order, name, downFirst) }, {}),
      type,
    );
  return html`<div class="panel scroll" tabindex="0" role="region" aria-label=${t("settings.health.table")}>
    <table class="table cards">
      <thead>
        <tr>
          ${heading("email")}
          <th scope="col">${t("settings.health.column.state")}</th>
          ${heading("health")} ${heading("tokens")} ${heading("failures", "end", true)}
          ${heading("inFlight", "end", true)} ${heading("used", "end", true)}
        </tr>
      </thead>
      <tbody>
        ${sorted(trackers.accounts, order, COLUMNS, language.get()).map((one) => row(one, most, least))}
      </tbody>
    </table>
  </div>`;
}

/** @param {Tracker} one @param {number} most @param {number} least */
function row(one, most, least) {
  const bar = (
    /** @type {number} */ value,
    /** @type {number} */ of,
    /** @type {boolean} */ fine,
    /** @type {string} */ label,
  ) =>
    html`<span class="meter health-meter" data-tone=${fine ? "ok" : "warn"}>
      <progress max=${of || 1} value=${Math.max(0, value)} aria-label=${label}></progress>
      <span class="num">${t("settings.health.of", { n: number(value, 1), of: number(of, 1) })}</span>
    </span>`;
  const shown = who(one.email);
  return html`<tr>
    <th scope="row">${shown}</th>
    <td data-label=${t("settings.health.column.state")}>
      ${
        !one.isUsable
          ? badge("warn", t("settings.health.degraded"))
          : !one.hasTokens
            ? badge("cooling", t("settings.health.spent"))
            : badge("ok", t("settings.health.ok"))
      }
    </td>
    <td data-label=${t("settings.health.column.health")}>
      ${bar(one.healthScore, most, one.healthScore >= least, t("settings.health.healthOf", { email: shown }))}
    </td>
    <td data-label=${t("settings.health.column.tokens")}>
      ${bar(one.tokens, one.maxTokens, one.hasTokens, t("settings.health.tokensOf", { email: shown }))}
    </td>
    <td data-label=${t("settings.health.column.failures")} class="end num">
      ${number(one.consecutiveFailures)}
    </td>
    <td data-label=${t("settings.health.column.inFlight")} class="end num">${number(one.inFlight)}</td>
    <td data-label=${t("settings.health.column.used")} class="end num nowrap quiet">
      ${
        one.lastUsed ? html`<x-time mode="relative" at=${one.lastUsed}></x-time>` : t("settings.health.never")
      }
    </td>
  </tr>`;
}
