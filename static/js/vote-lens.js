// Where one looks: one point and one scale for all images, each in a pane of its own.

const MOST_ZOOM = 24;

export class Lens {
  /** Back to whole images. */
  reset() {
    Object.assign(this, { u: 0.5, v: 0.5, zoom: 1, isPixelwise: false });
  }

  constructor() {
    this.reset();
  }

  /** How an image lies in its pane: its width and height on the screen, and where its corner is. */
  placeOf(pane, image) {
    const scale = this.scaleOf(pane, image);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    return {
      scale,
      width,
      height,
      left: offset(this.u, width, pane.clientWidth),
      top: offset(this.v, height, pane.clientHeight),
    };
  }

  /** CSS pixels per pixel of the image. */
  scaleOf(pane, image) {
    return this.isPixelwise ? 1 / devicePixelRatio : this.zoom * fit(pane, image);
  }

  /** One pixel of each image is one pixel of the screen. */
  pixelwise() {
    this.isPixelwise = true;
  }

  /** Larger or smaller by a factor, with the point under (x, y) of a pane staying where it is. */
  magnify(factor, pane, image, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
    const before = this.placeOf(pane, image);
    const [u, v] = [(x - before.left) / before.width, (y - before.top) / before.height];
    const zoom = before.scale / fit(pane, image);
    this.isPixelwise = false;
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
    const after = this.placeOf(pane, image);
    this.lookAt(u - (x - pane.clientWidth / 2) / after.width, v - (y - pane.clientHeight / 2) / after.height);
  }

  /** Move the images by so many CSS pixels. */
  drag(dx, dy, pane, image) {
    const { width, height } = this.placeOf(pane, image);
    this.#keepWithin(pane, width, height);
    this.lookAt(this.u - dx / width, this.v - dy / height);
    this.#keepWithin(pane, width, height);
  }

  /** Look at a point of the images; (0, 0) is the upper left corner and (1, 1) the lower right one. */
  lookAt(u, v) {
    this.u = Math.min(1, Math.max(0, u));
    this.v = Math.min(1, Math.max(0, v));
  }

  /** No further than to the edge of the image, so that the way back begins at once. */
  #keepWithin(pane, width, height) {
    const [halfU, halfV] = [Math.min(0.5, pane.clientWidth / width / 2), Math.min(0.5, pane.clientHeight / height / 2)];
    this.lookAt(Math.min(1 - halfU, Math.max(halfU, this.u)), Math.min(1 - halfV, Math.max(halfV, this.v)));
  }
}

function fit(pane, image) {
  return Math.min(pane.clientWidth / image.naturalWidth, pane.clientHeight / image.naturalHeight);
}

/** Where an edge lies so that the point is in the middle, without a gap where the image is larger than the pane. */
function offset(point, size, room) {
  if (size <= room) return (room - size) / 2;
  return Math.min(0, Math.max(room - size, room / 2 - point * size));
}
