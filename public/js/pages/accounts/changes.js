// What is done to accounts: one at a time with undo, or to many with a preview.

import { html } from "../../../vendor/lit.js";
import { pathOf } from "../../lib/accounts.js";
import { act } from "../../lib/action.js";
import { api, ApiError } from "../../lib/api.js";
import { floorAt, floorChange, withFloor } from "../../lib/floors.js";
import { percent, plain } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { masked, who } from "../../lib/privacy.js";
import { resource } from "../../lib/resource.js";
import { toast } from "../../lib/toast.js";
import { bulk, redraw } from "../../ui/bulk.js";
import { confirm } from "../../ui/dialog.js";
import "../../ui/floor.js";

/** @import { components } from "../../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */
/** @typedef {components["schemas"]["AccountLimit"]} Account */

/** The same snapshot for every replica and every tab: asking for it asks Google for nothing more. @type {import("../../lib/resource.js").Resource<AccountLimits>} */
export const accounts = resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });

/** @param {string} email @returns {Account | undefined} As it is shown now. */
export const account = (email) => accounts.peek().data?.accounts.find((one) => one.email === email);

/** The same, for what is about to be done to it: that nobody has removed it meanwhile. @param {string} email */
function present(email) {
  const one = account(email);
  if (!one) {
    throw new ApiError("notFound", 404, "");
  }
  return one;
}

/** Of the desktop installation that has it; nothing here changes or removes its credential. @param {Account} one */
export const readOnly = (one) => one.source === "database";

/**
 * Switches an account; the list shows it at once, and it can be undone.
 * @param {string} email
 * @param {boolean} enabled
 * @returns {Promise<boolean>}
 */
export function enable(email, enabled) {
  return act({
    on: accounts,
    send: () => api(`${pathOf(email)}/toggle`, { body: { enabled } }),
    show: (data) => ({
      ...data,
      accounts: data.accounts.map((one) => (one.email === email ? { ...one, enabled } : one)),
    }),
    done: t(enabled ? "accounts.enabled" : "accounts.disabled", { email: who(email) }),
    undo: () => account(email) && enable(email, !enabled),
  });
}

/** @param {string} email */
export const refresh = (email) =>
  act({
    on: accounts,
    send: () => api(`${pathOf(email)}/refresh`, { method: "POST" }),
    done: t("accounts.refreshed", { email: who(email) }),
  });

/** Tries the credential once, and says how it fared. @param {string} email */
export async function verify(email) {
  /** @type {components["schemas"]["AccountTrial"] | undefined} */
  let trial;
  await act({
    on: accounts,
    send: async () => {
      trial = await api(`${pathOf(email)}/verify`, { method: "POST", timeout: 60_000 });
      toast(
        trial?.works
          ? { text: t("accounts.trial.works", { email: who(email) }) }
          : { tone: "bad", text: t("accounts.trial.not", { reason: plain(masked(trial?.reason ?? "")) }) },
      );
    },
  });
}

/** Asks first: it cannot be taken back. @param {string} email */
export async function remove(email) {
  const meant = await confirm({
    title: t("accounts.delete.title", { email: who(email) }),
    text: t("accounts.delete.text"),
    action: t("accounts.delete.action"),
    tone: "bad",
  });
  return (
    meant &&
    act({
      on: accounts,
      send: () => api(pathOf(email), { method: "DELETE" }),
      show: (data) => ({ ...data, accounts: data.accounts.filter((one) => one.email !== email) }),
      done: t("accounts.deleted", { email: who(email) }),
    })
  );
}

/** @param {string} email @param {string | null} model @param {number | null} value */
const patch = (email, model, value) =>
  api(pathOf(email), { method: "PATCH", body: floorChange(model, value) });

/**
 * Sets a threshold, or with `null` takes it away, so that it is inherited.
 * @param {string} email
 * @param {string | null} model
 * @param {number | null} value
 * @returns {Promise<boolean>}
 */
export function setFloor(email, model, value) {
  const one = account(email);
  if (!one) {
    return Promise.resolve(false);
  }
  const before = floorAt(one, model, 0).own;
  return act({
    on: accounts,
    send: () => patch(email, model, value),
    show: (data) => withFloor(data, new Set([email]), model, value),
    done: t(value === null ? "accounts.floor.taken" : "accounts.floor.set", {
      what: model ?? who(email),
      value: percent(value),
    }),
    undo: () => setFloor(email, model, before),
  });
}

/**
 * Asks for a threshold and sets it for many.
 * @param {string[]} emails
 * @param {string | null} model
 * @param {number | null} [first] What is proposed.
 */
export async function floorForAll(emails, model, first = 0.1) {
  let chosen = first;
  /** @type {Map<string, number | null>} */
  const before = new Map();
  const pool = accounts.peek().data?.globalQuotaThreshold ?? 0;
  const what = model ?? t("accounts.floor.every");
  await bulk({
    title: t("accounts.floor.all", { what }),
    text: t("accounts.floor.all.text", { what }),
    action: t("accounts.floor.all.action"),
    items: emails,
    name: who,
    skip: (email) => (account(email) ? null : t("app.failure.notFound")),
    extra: () =>
      html`<x-floor
        .label=${t("accounts.threshold")}
        .own=${chosen}
        .inherited=${pool}
        .from=${t("accounts.floor.from.pool")}
        @floor=${(/** @type {CustomEvent<number | null>} */ event) => {
          chosen = event.detail;
          redraw();
        }}
      ></x-floor>`,
    send: async (email) => {
      before.set(email, floorAt(present(email), model, 0).own);
      await patch(email, model, chosen);
    },
    undo: (done) =>
      bulk({
        title: t("accounts.floor.back"),
        text: t("accounts.floor.back.text"),
        action: t("app.undo"),
        items: done,
        name: who,
        send: async (email) => {
          present(email);
          await patch(email, model, before.get(email) ?? null);
        },
      }).then(accounts.reload),
  });
  await accounts.reload();
}

/** @param {string[]} emails @param {boolean} enabled */
export async function enableAll(emails, enabled) {
  const change = (/** @type {boolean} */ on) => (/** @type {string} */ email) =>
    api(`${pathOf(email)}/toggle`, { body: { enabled: on } });
  const names = enabled ? "enable" : "disable";
  await bulk({
    title: t(`accounts.bulk.${names}.title`),
    text: t(`accounts.bulk.${names}.text`),
    action: t(`accounts.bulk.${names}`),
    items: emails,
    name: who,
    skip: (email) => (account(email)?.enabled === enabled ? t(`accounts.bulk.${names}.already`) : null),
    send: change(enabled),
    undo: async (done) => {
      await act({
        on: accounts,
        send: () => Promise.all(done.map(change(!enabled))),
        done: t("accounts.bulk.undone", { n: done.length }),
      });
    },
  });
  await accounts.reload();
}

/** @param {string[]} emails */
export async function refreshAll(emails) {
  await bulk({
    title: t("accounts.bulk.refresh.title"),
    text: t("accounts.bulk.refresh.text"),
    action: t("accounts.action.refresh"),
    items: emails,
    name: who,
    send: (email) => api(`${pathOf(email)}/refresh`, { method: "POST" }).then(() => undefined),
  });
  await accounts.reload();
}

/** @param {string[]} emails */
export async function verifyAll(emails) {
  await bulk({
    title: t("accounts.bulk.verify.title"),
    text: t("accounts.bulk.verify.text"),
    action: t("accounts.action.verify"),
    items: emails,
    name: who,
    send: async (email) => {
      const trial = await api(`${pathOf(email)}/verify`, { method: "POST", timeout: 60_000 });
      return trial.works
        ? t("accounts.trial.works", { email: who(email) })
        : t("accounts.trial.not", { reason: masked(trial.reason ?? "") });
    },
  });
  await accounts.reload();
}

/** @param {string[]} emails */
export async function removeAll(emails) {
  await bulk({
    title: t("accounts.bulk.delete.title"),
    text: t("accounts.delete.text"),
    action: t("accounts.delete.action"),
    bad: true,
    items: emails,
    name: who,
    skip: (email) => {
      const one = account(email);
      return one && readOnly(one) ? t("accounts.delete.readOnly") : null;
    },
    send: (email) => api(pathOf(email), { method: "DELETE" }).then(() => undefined),
  });
  await accounts.reload();
}
