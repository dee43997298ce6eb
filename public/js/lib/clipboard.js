// Copying, also where the browser has no clipboard for us: without TLS there is none off this machine.

import { t } from "./i18n.js";
import { toast } from "./toast.js";

/**
 * Copies a text and says so.
 * @param {string} text
 * @param {string} [what] Said then instead of "Copied".
 * @returns {Promise<boolean>}
 */
export async function copy(text, what) {
  const done = (await modern(text)) || classic(text);
  toast(done ? { text: what ?? t("app.copied") } : { tone: "bad", text: t("app.copyFailed") });
  return done;
}

/** @param {string} text */
async function modern(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} text */
function classic(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  // Inside an open dialog, or its focus trap takes the selection away.
  const place = document.querySelector("dialog[open]:last-of-type") ?? document.body;
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  place.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
