// <x-menu>: a button with a small panel of choices. Arrow keys move, Escape and a click beside it close.

import { html, nothing } from "../../vendor/lit.js";
import { define, View } from "../lib/view.js";
import { icon } from "./icons.js";
import { SECOND } from "./second.js";

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {import("./icons.js").Icon} [icon]
 * @property {boolean} [checked] A choice that is on or off; left out for what is only done.
 * @property {boolean} [many] Of several such choices any may be on.
 * @property {boolean} [bad] Destroys something.
 * @property {boolean} [disabled]
 * @property {() => void} [run]
 * @property {string} [heading] A heading instead of a choice.
 */

class Menu extends View {
  static properties = {
    label: {},
    icon: {},
    text: {},
    // Asked for when it is opened: a table has hundreds of these.
    items: { attribute: false, hasChanged: () => false },
    opened: { state: true },
  };

  constructor() {
    super();
    /** What the button does, for assistive technology. */
    this.label = "";
    /** @type {import("./icons.js").Icon} */
    this.icon = "more";
    /** What is written on the button beside its icon. */
    this.text = "";
    /** @type {Item[] | (() => Item[])} */
    this.items = [];
    this.opened = false;
    this.outside = (/** @type {Event} */ event) => {
      if (!this.contains(/** @type {Node} */ (event.target))) {
        this.opened = false;
      }
    };
    // Where the focus was lost, as by a row that was drawn anew.
    this.escape = (/** @type {Event} */ event) => {
      if (/** @type {KeyboardEvent} */ (event).key === "Escape" && !event.defaultPrevented) {
        this.show(false);
      }
    };
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.listen(false);
  }

  /** @param {boolean} on */
  listen(on) {
    const how = on ? "addEventListener" : "removeEventListener";
    document[how]("pointerdown", this.outside, true);
    document[how]("focusin", this.outside, true);
    document[how]("keydown", this.escape);
  }

  /** @param {boolean} opened @param {boolean} [focus] Whether the button gets the focus back. */
  async show(opened, focus = true) {
    this.opened = opened;
    this.listen(opened);
    await this.updateComplete;
    if (opened) {
      this.choices()[0]?.focus();
    } else if (focus) {
      this.querySelector("button")?.focus();
    }
  }

  /** @returns {HTMLElement[]} */
  choices() {
    return [...this.querySelectorAll(/** @type {"button"} */ (".menu-panel button:not([disabled])"))];
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!this.opened) {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        this.show(true);
      }
      return;
    }
    const choices = this.choices();
    const at = choices.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: choices.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      choices[(to + choices.length) % choices.length]?.focus();
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.show(false);
    } else if (event.key === "Tab") {
      this.show(false, false);
    }
  }

  render() {
    return html`<div class="menu" @keydown=${this.key}>
      <button
        type="button"
        class="button ${this.text ? "" : "ghost icon-only"}"
        aria-haspopup="menu"
        aria-expanded=${this.opened}
        aria-label=${this.text ? `${this.label}: ${this.text}` : this.label}
        title=${this.label}
        @click=${() => this.show(!this.opened)}
      >
        ${icon(this.icon)}${this.text}
      </button>
      ${
        this.opened
          ? html`<div class="menu-panel" role="menu" aria-label=${this.label}>
              ${(typeof this.items === "function" ? this.items() : this.items).map((item) =>
                item.heading
                  ? html`<div class="menu-heading" role="presentation">${item.heading}</div>`
                  : html`<button
                      type="button"
                      tabindex="-1"
                      role=${item.checked === undefined ? "menuitem" : item.many ? "menuitemcheckbox" : "menuitemradio"}
                      aria-checked=${item.checked ?? nothing}
                      class=${item.bad ? "bad" : ""}
                      ?disabled=${item.disabled ?? false}
                      @click=${async () => {
                        document.addEventListener("click", SECOND, { capture: true, once: true });
                        // The button has the focus again before a dialog opens, which gives it back there.
                        await this.show(false);
                        item.run?.();
                      }}
                    >
                      ${item.icon ? icon(item.icon) : nothing}<span>${item.label}</span>
                    </button>`,
              )}
            </div>`
          : nothing
      }
    </div>`;
  }
}

define("x-menu", Menu);
