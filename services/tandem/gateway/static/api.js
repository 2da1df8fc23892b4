// Calls to the API. The session's cookie goes along by itself; what changes something carries the page's token.
import { learnClock } from "./times.js";
import { capital } from "./words.js";

const told = (name) => document.querySelector(`meta[name="tandem-${name}"]`).content;

export const SIP = told("sip");
export const TENANT = `tenants/${told("tenant")}`;
const TOKEN = told("token");
const PATIENCE_MS = 10_000;

/** What went wrong: `reason` is a stable name of the API, or OFFLINE when there was no answer. */
export class ApiError extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }

  /** Whether the same call may go well in a moment. */
  get passing() {
    return this.status === 0 || this.status >= 500 || this.reason === "VIEW_BEHIND" || this.reason === "TOO_MANY";
  }
}

/** The error that an answer tells (google.rpc.Status as JSON), whatever its body is. */
export async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const info = body?.error?.details?.find((detail) => detail.reason);
  const session = response.status === 401;
  const text = session ? "The session of this page has ended. Load the page again." : body?.error?.message;
  const message = text ? capital(text) : `The server answered ${response.status}. Its own output says more.`;
  return new ApiError(response.status, info?.reason ?? `HTTP_${response.status}`, message);
}

/** The answer to a request, unread. Throws ApiError. */
export async function open(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (options.signal?.aborted && options.signal.reason?.name !== "TimeoutError") throw error;
    throw new ApiError(0, "OFFLINE", "The server does not answer. See the terminal in which it was started.");
  }
  learnClock(response);
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** GET a resource by name: `get("tenants/demo/queues", { pageSize: 100 })`. Throws ApiError. */
export async function get(name, query = {}) {
  const search = new URLSearchParams(query).toString();
  const response = await open(`/v1/${name}${search ? `?${search}` : ""}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  return response.json();
}

/** POST to a path of this server. Throws ApiError. */
export async function post(path, body = {}) {
  const response = await open(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Tandem-Page-Token": TOKEN },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  return response.json();
}
