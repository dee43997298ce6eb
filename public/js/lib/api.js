// The gateway's API: JSON in and out, typed failures, nothing that waits for ever.

import { learn } from "./clock.js";
import { signal } from "./signal.js";

/**
 * What went wrong, so that nobody has to read messages.
 * @typedef {"network" | "timeout" | "aborted" | "unauthorised" | "forbidden" | "notFound" | "conflict" | "invalid"
 *   | "limited" | "unavailable" | "server"} Failure
 */

/** @type {Record<number, Failure>} */
const FAILURES = {
  401: "unauthorised",
  403: "forbidden",
  404: "notFound",
  409: "conflict",
  429: "limited",
  502: "unavailable",
  503: "unavailable",
};

/** What a balancer says where there is no gateway behind it that does. */
const BALANCER = new Set([502, 503, 504]);

/** An answer other than 2xx, or none of the gateway's own (`status` 0, or a balancer's). */
export class ApiError extends Error {
  /** Whether it was a change that may have been made, for it is its answer that did not come. */
  unsure = false;

  /**
   * @param {Failure} kind
   * @param {number} status
   * @param {string} message What the gateway said; empty where it said nothing.
   * @param {any} [body] Its answer.
   * @param {number} [retryAfter] Seconds after which it may be asked again.
   */
  constructor(kind, status, message, body = null, retryAfter = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

/**
 * Whether we are let in: `unknown` until somebody was asked; `setup` where there is no password and this machine is not
 * the gateway's own.
 * @type {import("./signal.js").Signal<"unknown" | "in" | "out" | "setup">}
 */
export const access = signal(/** @type {"unknown" | "in" | "out" | "setup"} */ ("unknown"));

/** Whether the gateway answered the last time. */
export const reachable = signal(true);

/**
 * The address of a path of the gateway, also where the console is served below a prefix.
 * @param {string} path
 */
export const address = (path) => new URL(path.replace(/^\//, ""), document.baseURI).href;

/**
 * @typedef {object} Call
 * @property {string} [method] `GET`, or `POST` where there is a body.
 * @property {unknown} [body] Sent as JSON.
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal] Ends it early.
 * @property {number} [timeout] Milliseconds; 15,000 unless told.
 * @property {boolean} [quiet] A 401 is about what was sent, not about our session.
 */

/**
 * Asks the gateway.
 * @param {string} path Such as `api/accounts`.
 * @param {Call} [call]
 * @returns {Promise<any>} The answer's JSON.
 * @throws {ApiError}
 */
export async function api(path, call = {}) {
  const method = call.method ?? (call.body === undefined ? "GET" : "POST");
  const headers = new Headers(call.headers);
  headers.set("x-requested-with", "console");
  if (call.body !== undefined) {
    headers.set("content-type", "application/json");
  }
  const limit = AbortSignal.timeout(call.timeout ?? 15_000);
  const sent = Date.now();
  let response;
  let text;
  try {
    response = await fetch(address(path), {
      method,
      headers,
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      cache: "no-store",
      credentials: "same-origin",
      signal: call.signal ? AbortSignal.any([call.signal, limit]) : limit,
    });
    learn(response.headers.get("date"), sent, Date.now());
    text = await response.text();
  } catch {
    if (call.signal?.aborted) {
      throw new ApiError("aborted", 0, "");
    }
    throw silence(limit.aborted ? "timeout" : "network", 0, method);
  }
  const answer = parsed(text);
  if (answer === undefined && BALANCER.has(response.status)) {
    throw silence("network", response.status, method);
  }
  reachable.set(true);
  if (response.ok && answer !== undefined) {
    return answer;
  }
  const kind = response.ok
    ? "server"
    : (FAILURES[response.status] ?? (response.status < 500 ? "invalid" : "server"));
  if (kind === "unauthorised" && !call.quiet) {
    access.set("out");
  }
  const said = typeof answer?.error === "string" ? answer.error : answer?.error?.message;
  throw new ApiError(
    kind,
    response.status,
    said ?? "",
    answer,
    Number(response.headers.get("retry-after")) || 0,
  );
}

/**
 * The gateway said nothing.
 * @param {Failure} kind
 * @param {number} status
 * @param {string} method
 */
function silence(kind, status, method) {
  reachable.set(false);
  const error = new ApiError(kind, status, "");
  error.unsure = method !== "GET";
  return error;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * A header carries bytes: the UTF-8 of a text, one character each.
 * @param {string} text
 */
export function headerText(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}
