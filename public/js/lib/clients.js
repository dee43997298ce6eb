// The lines that point a client at the gateway, and those that undo it.

/**
 * @typedef {object} Setup
 * @property {string} base The gateway's address, without a slash at its end.
 * @property {string} key
 * @property {string} model
 * @property {string} small The model for what is done on the side.
 */

/** Single quotes, so that no shell reads anything into it. @param {string} text */
const sh = (text) => `'${text.replaceAll("'", "'\\''")}'`;
/** @param {string} text */
const ps = (text) => `'${text.replaceAll("'", "''")}'`;
/** A literal of JSON is one of Python and JavaScript, too. @param {string} text */
const js = (text) => JSON.stringify(text);

/** @param {Setup} setup */
export const variables = ({ base, key, model, small }) => ({
  ANTHROPIC_BASE_URL: base,
  ANTHROPIC_AUTH_TOKEN: key,
  ANTHROPIC_MODEL: model,
  ANTHROPIC_DEFAULT_OPUS_MODEL: model,
  ANTHROPIC_DEFAULT_SONNET_MODEL: model,
  ANTHROPIC_DEFAULT_HAIKU_MODEL: small,
  CLAUDE_CODE_SUBAGENT_MODEL: small,
});

/** @param {Setup} setup @param {(name: string, value: string) => string} line */
const each = (setup, line) =>
  Object.entries(variables(setup))
    .map(([name, value]) => line(name, value))
    .join("\n");

const NOBODY = { base: "", key: "", model: "", small: "" };

/**
 * What each client needs; `undo` takes it away again.
 * @type {Record<string, { title: string, lines: (setup: Setup) => string, undo?: () => string, file?: string }>}
 */
export const CLIENTS = {
  shell: {
    title: "Claude Code · bash, zsh",
    lines: (setup) => `${each(setup, (name, value) => `export ${name}=${sh(value)}`)}\nclaude`,
    undo: () => `unset ${Object.keys(variables(NOBODY)).join(" ")}`,
  },
  powershell: {
    title: "Claude Code · PowerShell",
    lines: (setup) => `${each(setup, (name, value) => `$env:${name} = ${ps(value)}`)}\nclaude`,
    undo: () =>
      Object.keys(variables(NOBODY))
        .map((name) => `Remove-Item Env:${name} -ErrorAction SilentlyContinue`)
        .join("\n"),
  },
  settings: {
    title: "Claude Code · settings.json",
    file: "~/.claude/settings.json",
    lines: (setup) => JSON.stringify({ env: variables(setup) }, null, 2),
  },
  python: {
    title: "Python SDK",
    lines: ({ base, key, model }) =>
      `import anthropic

client = anthropic.Anthropic(base_url=${js(base)}, api_key=${js(key)})
with client.messages.stream(
    model=${js(model)},
    max_tokens=1024,
    messages=[{"role": "user", "content": "Hello"}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)`,
  },
  typescript: {
    title: "TypeScript SDK",
    lines: ({ base, key, model }) =>
      `import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: ${js(base)}, apiKey: ${js(key)} });
const stream = client.messages.stream({
  model: ${js(model)},
  max_tokens: 1024,
  messages: [{ role: "user", content: "Hello" }],
});
stream.on("text", (text) => process.stdout.write(text));
await stream.finalMessage();`,
  },
  curl: {
    title: "cURL",
    lines: ({ base, key, model }) =>
      `curl -N ${sh(`${base}/v1/messages`)} \\
  -H ${sh(`x-api-key: ${key}`)} \\
  -H 'anthropic-version: 2023-06-01' \\
  -H 'content-type: application/json' \\
  -d ${sh(JSON.stringify({ model, max_tokens: 1024, stream: true, messages: [{ role: "user", content: "Hello" }] }))}`,
  },
};

/**
 * Takes server-sent events out of a text that comes in pieces.
 * @param {(data: any) => void} tell Each event's data, from JSON.
 */
export function reader(tell) {
  let rest = "";
  return (/** @type {string} */ piece) => {
    rest += piece.replaceAll("\r\n", "\n");
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const data = rest
        .slice(0, end)
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      rest = rest.slice(end + 2);
      if (data) {
        tell(JSON.parse(data));
      }
    }
  };
}

/** The variables of Claude Code that name models, in the order of their weight. */
export const MODELS = /** @type {const} */ ([
  "ANTHROPIC_MODEL",
  "CLAUDE_CODE_SUBAGENT_MODEL",
  "ANTHROPIC_DEFAULT_OPUS_MODEL",
  "ANTHROPIC_DEFAULT_SONNET_MODEL",
  "ANTHROPIC_DEFAULT_HAIKU_MODEL",
]);

/** What tells Claude Code that a model has room for a million tokens. */
const LONG = "[1m]";

/** Whether all models of Gemini among them say that they have room for a million tokens; `null` where there are none.
 * @param {Record<string, string>} env */
export function long(env) {
  const gemini = MODELS.map((name) => env[name] ?? "").filter((model) => model.includes("gemini"));
  return gemini.length === 0 ? null : gemini.every((model) => model.endsWith(LONG));
}

/**
 * The same with or without that, for Gemini's models only.
 * @param {Record<string, string>} env @param {boolean} on
 */
export const lengthened = (env, on) =>
  Object.fromEntries(
    Object.entries(env).map(([name, value]) => {
      const model = /** @type {readonly string[]} */ (MODELS).includes(name) && value.includes("gemini");
      const plain = value.endsWith(LONG) ? value.slice(0, -LONG.length) : value;
      return [name, model ? plain + (on ? LONG : "") : value];
    }),
  );

/**
 * What has to be sent so that `before` becomes `after`: an empty text takes one away.
 * @param {Record<string, string>} before @param {Record<string, string>} after
 * @returns {Record<string, string | null>}
 */
export const changed = (before, after) =>
  Object.fromEntries(
    [...new Set([...Object.keys(before), ...Object.keys(after)])]
      .map((name) => /** @type {const} */ ([name, before[name] ?? "", (after[name] ?? "").trim()]))
      .filter(([, was, is]) => was !== is)
      .map(([name, , is]) => [name, is || null]),
  );
