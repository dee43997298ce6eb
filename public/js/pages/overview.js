// Overview: whether the pool serves, in words first; then accounts, requests, what runs now and what is wrong.

import { html, nothing } from "../../vendor/lit.js";
import { family, STATES, stateOf } from "../lib/accounts.js";
import { now } from "../lib/clock.js";
import { compact, duration, number, percent, plain } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { capacities, familyOf } from "../lib/pool.js";
import { prefer, prefs } from "../lib/prefs.js";
import { masked, who } from "../lib/privacy.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { toast } from "../lib/toast.js";
import { define, loadStyle, View } from "../lib/view.js";
import { HOUR, volume } from "../lib/volume.js";
import { icon } from "../ui/icons.js";
import { badge, chip, failure, head, meter, segments, skeleton, stat, whole, words } from "../ui/parts.js";
import { snippet } from "../ui/snippet.js";
import "../ui/chart.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["StatusView"]} Status */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */
/** @typedef {components["schemas"]["UsageReport"]} UsageReport */
/** @typedef {components["schemas"]["LiveRequests"]} LiveRequests */

export const tag = "page-overview";

loadStyle("pages/overview");

/** @type {import("../lib/resource.js").Resource<Status>} */
const status = resource("api/status", { every: 15_000, events: ["account", "limit", "settings", "key"] });
/** @type {import("../lib/resource.js").Resource<AccountLimits>} */
const limits = resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });
/** @type {import("../lib/resource.js").Resource<LiveRequests>} */
const live = resource("api/requests/live", { every: 5_000, events: ["request"], steady: true });

/** Ranges in hours; those of days are told by the day. */
const RANGES = /** @type {const} */ ({ "6h": 6, "24h": 24, "7d": 168, "30d": 720 });
const BY = /** @type {const} */ (["model", "family", "status"]);
const GROUPS = /** @type {const} */ (["ready", "resting", "attention", "unknown", "disabled"]);
/** @type {Record<string, import("../ui/parts.js").Tone>} */
const GROUP_TONES = {
  ready: "ok",
  resting: "cooling",
  attention: "bad",
  unknown: "unknown",
  disabled: "off",
};
/** Of incidents, and of rows of them. */
const MOST = 6;

/** @param {string} range @param {string} by @returns {import("../lib/resource.js").Resource<UsageReport>} */
function usage(range, by) {
  const hours = RANGES[/** @type {keyof typeof RANGES} */ (range)];
  const step = hours > 48 ? "day" : "hour";
  // The same address for an hour, so that it is the same resource; what is in the running one comes with asking again.
  const from = Math.floor(now() / HOUR) * HOUR - (hours - 1) * HOUR;
  return resource(`api/usage?from=${from}&step=${step}&groupBy=${by === "status" ? "status" : "model"}`, {
    every: 30_000,
    events: ["request"],
  });
}

/** What is only recommended need not be seen for ever. */
function hide() {
  prefer({ steps: false });
  toast({
    text: t("overview.setup.hidden"),
    action: { label: t("app.undo"), run: () => prefer({ steps: true }) },
  });
}

class OverviewPage extends View {
  render() {
    return html`<div class="stack">
      ${head(t("overview.title"), t("overview.about"))} ${whole(status, (data) => this.page(data))}
    </div>`;
  }

  /** @param {Status} data */
  page(data) {
    const ready = !data.setup.some(({ required }) => required);
    if (data.accounts.total > 0 && limits.get().state === "loading") {
      // Nothing is shown that would move at once.
      return html`${this.verdict(data)}${skeleton(12)}`;
    }
    return html`
      ${this.verdict(data)} ${data.setup.length > 0 && !ready ? this.setup(data) : nothing}
      ${
        data.accounts.total > 0
          ? html`${whole(
              limits,
              (all) => this.capacity(all),
              () => skeleton(2),
            )}`
          : nothing
      }
      <section class="panel padded stack volume" aria-labelledby="volume-title">${this.volume()}</section>
      <div class="overview-two">
        <section class="panel padded stack" aria-labelledby="live-title">${this.live()}</section>
        <section class="panel padded stack" aria-labelledby="incidents-title">
          ${this.incidents(data)}
        </section>
      </div>
      ${data.setup.length > 0 && ready && prefs.get().steps ? this.setup(data) : nothing}
    `;
  }

  /** In words, first. @param {Status} data */
  verdict(data) {
    const all = limits.get().data;
    /** @type {"ok" | "warn" | "bad"} */
    let tone = "ok";
    /** @type {string[]} */
    let said = [];
    if (data.draining) {
      [tone, said] = ["warn", [t("overview.draining")]];
    } else if (!data.store.available) {
      [tone, said] = ["bad", [t("overview.storeAway")]];
    } else if (data.setup.some((step) => step.required)) {
      [tone, said] = ["bad", [t("overview.notReady")]];
    } else if (all && all.models.length > 0) {
      const models = capacities(all);
      for (const which of /** @type {const} */ (["claude", "gemini", "other"])) {
        const { best, average } = familyOf(models, which);
        if (!best) {
          continue;
        }
        if (best.state === "none") {
          tone = "bad";
        } else if (best.state === "degraded" && tone === "ok") {
          tone = "warn";
        }
        said.push(
          t(`overview.words.${best.state}`, {
            family: t(`overview.family.${which}`),
            n: best.usable,
            of: best.of,
            left: percent(average),
          }),
        );
      }
    } else {
      said = [t("overview.ready")];
    }
    return html`<div class="notice verdict" data-tone=${tone} role="status">
      ${icon(tone)}
      <div>
        ${said.map((sentence, index) => html`<p class=${index === 0 ? "first" : ""}>${sentence}</p>`)}
      </div>
      <a class="button small" href=${href("capacity")}>${t("overview.capacity.more")}</a>
    </div>`;
  }

  /** @param {AccountLimits} data */
  capacity(data) {
    const models = capacities(data);
    const states = data.accounts.map((account) => STATES[stateOf(account).state].group);
    const reset = Math.min(...models.map((one) => one.reset || Infinity));
    return html`<div class="overview-two">
      <section class="panel padded stack" aria-labelledby="accounts-title">
        <div class="section-head">
          <h2 id="accounts-title">${t("overview.accounts")}</h2>
          <a href=${href("accounts")}>${t("overview.of", { n: data.accounts.length })}</a>
        </div>
        <ul class="states">
          ${GROUPS.map((group) => ({ group, n: states.filter((state) => state === group).length }))
            .filter(({ group, n }) => n > 0 || group === "ready" || group === "attention")
            .map(
              ({ group, n }) =>
                html`<li>
                  <a href=${href("accounts", { state: group })}
                    >${badge(GROUP_TONES[group], t(`accounts.group.${group}`))}<strong class="num"
                      >${number(n)}</strong
                    ></a
                  >
                </li>`,
            )}
        </ul>
        ${this.tiers(data)}
      </section>
      <section class="panel padded stack" aria-labelledby="left-title">
        <div class="section-head">
          <h2 id="left-title">${t("overview.left")}</h2>
          ${
            reset < Infinity
              ? html`<small class="num"
                  >${t("overview.reset")} <x-time mode="until" at=${reset} over=${t("accounts.now")}></x-time
                ></small>`
              : nothing
          }
        </div>
        <ul class="families">
          ${
            /** @type {const} */ (["claude", "gemini", "other"]).map((which) => {
              const { models: own, best, average } = familyOf(models, which);
              return best
                ? html`<li>
                    <a href=${href("capacity", { family: which })}>${t(`overview.family.${which}`)}</a>
                    ${meter(average, t("overview.leftOf", { family: t(`overview.family.${which}`) }))}
                    <small class="num">${t("overview.models", { n: own.length })}</small>
                  </li>`
                : nothing;
            })
          }
        </ul>
      </section>
    </div>`;
  }

  /** What the accounts' owners pay for. @param {AccountLimits} data */
  tiers(data) {
    const tiers = data.accounts.map(({ subscription }) => subscription.tier);
    return html`<ul class="tiers" aria-label=${t("overview.tiers")}>
      ${["ultra", "pro", "free"].map((tier) => {
        const n = tiers.filter((one) => one === tier).length;
        return n > 0
          ? html`<li>
              ${chip(html`${t(`accounts.tier.${tier}`)} <strong class="num">${number(n)}</strong>`)}
            </li>`
          : nothing;
      })}
      ${this.untold(tiers.filter((one) => !["ultra", "pro", "free"].includes(one)).length)}
    </ul>`;
  }

  /** @param {number} n */
  untold(n) {
    return n > 0
      ? html`<li>${chip(html`${t("app.unknown")} <strong class="num">${number(n)}</strong>`)}</li>`
      : nothing;
  }

  volume() {
    const { query } = route.get();
    const asked = query.get("range") ?? "24h";
    const range = Object.hasOwn(RANGES, asked) ? asked : "24h";
    const wish = query.get("by") ?? "model";
    const by = /** @type {readonly string[]} */ (BY).includes(wish) ? wish : "model";
    const report = usage(range, by);
    const state = report.get();
    return html`
      <div class="section-head">
        <h2 id="volume-title">${t("overview.volume")}</h2>
        <div class="actions">
          ${segments(
            t("overview.by"),
            BY.map((value) => ({ value, label: t(`overview.by.${value}`) })),
            by,
            (value) => ask({ by: value === "model" ? null : value }, {}),
          )}
          ${segments(
            t("overview.range"),
            Object.keys(RANGES).map((value) => ({ value, label: t(`overview.range.${value}`) })),
            range,
            (value) => ask({ range: value === "24h" ? null : value }, {}),
          )}
        </div>
      </div>
      ${
        state.data
          ? this.chart(state.data, by)
          : state.state === "error"
            ? failure(state.error, report.reload)
            : skeleton(8)
      }
    `;
  }

  /** @param {UsageReport} report @param {string} by */
  chart(report, by) {
    const { totals } = report;
    const { times, series } = volume(report, (group) =>
      by === "status"
        ? (group.status ?? "unknown")
        : by === "family"
          ? family(group.model ?? "")
          : (group.model ?? ""),
    );
    const name = (/** @type {string} */ key) =>
      key === ""
        ? t("overview.rest")
        : by === "status"
          ? t(`overview.status.${key}`)
          : by === "family"
            ? t(`overview.family.${key}`)
            : plain(key);
    const running = report.usage.filter(({ at }) => at === times.at(-1));
    return html`
      <dl class="stats">
        ${stat(t("overview.requests"), compact(totals.requests))}
        ${stat(
          t(report.step === "day" ? "overview.today" : "overview.hour"),
          compact(running.reduce((sum, { requests }) => sum + requests, 0)),
        )}
        ${stat(
          t("overview.tokens"),
          compact(totals.inputTokens + totals.cacheReadTokens + totals.outputTokens),
          t("overview.tokens.out", { n: compact(totals.outputTokens) }),
        )}
        ${stat(
          t("overview.latency"),
          totals.requests > 0 ? duration(totals.latencyMs / totals.requests) : duration(null),
        )}
      </dl>
      ${
        totals.requests === 0
          ? html`<div class="blank small">
              ${icon("usage")}
              <p>${t("overview.volume.none")}</p>
              <div class="actions">
                <a class="button" href=${href("connect")}>${t("overview.connect")}</a>
              </div>
            </div>`
          : html`<x-chart
              .label=${t("overview.volume")}
              .times=${times}
              .series=${series.map(({ name: key, values }) => ({ label: name(key), values }))}
              .format=${(/** @type {number | null} */ n) => number(n)}
              .height=${200}
              .area=${series.length === 1}
            ></x-chart>`
      }
    `;
  }

  live() {
    return html`
      <div class="section-head">
        <h2 id="live-title">${t("overview.live")}</h2>
        <a href=${href("live")}>${t("overview.live.all")}</a>
      </div>
      ${whole(
        live,
        ({ requests, omitted, complete }) => html`
          <p class="big">
            <span class="figure num">${number(requests.length + omitted)}</span>
            <span class="quiet">${t("overview.live.n", { n: requests.length + omitted })}</span>
          </p>
          ${complete ? nothing : html`<p class="quiet">${t("overview.live.partial")}</p>`}
          <ul class="rows">
            ${requests.slice(0, MOST).map(
              (one) =>
                html`<li>
                  ${badge(
                    one.state === "answering" ? "ok" : one.state === "cancelled" ? "off" : "cooling",
                    t(`overview.live.${one.state}`),
                  )}
                  <span class="mono">${plain(one.model ?? one.requestedModel ?? t("app.unknown"))}</span>
                  <small>${one.account ? who(one.account) : nothing}</small>
                  <small class="num nowrap"
                    ><x-time mode="since" at=${live.peek().at - one.ageMs} local></x-time
                  ></small>
                </li>`,
            )}
          </ul>
        `,
        () => skeleton(2),
      )}
    `;
  }

  /** What somebody should look at. @param {Status} data */
  incidents(data) {
    const all = limits.get().data;
    /** @type {{ tone: import("../ui/parts.js").Tone, name: string, text: import("../ui/parts.js").Content, to: string }[]} */
    const found = [];
    if (data.oauthClientRefused) {
      found.push({
        tone: "bad",
        name: t("overview.incident.client"),
        text: t("overview.incident.client.text"),
        to: href("settings"),
      });
    }
    for (const account of all?.accounts ?? []) {
      const { state, reason } = stateOf(account);
      if (STATES[state].group === "attention") {
        found.push({
          tone: STATES[state].tone,
          name: who(account.email),
          // A reason begins with what the state is.
          text: reason ? words(plain(masked(reason))) : t(`accounts.state.${state}`),
          to: href("accounts", { open: account.email }),
        });
      }
    }
    for (const model of all ? capacities(all) : []) {
      if (model.state === "none" && !model.hidden) {
        found.push({
          tone: "bad",
          name: plain(model.model),
          text: t("overview.incident.none"),
          to: href("capacity", { q: model.model }),
        });
      }
    }
    return html`
      <div class="section-head">
        <h2 id="incidents-title">${t("overview.incidents")}</h2>
        ${found.length > 0 ? html`<span class="num quiet">${number(found.length)}</span>` : nothing}
      </div>
      ${
        found.length === 0
          ? html`<p>${badge("ok", t("overview.incidents.none"))}</p>`
          : html`<ul class="rows incidents">
                ${found.slice(0, MOST).map(
                  ({ tone, name, text, to }) =>
                    html`<li data-tone=${tone}>
                      ${icon(/** @type {import("../ui/icons.js").Icon} */ (tone))}
                      <div>
                        <a class="row-link" href=${to}>${name}</a>
                        <small>${text}</small>
                      </div>
                    </li>`,
                )}
              </ul>
              ${
                found.length > MOST
                  ? html`<a href=${href("accounts", { state: "attention" })}
                      >${t("overview.incidents.more", { n: found.length - MOST })}</a
                    >`
                  : nothing
              }`
      }
    `;
  }

  /** @param {Status} data */
  setup(data) {
    return html`<section class="stack" aria-labelledby="setup-title">
      <div class="section-head">
        <h2 id="setup-title">${t("overview.setup")}</h2>
        ${
          data.setup.some(({ required }) => required)
            ? nothing
            : html`<button type="button" class="button small ghost" @click=${hide}>
                ${icon("close")}${t("overview.setup.hide")}
              </button>`
        }
      </div>
      <ol class="stack">
        ${data.setup.map(
          (step) =>
            html`<li class="panel padded stack">
              <div>
                <h3>
                  ${step.title} ${step.required ? nothing : html`<small>${t("overview.recommended")}</small>`}
                </h3>
                <p class="quiet">${step.text}</p>
              </div>
              ${snippet(step.command, step.title)}
            </li>`,
        )}
      </ol>
      <p class="quiet">
        ${t("overview.running", { version: data.version })}
        <x-time mode="since" at=${now() - data.uptimeMs}></x-time>.
        ${t(`overview.store.${data.store.mode === "embedded" ? "embedded" : "redis"}`)}
      </p>
    </section>`;
  }
}

define(tag, OverviewPage);
