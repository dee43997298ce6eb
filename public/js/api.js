// The console's API: one function, typed failures, the password of this tab.

const PASSWORD = "antigravity-proxy.password";

/** An answer other than 2xx, or none at all (`status` 0). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {string} password */
export function keepPassword(password) {
  sessionStorage.setItem(PASSWORD, password);
}

export function forgetPassword() {
  sessionStorage.removeItem(PASSWORD);
}

/** Whether this tab has a password to send. */
export function hasPassword() {
  return sessionStorage.getItem(PASSWORD) !== null;
}

/**
 * Fetches JSON from `path`, for at most ten seconds.
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  const password = sessionStorage.getItem(PASSWORD);
  const headers = new Headers();
  if (password !== null) {
    headers.set("x-webui-password", toBytes(password));
  }
  let response;
  try {
    response = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new ApiError(0, "The gateway does not answer.");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const text = typeof answer?.error === "string" ? answer.error : answer?.error?.message;
    throw new ApiError(response.status, text ?? `The gateway answered ${response.status}.`);
  }
  if (answer === null) {
    throw new ApiError(response.status, "The gateway's answer is not JSON.");
  }
  return answer;
}

/**
 * A header carries bytes: the UTF-8 of a text, one character each.
 * @param {string} text
 */
function toBytes(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}
