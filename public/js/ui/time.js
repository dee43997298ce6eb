// <x-time>: a time that ticks by itself, without its page being drawn anew. By the gateway's clock.

import { now, tick } from "../lib/clock.js";
import { dateTime, long, relative, until } from "../lib/format.js";
import { language } from "../lib/i18n.js";
import { tracker } from "../lib/signal.js";

/**
 * Attributes: `at`, ms since the epoch; `mode`, `relative` (3 minutes ago), `until` (2h 5m, then `over`), `since` (2h 5m);
 * `local`, for times of this machine's clock.
 */
class Time extends HTMLElement {
  static observedAttributes = ["at", "mode", "over"];

  constructor() {
    super();
    this.tracked = tracker(() => this.draw());
  }

  connectedCallback() {
    this.draw();
  }

  disconnectedCallback() {
    this.tracked.stop();
  }

  attributeChangedCallback() {
    if (this.isConnected) {
      this.draw();
    }
  }

  draw() {
    this.tracked.run(() => {
      tick.get();
      language.get();
      const told = Number(this.getAttribute("at"));
      const at = this.hasAttribute("local") ? told + now() - Date.now() : told;
      const text = this.words(at);
      if (this.textContent !== text) {
        this.textContent = text;
        this.title = dateTime(at);
      }
    });
  }

  /** @param {number} at */
  words(at) {
    switch (this.getAttribute("mode")) {
      case "until":
        return until(at) || (this.getAttribute("over") ?? "");
      case "since":
        return long(now() - at);
      default:
        return relative(at);
    }
  }
}

customElements.define("x-time", Time);
