// <x-floor>: a threshold, by a slider that is dragged or moved with the arrow keys, or by a number.

import { html, nothing } from "../../vendor/lit.js";
import { percentage } from "../lib/floors.js";
import { percent } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { define, View } from "../lib/view.js";

/** It is told once it has stood still for so long and is not held any more, or has lost the focus. */
const SETTLED_MS = 600;

/**
 * Properties: `label`; `own`, what is said here, `null` where nothing is; `inherited`, what holds then, and `from`, in
 * words where that comes from; `fraction`, what is left of the quota. Its event `floor` has the new value, or `null`.
 */
class Floor extends View {
  static properties = {
    label: {},
    own: { attribute: false },
    inherited: { attribute: false },
    from: {},
    fraction: { attribute: false },
    draft: { state: true },
  };

  constructor() {
    super();
    this.label = "";
    /** @type {number | null} */
    this.own = null;
    this.inherited = 0;
    this.from = "";
    /** @type {number | null | undefined} */
    this.fraction = undefined;
    /** @type {number | null} */
    this.draft = null;
    /** Whether the slider is held: where it rests on its way is not meant. */
    this.held = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.settle();
  }

  get value() {
    return this.draft ?? this.own ?? this.inherited;
  }

  /** @param {number | null} value */
  change(value) {
    if (value !== null) {
      this.draft = value;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.held || this.settle(), SETTLED_MS);
    }
  }

  release() {
    this.held = false;
    this.change(this.draft);
  }

  settle() {
    clearTimeout(this.timer);
    this.held = false;
    const { draft } = this;
    this.draft = null;
    if (draft !== null && draft !== (this.own ?? this.inherited)) {
      this.tell(draft);
    }
  }

  /** What it shows is what holds: not an emptied field, nor more digits than there can be. @param {Event} event */
  leave(event) {
    /** @type {HTMLInputElement} */ (event.target).value = String(Math.round(this.value * 100));
    this.settle();
  }

  /** @param {number | null} value */
  tell(value) {
    this.dispatchEvent(new CustomEvent("floor", { detail: value }));
  }

  render() {
    const { value, label } = this;
    const whole = Math.round(value * 100);
    const own = this.draft !== null || this.own !== null;
    const moved = (/** @type {Event} */ event) =>
      this.change(percentage(/** @type {HTMLInputElement} */ (event.target).value));
    const said = own ? percent(value) : `${percent(value)}, ${this.from}`;
    return html`<span class="floor" role="group" aria-label=${label}>
      <span class="floor-bar">
        ${
          typeof this.fraction === "number"
            ? html`<progress
                max="1"
                value=${this.fraction}
                aria-label=${t("app.floor.left", { label })}
                data-tone=${this.fraction < value ? "warn" : "ok"}
              ></progress>`
            : nothing
        }
        <input
          type="range"
          min="0"
          max="99"
          step="1"
          class=${own ? "own" : ""}
          .value=${String(whole)}
          aria-label=${label}
          aria-valuetext=${said}
          @input=${moved}
          @pointerdown=${() => {
            this.held = true;
          }}
          @pointerup=${this.release}
          @pointercancel=${this.release}
          @change=${this.release}
          @blur=${() => this.settle()}
        />
      </span>
      <span class="floor-number">
        <input
          type="number"
          class="input num"
          min="0"
          max="99"
          step="1"
          inputmode="numeric"
          .value=${String(whole)}
          aria-label=${t("app.floor.number", { label })}
          @input=${moved}
          @blur=${this.leave}
          @keydown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && this.leave(event)}
        /><span aria-hidden="true">%</span>
      </span>
      <span class="floor-from">
        ${
          this.own === null
            ? html`<small>${this.draft === null ? this.from : nothing}</small>`
            : html`<button
                type="button"
                class="button small ghost"
                aria-label=${t("app.floor.inheritWhat", { label })}
                title=${t("app.floor.inherits", { value: percent(this.inherited), from: this.from })}
                @click=${() => {
                  clearTimeout(this.timer);
                  this.draft = null;
                  this.tell(null);
                }}
              >
                ${t("app.floor.inherit")}
              </button>`
        }
      </span>
    </span>`;
  }
}

define("x-floor", Floor);
