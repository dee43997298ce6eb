// Settings as a form has them: from texts to values and back, and what differs.

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["SettingView"]} Row */

/** The same, whatever the order of members. @param {unknown} a @param {unknown} b */
export const same = (a, b) => stable(a) === stable(b);

/** @param {unknown} value @returns {string} */
function stable(value) {
  return JSON.stringify(value ?? null, (_, inner) =>
    inner && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/**
 * A value as a field shows it; lists have an item a line.
 * @param {Row} row @param {unknown} value
 */
export function written(row, value) {
  if (value === null || value === undefined) {
    return "";
  }
  if (row.type === "array" && Array.isArray(value)) {
    return value.join("\n");
  }
  return typeof value === "object" ? JSON.stringify(value, null, 2) : String(value);
}

/**
 * What was entered. Nothing is `null`: the value goes back to what it is without this setting.
 * @param {Row} row @param {string} text
 * @returns {{ value: unknown, problem?: "number" | "whole" | "least" | "most" | "json" | "empty" }}
 */
export function entered(row, text) {
  const wish = text.trim();
  if (wish === "") {
    return { value: null };
  }
  const choice = row.enum?.find((one) => String(one) === wish);
  if (choice !== undefined) {
    return { value: choice };
  }
  switch (row.type) {
    case "boolean":
      return { value: wish === "true" };
    case "integer":
    case "number":
      return figure(row, wish);
    case "array": {
      const lines = wish
        .split(/\n/)
        .map((line) => line.trim())
        .filter(Boolean);
      if (typeof row.minimum !== "number") {
        return { value: lines };
      }
      const figures = lines.map((line) => figure(row, line));
      return {
        value: figures.map(({ value }) => value),
        problem: figures.find(({ problem }) => problem)?.problem,
      };
    }
    case "object":
      try {
        const value = JSON.parse(wish);
        return value && typeof value === "object" && !Array.isArray(value)
          ? { value }
          : { value: wish, problem: "json" };
      } catch {
        return { value: wish, problem: "json" };
      }
    default:
      return { value: wish };
  }
}

/** @param {Row} row @param {string} text @returns {ReturnType<typeof entered>} */
function figure(row, text) {
  const value = Number(text);
  if (!Number.isFinite(value)) {
    // A size such as 50mb is the gateway's to read.
    return row.unit === "bytes" && /^\d+\s*[a-z]+$/i.test(text)
      ? { value: text }
      : { value: text, problem: "number" };
  }
  if (row.type === "integer" && !Number.isInteger(value)) {
    return { value, problem: "whole" };
  }
  if (typeof row.minimum === "number" && value < row.minimum) {
    return { value, problem: "least" };
  }
  const beyond =
    (typeof row.maximum === "number" && value > row.maximum) ||
    (typeof row.exclusiveMaximum === "number" && value >= row.exclusiveMaximum);
  return beyond ? { value, problem: "most" } : { value };
}

/**
 * A document in the shape of the file, as dotted keys. Only what is a setting of `keys` is taken apart no further.
 * @param {Record<string, any>} config @param {Set<string>} keys @param {string} [prefix]
 * @returns {[string, unknown][]}
 */
export function flat(config, keys, prefix = "") {
  return Object.entries(config).flatMap(([name, value]) => {
    const key = prefix + name;
    const inner = value && typeof value === "object" && !Array.isArray(value) && !keys.has(key);
    return inner ? flat(value, keys, `${key}.`) : [/** @type {[string, unknown]} */ ([key, value])];
  });
}

/**
 * The way back.
 * @param {[string, unknown][]} pairs
 * @returns {Record<string, any>}
 */
export function nested(pairs) {
  /** @type {Record<string, any>} */
  const document = {};
  for (const [key, value] of pairs) {
    const names = key.split(".");
    const last = /** @type {string} */ (names.pop());
    let place = document;
    for (const name of names) {
      place = place[name] ??= {};
    }
    place[last] = value;
  }
  return document;
}

/** @typedef {{ text: string } & ReturnType<typeof entered>} Wish What a field holds, and what it means. */

/** A set of settings that is being put together. What it names and nobody knows goes along untouched. */
export class Draft {
  /** @param {Row[]} rows @param {Record<string, any>} config In the shape of the file. */
  constructor(rows, config) {
    this.rows = new Map(rows.map((row) => [row.key, row]));
    /** @type {Map<string, Wish>} */
    this.values = new Map();
    /** @type {[string, unknown][]} */
    this.unknown = [];
    this.take(config);
  }

  /** Begins anew with this. @param {Record<string, any>} config */
  take(config) {
    this.values.clear();
    this.unknown = [];
    for (const [key, value] of flat(config, new Set(this.rows.keys()))) {
      const row = this.rows.get(key);
      if (row) {
        const text = written(row, value);
        this.values.set(key, { text, ...entered(row, text), value });
      } else {
        this.unknown.push([key, value]);
      }
    }
  }

  /** @param {string} key @param {string} text Nothing is wrong here: what is not to be set is left out. */
  enter(key, text) {
    const row = this.rows.get(key);
    if (row) {
      const wish = entered(row, text);
      this.values.set(key, { text, ...wish, ...(wish.value === null ? { problem: "empty" } : {}) });
    }
  }

  /** With what is in force. @param {string} key */
  add(key) {
    const row = this.rows.get(key);
    if (row) {
      this.enter(key, written(row, row.value ?? row.default));
    }
  }

  /** Whether something cannot be as it was entered. */
  get wrong() {
    return [...this.values.values()].some(({ problem }) => problem);
  }

  /** The keys whose values are not those in force. */
  differing() {
    return [...this.values]
      .filter(([key, { value, problem }]) => !problem && !same(value, this.rows.get(key)?.value))
      .map(([key]) => key);
  }

  /** In the shape of the file. */
  config() {
    return nested([
      ...[...this.values].map(([key, { value }]) => /** @type {[string, unknown]} */ ([key, value])),
      ...this.unknown,
    ]);
  }
}
