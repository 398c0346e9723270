// What the page tells besides the images: how far one is, what was recorded, what waits, what went wrong.

const TOAST_MS = 6000;
const SAID_MS = 2500;
const BANNER_AFTER_MS = 1500;

export class Says {
  #timers = {};

  constructor(root, texts) {
    this.texts = texts;
    this.find = (name) => root.querySelector(`[data-${name}]`);
  }

  progress({ voted, left }) {
    this.find("progress").textContent = this.#progressText({ voted, left });
    this.find("meter").max = Math.max(1, voted + left);
    this.find("meter").value = voted;
  }

  mayUndo(isPossible) {
    if (isPossible) this.find("undo").removeAttribute("aria-disabled");
    else this.find("undo").setAttribute("aria-disabled", "true");
  }

  /** What was recorded, beside the count: the images are the next ones already. */
  recorded(text) {
    const box = this.find("said");
    box.textContent = `✓ ${text}`;
    box.hidden = false;
    this.#later("said", SAID_MS, () => (box.hidden = true));
  }

  /** What happened and what is in sight now, to those who do not see it. */
  aloud(text, { voted, left, prompt = "" }) {
    this.find("live").textContent = `${text} ${this.#progressText({ voted, left })}. ${prompt}`;
  }

  /** One sentence to those who do not see it. */
  quietly(text) {
    this.find("live").textContent = text;
  }

  toast(text) {
    const box = this.find("toast");
    box.textContent = text;
    box.hidden = false;
    this.#later("toast", TOAST_MS, () => (box.hidden = true));
  }

  /** Only votes that wait for long are worth a word. */
  waiting(count, { isStuck }) {
    clearTimeout(this.#timers.banner);
    if (!count) return this.hideBanner();
    const text = count === 1 ? this.texts.one_waiting : this.texts.many_waiting.replace("{n}", count);
    this.#later("banner", isStuck ? 0 : BANNER_AFTER_MS, () => this.banner(text));
  }

  banner(text, address = "") {
    clearTimeout(this.#timers.banner);
    const link = this.find("banner-link");
    this.find("banner-text").textContent = address ? "" : text;
    link.hidden = !address;
    link.textContent = address ? text : "";
    if (address) link.href = address;
    this.find("banner").hidden = false;
  }

  hideBanner() {
    this.find("banner").hidden = true;
  }

  #progressText({ voted, left }) {
    return this.texts.progress.replace("{voted}", voted).replace("{left}", left);
  }

  #later(name, milliseconds, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, milliseconds);
  }
}
