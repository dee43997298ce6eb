// Why a request would get the account that it would get.

import { html, nothing } from "../../../vendor/lit.js";
import { api } from "../../lib/api.js";
import { duration, number, plain } from "../../lib/format.js";
import { has, t } from "../../lib/i18n.js";
import { masked, who } from "../../lib/privacy.js";
import { resource } from "../../lib/resource.js";
import { nested } from "../../lib/settings.js";
import { known, KEYS, PARTS, scored, winner } from "../../lib/weights.js";
import { icon } from "../../ui/icons.js";
import { badge, failure } from "../../ui/parts.js";
import { settings } from "./common.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["Explained"]} Explained */
/** @typedef {components["schemas"]["SelectionCandidate"]} Candidate */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */
/** @typedef {components["schemas"]["KeyList"]} KeyList */

/** @type {import("../../lib/resource.js").Resource<AccountLimits>} */
const limits = resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });
/** @type {import("../../lib/resource.js").Resource<KeyList>} */
const keys = resource("api/keys", { events: ["key"] });

/** @type {Explained | null} */
let answer = null;
/** @type {unknown} */
let error = null;
let busy = false;
/** @type {Record<string, string>} */
let asked = {};
/** The weights that the answer was made with. @type {import("../../lib/weights.js").Weights | null} */
let made = null;
/** Weights that are tried, as they were entered. @type {Partial<Record<import("../../lib/weights.js").Part, string>>} */
let tried = {};

/** The weights in force; `null` before they are known. */
function weights() {
  const rows = settings.peek().data?.rows;
  return rows
    ? /** @type {import("../../lib/weights.js").Weights} */ (
        Object.fromEntries(
          PARTS.map((part) => [part, Number(rows.find(({ key }) => key === KEYS[part])?.value ?? 0)]),
        )
      )
    : null;
}

/** @param {() => void} redraw */
async function explain(redraw) {
  busy = true;
  redraw();
  try {
    const wish = Object.fromEntries(Object.entries(asked).filter(([, value]) => value));
    answer = await api(`api/strategy/explain?${new URLSearchParams(wish)}`);
    // Whoever asks at once may be faster than they are.
    await (settings.peek().data ? null : settings.reload());
    made = weights();
    tried = {};
    error = null;
  } catch (failed) {
    error = failed;
  }
  busy = false;
  redraw();
}

/**
 * @param {() => void} redraw
 * @param {(config: Record<string, any>) => void} propose Puts settings beside those in force, to be looked at.
 */
export function explainer(redraw, propose) {
  // The weights are among them.
  settings.get();
  const models = limits.get().data?.models ?? [];
  const people = (keys.get().data?.keys ?? []).filter((key) => key.state === "active");
  return html`<section class="stack" aria-label=${t("settings.explain.title")}>
    <div>
      <h2>${t("settings.explain.title")}</h2>
      <p class="quiet">${t("settings.explain.about")}</p>
    </div>
    <form
      class="panel settings-add"
      @submit=${(/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
        asked = Object.fromEntries(
          ["model", "clientKey", "session"].map((name) => [name, String(given.get(name)).trim()]),
        );
        explain(redraw);
      }}
    >
      <label class="field"
        ><span>${t("settings.explain.model")}</span
        ><input
          class="input mono"
          name="model"
          required
          list="explain-models"
          autocomplete="off"
          spellcheck="false"
          .defaultValue=${asked.model ?? models[0] ?? ""}
      /></label>
      <datalist id="explain-models">
        ${models.map((model) => html`<option value=${model}></option>`)}
      </datalist>
      <label class="field"
        ><span>${t("settings.explain.key")}</span
        ><select class="select" name="clientKey">
          <option value="">${t("settings.explain.anyKey")}</option>
          ${people.map((key) => html`<option value=${key.id}>${plain(key.name)}</option>`)}
        </select></label
      >
      <label class="field"
        ><span>${t("settings.explain.session")}</span
        ><input
          class="input mono"
          name="session"
          autocomplete="off"
          spellcheck="false"
          placeholder=${t("settings.explain.sessionHint")}
      /></label>
      <button type="submit" class="button" ?disabled=${busy}>
        ${icon("search")}${t("settings.explain.ask")}
      </button>
    </form>
    <div class="settings-told" aria-live="polite">
      ${error ? failure(error, () => explain(redraw)) : answer ? result(answer, redraw, propose) : nothing}
    </div>
  </section>`;
}

/** @param {Explained} told @param {() => void} redraw @param {(config: Record<string, any>) => void} propose */
function result({ summary, selection }, redraw, propose) {
  const parts = selection.candidates.some((one) => one.parts);
  const ranked = [...selection.candidates].sort(
    (a, b) =>
      Number(b.chosen) - Number(a.chosen) ||
      Number(b.verdict === "usable") - Number(a.verdict === "usable") ||
      (b.score ?? 0) - (a.score ?? 0),
  );
  return html`<div class="stack">
    <div class="notice" data-tone=${selection.decision === "chosen" ? "ok" : "warn"}>
      ${icon(selection.decision === "chosen" ? "ok" : "warn")}
      <p lang="en">${plain(masked(summary))}</p>
      <span class="quiet">${selection.strategy}</span>
    </div>
    ${
      selection.candidates.length < selection.total
        ? html`<p class="quiet">
            ${t("settings.explain.some", { n: selection.candidates.length, of: selection.total })}
          </p>`
        : nothing
    }
    <div class="panel scroll" tabindex="0" role="region" aria-label=${t("settings.explain.table")}>
      <table class="table cards">
        <thead>
          <tr>
            <th scope="col">${t("settings.explain.account")}</th>
            <th scope="col">${t("settings.explain.verdict")}</th>
            <th scope="col" class="end">${t("settings.explain.score")}</th>
            ${parts ? PARTS.map((part) => html`<th scope="col" class="end">${t(`settings.explain.part.${part}`)}</th>`) : nothing}
            <th scope="col" class="end">${t("settings.explain.inFlight")}</th>
          </tr>
        </thead>
        <tbody>
          ${ranked.map((one) => row(one, parts))}
        </tbody>
      </table>
    </div>
    ${parts && made ? trial(ranked, made, redraw, propose) : nothing}
  </div>`;
}

/**
 * What other weights would choose.
 * @param {Candidate[]} candidates @param {import("../../lib/weights.js").Weights} now
 * @param {() => void} redraw @param {(config: Record<string, any>) => void} propose
 */
function trial(candidates, now, redraw, propose) {
  const wish = { ...now };
  let wrong = false;
  for (const part of PARTS) {
    const text = tried[part];
    if (text !== undefined) {
      wish[part] = Number(text);
      wrong ||= text.trim() === "" || !Number.isFinite(wish[part]) || wish[part] < 0;
    }
  }
  const changed = PARTS.filter((part) => wish[part] !== now[part]);
  const chosen = wrong ? null : winner(candidates, now, wish);
  const order = candidates
    .filter(({ verdict }) => verdict === "usable")
    .map((one) => ({ one, before: scored(one, now, now), after: wrong ? null : scored(one, now, wish) }))
    .sort((a, b) => Number(b.one === chosen) - Number(a.one === chosen) || (b.after ?? 0) - (a.after ?? 0));
  return html`<section class="panel padded stack" aria-labelledby="weights-title">
    <div>
      <h3 id="weights-title">${t("settings.weights.title")}</h3>
      <p class="quiet">${t("settings.weights.about")}</p>
    </div>
    <div class="weights">
      ${PARTS.map(
        (part) =>
          html`<label class="field"
            ><span>${t(`settings.explain.part.${part}`)}</span
            ><input
              class="input num"
              type="number"
              min="0"
              step="any"
              .value=${tried[part] ?? String(now[part])}
              ?disabled=${!known(part, now)}
              title=${known(part, now) ? "" : t("settings.weights.unknown")}
              @input=${(/** @type {Event} */ event) => {
                tried[part] = /** @type {HTMLInputElement} */ (event.target).value;
                redraw();
              }}
          /></label>`,
      )}
    </div>
    ${
      wrong
        ? html`<p class="form-error" role="alert">${icon("bad")}${t("settings.weights.wrong")}</p>`
        : html`<p role="status">
            ${
              chosen
                ? chosen.chosen
                  ? t("settings.weights.same", { email: who(chosen.email) })
                  : html`<strong>${t("settings.weights.other", { email: who(chosen.email) })}</strong>`
                : t("settings.weights.nobody")
            }
          </p>`
    }
    ${
      changed.length > 0 && !wrong
        ? html`<ol class="weights-order">
              ${order.slice(0, 8).map(
                ({ one, before, after }) =>
                  html`<li>
                    <span>${who(one.email)}</span>
                    <span class="num"
                      ><del>${number(before, 1)}</del> ${icon("right")}<span class="unseen"
                        >${t("settings.weights.became")}</span
                      >
                      <ins>${number(after, 1)}</ins></span
                    >
                  </li>`,
              )}
            </ol>
            <div class="actions">
              <button
                type="button"
                class="button"
                @click=${() => {
                  tried = {};
                  redraw();
                }}
              >
                ${t("settings.weights.back")}
              </button>
              <button
                type="button"
                class="button primary"
                @click=${() => propose(nested(changed.map((part) => [KEYS[part], wish[part]])))}
              >
                ${t("settings.weights.use")}
              </button>
            </div>`
        : nothing
    }
  </section>`;
}

/** @param {Candidate} one @param {boolean} parts */
function row(one, parts) {
  const named = has(`settings.verdict.${one.verdict}`);
  const word = named ? t(`settings.verdict.${one.verdict}`) : one.verdict;
  return html`<tr>
    <th scope="row">${who(one.email)}</th>
    <td data-label=${t("settings.explain.verdict")}>
      ${
        one.chosen
          ? badge("ok", t("settings.explain.chosen"))
          : badge(one.verdict === "usable" ? "info" : one.waitMs ? "cooling" : "off", word)
      }
      ${one.waitMs ? html`<small class="num">${duration(one.waitMs)}</small>` : nothing}
      ${one.tier ? html`<small>${has(`settings.tier.${one.tier}`) ? t(`settings.tier.${one.tier}`) : one.tier}</small>` : nothing}
    </td>
    <td data-label=${t("settings.explain.score")} class="end num">${number(one.score, 1)}</td>
    ${
      parts
        ? PARTS.map(
            (part) =>
              html`<td data-label=${t(`settings.explain.part.${part}`)} class="end num quiet">
                ${number(one.parts?.[part], 1)}
              </td>`,
          )
        : nothing
    }
    <td data-label=${t("settings.explain.inFlight")} class="end num">${number(one.inFlight)}</td>
  </tr>`;
}
