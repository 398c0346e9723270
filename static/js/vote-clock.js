// How long the images were really in sight: time during which the page was hidden does not count.

export class Clock {
  #startedAt = null;
  #hiddenAt = null;
  #hiddenMs = 0;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hiddenAt ??= performance.now();
      else this.#endHidden();
    });
  }

  start() {
    this.#startedAt = performance.now();
    this.#hiddenMs = 0;
    this.#hiddenAt = document.hidden ? this.#startedAt : null;
  }

  /** Milliseconds since the start, whole. */
  get shownMs() {
    const now = performance.now();
    const hiddenMs = this.#hiddenMs + (this.#hiddenAt === null ? 0 : now - this.#hiddenAt);
    return this.#startedAt === null ? 0 : Math.max(0, Math.round(now - this.#startedAt - hiddenMs));
  }

  #endHidden() {
    if (this.#hiddenAt === null) return;
    this.#hiddenMs += performance.now() - this.#hiddenAt;
    this.#hiddenAt = null;
  }
}
