// Votes on their way: kept in localStorage under their idempotency key until the server has them.

import { randomUuid, Refused, Unreachable } from "./vote-api.js";

const PREFIX = "hps-vote:";
const LONGEST_WAIT_MS = 15000;

export class Outbox {
  #entries = [];
  #isSending = false;
  #wake = () => {};

  /**
   * post: sends one request; onChange(): the number waiting or their state changed;
   * onRecorded(entry, vote) and onRefused(entry, error): how one ended; onLoggedOut(): sending has stopped.
   */
  constructor({ post, address, person, onChange, onRecorded, onRefused, onLoggedOut }) {
    Object.assign(this, { post, address, person, onChange, onRecorded, onRefused, onLoggedOut });
    this.isStuck = false;
    this.#entries = this.#stored();
    window.addEventListener("online", () => this.#wake());
  }

  get size() {
    return this.#entries.length;
  }

  /** Tokens of claims whose vote is on its way. */
  get tokens() {
    return this.#entries.map((entry) => entry.body.token);
  }

  /** Keep a vote, and send it as soon as those before it are sent. */
  add(body) {
    const entry = { key: randomUuid(), person: this.person, body, madeAt: Date.now() };
    entry.settled = new Promise((resolve) => (entry.settle = resolve));
    this.#entries.push(entry);
    this.#store(entry);
    this.onChange();
    this.send();
    return entry;
  }

  /** Take back a vote that was never sent; false when it may have reached the server. */
  cancel(entry) {
    if (entry.wasSent || !this.#entries.includes(entry)) return false;
    this.#remove(entry);
    return true;
  }

  /** Send what waits, in order; trying again until the server has answered. */
  async send() {
    if (this.#isSending) return;
    this.#isSending = true;
    let waitMs = 500;
    while (this.#entries.length) {
      const entry = this.#entries[0];
      try {
        entry.wasSent = navigator.onLine || entry.wasSent;
        const vote = await this.post(this.address, entry.body, { headers: { "Idempotency-Key": entry.key } });
        this.isStuck = false;
        waitMs = 500;
        this.#remove(entry);
        entry.settle?.(vote);
        this.onRecorded(entry, vote);
      } catch (error) {
        if (error instanceof Unreachable) {
          this.isStuck = true;
          this.onChange();
          await this.#pause(Math.max(waitMs, error.retryAfterMs));
          waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
        } else if (error instanceof Refused && !error.isLoggedOut) {
          this.isStuck = false;
          this.#remove(entry);
          entry.settle?.(null);
          this.onRefused(entry, error);
        } else if (error instanceof Refused) {
          this.isStuck = true;
          this.onChange();
          this.onLoggedOut();
          break;
        } else {
          throw error;
        }
      }
    }
    this.#isSending = false;
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #remove(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    try {
      localStorage.removeItem(PREFIX + entry.key);
    } catch {
      // A browser without storage: the vote was kept in memory only.
    }
    this.onChange();
  }

  #store({ key, person, body, madeAt }) {
    try {
      localStorage.setItem(PREFIX + key, JSON.stringify({ key, person, body, madeAt }));
    } catch {
      // A browser without storage, or a full one: the vote lives as long as this page.
    }
  }

  /** What an earlier page of the same person left behind. */
  #stored() {
    try {
      return Object.keys(localStorage)
        .filter((name) => name.startsWith(PREFIX))
        .map((name) => ({ ...JSON.parse(localStorage.getItem(name)), wasSent: true }))
        .filter((entry) => entry.person === this.person)
        .sort((one, other) => one.madeAt - other.madeAt);
    } catch {
      return [];
    }
  }
}
