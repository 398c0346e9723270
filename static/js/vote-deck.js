// The sets to come: claimed a few ahead, their images loaded and decoded before anybody sees them.

import { hurry, loadImage } from "./vote-images.js";

const FEWEST_CARDS = 4; // the one in sight and three ahead
const MOST_CLAIMS = 5;

/** One claim with its images; `load()` gives whether all of them can be shown. */
class Card {
  constructor(claim) {
    this.claim = claim;
    this.images = [];
    this.isReady = false;
  }

  load() {
    this.loading ??= Promise.all(this.claim.images.map(loadImage)).then((images) => {
      this.images = images;
      this.isReady = images.every(Boolean);
      return this.isReady;
    });
    hurry(this.claim.images);
    return this.loading;
  }

  reload() {
    this.loading = null;
    return this.load();
  }

  /** Decode again what the browser may have dropped meanwhile. */
  warm() {
    return Promise.allSettled(this.images.map((image) => image?.decode()));
  }
}

export class Deck {
  #gone = new Set();
  #filling = null;

  /** claim(count): asks the server for claims. */
  constructor({ claim }) {
    this.claim = claim;
    this.cards = [];
  }

  get current() {
    return this.cards[0];
  }

  /** Add claims that are new here, in their order. */
  add(claims) {
    const known = new Set([...this.#gone, ...this.cards.map((card) => card.claim.token)]);
    this.cards.push(...claims.filter((claim) => !known.has(claim.token)).map((claim) => new Card(claim)));
    this.#loadAhead();
  }

  /** Hold exactly these claims, and keep the images of those that were here. */
  replace(claims) {
    const cards = new Map(this.cards.map((card) => [card.claim.token, card]));
    this.cards = claims.map((claim) => cards.get(claim.token) ?? new Card(claim));
    this.#loadAhead();
  }

  /** Put the current card away and turn to the next. */
  next() {
    const card = this.cards.shift();
    if (card) this.#gone.add(card.claim.token);
    this.cards[1]?.warm();
    return this.current;
  }

  /** Put a card that was put away first again. */
  putBack(card) {
    this.#gone.delete(card.claim.token);
    this.cards.unshift(card);
  }

  /** Never show these claims: their votes are on the way. */
  leaveOut(tokens) {
    tokens.forEach((token) => this.#gone.add(token));
  }

  /** Drop what lies ahead with one of these images. */
  putAway(images) {
    const ids = new Set(images.map(({ id }) => id));
    const isUnwanted = ({ claim }) => claim.images.some(({ id }) => ids.has(id));
    this.leaveOut(this.cards.slice(1).filter(isUnwanted).map(({ claim }) => claim.token));
    this.cards = this.cards.filter((card, index) => index === 0 || !isUnwanted(card));
  }

  /** Claim more when few are left; two callers share one request. */
  fill() {
    if (this.cards.length >= FEWEST_CARDS) return Promise.resolve();
    this.#filling ??= this.claim(MOST_CLAIMS)
      .then((claims) => this.add(claims))
      .finally(() => (this.#filling = null));
    return this.#filling;
  }

  /** From the last to the first, since each `load` puts its images before those that wait. */
  #loadAhead() {
    [...this.cards].reverse().forEach((card) => card.isReady || card.load());
  }
}
