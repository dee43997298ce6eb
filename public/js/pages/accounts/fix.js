// Mending an account: what its owner has to do, and whether it helped.

import { html, nothing } from "../../../vendor/lit.js";
import { pathOf } from "../../lib/accounts.js";
import { api, ApiError } from "../../lib/api.js";
import { sentence } from "../../lib/errors.js";
import { plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { masked, who } from "../../lib/privacy.js";
import { toast } from "../../lib/toast.js";
import { frame, open } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";
import { signIn } from "./signin.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["Fix"]} Fix */
/** @typedef {components["schemas"]["AccountTrial"]} Trial */

/**
 * @param {string} email
 * @param {{ place?: string }} [queue] Where it stands among several.
 * @returns {Promise<boolean>} Whether to go on with the next one.
 */
export async function fix(email, queue = {}) {
  /** @type {Fix} */
  let remedy;
  try {
    remedy = await api(`${pathOf(email)}/fix`, { method: "POST" });
  } catch (error) {
    toast({ tone: "bad", text: sentence(error) });
    // The next one may be mended all the same, unless nobody answers.
    return error instanceof ApiError && ["conflict", "invalid", "notFound", "server"].includes(error.kind);
  }
  if (remedy.remedy === "signIn") {
    /** @type {import("./signin.js").Queue} */
    const one = { place: queue.place, skipped: false };
    const done = await signIn({
      email,
      queue: one,
      begun: {
        url: remedy.url ?? undefined,
        state: remedy.state ?? undefined,
        expiresAt: remedy.expiresAt ?? undefined,
        redirectUri: remedy.redirectUri ?? undefined,
      },
    });
    return done || one.skipped === true;
  }
  return explain(email, remedy, queue.place);
}

/** @param {string} email @param {Fix} remedy @param {string} [place] */
async function explain(email, remedy, place) {
  const url = remedy.url && /^https:/.test(remedy.url) ? remedy.url : "";
  let checking = false;
  /** @type {Trial | null} */
  let trial = null;
  let problem = "";

  async function check() {
    checking = true;
    problem = "";
    dialog.draw();
    try {
      await api(`${pathOf(email)}/refresh`, { method: "POST" });
      trial = await api(`${pathOf(email)}/verify`, { method: "POST", timeout: 60_000 });
    } catch (error) {
      problem = sentence(error);
    }
    checking = false;
    dialog.draw();
  }

  const dialog = open((close, titleId) =>
    frame(
      titleId,
      t("accounts.fix.title", { email: who(email) }),
      () => close(),
      html`<div class="stack">
        ${place ? html`<p class="quiet">${place}</p>` : nothing}
        <p>${t(`accounts.fix.${remedy.remedy}`)}</p>
        ${
          url
            ? html`<div class="actions">
                <a
                  class="button ${trial?.works ? "" : "primary"}"
                  href=${url}
                  target="_blank"
                  rel="noopener noreferrer"
                  >${icon("external")}${t("accounts.fix.open")}</a
                >
              </div>`
            : nothing
        }
        ${
          remedy.remedy === "appeal" && !url
            ? html`<div class="actions">
                <a
                  class="button"
                  href="https://support.google.com/accounts/answer/40695"
                  target="_blank"
                  rel="noopener noreferrer"
                  >${icon("external")}${t("accounts.fix.appealHelp")}</a
                >
              </div>`
            : nothing
        }
        <div role="status">
          ${
            trial
              ? html`<div class="notice" data-tone=${trial.works ? "ok" : "bad"}>
                  ${icon(trial.works ? "ok" : "bad")}
                  <p>
                    ${
                      trial.works
                        ? t("accounts.trial.works", { email: who(email) })
                        : t("accounts.trial.not", { reason: plain(masked(trial.reason ?? "")) })
                    }
                  </p>
                </div>`
              : checking
                ? html`<progress class="wide" aria-label=${t("accounts.fix.checking")}></progress>`
                : nothing
          }
        </div>
        ${problem ? html`<p class="form-error" role="alert">${icon("bad")}<span>${problem}</span></p>` : nothing}
      </div>`,
      html`<button type="button" class="button" @click=${() => close(true)}>
          ${t(place ? "accounts.fix.next" : "app.close")}
        </button>
        <button
          type="button"
          class="button ${url && !trial ? "" : "primary"}"
          ?disabled=${checking}
          @click=${trial?.works ? () => close(true) : check}
        >
          ${t(trial?.works ? "accounts.fix.done" : "accounts.fix.check")}
        </button>`,
    ),
  );
  return (await dialog.closed) === true;
}

/** Goes through several, one after the other; ended by closing one. @param {string[]} emails */
export async function fixAll(emails) {
  for (const [index, email] of emails.entries()) {
    const place = t("accounts.fix.place", { n: index + 1, of: emails.length });
    if (!(await fix(email, { place }))) {
      break;
    }
  }
}
