// Sends one large file in parts: asks which are there, sends the missing ones, and goes on after whatever came between.

const AT_ONCE = 3;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
// A part that does not get through in this time gets twice as much with the next try: the line may be slow.
const FIRST_TIMEOUT_MS = 60_000;
const LONGEST_TIMEOUT_MS = 1_200_000;

/** The server said no, and would say so again. */
export class UploadRefused extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

export class Upload {
  #stopper = new AbortController();
  #done = 0;

  /** begin: the address that begins uploads. onProgress(done, size), onWaiting(code): told while it goes on. */
  constructor({ blob, name, begin, csrfToken, onProgress, onWaiting }) {
    Object.assign(this, { blob, name, begin, csrfToken, onProgress, onWaiting });
  }

  stop() {
    this.#stopper.abort();
  }

  /** Sends all that is missing; gives the id of the upload. */
  async send() {
    try {
      return await this.#sendMissing();
    } catch (error) {
      if (error.code !== "part_differs") throw error;
      // The name and the size are those of an upload that was begun, but the file is another one.
      await this.#ask(this.upload.address, { method: "DELETE" });
      return this.#sendMissing();
    }
  }

  async #sendMissing() {
    const wanted = JSON.stringify({ name: this.name, size: this.blob.size });
    this.#done = 0;
    this.upload = await (await this.#ask(this.begin, { method: "POST", body: wanted })).json();
    const numbers = Array.from({ length: this.upload.part_count }, (_, number) => number).values();
    // Some go side by side; they take the next number from the same list.
    await Promise.all(Array.from({ length: AT_ONCE }, () => this.#sendInTurn(numbers)));
    return this.upload.id;
  }

  async #sendInTurn(numbers) {
    for (const number of numbers) await this.#sendPart(number);
  }

  async #sendPart(number) {
    const { part_size: size, parts, address } = this.upload;
    // Sent as a piece of the file, which the browser reads as it sends; its bytes are held only while they are hashed.
    const body = this.blob.slice(number * size, (number + 1) * size);
    const sha256 = hex(await crypto.subtle.digest("SHA-256", await body.arrayBuffer()));
    // Parts that are there are compared, so that a file that has changed is never mixed with what it was.
    if (parts[number] && parts[number] !== sha256) throw new UploadRefused("part_differs", "");
    if (!parts[number]) {
      await this.#ask(`${address}${number}/`, { method: "PUT", body, headers: { "X-Part-SHA256": sha256 } });
    }
    this.#done += body.size;
    this.onProgress(this.#done, this.blob.size);
  }

  /** Asks until there is an answer: what the connection or the server lacks for the moment may come back. */
  async #ask(address, options) {
    let [waitMs, timeoutMs] = [FIRST_WAIT_MS, FIRST_TIMEOUT_MS];
    while (true) {
      this.#stopper.signal.throwIfAborted();
      const response = await this.#try(address, options, timeoutMs);
      if (response?.ok) return response;
      if (response && response.status < 500 && ![401, 408, 429].includes(response.status)) {
        const { code = "", detail = response.statusText } = await response.json().catch(() => ({}));
        throw new UploadRefused(code, detail);
      }
      this.onWaiting(response?.status === 401 ? "logged_out" : "offline");
      await this.#pause(waitMs);
      waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
      timeoutMs = Math.min(2 * timeoutMs, LONGEST_TIMEOUT_MS);
    }
  }

  async #try(address, { headers = {}, ...options }, timeoutMs) {
    try {
      return await fetch(address, {
        credentials: "same-origin",
        headers: { Accept: "application/json", "X-CSRFToken": this.csrfToken, ...headers },
        signal: AbortSignal.any([this.#stopper.signal, AbortSignal.timeout(timeoutMs)]),
        ...options,
      });
    } catch {
      return null;
    }
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const goOn = () => {
        clearTimeout(timer);
        removeEventListener("online", goOn);
        resolve();
      };
      const timer = setTimeout(goOn, milliseconds);
      addEventListener("online", goOn);
      this.#stopper.signal.addEventListener("abort", goOn);
    });
  }
}

function hex(digest) {
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
