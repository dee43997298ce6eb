// Logging in and out.

import { act } from "./action.js";
import { access, api, headerText } from "./api.js";
import { signal } from "./signal.js";

/** What strangers are told too, and more once we are in: `version`, `authRequired`, `generation`. */
export const about = signal(/** @type {any} */ (null));

/**
 * The hosts that stand in for Google where all of them are on the gateway's own machine, as a simulator is; else nothing.
 * @param {any} told What `about` has.
 */
export function standIn(told) {
  const endpoints = told?.config?.upstream?.endpoints;
  if (!Array.isArray(endpoints) || !endpoints.every((one) => typeof one === "string" && URL.canParse(one))) {
    return "";
  }
  const hosts = endpoints.map((one) => new URL(one));
  return hosts.every(({ hostname }) => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname))
    ? hosts.map(({ host }) => host).join(", ")
    : "";
}

/** Asks where we stand; for nothing that strangers are refused. @returns {Promise<any>} */
export const standing = () => api("api/config");

/** Finds out where we stand. @param {Promise<any>} [asking] Where it was asked already. */
export async function enter(asking = standing()) {
  const told = await asking;
  about.set(told);
  // Strangers are not told the settings' generation.
  if (told.generation !== undefined) {
    access.set("in");
  } else {
    access.set(told.authRequired ? "out" : "setup");
  }
}

/** @param {string} password */
export async function logIn(password) {
  await api("api/session", { body: { password }, quiet: true });
  await enter();
}

/** Ends the session. Where the gateway could not, whoever comes next would still be let in: we are not out, and told why. */
export async function logOut() {
  if (await act({ send: () => api("api/session", { method: "DELETE" }) })) {
    access.set("out");
  }
}

/**
 * Sets the first password, and logs in with it.
 * @param {string} token What the gateway printed; empty on its own machine.
 * @param {string} newPassword
 */
export async function setUp(token, newPassword) {
  const headers = token ? { "x-setup-token": headerText(token) } : undefined;
  await api("api/config/password", { body: { newPassword }, headers, quiet: true });
  await logIn(newPassword);
}
