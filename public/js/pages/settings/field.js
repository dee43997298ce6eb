// The field in which a setting is entered, by what kind of value it has, and what may be entered.

import { html, nothing } from "../../../vendor/lit.js";
import { number } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { written } from "../../lib/settings.js";
import { toggle } from "../../ui/parts.js";

/** @typedef {import("../../lib/settings.js").Row} Row */

/**
 * @param {Row} row
 * @param {object} how
 * @param {string} how.id
 * @param {string} how.text What is in it.
 * @param {(text: string) => void} how.change
 * @param {string} how.about The ids of what describes it.
 * @param {boolean} how.wrong
 */
export function field(row, { id, text, change, about, wrong }) {
  const told = (/** @type {Event} */ event) => change(/** @type {HTMLInputElement} */ (event.target).value);
  const usual = row.default === null || row.default === undefined ? "" : written(row, row.default);
  if (row.type === "boolean") {
    return html`<span id=${id}
      >${toggle(row.key, (text || usual) === "true", (on) => change(String(on)))}</span
    >`;
  }
  if (row.enum && row.enum.length > 0) {
    return html`<select class="select" id=${id} aria-describedby=${about} @change=${told}>
      ${row.enum.map(
        (one) =>
          html`<option value=${String(one)} ?selected=${String(one) === (text || usual)}>
            ${String(one)}
          </option>`,
      )}
    </select>`;
  }
  if (row.type === "object" || row.type === "array") {
    return html`<textarea
      class="textarea mono"
      id=${id}
      rows=${Math.min(8, Math.max(2, text.split("\n").length))}
      spellcheck="false"
      aria-describedby=${about}
      aria-invalid=${wrong ? "true" : nothing}
      placeholder=${usual}
      .value=${text}
      @input=${told}
    ></textarea>`;
  }
  const figure = row.type === "integer" || row.type === "number";
  return html`<span class="settings-input"
    ><input
      class="input ${figure ? "num" : ""}"
      id=${id}
      type=${row.secret ? "password" : "text"}
      inputmode=${figure ? "decimal" : nothing}
      autocomplete="off"
      spellcheck="false"
      aria-describedby=${about}
      aria-invalid=${wrong ? "true" : nothing}
      placeholder=${usual}
      .value=${text}
      @input=${told}
    />${row.unit ? html`<span class="quiet">${t(`settings.unit.${row.unit}`)}</span>` : nothing}</span
  >`;
}

/**
 * What may be entered, and what holds without it, as facts; the gateway's own words say it for what is no figure.
 * @param {Row} row
 */
export function facts(row) {
  const most = row.maximum ?? row.exclusiveMaximum;
  const bounded = typeof row.minimum === "number" && typeof most === "number";
  const usual = row.default;
  const known = usual !== null && usual !== undefined && !row.secret && typeof usual !== "object";
  // A switch or a list of choices says it by itself.
  const shown = row.applies !== "fixed" && (row.type === "boolean" || (row.enum?.length ?? 0) > 0);
  const unit = row.unit === "ms" || row.unit === "bytes" ? ` ${t(`settings.unit.${row.unit}`)}` : "";
  return html`<ul class="settings-facts">
    ${
      bounded
        ? html`<li>
            ${t(
              row.maximum === null || row.maximum === undefined ? "settings.range.below" : "settings.range",
              {
                least: number(row.minimum, 4),
                most: number(most, 4),
              },
            )}${unit}
          </li>`
        : row.allowed && !shown
          ? html`<li lang="en">${row.allowed}</li>`
          : nothing
    }
    ${
      known
        ? html`<li>
            ${t("settings.default", { value: typeof usual === "number" ? number(usual, 4) : usual === "" ? t("settings.nothing") : String(usual) })}${typeof usual === "number" ? unit : ""}
          </li>`
        : nothing
    }
  </ul>`;
}

/**
 * What is wrong with what was entered, in words.
 * @param {Row} row @param {string | undefined} problem
 */
export const wrongly = (row, problem) =>
  problem
    ? t(`settings.problem.${problem}`, {
        least: row.minimum ?? 0,
        most: row.maximum ?? row.exclusiveMaximum ?? 0,
      })
    : undefined;
