"""Which prompts are one prompt in other words: other case or punctuation, modifiers added or reordered, a word changed.

Two prompts are near-duplicates where, once settings, weights and the usual modifiers are taken off,

- they have the same words, in whatever order; or
- they have the same subject: the clauses they begin with, up to at least three words that say something; or
- the pairs of neighbouring words that they share are at least four in five of those that either has (Jaccard).

The third is found without comparing all with all: MinHash, in bands (Broder, On the resemblance and containment of
documents, 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3).
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")

SIMILAR = 0.8
"""Jaccard similarity of neighbouring words from which on prompts are near-duplicates."""

SAYING_WORDS = 3
"""A subject has at least so many words that say something; with fewer, most prompts would begin alike."""

BANDS, ROWS = 10, 5
"""Prompts just similar enough share a band with probability 1 - (1 - .8^5)^10 = .98, at .9 with .9999, at .1 never."""

# What the site's models, samplers and chat commands take beside the text.
SETTINGS = re.compile(
    r"<[^<>]*>"  # <lora:film:0.8>
    r"|--\w+(?:\s+[^\s,;-][^\s,;]*)?"  # --ar 16:9 --seed 42 --tile
    r"|(?<!\S)-[a-z]\s?\d[\d.]*(?!\S)"  # -n 9 -C7.5
    r"|\b(?:seed|steps|sampler|cfg(?:[ _]scale)?|guidance(?:[ _]scale)?|clip[ _]skip|size)\s*[:=]\s*[\w.+:]+"
    r"|\bseed\s+\d+\b"
    r"|::?\s*-?\d+(?:\.\d+)?"  # (fox:1.3), fox::2
)

CLAUSE_ENDS = re.compile(r"[,;|.!?\n:•·—–、。，；！？]|\s-\s")

# A word; scripts without spaces are read sign by sign.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")

SAY_NOTHING = frozenset(
    [
        *("a", "an", "the", "this", "that", "its", "his", "her", "their", "and", "or", "is", "are", "as"),
        *("of", "in", "on", "at", "to", "by", "for", "from", "with"),
    ]
)

# Words about style, quality and medium that people add to any prompt, from the commonest endings of published prompts.
MODIFIERS = frozenset(
    tuple(phrase.split())
    for phrase in """
    2k, 4k, 8k, 16k, 4 k, 8 k, hd, hdr, uhd, full hd, ultra hd, 4k resolution, 8k resolution, high resolution, highres,
    trending on artstation, trending on art station, trending on deviantart, trending on cgsociety, trending,
    artstation, artstationhq, artstation hq, featured on artstation, deviantart, cgsociety, pixiv, behance, behance hd,
    unsplash, octane render, octane, unreal engine, unreal engine 5, unreal engine 4, rendered in unreal engine, vray,
    v ray, blender, blender render, ray tracing, raytracing, 3d render, render, cgi, zbrush, redshift, cinema 4d,
    highly detailed, very detailed, ultra detailed, hyper detailed, hyperdetailed, extremely detailed,
    intricate details, insanely detailed, super detailed, detailed, intricate, intricate detail, elegant, fine details,
    high detail, masterpiece, best quality, high quality, ultra quality, award winning, award winning photo,
    professional, beautiful, photorealistic, photo realistic, hyperrealistic, hyper realistic, hyperrealism,
    ultra realistic, realistic, sharp focus, sharp, smooth, soft focus, depth of field, shallow depth of field, bokeh,
    dof, film grain, 35mm, 50mm, 85mm, cinematic, cinematic lighting, cinematic shot, dramatic lighting,
    dramatic light, soft lighting, soft light, studio lighting, volumetric lighting, volumetric light,
    natural lighting, natural light, golden hour, rim lighting, moody, moody lighting, dynamic lighting,
    beautiful lighting, epic, epic composition, vivid colors, vibrant colors, vibrant, colorful, digital art,
    digital painting, digital illustration, concept art, illustration, matte painting, matte, artwork, oil painting,
    oil on canvas, watercolor, watercolour, photography, photograph, photo, dslr, professional photography,
    national geographic, wallpaper, aesthetic, fantasy, stunning, amazing, perfect, by greg rutkowski,
    art by greg rutkowski, greg rutkowski, by artgerm, artgerm, by alphonse mucha, alphonse mucha, by wlop, wlop,
    art by artgerm and greg rutkowski and alphonse mucha, by artgerm and greg rutkowski
    """.replace("\n", " ").split(",")
)  # fmt: skip
LONGEST_MODIFIER = max(map(len, MODIFIERS))


@dataclass(frozen=True)
class Sketch:
    """What is left of a prompt when near-duplicates shall look alike."""

    words: frozenset[str]
    """All of them, without settings and the usual modifiers."""

    subject: tuple[str, ...]
    """Saying words of the clauses it begins with; empty where there are fewer than `SAYING_WORDS`."""

    pairs: frozenset[str]
    """Neighbouring words; the word itself where there is one only."""

    @classmethod
    def of(cls, text: str) -> "Sketch":
        """The sketch of a prompt, of any text that is not blank."""
        clauses = _clauses(text)
        words = [word for clause in clauses for word in clause] or [text.strip()]
        pairs = [f"{one} {next_one}" for one, next_one in pairwise(words)] or words
        return cls(frozenset(words), _subject(clauses), frozenset(pairs))

    @cached_property
    def keys(self) -> list[int]:
        """Whole numbers of 64 bits with sign; near-duplicates share at least one (`BANDS` says how surely)."""
        subject = [_number("subject", *self.subject)] if self.subject else []
        hashes = np.array([_number(pair) for pair in self.pairs], dtype=np.int64).view(np.uint64)
        least = (hashes[:, None] * _FACTORS + _OFFSETS).min(axis=0).reshape(BANDS, ROWS)
        bands = [_number("band", str(band), *map(str, row)) for band, row in enumerate(least.tolist())]
        return [_number("words", *sorted(self.words)), *subject, *bands]

    def is_near(self, other: "Sketch") -> bool:
        """Whether two prompts are near-duplicates."""
        if self.words == other.words or (self.subject and self.subject == other.subject):
            return True
        return len(self.pairs & other.pairs) >= SIMILAR * len(self.pairs | other.pairs)


class Neighbourhood(Generic[Item]):
    """Things with a prompt, to be found by near-duplicates of it."""

    def __init__(self) -> None:
        self._by_key: dict[int, list[tuple[Sketch, Item]]] = {}

    def add(self, sketch: Sketch, item: Item) -> None:
        for key in sketch.keys:
            self._by_key.setdefault(key, []).append((sketch, item))

    def near(self, sketch: Sketch) -> list[Item]:
        """Those whose prompt is a near-duplicate."""
        found = {id(item): (other, item) for key in sketch.keys for other, item in self._by_key.get(key, ())}
        return [item for other, item in found.values() if sketch.is_near(other)]


def _clauses(text: str) -> list[tuple[str, ...]]:
    """The words of each clause, without settings and modifiers; with the modifiers where there is nothing else."""
    plain = SETTINGS.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    clauses = [tuple(WORD.findall(clause)) for clause in CLAUSE_ENDS.split(plain)]
    return [bare for clause in clauses if (bare := _without_modifiers(clause))] or [c for c in clauses if c]


def _without_modifiers(clause: tuple[str, ...]) -> tuple[str, ...]:
    for length in range(min(LONGEST_MODIFIER, len(clause)), 0, -1):
        if clause[-length:] in MODIFIERS:
            return _without_modifiers(clause[:-length])
        if clause[:length] in MODIFIERS:
            return _without_modifiers(clause[length:])
    return clause


def _subject(clauses: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    saying: list[str] = []
    for clause in clauses:
        saying += [word for word in clause if word not in SAY_NOTHING]
        if len(saying) >= SAYING_WORDS:
            return tuple(saying)
    return ()


def _number(*words: str) -> int:
    digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _constants(name: str) -> "np.typing.NDArray[np.uint64]":
    """Odd numbers for the hashes of all bands; keys are stored, so no random generator that may change gives them."""
    return np.array([_number(name, str(place)) | 1 for place in range(BANDS * ROWS)]).view(np.uint64)


_FACTORS, _OFFSETS = _constants("factor"), _constants("offset")
