// <x-chart>: a time series, drawn by uPlot in the theme's colours, and the same figures as a table.

import { html, nothing } from "../../vendor/lit.js";
import { dateTime, number } from "../lib/format.js";
import { language, region, t } from "../lib/i18n.js";
import { prefs } from "../lib/prefs.js";
import { define, loadStyle, View } from "../lib/view.js";

/**
 * @typedef {object} Series
 * @property {string} label
 * @property {(number | null)[]} values As many as there are times; `null` is a gap.
 * @property {number} [color] 1 to 8, a colour of the theme; by position unless told.
 */

/** Rows of the table at most: the newest. */
const TABLE_ROWS = 200;

/** Steps of the axis of figures; of what is counted there are no halves. */
const STEPS = Array.from({ length: 19 }, (_, index) =>
  [1, 2, 5].map((step) => step * 10 ** (index - 6)),
).flat();
const WHOLE = STEPS.filter((step) => step >= 1);

/** What was switched off, by the chart's name and the series': it outlives a look at another page. @type {Map<string, Set<string>>} */
const OFF = new Map();

/**
 * Properties: `label`; `times`, ms since the epoch, ascending; `series`; `format`, of a figure; `height` in px; `area`,
 * whether it is filled below.
 */
class Chart extends View {
  static properties = {
    label: {},
    times: { attribute: false },
    series: { attribute: false },
    format: { attribute: false },
    height: { type: Number },
    area: { type: Boolean },
    table: { state: true },
  };

  constructor() {
    super();
    this.label = "";
    /** @type {number[]} */
    this.times = [];
    /** @type {Series[]} */
    this.series = [];
    /** @type {(n: number | null) => string} */
    this.format = (n) => number(n, 2);
    this.height = 180;
    this.area = false;
    this.table = false;
    /** @type {import("../../vendor/uplot.js").default | null} */
    this.plot = null;
    /** What the plot was made for; with the same its data is changed only. */
    this.made = "";
    this.sizes = new ResizeObserver(() => this.resize());
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.themed = () => this.requestUpdate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.sizes.observe(this);
    this.system.addEventListener("change", this.themed);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.sizes.disconnect();
    this.system.removeEventListener("change", this.themed);
    this.plot?.destroy();
    this.plot = null;
    this.made = "";
  }

  /** The series that are switched off. */
  get off() {
    return OFF.get(this.label) ?? new Set();
  }

  /** Those that are shown, each with its colour. */
  shown() {
    const { off } = this;
    const all = this.series.map((one, index) => ({ ...one, color: one.color ?? (index % 8) + 1 }));
    const on = all.filter(({ label }) => !off.has(label));
    return on.length > 0 ? on : all;
  }

  /** Whether all figures are whole. */
  counts() {
    return this.series.every(({ values }) => values.every((one) => one === null || Number.isInteger(one)));
  }

  /** Switches a series on or off; the last one stays. @param {string} label */
  turn(label) {
    const { off } = this;
    const next = new Set(off);
    if (!next.delete(label)) {
      next.add(label);
    }
    if (this.series.some((one) => !next.has(one.label))) {
      OFF.set(this.label, next);
      this.requestUpdate();
    }
  }

  resize() {
    const width = this.clientWidth;
    if (this.plot && width > 0 && Math.abs(width - this.plot.width) > 1) {
      this.plot.setSize({ width, height: this.height });
    }
  }

  updated() {
    const place = /** @type {HTMLElement | null} */ (this.querySelector(".chart-plot"));
    if (place) {
      // What is below it does not move when it comes.
      place.style.minHeight = `${this.height}px`;
    }
    if (!this.table) {
      this.draw();
    }
  }

  async draw() {
    const [{ default: Plot }] = await Promise.all([
      import("../../vendor/uplot.js"),
      loadStyle("../vendor/uplot"),
    ]);
    const place = /** @type {HTMLElement | null} */ (this.querySelector(".chart-plot"));
    if (!place || !this.isConnected) {
      return;
    }
    const series = this.shown();
    const { theme, contrast } = prefs.peek();
    const wanted = JSON.stringify([
      theme,
      contrast,
      this.system.matches,
      language.peek(),
      this.height,
      this.area,
      series.map(({ label, color }) => [label, color]),
    ]);
    /** @type {import("../../vendor/uplot.js").default.AlignedData} */
    const data = [this.times.map((time) => time / 1000), ...series.map(({ values }) => values)];
    if (this.plot && this.made === wanted && place.contains(this.plot.root)) {
      this.plot.setData(data);
      return;
    }
    this.plot?.destroy();
    this.made = wanted;
    const color = colors(this);
    const [grid, text] = [color("--line"), color("--text-3")];
    const axis = {
      stroke: text,
      font: "11px system-ui",
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
    };
    this.plot = new Plot(
      {
        width: this.clientWidth || 600,
        height: this.height,
        legend: { show: false },
        padding: [8, 22, 0, 0],
        cursor: { y: false, points: { size: 7 } },
        scales: {
          y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.08 : 1] },
        },
        axes: [
          {
            ...axis,
            size: 22,
            space: 70,
            values: (_, splits) => {
              const labels = splits.map((split) => this.tickLabel(split * 1000));
              // The same day is named once.
              return labels.map((label, index) => (label === labels[index - 1] ? "" : label));
            },
          },
          {
            ...axis,
            // As wide as its longest label, so that the curve begins where the heading does.
            size: (_, labels) => 14 + 6.5 * Math.max(1, ...(labels ?? []).map((label) => label.length)),
            space: 36,
            incrs: () => (this.counts() ? WHOLE : STEPS),
            values: (_, splits) => splits.map((split) => this.format(split)),
          },
        ],
        series: [
          {},
          ...series.map(({ label, color: own }) => {
            const stroke = color(`--series-${own}`);
            return {
              label,
              stroke,
              width: 1.5,
              fill: this.area ? stroke.replace(/^rgb\((.*)\)$/, "rgba($1, 0.12)") : undefined,
              points: { show: false },
              spanGaps: false,
            };
          }),
        ],
        hooks: { setCursor: [(plot) => this.point(plot.cursor.idx ?? null)] },
      },
      data,
      place,
    );
  }

  /** @param {number} at */
  tickLabel(at) {
    const span = (this.times.at(-1) ?? 0) - (this.times[0] ?? 0);
    const options = /** @type {Intl.DateTimeFormatOptions} */ (
      span > 2 * 86_400_000
        ? { month: "short", day: "numeric" }
        : span < 10 * 60_000
          ? { minute: "2-digit", second: "2-digit" }
          : { hour: "numeric", minute: "2-digit" }
    );
    return new Intl.DateTimeFormat(region(), options).format(at);
  }

  /** Says beside the names what is below the pointer. @param {number | null} index */
  point(index) {
    const when = this.querySelector(".chart-when");
    if (when) {
      when.textContent = index === null ? "" : dateTime(this.times[index]);
    }
    this.querySelectorAll(".chart-value").forEach((element, row) => {
      element.textContent = index === null ? "" : this.format(this.series[row]?.values[index] ?? null);
    });
  }

  render() {
    prefs.get();
    language.get();
    const { off } = this;
    const several = this.series.length > 1;
    return html`<figure class="chart" aria-label=${this.label}>
      <figcaption>
        <ul class="chart-legend" aria-label=${t("app.chart.series")}>
          ${this.series.map(({ label, color }, index) => {
            const dot = html`<i class="dot" data-series=${color ?? (index % 8) + 1}></i>`;
            return html`<li>
              ${
                several
                  ? html`<button
                      type="button"
                      class="chart-switch"
                      aria-pressed=${!off.has(label)}
                      @click=${() => this.turn(label)}
                    >
                      ${dot}<span>${label}</span>
                    </button>`
                  : html`${dot}${label}`
              }
              <span class="chart-value num"></span>
            </li>`;
          })}
          ${
            this.series.some(({ label }) => off.has(label))
              ? html`<li>
                  <button
                    type="button"
                    class="chart-switch all"
                    @click=${() => {
                      OFF.delete(this.label);
                      this.requestUpdate();
                    }}
                  >
                    ${t("app.chart.all")}
                  </button>
                </li>`
              : nothing
          }
        </ul>
        <span class="chart-when num"></span>
        <button
          type="button"
          class="button small ghost"
          aria-pressed=${this.table}
          @click=${() => {
            this.table = !this.table;
            this.plot?.destroy();
            this.plot = null;
          }}
        >
          ${t("app.chart.table")}
        </button>
      </figcaption>
      ${this.table ? this.rows() : html`<div class="chart-plot" aria-hidden="true"></div>`}
    </figure>`;
  }

  rows() {
    const first = Math.max(0, this.times.length - TABLE_ROWS);
    const rows = this.times
      .map((time, index) => ({ time, index }))
      .slice(first)
      .reverse();
    return html`<div class="scroll" tabindex="0" role="group" aria-label=${this.label}>
      <table class="table plain">
        <thead>
          <tr>
            <th scope="col">${t("app.chart.time")}</th>
            ${this.shown().map(({ label }) => html`<th scope="col" class="end">${label}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ time, index }) =>
              html`<tr>
                <th scope="row">${dateTime(time)}</th>
                ${this.shown().map(
                  ({ values }) => html`<td class="end num">${this.format(values[index] ?? null)}</td>`,
                )}
              </tr>`,
          )}
        </tbody>
      </table>
      ${first > 0 ? html`<p class="quiet">${t("app.chart.newest", { n: TABLE_ROWS })}</p>` : nothing}
    </div>`;
  }
}

/**
 * The theme's colours as a canvas takes them.
 * @param {Element} place
 */
function colors(place) {
  const probe = document.createElement("i");
  probe.hidden = true;
  place.append(probe);
  /** @type {Map<string, string>} */
  const known = new Map();
  for (const name of ["--line", "--text-3", ...Array.from({ length: 8 }, (_, n) => `--series-${n + 1}`)]) {
    probe.style.color = `var(${name})`;
    known.set(name, getComputedStyle(probe).color);
  }
  probe.remove();
  return (/** @type {string} */ name) => known.get(name) ?? "gray";
}

define("x-chart", Chart);
