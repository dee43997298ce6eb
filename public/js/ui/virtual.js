// <x-rows>: a list of which only what is in sight is in the page, for ten thousand rows of the same height.

import { html } from "../../vendor/lit.js";
import { repeat } from "../../vendor/lit.js";
import { define, View } from "../lib/view.js";

/** Rows drawn beyond each edge. */
const SPARE = 12;

/**
 * Properties: `items`; `row`, a template of one; `key`, what tells one from another; `height`, of a row in px; `label`;
 * `tail`, whether it stays at the end while it is there, as a log does. Its own height comes from CSS.
 */
class Rows extends View {
  static properties = {
    items: { attribute: false },
    row: { attribute: false },
    key: { attribute: false },
    height: { type: Number },
    label: {},
    tail: { type: Boolean },
    first: { state: true },
    count: { state: true },
  };

  constructor() {
    super();
    /** @type {any[]} */
    this.items = [];
    /** @type {(item: any, index: number) => import("./parts.js").Content} */
    this.row = () => "";
    /** @type {(item: any, index: number) => unknown} */
    this.key = (_, index) => index;
    this.height = 32;
    this.label = "";
    this.tail = false;
    this.first = 0;
    this.count = 40;
    this.atEnd = true;
    this.sizes = new ResizeObserver(() => this.measure());
  }

  connectedCallback() {
    super.connectedCallback();
    this.sizes.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.sizes.disconnect();
  }

  get box() {
    return /** @type {HTMLElement | null} */ (this.querySelector(".rows-box"));
  }

  measure() {
    const { box } = this;
    if (!box) {
      return;
    }
    this.first = Math.max(0, Math.floor(box.scrollTop / this.height) - SPARE);
    this.count = Math.ceil(box.clientHeight / this.height) + 2 * SPARE;
    this.atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - this.height;
  }

  /** Goes to the end, and stays there. */
  toEnd() {
    const { box } = this;
    if (box) {
      box.scrollTop = box.scrollHeight;
    }
  }

  updated() {
    const { box } = this;
    const inner = /** @type {HTMLElement | null} */ (box?.firstElementChild);
    const shown = /** @type {HTMLElement | null} */ (inner?.firstElementChild);
    if (!box || !inner || !shown) {
      return;
    }
    // By the object model: the policy refuses style attributes.
    inner.style.height = `${this.items.length * this.height}px`;
    shown.style.transform = `translateY(${this.start * this.height}px)`;
    if (this.tail && this.atEnd) {
      box.scrollTop = box.scrollHeight;
    }
  }

  get start() {
    return Math.min(this.first, Math.max(0, this.items.length - this.count));
  }

  render() {
    const { start } = this;
    const shown = this.items.slice(start, start + this.count);
    return html`<div
      class="rows-box"
      role="list"
      tabindex="0"
      aria-label=${this.label}
      @scroll=${this.measure}
    >
      <div class="rows-all" role="presentation">
        <div class="rows-shown" role="presentation">
          ${repeat(
            shown,
            (item, index) => this.key(item, start + index),
            (item, index) =>
              html`<div
                class="rows-row"
                role="listitem"
                aria-setsize=${this.items.length}
                aria-posinset=${start + index + 1}
              >
                ${this.row(item, start + index)}
              </div>`,
          )}
        </div>
      </div>
    </div>`;
  }
}

define("x-rows", Rows);
