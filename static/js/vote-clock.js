// How long the images were really in sight: time during which the page was hidden does not count.

export class Clock {
  #startedAt = null;
  #hiddenAt = null;
  #hiddenMs = 0;

  /** How often the window lost the focus since the start. */
  blurs = 0;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hiddenAt ??= performance.now();
      else this.#endHidden();
    });
    window.addEventListener("blur", () => (this.blurs += 1));
  }

  start() {
    this.#startedAt = performance.now();
    this.#hiddenMs = 0;
    this.#hiddenAt = document.hidden ? this.#startedAt : null;
    this.blurs = 0;
  }

  stop() {
    this.#startedAt = null;
  }

  /** Milliseconds since the start in which the page was in sight, whole; 0 when it does not run. */
  get shownMs() {
    if (this.#startedAt === null) return 0;
    return Math.max(0, Math.round(performance.now() - this.#startedAt) - this.hiddenMs);
  }

  /** Milliseconds since the start in which it was not. */
  get hiddenMs() {
    if (this.#startedAt === null) return 0;
    return Math.round(this.#hiddenMs + (this.#hiddenAt === null ? 0 : performance.now() - this.#hiddenAt));
  }

  #endHidden() {
    if (this.#hiddenAt === null) return;
    this.#hiddenMs += performance.now() - this.#hiddenAt;
    this.#hiddenAt = null;
  }
}
