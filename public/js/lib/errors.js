// What failed, in the reader's language, with what the gateway said of it.

import { ApiError } from "./api.js";
import { t } from "./i18n.js";
import { masked } from "./privacy.js";
import { toast } from "./toast.js";

/**
 * A sentence for a failure.
 * @param {unknown} error
 */
export function sentence(error) {
  if (!(error instanceof ApiError)) {
    return t("app.failure.unknown");
  }
  if (error.unsure) {
    return t("app.failure.unsure");
  }
  const what = t(`app.failure.${error.kind}`, { seconds: error.retryAfter });
  return error.message ? masked(error.message) : what;
}

/** A short title for it. @param {unknown} error */
export function title(error) {
  return error instanceof ApiError ? t(`app.failure.title.${error.kind}`) : t("app.failure.title.server");
}

/**
 * A part of the console that is loaded when it is asked for; where that fails, it is said.
 * @template T
 * @param {Promise<T>} loading
 * @returns {Promise<T | undefined>}
 */
export async function part(loading) {
  try {
    return await loading;
  } catch {
    toast({ tone: "bad", text: t("app.failure.network") });
    return undefined;
  }
}
