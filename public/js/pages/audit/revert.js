// Putting settings back to what a record of the audit says they were, after a look at what that changes.

import { html, nothing } from "../../../vendor/lit.js";
import { api, ApiError } from "../../lib/api.js";
import { wayBack } from "../../lib/audit.js";
import { sentence } from "../../lib/errors.js";
import { dateTime } from "../../lib/format.js";
import { messages, t } from "../../lib/i18n.js";
import { toast } from "../../lib/toast.js";
import { loadStyle } from "../../lib/view.js";
import { frame, open } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";
import { difference, settings } from "../settings/common.js";

/** @typedef {import("../../lib/audit.js").AuditRecord} AuditRecord */

/**
 * @param {AuditRecord} record
 * @returns {Promise<boolean>} Whether it was done.
 */
export async function revert(record) {
  await Promise.all([messages("settings"), loadStyle("pages/settings"), settings.reload()]);
  const state = settings.peek();
  if (!state.data) {
    toast({ tone: "bad", text: sentence(state.error) });
    return false;
  }
  let busy = false;
  let wrong = "";
  const dialog = open((close, titleId) => {
    const data = settings.peek().data;
    const changes = wayBack(record, data?.rows ?? []);
    const again = changes.filter((one) => one.again).map(({ key }) => key);
    return frame(
      titleId,
      t("audit.revert.title"),
      () => close(false),
      html`<div class="stack">
        <p>${t("audit.revert.text", { time: dateTime(record.time) })}</p>
        ${
          again.length > 0
            ? html`<div class="notice" data-tone="warn" role="status">
                ${icon("warn")}
                <p>
                  ${t("audit.revert.again", { n: again.length })}
                  <span class="mono">${again.join(", ")}</span>
                </p>
              </div>`
            : nothing
        }
        ${
          changes.length > 0
            ? difference(changes)
            : html`<p role="status">${icon("ok")} ${t("audit.revert.same")}</p>`
        }
        ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}${wrong}</p>` : nothing}
      </div>`,
      html`<button type="button" class="button" @click=${() => close(false)}>${t("app.cancel")}</button>
        <button
          type="button"
          class="button primary"
          ?disabled=${busy || changes.length === 0}
          @click=${() => send(close, data?.generation ?? 0, changes)}
        >
          ${t("audit.revert.action")}
        </button>`,
    );
  });
  dialog.element.classList.add("wide");

  /** @param {(done: boolean) => void} close @param {number} generation @param {import("../../lib/audit.js").Back[]} changes */
  async function send(close, generation, changes) {
    busy = true;
    wrong = "";
    dialog.draw();
    const wishes = Object.fromEntries(changes.map(({ key, wish }) => [key, wish]));
    try {
      await api("api/settings", { method: "PATCH", body: { generation, settings: wishes } });
      close(true);
      toast({ text: t("audit.revert.done", { n: changes.length }) });
      settings.reload();
    } catch (error) {
      if (error instanceof ApiError && error.kind === "conflict") {
        // What is shown is old: it is looked at anew before anything is sent.
        wrong = t("audit.revert.conflict");
        await settings.reload();
      } else {
        wrong = sentence(error);
      }
      busy = false;
      dialog.draw();
    }
  }

  return (await dialog.closed) === true;
}
