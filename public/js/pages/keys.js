// Keys: who may call the model API, each with a secret that is shown once.

import { html, nothing, repeat } from "../../vendor/lit.js";
import { act } from "../lib/action.js";
import { api } from "../lib/api.js";
import { now } from "../lib/clock.js";
import { sentence } from "../lib/errors.js";
import { dateTime, plain } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { masked } from "../lib/privacy.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { matches, sorted, turned } from "../lib/rows.js";
import { toast } from "../lib/toast.js";
import { define, loadStyle, View } from "../lib/view.js";
import { confirm, frame, open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { badge, chip, empty, head, searchField, segments, sortable, whole } from "../ui/parts.js";
import { snippet } from "../ui/snippet.js";
import "../ui/menu.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["KeyList"]} KeyList */
/** @typedef {components["schemas"]["StoredKey"]} StoredKey */
/** @typedef {components["schemas"]["KeyTold"]} KeyTold */
/** @typedef {KeyList["keys"][number]} Key */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */

export const tag = "page-keys";

loadStyle("pages/keys");

/** @type {import("../lib/resource.js").Resource<KeyList>} */
const keys = resource("api/keys", { events: ["key"] });
/** @type {import("../lib/resource.js").Resource<AccountLimits>} */
const limits = resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });

const DAY_MS = 86_400_000;
const SOON_MS = 14 * DAY_MS;
const GROUPS = /** @type {const} */ (["active", "expired", "revoked", "all"]);
/** @type {Record<Key["state"], import("../ui/parts.js").Tone>} */
const TONES = { active: "ok", expired: "warn", revoked: "off" };

/** @param {Key} key @returns {StoredKey | null} */
const stored = (key) => (key.source === "store" ? /** @type {StoredKey} */ (key) : null);

/** @type {import("../lib/rows.js").Columns<Key>} */
const COLUMNS = {
  name: (key) => key.name,
  state: (key) => ["active", "expired", "revoked"].indexOf(key.state),
  models: (key) => key.models.join(" "),
  used: (key) => stored(key)?.lastUsedAt,
  expires: (key) => stored(key)?.expiresAt,
  created: (key) => stored(key)?.createdAt,
};

const at = (/** @type {Key} */ key, tail = "") => `api/keys/${encodeURIComponent(key.id)}${tail}`;

class KeysPage extends View {
  render() {
    return html`<div class="stack">
      ${head(
        t("keys.title"),
        t("keys.about"),
        html`<button type="button" class="button primary" @click=${() => edit(null)}>
          ${icon("plus")}${t("keys.create")}
        </button>`,
      )}
      ${whole(keys, (data) => this.list(data))}
    </div>`;
  }

  /** @param {KeyList} data */
  list(data) {
    const { query } = route.get();
    const [search, group, order] = [
      query.get("q") ?? "",
      query.get("state") ?? "active",
      query.get("sort") ?? "name",
    ];
    const found = data.keys.filter(
      (key) => search === "" || matches(search, [key.name, key.id, ...key.models]),
    );
    const within = (/** @type {Key} */ key, /** @type {string} */ name) =>
      name === "all" || key.state === name;
    const shown = sorted(
      found.filter((key) => within(key, group)),
      order,
      COLUMNS,
      language.get(),
    );
    if (data.keys.length === 0) {
      return html`${data.open ? this.open() : nothing}
      ${empty({
        icon: "keys",
        title: t("keys.empty.title"),
        text: t("keys.empty.text"),
        action: html`<button type="button" class="button primary" @click=${() => edit(null)}>
          ${icon("plus")}${t("keys.create")}
        </button>`,
      })}`;
    }
    const choices = GROUPS.map((value) => ({
      value,
      label: t(`keys.group.${value}`),
      count: found.filter((key) => within(key, value)).length,
    }));
    return html`
      ${data.open ? this.open() : nothing}
      <div class="tools">
        ${searchField(t("keys.search"), search, (q) => ask({ q }))}
        ${segments(t("keys.filter"), choices, group, (state) => ask({ state: state === "active" ? null : state }, {}))}
        <span class="unseen" role="status">${t("keys.count", { n: shown.length })}</span>
      </div>
      ${
        shown.length === 0
          ? empty({
              icon: "search",
              title: t("keys.none"),
              action: html`<button
                type="button"
                class="button"
                @click=${() => ask({ q: null, state: "all" }, {})}
              >
                ${t("keys.showAll")}
              </button>`,
            })
          : this.table(shown, order)
      }
    `;
  }

  open() {
    return html`<div class="notice" data-tone="warn" role="status">
      ${icon("warn")}
      <p>${t("keys.open")}</p>
    </div>`;
  }

  /** @param {Key[]} shown @param {string} order */
  table(shown, order) {
    const heading = (/** @type {string} */ column, downFirst = false) =>
      sortable(t(`keys.column.${column}`), column, order, (name) =>
        ask({ sort: turned(order, name, downFirst) }, {}),
      );
    return html`<section class="panel scroll" aria-label=${t("keys.title")} tabindex="0">
      <table class="table cards keys">
        <thead>
          <tr>
            ${heading("name")} ${heading("state")} ${heading("models")} ${heading("used", true)}
            ${heading("expires")} ${heading("created", true)}
            <th scope="col"><span class="unseen">${t("keys.column.actions")}</span></th>
          </tr>
        </thead>
        <tbody>
          ${repeat(
            shown,
            (key) => key.id,
            (key) => this.row(key),
          )}
        </tbody>
      </table>
    </section>`;
  }

  /** @param {Key} key */
  row(key) {
    const own = stored(key);
    const ends = own?.expiresAt ?? null;
    const dash = html`<span class="quiet">–</span>`;
    return html`<tr>
      <th scope="row">
        <div class="keys-name">
          <span>${plain(masked(key.name))} ${own ? nothing : chip(t("keys.configured"))}</span>
          <span class="mono quiet">${key.id}</span>
        </div>
      </th>
      <td data-label=${t("keys.column.state")}>
        <div class="keys-state">
          ${badge(TONES[key.state], t(`keys.state.${key.state}`))}
          ${
            own?.previousSecretUntil && own.previousSecretUntil > now()
              ? html`<small
                  >${t("keys.grace")} <x-time mode="until" at=${own.previousSecretUntil}></x-time
                ></small>`
              : nothing
          }
        </div>
      </td>
      <td data-label=${t("keys.column.models")}>
        ${
          key.models.length === 0
            ? html`<span class="quiet">${t("keys.allModels")}</span>`
            : html`<span class="keys-models">${key.models.map((model) => chip(plain(model)))}</span>`
        }
      </td>
      <td data-label=${t("keys.column.used")} class="num nowrap quiet">
        ${
          own
            ? own.lastUsedAt
              ? html`<x-time mode="relative" at=${own.lastUsedAt}></x-time>`
              : html`<span class="quiet">${t("keys.never")}</span>`
            : html`<span class="quiet">${t("app.unknown")}</span>`
        }
      </td>
      <td data-label=${t("keys.column.expires")} class="num nowrap">
        ${
          ends === null
            ? html`<span class="quiet">${own ? t("keys.endless") : "–"}</span>`
            : key.state === "active" && ends - now() < SOON_MS
              ? badge("warn", html`<x-time mode="relative" at=${ends}></x-time>`)
              : html`<x-time mode="relative" at=${ends}></x-time>`
        }
      </td>
      <td data-label=${t("keys.column.created")} class="num nowrap quiet">
        ${own ? html`<x-time mode="relative" at=${own.createdAt}></x-time>` : dash}
      </td>
      <td class="end">
        <x-menu
          .label=${t("keys.actions", { name: plain(masked(key.name)) })}
          .items=${() => this.actions(key)}
        ></x-menu>
      </td>
    </tr>`;
  }

  /** @param {Key} key @returns {import("../ui/menu.js").Item[]} */
  actions(key) {
    const own = stored(key);
    const fixed = !own || key.state === "revoked";
    return [
      {
        label: t("keys.usage"),
        icon: "usage",
        run: () => {
          location.hash = href("usage", { key: key.id });
        },
      },
      {
        label: t("keys.requests"),
        icon: "requests",
        run: () => {
          location.hash = href("requests", { key: key.name });
        },
      },
      { label: t("keys.edit"), icon: "settings", disabled: fixed, run: () => own && edit(own) },
      { label: t("keys.rotate"), icon: "refresh", disabled: fixed, run: () => own && rotate(own) },
      { label: t("keys.revoke"), icon: "close", bad: true, disabled: fixed, run: () => own && revoke(own) },
    ];
  }
}

/** @param {StoredKey} key */
async function revoke(key) {
  const name = plain(masked(key.name));
  const meant = await confirm({
    title: t("keys.revoke.title", { name }),
    text: t("keys.revoke.text"),
    action: t("keys.revoke.action"),
    tone: "bad",
  });
  if (meant) {
    await act({
      on: keys,
      send: () => api(at(key, "/revoke"), { method: "POST" }),
      show: (data) => ({
        ...data,
        keys: data.keys.map((one) =>
          one.id === key.id
            ? { .../** @type {StoredKey} */ (one), state: /** @type {const} */ ("revoked") }
            : one,
        ),
      }),
      done: t("keys.revoked", { name }),
    });
  }
}

/** Shows a secret, this once. @param {KeyTold} told */
function tell(told) {
  open((close, titleId) =>
    frame(
      titleId,
      t("keys.secret.title", { name: plain(masked(told.key.name)) }),
      () => close(),
      html`<div class="stack">
        ${
          told.first
            ? html`<div class="notice" data-tone="warn">
                ${icon("warn")}
                <p>${t("keys.secret.first")}</p>
              </div>`
            : nothing
        }
        <p>${t("keys.secret.text")}</p>
        ${snippet(told.secret, t("keys.secret"))}
        <p class="quiet">${t("keys.secret.use")}</p>
        ${snippet(`export ANTHROPIC_AUTH_TOKEN=${told.secret}`, t("keys.secret.shell"))}
      </div>`,
      html`<a class="button" href=${href("connect")} @click=${() => close()}>${t("keys.secret.connect")}</a>
        <button type="button" class="button primary" @click=${() => close()}>
          ${t("keys.secret.done")}
        </button>`,
    ),
  );
}

/** @param {StoredKey} key */
function rotate(key) {
  let wrong = "";
  let busy = false;
  const dialog = open((close, titleId) =>
    frame(
      titleId,
      t("keys.rotate.title", { name: plain(masked(key.name)) }),
      () => close(),
      html`<form
        id="${titleId}-form"
        @submit=${async (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          if (busy) {
            // A second time would end the secret that there is grace for.
            return;
          }
          const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
          busy = true;
          dialog.draw();
          try {
            const told = await api(at(key, "/rotate"), { body: { graceMs: Number(given.get("grace")) } });
            close();
            tell(told);
            await keys.reload();
          } catch (error) {
            wrong = sentence(error);
            busy = false;
            dialog.draw();
          }
        }}
      >
        <p>${t("keys.rotate.text")}</p>
        <label class="field"
          ><span>${t("keys.rotate.grace")}</span
          ><select class="select" name="grace">
            <option value="0">${t("keys.rotate.none")}</option>
            <option value="3600000">${t("keys.rotate.hours", { n: 1 })}</option>
            <option value="86400000" selected>${t("keys.rotate.hours", { n: 24 })}</option>
            <option value="604800000">${t("keys.rotate.days", { n: 7 })}</option>
            <option value="2592000000">${t("keys.rotate.days", { n: 30 })}</option>
          </select></label
        >
        ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}${wrong}</p>` : nothing}
      </form>`,
      html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
        <button type="submit" form="${titleId}-form" class="button primary" ?disabled=${busy}>
          ${t("keys.rotate.action")}
        </button>`,
    ),
  );
}

/**
 * Changes a key; what was changed, and no more, can be undone.
 * @param {StoredKey} key As it was.
 * @param {{ name?: string, models?: string[] | null, expiresAt?: null, expiresInDays?: number }} wish
 */
async function change(key, wish) {
  if (Object.keys(wish).length === 0) {
    return;
  }
  const was = { name: key.name, models: key.models.length > 0 ? key.models : null };
  /** @type {Record<string, unknown>} */
  const before = Object.fromEntries(Object.entries(was).filter(([field]) => field in wish));
  if ("expiresAt" in wish || "expiresInDays" in wish) {
    before.expiresAt = key.expiresAt ?? null;
  }
  await api(at(key), { method: "PATCH", body: wish });
  toast({
    text: t("keys.edited", { name: plain(masked(wish.name ?? key.name)) }),
    action: {
      label: t("app.undo"),
      run: () =>
        act({
          on: keys,
          send: () => api(at(key), { method: "PATCH", body: before }),
          done: t("keys.edited", { name: plain(masked(key.name)) }),
        }),
    },
  });
}

/** A new key, or another name, models and end of one. @param {StoredKey | null} key */
function edit(key) {
  let wrong = "";
  let busy = false;
  const models = () => limits.peek().data?.models ?? [];
  const dialog = open((close, titleId) =>
    frame(
      titleId,
      key ? t("keys.edit.title", { name: plain(masked(key.name)) }) : t("keys.create.title"),
      () => close(),
      html`<form
        id="${titleId}-form"
        @submit=${async (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          if (busy) {
            return;
          }
          const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
          const name = String(given.get("name")).trim();
          const wish = String(given.get("models"))
            .split(/[\s,]+/)
            .filter(Boolean);
          const ends = String(given.get("ends"));
          const end = ["never", "same"].includes(ends) ? {} : { expiresInDays: Number(ends) };
          busy = true;
          wrong = "";
          dialog.draw();
          try {
            if (key) {
              await change(key, {
                // What was left as it was is not sent: somebody else may have changed it meanwhile.
                ...(name === key.name ? {} : { name }),
                ...(wish.join() === key.models.join() ? {} : { models: wish.length > 0 ? wish : null }),
                ...(ends === "never" && key.expiresAt ? { expiresAt: null } : end),
              });
              close();
            } else {
              const told = await api("api/keys", { body: { name, models: wish, ...end } });
              close();
              tell(told);
            }
            await keys.reload();
          } catch (error) {
            wrong = sentence(error);
            busy = false;
            dialog.draw();
          }
        }}
      >
        <label class="field"
          ><span>${t("keys.form.name")}</span
          ><input
            class="input"
            name="name"
            required
            maxlength="64"
            autocomplete="off"
            .defaultValue=${key?.name ?? ""}
        /></label>
        <label class="field"
          ><span>${t("keys.form.models")}</span
          ><textarea
            class="textarea mono"
            name="models"
            rows="3"
            spellcheck="false"
            aria-describedby="${titleId}-models"
            .defaultValue=${key?.models.join("\n") ?? ""}
          ></textarea>
        </label>
        <p class="quiet" id="${titleId}-models">
          ${t("keys.form.modelsHint")}
          ${
            models().length > 0
              ? t("keys.form.modelsLike", { models: plain(models().slice(0, 6).join(", ")) })
              : nothing
          }
        </p>
        <label class="field"
          ><span>${t("keys.form.ends")}</span
          ><select class="select" name="ends">
            ${
              key?.expiresAt
                ? html`<option value="same" selected>
                    ${t("keys.form.same", { date: dateTime(key.expiresAt) })}
                  </option>`
                : nothing
            }
            <option value="never" ?selected=${!key?.expiresAt}>${t("keys.endless")}</option>
            ${[7, 30, 90, 365].map((n) => html`<option value=${n}>${t("keys.form.days", { n })}</option>`)}
          </select></label
        >
        ${wrong ? html`<p class="form-error" role="alert">${icon("bad")}${wrong}</p>` : nothing}
      </form>`,
      html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
        <button type="submit" form="${titleId}-form" class="button primary" ?disabled=${busy}>
          ${key ? t("keys.form.save") : t("keys.create")}
        </button>`,
    ),
  );
  /** @type {HTMLElement | null} */ (dialog.element.querySelector("input"))?.focus();
  if (models().length === 0) {
    // Nothing on this page has asked for them.
    limits.reload().then(() => dialog.element.open && dialog.draw());
  }
}

define(tag, KeysPage);
