// Making and changing a preset: as a form with what is in force beside each value, or as JSON.

import { html, nothing } from "../../../vendor/lit.js";
import { api } from "../../lib/api.js";
import { sentence } from "../../lib/errors.js";
import { plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { resource } from "../../lib/resource.js";
import { Draft, same } from "../../lib/settings.js";
import { toast } from "../../lib/toast.js";
import { frame, open } from "../../ui/dialog.js";
import { icon } from "../../ui/icons.js";
import { segments } from "../../ui/parts.js";
import { once } from "../../ui/second.js";
import { said } from "./common.js";
import { field, wrongly } from "./field.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SettingsView"]} SettingsView */
/** @typedef {components["schemas"]["ServerPreset"]} Preset */
/** @typedef {import("../../lib/settings.js").Row} Row */

/** @type {import("../../lib/resource.js").Resource<components["schemas"]["ServerPresets"]>} */
export const list = resource("api/server/presets", { events: ["settings"] });

/** A preset's own path. @param {string} name */
export const at = (name) => `api/server/presets/${encodeURIComponent(name)}`;

/**
 * @param {object} what
 * @param {Preset} [what.preset] The one to change; none for a new one.
 * @param {Record<string, any>} what.config What it begins with.
 * @param {SettingsView} what.data
 */
export function edit({ preset, config, data }) {
  const draft = new Draft(data.rows, config);
  /** What would be replaced, as it was when its reader was told of it last. */
  let known = preset;
  let kept = preset?.name;
  let name = kept ?? "";
  let description = preset?.description ?? "";
  /** @type {"form" | "json"} */
  let mode = "form";
  let json = "";
  let wrong = "";
  let busy = false;

  const dialog = open((close, titleId) =>
    frame(
      titleId,
      t(preset ? "settings.presets.edit" : "settings.presets.save"),
      () => close(),
      html`<form
        class="preset-form"
        id="${titleId}-form"
        @submit=${(/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          save(close);
        }}
      >
        <div class="preset-two">
          <label class="field"
            ><span>${t("settings.presets.name")}</span
            ><input
              class="input"
              required
              maxlength="50"
              autocomplete="off"
              .value=${name}
              @input=${(/** @type {Event} */ event) => {
                name = /** @type {HTMLInputElement} */ (event.target).value;
              }}
          /></label>
          <label class="field"
            ><span>${t("settings.presets.description")}</span
            ><input
              class="input"
              maxlength="200"
              autocomplete="off"
              .value=${description}
              @input=${(/** @type {Event} */ event) => {
                description = /** @type {HTMLInputElement} */ (event.target).value;
              }}
          /></label>
        </div>
        <div class="preset-bar">
          ${segments(
            t("settings.presets.mode"),
            [
              { value: "form", label: t("settings.presets.mode.form") },
              { value: "json", label: "JSON" },
            ],
            mode,
            (value) => turn(/** @type {"form" | "json"} */ (value)),
          )}
          ${
            mode === "form"
              ? html`<span class="quiet num" role="status"
                  >${t("settings.presets.would", { n: draft.differing().length, of: draft.values.size })}</span
                >`
              : nothing
          }
        </div>
        ${mode === "form" ? form(titleId) : text()}
        ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}${wrong}</p>` : nothing}
      </form>`,
      html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
        <button
          type="submit"
          form="${titleId}-form"
          class="button primary"
          ?disabled=${busy || (mode === "form" && draft.wrong)}
        >
          ${t("settings.presets.keep")}
        </button>`,
    ),
  );
  dialog.element.classList.add("wide");

  /** @param {"form" | "json"} to */
  function turn(to) {
    if (to === mode) {
      return;
    }
    wrong = "";
    if (to === "json") {
      json = JSON.stringify(draft.config(), null, 2);
      mode = to;
    } else if (read()) {
      mode = to;
    }
    dialog.draw();
  }

  /** Takes what is written as JSON into the form; `false` where it cannot be read. */
  function read() {
    try {
      const value = JSON.parse(json);
      if (!value || typeof value !== "object" || Array.isArray(value)) {
        throw new SyntaxError();
      }
      draft.take(value);
      return true;
    } catch {
      wrong = t("settings.problem.json");
      return false;
    }
  }

  function text() {
    return html`<label class="field"
      ><span>${t("settings.presets.config")}</span
      ><textarea
        class="textarea mono"
        rows="16"
        spellcheck="false"
        .value=${json}
        @input=${(/** @type {Event} */ event) => {
          json = /** @type {HTMLTextAreaElement} */ (event.target).value;
        }}
      ></textarea>
    </label>`;
  }

  /** @param {string} titleId */
  function form(titleId) {
    const rows = data.rows.filter(({ key }) => draft.values.has(key));
    const sections = [...new Set(rows.map(({ section }) => section ?? ""))];
    return html`${
      draft.values.size === 0 ? html`<p class="quiet">${t("settings.presets.nothing")}</p>` : nothing
    }
    ${sections.map(
      (section) =>
        html`<section class="stack" aria-label=${section}>
          <h3 lang="en">${section}</h3>
          <div class="preset-rows">
            ${rows.filter((row) => (row.section ?? "") === section).map((row) => line(row, titleId))}
          </div>
        </section>`,
    )}
    ${more(titleId)}`;
  }

  /** @param {Row} row @param {string} titleId */
  function line(row, titleId) {
    const wish = /** @type {import("../../lib/settings.js").Wish} */ (draft.values.get(row.key));
    const id = `${titleId}-${row.key.replaceAll(".", "-")}`;
    const problem = wrongly(row, wish.problem);
    const differs = !wish.problem && !same(wish.value, row.value);
    return html`<div class="preset-row ${differs ? "differs" : ""}">
      <div>
        <label class="mono" for=${id} title=${row.description ?? ""}>${row.key}</label>
        <p class="quiet preset-now" id="${id}-now">
          ${
            differs
              ? html`<ins>${t("settings.presets.now", { value: said(row.value, row.unit) })}</ins>`
              : t("settings.presets.asNow")
          }
          ${row.applies === "fixed" ? t("settings.presets.stays") : nothing}
        </p>
      </div>
      ${field(row, {
        id,
        text: wish.text,
        change: (entered) => {
          draft.enter(row.key, entered);
          dialog.draw();
        },
        about: `${id}-now${problem ? ` ${id}-problem` : ""}`,
        wrong: problem !== undefined,
      })}
      <button
        type="button"
        class="button icon-only ghost"
        aria-label=${t("settings.presets.leave", { key: row.key })}
        title=${t("settings.presets.leave", { key: row.key })}
        @click=${once((event) => {
          const all = () => [...dialog.element.querySelectorAll(".preset-row")];
          const index = all().indexOf(
            /** @type {Element} */ (/** @type {Element} */ (event.currentTarget).closest(".preset-row")),
          );
          draft.values.delete(row.key);
          dialog.draw();
          // The focus stays where the reader was.
          const next = all().at(Math.min(index, all().length - 1));
          /** @type {HTMLElement | null} */ (
            next?.querySelector(".icon-only") ?? dialog.element.querySelector(`#${titleId}-add`)
          )?.focus();
        })}
      >
        ${icon("close")}
      </button>
      ${problem ? html`<p class="form-error" role="alert" id="${id}-problem">${icon("bad")}${problem}</p>` : nothing}
    </div>`;
  }

  /** Settings that it does not say anything of yet. @param {string} titleId */
  function more(titleId) {
    const rows = data.rows.filter(
      (row) =>
        !draft.values.has(row.key) && !row.secret && row.type && ["live", "restart"].includes(row.shared),
    );
    if (rows.length === 0) {
      return nothing;
    }
    const sections = [...new Set(rows.map(({ section }) => section ?? ""))];
    return html`<div class="preset-add">
      <div class="field">
        <span><label for="${titleId}-add">${t("settings.presets.add")}</label></span
        ><select class="select" id="${titleId}-add">
          ${sections.map(
            (section) =>
              html`<optgroup label=${section}>
                ${rows
                  .filter((row) => (row.section ?? "") === section)
                  .map((row) => html`<option value=${row.key}>${row.key}</option>`)}
              </optgroup>`,
          )}
        </select>
      </div>
      <button
        type="button"
        class="button"
        @click=${() => {
          const pick = /** @type {HTMLSelectElement} */ (dialog.element.querySelector(`#${titleId}-add`));
          const { value } = pick;
          draft.add(value);
          dialog.draw();
          /** @type {HTMLElement | null} */ (
            dialog.element.querySelector(`#${titleId}-${value.replaceAll(".", "-")}`)
          )?.focus();
        }}
      >
        ${icon("plus")}${t("settings.presets.addOne")}
      </button>
    </div>`;
  }

  /** @param {() => void} close */
  async function save(close) {
    if (busy) {
      return;
    }
    wrong = "";
    const wished = name.trim();
    if (mode === "json" && !read()) {
      dialog.draw();
      return;
    }
    busy = true;
    dialog.draw();
    // Somebody else may have been here since it was opened.
    await list.reload();
    const there = new Map((list.peek().data?.presets ?? []).map((one) => [one.name, one]));
    const now = there.get(kept ?? "");
    if (there.has(wished) && wished !== kept) {
      wrong = t("settings.presets.taken", { name: wished });
    } else if (!same(now, known)) {
      wrong = t(`settings.presets.${now ? "changedMeanwhile" : "gone"}`);
      known = now;
      kept = now?.name;
    }
    if (wrong) {
      busy = false;
      dialog.draw();
      return;
    }
    try {
      if (kept && wished !== kept) {
        await api(at(kept), { method: "PATCH", body: { name: wished } });
        // What follows may fail, and be tried again.
        kept = wished;
        known = known && { ...known, name: wished };
      }
      // The whole of it: a change would leave what was taken out.
      const answer = await api("api/server/presets", {
        body: { name: wished, description: description.trim() || null, config: draft.config() },
      });
      close();
      toast({ text: t("settings.presets.saved", { name: plain(wished) }) });
      for (const { field: key, reason } of answer.rejected ?? []) {
        toast({ tone: "warn", text: `${key}: ${reason}` });
      }
      await list.reload();
    } catch (error) {
      wrong = sentence(error);
      busy = false;
      dialog.draw();
    }
  }
}
