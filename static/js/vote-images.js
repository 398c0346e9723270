// Images on their way: a few at a time, what is needed first first, each decoded before anybody waits for it.

const LANES = 3;
const RETRY_MS = 800;

const waiting = [];
let busy = 0;

/** An image, decoded; null when it cannot be had even the second time. Those asked for first come first. */
export function loadImage(image) {
  return new Promise((resolve) => {
    waiting.push({ image, resolve });
    startNext();
  });
}

/** Let these come before all others that still wait. */
export function hurry(images) {
  const isUrgent = ({ image }) => images.includes(image);
  waiting.sort((one, other) => isUrgent(other) - isUrgent(one));
}

async function startNext() {
  if (busy >= LANES || !waiting.length) return;
  busy += 1;
  const { image, resolve } = waiting.shift();
  resolve(await loadTwice(image));
  busy -= 1;
  startNext();
}

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
  image.decoding = "sync"; // painted in the same frame as its neighbours, or that frame waits
  image.src = url;
  await image.decode();
  return image;
}
