// The sets to come: claimed a few ahead, their images loaded and decoded before anybody sees them.

const FEWEST_CARDS = 4; // the one in sight and three ahead
const MOST_CLAIMS = 5;
const RETRY_MS = 800;

/** One claim with its images; `load()` gives whether all of them can be shown. */
class Card {
  constructor(claim) {
    this.claim = claim;
    this.images = [];
    this.isReady = false;
  }

  load() {
    this.loading ??= Promise.all(this.claim.images.map(loadTwice)).then((images) => {
      this.images = images;
      this.isReady = images.every(Boolean);
      return this.isReady;
    });
    return this.loading;
  }

  reload() {
    this.loading = null;
    return this.load();
  }
}

export class Deck {
  #gone = new Set();
  #filling = null;

  /** claim(count): asks the server for claims. */
  constructor({ claim }) {
    this.claim = claim;
    this.cards = [];
    this.isExhausted = false;
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
    const images = new Map(this.cards.map((card) => [card.claim.token, card]));
    this.cards = claims.map((claim) => images.get(claim.token) ?? new Card(claim));
    this.isExhausted = false;
    this.#loadAhead();
  }

  /** Put the current card away and turn to the next. */
  next() {
    const card = this.cards.shift();
    if (card) this.#gone.add(card.claim.token);
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

  /** Claim more when few are left; two callers share one request. */
  fill() {
    if (this.cards.length >= FEWEST_CARDS) return Promise.resolve();
    this.#filling ??= this.claim(MOST_CLAIMS)
      .then((claims) => {
        const before = this.cards.length;
        this.add(claims);
        this.isExhausted = this.cards.length === before;
      })
      .finally(() => (this.#filling = null));
    return this.#filling;
  }

  async #loadAhead() {
    for (const card of [...this.cards]) await card.load();
  }
}

/** An image, ready to be painted; null when it cannot be had even the second time. */
async function loadTwice(image) {
  try {
    return await load(image);
  } catch {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    return load(image).catch(() => null);
  }
}

async function load({ url, width, height }) {
  const image = new Image(width, height);
  image.className = "tile__image";
  image.draggable = false;
  image.src = url;
  await image.decode();
  return image;
}
