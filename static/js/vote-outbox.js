// Votes on their way: kept in localStorage under their idempotency key until the server has them.

import { randomUuid, Refused, Unreachable } from "./vote-api.js";

const PREFIX = "hps-vote:";
const LOCK = "hps-votes-of:";
const LONGEST_WAIT_MS = 15000;
const LONGEST_LOCK_MS = 20000;

export class Outbox {
  #entries = [];
  #isSending = false;
  #wake = () => {};

  /**
   * post: sends one request; person, campaign: whose votes, and where; onChange(): the number waiting changed;
   * onRecorded(entry, vote) and onRefused(entry, error): how one ended; onLoggedOut(): sending has stopped.
   */
  constructor({ post, address, person, campaign, onChange, onRecorded, onRefused, onLoggedOut }) {
    Object.assign(this, { post, address, person, campaign, onChange, onRecorded, onRefused, onLoggedOut });
    this.isStuck = false;
    this.#entries = this.#stored();
    window.addEventListener("online", () => this.#wake());
  }

  get size() {
    return this.#entries.length;
  }

  /** What is on its way in this campaign, the last vote at the end. */
  get entries() {
    return this.#entries.filter((entry) => entry.campaign === this.campaign);
  }

  /** Keep a vote, and send it as soon as those before it are sent. */
  add(body) {
    const { person, campaign } = this;
    const entry = settling({ key: randomUuid(), person, campaign, body, madeAt: Date.now() });
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
        const vote = await this.#post(entry);
        this.isStuck = false;
        waitMs = 500;
        this.#remove(entry);
        entry.settle(vote);
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
          entry.settle(null);
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

  /** One tab at a time, so that a vote left behind is not sent by all of them; the server would count it once anyway. */
  async #post({ key, body }) {
    const send = () => this.post(this.address, body, { headers: { "Idempotency-Key": key } });
    if (!navigator.locks) return send();
    let hasBegun = false;
    const sendOnce = () => ((hasBegun = true), send());
    try {
      return await navigator.locks.request(LOCK + this.person, { signal: AbortSignal.timeout(LONGEST_LOCK_MS) }, sendOnce);
    } catch (error) {
      if (hasBegun) throw error;
      return send(); // a tab that is frozen keeps the lock
    }
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

  #store({ key, person, campaign, body, madeAt }) {
    try {
      localStorage.setItem(PREFIX + key, JSON.stringify({ key, person, campaign, body, madeAt }));
    } catch {
      // A browser without storage, or a full one: the vote lives as long as this page.
    }
  }

  /** What an earlier page of the same person left behind. */
  #stored() {
    try {
      return Object.keys(localStorage)
        .filter((name) => name.startsWith(PREFIX))
        .map((name) => settling({ ...JSON.parse(localStorage.getItem(name)), wasSent: true }))
        .filter((entry) => entry.person === this.person)
        .sort((one, other) => one.madeAt - other.madeAt);
    } catch {
      return [];
    }
  }
}

/** The entry with a promise of the vote that comes of it, or of null. */
function settling(entry) {
  entry.settled = new Promise((resolve) => (entry.settle = resolve));
  return entry;
}
