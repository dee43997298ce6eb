// Connect: a client, a key, a model: the lines to copy, how to undo them, and a call that shows that it works.

import { html, nothing } from "../../vendor/lit.js";
import { act } from "../lib/action.js";
import { address, api, ApiError } from "../lib/api.js";
import { CLIENTS, reader, variables } from "../lib/clients.js";
import { sentence } from "../lib/errors.js";
import { duration, number, plain } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { on } from "../lib/live.js";
import { masked, who } from "../lib/privacy.js";
import { resource } from "../lib/resource.js";
import { ask, href, route } from "../lib/router.js";
import { same } from "../lib/settings.js";
import { toast } from "../lib/toast.js";
import { define, loadStyle, View } from "../lib/view.js";
import { confirm, frame, open } from "../ui/dialog.js";
import { icon } from "../ui/icons.js";
import { badge, empty, head, whole } from "../ui/parts.js";
import { once } from "../ui/second.js";
import { snippet } from "../ui/snippet.js";
import "../ui/menu.js";
import { editVariables } from "./connect/variables.js";

/** @import { components } from "../../../web/types/api.d.ts" */
/** @typedef {components["schemas"]["StatusView"]} Status */
/** @typedef {components["schemas"]["ClaudePreset"]} Preset */
/** @typedef {components["schemas"]["ClaudeSettings"]} ClaudeSettings */

export const tag = "page-connect";

loadStyle("pages/connect");

/** @type {import("../lib/resource.js").Resource<Status>} */
const status = resource("api/status", { every: 15_000, events: ["account", "limit", "settings", "key"] });
/** @type {import("../lib/resource.js").Resource<any>} */
const settings = resource("api/config", { every: 60_000, events: ["settings"] });
/** @type {import("../lib/resource.js").Resource<components["schemas"]["AccountLimits"]>} */
const limits = resource("account-limits", { every: 30_000, events: ["account", "limit", "models"] });
/** @type {import("../lib/resource.js").Resource<ClaudeSettings>} */
const claude = resource("api/claude/config", { every: 60_000, events: ["settings"] });
/** @type {import("../lib/resource.js").Resource<components["schemas"]["ClaudePresets"]>} */
const presets = resource("api/claude/presets", { every: 60_000, events: ["settings"] });

/** Which come with the gateway; they cannot be deleted. */
const BUILT_IN = ["Claude Thinking", "Gemini 1M"];
/** After so long nobody tells any more which account it was. */
const TOLD_MS = 10_000;

/**
 * @typedef {object} Call A test call.
 * @property {"running" | "done" | "failed" | "stopped"} state
 * @property {string} text
 * @property {number | null} firstMs
 * @property {number | null} totalMs
 * @property {string} model
 * @property {string} account
 * @property {string} id
 * @property {number | null} tokens
 * @property {string} error
 */

class ConnectPage extends View {
  static properties = { secret: { state: true }, call: { state: true }, prompt: { state: true } };

  constructor() {
    super();
    /** Kept nowhere but here. */
    this.secret = "";
    this.prompt = "";
    /** @type {Call | null} */
    this.call = null;
    /** @type {AbortController | null} */
    this.calling = null;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.calling?.abort();
  }

  render() {
    return html`<div class="stack">
      ${head(t("connect.title"), t("connect.about"))} ${whole(status, (data) => this.steps(data))}
    </div>`;
  }

  /** @param {Status} data */
  steps(data) {
    const { query } = route.get();
    const known = limits.get().data;
    const models = (known?.models ?? []).filter((model) => !known?.modelConfig[model]?.hidden);
    const pick = (/** @type {string} */ name, /** @type {RegExp[]} */ wishes) => {
      const chosen = query.get(name);
      return chosen && models.includes(chosen)
        ? chosen
        : (wishes.map((wish) => models.find((model) => wish.test(model))).find(Boolean) ?? models[0] ?? "");
    };
    const model = pick("model", [/opus/, /claude/, /pro/]);
    const small = pick("small", [/flash/, /sonnet/]);
    const name = query.get("client") ?? "";
    const client = Object.hasOwn(CLIENTS, name) ? name : "shell";
    const base = (settings.get().data?.config?.publicBaseUrl || address("")).replace(/\/+$/, "");
    const needsKey = data.access.apiKey;
    const placeholder = needsKey ? `<${t("connect.key.placeholder")}>` : "any";
    const setup = {
      base,
      model: model || `<${t("connect.model")}>`,
      small: small || `<${t("connect.model")}>`,
    };
    const shown = { ...setup, key: this.secret ? `${this.secret.slice(0, 8)}…` : placeholder };
    const real = { ...setup, key: this.secret || placeholder };
    const { title, lines, undo, file } = CLIENTS[client];
    const step = (/** @type {number} */ n, /** @type {string} */ heading, /** @type {any} */ content) =>
      html`<section class="panel padded step" aria-labelledby="step-${n}">
        <h2 id="step-${n}"><span class="step-n num" aria-hidden="true">${number(n)}</span>${heading}</h2>
        ${content}
      </section>`;
    return html`
      ${data.setup.some(({ required }) => required) ? this.notReady() : nothing}
      <div class="connect">
        <div class="stack">
          ${step(
            1,
            t("connect.client"),
            html`<div class="choose" role="radiogroup" aria-labelledby="step-1">
              ${Object.entries(CLIENTS).map(
                ([value, one]) =>
                  html`<label class="choice"
                    ><input
                      type="radio"
                      name="client"
                      value=${value}
                      .checked=${value === client}
                      @change=${() => ask({ client: value === "shell" ? null : value })}
                    /><span>${one.title}</span></label
                  >`,
              )}
            </div>`,
          )}
          ${step(2, t("connect.key"), this.key(needsKey))}
          ${step(
            3,
            t("connect.models"),
            models.length === 0
              ? html`<p class="quiet">${t("connect.models.none")}</p>
                  <div class="actions">
                    <a class="button" href=${href("accounts")}>${t("connect.accounts")}</a>
                  </div>`
              : html`<div class="fields">
                  ${this.model("model", t("connect.model"), models, model)}
                  ${this.model("small", t("connect.small"), models, small)}
                </div>`,
          )}
        </div>
        <div class="stack">
          ${step(
            4,
            t("connect.copy"),
            html`<p class="quiet">
                ${file ? t("connect.copy.file", { file }) : t("connect.copy.text", { base })}
              </p>
              ${snippet(lines(shown), title, lines(real))}
              ${
                undo
                  ? html`<details>
                      <summary>${t("connect.undo")}</summary>
                      ${snippet(undo(), t("connect.undo"))}
                    </details>`
                  : file
                    ? html`<p class="quiet">${t("connect.undo.file")}</p>`
                    : nothing
              }`,
          )}
          ${step(5, t("connect.try"), this.trial(model, needsKey))}
        </div>
      </div>
      ${whole(
        claude,
        (state) => this.presets(state, setup),
        () => nothing,
      )}
    `;
  }

  notReady() {
    return html`<div class="notice" data-tone="warn" role="status">
      ${icon("warn")}
      <p>${t("connect.notReady")}</p>
      <a class="button small" href=${href("overview")}>${t("connect.notReady.action")}</a>
    </div>`;
  }

  /** @param {boolean} needed */
  key(needed) {
    return html`<p class="quiet">${t(needed ? "connect.key.text" : "connect.key.open")}</p>
      ${
        needed
          ? html`<label class="field"
              ><span>${t("connect.key.field")}</span
              ><input
                class="input mono"
                type="password"
                autocomplete="off"
                spellcheck="false"
                .value=${this.secret}
                @input=${(/** @type {InputEvent} */ event) => {
                  this.secret = /** @type {HTMLInputElement} */ (event.target).value.trim();
                }}
            /></label>`
          : nothing
      }
      <div class="actions">
        <button type="button" class="button" @click=${() => this.newKey(needed)}>
          ${icon("plus")}${t("connect.key.new")}
        </button>
        <a class="button ghost" href=${href("keys")}>${t("connect.key.all")}</a>
      </div>`;
  }

  /** @param {boolean} needed */
  async newKey(needed) {
    let name = "";
    let busy = false;
    let problem = "";
    let secret = "";
    /** @param {Event} event */
    const make = async (event) => {
      event.preventDefault();
      if (busy || name.trim() === "") {
        return;
      }
      busy = true;
      problem = "";
      dialog.draw();
      try {
        secret = (await api("api/keys", { body: { name: name.trim() } })).secret;
        this.secret = secret;
      } catch (error) {
        problem = sentence(error);
      }
      busy = false;
      dialog.draw();
    };
    const dialog = open((close, titleId) =>
      frame(
        titleId,
        t("connect.key.new"),
        () => close(),
        secret
          ? html`<div class="stack">
              <p role="status">${t("connect.key.once")}</p>
              ${snippet(secret, t("connect.key"))}
            </div>`
          : html`<form id="${titleId}-form" class="stack" @submit=${make}>
              ${
                needed
                  ? nothing
                  : html`<div class="notice" data-tone="warn">
                      ${icon("warn")}
                      <p>${t("connect.key.first")}</p>
                    </div>`
              }
              <label class="field"
                ><span>${t("connect.key.name")}</span><small>${t("connect.key.name.text")}</small
                ><input
                  class="input"
                  required
                  maxlength="64"
                  autocomplete="off"
                  @input=${(/** @type {InputEvent} */ event) => {
                    name = /** @type {HTMLInputElement} */ (event.target).value;
                  }}
              /></label>
              ${problem ? html`<p class="form-error" role="alert">${icon("bad")}<span>${problem}</span></p>` : nothing}
            </form>`,
        secret
          ? html`<button type="button" class="button primary" @click=${() => close()}>
              ${t("app.close")}
            </button>`
          : html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
              <button type="submit" form="${titleId}-form" class="button primary" ?disabled=${busy}>
                ${t("connect.key.make")}
              </button>`,
      ),
    );
    /** @type {HTMLElement | null} */ (dialog.element.querySelector("input"))?.focus();
    await dialog.closed;
    await status.reload();
  }

  /** @param {string} name @param {string} label @param {string[]} models @param {string} chosen */
  model(name, label, models, chosen) {
    return html`<label class="field"
      ><span>${label}</span
      ><select
        class="select"
        .value=${chosen}
        @change=${(/** @type {Event} */ event) =>
          ask({ [name]: /** @type {HTMLSelectElement} */ (event.target).value })}
      >
        ${models.map((model) => html`<option value=${model} ?selected=${model === chosen}>${plain(model)}</option>`)}
      </select></label
    >`;
  }

  /** @param {string} model @param {boolean} needsKey */
  trial(model, needsKey) {
    const { call } = this;
    const running = call?.state === "running";
    const missing = needsKey && this.secret === "";
    return html`<form
        class="trial"
        @submit=${(/** @type {Event} */ event) => {
          event.preventDefault();
          this.send(model);
        }}
      >
        <label class="field"
          ><span>${t("connect.try.prompt")}</span
          ><textarea
            class="textarea"
            rows="2"
            placeholder=${t("connect.try.hello")}
            .value=${this.prompt}
            @input=${(/** @type {InputEvent} */ event) => {
              this.prompt = /** @type {HTMLTextAreaElement} */ (event.target).value;
            }}
          ></textarea>
        </label>
        <div class="actions">
          ${
            running
              ? html`<button type="button" class="button" @click=${once(() => this.calling?.abort())}>
                  ${t("connect.try.stop")}
                </button>`
              : html`<button type="submit" class="button primary" ?disabled=${missing || model === ""}>
                  ${t("connect.try.send")}
                </button>`
          }
          ${missing ? html`<small>${t("connect.try.key")}</small>` : nothing}
        </div>
      </form>
      ${call ? this.outcome(call) : nothing}`;
  }

  /** @param {Call} call */
  outcome(call) {
    const tone = /** @type {const} */ ({ running: "cooling", done: "ok", failed: "bad", stopped: "off" })[
      call.state
    ];
    return html`<div class="outcome" aria-busy=${call.state === "running"}>
      <div role="status">${badge(tone, t(`connect.try.${call.state}`))}</div>
      ${call.error ? html`<p class="form-error" role="alert">${icon("bad")}<span>${plain(masked(call.error))}</span></p>` : nothing}
      ${call.text ? html`<p class="answer" tabindex="0" role="region" aria-label=${t("connect.try.answer")}>${plain(call.text)}</p>` : nothing}
      <dl class="facts">
        <dt>${t("connect.try.first")}</dt>
        <dd class="num">${duration(call.firstMs)}</dd>
        <dt>${t("connect.try.total")}</dt>
        <dd class="num">${duration(call.totalMs)}</dd>
        <dt>${t("connect.try.tokens")}</dt>
        <dd class="num">${number(call.tokens)}</dd>
        <dt>${t("connect.try.model")}</dt>
        <dd class="mono">${call.model ? plain(call.model) : t("app.unknown")}</dd>
        <dt>${t("connect.try.account")}</dt>
        <dd>
          ${
            call.account
              ? html`<a href=${href("accounts", { open: call.account })}>${who(call.account)}</a>`
              : t("app.unknown")
          }
        </dd>
        <dt>${t("connect.try.id")}</dt>
        <dd class="mono">${call.id || t("app.unknown")}</dd>
      </dl>
    </div>`;
  }

  /** The same call as a client's, with the key of the page. @param {string} model */
  async send(model) {
    const own = new AbortController();
    this.calling?.abort();
    this.calling = own;
    /** @type {Call} */
    const call = {
      state: "running",
      text: "",
      firstMs: null,
      totalMs: null,
      model: "",
      account: "",
      id: "",
      tokens: null,
      error: "",
    };
    const show = () => {
      if (this.calling === own) {
        this.call = { ...call };
      }
    };
    show();
    // Which account it was is told when it is over.
    /** @type {any[]} */
    const ended = [];
    const told = () => {
      const one = ended.find(({ request }) => request === call.id);
      if (one) {
        call.account = one.email ?? "";
        call.model ||= one.fields?.model ?? "";
        off();
        show();
      }
    };
    const off = on(["request"], (event) => {
      ended.push(event);
      told();
    });
    setTimeout(off, TOLD_MS + 120_000);
    const begun = performance.now();
    const since = () => Math.round(performance.now() - begun);
    try {
      const response = await fetch(address("v1/messages"), {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "anthropic-version": "2023-06-01",
          "x-api-key": this.secret || "any",
        },
        body: JSON.stringify({
          model,
          max_tokens: 1024,
          stream: true,
          messages: [{ role: "user", content: this.prompt.trim() || t("connect.try.hello") }],
        }),
        signal: own.signal,
      });
      call.id = response.headers.get("request-id") ?? "";
      if (!response.ok || !response.body) {
        const said = await response.json().catch(() => null);
        call.error = said?.error?.message ?? t("connect.try.refused", { status: response.status });
        throw new Error("refused");
      }
      const take = reader((event) => {
        if (event.type === "message_start") {
          call.model = event.message?.model ?? "";
        } else if (event.type === "content_block_delta" && event.delta?.type === "text_delta") {
          call.firstMs ??= since();
          call.text += event.delta.text;
        } else if (event.type === "message_delta") {
          call.tokens = event.usage?.output_tokens ?? call.tokens;
        } else if (event.type === "error") {
          call.error = event.error?.message ?? "";
        }
        show();
      });
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) {
        take(piece.value);
      }
      call.state = call.error ? "failed" : "done";
    } catch (error) {
      call.state = own.signal.aborted ? "stopped" : "failed";
      if (call.state === "failed" && !call.error) {
        call.error = sentence(error);
      }
    }
    call.totalMs = since();
    show();
    told();
  }

  /** Sets of variables that are kept, and those of this machine. @param {ClaudeSettings} state @param {{ base: string, model: string, small: string }} setup */
  presets(state, setup) {
    if (state.storage === "off") {
      return nothing;
    }
    const pointed = Object.entries(state.config.env);
    return html`<section class="stack" aria-labelledby="presets-title">
      <div class="section-head">
        <div>
          <h2 id="presets-title">${t("connect.presets")}</h2>
          <p class="quiet">${t("connect.presets.text")}</p>
        </div>
        <button type="button" class="button" @click=${() => this.keep(setup)}>
          ${icon("plus")}${t("connect.presets.keep")}
        </button>
      </div>
      ${whole(presets, ({ presets: all }) =>
        all.length === 0
          ? empty({ title: t("connect.presets.none") })
          : html`<div class="panel">
              <table class="table cards presets">
                <thead>
                  <tr>
                    <th scope="col">${t("connect.presets.name")}</th>
                    <th scope="col">${t("connect.model")}</th>
                    <th scope="col">${t("connect.small")}</th>
                    <th scope="col"><span class="unseen">${t("connect.presets.actions")}</span></th>
                  </tr>
                </thead>
                <tbody>
                  ${all.map((preset) => this.preset(preset, state))}
                </tbody>
              </table>
            </div>`,
      )}
      ${
        state.storage === "local"
          ? html`<div class="panel padded stack">
              <div class="section-head">
                <h3>${t("connect.host")}</h3>
                ${
                  state.editable
                    ? html`<div class="actions">
                        <button type="button" class="button small" @click=${() => this.host(state)}>
                          ${t("connect.host.edit")}
                        </button>
                        ${
                          pointed.length > 0
                            ? html`<button type="button" class="button small" @click=${restore}>
                                ${t("connect.host.restore")}
                              </button>`
                            : nothing
                        }
                      </div>`
                    : nothing
                }
              </div>
              <p class="quiet">${t("connect.host.text", { path: state.path ?? t("app.unknown") })}</p>
              ${state.problem ? html`<p class="form-error">${icon("bad")}<span>${plain(state.problem)}</span></p>` : nothing}
              ${
                pointed.length === 0
                  ? html`<p>${t("connect.host.none")}</p>`
                  : html`<dl class="facts">
                      ${pointed.map(
                        ([name, value]) =>
                          html`<dt class="mono">${name}</dt>
                            <dd class="mono">${plain(value)}</dd>`,
                      )}
                    </dl>`
              }
            </div>`
          : nothing
      }
    </section>`;
  }

  /** @param {Preset} preset @param {ClaudeSettings} state */
  preset(preset, state) {
    const { name, config } = preset;
    const model = config.ANTHROPIC_MODEL ?? "";
    const small = config.ANTHROPIC_DEFAULT_HAIKU_MODEL ?? "";
    return html`<tr>
      <th scope="row">${plain(name)}</th>
      <td data-label=${t("connect.model")} class="mono">${plain(model) || t("app.unknown")}</td>
      <td data-label=${t("connect.small")} class="mono">${plain(small) || t("app.unknown")}</td>
      <td class="end">
        <div class="actions preset-actions">
          <button
            type="button"
            class="button small"
            aria-label=${t("connect.presets.useWhat", { name })}
            @click=${() => ask({ model, small }, {})}
          >
            ${t("connect.presets.use")}
          </button>
          <x-menu
            .label=${t("connect.presets.more", { name })}
            .items=${[
              {
                label: t("connect.presets.download"),
                icon: /** @type {const} */ ("external"),
                run: () => download(preset),
              },
              ...(state.editable
                ? [
                    {
                      label: t("connect.presets.apply"),
                      icon: /** @type {const} */ ("fleet"),
                      run: () => apply(preset),
                    },
                  ]
                : []),
              {
                label: t(BUILT_IN.includes(name) ? "connect.presets.copy" : "connect.presets.edit"),
                icon: /** @type {const} */ ("settings"),
                run: () => this.edit(preset),
              },
              ...(BUILT_IN.includes(name)
                ? []
                : [
                    {
                      label: t("connect.presets.delete"),
                      icon: /** @type {const} */ ("close"),
                      bad: true,
                      run: () => forget(preset),
                    },
                  ]),
            ]}
          ></x-menu>
        </div>
      </td>
    </tr>`;
  }

  /** The variables on the gateway's machine. @param {ClaudeSettings} state */
  host(state) {
    const before = state.config.env;
    editVariables({
      title: t("connect.host.edit.title"),
      about: t("connect.presets.apply.text", { path: state.path ?? "" }),
      env: before,
      models: limits.peek().data?.models ?? [],
      secret: true,
      action: t("connect.presets.apply.action"),
      send: async (_, env) => {
        await api("api/claude/config", { body: { env } });
        // Of a key nobody is told what it was.
        const back = Object.keys(env).filter((key) => key !== "ANTHROPIC_AUTH_TOKEN");
        toast({
          text: t("connect.host.edited"),
          action:
            back.length > 0
              ? {
                  label: t("app.undo"),
                  run: () =>
                    act({
                      on: claude,
                      send: () =>
                        api("api/claude/config", {
                          body: { env: Object.fromEntries(back.map((key) => [key, before[key] ?? null])) },
                        }),
                      done: t("connect.host.undone"),
                    }),
                }
              : undefined,
        });
        await claude.reload();
      },
    });
  }

  /** A preset, or a copy of one that is built in. @param {Preset} preset */
  edit(preset) {
    const own = !BUILT_IN.includes(preset.name);
    /** What would be replaced, as it was when its reader was told of it last. @type {Preset | undefined} */
    let known = preset;
    editVariables({
      title: t(own ? "connect.presets.edit.title" : "connect.presets.copy", { name: plain(preset.name) }),
      name: own ? undefined : "",
      env: keyless(preset.config),
      models: limits.peek().data?.models ?? [],
      action: t("connect.presets.save"),
      send: async (config, _, name) => {
        if (!own) {
          await untaken(name);
        } else {
          const now = await presetOf(preset.name);
          if (!same(now, known)) {
            known = now;
            throw new ApiError("conflict", 409, t("connect.presets.changedMeanwhile"));
          }
        }
        await api("api/claude/presets", { body: { name: own ? preset.name : name, config } });
        toast({ text: t("connect.presets.kept", { name: plain(own ? preset.name : name) }) });
        await presets.reload();
      },
    });
  }

  /** @param {{ base: string, model: string, small: string }} setup */
  async keep(setup) {
    let name = "";
    let busy = false;
    let problem = "";
    const dialog = open((close, titleId) =>
      frame(
        titleId,
        t("connect.presets.keep"),
        () => close(),
        html`<form
          id="${titleId}-form"
          class="stack"
          @submit=${async (/** @type {Event} */ event) => {
            event.preventDefault();
            if (busy || name.trim() === "") {
              return;
            }
            busy = true;
            try {
              await untaken(name.trim());
              close(true);
            } catch (error) {
              problem = sentence(error);
              busy = false;
              dialog.draw();
            }
          }}
        >
          <p class="quiet">${t("connect.presets.keep.text", { model: setup.model, small: setup.small })}</p>
          <label class="field"
            ><span>${t("connect.presets.name")}</span
            ><input
              class="input"
              required
              maxlength="50"
              autocomplete="off"
              @input=${(/** @type {InputEvent} */ event) => {
                name = /** @type {HTMLInputElement} */ (event.target).value;
              }}
          /></label>
          ${problem ? html`<p class="form-error" role="alert">${icon("bad")}<span>${problem}</span></p>` : nothing}
        </form>`,
        html`<button type="button" class="button" @click=${() => close()}>${t("app.cancel")}</button>
          <button type="submit" form="${titleId}-form" class="button primary">
            ${t("connect.presets.save")}
          </button>`,
      ),
    );
    /** @type {HTMLElement | null} */ (dialog.element.querySelector("input"))?.focus();
    if (await dialog.closed) {
      // A client's key is never part of a preset.
      const config = keyless(variables({ ...setup, key: "" }));
      await act({
        on: presets,
        send: () => api("api/claude/presets", { body: { name: name.trim(), config } }),
        done: t("connect.presets.kept", { name: plain(name.trim()) }),
        undo: () => forget({ name: name.trim(), config }, false),
      });
    }
  }
}

/** A preset as the gateway has it now. @param {string} name @returns {Promise<Preset | undefined>} */
async function presetOf(name) {
  await presets.reload();
  return presets.peek().data?.presets.find((one) => one.name === name);
}

/** Refuses the name of one that there is: it would be replaced. @param {string} name */
async function untaken(name) {
  if (await presetOf(name)) {
    throw new ApiError("conflict", 409, t("connect.presets.taken", { name: plain(name) }));
  }
}

/** @param {Preset} preset @param {boolean} [again] Whether it can be taken back. @returns {Promise<boolean>} */
function forget(preset, again = true) {
  const { name, config } = preset;
  return act({
    on: presets,
    send: () => api(`api/claude/presets/${encodeURIComponent(name)}`, { method: "DELETE" }),
    show: (data) => ({ ...data, presets: data.presets.filter((one) => one.name !== name) }),
    done: t("connect.presets.deleted", { name: plain(name) }),
    undo: again
      ? () =>
          act({
            on: presets,
            send: () => api("api/claude/presets", { body: { name, config } }),
            done: t("connect.presets.kept", { name: plain(name) }),
          })
      : undefined,
  });
}

/** @param {Preset} preset */
async function apply({ name, config }) {
  const before = claude.peek().data?.config.env ?? {};
  const meant = await confirm({
    title: t("connect.presets.apply.title", { name: plain(name) }),
    text: t("connect.presets.apply.text", { path: claude.peek().data?.path ?? "" }),
    action: t("connect.presets.apply.action"),
  });
  if (meant) {
    const env = keyless(config);
    const fresh = Object.keys(env).filter((key) => !(key in before));
    await act({
      on: claude,
      send: () => api("api/claude/config", { body: { env } }),
      done: t("connect.presets.applied", { name: plain(name) }),
      undo: () =>
        act({
          on: claude,
          send: () =>
            api("api/claude/config", {
              body: {
                env: {
                  ...Object.fromEntries(fresh.map((key) => [key, null])),
                  ...Object.fromEntries(Object.entries(before).filter(([key]) => key in env)),
                },
              },
            }),
          done: t("connect.host.undone"),
        }),
    });
  }
}

async function restore() {
  const meant = await confirm({
    title: t("connect.host.restore"),
    text: t("connect.host.restore.text"),
    action: t("connect.host.restore"),
  });
  if (meant) {
    await act({
      on: claude,
      send: () => api("api/claude/config/restore", { method: "POST" }),
      done: t("connect.host.restored"),
    });
  }
}

/** Without what is secret. @param {Record<string, string>} config @returns {Record<string, string>} */
const keyless = (config) =>
  Object.fromEntries(Object.entries(config).filter(([name]) => name !== "ANTHROPIC_AUTH_TOKEN"));

/** As Claude Code's own settings have it. @param {Preset} preset */
function download({ name, config }) {
  const url = URL.createObjectURL(
    new Blob([`${JSON.stringify({ env: config }, null, 2)}\n`], { type: "application/json" }),
  );
  const link = document.createElement("a");
  link.href = url;
  link.download = `claude-settings-${name.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}

define(tag, ConnectPage);
