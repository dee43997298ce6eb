// The console's password and sessions.

import { html, nothing } from "../../../vendor/lit.js";
import { access, api } from "../../lib/api.js";
import { sentence } from "../../lib/errors.js";
import { dateTime } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { resource } from "../../lib/resource.js";
import { href } from "../../lib/router.js";
import { logIn, logOut } from "../../lib/session.js";
import { toast } from "../../lib/toast.js";
import { confirm } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";
import { whole } from "../../ui/parts.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["Caller"]} Caller */

/** @type {import("../../lib/resource.js").Resource<Caller>} */
const caller = resource("api/session");

let wrong = "";
let busy = false;

/** @param {() => void} redraw */
export const security = (redraw) =>
  whole(
    caller,
    (who) => html`
      <section class="stack" aria-label=${t("settings.session.title")}>
        <h2>${t("settings.session.title")}</h2>
        <div class="panel padded stack">
          <dl class="facts">
            <dt>${t("settings.session.actor")}</dt>
            <dd>
              ${t(`settings.session.actor.${["session", "password", "local", "control"].includes(who.actor) ? who.actor : "other"}`)}
            </dd>
            ${
              who.session
                ? html`<dt>${t("settings.session.id")}</dt>
                    <dd>
                      <span class="mono">${who.session.id}</span>
                      <a href=${href("audit", { actor: `session:${who.session.id}` })}
                        >${t("settings.session.audit")}</a
                      >
                    </dd>
                    <dt>${t("settings.session.since")}</dt>
                    <dd class="num">${dateTime(who.session.createdAt)}</dd>
                    <dt>${t("settings.session.idle")}</dt>
                    <dd class="num"><x-time mode="until" at=${who.session.idleExpiresAt}></x-time></dd>
                    <dt>${t("settings.session.end")}</dt>
                    <dd class="num">${dateTime(who.session.expiresAt)}</dd>`
                : nothing
            }
          </dl>
          <div class="actions">
            ${
              who.session
                ? html`<button type="button" class="button" @click=${() => logOut()}>
                    ${icon("out")}${t("app.logOut")}
                  </button>`
                : nothing
            }
            <button type="button" class="button danger" @click=${everywhere}>
              ${t("settings.everywhere")}
            </button>
          </div>
        </div>
      </section>
      <section class="stack" aria-label=${t("settings.password.title")}>
        <h2>${t("settings.password.title")}</h2>
        ${
          who.passwordPinned
            ? html`<div class="notice" data-tone="info">
                ${icon("info")}
                <p>${t("settings.password.pinned")}</p>
              </div>`
            : html`<form
                class="panel padded settings-password"
                @submit=${(/** @type {SubmitEvent} */ event) => change(event, who, redraw)}
              >
                <input
                  class="unseen"
                  name="username"
                  autocomplete="username"
                  value="console"
                  tabindex="-1"
                  aria-hidden="true"
                />
                ${
                  who.passwordSet
                    ? html`<label class="field"
                        ><span>${t("settings.password.old")}</span
                        ><input
                          class="input"
                          type="password"
                          name="old"
                          required
                          autocomplete="current-password"
                      /></label>`
                    : nothing
                }
                <label class="field"
                  ><span>${t("app.setup.new")}</span
                  ><input
                    class="input"
                    type="password"
                    name="new"
                    required
                    minlength="6"
                    autocomplete="new-password"
                /></label>
                <label class="field"
                  ><span>${t("app.setup.again")}</span
                  ><input class="input" type="password" name="again" required autocomplete="new-password"
                /></label>
                <p class="quiet">${t("settings.password.about")}</p>
                ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}${wrong}</p>` : nothing}
                <div class="actions">
                  <button type="submit" class="button primary" ?disabled=${busy}>
                    ${t("settings.password.change")}
                  </button>
                </div>
              </form>`
        }
      </section>
    `,
  );

async function everywhere() {
  const meant = await confirm({
    title: t("settings.everywhere.title"),
    text: t("settings.everywhere.text"),
    action: t("settings.everywhere"),
    tone: "bad",
  });
  if (meant) {
    try {
      await api("api/sessions", { method: "DELETE" });
      access.set("out");
    } catch (error) {
      toast({ tone: "bad", text: sentence(error) });
    }
  }
}

/** @param {SubmitEvent} event @param {Caller} who @param {() => void} redraw */
async function change(event, who, redraw) {
  event.preventDefault();
  if (busy) {
    // A second time the present password would be wrong.
    return;
  }
  const form = /** @type {HTMLFormElement} */ (event.target);
  const given = new FormData(form);
  const [old, wish, again] = ["old", "new", "again"].map((name) => String(given.get(name) ?? ""));
  wrong = "";
  if (wish !== again) {
    wrong = t("app.setup.different");
    redraw();
    return;
  }
  busy = true;
  redraw();
  try {
    const body = { newPassword: wish, ...(who.passwordSet ? { oldPassword: old } : {}) };
    await api("api/config/password", { body, quiet: true });
    form.reset();
    // All sessions have ended, ours too.
    await logIn(wish);
    await caller.reload();
    toast({ text: t("settings.password.changed") });
  } catch (error) {
    wrong = sentence(error);
  }
  busy = false;
  redraw();
}
