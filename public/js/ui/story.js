// One log line in full, and the lines of one request.

import { html, nothing } from "../../vendor/lit.js";
import { plain } from "../lib/format.js";
import { masked } from "../lib/privacy.js";
import { badge } from "./parts.js";

/** @typedef {import("../lib/tail.js").LogLine} LogLine */

/** @type {Record<LogLine["level"], import("./parts.js").Tone>} */
export const LEVELS = { ERROR: "bad", WARN: "warn", SUCCESS: "ok", INFO: "info", DEBUG: "off" };

/** A text that came from elsewhere, as it may be shown. @param {unknown} value */
export const shown = (value) => plain(masked(typeof value === "string" ? value : JSON.stringify(value)));

/** @param {LogLine} line */
export const level = (line) => badge(LEVELS[line.level] ?? "info", line.level);

/** The time of day, with milliseconds, in UTC as it was written. @param {string} timestamp */
export const clock = (timestamp) => timestamp.slice(11, 23);

/** @param {LogLine} line */
export const fields = (line) => html`
  <dl class="facts">
    ${Object.entries(line.fields ?? {}).map(
      ([name, value]) =>
        html`<dt class="mono">${plain(name)}</dt>
          <dd class="mono">${shown(value)}</dd>`,
    )}
  </dl>
`;

/** The lines of a request, the oldest first. @param {LogLine[]} all @param {string} details What opens the fields of one. */
export const lines = (all, details) => html`
  <ol class="story">
    ${all.map(
      (line) =>
        html`<li>
          <div class="story-head">
            <time class="mono num" datetime=${line.timestamp} title=${line.timestamp}
              >${clock(line.timestamp)}</time
            >
            ${level(line)}
          </div>
          <p class="mono">${shown(line.summary)}</p>
          ${
            Object.keys(line.fields ?? {}).length > 0
              ? html`<details>
                  <summary>${details}</summary>
                  ${fields(line)}
                </details>`
              : nothing
          }
        </li>`,
    )}
  </ol>
`;

/** What a summary says already, or what is the same in every line. */
const DULL = new Set(["outcome", "status", "method", "route", "peer", "session", "client.key.id", "stream"]);

/** The fields of a line in few words. @param {LogLine} line */
export const few = (line) =>
  Object.entries(line.fields ?? {})
    .filter(([name]) => !DULL.has(name))
    .map(([name, value]) => `${name}=${shown(value)}`)
    .join("  ");
