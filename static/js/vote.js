// The voting screen: each choice shows the next set at once, while the vote is sent behind it.

import { makePost, Refused } from "./vote-api.js";
import { Deck } from "./vote-deck.js";
import { areShortcutsOn, meaningOf, switchShortcuts } from "./vote-keys.js";
import { Outbox } from "./vote-outbox.js";
import { Stage } from "./vote-stage.js";

const BLIND_MS = 120; // nobody chooses this soon: it is the end of the press before
const DOUBLE_CLICK_MS = 500;
const TOAST_MS = 6000;
const BANNER_AFTER_MS = 1500;

const root = document.querySelector("[data-vote]");
const screen = JSON.parse(document.getElementById("vote-screen").textContent);
const { addresses, texts } = screen;
const find = (name) => root.querySelector(`[data-${name}]`);

const post = makePost(find("form").elements.csrfmiddlewaretoken.value);
const stage = new Stage(root, texts);
const deck = new Deck({ claim: async (count) => (await post(addresses.claims, { count })).claims });
const outbox = new Outbox({
  post,
  address: addresses.votes,
  person: screen.person,
  onChange: showWaiting,
  onRecorded: async (entry, vote) => {
    lastVote = vote.id;
    await goOn();
  },
  onRefused: async (entry, error) => {
    said = said.filter((past) => past.entry !== entry);
    await countAnew();
    toast(error.code === "claim_lost" ? texts.claim_lost : texts.not_taken.replace("{detail}", error.message));
    await goOn();
  },
  onLoggedOut: askToLogIn,
});

let { voted, left } = screen.progress;
let lastVote = screen.last_vote;
let said = []; // on this page: { card, entry }, the last one at the end
let isBusy = false;
let isLoggedOut = false;

begin();

async function begin() {
  root.addEventListener("submit", onSubmit);
  document.addEventListener("keydown", onKey);
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  find("retry").addEventListener("click", retryImages);
  find("stop").addEventListener("click", releaseClaims);
  setUpHelp();
  setInterval(keepClaims, Math.min(screen.lease_seconds / 3, 300) * 1000);
  deck.leaveOut(outbox.tokens);
  deck.add(screen.claims);
  outbox.send();
  showProgress();
  if (deck.current) stage.show(deck.current);
  else stage.waitFor(texts.loading);
  await goOn();
}

/** Every button of the form comes through here, pressed by mouse, finger, Enter or key. */
function onSubmit(event) {
  if (event.target !== stage.form) {
    if (event.target === stage.start) event.preventDefault();
    return;
  }
  event.preventDefault();
  const button = event.submitter;
  if (!button) return;
  if (button === find("undo")) undo();
  else if (button.name === "image") answer("choice", { image: button.value });
  else if (button.name === "flag") answer("flag", { reason: button.value });
  else answer(button.value);
}

// The second half of a double click must not vote on the set that appeared between the two.
root.addEventListener(
  "click",
  (event) => {
    if (event.detail > 1 && stage.shownMs < DOUBLE_CLICK_MS && event.target.closest(".tile")) event.preventDefault();
  },
  { capture: true },
);

async function answer(outcome, { image = null, reason = "" } = {}) {
  const mayAnswer = stage.isShown ? stage.shownMs >= BLIND_MS : stage.root.dataset.state === "failed" && !image;
  if (isBusy || !stage.card || !mayAnswer) return;
  isBusy = true;
  find("flag").open = false;
  const { card, shownMs } = stage;
  const entry = outbox.add({ token: card.claim.token, outcome, image, reason, shown_ms: shownMs });
  said.push({ card, entry });
  voted += 1;
  left = Math.max(0, left - 1);
  await stage.markChosen(image);
  deck.next();
  isBusy = false;
  showProgress();
  await showNext();
  announce(recorded(outcome, card, image));
}

function retryImages() {
  stage.card.reload();
  stage.show(stage.card);
}

/** Show the next set, or say why there is none; leave when all is done and sent. */
async function showNext() {
  if (deck.current) await stage.show(deck.current);
  else if (outbox.size) stage.waitFor(outbox.isStuck ? texts.offline : texts.loading);
  else if (deck.isExhausted) location.replace(addresses.done);
}

async function goOn() {
  try {
    await deck.fill();
  } catch (error) {
    if (error instanceof Refused) return refuse(error);
    setTimeout(goOn, 2000);
  }
  if (!stage.card && !isBusy) await showNext();
}

function refuse(error) {
  if (error.isLoggedOut) askToLogIn();
  else location.replace(addresses.campaign);
}

async function undo() {
  if (isBusy) return;
  isBusy = true;
  try {
    await undoLast();
  } catch (error) {
    if (error instanceof Refused && error.isLoggedOut) askToLogIn();
    else toast(error instanceof Refused ? error.message : texts.undo_offline);
  } finally {
    isBusy = false;
  }
}

async function undoLast() {
  const past = said.at(-1);
  if (past && outbox.cancel(past.entry)) {
    deck.putBack(past.card);
  } else {
    if (past && outbox.size && outbox.isStuck) return toast(texts.undo_offline);
    const vote = past ? await past.entry.settled : null;
    const id = vote?.id ?? lastVote;
    if (!id) return toast(texts.nothing_to_undo);
    const answer = await post(addresses.undo.replace("00000000-0000-0000-0000-000000000000", id));
    lastVote = answer.last_vote;
    deck.replace(answer.claims);
  }
  said.pop();
  voted = Math.max(0, voted - 1);
  left += 1;
  showProgress();
  await stage.show(deck.current);
  announce(texts.undone);
}

function onKey(event) {
  const meaning = meaningOf(event, { isPair: stage.buttons.length === 2 });
  if (!meaning) return;
  const flag = find("flag");
  event.preventDefault();
  if (flag.open && /^[1-9]$/.test(meaning)) flag.querySelectorAll("button")[meaning - 1]?.click();
  else if (/^[1-9]$/.test(meaning)) stage.buttons[meaning - 1]?.click();
  else if (meaning === "help") find("help").showModal();
  else if (meaning === "undo") find("undo").click();
  else if (meaning === "flag") toggleFlag(flag);
  else stage.form.querySelector(`[name="outcome"][value="${meaning}"]`)?.click();
}

function toggleFlag(flag) {
  flag.open = !flag.open;
  flag.querySelector(flag.open ? "button" : "summary").focus();
}

function setUpHelp() {
  const [help, shortcuts, flag] = [find("help"), find("shortcuts"), find("flag")];
  find("open-help").addEventListener("click", () => help.showModal());
  help.addEventListener("click", (event) => event.target === help && help.close());
  shortcuts.checked = areShortcutsOn();
  root.classList.toggle("has-no-keys", !shortcuts.checked);
  shortcuts.addEventListener("change", () => {
    switchShortcuts(shortcuts.checked);
    root.classList.toggle("has-no-keys", !shortcuts.checked);
  });
  flag.addEventListener("keydown", (event) => event.key === "Escape" && flag.open && toggleFlag(flag));
  document.addEventListener("click", (event) => !flag.contains(event.target) && (flag.open = false));
}

/** Whoever thinks for long keeps the images they look at. */
function keepClaims() {
  if (!document.hidden && deck.cards.length) post(addresses.claims, { count: Math.min(5, deck.cards.length) }).catch(() => {});
}

function releaseClaims() {
  if (!outbox.size) post(addresses.release, {}, { keepalive: true }).catch(() => {});
}

async function countAnew() {
  const response = await fetch(addresses.progress, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!response?.ok) return;
  const progress = await response.json();
  voted = progress.voted + outbox.size;
  left = Math.max(0, progress.left - outbox.size);
  lastVote = progress.last_vote;
  showProgress();
}

function recorded(outcome, card, image) {
  const n = card.claim.images.findIndex(({ id }) => id === image) + 1;
  return texts[`recorded_${outcome}`].replace("{n}", n);
}

function progressText() {
  return texts.progress.replace("{voted}", voted).replace("{left}", left);
}

function showProgress() {
  find("progress").textContent = progressText();
  find("meter").max = Math.max(1, voted + left);
  find("meter").value = voted;
  if (lastVote || said.length) find("undo").removeAttribute("aria-disabled");
  else find("undo").setAttribute("aria-disabled", "true");
}

/** Say what happened and what is in sight now, to those who do not see it. */
function announce(text) {
  find("live").textContent = `${text} ${progressText()}. ${stage.card?.claim.prompt ?? ""}`;
}

/** Only votes that wait for long are worth a word. */
function showWaiting() {
  clearTimeout(showWaiting.timer);
  if (isLoggedOut) return;
  if (!outbox.size) return hideBanner();
  showWaiting.timer = setTimeout(
    () => showBanner(outbox.size === 1 ? texts.one_waiting : texts.many_waiting.replace("{n}", outbox.size)),
    outbox.isStuck ? 0 : BANNER_AFTER_MS,
  );
}

/** Votes stay on this device until the person is back. */
function askToLogIn() {
  isLoggedOut = true;
  clearTimeout(showWaiting.timer);
  showBanner(texts.login, addresses.login);
}

function showBanner(text, address = "") {
  const [banner, link] = [find("banner"), find("banner-link")];
  find("banner-text").textContent = address ? "" : text;
  link.hidden = !address;
  link.textContent = address ? text : "";
  if (address) link.href = address;
  banner.hidden = false;
}

function hideBanner() {
  find("banner").hidden = true;
}

function toast(text) {
  const box = find("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (box.hidden = true), TOAST_MS);
}
