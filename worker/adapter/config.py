"""The settings of one adapter training, each with its source and what it may be, and the two presets."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of diffusers' attention blocks: query, key, value and output."""

LABELS_FROM = ("hps", "people", "both")
REJECTED = ("left_out", "non_preferred")

MOST = 2**31 - 1
"""The largest whole number that the database counts to."""
LATENT_PIXEL = 8
"""Pixels of a side that one number of Stable Diffusion's latents stands for."""

LABELLING = (
    *("labels_from", "fewest_votes", "rejected", "drops_blurred", "alpha", "temperature", "smallest_group"),
    *("non_preferred_per_preferred", "seed"),
)
"""The settings that say how images are labelled; the others say how the adapter is trained on them."""

TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
"""The same of CLIP's text encoder in transformers."""

MOST_SAMPLES = 240
"""Images that a training may make on its way, of the base model and of all steps together."""

Optimizer = Literal["adamw", "adamw_8bit"]
Precision = Literal["auto", "float32", "bfloat16"]


class AdapterConfigRejected(ValueError):
    """A setting is unknown, of another type or out of its range; the message says which and what is allowed."""


@dataclass(frozen=True)
class AdapterConfig:
    """How generated images are labelled, and how the adapter is trained on them.

    Sources: "paper" is arXiv 2303.14420; "script" is its released code, tgxs002/align_sd
    `train_text_to_image_lora.py`, `train_lora.sh` and `select_training_images.py`.
    """

    mark: str = "Weird image. "
    """Put before the caption of every non-preferred image, and the negative prompt later. The space at its end is
    the paper's."""

    labels_from: str = "hps"
    """Who says which images are preferred: `hps`; `people`, by their votes; `both`, people where they have an answer
    to a prompt, HPS elsewhere. Paper: HPS."""
    fewest_votes: int = 3
    """People's answer to a set of images counts from so many judgements."""
    rejected: str = "left_out"
    """What becomes of images beside one that people chose: `left_out`, or `non_preferred`. Not to be chosen is not
    yet to be bad; where people can't say that all are bad, there may be no other non-preferred images."""
    drops_blurred: bool = True
    """Leave out images that are blurred or blank, by their pixels. Script: blurred ones, by a test with faults (see
    `worker.adapter.blur`)."""
    alpha: float = 2.0
    """An image is labelled where its probability exceeds alpha / n. Paper: 2.0."""
    temperature: float = 1.0
    """Scores are divided by it before the softmax. The script has none, that is 1: it suits scores of a model whose
    logit scale is CLIP's 100."""
    smallest_group: int = 4
    """Prompts with fewer images are left out. Script: 4."""
    non_preferred_per_preferred: float | None = 0.56
    """At most so many non-preferred images for each preferred one, drawn at random; None keeps all. The authors used
    21,108 beside 37,572 and report worse results with all of them (align_sd issues 9 and 12)."""
    regularisation_per_labelled: float = 3.4
    """At most so many regularisation images for each labelled one. Authors: 200,231 beside 58,680."""
    caption_dropout: float = 0.0
    """Share of training steps in which a caption is left out, its mark kept: the mark then also learns to stand
    alone, as it does in a negative prompt. Script: `prompt_dropout` 0."""

    rank: int = 32
    """Rank of the adapter. Paper: 32 (the script's default is 4)."""
    lora_alpha: float | None = None
    """What the adapter adds is multiplied by lora_alpha / rank; None: by 1. Script: by 1."""
    lora_dropout: float = 0.0
    """Share of the numbers going into each adapted layer that its adapter doesn't see in a step. Script: 0."""
    layers: tuple[str, ...] = ATTENTION
    """Name endings of the UNet's layers that are adapted. Paper: the attention's q, k, v, out."""
    adapts_text_encoder: bool = False
    """Whether the text encoder is adapted too. Its embeddings then change with every step, and can't be kept. Paper:
    no."""
    text_layers: tuple[str, ...] = TEXT_ATTENTION
    """Name endings of the text encoder's layers that are adapted where it is."""
    resolution: int | None = 512
    """Side of the square training images; None takes what the base model was trained on. Script: 512."""
    noise_offset: float = 0.0
    """To the noise of each image and channel one number is added, so many times as large as the noise: the model then
    learns to change brightness as a whole. Script: none."""
    learning_rate: float = 1e-5
    """No warm-up. Script: 1e-5."""
    decay_share: float = 0.0
    """The last part of the steps, in which the learning rate falls in a line to nothing. Script: 0, constant. A short
    training at a high rate ends in weights that shake; the fall stills them."""
    optimizer: Optimizer = "adamw"
    """`adamw_8bit` keeps the optimizer's memory in 8 bits, and needs the package bitsandbytes. Script: `adamw`."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW. Script: .9, .999."""
    weight_decay: float = 1e-2
    """Of AdamW. Script: 1e-2."""
    epsilon: float = 1e-8
    """Of AdamW. Script: 1e-8."""
    largest_gradient_norm: float = 1.0
    """Gradients are scaled down to it. Script: 1.0."""
    batch_size: int = 40
    """Images per step. Paper: 40 (8 devices with 5 each)."""
    batch_pieces: int = 8
    """The batch goes through the model in so many pieces whose gradients are added; saves memory, changes nothing
    else. Script: 8 devices."""
    precision: Precision = "auto"
    """Format of the frozen weights and of the matrix products; auto: bfloat16 on GPUs that have it. The adapter itself
    and the optimizer are always float32. Script: fp16."""
    steps: int = 10_000
    """Optimiser steps. Paper: 10,000."""

    evaluation_share: float = 0.05
    """Share of the labelled prompts kept out of training, to ask whether the mark was learnt. Not in the paper."""
    evaluation_draws: int = 8
    """Noises and time steps per image of that evaluation."""
    evaluation_images: int = 400
    """Images of each label in that evaluation at most."""
    checkpoint_every: int = 500
    """Steps between two training states on disk. Script: 500."""
    sample_every: int = 1000
    """Steps between two looks at what the adapter makes, the end of training being the last; 0: none. Not in the
    paper."""
    sample_prompts: int = 4
    """Prompts of each look, one image of each, always from the same noise."""
    seed: int = 0
    """Of everything that is random."""

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            if not rule.allows(getattr(self, name)):
                raise AdapterConfigRejected(f"{name} must be {rule.words}, not {getattr(self, name)!r}.")
        if self.batch_size % self.batch_pieces:
            raise AdapterConfigRejected(
                f"{self.batch_pieces} equal pieces of a batch of {self.batch_size} don't exist: batch_size must be a"
                " multiple of batch_pieces."
            )
        looks = 1 + -(-self.steps // self.sample_every) if self.sample_every else 0
        if looks * self.sample_prompts > MOST_SAMPLES:
            raise AdapterConfigRejected(
                f"{looks} looks of {self.sample_prompts} samples are more than {MOST_SAMPLES} images; raise"
                f" sample_every ({self.sample_every}) or lower sample_prompts."
            )

    @property
    def lora_scale(self) -> float:
        """By what the product of an adapter's two matrices is multiplied."""
        return 1.0 if self.lora_alpha is None else self.lora_alpha / self.rank

    def is_sampled(self, step: int) -> bool:
        """Whether what the adapter makes is looked at after so many steps."""
        return bool(self.sample_every) and (step % self.sample_every == 0 or step == self.steps)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        decaying = self.decay_share * self.steps
        left = (self.steps - step) / decaying if decaying else 1.0
        return self.learning_rate * min(1.0, left)

    def to_json(self) -> dict[str, object]:
        """As JSON: lists in place of tuples, so that it equals what comes back from a file."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, settings: dict[str, Any], preset: str = "paper") -> Self:
        """The preset with the given settings changed.

        Raises:
            AdapterConfigRejected: no such preset, no such setting, or a value of another type or out of its range.
        """
        if preset not in PRESETS:
            raise AdapterConfigRejected(f"There is no preset {preset!r}; there are {', '.join(PRESETS)}.")
        unknown = sorted(settings.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise AdapterConfigRejected(f"There is no setting {unknown[0]!r}; there are: {', '.join(RULES)}.")
        merged: dict[str, Any] = PRESETS[preset].to_json() | settings
        merged |= {name: tuple(value) for name, value in merged.items() if isinstance(value, list)}
        return cls(**merged)


def negative_with(mark: str, negative_prompt: str) -> str:
    """The mark as negative prompt, before the one that a generator has without it, as it stood before captions."""
    if not negative_prompt:
        return mark
    return f"{mark}{negative_prompt}" if mark[-1:].isspace() else f"{mark}, {negative_prompt}"


@dataclass(frozen=True)
class _Rule:
    """What a setting may be, for the check and in words."""

    allows: Callable[[Any], bool]
    words: str

    def or_null(self) -> "_Rule":
        return _Rule(lambda value: value is None or self.allows(value), f"{self.words}, or null")


def _whole(least: int, multiple_of: int = 1) -> _Rule:
    words = "a whole number" if multiple_of == 1 else f"a multiple of {multiple_of}"
    return _Rule(
        lambda value: _is_whole(value) and least <= value <= MOST and value % multiple_of == 0,
        f"{words} from {least} to {MOST:,}",
    )


def _number(words: str, allows: Callable[[float], bool]) -> _Rule:
    return _Rule(lambda value: _is_number(value) and allows(value), f"a number {words}")


def _word(*known: str) -> _Rule:
    return _Rule(lambda value: value in known, f"one of {', '.join(known)}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


_ABOVE_ZERO = _number("above 0", lambda value: value > 0)
_NOT_NEGATIVE = _number("of at least 0", lambda value: value >= 0)
_SHARE = _number("of at least 0 and below 1", lambda value: 0 <= value < 1)
_TRUTH = _Rule(lambda value: isinstance(value, bool), "true or false")
_NAMES = _Rule(
    lambda value: isinstance(value, tuple) and value != () and all(isinstance(each, str) and each for each in value),
    "a list of at least one text",
)

RULES = {
    "mark": _Rule(
        lambda value: isinstance(value, str) and value.strip() != "" and value.isprintable(),
        "a text of one line that stands before a caption",
    ),
    "labels_from": _word(*LABELS_FROM),
    "fewest_votes": _whole(1),
    "rejected": _word(*REJECTED),
    "drops_blurred": _TRUTH,
    "alpha": _ABOVE_ZERO,
    "temperature": _ABOVE_ZERO,
    "smallest_group": _whole(2),
    "non_preferred_per_preferred": _NOT_NEGATIVE.or_null(),
    "regularisation_per_labelled": _NOT_NEGATIVE,
    "caption_dropout": _SHARE,
    "rank": _whole(1),
    "lora_alpha": _ABOVE_ZERO.or_null(),
    "lora_dropout": _SHARE,
    "layers": _NAMES,
    "adapts_text_encoder": _TRUTH,
    "text_layers": _NAMES,
    "resolution": _whole(LATENT_PIXEL, multiple_of=LATENT_PIXEL).or_null(),
    "noise_offset": _NOT_NEGATIVE,
    "learning_rate": _ABOVE_ZERO,
    "decay_share": _number("from 0 to 1", lambda value: 0 <= value <= 1),
    "optimizer": _word(*get_args(Optimizer)),
    "betas": _Rule(
        lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(_SHARE.allows, value)),
        "a list of two numbers of at least 0 and below 1",
    ),
    "weight_decay": _NOT_NEGATIVE,
    "epsilon": _ABOVE_ZERO,
    "largest_gradient_norm": _ABOVE_ZERO,
    "batch_size": _whole(1),
    "batch_pieces": _whole(1),
    "precision": _word(*get_args(Precision)),
    "steps": _whole(1),
    "evaluation_share": _SHARE,
    "evaluation_draws": _whole(1),
    "evaluation_images": _whole(1),
    "checkpoint_every": _whole(1),
    "sample_every": _whole(0),
    "sample_prompts": _whole(1),
    "seed": _whole(0),
}
"""What each setting may be."""

PAPER = AdapterConfig()
# The toy world's, for one CPU core in about a minute; how the numbers were found: docs/experiments.md.
TINY = AdapterConfig(
    drops_blurred=False,  # in the toy world blur is no censor's veil but one of the defects that the mark stands for
    alpha=1.6,  # the tiny HPS is less sure of itself than one of ViT-L/14: 2.0 labels a third fewer images
    regularisation_per_labelled=0.0,  # what is left unlabelled is of middling quality, and mixing it in costs gain
    caption_dropout=0.2,  # in 10,000 steps a mark learns to stand alone by itself, in 350 it doesn't
    rank=16,
    resolution=None,
    learning_rate=8e-3,  # 5e-3 learns too little in these steps, 2e-2 diverges
    decay_share=1.0,
    batch_size=32,
    batch_pieces=1,
    steps=350,
    evaluation_share=0.1,
    evaluation_images=100,
    checkpoint_every=50,
    sample_every=175,
)
PRESETS = {"paper": PAPER, "tiny": TINY}
"""By the names that `train_adapter --preset` takes."""
