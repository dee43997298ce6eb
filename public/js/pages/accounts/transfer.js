// Accounts in and out: what a file would do before it does it, and an export for who knows the password.

import { html, nothing } from "../../../vendor/lit.js";
import { access, api, ApiError, headerText } from "../../lib/api.js";
import { sentence } from "../../lib/errors.js";
import { plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { preview } from "../../lib/imports.js";
import { masked, who } from "../../lib/privacy.js";
import { toast } from "../../lib/toast.js";
import { frame, open } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";
import { badge } from "../../ui/parts.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["ImportReport"]} Report */

/** @type {Record<string, import("../../ui/parts.js").Tone>} */
const TONES = { new: "ok", update: "cooling", twice: "off", invalid: "bad" };

/** @param {string[]} known The pool's addresses. @returns {Promise<boolean>} Whether anything was imported. */
export async function importAccounts(known) {
  let text = "";
  let name = "";
  /** @type {ReturnType<typeof preview> | null} */
  let found = null;
  let busy = false;
  let problem = "";
  /** @type {Report | null} */
  let report = null;

  /** @param {string} next @param {string} [file] */
  function take(next, file = "") {
    [text, name, problem] = [next, file, ""];
    found = next.trim() === "" ? null : preview(next, known);
    dialog.draw();
  }

  async function send() {
    if (!found || "error" in found || busy) {
      return;
    }
    busy = true;
    problem = "";
    dialog.draw();
    try {
      const answer = await api("api/accounts/import", { body: found.entries, timeout: 60_000 });
      report = answer.results;
      text = "";
    } catch (error) {
      problem = sentence(error);
    }
    busy = false;
    if (!dialog.element.isConnected) {
      // Closed meanwhile: nobody sees in there how it went.
      told();
      return;
    }
    dialog.draw();
    /** @type {HTMLElement | null} */ (dialog.element.querySelector("footer .primary"))?.focus();
  }

  function told() {
    if (report) {
      toast({ tone: report.failed.length > 0 ? "warn" : "ok", text: result(report) });
    } else if (access.peek() === "in") {
      toast({ tone: "bad", text: problem });
    }
  }

  const table = (/** @type {[string, import("../../ui/parts.js").Tone, string, string][]} */ rows) =>
    html`<div class="panel import-rows" tabindex="0" role="region" aria-label=${t("accounts.import.rows")}>
      <table class="table plain">
        <thead>
          <tr>
            <th scope="col">${t("accounts.column.email")}</th>
            <th scope="col">${t("accounts.import.outcome")}</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ([email, tone, outcome, why]) =>
              html`<tr>
                <th scope="row">
                  ${email === "" ? html`<span class="quiet">${t("app.unknown")}</span>` : plain(who(email))}
                </th>
                <td>
                  ${badge(tone, outcome)}${why ? html`<br /><small>${plain(masked(why))}</small>` : nothing}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;

  const before = () => html`
    <p class="quiet">${t("accounts.import.text")}</p>
    <label class="field">
      <span>${t("accounts.import.file")}</span>
      <input
        type="file"
        class="input file"
        accept=".json,application/json"
        @click=${(/** @type {Event} */ event) => {
          // The same file again is read again.
          /** @type {HTMLInputElement} */ (event.target).value = "";
        }}
        @change=${async (/** @type {Event} */ event) => {
          const file = /** @type {HTMLInputElement} */ (event.target).files?.[0];
          if (file) {
            take(await file.text(), file.name);
          }
        }}
      />
    </label>
    <details ?open=${text !== "" && name === ""}>
      <summary>${t("accounts.import.paste")}</summary>
      <textarea
        class="textarea mono"
        rows="5"
        spellcheck="false"
        aria-label=${t("accounts.import.paste")}
        .value=${name === "" ? text : ""}
        @input=${(/** @type {InputEvent} */ event) =>
          take(/** @type {HTMLTextAreaElement} */ (event.target).value)}
      ></textarea>
    </details>
    <div role="status" class="stack">
      ${
        found === null
          ? nothing
          : "error" in found
            ? html`<p class="form-error">
                ${icon("bad")}<span>${t(`accounts.import.error.${found.error}`)}</span>
              </p>`
            : html`<p>${t("accounts.import.preview", { n: found.entries.length, of: found.rows.length })}</p>
                ${table(
                  found.rows.map(({ email, outcome, problem: why }) => [
                    email,
                    TONES[outcome],
                    t(`accounts.import.row.${outcome}`),
                    why ? t(`accounts.import.problem.${why}`) : "",
                  ]),
                )}`
      }
    </div>
    ${problem ? html`<p class="form-error" role="alert">${icon("bad")}<span>${problem}</span></p>` : nothing}
  `;

  const result = (/** @type {Report} */ { added, updated, failed }) =>
    t("accounts.import.result", { added: added.length, updated: updated.length, failed: failed.length });

  const after = (/** @type {Report} */ { added, updated, failed, notes }) => html`
    <p role="status">${result({ added, updated, failed })}</p>
    ${table([
      ...failed.map(
        ({ email, reason }) =>
          /** @type {[string, import("../../ui/parts.js").Tone, string, string]} */ ([
            email === "unknown" ? "" : email,
            "bad",
            t("accounts.import.row.failed"),
            reason,
          ]),
      ),
      ...[
        ...added.map((email) => /** @type {const} */ ([email, "ok", "accounts.import.row.added"])),
        ...updated.map((email) => /** @type {const} */ ([email, "cooling", "accounts.import.row.updated"])),
      ].map(
        ([email, tone, key]) =>
          /** @type {[string, import("../../ui/parts.js").Tone, string, string]} */ ([
            email,
            tone,
            t(key),
            notes?.find((note) => note.email === email)?.reason ?? "",
          ]),
      ),
    ])}
  `;

  const dialog = open((close, titleId) =>
    frame(
      titleId,
      t("accounts.import.title"),
      () => close(),
      html`<div class="stack">${report ? after(report) : before()}</div>`,
      report
        ? html`<button type="button" class="button primary" @click=${() => close()}>
            ${t("app.close")}
          </button>`
        : html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
            <button
              type="button"
              class="button primary"
              ?disabled=${busy || !found || "error" in found || found.entries.length === 0}
              @click=${send}
            >
              ${t(busy ? "accounts.import.busy" : "accounts.import.action")}
            </button>`,
    ),
  );
  dialog.element.classList.add("wide");
  await dialog.closed;
  return report !== null;
}

/**
 * Asks for the password again, and saves the file.
 * @param {boolean} closed Whether the console has a password.
 */
export async function exportAccounts(closed) {
  let password = "";
  let full = false;
  let busy = false;
  let problem = "";

  /** @param {Event} event @param {() => void} close */
  async function send(event, close) {
    event.preventDefault();
    if (busy || (closed && password === "")) {
      return;
    }
    busy = true;
    problem = "";
    dialog.draw();
    try {
      const told = await api(`api/accounts/export${full ? "?full=true" : ""}`, {
        headers: closed ? { "x-webui-password": headerText(password) } : undefined,
        quiet: true,
      });
      save(told);
      const count = Array.isArray(told) ? told.length : told.accounts.length;
      toast({ text: t("accounts.export.done", { n: count }) });
      password = "";
      close();
    } catch (error) {
      problem =
        error instanceof ApiError && error.kind === "unauthorised" ? t("app.login.wrong") : sentence(error);
      busy = false;
      dialog.draw();
      dialog.element.querySelector("input")?.focus();
    }
  }

  const dialog = open((close, titleId) =>
    frame(
      titleId,
      t("accounts.export.title"),
      () => close(),
      html`<form
        id="${titleId}-form"
        class="stack"
        @submit=${(/** @type {Event} */ event) => send(event, close)}
      >
        <div class="notice" data-tone="warn">
          ${icon("warn")}
          <p>${t("accounts.export.text")}</p>
        </div>
        <fieldset class="choices">
          <legend>${t("accounts.export.what")}</legend>
          ${["bare", "full"].map(
            (kind) =>
              html`<label
                ><input
                  type="radio"
                  name="${titleId}-kind"
                  .checked=${full === (kind === "full")}
                  @change=${() => {
                    full = kind === "full";
                  }}
                /><span>${t(`accounts.export.${kind}`)}</span></label
              >`,
          )}
        </fieldset>
        ${
          closed
            ? html`<label class="field">
                <span>${t("accounts.export.password")}</span>
                <input
                  type="password"
                  class="input"
                  autocomplete="current-password"
                  required
                  aria-invalid=${problem !== ""}
                  @input=${(/** @type {InputEvent} */ event) => {
                    password = /** @type {HTMLInputElement} */ (event.target).value;
                  }}
                />
              </label>`
            : nothing
        }
        ${problem ? html`<p class="form-error" role="alert">${icon("bad")}<span>${problem}</span></p>` : nothing}
      </form>`,
      html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
        <button type="submit" form="${titleId}-form" class="button primary" ?disabled=${busy}>
          ${t("accounts.export.action")}
        </button>`,
    ),
  );
  /** @type {HTMLInputElement | null} */ (dialog.element.querySelector("input[type=password]"))?.focus();
  await dialog.closed;
  password = "";
}

/** @param {unknown} told */
function save(told) {
  const url = URL.createObjectURL(
    new Blob([`${JSON.stringify(told, null, 2)}\n`], { type: "application/json" }),
  );
  const link = document.createElement("a");
  link.href = url;
  link.download = `antigravity-proxy-accounts-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}
