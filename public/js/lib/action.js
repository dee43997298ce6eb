// Changes: shown at once, taken back when the gateway refuses, and undone for ten seconds after.

import { ApiError } from "./api.js";
import { sentence } from "./errors.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";

/**
 * @template T
 * @typedef {object} Change
 * @property {() => Promise<unknown>} send Asks the gateway for it.
 * @property {import("./resource.js").Resource<T>} [on] What shows it.
 * @property {(data: T) => T} [show] What that looks like, before the gateway has answered.
 * @property {string} [done] What to say then.
 * @property {() => void} [undo] Takes it back; offered beside `done`.
 */

/**
 * Makes a change. The view shows it at once; a failure takes it off again and says why.
 * @template T
 * @param {Change<T>} change
 * @returns {Promise<boolean>} Whether it was made.
 */
export async function act({ send, on, show, done, undo }) {
  const off = on && show ? on.overlay(show) : undefined;
  try {
    await send();
    if (done) {
      toast({ text: done, action: undo && { label: t("app.undo"), run: undo } });
    }
    // Only what the gateway says from now on knows of it.
    await on?.reload();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError && (error.kind === "unauthorised" || error.kind === "aborted"))) {
      toast({ tone: "bad", text: sentence(error) });
    }
    return false;
  } finally {
    off?.();
  }
}
