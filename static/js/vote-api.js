// Talks to the server: what it refuses, and what may be tried again.

const TIMEOUT_MS = 15000;

/** The server understood and said no. */
export class Refused extends Error {
  constructor(status, { code = "", detail = "" }) {
    super(detail);
    this.status = status;
    this.code = code;
  }

  /** Whether the person is no longer logged in here. */
  get isLoggedOut() {
    return this.status === 401 || ["not_authenticated", "permission_denied"].includes(this.code);
  }
}

/** No answer, or none that settles anything: the same request may be sent again. */
export class Unreachable extends Error {
  constructor(retryAfterMs = 0) {
    super("unreachable");
    this.retryAfterMs = retryAfterMs;
  }
}

/** A function that sends JSON by POST and gives the answer. */
export function makePost(csrfToken) {
  return async function post(address, body = {}, { headers = {}, keepalive = false } = {}) {
    let response;
    try {
      response = await fetch(address, {
        method: "POST",
        credentials: "same-origin",
        keepalive,
        headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken, ...headers },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new Unreachable();
    }
    if (response.status >= 500 || response.status === 429 || response.status === 408) {
      throw new Unreachable(1000 * Number(response.headers.get("Retry-After") || 0));
    }
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refused(response.status, answer);
    return answer;
  };
}

/** A random UUID, also where the page came by plain http and crypto.randomUUID is missing. */
export function randomUuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
