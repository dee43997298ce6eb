// Of a long table only the rows in sight are in the page, and some beyond each edge. The table scrolls with its page, and
// its rows may differ in height: where the others are is kept free by their usual one.

import { html, nothing, repeat } from "../../vendor/lit.js";
import { prefs } from "../lib/prefs.js";

/** How far beyond the edges of the window rows are drawn, in px. */
const BEYOND = 300;
/** Rows come and go by so many, so that not each turn of a wheel draws. */
const STEP = 4;
/** How many are drawn before it is known how high they are. */
const FIRST = 16;

/** A controller of the element that has the table. */
export class Sight {
  /** @param {import("../lib/view.js").View} host */
  constructor(host) {
    this.host = host;
    this.first = 0;
    this.count = FIRST;
    /** Of a row, in px; 0 while it is not known. */
    this.height = 0;
    /** Of the lowest row that was seen: so many rows fill a window for sure. */
    this.least = Infinity;
    this.density = "";
    this.frame = 0;
    this.moved = () => {
      this.frame ||= requestAnimationFrame(() => {
        this.frame = 0;
        this.measure();
      });
    };
    this.resized = () => {
      this.height = 0;
      this.moved();
    };
    this.focused = (/** @type {Event} */ event) => this.reach(/** @type {Element} */ (event.target));
    host.addController(this);
  }

  hostConnected() {
    addEventListener("scroll", this.moved, { passive: true });
    addEventListener("resize", this.resized);
    this.host.addEventListener("focusin", this.focused);
  }

  hostDisconnected() {
    removeEventListener("scroll", this.moved);
    removeEventListener("resize", this.resized);
    this.host.removeEventListener("focusin", this.focused);
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  get body() {
    return /** @type {HTMLElement | null} */ (this.host.querySelector("tbody.in-sight"));
  }

  /** Draws on beyond the row that has the focus, before the next key takes it there. @param {Element} at */
  reach(at) {
    const rows = [...(this.body?.querySelectorAll(":scope > tr:not(.gap)") ?? [])];
    const index = rows.findIndex((row) => row.contains(at));
    const [before, behind] = [index < 2 && this.first > 0, index >= rows.length - 2];
    if (index >= 0 && (before || behind)) {
      this.first -= before ? STEP : 0;
      this.count += STEP;
      this.host.requestUpdate();
    }
  }

  /** Works out what is in sight, and draws where that is something else. */
  measure() {
    const { body } = this;
    if (!body) {
      return;
    }
    const rows = body.querySelectorAll(":scope > tr:not(.gap)");
    if (rows.length === 0) {
      return;
    }
    const heights = Array.from(rows, (row) => row.getBoundingClientRect().height);
    if (this.height === 0) {
      this.height = heights.reduce((sum, one) => sum + one, 0) / rows.length;
      this.least = this.height;
      this.keep();
    }
    this.least = Math.min(this.least, ...heights);
    if (this.least > 0) {
      const { top } = body.getBoundingClientRect();
      const first = Math.max(0, Math.floor((-top - BEYOND) / this.height / STEP) * STEP);
      const away = top + first * this.height;
      const count = Math.max(1, Math.ceil((innerHeight + BEYOND - away) / this.least / STEP)) * STEP;
      if (first !== this.first || count !== this.count) {
        this.first = first;
        this.count = count;
        this.host.requestUpdate();
      }
    }
  }

  /** Keeps the place of what is not drawn. */
  keep() {
    for (const gap of this.body?.querySelectorAll(":scope > .gap") ?? []) {
      // By the object model: the policy refuses style attributes.
      const row = /** @type {HTMLElement} */ (gap);
      row.style.height = `${Number(row.dataset.rows) * this.height}px`;
    }
  }

  hostUpdated() {
    const { density } = prefs.peek();
    if (this.density !== density) {
      this.density = density;
      this.height = 0;
    }
    this.keep();
    if (this.height === 0) {
      // At once, so that the page has its length before it is seen.
      this.measure();
    } else {
      this.moved();
    }
  }

  /**
   * The table's body.
   * @template T
   * @param {T[]} rows
   * @param {(row: T) => unknown} key
   * @param {(row: T, index: number) => unknown} draw
   * @param {number} columns
   */
  draw(rows, key, draw, columns) {
    const start = Math.min(this.first, Math.max(0, rows.length - this.count));
    const end = Math.min(rows.length, start + this.count);
    const gap = (/** @type {number} */ n) =>
      n === 0
        ? nothing
        : html`<tr class="gap" aria-hidden="true" data-rows=${n}>
            <td colspan=${columns}></td>
          </tr>`;
    return html`<tbody class="in-sight">
      ${gap(start)} ${repeat(rows.slice(start, end), key, (row, index) => draw(row, start + index))}
      ${gap(rows.length - end)}
    </tbody>`;
  }
}
