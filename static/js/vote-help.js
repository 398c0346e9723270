// The list of keys: switched off and on, given to other keys, set back; the caps on the screen follow.

import { capOf, keyOf } from "./vote-keys.js";

export class Help {
  #asking = null; // the row whose new key is awaited

  constructor(root, { keys, actions, texts }) {
    Object.assign(this, { root, keys, actions, texts });
    this.dialog = root.querySelector("[data-help]");
    this.said = this.dialog.querySelector("[data-keys-said]");
    this.dialog.addEventListener("click", (event) => this.#onClick(event));
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
    this.dialog.addEventListener("close", () => this.#stopAsking());
    this.#setUpSwitch();
    this.show();
  }

  open() {
    this.said.textContent = "";
    this.dialog.showModal();
  }

  /** Write the keys on all caps. */
  show() {
    for (const row of this.dialog.querySelectorAll("[data-action]")) {
      const caps = this.keys.of(row.dataset.action).map((key) => cap(key));
      row.querySelector("[data-caps]").replaceChildren(...caps);
    }
    for (const place of this.root.querySelectorAll("[data-cap]")) {
      place.textContent = capOf(this.keys.of(place.dataset.cap)[0]);
    }
  }

  #setUpSwitch() {
    const shortcuts = this.dialog.querySelector("[data-shortcuts]");
    const follow = () => this.root.classList.toggle("has-no-keys", !this.keys.areOn);
    shortcuts.checked = this.keys.areOn;
    follow();
    shortcuts.addEventListener("change", () => {
      this.keys.areOn = shortcuts.checked;
      follow();
    });
  }

  #onClick(event) {
    if (event.target === this.dialog) this.dialog.close();
    const row = event.target.closest("[data-change]")?.closest("[data-action]");
    const wasAsking = this.#asking;
    this.#stopAsking();
    if (row && row !== wasAsking) this.#ask(row);
    if (event.target.closest("[data-reset-keys]")) this.#reset();
  }

  #ask(row) {
    this.#asking = row;
    row.classList.add("is-asking");
    row.querySelector("[data-caps]").textContent = this.texts.press_key;
    this.#say(`${this.actions[row.dataset.action]}: ${this.texts.press_key}`);
  }

  #stopAsking() {
    this.#asking?.classList.remove("is-asking");
    this.#asking = null;
    this.show();
  }

  /** While a key is awaited: Escape and Tab give up, every other key is the answer. */
  #onKey(event) {
    if (!this.#asking || ["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock"].includes(event.key)) return;
    if (event.key !== "Tab") event.preventDefault();
    const { action } = this.#asking.dataset;
    const key = keyOf(event);
    const isGivenUp = ["Escape", "Tab"].includes(event.key);
    if (event.repeat) return;
    if (!isGivenUp) this.#take(action, key, event);
    else this.said.textContent = "";
    this.#stopAsking();
  }

  #take(action, key, event) {
    const owner = this.keys.actionOf(key);
    const fill = (text, about = action) =>
      text.replace("{key}", capOf(key)).replace("{action}", this.actions[about] ?? this.texts.image.replace("{n}", about));
    if (event.ctrlKey || event.metaKey || event.altKey || !this.keys.mayBe(key, action)) {
      return this.#say(fill(this.texts.key_kept));
    }
    if (owner !== null && owner !== action) return this.#say(fill(this.texts.key_taken, owner));
    this.keys.choose(action, key);
    this.#say(fill(this.texts.key_set));
  }

  #reset() {
    this.keys.reset();
    this.show();
    this.#say(this.texts.keys_reset);
  }

  #say(text) {
    this.said.textContent = text;
  }
}

function cap(key) {
  const element = document.createElement("kbd");
  element.textContent = capOf(key);
  return element;
}
