// Messages in the reader's language: ICU's arguments, plurals and choices, one file per page and language.

import { signal } from "./signal.js";
import { compile } from "./icu.js";

/** The languages there are, by their own names. */
export const LANGUAGES = /** @type {const} */ ({
  en: "English",
  "zh-CN": "简体中文",
  id: "Bahasa Indonesia",
  "pt-BR": "Português (Brasil)",
  tr: "Türkçe",
});

/** @typedef {keyof typeof LANGUAGES} Language */
/** @typedef {Record<string, string>} Messages */

/** The language of what is shown. */
export const language = signal(/** @type {Language} */ ("en"));

/** @type {Map<string, Messages>} `<language>/<namespace>` → messages. */
const loaded = new Map();
/** @type {Map<string, Promise<void>>} */
const loading = new Map();
/** Namespaces in use: what a change of the language has to load. */
const wanted = new Set(["app"]);
/** Changes when messages come in late. */
const arrived = signal(0);

/** @param {string} code @param {string} namespace */
function load(code, namespace) {
  const name = `${code}/${namespace}`;
  let promise = loading.get(name);
  if (!promise) {
    promise = fetch(new URL(`i18n/${name}.json`, document.baseURI))
      .then((response) => (response.ok ? response.json() : {}))
      .then((texts) => {
        loaded.set(name, texts);
      })
      .catch(() => {
        // Asked for again next time; until then the keys' English, or the keys, are shown.
        loading.delete(name);
      });
    loading.set(name, promise);
  }
  return promise;
}

/**
 * Loads a namespace in the present language.
 * @param {...string} namespaces
 */
export async function messages(...namespaces) {
  namespaces.forEach((namespace) => wanted.add(namespace));
  await Promise.all(namespaces.map((namespace) => load(language.peek(), namespace)));
}

/**
 * Says everything in another language.
 * @param {Language} code
 * @param {...string} namespaces What will be needed, too.
 */
export async function speak(code, ...namespaces) {
  namespaces.forEach((namespace) => wanted.add(namespace));
  await Promise.all([...wanted].map((namespace) => load(code, namespace)));
  language.set(code);
  document.documentElement.lang = code;
}

/**
 * The language to begin with: the one that was chosen, else the first that the browser asks for and there is.
 * @param {string | null} chosen
 * @param {readonly string[]} asked
 * @returns {Language}
 */
export function choose(chosen, asked) {
  const codes = /** @type {Language[]} */ (Object.keys(LANGUAGES));
  for (const wish of [chosen ?? "", ...asked]) {
    const exact = codes.find((code) => code.toLowerCase() === wish.toLowerCase());
    const near = codes.find((code) => wish && code.split("-")[0] === wish.toLowerCase().split("-")[0]);
    const found = exact ?? near;
    if (found) {
      return found;
    }
  }
  return "en";
}

/**
 * The language as dates and times are written: as in the reader's own country where that speaks it.
 * @param {readonly string[]} [asked]
 */
export function region(asked = globalThis.navigator?.languages ?? []) {
  const code = language.get();
  return asked.find((tag) => tag === code || tag.startsWith(`${code}-`)) ?? code;
}

/**
 * A message: `t("accounts.count", { n: 3 })`. What is before the first dot names the file.
 * @param {string} key
 * @param {Record<string, unknown>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const code = language.get();
  arrived.get();
  const namespace = key.slice(0, key.indexOf("."));
  const text = loaded.get(`${code}/${namespace}`)?.[key];
  if (text !== undefined) {
    return compile(text, code)(values);
  }
  const english = loaded.get(`en/${namespace}`)?.[key];
  if (english !== undefined) {
    return compile(english, "en")(values);
  }
  if (!loaded.has(`en/${namespace}`)) {
    load("en", namespace).then(() => arrived.set(arrived.peek() + 1));
  }
  return key;
}

/**
 * Whether there is such a message, in any language that is loaded.
 * @param {string} key
 */
export function has(key) {
  const namespace = key.slice(0, key.indexOf("."));
  return [language.get(), "en"].some((code) => loaded.get(`${code}/${namespace}`)?.[key] !== undefined);
}

/**
 * Puts messages in place without fetching them; for tests.
 * @param {string} code
 * @param {string} namespace
 * @param {Messages} texts
 */
export function provide(code, namespace, texts) {
  loaded.set(`${code}/${namespace}`, texts);
}
