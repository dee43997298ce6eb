// One thing after another for many: first what would be done to whom, then how each fared.

import { html, nothing } from "../../vendor/lit.js";
import { ApiError } from "../lib/api.js";
import { sentence } from "../lib/errors.js";
import { number, plain } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { frame, open } from "./dialog.js";
import { badge } from "./parts.js";

/** How many are under way at once. */
const ABREAST = 4;

/**
 * @template T
 * @typedef {object} Job
 * @property {string} title
 * @property {import("./parts.js").Content} text What it does, before it is done.
 * @property {string} action
 * @property {boolean} [bad]
 * @property {T[]} items
 * @property {(item: T) => string} name
 * @property {(item: T) => string | null} [skip] Why it is left out, or null.
 * @property {(item: T) => Promise<unknown>} send Gives a text where there is something to say of it.
 * @property {(done: T[]) => void} [undo] Takes it back for these.
 * @property {() => import("./parts.js").Content} [extra] Something to be chosen first.
 * @property {() => boolean} [ready] Whether it was.
 */

/**
 * Shows whom it concerns, does it when that is confirmed, and shows what became of each.
 * @template T
 * @param {Job<T>} job
 * @returns {Promise<T[]>} Those for which it was done.
 */
export async function bulk(job) {
  /** @type {{ item: T, name: string, state: "skipped" | "waiting" | "running" | "done" | "failed", said: string }[]} */
  const rows = job.items.map((item) => {
    const skip = job.skip?.(item) ?? null;
    return { item, name: job.name(item), state: skip === null ? "waiting" : "skipped", said: skip ?? "" };
  });
  const meant = rows.filter(({ state }) => state === "waiting");
  /** @type {"asking" | "running" | "over"} */
  let phase = "asking";
  let stopped = false;

  const dialog = open((close, titleId) => draw(close, titleId), { role: "dialog" });

  async function start() {
    phase = "running";
    dialog.draw();
    const queue = [...meant];
    const worker = async () => {
      for (let row = queue.shift(); row && !stopped; row = queue.shift()) {
        row.state = "running";
        dialog.draw();
        try {
          const said = await job.send(row.item);
          row.said = typeof said === "string" ? said : "";
          row.state = "done";
        } catch (error) {
          row.state = "failed";
          row.said = sentence(error);
          // Nobody is let in any more, so nothing more will be done.
          stopped ||= error instanceof ApiError && error.kind === "unauthorised";
        }
        dialog.draw();
      }
    };
    await Promise.all(Array.from({ length: ABREAST }, worker));
    phase = "over";
    dialog.draw();
    /** @type {HTMLElement | null} */ (dialog.element.querySelector("footer .button:last-child"))?.focus();
  }

  /** @param {(value?: any) => void} close @param {string} titleId */
  function draw(close, titleId) {
    const count = (/** @type {string} */ state) => rows.filter((row) => row.state === state).length;
    const [done, failed] = [count("done"), count("failed")];
    const shown =
      phase === "asking" ? nothing : t("app.bulk.progress", { n: done + failed, of: meant.length });
    return frame(
      titleId,
      job.title,
      () => close(),
      html`<div class="stack">
        ${
          phase === "asking"
            ? html`<div>${job.text}</div>
                ${job.extra ? job.extra() : nothing}`
            : html`<div class="bulk-progress">
                <progress
                  max=${meant.length}
                  value=${done + failed}
                  aria-label=${t("app.bulk.label")}
                ></progress>
                <p role="status">
                  ${shown}${failed > 0 ? html` · ${t("app.bulk.failed", { n: failed })}` : nothing}
                </p>
              </div>`
        }
        <ul class="bulk-rows" tabindex="0" aria-label=${t("app.bulk.rows")}>
          ${rows.map(
            ({ name, state, said }) =>
              html`<li data-state=${state}>
                <span class="bulk-name">${plain(name)}</span>
                ${
                  phase === "asking" && state === "waiting"
                    ? nothing
                    : badge(
                        /** @type {Record<string, import("./parts.js").Tone>} */ ({
                          skipped: "off",
                          waiting: "unknown",
                          running: "cooling",
                          done: "ok",
                          failed: "bad",
                        })[state],
                        t(`app.bulk.state.${state}`),
                      )
                }
                ${said ? html`<small>${plain(said)}</small>` : nothing}
              </li>`,
          )}
        </ul>
      </div>`,
      phase === "asking"
        ? html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
            <button
              type="button"
              class="button ${job.bad ? "danger" : "primary"}"
              ?disabled=${meant.length === 0 || job.ready?.() === false}
              @click=${start}
            >
              ${job.action} (${number(meant.length)})
            </button>`
        : phase === "running"
          ? html`<button
              type="button"
              class="button"
              ?disabled=${stopped}
              @click=${() => {
                stopped = true;
                dialog.draw();
              }}
            >
              ${t("app.bulk.stop")}
            </button>`
          : html`${
                job.undo && done > 0
                  ? html`<button
                      type="button"
                      class="button"
                      @click=${() => {
                        close();
                        job.undo?.(rows.filter(({ state }) => state === "done").map(({ item }) => item));
                      }}
                    >
                      ${t("app.undo")}
                    </button>`
                  : nothing
              }<button type="button" class="button primary" @click=${() => close()}>
                ${t("app.close")}
              </button>`,
    );
  }

  redraws.add(dialog.draw);
  await dialog.closed;
  redraws.delete(dialog.draw);
  stopped = true;
  return rows.filter(({ state }) => state === "done").map(({ item }) => item);
}

/** Of dialogs whose `extra` changes. @type {Set<() => void>} */
const redraws = new Set();

/** Draws what is open anew, after a choice in `extra`. */
export const redraw = () => redraws.forEach((draw) => draw());
