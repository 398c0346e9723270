// What is in sight: the prompt, the tiles, and the moment in which all of them appear together.

import { Clock } from "./vote-clock.js";

const CHOSEN_MS = 150;

export class Stage {
  #clock = new Clock();

  constructor(root, texts) {
    const find = (name) => root.querySelector(`[data-${name}]`);
    this.root = root;
    this.texts = texts;
    this.form = find("form");
    this.start = find("start");
    this.tiles = find("tiles");
    this.prompt = find("prompt");
    this.wait = find("wait");
    this.failed = find("failed");
    this.template = root.querySelector("template[data-tile]");
    this.card = null;
  }

  /** Whether all images of a set are in sight and may be chosen. */
  get isShown() {
    return this.root.dataset.state === "shown";
  }

  get shownMs() {
    return this.#clock.shownMs;
  }

  get buttons() {
    return [...this.tiles.querySelectorAll(".tile")];
  }

  /** Bring a card into sight once all its images are decoded. */
  async show(card) {
    this.card = card;
    if (!card.isReady) {
      this.#say("loading", this.texts.loading);
      this.prompt.textContent = card.claim.prompt;
      await card.load();
      if (this.card !== card) return;
    }
    if (card.isReady) this.#reveal(card);
    else this.#setState("failed");
  }

  /** Nothing to show for the moment, for the reason given. */
  waitFor(text) {
    this.card = null;
    this.prompt.textContent = "";
    this.tiles.replaceChildren();
    this.#say("waiting", text);
  }

  /** Mark what was chosen for a moment, so that the eye can follow. */
  async markChosen(value) {
    this.root.dataset.state = "chosen";
    for (const button of this.buttons) button.classList.add(button.value === value ? "is-chosen" : "is-passed");
    await new Promise((resolve) => setTimeout(resolve, CHOSEN_MS));
  }

  #reveal(card) {
    const { claim, images } = card;
    this.prompt.textContent = claim.prompt;
    this.form.elements.token.value = claim.token;
    this.#makeTiles(claim.images.length);
    this.buttons.forEach((button, index) => {
      button.value = claim.images[index].id;
      button.classList.remove("is-chosen", "is-passed");
      images[index].alt = this.texts.image.replace("{n}", index + 1);
      button.querySelector("img")?.remove();
      button.prepend(images[index]);
    });
    this.#setState("shown");
    // On a phone the last set may have been scrolled through.
    window.scrollTo(0, 0);
    requestAnimationFrame(() => this.#clock.start());
    this.#clock.start();
  }

  /** The same buttons are used again, so that whoever tabbed to one stays on it. */
  #makeTiles(count) {
    this.tiles.dataset.count = count;
    while (this.buttons.length > count) this.buttons.at(-1).remove();
    while (this.buttons.length < count) {
      const tile = this.template.content.cloneNode(true);
      tile.querySelector(".tile__key").textContent = this.buttons.length + 1;
      this.tiles.append(tile);
    }
  }

  #say(state, text) {
    this.wait.textContent = text;
    this.#setState(state);
  }

  #setState(state) {
    this.root.dataset.state = state;
    this.form.hidden = false;
    this.start?.remove();
    this.wait.hidden = !["loading", "waiting"].includes(state);
    this.failed.hidden = state !== "failed";
  }
}
