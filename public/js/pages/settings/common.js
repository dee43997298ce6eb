// What the parts of the settings page share.

import { html } from "../../../vendor/lit.js";
import { duration, number, percent, plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { resource } from "../../lib/resource.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SettingsView"]} SettingsView */

/** @type {import("../../lib/resource.js").Resource<SettingsView>} */
export const settings = resource("api/settings", { events: ["settings"] });

/**
 * Before and after, side by side.
 * @param {{ key: string, before: unknown, after: unknown }[]} changes
 * @param {boolean} [conflict] Whether what is there is somebody else's.
 */
export const difference = (changes, conflict = false) => html`
  <div class="panel scroll" tabindex="0" role="region" aria-label=${t("settings.diff")}>
    <table class="table cards plain">
      <thead>
        <tr>
          <th scope="col">${t("settings.diff.key")}</th>
          <th scope="col">${t(conflict ? "settings.diff.theirs" : "settings.diff.before")}</th>
          <th scope="col">${t(conflict ? "settings.diff.mine" : "settings.diff.after")}</th>
        </tr>
      </thead>
      <tbody>
        ${changes.map(
          ({ key, before, after }) =>
            html`<tr>
              <th scope="row" class="mono">${key}</th>
              <td class="mono" data-label=${t("settings.diff.before")}><del>${said(before)}</del></td>
              <td class="mono" data-label=${t("settings.diff.after")}><ins>${said(after)}</ins></td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>
`;

/**
 * A value in the reader's own way: times as people say them.
 * @param {unknown} value @param {string | null} [unit]
 * @returns {string}
 */
export const said = (value, unit) =>
  value === null || value === undefined
    ? t("settings.nothing")
    : unit === "ms" && typeof value === "number"
      ? duration(value)
      : unit === "ms" && Array.isArray(value)
        ? value.map((one) => said(one, unit)).join(" · ")
        : unit === "fraction" && typeof value === "number"
          ? percent(value, 1)
          : typeof value === "number"
            ? number(value, 6)
            : Array.isArray(value) && value.length > 0
              ? plain(
                  value.map((one) => (typeof one === "object" ? JSON.stringify(one) : said(one))).join(" · "),
                )
              : plain(typeof value === "string" ? value : JSON.stringify(value));
