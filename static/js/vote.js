// The voting screen: each choice shows the next set at once, while the vote is sent behind it.

import { makePost, Refused, Unreachable } from "./vote-api.js";
import { Deck } from "./vote-deck.js";
import { Help } from "./vote-help.js";
import { Keys } from "./vote-keys.js";
import { Outbox } from "./vote-outbox.js";
import { Patience } from "./vote-patience.js";
import { Says } from "./vote-says.js";
import { Stage } from "./vote-stage.js";
import { Zoom } from "./vote-zoom.js";

const BLIND_MS = 120; // nobody chooses this soon: it is the end of the press before
const DOUBLE_CLICK_MS = 500;
const RETRY_MS = 2000;
const VIBRATION_MS = 10;
const MAY_FINISH = ["campaign_not_running", "cap_reached"]; // what one holds may still be answered

const root = document.querySelector("[data-vote]");
const screen = JSON.parse(document.getElementById("vote-screen").textContent);
const { addresses, texts } = screen;
const find = (name) => root.querySelector(`[data-${name}]`);
const menus = [find("skip"), find("flag")];

const post = makePost(find("form").elements.csrfmiddlewaretoken.value);
const keys = new Keys();
const says = new Says(root, texts);
const stage = new Stage(root, { keys, texts, onShown });
const patience = new Patience({
  buttons: root.querySelectorAll("[data-late]"),
  afterMs: screen.tie_after_ms,
  texts,
  shownMs: () => stage.shownMs,
  onReady: () => says.quietly(texts.tie_ready),
});
const zoom = new Zoom(root, {
  keys,
  texts,
  getImages: () => (stage.isShown ? stage.buttons.map((button) => button.querySelector("img")) : []),
  onOpen: ({ isFlicker }) => Object.assign(used, { zoomed: true, flickered: used.flickered || isFlicker }),
});
const help = new Help(root, { keys, actions: screen.key_actions, texts });
const deck = new Deck({ claim: async (count) => (await post(addresses.claims, { count })).claims });
const outbox = new Outbox({
  post,
  address: addresses.votes,
  person: screen.person,
  campaign: screen.campaign,
  onChange: showWaiting,
  onRecorded,
  onRefused,
  onLoggedOut: askToLogIn,
});

let { voted, left } = screen.progress;
let lastVote = screen.last_vote;
let changes = 0; // of the count: an answer that was asked for before one of them is out of date
let isCountDue = false; // the count here and that of the server may differ
let said = outbox.entries.map((entry) => ({ card: null, entry })); // not yet undone, the last one at the end
let isBusy = false; // a vote is being shown, undone or talked about
let isLoggedOut = false;
let isStopped = false; // the server said that this person may not go on just now
let isPractising = false;
let used = {}; // the views that were opened on this set
let input = "key";
let hiddenAt = null;

begin();

async function begin() {
  listen();
  voted += said.length;
  left = Math.max(0, left - said.length);
  deck.leaveOut(outbox.entries.map((entry) => entry.body.token));
  deck.add(screen.claims);
  outbox.send();
  showProgress();
  keepClaims();
  if (deck.current) await showNext();
  else stage.waitFor(texts.loading);
  await goOn();
}

function listen() {
  root.addEventListener("submit", onSubmit);
  root.addEventListener("click", onAnyClick, { capture: true });
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("online", goOn);
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  window.addEventListener("pagehide", () => post(addresses.release, { soon: true }, { keepalive: true }).catch(() => {}));
  zoom.watch(stage.tiles);
  find("retry").addEventListener("click", retryImages);
  find("stop").addEventListener("click", releaseClaims);
  find("open-help").addEventListener("click", () => help.open());
  find("open-zoom").addEventListener("click", () => zoom.open());
  find("open-flicker").addEventListener("click", () => zoom.open({ isFlicker: true }));
  setInterval(keepClaims, (screen.lease_seconds * 1000) / 3);
  for (const menu of menus) {
    menu.addEventListener("keydown", (event) => event.key === "Escape" && menu.open && toggleMenu(menu));
    document.addEventListener("click", (event) => !menu.contains(event.target) && (menu.open = false));
  }
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
  else if (patience.holds(button)) says.toast(texts.too_early.replace("{n}", patience.secondsLeft));
  else if (button.name === "image") answer("choice", { image: button.value });
  else if (["flag", "skip"].includes(button.name)) answer(button.name, { reason: button.value });
  else answer(button.value);
}

/** The second half of a double click must not vote on the set that appeared between the two. */
function onAnyClick(event) {
  input = event.pointerType === "touch" ? "touch" : event.pointerType || event.detail ? "pointer" : "key";
  if (event.detail > 1 && stage.shownMs < DOUBLE_CLICK_MS && event.target.closest(".tile")) event.preventDefault();
}

async function answer(outcome, { image = null, reason = "" } = {}) {
  const mayAnswer = stage.isShown ? stage.shownMs >= BLIND_MS : stage.state === "failed" && !image;
  if (isBusy || !stage.card || !mayAnswer) return;
  isBusy = true;
  for (const menu of menus) menu.open = false;
  const { card, shownMs, hiddenMs } = stage;
  const { token, is_practice: isPractice, images } = card.claim;
  const n = stage.numberOf(image);
  const entry = outbox.add({ token, outcome, image, reason, shown_ms: shownMs, hidden_ms: hiddenMs, client: howGiven() });
  if (!isPractice) count(card, entry);
  if (outcome === "flag" && reason !== "prompt_unclear") deck.putAway(images);
  if (input === "touch") navigator.vibrate?.(VIBRATION_MS);
  if (stage.isShown) await stage.markChosen(image);
  if (isPractice) await tellOfPractice(entry);
  else says.recorded((texts[`said_${outcome}`] ?? texts.image).replace("{n}", n));
  deck.next();
  await takeBreak(isPractice);
  isBusy = false;
  await showNext();
  const recorded = texts[`recorded_${outcome}`].replace("{n}", n);
  if (stage.isShown) says.aloud(recorded, { voted, left, prompt: stage.card?.claim.prompt });
}

function howGiven() {
  const client = { input, zoomed: false, flickered: false, ...used, viewport: [innerWidth, innerHeight] };
  if (stage.blurs) client.blurs = stage.blurs;
  if (screen.tie_after_ms) client.tie_after_ms = screen.tie_after_ms;
  return client;
}

function count(card, entry) {
  said.push({ card, entry });
  takeCount({ voted: voted + 1, left: Math.max(0, left - 1) });
}

/** Practice waits for the server: only there it is known what is right. */
async function tellOfPractice(entry) {
  const vote = await entry.settled;
  if (vote?.feedback) await stage.showFeedback(vote.feedback);
}

async function takeBreak(isPractice) {
  if (isPractice || !screen.break_after || voted % screen.break_after || !left) return;
  await stage.pauseFor({ title: texts.break_title.replace("{n}", voted), text: texts.break_text });
  stage.tiles.focus();
}

/** Show the next set, or say why there is none. */
async function showNext() {
  if (isStopped) return;
  if (deck.current) {
    if (isPractising && !deck.current.claim.is_practice) await endPractice();
    isPractising = deck.current.claim.is_practice;
    await stage.show(deck.current);
  } else {
    stage.waitFor(outbox.isStuck ? texts.offline : texts.loading);
    if (!outbox.size) goOn();
  }
}

async function endPractice() {
  isBusy = true;
  await stage.pauseFor({ title: texts.practice_over_title, text: texts.practice_over_text });
  stage.tiles.focus();
  isBusy = false;
}

/** Fetch what is missing; leave when all is done and sent. */
async function goOn() {
  clearTimeout(goOn.timer);
  if (isStopped) return;
  try {
    await deck.fill();
    // The first may have been asked for before the last vote arrived.
    if (!deck.current && !outbox.size) await deck.fill();
  } catch (error) {
    if (error instanceof Refused) return refuse(error);
    if (!(error instanceof Unreachable)) throw error;
    goOn.timer = setTimeout(goOn, RETRY_MS);
    if (!isBusy && stage.state === "waiting") stage.waitFor(texts.offline);
    return;
  }
  if (isStopped || isBusy || stage.state !== "waiting") return;
  if (deck.current || outbox.size) return showNext();
  isStopped = true; // leaving once more would break the first leaving off
  location.replace(addresses.done);
}

/** What the server says to somebody who may not go on, and what can be done. */
async function refuse(error) {
  if (error.isLoggedOut) return askToLogIn();
  if (deck.current && MAY_FINISH.includes(error.code)) return;
  isStopped = true;
  const { title, label, address, may_pass: mayTryAgain } = screen.ways_on[error.code] ?? screen.ways_on.refused;
  await stage.pauseFor({ title, text: error.message, link: { label, address }, mayTryAgain });
  location.reload();
}

async function onRecorded(entry, vote) {
  if (entry.campaign !== screen.campaign) return;
  if (!vote.feedback) lastVote = vote.id;
  // What an earlier page or another tab left behind may have been counted by the server already.
  if (said.find((past) => past.entry === entry)?.card === null) isCountDue = true;
  await countAnew();
  await goOn();
}

async function onRefused(entry, error) {
  said = said.filter((past) => past.entry !== entry);
  isCountDue = true;
  await countAnew();
  if (error.code in screen.ways_on) return refuse(error);
  says.toast(error.code === "claim_lost" ? error.message : texts.not_taken.replace("{detail}", error.message));
  await goOn();
}

function retryImages() {
  stage.card.reload();
  stage.show(stage.card);
}

async function undo() {
  if (isBusy) return;
  isBusy = true;
  try {
    await undoLast();
  } catch (error) {
    if (error instanceof Refused && error.isLoggedOut) askToLogIn();
    else says.toast(error instanceof Refused ? error.message : texts.undo_offline);
  } finally {
    isBusy = false;
  }
}

async function undoLast() {
  const past = said.at(-1);
  if (past?.card && outbox.cancel(past.entry)) {
    deck.putBack(past.card);
    takeCount({ voted: Math.max(0, voted - 1), left: left + 1 });
  } else {
    if (past && outbox.size && outbox.isStuck) return says.toast(texts.undo_offline);
    const vote = past ? await past.entry.settled : null;
    const id = vote?.id ?? lastVote;
    if (!id) return says.toast(texts.nothing_to_undo);
    const answer = await post(addresses.undo.replace("00000000-0000-0000-0000-000000000000", id));
    lastVote = answer.last_vote;
    deck.replace(answer.claims);
    takeCount(answer);
  }
  said.pop();
  showProgress();
  await stage.show(deck.current);
  says.aloud(texts.undone, { voted, left, prompt: deck.current.claim.prompt });
}

function onKey(event) {
  const meaning = keys.meaningOf(event, { isPair: stage.buttons.length === 2 });
  if (!meaning || stage.state === "paused") return;
  const open = menus.find((menu) => menu.open);
  const sides = stage.isMirrored ? { right: 0, left: 1 } : { left: 0, right: 1 };
  event.preventDefault();
  if (open && Number(meaning)) open.querySelectorAll(".menu__reasons [name]:not([name=outcome])")[meaning - 1]?.click();
  else if (Number(meaning)) stage.buttons[meaning - 1]?.click();
  else if (meaning in sides) stage.buttons.length === 2 && stage.buttons[sides[meaning]].click();
  else if (meaning === "help") help.open();
  else if (meaning === "undo") find("undo").click();
  else if (meaning === "flag") toggleMenu(find("flag"));
  else if (meaning === "skip" && open !== find("skip")) toggleMenu(find("skip"));
  else if (meaning === "zoom") zoom.open({ at: zoom.pointed, key: event });
  else if (meaning === "flicker") zoom.open({ at: zoom.pointed, isFlicker: true });
  else stage.form.querySelector(`[name="outcome"][value="${meaning}"]`)?.click();
}

function toggleMenu(menu) {
  if (!menu.checkVisibility()) return;
  for (const other of menus) other.open = other === menu && !menu.open;
  menu.querySelector(menu.open ? "button" : "summary").focus();
}

function onShown() {
  used = {};
  patience.begin();
}

/** Whoever thinks for long keeps the images they look at. */
function keepClaims() {
  if (document.hidden || isStopped || !deck.cards.length) return;
  post(addresses.heartbeat).catch(() => {});
}

/** Who was away for so long that others may have been given the images begins with what the server has now. */
function onVisibility() {
  if (document.hidden) hiddenAt = Date.now();
  else if (hiddenAt && Date.now() - hiddenAt > screen.lease_seconds * 1000 && !isBusy) location.reload();
  else keepClaims();
}

function releaseClaims() {
  if (!outbox.size) post(addresses.release, {}, { keepalive: true }).catch(() => {});
}

/** Ask the server how far one is, once it has all votes: what is on its way may or may not be counted there. */
async function countAnew() {
  if (!isCountDue || outbox.entries.length) return;
  const before = changes;
  const response = await fetch(addresses.progress, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!response?.ok) return;
  const progress = await response.json();
  if (changes !== before) return countAnew();
  isCountDue = false;
  lastVote = progress.last_vote;
  takeCount(progress);
}

function takeCount(count) {
  changes += 1;
  ({ voted, left } = count);
  showProgress();
}

function showProgress() {
  says.progress({ voted, left });
  says.mayUndo(Boolean(lastVote || said.length));
}

function showWaiting() {
  if (!isLoggedOut) says.waiting(outbox.size, { isStuck: outbox.isStuck });
}

/** Votes stay on this device until the person is back. */
function askToLogIn() {
  isLoggedOut = true;
  says.banner(texts.login, addresses.login);
}
