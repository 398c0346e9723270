// What is in sight: the prompt, the tiles, and the moment in which all of them appear together.

import { Clock } from "./vote-clock.js";

const CHOSEN_MS = 40; // long enough to be seen, short enough not to be waited for

export class Stage {
  #clock = new Clock();

  #labelled = 0;

  /** keys: what stands on the caps of the tiles; onShown(): all images of a set have come into sight. */
  constructor(root, { keys, texts, onShown }) {
    const find = (name) => root.querySelector(`[data-${name}]`);
    Object.assign(this, { root, find, keys, texts, onShown });
    this.form = find("form");
    this.start = find("start");
    this.tiles = find("tiles");
    this.prompt = find("prompt");
    this.template = root.querySelector("template[data-tile]");
    this.card = null;
    find("whole").addEventListener("click", () => this.#unfold(!this.prompt.classList.contains("is-whole")));
  }

  get state() {
    return this.root.dataset.state;
  }

  /** Whether all images of a set are in sight and may be chosen. */
  get isShown() {
    return this.state === "shown";
  }

  get shownMs() {
    return this.#clock.shownMs;
  }

  get hiddenMs() {
    return this.#clock.hiddenMs;
  }

  get blurs() {
    return this.#clock.blurs;
  }

  /** Whether the first image is the one on the right. */
  get isMirrored() {
    return getComputedStyle(this.tiles).direction === "rtl";
  }

  get buttons() {
    return [...this.tiles.querySelectorAll(".tile")];
  }

  /** The place of an image among those in sight, from 1. */
  numberOf(id) {
    return this.card.claim.images.findIndex((image) => image.id === id) + 1;
  }

  /** Bring a card into sight once all its images are decoded. */
  async show(card) {
    this.card = card;
    if (!card.isReady) {
      this.#say("loading", this.texts.loading);
      this.#showPrompt(card);
      await card.load();
      if (this.card !== card) return;
    }
    if (card.isReady) this.#reveal(card);
    else this.#setState("failed");
  }

  /** Nothing to show for the moment, for the reason given. */
  waitFor(text) {
    this.#clear();
    this.#say("waiting", text);
  }

  /** Something to read instead of images: `link` leads on, or a button; resolves when the button was pressed. */
  pauseFor({ title, text, link = null, mayTryAgain = false }) {
    this.#clear();
    const [way, go, again] = [this.find("pause-link"), this.find("continue"), this.find("try-again")];
    this.find("pause-title").textContent = title;
    this.find("pause-text").textContent = text;
    way.hidden = !link;
    go.hidden = Boolean(link);
    again.hidden = !mayTryAgain;
    if (link) Object.assign(way, { href: link.address, textContent: link.label });
    this.#setState("paused");
    (link ? way : go).focus();
    return new Promise((resolve) => [go, again].forEach((button) => (button.onclick = resolve)));
  }

  /** Mark what was chosen for a moment, so that the eye can follow. */
  async markChosen(value) {
    this.#setState("chosen");
    this.#clock.stop();
    for (const button of this.buttons) button.classList.add(button.value === value ? "is-chosen" : "is-passed");
    await new Promise((resolve) => setTimeout(resolve, CHOSEN_MS));
  }

  /** What would have been right, until the person goes on. */
  async showFeedback({ is_right: isRight, expected }) {
    for (const button of this.buttons) {
      button.classList.toggle("is-expected", button.value === expected);
      button.classList.toggle("is-passed", button.value !== expected);
    }
    const text = this.texts[isRight ? "practice_right" : "practice_wrong"].replace("{n}", this.numberOf(expected));
    this.find("feedback").classList.toggle("is-right", isRight);
    this.find("feedback-text").textContent = text;
    this.#setState("feedback");
    const next = this.find("next");
    next.focus();
    await new Promise((resolve) => (next.onclick = resolve));
    this.tiles.focus();
  }

  #reveal(card) {
    const { claim, images } = card;
    this.#showPrompt(card);
    this.form.elements.token.value = claim.token;
    this.#makeTiles(claim.images.length);
    this.buttons.forEach((button, index) => {
      button.value = claim.images[index].id;
      button.classList.remove("is-chosen", "is-passed", "is-expected");
      images[index].alt = this.texts.image.replace("{n}", index + 1);
      button.querySelector("img")?.remove();
      button.prepend(images[index]);
    });
    this.#setState("shown");
    // On a phone the last set may have been scrolled through.
    window.scrollTo(0, 0);
    requestAnimationFrame(() => {
      this.#clock.start();
      this.onShown();
    });
  }

  #showPrompt({ claim }) {
    this.find("practice").hidden = !claim.is_practice;
    this.prompt.textContent = claim.prompt;
    this.#unfold(false);
  }

  /** A long text is folded to a few lines, with a button that says so. */
  #unfold(isWhole) {
    const button = this.find("whole");
    this.prompt.classList.toggle("is-whole", isWhole);
    this.prompt.classList.add("is-foldable");
    button.hidden = !isWhole && this.prompt.scrollHeight <= this.prompt.clientHeight + 1;
    button.textContent = isWhole ? this.texts.less_prompt : this.texts.whole_prompt;
    button.setAttribute("aria-expanded", String(isWhole));
  }

  /** The same buttons are used again, so that whoever tabbed to one stays on it. */
  #makeTiles(count) {
    this.tiles.dataset.count = count;
    while (this.buttons.length > count) this.buttons.at(-1).remove();
    while (this.buttons.length < count) this.tiles.append(this.template.content.cloneNode(true));
    if (this.#labelled === count) return;
    const sides = this.isMirrored ? ["right", "left"] : ["left", "right"];
    this.buttons.forEach((button, index) => {
      const actions = count === 2 ? [index + 1, sides[index]] : [index + 1];
      button.querySelector(".tile__caps").replaceChildren(...actions.map((action) => this.keys.capFor(action)));
    });
    this.#labelled = count;
  }

  #clear() {
    this.card = null;
    this.#clock.stop();
    this.prompt.textContent = "";
    this.find("whole").hidden = true;
    this.find("practice").hidden = true;
    this.tiles.replaceChildren();
    this.#labelled = 0;
  }

  #say(state, text) {
    this.find("wait").textContent = text;
    this.#setState(state);
  }

  #setState(state) {
    this.root.dataset.state = state;
    this.form.hidden = state === "paused";
    this.start?.remove();
    this.find("wait").hidden = !["loading", "waiting"].includes(state);
    this.find("failed").hidden = state !== "failed";
    this.find("feedback").hidden = state !== "feedback";
    this.find("pause").hidden = state !== "paused";
  }
}
