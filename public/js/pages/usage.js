// Usage: what was asked of the pool, by whom and of which model, and what it took.

import { html, nothing } from "../../vendor/lit.js";
import { now } from "../lib/clock.js";
import { csv, download } from "../lib/download.js";
import { compact, dateTime, duration, number, percent, plain } from "../lib/format.js";
import { has, t } from "../lib/i18n.js";
import { masked } from "../lib/privacy.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { change, figure, grouped, line, range, steps, sum } from "../lib/usage.js";
import { define, loadStyle, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";
import { empty, head, segments, stat, whole } from "../ui/parts.js";
import "../ui/chart.js";
import "../ui/menu.js";
import "../ui/views.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {import("../lib/usage.js").UsageReport} UsageReport */
/** @typedef {import("../lib/usage.js").Sums} Sums */
/** @typedef {import("../lib/usage.js").Metric} Metric */
/** @typedef {components["schemas"]["KeyList"]} KeyList */

export const tag = "page-usage";

loadStyle("pages/usage");

/** @type {import("../lib/resource.js").Resource<KeyList>} */
const keys = resource("api/keys", { events: ["key"] });

const RANGES = /** @type {const} */ ({ day: 1, week: 7, month: 30, quarter: 90 });
const GROUPS = /** @type {const} */ (["none", "model", "key", "status"]);
const METRICS = /** @type {const} */ (["requests", "failed", "tokens", "input", "output", "latency"]);
/** Curves in a chart; the rest is one. */
const CURVES = 7;

class UsagePage extends View {
  wish() {
    const { query } = route.get();
    const asked = query.get("range") ?? "";
    const days = Object.hasOwn(RANGES, asked) ? RANGES[/** @type {keyof typeof RANGES} */ (asked)] : 1;
    const by = GROUPS.find((one) => one === query.get("by")) ?? "model";
    return {
      days,
      by: days > 30 && by === "status" ? /** @type {const} */ ("model") : by,
      metric: METRICS.find((one) => one === query.get("show")) ?? "requests",
      key: query.get("key") ?? "",
      compare: query.get("compare") === "1",
    };
  }

  /** @param {{ from: number, to: number, step: string }} when @param {ReturnType<UsagePage["wish"]>} wish */
  report({ from, to, step }, { by, key, days }) {
    // How requests ended is not kept for longer than a month.
    const dimensions = [...new Set([by, key ? "key" : "none", days > 30 ? "none" : "status"])].filter(
      (one) => one !== "none",
    );
    const groups = dimensions.length > 0 ? `&groupBy=${dimensions.join(",")}` : "";
    return /** @type {import("../lib/resource.js").Resource<UsageReport>} */ (
      resource(`api/usage?from=${from}&to=${to}&step=${step}${groups}`, {
        every: 30_000,
        events: ["request"],
      })
    );
  }

  render() {
    const wish = this.wish();
    const when = range(now(), wish.days);
    const present = this.report(when, wish);
    return html`<div class="stack">
      ${head(t("usage.title"), t("usage.about"), this.actions(present, wish))} ${this.tools(wish)}
      ${whole(present, (data) => this.view(data, wish, when))}
    </div>`;
  }

  /** @param {import("../lib/resource.js").Resource<UsageReport>} present @param {ReturnType<UsagePage["wish"]>} wish */
  actions(present, wish) {
    const stamp = new Date().toISOString().slice(0, 10);
    return html`<x-menu
      .label=${t("usage.export")}
      .text=${t("usage.export")}
      .icon=${"down"}
      .items=${() => {
        const data = present.peek().data;
        return [
          {
            label: "CSV",
            disabled: !data,
            run: () =>
              data && download(`usage-${stamp}.csv`, table(this.filtered(data, wish.key)), "text/csv"),
          },
          {
            label: "JSON",
            disabled: !data,
            run: () =>
              data &&
              download(
                `usage-${stamp}.json`,
                JSON.stringify({ ...data, usage: this.filtered(data, wish.key) }, null, 2),
                "application/json",
              ),
          },
        ];
      }}
    ></x-menu>`;
  }

  /** @param {UsageReport} data @param {string} key */
  filtered(data, key) {
    return key ? data.usage.filter((row) => row.key === key) : data.usage;
  }

  /** @param {ReturnType<UsagePage["wish"]>} wish */
  tools(wish) {
    const all = keys.get().data?.keys ?? [];
    const name = Object.entries(RANGES).find(([, days]) => days === wish.days)?.[0] ?? "day";
    return html`<div class="tools">
      ${segments(
        t("usage.range"),
        Object.keys(RANGES).map((value) => ({ value, label: t(`usage.range.${value}`) })),
        name,
        (value) => ask({ range: value === "day" ? null : value }, {}),
      )}
      ${segments(
        t("usage.by"),
        GROUPS.filter((one) => one !== "status" || wish.days <= 30).map((value) => ({
          value,
          label: t(`usage.by.${value}`),
        })),
        wish.by,
        (value) => ask({ by: value === "model" ? null : value }, {}),
      )}
      <label class="usage-pick">
        <span class="unseen">${t("usage.key")}</span>
        <select
          class="select"
          @change=${(/** @type {Event} */ event) =>
            ask({ key: /** @type {HTMLSelectElement} */ (event.target).value }, {})}
        >
          <option value="" ?selected=${wish.key === ""}>${t("usage.key.all")}</option>
          ${all.map(
            (key) =>
              html`<option value=${key.id} ?selected=${key.id === wish.key}>
                ${plain(masked(key.name))}
              </option>`,
          )}
        </select>
      </label>
      <label class="usage-check"
        ><input
          type="checkbox"
          .checked=${wish.compare}
          @change=${(/** @type {Event} */ event) =>
            ask({ compare: /** @type {HTMLInputElement} */ (event.target).checked ? "1" : null }, {})}
        />${t("usage.compare")}</label
      >
      <x-views></x-views>
    </div>`;
  }

  /** @param {UsageReport} data @param {ReturnType<UsagePage["wish"]>} wish @param {ReturnType<typeof range>} when */
  view(data, wish, when) {
    const rows = this.filtered(data, wish.key);
    const length = when.to - when.from;
    const before = wish.compare
      ? this.report({ ...when, from: when.from - length, to: when.from }, wish).get().data
      : undefined;
    const old = before && this.filtered(before, wish.key);
    if (rows.length === 0 && !old?.length) {
      return empty({
        icon: "usage",
        title: t("usage.empty.title"),
        text: t("usage.empty.text"),
        action: html`<a class="button" href=${href("connect")}>${t("usage.empty.action")}</a>`,
      });
    }
    const [all, past] = [sum(rows), old && sum(old)];
    const groups = grouped(rows, wish.by, wish.metric);
    const times = steps(data);
    const top = groups.slice(0, CURVES);
    const rest = groups.slice(CURVES).flatMap((group) => group.rows);
    const series = [
      ...top.map((group, n) => ({
        label: this.name(group.name, wish.by),
        values: line(group.rows, times, wish.metric),
        color: n + 1,
      })),
      ...(rest.length > 0
        ? [{ label: t("usage.others"), values: line(rest, times, wish.metric), color: 8 }]
        : []),
      ...(old && before
        ? [
            {
              label: t("usage.before"),
              values: line(old, steps(before), wish.metric).slice(0, times.length),
              color: 8,
            },
          ]
        : []),
    ];
    const format = (/** @type {number | null} */ n) => (wish.metric === "latency" ? duration(n) : compact(n));
    return html`
      ${
        data.keptSince > data.from
          ? html`<div class="notice" data-tone="info">
              ${icon("info")}
              <p>${t("usage.kept", { date: dateTime(data.keptSince) })}</p>
            </div>`
          : nothing
      }
      <dl class="stats">
        ${this.figure("requests", all, past, (n) => number(n))}
        ${
          wish.days > 30
            ? stat(t("usage.show.failed"), "–", t("usage.notKept"))
            : this.figure(
                "failed",
                all,
                past,
                (n) => number(n),
                all.requests > 0 ? percent(all.failed / all.requests, 1) : "",
              )
        }
        ${this.figure("input", all, past, compact)} ${this.figure("output", all, past, compact)}
        ${this.figure("latency", all, past, duration)}
      </dl>
      <section class="panel padded stack" aria-label=${t("usage.chart")}>
        ${segments(
          t("usage.show"),
          METRICS.filter((one) => one !== "failed" || wish.days <= 30).map((value) => ({
            value,
            label: t(`usage.show.${value}`),
          })),
          wish.metric,
          (value) => ask({ show: value === "requests" ? null : value }, {}),
        )}
        <x-chart
          .label=${t(`usage.show.${wish.metric}`)}
          .times=${times}
          .series=${series}
          .format=${format}
          .height=${260}
          .area=${wish.by === "none" && !old}
        ></x-chart>
      </section>
      ${wish.by === "none" ? nothing : this.table(groups, all, wish)}
    `;
  }

  /**
   * @param {Metric} metric @param {Sums} all @param {Sums | undefined} past @param {(n: number | null) => string} format
   * @param {string} [note]
   */
  figure(metric, all, past, format, note = "") {
    const value = figure(all, metric);
    const moved = past && change(value, figure(past, metric));
    const told =
      past === undefined
        ? note
        : moved === null || moved === undefined
          ? t("usage.nothingBefore")
          : t("usage.moved", {
              way: moved > 0 ? "more" : moved < 0 ? "less" : "same",
              by: percent(Math.abs(moved)),
            });
    return stat(t(`usage.show.${metric}`), format(value), told || nothing);
  }

  /** @param {string} name @param {ReturnType<UsagePage["wish"]>["by"]} by */
  name(name, by) {
    if (by === "none") {
      return t("usage.everything");
    }
    if (by === "status") {
      return has(`usage.status.${name}`) ? t(`usage.status.${name}`) : name;
    }
    if (by === "key") {
      const key = keys.peek().data?.keys.find((one) => one.id === name);
      return key
        ? plain(masked(key.name))
        : has(`usage.special.${name}`)
          ? t(`usage.special.${name}`)
          : plain(name);
    }
    return name === "other" ? t("usage.special.other") : plain(name);
  }

  /** @param {ReturnType<typeof grouped>} groups @param {Sums} all @param {ReturnType<UsagePage["wish"]>} wish */
  table(groups, all, wish) {
    const columns = /** @type {const} */ ([
      "requests",
      "share",
      ...(wish.days > 30 ? [] : ["failed"]),
      "input",
      "cache",
      "output",
      "thinking",
      "latency",
    ]);
    const cell = (/** @type {string} */ column, /** @type {Sums} */ sums) => {
      switch (column) {
        case "share":
          return percent(all.requests > 0 ? sums.requests / all.requests : null);
        case "input":
          return compact(sums.inputTokens);
        case "cache":
          return compact(sums.cacheReadTokens);
        case "output":
          return compact(sums.outputTokens);
        case "thinking":
          return compact(sums.thinkingTokens);
        case "latency":
          return duration(figure(sums, "latency"));
        default:
          return number(sums[/** @type {"requests" | "failed"} */ (column)]);
      }
    };
    return html`<section class="panel scroll" aria-label=${t("usage.table")} tabindex="0">
      <table class="table cards">
        <thead>
          <tr>
            <th scope="col">${t(`usage.by.${wish.by}`)}</th>
            ${columns.map((column) => html`<th scope="col" class="end">${t(`usage.column.${column}`)}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${groups.map(
            (group) =>
              html`<tr>
                <th scope="row">${this.name(group.name, wish.by)}</th>
                ${columns.map(
                  (column) =>
                    html`<td class="end num" data-label=${t(`usage.column.${column}`)}>
                      ${cell(column, group.sums)}
                    </td>`,
                )}
              </tr>`,
          )}
        </tbody>
      </table>
    </section>`;
  }
}

/** @param {UsageReport["usage"]} rows */
function table(rows) {
  const names = /** @type {const} */ ([
    "model",
    "key",
    "status",
    "requests",
    "inputTokens",
    "outputTokens",
    "cacheReadTokens",
    "thinkingTokens",
    "latencyMs",
  ]);
  return csv([
    ["at", ...names],
    ...rows.map((row) => [new Date(row.at).toISOString(), ...names.map((name) => row[name])]),
  ]);
}

define(tag, UsagePage);
