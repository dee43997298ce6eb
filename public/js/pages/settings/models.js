// Which model answers for which.

import { html } from "../../../vendor/lit.js";
import { act } from "../../lib/action.js";
import { api } from "../../lib/api.js";
import { plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { resource } from "../../lib/resource.js";
import { icon } from "../../ui/icons.js";
import { once } from "../../ui/second.js";
import { settings } from "./common.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SettingsView"]} SettingsView */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */

/** @type {import("../../lib/resource.js").Resource<AccountLimits>} */
const limits = resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });

/** @param {string} modelId @param {string | null} mapping @param {string} done @param {() => void} [undo] */
const map = (modelId, mapping, done, undo) =>
  act({
    on: settings,
    send: () => api("api/models/config", { body: { modelId, config: { mapping } } }),
    show: (data) => ({
      ...data,
      rows: data.rows.map((row) =>
        row.key === "modelMapping"
          ? { ...row, value: { .../** @type {any} */ (row.value), [modelId]: mapping ? { mapping } : {} } }
          : row,
      ),
    }),
    done,
    undo,
  });

/** @param {SettingsView} data */
export function aliases(data) {
  const row = data.rows.find((one) => one.key === "modelMapping");
  const said = /** @type {Record<string, { mapping?: string }>} */ (row?.value ?? {});
  const list = Object.entries(said)
    .flatMap(([from, { mapping }]) => (mapping ? [{ from, to: mapping }] : []))
    .sort((a, b) => (a.from < b.from ? -1 : 1));
  const models = limits.get().data?.models ?? [];
  const fixed = row?.applies === "fixed";
  return html`<section class="stack" aria-label=${t("settings.models.title")}>
    <div>
      <h2>${t("settings.models.title")}</h2>
      <p class="quiet">${t("settings.models.about")}</p>
    </div>
    <div class="panel">
      ${
        list.length === 0
          ? html`<p class="settings-empty quiet">${t("settings.models.empty")}</p>`
          : html`<table class="table cards">
              <thead>
                <tr>
                  <th scope="col">${t("settings.models.from")}</th>
                  <th scope="col">${t("settings.models.to")}</th>
                  <th scope="col"><span class="unseen">${t("settings.models.actions")}</span></th>
                </tr>
              </thead>
              <tbody>
                ${list.map(
                  ({ from, to }) =>
                    html`<tr>
                      <th scope="row" class="mono">${plain(from)}</th>
                      <td class="mono" data-label=${t("settings.models.to")}>${plain(to)}</td>
                      <td class="end">
                        <button
                          type="button"
                          class="button small"
                          ?disabled=${fixed}
                          aria-label=${t("settings.models.removeWhat", { model: plain(from) })}
                          @click=${once(() =>
                            map(from, null, t("settings.models.removed", { model: plain(from) }), () =>
                              map(from, to, t("settings.models.added", { model: plain(from) })),
                            ),
                          )}
                        >
                          ${t("settings.models.remove")}
                        </button>
                      </td>
                    </tr>`,
                )}
              </tbody>
            </table>`
      }
      <form
        class="settings-add"
        @submit=${async (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          const form = /** @type {HTMLFormElement} */ (event.target);
          const given = new FormData(form);
          const [from, to] = [String(given.get("from")).trim(), String(given.get("to")).trim()];
          const before = said[from]?.mapping ?? null;
          if (
            await map(from, to, t("settings.models.added", { model: plain(from) }), () =>
              map(from, before, t("settings.models.removed", { model: plain(from) })),
            )
          ) {
            form.reset();
          }
        }}
      >
        <label class="field"
          ><span>${t("settings.models.from")}</span
          ><input
            class="input mono"
            name="from"
            required
            list="settings-models"
            autocomplete="off"
            spellcheck="false"
        /></label>
        <label class="field"
          ><span>${t("settings.models.to")}</span
          ><input
            class="input mono"
            name="to"
            required
            list="settings-models"
            autocomplete="off"
            spellcheck="false"
        /></label>
        <datalist id="settings-models">
          ${models.map((model) => html`<option value=${model}></option>`)}
        </datalist>
        <button type="submit" class="button" ?disabled=${fixed}>
          ${icon("plus")}${t("settings.models.add")}
        </button>
      </form>
    </div>
  </section>`;
}
