// Keys of the voting screen. They can be switched off, and the browser remembers that.

const SWITCH = "hps-shortcuts-off";
const LETTERS = { t: "tie", 0: "tie", b: "all_bad", s: "skip", f: "flag", z: "undo", Backspace: "undo", "?": "help" };
const ARROWS = { ArrowLeft: "1", ArrowRight: "2", ArrowDown: "tie" };

export function areShortcutsOn() {
  try {
    return localStorage.getItem(SWITCH) === null;
  } catch {
    return true;
  }
}

export function switchShortcuts(isOn) {
  try {
    if (isOn) localStorage.removeItem(SWITCH);
    else localStorage.setItem(SWITCH, "1");
  } catch {
    // A browser without storage starts with the keys switched on each time.
  }
}

/** What a key press asks for: a digit, "tie", "undo", ... or null. Arrows speak only where there are two images. */
export function meaningOf(event, { isPair }) {
  if (event.repeat || event.isComposing || event.defaultPrevented || isTyping(event.target)) return null;
  if (event.altKey || event.metaKey) return event.metaKey && event.key === "z" ? "undo" : null;
  if (event.ctrlKey) return event.key.toLowerCase() === "z" && !event.shiftKey ? "undo" : null;
  if (!areShortcutsOn()) return null;
  if (/^[1-9]$/.test(event.key)) return event.key;
  if (isPair && event.key in ARROWS) return ARROWS[event.key];
  return LETTERS[event.key] ?? LETTERS[event.key.toLowerCase()] ?? null;
}

function isTyping(target) {
  return target instanceof Element && Boolean(target.closest("input, textarea, select, [contenteditable], dialog"));
}
