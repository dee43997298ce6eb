// The start page: what the gateway says about itself, and how to point a client at it.

import { forgetPassword, get, hasPassword, keepPassword } from "./api.js";

const POLL_MS = 15_000;

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const notice = element("notice");
const facts = element("facts");
const unlock = /** @type {HTMLFormElement} */ (element("unlock"));
const password = /** @type {HTMLInputElement} */ (element("password"));
const refresh = /** @type {HTMLButtonElement} */ (element("refresh"));

let lastSetup = "";

/**
 * @param {string} text
 * @param {"good" | "bad" | ""} tone
 */
function say(text, tone = "") {
  // Set only when it changes: a live region speaks on every change.
  if (notice.textContent !== text) {
    notice.textContent = text;
  }
  notice.dataset.tone = tone;
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} [className]
 */
function make(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) {
    made.className = className;
  }
  return made;
}

/**
 * A text to copy, with its button.
 * @param {string} label
 * @param {string} text
 */
function snippet(label, text) {
  const box = make("div", "", "snippet");
  const row = make("div", "", "row");
  const button = make("button", "Copy");
  button.setAttribute("type", "button");
  button.setAttribute("aria-label", `Copy: ${label}`);
  const code = make("pre", text);
  code.tabIndex = 0;
  button.addEventListener("click", () => copy(code, text));
  row.append(make("span", label, "quiet"), button);
  box.append(row, code);
  return box;
}

/**
 * @param {HTMLElement} source
 * @param {string} text
 */
async function copy(source, text) {
  const announcement = element("announcement");
  try {
    await navigator.clipboard.writeText(text);
    announcement.textContent = "Copied";
  } catch {
    // Without TLS there is no clipboard off this machine: select the text, the keyboard does the rest.
    getSelection()?.selectAllChildren(source);
    announcement.textContent = "Selected; press Ctrl+C to copy";
  }
}

/** @param {number} ms */
function duration(ms) {
  const minutes = Math.floor(ms / 60_000);
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  if (days > 0) {
    return `${days} d ${hours} h`;
  }
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

/** @param {any} status */
function showFacts(status) {
  const { total, available, rateLimited, invalid } = status.accounts;
  const rows = [
    ["Version", status.version],
    ["Up for", duration(status.uptimeMs)],
    ["Store", status.store.available ? status.store.mode : `${status.store.mode}, unreachable`],
    ["Accounts", `${available} of ${total} available`],
    ["Limited / waiting for owner", `${rateLimited} / ${invalid}`],
    ["Model API", status.access.apiKey ? "needs a key" : "open"],
  ];
  facts.replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement("div");
      row.append(make("dt", name), make("dd", value));
      return row;
    }),
  );
  facts.hidden = false;
}

/** @param {any[]} steps */
function showSetup(steps) {
  element("setup-section").hidden = steps.length === 0;
  // Rebuilt only when it changed, so that a poll does not take focus or selection away.
  const key = JSON.stringify(steps);
  if (key === lastSetup) {
    return;
  }
  lastSetup = key;
  element("setup").replaceChildren(
    ...steps.map((step) => {
      const item = document.createElement("li");
      const title = make("h3", step.title);
      if (!step.required) {
        title.append(make("span", " (recommended)", "optional"));
      }
      item.append(title, make("p", step.text), snippet(step.title, step.command));
      return item;
    }),
  );
}

/** @param {boolean} needsKey */
function showConnect(needsKey) {
  const token = needsKey ? "<one of your API keys>" : "any";
  const shell = [
    `export ANTHROPIC_BASE_URL="${location.origin}"`,
    `export ANTHROPIC_AUTH_TOKEN="${token}"`,
    "claude",
  ];
  const powershell = [
    `$env:ANTHROPIC_BASE_URL = "${location.origin}"`,
    `$env:ANTHROPIC_AUTH_TOKEN = "${token}"`,
    "claude",
  ];
  const check = `curl -H "x-api-key: ${token}" "${location.origin}/v1/models"`;
  element("connect").replaceChildren(
    snippet("Shell", shell.join("\n")),
    snippet("PowerShell", powershell.join("\n")),
    snippet("Check that the models are listed", check),
  );
}

/** @param {any} status */
function show(status) {
  unlock.hidden = true;
  showFacts(status);
  showSetup(status.setup);
  if (element("connect").dataset.key !== String(status.access.apiKey)) {
    element("connect").dataset.key = String(status.access.apiKey);
    showConnect(status.access.apiKey);
  }
  if (status.draining) {
    say("Shutting down: open streams finish, new connections are refused.", "bad");
  } else if (!status.store.available) {
    say("The store does not answer; requests wait for it.", "bad");
  } else if (status.setup.some((/** @type {any} */ step) => step.required)) {
    say("Running, but not ready for requests: see below what is missing.", "bad");
  } else {
    say("Ready for requests.", "good");
  }
}

/** @param {any} error */
function showError(error) {
  if (error.status === 401) {
    const wasWrong = hasPassword();
    forgetPassword();
    say(
      wasWrong ? "That password is wrong." : "The status is protected by a password.",
      wasWrong ? "bad" : "",
    );
    unlock.hidden = false;
    facts.hidden = true;
    element("setup-section").hidden = true;
    if (wasWrong) {
      password.focus();
    }
    return;
  }
  if (error.status === 403) {
    facts.hidden = true;
    element("setup-section").hidden = true;
  }
  say(error.message, "bad");
}

async function load() {
  refresh.disabled = true;
  try {
    show(await get("/api/status"));
  } catch (error) {
    showError(error);
  } finally {
    refresh.disabled = false;
  }
}

unlock.addEventListener("submit", (event) => {
  event.preventDefault();
  keepPassword(password.value);
  password.value = "";
  load();
});
refresh.addEventListener("click", load);
setInterval(() => {
  if (!document.hidden && unlock.hidden) {
    load();
  }
}, POLL_MS);

showConnect(true);
load();
