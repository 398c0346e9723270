// A tie said at once is often a tie said to be done: where the campaign wants it, those answers come a little later.

const TICK_MS = 200;

export class Patience {
  #timer = null;

  /** buttons: those that wait; shownMs(): how long the images have been in sight; onReady(): they may be pressed now. */
  constructor({ buttons, afterMs, texts, shownMs, onReady }) {
    Object.assign(this, { buttons: afterMs ? [...buttons] : [], afterMs, texts, shownMs, onReady });
  }

  /** Whole seconds until the buttons may be pressed; 0 when they may. */
  get secondsLeft() {
    return this.buttons.length ? Math.max(0, Math.ceil((this.afterMs - this.shownMs()) / 1000)) : 0;
  }

  /** A new set came into sight. */
  begin() {
    clearInterval(this.#timer);
    if (!this.buttons.length) return;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#show();
  }

  /** Whether this button has to wait. */
  holds(button) {
    return this.buttons.includes(button) && this.secondsLeft > 0;
  }

  #tick() {
    this.#show();
    if (this.secondsLeft) return;
    clearInterval(this.#timer);
    this.onReady();
  }

  #show() {
    for (const button of this.buttons) {
      const count = button.querySelector("[data-late-count]");
      count.hidden = this.secondsLeft === 0;
      count.textContent = this.texts.seconds.replace("{n}", this.secondsLeft);
      if (this.secondsLeft) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    }
  }
}
