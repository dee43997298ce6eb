// What can be made of records of the audit: rows of a table, and the way back of a change of settings.

import { same } from "./settings.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AuditRecord"]} AuditRecord */
/** @typedef {import("./settings.js").Row} Row */

/** What changes settings, each field by the setting's own key. */
const SETTINGS = ["settings.change", "settings.models"];
/** What the gateway writes for what it does not show. */
const HIDDEN = "(not shown)";
/** A longer text is cut, which ends with this. */
const CUT = "…";

/**
 * Whether the record has all that it takes to put settings back.
 * @param {AuditRecord} record
 */
export const revertible = (record) =>
  SETTINGS.includes(record.action) &&
  record.outcome === "done" &&
  record.changes.length > 0 &&
  !record.omitted &&
  record.changes.every(({ before }) => !cut(before) && before !== HIDDEN);

/** @param {unknown} value @returns {boolean} */
const cut = (value) =>
  typeof value === "string"
    ? value.endsWith(CUT)
    : value !== null && typeof value === "object" && Object.values(value).some(cut);

/**
 * One setting on its way back.
 * @typedef {object} Back
 * @property {string} key
 * @property {unknown} before What is in force now.
 * @property {unknown} after What would be: the built-in value where nothing was set.
 * @property {unknown} wish What is sent: `null` takes it out of the store.
 * @property {boolean} again Whether it was changed again since.
 */

/**
 * What putting it back changes; nothing where all of it is as it was.
 * @param {AuditRecord} record
 * @param {Row[]} rows The settings as they are.
 * @returns {Back[]}
 */
export function wayBack(record, rows) {
  const known = new Map(rows.map((row) => [row.key, row]));
  return record.changes
    .filter(({ field, before }) => !same(known.get(field)?.stored, before))
    .map(({ field, before, after }) => {
      const row = known.get(field);
      return {
        key: field,
        before: row?.value,
        after: before ?? row?.default,
        wish: before ?? null,
        again: !same(row?.stored, after),
      };
    });
}

/** The columns of a file of records. */
export const COLUMNS = [
  "number",
  "time",
  "actor",
  "actorId",
  "from",
  "action",
  "target",
  "outcome",
  "httpStatus",
  "generation",
  "requestId",
  "changes",
];

/**
 * A record as a row of those.
 * @param {AuditRecord} record
 * @returns {(string | number | null)[]}
 */
export const rowOf = (record) => [
  record.number,
  new Date(record.time).toISOString(),
  record.actor.kind,
  record.actor.id ?? null,
  record.from ?? null,
  record.action,
  record.target ?? null,
  record.outcome,
  record.httpStatus ?? null,
  record.generation ?? null,
  record.requestId ?? null,
  [
    ...record.changes.map(({ field, before, after }) => `${field}: ${shown(before)} → ${shown(after)}`),
    ...(record.omitted ? [`+${record.omitted}`] : []),
  ].join("; "),
];

/** @param {unknown} value */
const shown = (value) =>
  value === undefined || value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value);
