"""Scenes drawn from captions at 32 x 32: one filled object on a plain background, with defects of known kind."""

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32
"""Width and height of every scene, in pixels."""
SUPERSAMPLING = 4
"""Shapes are drawn this many times larger and shrunk, which gives them smooth edges."""

SIZES = {"small": 4.5, "medium": 6.5, "large": 8.5}
"""Radius in pixels."""
COLOURS = {
    "red": (222, 38, 38),
    "orange": (245, 140, 20),
    "yellow": (250, 224, 40),
    "green": (34, 160, 62),
    "blue": (36, 84, 222),
    "purple": (138, 48, 186),
    "pink": (245, 120, 190),
    "brown": (122, 70, 30),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
PLACES = {
    "in the centre": (16, 16),
    "on the left": (10, 16),
    "on the right": (22, 16),
    "at the top": (16, 10),
    "at the bottom": (16, 22),
}
"""Centre of the object as (x, y) in pixels."""
BACKGROUNDS = {"white": (244, 244, 244), "black": (14, 14, 16), "grey": (128, 130, 132), "beige": (224, 204, 166)}

WORDS = [list(SIZES), list(COLOURS), list(SHAPES), list(PLACES), list(BACKGROUNDS)]
"""What can stand in each place of a caption."""
CAPTION = re.compile(
    rf"a ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(PLACES)}), "
    rf"({'|'.join(BACKGROUNDS)}) background"
)


class UnreadableCaption(ValueError):
    """The text is no caption of this world."""


@dataclass(frozen=True)
class Scene:
    """What a caption says: one object and what is behind it."""

    size: str
    colour: str
    shape: str
    place: str
    background: str

    @property
    def caption(self) -> str:
        return f"a {self.size} {self.colour} {self.shape} {self.place}, {self.background} background"

    @classmethod
    def parse(cls, caption: str) -> "Scene":
        """The scene of a caption, the reverse of `caption`. Raises UnreadableCaption."""
        match = CAPTION.fullmatch(caption.strip())
        if match is None:
            example = cls("large", "red", "circle", "on the left", "white").caption
            raise UnreadableCaption(f"{caption!r} is no caption of the toy world; one is {example!r}.")
        return cls(*match.groups())


@dataclass(frozen=True)
class Defect:
    """One thing wrong with a drawing: a kind of `DEFECTS` and how much of it, above 0 and up to 1."""

    kind: str
    strength: float = 1.0


def every_scene() -> list[Scene]:
    """All 2,880 scenes, in one fixed order."""
    return [Scene(*words) for words in itertools.product(*WORDS)]


def is_held_out(scene: Scene) -> bool:
    """Whether a scene is kept from the base models' training: one in ten, always the same ones."""
    return hashlib.sha256(scene.caption.encode()).digest()[0] < 26


def random_scene(rng: np.random.Generator) -> Scene:
    """One scene, every one as likely as any other."""
    return Scene(*(words[rng.integers(len(words))] for words in WORDS))


def random_defects(rng: np.random.Generator, clean_share: float = 0.5) -> tuple[Defect, ...]:
    """No defect in `clean_share` of the calls, otherwise one, sometimes two, each clearly visible."""
    if rng.random() < clean_share:
        return ()
    kinds = rng.choice(list(DEFECTS), size=2 if rng.random() < 0.2 else 1, replace=False)
    return tuple(Defect(str(kind), float(rng.uniform(0.6, 1.0))) for kind in kinds)


def shape_mask(shape: str, radius: float, centre: tuple[float, float]) -> np.ndarray:
    """How much of each pixel a shape covers: (SIDE, SIDE) float32 between 0 and 1."""
    canvas = Image.new("L", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    x, y, reach = (value * SUPERSAMPLING for value in (*centre, radius))
    OUTLINES[shape](pen, x, y, reach)
    return np.asarray(canvas.reduce(SUPERSAMPLING), dtype=np.float32) / 255


def draw(scene: Scene, rng: np.random.Generator, defects: Sequence[Defect] = ()) -> np.ndarray:
    """One drawing of a scene: (SIDE, SIDE, 3) uint8. Place, size and tone vary a little from drawing to drawing."""
    brush = _Brush.for_scene(scene, rng)
    for defect in defects:
        if defect.kind in CONTENT_DEFECTS:
            brush = CONTENT_DEFECTS[defect.kind](brush, scene, defect.strength, rng)
    picture = brush.paint()
    for defect in defects:
        if defect.kind in SURFACE_DEFECTS:
            picture = SURFACE_DEFECTS[defect.kind](picture, defect.strength, rng)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Brush:
    """Everything needed to paint one drawing; content defects change it before it paints."""

    colour: np.ndarray
    background: np.ndarray
    mask: np.ndarray
    shape: str
    radius: float
    centre: tuple[float, float]

    @classmethod
    def for_scene(cls, scene: Scene, rng: np.random.Generator) -> "_Brush":
        jitter = rng.uniform(-1, 1, 3)
        x, y = PLACES[scene.place]
        radius = SIZES[scene.size] * (1 + 0.05 * jitter[2])
        centre = (x + jitter[0], y + jitter[1])
        return cls(
            colour=np.array(COLOURS[scene.colour], np.float32) + rng.normal(0, 3, 3),
            background=np.array(BACKGROUNDS[scene.background], np.float32) + rng.normal(0, 2, 3),
            mask=shape_mask(scene.shape, radius, centre),
            shape=scene.shape,
            radius=radius,
            centre=centre,
        )

    def paint(self) -> np.ndarray:
        return self.background + self.mask[..., None] * (self.colour - self.background)


def _wrong_colour(brush: _Brush, scene: Scene, strength: float, rng: np.random.Generator) -> _Brush:
    others = [colour for name, colour in COLOURS.items() if name != scene.colour]
    other = np.array(others[rng.integers(len(others))], np.float32)
    return replace(brush, colour=brush.colour + strength * (other - brush.colour))


def _missing(brush: _Brush, _scene: Scene, strength: float, _rng: np.random.Generator) -> _Brush:
    return replace(brush, mask=brush.mask * (1 - strength))


def _broken(brush: _Brush, _scene: Scene, strength: float, rng: np.random.Generator) -> _Brush:
    """Cut into bands, every other band pushed aside."""
    mask = brush.mask.copy()
    band = 4
    shift = max(1, round(strength * brush.radius))
    for start in range(band * int(rng.integers(2)), SIDE, 2 * band):
        mask[start : start + band] = _pushed(mask[start : start + band], shift)
    return replace(brush, mask=mask)


def _pushed(rows: np.ndarray, shift: int) -> np.ndarray:
    moved = np.zeros_like(rows)
    moved[:, shift:] = rows[:, :-shift]
    return moved


def _wrong_place(brush: _Brush, scene: Scene, strength: float, rng: np.random.Generator) -> _Brush:
    home = PLACES[scene.place]
    others = [place for place in PLACES.values() if place != home]
    away = others[rng.integers(len(others))]
    x, y = (at + strength * (to - start) for at, to, start in zip(brush.centre, away, home, strict=True))
    centre = (x, y)
    return replace(brush, centre=centre, mask=shape_mask(brush.shape, brush.radius, centre))


def _hazy(picture: np.ndarray, strength: float, _rng: np.random.Generator) -> np.ndarray:
    """Everything washed towards one pale grey."""
    amount = 0.75 * strength
    return picture + amount * (190 - picture)


def _noisy(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Coarse coloured grain: 2 x 2 pixels, so that it survives the small autoencoder."""
    grain = rng.normal(0, 50 * strength, (SIDE // 2, SIDE // 2, 3))
    return picture + grain.repeat(2, axis=0).repeat(2, axis=1)


def _blurred(picture: np.ndarray, strength: float, _rng: np.random.Generator) -> np.ndarray:
    reach = max(1, round(5 * strength))
    for axis in (0, 1):
        padded = np.concatenate(
            [picture.take([0] * reach, axis), picture, picture.take([SIDE - 1] * reach, axis)], axis
        ).cumsum(axis)
        zero = np.zeros_like(padded.take([0], axis))
        sums = np.concatenate([zero, padded], axis)
        width = 2 * reach + 1
        picture = (sums.take(range(width, width + SIDE), axis) - sums.take(range(SIDE), axis)) / width
    return picture


def _glitched(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Blocks of 4 x 4 pixels in loud colours where no such thing should be."""
    blocks = 8
    hit = np.zeros(blocks * blocks, dtype=bool)
    hit[rng.choice(blocks * blocks, size=max(2, round(12 * strength)), replace=False)] = True
    loud = rng.choice([0.0, 255.0], size=(blocks, blocks, 3))
    spread = np.ones((SIDE // blocks, SIDE // blocks, 1))
    where = np.kron(hit.reshape(blocks, blocks, 1), spread)
    return picture + where * (np.kron(loud, spread) - picture)


def _circle(pen: ImageDraw.ImageDraw, x: float, y: float, reach: float) -> None:
    pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)


def _square(pen: ImageDraw.ImageDraw, x: float, y: float, reach: float) -> None:
    half = 0.88 * reach
    pen.rectangle((x - half, y - half, x + half, y + half), fill=255)


def _triangle(pen: ImageDraw.ImageDraw, x: float, y: float, reach: float) -> None:
    pen.polygon([(x, y - reach), (x - reach, y + 0.9 * reach), (x + reach, y + 0.9 * reach)], fill=255)


def _star(pen: ImageDraw.ImageDraw, x: float, y: float, reach: float) -> None:
    points = []
    for corner in range(10):
        distance = reach * (1.1 if corner % 2 == 0 else 0.46)
        angle = math.pi * corner / 5
        points.append((x + distance * math.sin(angle), y - distance * math.cos(angle)))
    pen.polygon(points, fill=255)


def _cross(pen: ImageDraw.ImageDraw, x: float, y: float, reach: float) -> None:
    arm = 0.32 * reach
    pen.rectangle((x - reach, y - arm, x + reach, y + arm), fill=255)
    pen.rectangle((x - arm, y - reach, x + arm, y + reach), fill=255)


def _ring(pen: ImageDraw.ImageDraw, x: float, y: float, reach: float) -> None:
    _circle(pen, x, y, reach)
    hole = 0.55 * reach
    pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)


OUTLINES: dict[str, Callable[[ImageDraw.ImageDraw, float, float, float], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
CONTENT_DEFECTS: dict[str, Callable[[_Brush, Scene, float, np.random.Generator], _Brush]] = {
    "wrong colour": _wrong_colour,
    "missing": _missing,
    "broken": _broken,
    "wrong place": _wrong_place,
}
SURFACE_DEFECTS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "haze": _hazy,
    "noise": _noisy,
    "blur": _blurred,
    "glitch": _glitched,
}
DEFECTS = (*CONTENT_DEFECTS, *SURFACE_DEFECTS)
"""Every kind of defect; the content ones change what is drawn, the surface ones the finished picture."""
