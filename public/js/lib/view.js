// The base of every element of the console: Lit without shadow DOM, drawn again when a signal changes that it read.

import { LitElement } from "../../vendor/lit.js";
import { tracker } from "./signal.js";

export class View extends LitElement {
  constructor() {
    super();
    this.tracked = tracker(() => this.requestUpdate());
    /** Whether it should have been drawn while it was not there. */
    this.skipped = false;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    if (this.skipped) {
      // It still counts as about to be drawn, so asking for it would do nothing.
      this.skipped = false;
      queueMicrotask(() => this.performUpdate());
    } else {
      this.requestUpdate();
    }
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.tracked.stop();
  }

  performUpdate() {
    if (this.isConnected) {
      this.tracked.run(() => super.performUpdate());
    } else {
      this.skipped = true;
    }
  }
}

/**
 * Defines an element once.
 * @param {string} tag
 * @param {CustomElementConstructor} type
 */
export function define(tag, type) {
  if (!customElements.get(tag)) {
    customElements.define(tag, type);
  }
}

/** @type {Map<string, Promise<void>>} */
const styles = new Map();

/**
 * Loads a page's own stylesheet, `public/css/pages/<name>.css`, once.
 * @param {string} name
 */
export function loadStyle(name) {
  let loading = styles.get(name);
  if (!loading) {
    loading = new Promise((resolve) => {
      const link = document.createElement("link");
      link.rel = "stylesheet";
      link.href = new URL(`css/${name}.css`, document.baseURI).href;
      link.onload = link.onerror = () => resolve();
      document.head.append(link);
    });
    styles.set(name, loading);
  }
  return loading;
}

/** Until all stylesheets that were asked for are there: what is drawn before is drawn wrongly, and moves. */
export async function styled() {
  await Promise.all(styles.values());
}
