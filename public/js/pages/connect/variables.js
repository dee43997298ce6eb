// The variables of Claude Code, one by one: those on the gateway's machine, or those of a preset.

import { html, nothing } from "../../../vendor/lit.js";
import { changed, lengthened, long, MODELS } from "../../lib/clients.js";
import { sentence } from "../../lib/errors.js";
import { t } from "../../lib/i18n.js";
import { frame, open } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";
import { toggle } from "../../ui/parts.js";

const [BASE, KEY, MCP] = ["ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ENABLE_EXPERIMENTAL_MCP_CLI"];

/**
 * @param {object} what
 * @param {string} what.title
 * @param {string} [what.about]
 * @param {string} [what.name] A name to be entered, too; its first value.
 * @param {Record<string, string>} what.env What it begins with.
 * @param {string[]} what.models Those there are.
 * @param {boolean} [what.secret] Whether the client key is among them.
 * @param {string} what.action
 * @param {(env: Record<string, string>, changes: Record<string, string | null>, name: string) => Promise<unknown>} what.send
 *   Throws what keeps it from being done.
 */
export function editVariables({ title, about, name: first, env: before, models, secret, action, send }) {
  let env = { ...before };
  let name = first ?? "";
  let wrong = "";
  let busy = false;

  const dialog = open((close, titleId) => {
    const changes = changed(before, env);
    const n = Object.keys(changes).length;
    const wide = long(env);
    const text = (/** @type {string} */ key, type = "text", listed = false) =>
      html`<label class="field"
        ><span>${t(`connect.variable.${key}`)} <code>${key}</code></span
        ><input
          class="input mono"
          type=${type}
          autocomplete="off"
          spellcheck="false"
          list=${listed ? `${titleId}-models` : nothing}
          .value=${env[key] ?? ""}
          @input=${(/** @type {Event} */ event) => {
            env = { ...env, [key]: /** @type {HTMLInputElement} */ (event.target).value };
            dialog.draw();
          }}
      /></label>`;
    return frame(
      titleId,
      title,
      () => close(),
      html`<form
        id="${titleId}-form"
        class="variables"
        @submit=${async (/** @type {Event} */ event) => {
          event.preventDefault();
          busy = true;
          wrong = "";
          dialog.draw();
          try {
            await send(
              Object.fromEntries(Object.entries(env).filter(([, value]) => value.trim())),
              changes,
              name.trim(),
            );
            close(true);
          } catch (error) {
            wrong = sentence(error);
            busy = false;
            dialog.draw();
          }
        }}
      >
        ${about ? html`<p class="quiet">${about}</p>` : nothing}
        ${
          first === undefined
            ? nothing
            : html`<label class="field"
                ><span>${t("connect.presets.name")}</span
                ><input
                  class="input"
                  required
                  maxlength="50"
                  autocomplete="off"
                  .value=${name}
                  @input=${(/** @type {Event} */ event) => {
                    name = /** @type {HTMLInputElement} */ (event.target).value;
                  }}
              /></label>`
        }
        ${text(BASE, "url")} ${secret ? text(KEY, "password") : nothing}
        ${MODELS.map((key) => text(key, "text", true))}
        <datalist id="${titleId}-models">
          ${models.map((model) => html`<option value=${model}></option>`)}
        </datalist>
        <div class="variables-switch">
          <span>${t("connect.variable.mcp")} <code>${MCP}</code></span>
          ${toggle(t("connect.variable.mcp"), env[MCP] === "true", (on) => {
            env = { ...env, [MCP]: on ? "true" : "" };
            dialog.draw();
          })}
        </div>
        <div class="variables-switch">
          <span>${t("connect.variable.long")} <code>[1m]</code></span>
          ${toggle(
            t("connect.variable.long"),
            wide === true,
            (on) => {
              env = lengthened(env, on);
              dialog.draw();
            },
            wide === null,
          )}
        </div>
        ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}<span>${wrong}</span></p>` : nothing}
      </form>`,
      html`<span class="quiet num variables-n" role="status">${t("connect.variable.changes", { n })}</span>
        <button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
        <button
          type="submit"
          form="${titleId}-form"
          class="button primary"
          ?disabled=${busy || (n === 0 && first === undefined)}
        >
          ${action}
        </button>`,
    );
  });
  return dialog.closed;
}
