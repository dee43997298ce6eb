// <x-door>: logging in, and setting the first password.

import { html, nothing } from "../../vendor/lit.js";
import { access, ApiError } from "../lib/api.js";
import { sentence } from "../lib/errors.js";
import { language, LANGUAGES, speak, t } from "../lib/i18n.js";
import { prefer } from "../lib/prefs.js";
import { about, enter, logIn, setUp } from "../lib/session.js";
import { define, View } from "../lib/view.js";
import { icon } from "../ui/icons.js";
import "../ui/menu.js";

/** As the gateway has it. */
const SHORTEST = 6;

class Door extends View {
  static properties = { busy: { state: true }, error: { state: true }, shown: { state: true } };

  constructor() {
    super();
    this.busy = false;
    this.error = "";
    /** Whether the password can be read. */
    this.shown = false;
  }

  firstUpdated() {
    /** @type {HTMLElement | null} */ (this.querySelector("input:not(.unseen)"))?.focus();
  }

  /** @param {SubmitEvent} event */
  async submit(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const values = new FormData(form);
    const password = String(values.get("password") ?? "");
    this.busy = true;
    this.error = "";
    try {
      if (access.peek() === "setup") {
        if (password !== values.get("again")) {
          this.error = t("app.setup.different");
          return;
        }
        await setUp(String(values.get("token") ?? "").trim(), password);
      } else {
        await logIn(password);
      }
      if (access.peek() === "out") {
        // It was right, and still nobody knows us.
        this.error = t("app.login.cookies");
      }
    } catch (error) {
      this.refused(error);
    } finally {
      this.busy = false;
    }
    if (this.error) {
      await this.updateComplete;
      /** @type {HTMLInputElement | null} */ (this.querySelector("[name=password]"))?.select();
    }
  }

  /** @param {unknown} error */
  refused(error) {
    const kind = error instanceof ApiError ? error.kind : "server";
    if (kind === "unauthorised" && access.peek() !== "setup") {
      this.error = t("app.login.wrong");
    } else if (kind === "conflict" && access.peek() !== "setup") {
      // The password was taken away meanwhile.
      enter();
    } else {
      this.error =
        kind === "limited"
          ? t("app.failure.limited", { seconds: /** @type {ApiError} */ (error).retryAfter })
          : sentence(error);
    }
  }

  /** @param {string} name @param {string} label @param {string} autocomplete */
  secret(name, label, autocomplete) {
    return html`<label class="field">
      <span>${label}</span>
      <span class="with-button">
        <input
          class="input"
          name=${name}
          type=${this.shown ? "text" : "password"}
          autocomplete=${autocomplete}
          minlength=${autocomplete === "new-password" ? SHORTEST : nothing}
          aria-describedby=${this.error ? "door-error" : nothing}
          aria-invalid=${this.error ? "true" : nothing}
          required
        />
        <button
          type="button"
          class="button icon-only ghost"
          aria-label=${t(this.shown ? "app.login.hide" : "app.login.show")}
          aria-pressed=${this.shown}
          @click=${() => {
            this.shown = !this.shown;
          }}
        >
          ${icon(this.shown ? "hidden" : "eye")}
        </button>
      </span>
    </label>`;
  }

  render() {
    const first = access.get() === "setup";
    return html`<main class="door">
      <div class="door-card">
        <img src="favicon.svg" alt="" width="36" height="36" />
        <h1>${t(first ? "app.setup.title" : "app.login.title")}</h1>
        <p class="quiet">${t(first ? "app.setup.text" : "app.login.text")}</p>
        <form @submit=${this.submit}>
          ${
            first
              ? html`<label class="field">
                    <span>${t("app.setup.token")}</span>
                    <input
                      class="input mono"
                      name="token"
                      autocomplete="off"
                      spellcheck="false"
                      placeholder="agp_setup_…"
                      required
                    />
                    <small>${t("app.setup.tokenHint")}</small>
                  </label>
                  ${this.secret("password", t("app.setup.new"), "new-password")}
                  ${this.secret("again", t("app.setup.again"), "new-password")}`
              : html`<input
                    class="unseen"
                    name="username"
                    autocomplete="username"
                    value="operator"
                    tabindex="-1"
                    aria-hidden="true"
                    readonly
                  />
                  ${this.secret("password", t("app.login.password"), "current-password")}`
          }
          <p class="form-error" id="door-error" role="alert">
            ${this.error ? html`${icon("bad")}<span>${this.error}</span>` : nothing}
          </p>
          <button type="submit" class="button primary wide" ?disabled=${this.busy}>
            ${t(this.busy ? "app.login.busy" : first ? "app.setup.action" : "app.login.action")}
          </button>
        </form>
      </div>
      <footer class="door-foot">
        <span class="num">${about.get()?.version ?? ""}</span>
        <x-menu
          .label=${t("app.language")}
          .icon=${"globe"}
          .text=${LANGUAGES[language.get()]}
          .items=${Object.entries(LANGUAGES).map(([code, label]) => ({
            label,
            checked: code === language.get(),
            run: () => {
              prefer({ language: code });
              speak(/** @type {import("../lib/i18n.js").Language} */ (code));
            },
          }))}
        ></x-menu>
      </footer>
    </main>`;
  }
}

define("x-door", Door);
