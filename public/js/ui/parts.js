// The small pieces that every page is made of. Each is a function that gives a template.

import { html, nothing } from "../../vendor/lit.js";
import { sentence, title } from "../lib/errors.js";
import { number, percent, time } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { icon } from "./icons.js";
import "./time.js";

/** @typedef {"ok" | "info" | "warn" | "bad" | "off" | "cooling" | "unknown"} Tone */
/** @typedef {import("../../vendor/lit.js").TemplateResult | typeof nothing | string | unknown[]} Content */

/**
 * A state: its shape, its colour and its word.
 * @param {Tone} tone
 * @param {Content} label
 */
export const badge = (tone, label) =>
  html`<span class="badge" data-tone=${tone}>${icon(tone)}<span>${label}</span></span>`;

/** A neutral label, such as a tier. @param {Content} text */
export const chip = (text) => html`<span class="tag">${text}</span>`;

/** The gateway's own words, in which backticks mark what is typed. @param {string} text */
export const words = (text) =>
  text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

/**
 * A page's heading.
 * @param {string} heading
 * @param {Content} [about] One sentence.
 * @param {Content} [actions] Buttons.
 */
export const head = (heading, about = nothing, actions = nothing) => html`
  <header class="page-head">
    <div>
      <h1 tabindex="-1">${heading}</h1>
      ${about === nothing ? nothing : html`<p>${about}</p>`}
    </div>
    ${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}
  </header>
`;

/**
 * A figure with its name.
 * @param {string} label
 * @param {Content} value
 * @param {Content} [note]
 */
export const stat = (label, value, note = nothing) => html`
  <div class="stat">
    <dt>${label}</dt>
    <dd>
      <span class="figure">${value}</span
      >${note === nothing ? nothing : html`<span class="note">${note}</span>`}
    </dd>
  </div>
`;

/**
 * How much of something is left, as a bar and as a figure.
 * @param {number | null | undefined} fraction 0 to 1; unknown is shown as unknown.
 * @param {string} label What is measured, for assistive technology.
 * @param {number} [floor] A threshold below which it counts as low.
 */
export function meter(fraction, label, floor = 0.1) {
  if (fraction === null || fraction === undefined) {
    return html`<span class="meter unknown">${t("app.unknown")}</span>`;
  }
  const tone = fraction <= 0 ? "bad" : fraction <= floor ? "warn" : "ok";
  return html`<span class="meter" data-tone=${tone}>
    <progress max="1" value=${fraction} aria-label=${label}></progress>
    <span class="num">${percent(fraction)}</span>
  </span>`;
}

/**
 * Nothing there: says why, and what to do next.
 * @param {{ icon?: import("./icons.js").Icon, title: string, text?: Content, action?: Content }} what
 */
export const empty = (what) => html`
  <div class="blank">
    ${icon(what.icon ?? "info")}
    <h2>${what.title}</h2>
    ${what.text ? html`<p>${what.text}</p>` : nothing}
    ${what.action ? html`<div class="actions">${what.action}</div>` : nothing}
  </div>
`;

/**
 * It failed: what, and again.
 * @param {unknown} error
 * @param {() => void} again
 */
export const failure = (error, again) => html`
  <div class="blank" role="alert">
    ${icon("bad")}
    <h2>${title(error)}</h2>
    <p>${sentence(error)}</p>
    <div class="actions">
      <button type="button" class="button" @click=${again}>${icon("refresh")}${t("app.retry")}</button>
    </div>
  </div>
`;

/**
 * What is shown is old.
 * @param {import("../lib/resource.js").State<any>} state
 * @param {() => void} again
 */
export const staleness = (state, again) => html`
  <div class="notice" data-tone="warn" role="status">
    ${icon("warn")}
    <p>
      ${t("app.stale", { time: time(state.at) })} <x-time mode="relative" at=${state.at} local></x-time>.
      ${sentence(state.error)}
    </p>
    <button type="button" class="button small" @click=${again}>${t("app.retry")}</button>
  </div>
`;

/** Where something will be. @param {number} [rows] */
export const skeleton = (rows = 6) => html`
  <div class="skeletons" role="status" aria-label=${t("app.loading")}>
    ${Array.from({ length: rows }, () => html`<div class="skeleton"></div>`)}
  </div>
`;

/**
 * A resource in each of its states; `draw` is called with data only.
 * @template T
 * @param {import("../lib/resource.js").Resource<T>} resource
 * @param {(data: T, state: import("../lib/resource.js").State<T>) => Content} draw
 * @param {() => Content} [loading]
 */
export function whole(resource, draw, loading = skeleton) {
  const state = resource.get();
  if (state.data !== undefined && (state.state === "ok" || state.state === "stale")) {
    return html`${state.state === "stale" ? staleness(state, resource.reload) : nothing}${draw(state.data, state)}`;
  }
  if (state.state === "error") {
    return failure(state.error, resource.reload);
  }
  // While it is refused, the log-in is what the shell shows.
  return loading();
}

/**
 * A column's heading that sorts.
 * @param {string} label
 * @param {string} column
 * @param {string} order The present order, `name` or `-name`.
 * @param {(column: string) => void} sort
 * @param {string} [type] The cell's class.
 */
export function sortable(label, column, order, sort, type = "") {
  const up = order === column;
  const down = order === `-${column}`;
  return html`<th scope="col" class=${type} aria-sort=${up ? "ascending" : down ? "descending" : "none"}>
    <button type="button" class="sort" @click=${() => sort(column)}>
      ${label}${icon(down ? "down" : "up")}
    </button>
  </th>`;
}

/**
 * A search field.
 * @param {string} label
 * @param {string} value
 * @param {(text: string) => void} changed
 */
export const searchField = (label, value, changed) => html`
  <label class="search">
    ${icon("search")}
    <span class="unseen">${label}</span>
    <input
      type="search"
      class="input"
      placeholder=${label}
      .value=${value}
      autocomplete="off"
      spellcheck="false"
      @input=${(/** @type {InputEvent} */ event) =>
        changed(/** @type {HTMLInputElement} */ (event.target).value)}
    />
  </label>
`;

/**
 * A few choices of which one holds, with how many each would show.
 * @param {string} label
 * @param {{ value: string, label: string, count?: number }[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export const segments = (label, choices, chosen, choose) => html`
  <div class="segments" role="group" aria-label=${label}>
    ${choices.map(
      (choice) =>
        html`<button
          type="button"
          aria-pressed=${choice.value === chosen}
          @click=${() => choose(choice.value)}
        >
          ${choice.label}${
            choice.count === undefined
              ? nothing
              : html`<span class="count num">${number(choice.count)}</span>`
          }
        </button>`,
    )}
  </div>
`;

/**
 * A switch.
 * @param {string} label For assistive technology.
 * @param {boolean} on
 * @param {(on: boolean) => void} change
 * @param {boolean} [disabled]
 */
export const toggle = (label, on, change, disabled = false) => html`
  <button
    type="button"
    class="switch"
    role="switch"
    aria-checked=${on}
    aria-label=${label}
    ?disabled=${disabled}
    @click=${() => change(!on)}
  ></button>
`;
