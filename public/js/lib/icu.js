// The part of ICU's message format that the messages use: {name}, {n, number}, {n, plural, …}, {x, select, …}.

/** @typedef {(values: Record<string, unknown>) => string} Message */
/**
 * @typedef {string | { name: string, kind: "text" | "number" | "hash" }
 *   | { name: string, kind: "plural" | "select", branches: Map<string, Part[]> }} Part
 */

/** @type {Map<string, Message>} */
const compiled = new Map();

/**
 * @param {string} text
 * @param {string} language
 * @returns {Message}
 */
export function compile(text, language) {
  const key = `${language}\n${text}`;
  let message = compiled.get(key);
  if (!message) {
    const parts = parse(text);
    const numbers = new Intl.NumberFormat(language);
    const plurals = new Intl.PluralRules(language);
    message = (values) => say(parts, values, 0, numbers, plurals);
    compiled.set(key, message);
  }
  return message;
}

/**
 * @param {Part[]} parts
 * @param {Record<string, unknown>} values
 * @param {number} count What `#` stands for.
 * @param {Intl.NumberFormat} numbers
 * @param {Intl.PluralRules} plurals
 * @returns {string}
 */
function say(parts, values, count, numbers, plurals) {
  let said = "";
  for (const part of parts) {
    if (typeof part === "string") {
      said += part;
      continue;
    }
    const value = values[part.name];
    if ("branches" in part) {
      const n = part.kind === "plural" ? Number(value) : count;
      const rule = part.kind === "plural" ? plurals.select(n) : String(value);
      const branch =
        part.branches.get(`=${String(value)}`) ?? part.branches.get(rule) ?? part.branches.get("other");
      said += say(branch ?? [], values, n, numbers, plurals);
    } else if (part.kind === "text") {
      said += value ?? `{${part.name}}`;
    } else if (part.kind === "number") {
      said += numbers.format(Number(value));
    } else {
      said += numbers.format(count);
    }
  }
  return said;
}

/**
 * @param {string} text
 * @returns {Part[]}
 * @throws {SyntaxError}
 */
export function parse(text) {
  let at = 0;
  /** @param {string} what @returns {never} */
  const fail = (what) => {
    throw new SyntaxError(`${what} at ${at} of ${JSON.stringify(text)}`);
  };
  const space = () => {
    while (/\s/.test(text[at] ?? "")) {
      at += 1;
    }
  };
  const word = () => {
    space();
    const found = /^[\w=.-]+/.exec(text.slice(at))?.[0] ?? fail("a name is missing");
    at += found.length;
    space();
    return found;
  };
  /** @param {string} mark */
  const take = (mark) => {
    if (text[at] !== mark) {
      fail(`${mark} is missing`);
    }
    at += 1;
  };
  /** @param {boolean} plural @param {boolean} inner @returns {Part[]} */
  const parts = (plural, inner) => {
    /** @type {Part[]} */
    const found = [];
    let plain = "";
    const flush = () => {
      if (plain) {
        found.push(plain);
        plain = "";
      }
    };
    while (at < text.length) {
      const mark = text[at];
      if (mark === "}") {
        if (!inner) {
          fail("} closes nothing");
        }
        break;
      } else if (mark === "{") {
        flush();
        found.push(argument(plural));
      } else if (mark === "#" && plural) {
        flush();
        found.push({ name: "#", kind: "hash" });
        at += 1;
      } else {
        plain += mark;
        at += 1;
      }
    }
    flush();
    return found;
  };
  /** @param {boolean} plural @returns {Part} */
  const argument = (plural) => {
    take("{");
    const name = word();
    if (text[at] === "}") {
      at += 1;
      return { name, kind: "text" };
    }
    take(",");
    const kind = word();
    if (kind === "number") {
      take("}");
      return { name, kind };
    }
    if (kind !== "plural" && kind !== "select") {
      return fail(`${kind} is unknown`);
    }
    take(",");
    space();
    const branches = new Map();
    while (text[at] !== "}") {
      const branch = word();
      take("{");
      branches.set(branch, parts(plural || kind === "plural", true));
      take("}");
      space();
    }
    take("}");
    if (!branches.has("other")) {
      fail("other is missing");
    }
    return { name, kind, branches };
  };
  return parts(false, false);
}
