// All images enlarged and moved together, side by side or at one place; by key, wheel, drag, pinch or button.

import { keyOf } from "./vote-keys.js";
import { Lens } from "./vote-lens.js";

const HOLD_MS = 350; // a key that is held for longer closes the view when it is let go
const LONG_PRESS_MS = 450;
const STILL_PX = 10;
const FIRST_ZOOM = 2.5;
const STEP = 1.5;
const MOVE_PX = 60;

export class Zoom {
  #lens = new Lens();
  #images = [];
  #only = null; // the image shown alone at the common place, or null: side by side
  #held = null; // the key that opened the view, as long as it is down
  #fingers = new Map();
  #hasMoved = false;

  /** getImages(): the images in sight; onOpen({isFlicker}): the view was used. */
  constructor(root, { keys, texts, getImages, onOpen }) {
    const find = (name) => root.querySelector(`[data-zoom-${name}]`);
    Object.assign(this, { root, find, keys, texts, getImages, onOpen });
    this.dialog = root.querySelector("dialog[data-zoom]");
    this.frame = find("panes");
    this.#listen();
  }

  get panes() {
    return [...this.frame.children];
  }

  /** at: `{u, v}`, where to look; isFlicker: at one place and pixel by pixel; key: the event of a key that is held. */
  open({ at = null, isFlicker = false, key = null } = {}) {
    this.#images = this.getImages();
    if (!this.#images.length || this.dialog.open) return;
    this.#held = key && { code: key.code, at: performance.now() };
    this.#lens.reset();
    this.#fill();
    this.dialog.showModal();
    this.frame.focus();
    if (at) this.#lens.lookAt(at.u, at.v);
    if (isFlicker) this.#lens.pixelwise();
    else this.#lens.zoom = FIRST_ZOOM;
    this.#pick(isFlicker ? 0 : null);
  }

  /** A finger that rests on an image opens the view there, and chooses nothing. */
  openByLongPress(tiles) {
    let timer = null;
    let start = null;
    const give = () => clearTimeout(timer);
    tiles.addEventListener("pointerdown", (event) => {
      const image = event.target.closest(".tile")?.querySelector("img");
      if (event.pointerType === "mouse" || !image || !event.isPrimary) return give();
      start = event;
      timer = setTimeout(() => {
        this.open({ at: pointOf(image, start) });
        swallowNextClick();
      }, LONG_PRESS_MS);
    });
    tiles.addEventListener("pointermove", (event) => {
      if (start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > STILL_PX) give();
    });
    for (const end of ["pointerup", "pointercancel"]) tiles.addEventListener(end, give);
    tiles.addEventListener("contextmenu", (event) => event.pointerType === "touch" && event.preventDefault());
  }

  #listen() {
    const { frame, dialog, find } = this;
    find("close").addEventListener("click", () => dialog.close());
    find("in").addEventListener("click", () => this.#magnify(STEP));
    find("out").addEventListener("click", () => this.#magnify(1 / STEP));
    find("all").addEventListener("click", () => this.#pick(null));
    find("fit").addEventListener("click", () => this.#whole());
    find("pixels").addEventListener("click", () => this.#pixelwise());
    dialog.addEventListener("close", () => frame.replaceChildren());
    dialog.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("keyup", (event) => this.#onKeyUp(event));
    frame.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#onFinger(event));
    frame.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, (event) => this.#onFingerUp(event));
    new ResizeObserver(() => dialog.open && this.#draw()).observe(frame);
  }

  /** The same files as in the tiles, which the browser has at hand. */
  #fill() {
    const [pane, pick] = ["pane", "pick"].map((name) => this.root.querySelector(`template[data-${name}]`).content);
    const numbers = this.#images.map((_, index) => index + 1);
    this.frame.dataset.count = this.#images.length;
    this.frame.replaceChildren(
      ...this.#images.map((image, index) => {
        const figure = pane.cloneNode(true).firstElementChild;
        figure.querySelector("figcaption").textContent = numbers[index];
        const copy = image.cloneNode();
        copy.className = "zoom__image";
        figure.prepend(copy);
        return figure;
      }),
    );
    this.find("picks").replaceChildren(
      ...numbers.map((n) => {
        const button = pick.cloneNode(true).firstElementChild;
        button.textContent = this.texts.image.replace("{n}", n);
        button.addEventListener("click", () => this.#pick(n - 1));
        return button;
      }),
    );
  }

  /** One image alone where all of them were, or null: all side by side again. */
  #pick(index) {
    this.#only = index;
    this.frame.classList.toggle("is-one-place", index !== null);
    this.panes.forEach((pane, place) => {
      pane.classList.toggle("is-on-top", place === index);
      pane.toggleAttribute("aria-hidden", index !== null && place !== index);
      if (pane.hasAttribute("aria-hidden")) pane.setAttribute("aria-hidden", "true");
    });
    [...this.find("picks").children].forEach((button, place) => {
      button.setAttribute("aria-pressed", String(place === index));
    });
    this.find("all").setAttribute("aria-pressed", String(index === null));
    this.onOpen({ isFlicker: index !== null });
    this.#draw();
  }

  #next(step = 1) {
    const count = this.#images.length;
    this.#pick(this.#only === null ? 0 : (this.#only + step + count) % count);
  }

  #whole() {
    this.#lens.reset();
    this.#draw();
  }

  #pixelwise() {
    this.#lens.pixelwise();
    this.#draw();
  }

  #magnify(factor, pane = this.#shownPane, x, y) {
    this.#lens.magnify(factor, pane, pane.querySelector("img"), x, y);
    this.#draw();
  }

  #drag(dx, dy, pane = this.#shownPane) {
    this.#lens.drag(dx, dy, pane, pane.querySelector("img"));
    this.#draw();
  }

  get #shownPane() {
    return this.panes[this.#only ?? 0];
  }

  #draw() {
    for (const pane of this.panes) {
      const image = pane.querySelector("img");
      const { left, top, width, height, scale } = this.#lens.placeOf(pane, image);
      Object.assign(image.style, { inlineSize: `${width}px`, blockSize: `${height}px` });
      image.style.transform = `translate(${left}px, ${top}px)`;
      image.classList.toggle("is-magnified", scale * devicePixelRatio > 1.5);
    }
    const pane = this.#shownPane;
    const scale = this.#lens.scaleOf(pane, pane.querySelector("img")) * devicePixelRatio;
    this.find("scale").textContent = `${Math.round(100 * scale)} %`;
  }

  /** Keys of this view; with shortcuts off, only those that are no characters. */
  #onKey(event) {
    if (!this.dialog.open || event.altKey || event.ctrlKey || event.metaKey) return;
    const key = keyOf(event);
    const arrows = { ArrowLeft: [MOVE_PX, 0], ArrowRight: [-MOVE_PX, 0], ArrowUp: [0, MOVE_PX], ArrowDown: [0, -MOVE_PX] };
    if (key in arrows) this.#drag(...arrows[key]);
    else if (this.keys.areOn && !this.#onCharacter(event, key)) return;
    else if (!this.keys.areOn) return;
    event.preventDefault();
  }

  #onCharacter(event, key) {
    const action = this.keys.actionOf(key);
    if (key === "+" || key === "=") this.#magnify(STEP);
    else if (key === "-") this.#magnify(1 / STEP);
    else if (event.repeat) return true;
    else if (action === "zoom") this.dialog.close();
    else if (action === "flicker") this.#next(event.shiftKey ? -1 : 1);
    else if (key === "0") this.#pick(null);
    else if (key === "w") this.#whole();
    else if (key === "p") this.#pixelwise();
    else if (Number(action) <= this.#images.length && Number(action) > 0) this.#pick(Number(action) - 1);
    else return false;
    return true;
  }

  #onKeyUp(event) {
    if (this.#held?.code !== event.code) return;
    if (performance.now() - this.#held.at > HOLD_MS) this.dialog.close();
    this.#held = null;
  }

  #onWheel(event) {
    const pane = event.target.closest(".zoom__pane");
    if (!pane) return;
    event.preventDefault();
    const box = pane.getBoundingClientRect();
    this.#magnify(Math.exp(-event.deltaY * 0.0015), pane, event.clientX - box.left, event.clientY - box.top);
  }

  #onFinger(event) {
    if (!event.target.closest(".zoom__pane")) return;
    this.frame.setPointerCapture(event.pointerId);
    if (!this.#fingers.size) this.#hasMoved = false;
    this.#fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, pane: event.target.closest(".zoom__pane") });
  }

  #onMove(event) {
    const finger = this.#fingers.get(event.pointerId);
    if (!finger) return;
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
    if (!this.#hasMoved && Math.hypot(dx, dy) < STILL_PX) return;
    this.#hasMoved = true;
    const [other] = [...this.#fingers.values()].filter((each) => each !== finger);
    if (other) this.#pinch(finger, other, event);
    else this.#drag(dx, dy, finger.pane);
    Object.assign(finger, { x: event.clientX, y: event.clientY });
  }

  /** Two fingers: the distance between them is the scale, the point between them stays under them. */
  #pinch(finger, other, { clientX, clientY }) {
    const before = Math.hypot(finger.x - other.x, finger.y - other.y);
    const after = Math.hypot(clientX - other.x, clientY - other.y);
    const box = finger.pane.getBoundingClientRect();
    const [x, y] = [(clientX + other.x) / 2 - box.left, (clientY + other.y) / 2 - box.top];
    this.#lens.drag((clientX - finger.x) / 2, (clientY - finger.y) / 2, finger.pane, finger.pane.querySelector("img"));
    if (before > 0 && after > 0) this.#magnify(after / before, finger.pane, x, y);
  }

  #onFingerUp(event) {
    const wasTap = this.#fingers.delete(event.pointerId) && !this.#hasMoved && event.type === "pointerup";
    if (wasTap && this.#only !== null) this.#next();
  }
}

/** The point of an image under the pointer, as shares of its width and height; null beside it. */
export function pointOf(image, { clientX, clientY }) {
  const box = image.getBoundingClientRect();
  const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  const u = (clientX - box.left - (box.width - width) / 2) / width;
  const v = (clientY - box.top - (box.height - height) / 2) / height;
  return Math.min(u, v) >= 0 && Math.max(u, v) <= 1 ? { u, v } : null;
}

/** The finger that is still down must not press what it opened, or chose. */
function swallowNextClick() {
  const swallow = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener("click", swallow, { capture: true, once: true });
  document.addEventListener("pointerdown", () => document.removeEventListener("click", swallow, { capture: true }), {
    capture: true,
    once: true,
  });
}
