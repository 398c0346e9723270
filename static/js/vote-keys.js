// Keys of the voting screen: what each does, which ones a person chose instead, and whether they are on at all.

const SWITCH = "hps-shortcuts-off";
const CHOSEN = "hps-keys";
const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
const ARROW_ACTIONS = ["left", "right", "tie"];

const FIRST_KEYS = {
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => [n, [String(n)]])),
  left: ["ArrowLeft"],
  right: ["ArrowRight"],
  tie: ["t", "0", "ArrowDown"],
  all_bad: ["b"],
  skip: ["s"],
  flag: ["f"],
  zoom: ["x", "+"],
  flicker: ["c"],
  undo: ["z", "Backspace"],
  help: ["?"],
};

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Backspace: "⌫", Delete: "⌦" };

/** The keys that do something now: those the person chose, and for the rest the first ones. */
export class Keys {
  #chosen = read(CHOSEN) ?? {};

  get areOn() {
    return read(SWITCH) === null;
  }

  set areOn(isOn) {
    write(SWITCH, isOn ? null : 1);
  }

  /** The keys of an action, the one to show first. */
  of(action) {
    return action in this.#chosen ? [this.#chosen[action]] : FIRST_KEYS[action];
  }

  /** A key cap with the first key of an action; it follows when another key is chosen. */
  capFor(action) {
    const cap = document.createElement("kbd");
    cap.className = "tile__key";
    cap.dataset.cap = action;
    cap.textContent = capOf(this.of(action)[0]);
    return cap;
  }

  /** The action of a key, or null. */
  actionOf(key) {
    return Object.keys(FIRST_KEYS).find((action) => this.of(action).includes(key)) ?? null;
  }

  /** Whether a key may be given to an action; arrows scroll, except where they choose between two. */
  mayBe(key, action) {
    if (ARROWS.includes(key)) return ARROW_ACTIONS.includes(action);
    return [...key].length === 1 && key !== " " ? true : ["Backspace", "Delete"].includes(key);
  }

  choose(action, key) {
    this.#chosen = { ...this.#chosen, [action]: key };
    write(CHOSEN, this.#chosen);
  }

  reset() {
    this.#chosen = {};
    write(CHOSEN, null);
  }

  /** What a key press asks for: "1", "tie", "undo", ... or null. Arrows speak only where there are two images. */
  meaningOf(event, { isPair }) {
    if (event.repeat || event.isComposing || event.defaultPrevented || isTyping(event.target)) return null;
    if (event.altKey || event.ctrlKey || event.metaKey) return isUndoEverywhere(event) ? "undo" : null;
    const key = keyOf(event);
    if (!this.areOn || (ARROWS.includes(key) && !isPair)) return null;
    return this.actionOf(key);
  }
}

/** The key of an event, by what is printed on it in Latin letters and digits, whatever the keyboard writes. */
export function keyOf(event) {
  const [, digit] = /^Digit(\d)$/.exec(event.code) ?? [];
  if (digit && !event.shiftKey) return digit;
  const [, letter] = /^Key([A-Z])$/.exec(event.code) ?? [];
  if (letter && !/^[\x20-\x7e]$/.test(event.key)) return letter.toLowerCase();
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

/** As it stands on a key cap. */
export function capOf(key) {
  return NAMES[key] ?? key.toUpperCase();
}

function isUndoEverywhere(event) {
  return (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && keyOf(event) === "z";
}

/** A dialog that was just closed keeps the focus until the next frame. */
function isTyping(target) {
  if (!(target instanceof Element)) return false;
  const dialog = target.closest("dialog");
  return dialog ? dialog.open : Boolean(target.closest("input, textarea, select, [contenteditable]"));
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null; // no storage, or nothing of ours in it
  }
}

function write(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // A browser without storage starts with the first keys each time.
  }
}
