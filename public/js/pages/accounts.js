// Accounts: each with its state and why, what is left of its quotas, and its switch.

import { guard, html, nothing } from "../../vendor/lit.js";
import { OWNED, STATES, spentUntil, stateOf, tightest } from "../lib/accounts.js";
import { act } from "../lib/action.js";
import { access, api } from "../lib/api.js";
import { part } from "../lib/errors.js";
import { floorAt, floorOf } from "../lib/floors.js";
import { dateTime, percent, plain } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { prefs } from "../lib/prefs.js";
import { masked, who } from "../lib/privacy.js";
import { resource } from "../lib/resource.js";
import { ask, route } from "../lib/router.js";
import { matches, sorted, turned } from "../lib/rows.js";
import { define, loadStyle, View } from "../lib/view.js";
import { frame, open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import {
  badge,
  empty,
  chip,
  head,
  meter,
  searchField,
  segments,
  sortable,
  toggle,
  whole,
  words,
} from "../ui/parts.js";
import { Sight } from "../ui/sight.js";
import "../ui/floor.js";
import "../ui/menu.js";
import "../ui/views.js";
import {
  accounts,
  enable,
  enableAll,
  floorForAll,
  readOnly,
  refresh,
  refreshAll,
  remove,
  removeAll,
  setFloor,
  verify,
  verifyAll,
} from "./accounts/changes.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["AccountLimits"]} AccountLimits */
/** @typedef {import("../lib/accounts.js").Account} Account */

export const tag = "page-accounts";

// What is asked for by a click is loaded then.
const fixes = () => part(import("./accounts/fix.js"));
const signIns = () => part(import("./accounts/signin.js"));
const transfers = () => part(import("./accounts/transfer.js"));

loadStyle("pages/accounts");
loadStyle("pages/pool");

/** @type {import("../lib/resource.js").Resource<components["schemas"]["StatusView"]>} */
const status = resource("api/status", { every: 15_000, events: ["account", "limit", "settings", "key"] });
/** How many accounts there may be is a setting. @type {import("../lib/resource.js").Resource<any>} */
const settings = resource("api/config", { every: 60_000, events: ["settings"] });

const GROUPS = /** @type {const} */ (["all", "ready", "resting", "attention", "disabled", "unknown"]);

/** @typedef {{ account: Account } & ReturnType<typeof stateOf>} Row An account, with its state worked out once. */

/** @type {import("../lib/rows.js").Columns<Row>} */
const COLUMNS = {
  email: ({ account }) => who(account.email),
  state: ({ state }) => STATES[state].rank,
  tier: ({ account }) => TIERS[account.subscription.tier] ?? null,
  claude: ({ account }) => tightest(account, "claude")?.fraction,
  gemini: ({ account }) => tightest(account, "gemini")?.fraction,
  used: ({ account }) => account.lastUsed,
};
/** @type {Record<string, number>} */
const TIERS = { ultra: 0, pro: 1, free: 2 };

class AccountsPage extends View {
  constructor() {
    super();
    /** @type {import("../ui/dialog.js").Opened | null} */
    this.drawer = null;
    this.shown = "";
    this.sight = new Sight(this);
    /** The addresses that are picked. @type {Set<string>} */
    this.picked = new Set();
    /** Whether something that is loaded when it is asked for is being opened, or is open. */
    this.opened = false;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.drawer?.close();
  }

  updated() {
    this.detail();
  }

  render() {
    return html`<div class="stack">
      ${head(t("accounts.title"), t("accounts.about"), this.commands())}
      ${whole(accounts, (data) => this.list(data))}
    </div>`;
  }

  commands() {
    const { data } = accounts.get();
    const most = settings.get().data?.config?.maxAccounts;
    const full = typeof most === "number" && data !== undefined && data.accounts.length >= most;
    const waiting = (data?.accounts ?? []).filter((account) => OWNED.includes(stateOf(account).state));
    /** @type {import("../ui/menu.js").Item[]} */
    const more = [
      {
        label: t("accounts.command.export"),
        icon: "external",
        disabled: !data || data.accounts.length === 0,
        run: () =>
          this.once(async () =>
            (await transfers())?.exportAccounts(status.peek().data?.access.consolePassword ?? true),
          ),
      },
      {
        label: t("accounts.command.quotas"),
        icon: "capacity",
        run: () =>
          act({
            on: accounts,
            send: () => api("account-limits?refresh=true", { timeout: 30_000 }),
            done: t("accounts.quotas.done"),
          }),
      },
      {
        label: t("accounts.command.reload"),
        icon: "refresh",
        run: () =>
          act({
            on: accounts,
            send: () => api("api/accounts/reload", { method: "POST" }),
            done: t("accounts.reloaded"),
          }),
      },
    ];
    // The password is asked for where there is one.
    status.get();
    return html`${
        data && typeof most === "number"
          ? html`<span class="quiet num ${full ? "at-limit" : ""}"
              >${t("accounts.most", { n: data.accounts.length, most })}</span
            >`
          : nothing
      }
      ${
        waiting.length > 0
          ? html`<button
              type="button"
              class="button"
              @click=${() => this.mendAll(waiting.map(({ email }) => email))}
            >
              ${icon("warn")}${t("accounts.fixAll", { n: waiting.length })}
            </button>`
          : nothing
      }
      <button type="button" class="button" @click=${() => this.import()}>
        ${t("accounts.command.import")}
      </button>
      <x-menu .label=${t("accounts.command.more")} .items=${more}></x-menu>
      <button
        type="button"
        class="button primary"
        ?disabled=${full}
        title=${full ? t("accounts.full") : ""}
        @click=${() => this.add()}
      >
        ${icon("plus")}${t("accounts.command.add")}
      </button>`;
  }

  /** Opens something, whose end it waits for; another click before it is there opens it no second time. @param {() => Promise<unknown>} run */
  async once(run) {
    if (this.opened) {
      return;
    }
    this.opened = true;
    try {
      await run();
    } finally {
      this.opened = false;
    }
  }

  add() {
    return this.once(async () => {
      if (await (await signIns())?.signIn()) {
        await accounts.reload();
      }
    });
  }

  import() {
    return this.once(async () => {
      const known = accounts.peek().data?.accounts.map(({ email }) => email) ?? [];
      if (await (await transfers())?.importAccounts(known)) {
        await accounts.reload();
      }
    });
  }

  /** @param {AccountLimits} data */
  list(data) {
    if (data.accounts.length === 0) {
      return empty({
        icon: "accounts",
        title: t("accounts.empty.title"),
        text: html`${t("accounts.empty.text")} <code>antigravity-proxy accounts add</code>`,
        action: html`<button type="button" class="button primary" @click=${() => this.add()}>
            ${icon("plus")}${t("accounts.command.add")}
          </button>
          <button type="button" class="button" @click=${() => this.import()}>
            ${t("accounts.command.import")}
          </button>`,
      });
    }
    const { query } = route.get();
    const [search, group, order] = [
      query.get("q") ?? "",
      query.get("state") ?? "all",
      query.get("sort") ?? "state",
    ];
    const groupOf = (/** @type {Row} */ row) => STATES[row.state].group;
    const found = data.accounts
      .map((account) => ({ account, ...stateOf(account) }))
      .filter(
        ({ account, state, reason }) =>
          search === "" ||
          matches(search, [
            who(account.email),
            account.subscription.tier,
            account.source,
            account.projectId,
            t(`accounts.state.${state}`),
            reason,
          ]),
      );
    const shown = sorted(
      found.filter((row) => group === "all" || groupOf(row) === group),
      order,
      COLUMNS,
      language.get(),
    );
    const choices = GROUPS.map((value) => ({
      value,
      label: t(`accounts.group.${value}`),
      count: value === "all" ? found.length : found.filter((row) => groupOf(row) === value).length,
    })).filter(
      ({ value, count }) => count > 0 || value === group || ["all", "ready", "attention"].includes(value),
    );
    const there = new Set(data.accounts.map(({ email }) => email));
    const picked = [...this.picked].filter((email) => there.has(email));
    return html`
      <div class="tools">
        ${searchField(t("accounts.search"), search, (q) => ask({ q }))}
        ${segments(t("accounts.filter"), choices, group, (state) =>
          ask({ state: state === "all" ? null : state }, {}),
        )}
        <x-views></x-views>
        <span class="unseen" role="status">${t("accounts.count", { n: shown.length })}</span>
      </div>
      ${picked.length > 0 ? this.bulk(picked) : nothing}
      ${
        shown.length === 0
          ? empty({
              icon: "search",
              title: t("accounts.none.title"),
              text: t("accounts.none.text"),
              action: html`<button
                type="button"
                class="button"
                @click=${() => ask({ q: null, state: null }, {})}
              >
                ${t("accounts.none.action")}
              </button>`,
            })
          : this.table(shown, order)
      }
    `;
  }

  /** @param {() => void} change */
  pick(change) {
    change();
    this.requestUpdate();
  }

  /** What can be done to those that are picked. @param {string[]} picked */
  bulk(picked) {
    /** @type {import("../ui/menu.js").Item[]} */
    const more = [
      { label: t("accounts.action.verify"), icon: "ok", run: () => verifyAll(picked) },
      { label: t("accounts.floor.action"), icon: "capacity", run: () => floorForAll(picked, null) },
      { label: t("accounts.delete.action"), icon: "close", bad: true, run: () => removeAll(picked) },
    ];
    const button = (/** @type {string} */ label, /** @type {() => void} */ run) =>
      html`<button type="button" class="button small" @click=${run}>${label}</button>`;
    return html`<div class="bulk-bar" role="group" aria-label=${t("accounts.bulk.label")}>
      <strong role="status" class="num">${t("accounts.bulk.picked", { n: picked.length })}</strong>
      ${button(t("accounts.bulk.enable"), () => enableAll(picked, true))}
      ${button(t("accounts.bulk.disable"), () => enableAll(picked, false))}
      ${button(t("accounts.action.refresh"), () => refreshAll(picked))}
      <x-menu .label=${t("accounts.bulk.more")} .items=${more}></x-menu>
      <button type="button" class="button small ghost" @click=${() => this.pick(() => this.picked.clear())}>
        ${t("accounts.bulk.none")}
      </button>
    </div>`;
  }

  /** @param {Row[]} shown @param {string} order */
  table(shown, order) {
    const heading = (/** @type {string} */ column, downFirst = false, type = "") =>
      sortable(
        t(`accounts.column.${column}`),
        column,
        order,
        (name) => ask({ sort: turned(order, name, downFirst) }, {}),
        type,
      );
    // What rows look like beside their own data.
    const look = `${language.get()} ${prefs.get().privacy}`;
    return html`<section class="panel" aria-label=${t("accounts.title")}>
      <table class="table cards accounts" aria-rowcount=${shown.length + 1}>
        <thead>
          <tr>
            <th scope="col" class="pick">
              <input
                type="checkbox"
                aria-label=${t("accounts.bulk.all", { n: shown.length })}
                .checked=${shown.length > 0 && shown.every(({ account }) => this.picked.has(account.email))}
                .indeterminate=${
                  shown.some(({ account }) => this.picked.has(account.email)) &&
                  !shown.every(({ account }) => this.picked.has(account.email))
                }
                @change=${(/** @type {Event} */ event) => {
                  const { checked } = /** @type {HTMLInputElement} */ (event.target);
                  this.pick(() =>
                    shown.forEach(({ account }) => this.picked[checked ? "add" : "delete"](account.email)),
                  );
                }}
              />
            </th>
            ${heading("email")} ${heading("state")} ${heading("tier")} ${heading("claude")}
            ${heading("gemini")} ${heading("used", true)}
            <th scope="col">${t("accounts.column.enabled")}</th>
            <th scope="col"><span class="unseen">${t("accounts.column.actions")}</span></th>
          </tr>
        </thead>
        ${this.sight.draw(
          shown,
          ({ account }) => account.email,
          (row, index) =>
            guard([row.account, row.state, row.until, index, this.picked.has(row.account.email), look], () =>
              this.row(row, index),
            ),
          9,
        )}
      </table>
    </section>`;
  }

  /** @param {Row} row @param {number} index */
  row(row, index) {
    const { account } = row;
    const { email, enabled } = account;
    const shown = who(email);
    return html`<tr class=${enabled ? "" : "off"} aria-rowindex=${index + 2}>
      <td class="pick">
        <input
          type="checkbox"
          aria-label=${t("accounts.bulk.one", { email: shown })}
          .checked=${this.picked.has(email)}
          @change=${(/** @type {Event} */ event) => {
            const { checked } = /** @type {HTMLInputElement} */ (event.target);
            this.pick(() => this.picked[checked ? "add" : "delete"](email));
          }}
        />
      </td>
      <th scope="row">
        <button
          type="button"
          class="row-link"
          aria-haspopup="dialog"
          @click=${() => ask({ open: email }, {})}
        >
          ${shown}
        </button>
      </th>
      <td data-label=${t("accounts.column.state")}>${this.state(row)}</td>
      <td data-label=${t("accounts.column.tier")}>${this.tier(account)}</td>
      <td data-label=${t("accounts.column.claude")}>${this.left(account, "claude")}</td>
      <td data-label=${t("accounts.column.gemini")}>${this.left(account, "gemini")}</td>
      <td data-label=${t("accounts.column.used")} class="num nowrap quiet">
        ${
          account.lastUsed
            ? html`<x-time mode="relative" at=${account.lastUsed}></x-time>`
            : t("accounts.neverUsed")
        }
      </td>
      <td data-label=${t("accounts.column.enabled")}>
        ${toggle(
          t("accounts.switch", { email: shown }),
          enabled,
          (on) => enable(email, on),
          account.source === "unknown",
        )}
      </td>
      <td class="end">
        <x-menu
          .label=${t("accounts.actions", { email: shown })}
          .items=${() => this.actions(account)}
        ></x-menu>
      </td>
    </tr>`;
  }

  /** @param {Row} row */
  state({ state, until, reason }) {
    const { tone } = STATES[state];
    return html`<div class="account-state">
      ${badge(tone, t(`accounts.state.${state}`))}
      ${
        until > 0
          ? html`<small class="num nowrap"
              >${t("accounts.back")} <x-time mode="until" at=${until} over=${t("accounts.now")}></x-time
            ></small>`
          : reason && state !== "disabled"
            ? html`<small class="reason" title=${plain(reason)}>${words(plain(reason))}</small>`
            : nothing
      }
    </div>`;
  }

  /** @param {Account} account */
  tier({ subscription }) {
    const known = Object.hasOwn(TIERS, subscription.tier);
    return known
      ? chip(t(`accounts.tier.${subscription.tier}`))
      : html`<span class="quiet">${t("app.unknown")}</span>`;
  }

  /** @param {Account} account @param {"claude" | "gemini"} which */
  left(account, which) {
    const found = tightest(account, which);
    const floor = found
      ? (account.modelQuotaThresholds[found.model] ?? account.quotaThreshold ?? undefined)
      : undefined;
    return meter(
      found?.fraction,
      t("accounts.left", { model: found?.model ?? which, email: who(account.email) }),
      floor || undefined,
    );
  }

  /** @param {Account} account @returns {import("../ui/menu.js").Item[]} */
  actions(account) {
    const { email } = account;
    const mend = mendable(account);
    return [
      { label: t("accounts.action.open"), icon: "right", run: () => ask({ open: email }, {}) },
      ...(mend ? [{ label: t(mend), icon: /** @type {const} */ ("warn"), run: () => this.mend(email) }] : []),
      { label: t("accounts.action.refresh"), icon: "refresh", run: () => refresh(email) },
      { label: t("accounts.action.verify"), icon: "ok", run: () => verify(email) },
      ...(account.source === "oauth"
        ? [
            {
              label: t("accounts.action.signIn"),
              icon: /** @type {const} */ ("person"),
              run: () => this.again(email),
            },
          ]
        : []),
      {
        label: readOnly(account) ? t("accounts.delete.readOnly") : t("accounts.delete.action"),
        icon: "close",
        bad: true,
        disabled: readOnly(account),
        run: () => remove(email),
      },
    ];
  }

  /** @param {string} email */
  mend(email) {
    return this.once(async () => {
      await (await fixes())?.fix(email);
      await accounts.reload();
    });
  }

  /** @param {string[]} emails */
  mendAll(emails) {
    return this.once(async () => {
      await (await fixes())?.fixAll(emails);
      await accounts.reload();
    });
  }

  /** @param {string} email */
  again(email) {
    return this.once(async () => {
      if (await (await signIns())?.signIn({ email })) {
        await accounts.reload();
      }
    });
  }

  /** Opens, redraws or closes the drawer, as the address has it. */
  detail() {
    const { page, query } = route.peek();
    if (page !== "accounts") {
      // What the next page has open is its own.
      return;
    }
    const email = query.get("open") ?? "";
    const account = accounts.peek().data?.accounts.find((one) => one.email === email);
    if (this.shown !== email || !account) {
      if (this.shown) {
        this.shown = "";
        this.drawer?.close();
        this.drawer = null;
      }
      if (account) {
        this.shown = email;
        const drawer = open((close, titleId) => this.details(email, close, titleId), { kind: "drawer" });
        this.drawer = drawer;
        drawer.closed.then(() => {
          if (this.shown === email) {
            this.shown = "";
            this.drawer = null;
            // Where the session ended it is there again after the log-in.
            if (access.peek() === "in") {
              ask({ open: null });
            }
          }
        });
      }
    } else {
      this.drawer?.draw();
    }
  }

  /** @param {string} email @param {() => void} close @param {string} titleId */
  details(email, close, titleId) {
    const account = accounts.peek().data?.accounts.find((one) => one.email === email);
    if (!account) {
      return nothing;
    }
    const { state, reason } = stateOf(account);
    const mend = mendable(account);
    const pool = accounts.peek().data?.globalQuotaThreshold ?? 0;
    const models = Object.keys(account.limits)
      .filter((model) => account.limits[model] || account.modelQuotaThresholds[model] !== undefined)
      .sort();
    const others = Object.keys(account.modelQuotaThresholds).filter((model) => !models.includes(model));
    const shown = who(email);
    const { own, inherited } = floorAt(account, null, pool);
    const button = (
      /** @type {string} */ label,
      /** @type {import("../ui/icons.js").Icon} */ name,
      /** @type {() => void} */ run,
      type = "",
    ) =>
      html`<button type="button" class="button small ${type}" @click=${run}>${icon(name)}${label}</button>`;
    return frame(
      titleId,
      shown,
      () => close(),
      html`<div class="stack wide">
        ${
          reason
            ? html`<div class="notice" data-tone=${STATES[state].tone}>
                ${icon(/** @type {import("../ui/icons.js").Icon} */ (STATES[state].tone))}
                <p>${words(plain(masked(reason)))}</p>
                ${mend ? button(t(mend), "right", () => this.mend(email)) : nothing}
              </div>`
            : nothing
        }
        <div class="actions">
          ${button(t("accounts.action.refresh"), "refresh", () => refresh(email))}
          ${button(t("accounts.action.verify"), "ok", () => verify(email))}
          ${
            account.source === "oauth"
              ? button(t("accounts.action.signIn"), "person", () => this.again(email))
              : nothing
          }
          ${
            readOnly(account)
              ? nothing
              : button(t("accounts.delete.action"), "close", () => remove(email), "bad-text")
          }
        </div>
        <dl class="facts">
          <dt>${t("accounts.column.state")}</dt>
          <dd>${this.state(/** @type {Row} */ ({ account, ...stateOf(account), reason: "" }))}</dd>
          <dt>${t("accounts.column.enabled")}</dt>
          <dd>
            ${toggle(
              t("accounts.switch", { email: shown }),
              account.enabled,
              (on) => enable(email, on),
              account.source === "unknown",
            )}
          </dd>
          <dt>${t("accounts.column.tier")}</dt>
          <dd>${this.tier(account)}</dd>
          <dt>${t("accounts.source")}</dt>
          <dd>${t(`accounts.source.${account.source}`)}</dd>
          <dt>${t("accounts.project")}</dt>
          <dd class="mono">${account.projectId ?? t("app.unknown")}</dd>
          <dt>${t("accounts.column.used")}</dt>
          <dd>${account.lastUsed ? dateTime(account.lastUsed) : t("accounts.neverUsed")}</dd>
          <dt>${t("accounts.checked")}</dt>
          <dd>
            ${
              account.snapshotAt
                ? html`<x-time mode="relative" at=${account.snapshotAt}></x-time>`
                : t("app.unknown")
            }
          </dd>
        </dl>
        <section class="stack" aria-label=${t("accounts.thresholds")}>
          <div class="section-head">
            <h3>${t("accounts.thresholds")}</h3>
            <button
              type="button"
              class="button small ghost"
              @click=${() =>
                floorForAll(
                  (accounts.peek().data?.accounts ?? []).map((each) => each.email),
                  null,
                  own ?? inherited.value,
                )}
            >
              ${t("accounts.floor.forAll")}
            </button>
          </div>
          <p class="quiet">${t("accounts.thresholds.text")}</p>
          <div class="floor-row">
            <span>${t("accounts.floor.account")}</span>
            <x-floor
              .label=${t("accounts.floor.of", { what: shown })}
              .own=${own}
              .inherited=${inherited.value}
              .from=${t("accounts.floor.from.pool")}
              @floor=${(/** @type {CustomEvent<number | null>} */ event) =>
                setFloor(email, null, event.detail)}
            ></x-floor>
          </div>
        </section>
        <section class="stack" aria-label=${t("accounts.models")}>
          <h3>${t("accounts.models")}</h3>
          ${
            models.length + others.length === 0
              ? html`<p class="quiet">${t("accounts.models.none")}</p>`
              : html`<div class="panel">
                  <table class="table plain quotas">
                    <thead>
                      <tr>
                        <th scope="col">${t("accounts.model")}</th>
                        <th scope="col" class="end">${t("accounts.reset")}</th>
                      </tr>
                    </thead>
                    <tbody>
                      ${[...models, ...others].map((model) => this.model(account, model, pool))}
                    </tbody>
                  </table>
                </div>`
          }
        </section>
      </div>`,
    );
  }

  /** @param {Account} account @param {string} model @param {number} pool */
  model(account, model, pool) {
    const quota = account.limits[model];
    const spent = spentUntil(account, model);
    const reset = spent || Date.parse(quota?.resetTime ?? "");
    const { own, inherited } = floorAt(account, model, pool);
    const floor = floorOf(account, model, pool).value;
    const fraction = quota?.remainingFraction;
    return html`<tr>
      <th scope="row">
        <span class="mono">${plain(model)}</span>
        <div class="quota-line">
          <strong class="num">${typeof fraction === "number" ? percent(fraction) : t("app.unknown")}</strong>
          ${
            account.modelRateLimits[model]?.isRateLimited && spent !== null
              ? badge("cooling", t("accounts.state.limited"))
              : typeof fraction === "number" && fraction > 0 && fraction < floor
                ? badge("warn", t("accounts.belowFloor"))
                : nothing
          }
        </div>
        <x-floor
          .label=${t("accounts.floor.of", { what: model })}
          .own=${own}
          .inherited=${inherited.value}
          .fraction=${fraction}
          .from=${t(`accounts.floor.from.${inherited.from}`)}
          @floor=${(/** @type {CustomEvent<number | null>} */ event) =>
            setFloor(account.email, model, event.detail)}
        ></x-floor>
      </th>
      <td class="end num nowrap quiet">
        ${
          reset
            ? html`<x-time mode="until" at=${reset} over=${t("accounts.now")}></x-time>`
            : t("app.unknown")
        }
      </td>
    </tr>`;
  }
}

/** What mends it, by its message; null where nothing has to be. @param {Account} account */
function mendable(account) {
  const { state } = stateOf(account);
  return OWNED.includes(state) ? `accounts.mend.${state}` : null;
}

define(tag, AccountsPage);
