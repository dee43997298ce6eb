// Signing an account in with Google: the window, the wait, the way back by paste. Any replica may finish it.

import { html, nothing } from "../../../vendor/lit.js";
import { api } from "../../lib/api.js";
import { copy } from "../../lib/clipboard.js";
import { now } from "../../lib/clock.js";
import { sentence } from "../../lib/errors.js";
import { plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { on } from "../../lib/live.js";
import { masked, who } from "../../lib/privacy.js";
import { frame, open } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SignInBegun"]} Begun */
/** @typedef {components["schemas"]["SignInView"]} SignInView */

/** How far apart the gateway is asked how it stands; an event makes it sooner. */
const ASK_MS = 2_000;
/** Bare codes are longer than this. */
const SHORTEST = 10;

/**
 * @typedef {object} Queue
 * @property {string} [place] Where it stands among several.
 * @property {boolean} [skipped] Set where its reader leaves it for now and goes on with the next one.
 */

/**
 * @param {object} options
 * @param {string} [options.email] The account that is to sign in; any other one is refused.
 * @param {Partial<Begun>} [options.begun] A sign-in that was begun already.
 * @param {Queue} [options.queue] It is one of several.
 * @returns {Promise<boolean>} Whether an account is in the pool now.
 */
export async function signIn({ email, begun, queue = {} } = {}) {
  /** @type {"ready" | "beginning" | "waiting" | "completing" | "done" | "failed" | "expired"} */
  let phase = begun?.url ? "waiting" : "ready";
  let flow = begun ?? null;
  /** @type {"opened" | "notOpened" | "blocked"} Of Google's window. */
  let shown = "notOpened";
  let pasted = "";
  let problem = "";
  /** @type {SignInView | null} */
  let result = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const dialog = open((close, titleId) => draw(close, titleId));
  const off = on(["account", "gap"], () => phase === "waiting" && poll());
  schedule();

  function schedule() {
    clearTimeout(timer);
    if (phase === "waiting") {
      timer = setTimeout(poll, ASK_MS);
    }
  }

  async function poll() {
    clearTimeout(timer);
    const state = flow?.state;
    if (phase !== "waiting" || !state) {
      return;
    }
    try {
      const told = /** @type {SignInView} */ (
        await api(`api/auth/status?state=${encodeURIComponent(state)}`)
      );
      if (phase !== "waiting" || flow?.state !== state) {
        return;
      }
      if (told.state !== "pending") {
        finish(told);
      } else if ((flow.expiresAt ?? Infinity) <= now()) {
        finish({ state: "expired" });
      }
    } catch {
      // It is asked again; the shell says when the gateway is away.
    }
    schedule();
  }

  /** @param {SignInView} told */
  function finish(told) {
    result = told;
    phase = told.state === "completed" ? "done" : told.state === "expired" ? "expired" : "failed";
    problem = told.error ?? "";
    dialog.draw();
    /** @type {HTMLElement | null} */ (dialog.element.querySelector("footer .primary"))?.focus();
  }

  async function begin() {
    phase = "beginning";
    problem = "";
    dialog.draw();
    try {
      const query = email ? `?email=${encodeURIComponent(email)}` : "";
      flow = await api(`api/auth/url${query}`, { method: "POST" });
      phase = "waiting";
      pasted = "";
      show();
    } catch (error) {
      phase = "ready";
      problem = sentence(error);
    }
    dialog.draw();
    schedule();
  }

  /** A window of its own; where the browser refuses, the link is there. */
  function show() {
    const url = flow?.url;
    if (url && /^https?:/.test(url)) {
      const opened = window.open(url, "antigravity-proxy-sign-in", "popup,width=600,height=720");
      shown = opened ? "opened" : "blocked";
    }
  }

  /** @param {Event} event */
  async function complete(event) {
    event.preventDefault();
    const text = pasted.trim();
    if (text.length < SHORTEST || !flow?.state) {
      problem = t("accounts.signIn.paste.short");
      dialog.draw();
      return;
    }
    phase = "completing";
    problem = "";
    dialog.draw();
    try {
      const done = await api("api/auth/complete", {
        body: { callbackInput: text, state: flow.state },
        timeout: 60_000,
      });
      finish({ state: "completed", email: done.email, reauth: done.reauth });
    } catch (error) {
      problem = sentence(error);
      phase = "waiting";
      dialog.draw();
      // It may have ended by this, or been completed in the other window.
      poll();
    }
  }

  function failure() {
    return problem
      ? html`<p class="form-error" role="alert">${icon("bad")}<span>${plain(masked(problem))}</span></p>`
      : nothing;
  }

  function waiting() {
    const url = flow?.url ?? "";
    return html`<div class="stack">
      ${queue.place ? html`<p class="quiet">${queue.place}</p>` : nothing}
      <div class="sign-in-wait" role="status">
        <progress aria-label=${t("accounts.signIn.waiting")}></progress>
        <p>
          <strong
            >${t(phase === "completing" ? "accounts.signIn.completing" : "accounts.signIn.waiting")}</strong
          >
          ${
            flow?.expiresAt
              ? html`<small class="num nowrap" aria-hidden="true"
                  >${t("accounts.signIn.left")}
                  <x-time mode="until" at=${flow.expiresAt} over=${t("accounts.now")}></x-time
                ></small>`
              : nothing
          }
        </p>
        <p class="quiet">${t(`accounts.signIn.${shown}`)}</p>
      </div>
      <div class="actions">
        <a
          class="button"
          href=${/^https?:/.test(url) ? url : "#"}
          target="_blank"
          rel="noopener noreferrer"
          @click=${() => {
            shown = "opened";
            dialog.draw();
          }}
          >${icon("external")}${t("accounts.signIn.open")}</a
        >
        <button type="button" class="button" @click=${() => copy(url)}>
          ${icon("copy")}${t("accounts.signIn.copy")}
        </button>
      </div>
      <form class="sign-in-paste" @submit=${complete}>
        <label class="field">
          <span>${t("accounts.signIn.paste")}</span>
          <small>${t("accounts.signIn.paste.text", { address: flow?.redirectUri ?? "" })}</small>
          <input
            class="input mono"
            autocomplete="off"
            spellcheck="false"
            .value=${pasted}
            ?disabled=${phase === "completing"}
            @input=${(/** @type {InputEvent} */ event) => {
              pasted = /** @type {HTMLInputElement} */ (event.target).value;
            }}
          />
        </label>
        ${failure()}
        <button type="submit" class="button" ?disabled=${phase === "completing"}>
          ${t("accounts.signIn.paste.action")}
        </button>
      </form>
    </div>`;
  }

  /** @param {(value?: any) => void} close @param {string} titleId */
  function draw(close, titleId) {
    const title = email ? t("accounts.signIn.again", { email: who(email) }) : t("accounts.signIn.title");
    const skip = queue.place
      ? html`<button
          type="button"
          class="button"
          @click=${() => {
            queue.skipped = true;
            close(false);
          }}
        >
          ${t("accounts.fix.skip")}
        </button>`
      : nothing;
    const again = html`<button type="button" class="button" @click=${() => close(false)}>
        ${t("app.close")}
      </button>
      ${skip}
      <button type="button" class="button primary" @click=${begin}>${t("accounts.signIn.restart")}</button>`;
    const over = (
      /** @type {"ok" | "bad" | "warn"} */ tone,
      /** @type {string} */ text,
      /** @type {any} */ actions,
    ) =>
      frame(
        titleId,
        title,
        () => close(tone === "ok"),
        html`<div class="notice" data-tone=${tone} role=${tone === "ok" ? "status" : "alert"}>
          ${icon(tone)}
          <p>${text}</p>
        </div>`,
        actions,
      );
    switch (phase) {
      case "done":
        return over(
          "ok",
          t(result?.reauth ? "accounts.signIn.renewed" : "accounts.signIn.added", {
            email: who(result?.email ?? email ?? ""),
          }),
          html`<button type="button" class="button primary" @click=${() => close(true)}>
            ${t("app.close")}
          </button>`,
        );
      case "failed":
        return over("bad", plain(masked(problem)) || t("accounts.signIn.failed"), again);
      case "expired":
        return over("warn", t("accounts.signIn.expired"), again);
      case "waiting":
      case "completing":
        return frame(
          titleId,
          title,
          () => close(false),
          waiting(),
          html`<button type="button" class="button" @click=${() => close(false)}>${t("app.cancel")}</button
            >${skip}`,
        );
      default:
        return frame(
          titleId,
          title,
          () => close(false),
          html`<div class="stack">
            <p>
              ${email ? t("accounts.signIn.text.again", { email: who(email) }) : t("accounts.signIn.text")}
            </p>
            ${failure()}
            <p class="quiet">
              ${t("accounts.signIn.cli")}
              <code
                >${email ? `antigravity-proxy accounts reauth ${who(email)}` : "antigravity-proxy accounts add"}</code
              >
            </p>
          </div>`,
          html`<button type="button" class="button" @click=${() => close(false)}>${t("app.cancel")}</button>
            <button type="button" class="button primary" ?disabled=${phase === "beginning"} @click=${begin}>
              ${icon("external")}${t("accounts.signIn.action")}
            </button>`,
        );
    }
  }

  const done = await dialog.closed;
  // Closed by Escape when it was over: done all the same.
  const added = done === true || /** @type {SignInView | null} */ (result)?.state === "completed";
  phase = added ? "done" : "expired";
  clearTimeout(timer);
  off();
  return added;
}
