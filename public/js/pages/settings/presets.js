// Named sets of settings: four that are built in, and the pool's own.

import { html, nothing } from "../../../vendor/lit.js";
import { act } from "../../lib/action.js";
import { api } from "../../lib/api.js";
import { plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { flat, nested, same } from "../../lib/settings.js";
import { icon } from "../../ui/icons.js";
import { chip, whole } from "../../ui/parts.js";
import { difference, said } from "./common.js";
import { at, edit, list } from "./preset.js";
import "../../ui/menu.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SettingsView"]} SettingsView */
/** @typedef {import("./preset.js").Preset} Preset */

/**
 * @param {SettingsView} data
 * @param {(config: Record<string, any>) => void} use
 */
export const presets = (data, use) =>
  whole(list, ({ presets: all }) => {
    const values = new Map(data.rows.map((row) => [row.key, row.value]));
    const keys = new Set(values.keys());
    const usual = all.find((one) => one.builtIn)?.config ?? {};
    /** What is in force of what the built-in ones name. */
    const present = nested(flat(usual, keys).map(([key]) => [key, values.get(key) ?? null]));
    return html`
      <div class="settings-head">
        <p class="quiet">${t("settings.presets.about")}</p>
        <button type="button" class="button" @click=${() => edit({ config: present, data })}>
          ${icon("plus")}${t("settings.presets.save")}
        </button>
      </div>
      <ul class="settings-presets">
        ${all.map((preset) => {
          const changes = flat(preset.config, keys)
            .filter(([key, value]) => keys.has(key) && !same(values.get(key), value))
            .map(([key, after]) => ({ key, before: values.get(key), after }));
          return html`<li class="panel padded">
            <div class="settings-head">
              <h2>${plain(preset.name)} ${preset.builtIn ? chip(t("settings.presets.builtIn")) : nothing}</h2>
              <x-menu
                .label=${t("settings.presets.actions", { name: plain(preset.name) })}
                .items=${() => [
                  ...(preset.builtIn
                    ? []
                    : [
                        {
                          label: t("settings.presets.edit"),
                          icon: /** @type {const} */ ("settings"),
                          run: () => edit({ preset, config: preset.config, data }),
                        },
                      ]),
                  {
                    label: t("settings.presets.copy"),
                    icon: /** @type {const} */ ("copy"),
                    run: () => edit({ config: preset.config, data }),
                  },
                  ...(preset.builtIn
                    ? []
                    : [
                        {
                          label: t("settings.presets.remove"),
                          icon: /** @type {const} */ ("close"),
                          bad: true,
                          run: () => remove(preset),
                        },
                      ]),
                ]}
              ></x-menu>
            </div>
            ${preset.description ? html`<p class="quiet">${plain(preset.description)}</p>` : nothing}
            <details>
              <summary>${t("settings.presets.all", { n: flat(preset.config, keys).length })}</summary>
              ${everything(preset, data)}
            </details>
            ${
              changes.length === 0
                ? html`<p class="settings-same">${icon("ok")}${t("settings.presets.inForce")}</p>`
                : html`<details>
                      <summary>${t("settings.presets.changes", { n: changes.length })}</summary>
                      ${difference(changes)}
                    </details>
                    <button
                      type="button"
                      class="button"
                      aria-label=${t("settings.presets.useWhat", { name: plain(preset.name) })}
                      @click=${() => use(preset.config)}
                    >
                      ${t("settings.presets.use")}
                    </button>`
            }
          </li>`;
        })}
      </ul>
    `;
  });

/**
 * All that it says, by section; what differs from what is in force says so.
 * @param {Preset} preset @param {SettingsView} data
 */
function everything(preset, data) {
  const rows = new Map(data.rows.map((row) => [row.key, row]));
  const pairs = flat(preset.config, new Set(rows.keys()));
  const sections = [...new Set(pairs.map(([key]) => rows.get(key)?.section ?? ""))];
  return html`<div class="preset-all">
    ${sections.map(
      (section) =>
        html`<section aria-label=${section || t("settings.presets.unknown")}>
          <h3 lang=${section ? "en" : nothing}>${section || t("settings.presets.unknown")}</h3>
          <dl>
            ${pairs
              .filter(([key]) => (rows.get(key)?.section ?? "") === section)
              .map(([key, value]) => {
                const row = rows.get(key);
                return html`<div>
                  <dt class="mono">${key}</dt>
                  <dd class="num">
                    ${
                      row && !same(row.value, value)
                        ? html`<ins>${said(value, row.unit)}</ins>
                            <small>${t("settings.presets.now", { value: said(row.value, row.unit) })}</small>`
                        : said(value, row?.unit)
                    }
                  </dd>
                </div>`;
              })}
          </dl>
        </section>`,
    )}
  </div>`;
}

/** @param {Preset} preset */
const remove = (preset) =>
  act({
    on: list,
    send: () => api(at(preset.name), { method: "DELETE" }),
    show: (data) => ({ ...data, presets: data.presets.filter((one) => one.name !== preset.name) }),
    done: t("settings.presets.removed", { name: plain(preset.name) }),
    undo: () =>
      act({
        on: list,
        send: () =>
          api("api/server/presets", {
            body: { name: preset.name, config: preset.config, description: preset.description ?? null },
          }),
        done: t("settings.presets.saved", { name: plain(preset.name) }),
      }),
  });
