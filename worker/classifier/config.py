"""Settings of a classifier training, and the presets."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, TypeVar, cast

Settings = TypeVar("Settings")


class ConfigRejected(ValueError):
    """A setting is unknown or makes no sense; the message names it."""


@dataclass(frozen=True)
class ClassifierConfig:
    """How a CLIP model is trained on people's choices. Whatever is not here comes from the base model's manifest."""

    preset: str
    """Name of the preset this began as; for people."""

    image_blocks: int
    """How many of the last blocks of the image half are trained, with the norm and the projection behind them."""

    text_blocks: int
    """How many of the last blocks of the text half are trained, with the norm and the projection behind them."""

    learning_rate: float
    """AdamW's at the top of the cosine, which ends at 0."""

    weight_decay: float
    """AdamW's, on matrices alone; biases, norms and the logit scale have none."""

    epochs: int
    """How often every choice is seen."""

    choices_per_batch: int
    """Choices per step, each with all its images."""

    beta1: float = 0.9
    """AdamW's memory of the gradient."""

    beta2: float = 0.98
    """AdamW's memory of its square."""

    epsilon: float = 1e-6
    """AdamW's guard against dividing by zero."""

    warmup_steps: int = 0
    """Steps in which the learning rate rises to its top."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Format of the matrix products in training; auto: bfloat16 on GPUs that have it. Scores are always float32."""

    architecture: str | None = None
    """What the base model must be, by open_clip's name; None: any."""

    image_size: int | None = None
    """What side in pixels the base model must see; None: any."""

    raters: Literal["each", "together"] = "each"
    """What several people said of one set: an example for each of them, or one with their shares as the target."""

    weigh_by_reliability: bool = False
    """Whether people's answers count by how far each can be relied on, as frozen with the votes; else all count alike,
    as in the published recipes."""

    choices_at_once: int = 0
    """Choices that go through the model together, their gradients being summed to one step; 0: all of the batch. Halved
    where the memory doesn't suffice."""

    checkpoint_every: int = 100
    """Steps between two checkpoints from which a stopped training goes on."""

    evaluate_every: int = 0
    """Steps between two looks at prompts held back from the training side, the best weights being the result; 0: never,
    all prompts of the training side are trained on and the last weights are the result."""

    patience: int = 0
    """Looks without a better one after which the training ends early; 0: it goes to its end."""

    validation_share: float = 0.05
    """Share of the training side's prompts held back, where there are looks."""

    cache_megabytes: int = 2000
    """Disk for what the frozen blocks make of images and prompts, all trainings together; what was used least recently
    goes first. What is kept is rounded to bfloat16, and so, for equal results, is what finds no room. 0: nothing is
    kept or rounded."""

    readers: int = 4
    """Threads that open and resize images."""

    processes: int = 1
    """How many share the training on the worker's machine, each with a GPU of its own and its part of every batch."""

    seed: int = 0
    """Of the order of the choices, and of torch."""

    def __post_init__(self) -> None:
        for name in ("epochs", "choices_per_batch", "checkpoint_every", "readers", "processes"):
            if getattr(self, name) < 1:
                raise ConfigRejected(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in (
            "image_blocks", "text_blocks", "warmup_steps", "cache_megabytes", "weight_decay", "seed", "choices_at_once",
            "evaluate_every", "patience",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise ConfigRejected(f"{name} must not be negative, it is {getattr(self, name)}.")
        if self.patience and not self.evaluate_every:
            raise ConfigRejected("patience needs looks: set evaluate_every as well.")
        if not 0 < self.validation_share < 1:
            raise ConfigRejected(f"validation_share must be above 0 and below 1, not {self.validation_share}.")
        if not self.image_blocks + self.text_blocks:
            raise ConfigRejected("image_blocks and text_blocks are both 0: nothing would be trained.")
        if self.learning_rate <= 0 or self.epsilon <= 0:
            raise ConfigRejected("learning_rate and epsilon must be positive.")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ConfigRejected("beta1 and beta2 must be at least 0 and below 1.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigRejected(f"precision must be auto, float32 or bfloat16, not {self.precision!r}.")
        if self.raters not in ("each", "together"):
            raise ConfigRejected(f"raters must be each or together, not {self.raters!r}.")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Settings from a JSON object: a preset's name under `preset`, and whatever shall differ from it.

        Raises:
            ConfigRejected: the preset or a setting is unknown, of the wrong type, or makes no sense.
        """
        return replace(cast(Self, _preset(PRESETS, record)), **_checked(cls, record))

    def to_json(self) -> dict[str, Any]:
        """All settings as a JSON object; `from_json` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class AestheticConfig:
    """How an aesthetic head is trained on people's choices, on the embeddings of a CLIP model that stays as it is."""

    preset: str
    """Name of the preset this began as; for people."""

    head: Literal["linear", "mlp"]
    """`linear`: one layer; `mlp`: the published five layers with dropout."""

    learning_rate: float
    """AdamW's at the top of the cosine, which ends at 0."""

    weight_decay: float
    """AdamW's, on matrices alone."""

    epochs: int
    """How often every choice is seen."""

    choices_per_batch: int
    """Choices per step, each with all its images."""

    readers: int = 4
    """Threads that open and resize images."""

    seed: int = 0
    """Of the order of the choices, the head's first weights and its dropout."""

    def __post_init__(self) -> None:
        if self.head not in ("linear", "mlp"):
            raise ConfigRejected(f"head must be linear or mlp, not {self.head!r}.")
        if min(self.epochs, self.choices_per_batch, self.readers) < 1:
            raise ConfigRejected("epochs, choices_per_batch and readers must be at least 1.")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.seed < 0:
            raise ConfigRejected("learning_rate must be positive, weight_decay and seed must not be negative.")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Settings from a JSON object: a preset's name under `preset`, and whatever shall differ from it.

        Raises:
            ConfigRejected: the preset or a setting is unknown, of the wrong type, or makes no sense.
        """
        return replace(cast(Self, _preset(AESTHETIC_PRESETS, record)), **_checked(cls, record))

    def to_json(self) -> dict[str, Any]:
        """All settings as a JSON object; `from_json` reads it back."""
        return asdict(self)


# Human Preference Score (arXiv 2303.14420), section on the classifier: the last 10 layers of the image and the last 6
# of the text half of CLIP ViT-L/14, AdamW 1.7e-5, decay 3.1e-3, cosine, 1 epoch, batch 5, longest side 224 with zero
# padding. Betas and epsilon are its code base's (open_clip: .9, .98, 1e-6). "Layers" are read as blocks.
PAPER = ClassifierConfig(
    preset="paper",
    image_blocks=10,
    text_blocks=6,
    learning_rate=1.7e-5,
    weight_decay=3.1e-3,
    epochs=1,
    choices_per_batch=5,
    architecture="ViT-L-14-quickgelu",
    image_size=224,
    cache_megabytes=60_000,  # the paper's 98,807 images take 52 GB
)

# HPS v2 (arXiv 2306.09341), configs/HPSv2.sh of tgxs002/HPSv2 and the paper: ViT-H/14 of LAION-2B, AdamW 3.3e-6, decay
# .35, 4,000 steps of 128 pairs with 500 of warm-up, several people's rankings as soft labels. Its `--lock-image-
# unlocked-groups 20` counts the projection as a group and the last norm with the last block: 19 blocks. With the data
# of the paper, 645,090 pairs, 4,000 steps are .8 of an epoch; here it is one epoch of whatever data there is.
HPS2 = ClassifierConfig(
    preset="hps2",
    image_blocks=19,
    text_blocks=11,
    learning_rate=3.3e-6,
    weight_decay=0.35,
    epochs=1,
    choices_per_batch=128,
    warmup_steps=500,
    raters="together",
    architecture="ViT-H-14",
    image_size=224,
    cache_megabytes=60_000,
)

# The same on the toy world's CLIP (4 image blocks), for two CPU cores: minutes at most for some thousand choices.
TINY = ClassifierConfig(
    preset="tiny",
    image_blocks=2,
    text_blocks=1,
    learning_rate=3e-4,
    weight_decay=3.1e-3,
    epochs=2,
    choices_per_batch=32,
)

PRESETS = {config.preset: config for config in (TINY, PAPER, HPS2)}

AESTHETIC_PRESETS = {
    # A linear head is convex: it finds the same place from any start, and can say what the published one can.
    "tiny": AestheticConfig("tiny", "linear", learning_rate=3e-2, weight_decay=1e-3, epochs=10, choices_per_batch=32),
    # improved-aesthetic-predictor, train_predictor.py: Adam 1e-3, batch 256, 50 epochs, there on ratings.
    "paper": AestheticConfig("paper", "mlp", learning_rate=1e-3, weight_decay=0.0, epochs=50, choices_per_batch=256),
}


def _preset(presets: Mapping[str, Settings], record: Mapping[str, Any]) -> Settings:
    name = record.get("preset", "tiny")
    if name not in presets:
        raise ConfigRejected(f"There is no preset {name!r}; known are {', '.join(sorted(presets))}.")
    return presets[name]


def _checked(cls: type[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a record, each with the type its field has; JSON's 1 stands for 1.0 as well."""
    types = {field.name: field.type for field in fields(cls)}
    settings = {}
    for name, value in record.items():
        if name not in types:
            raise ConfigRejected(f"There is no setting {name!r}; known are {', '.join(types)}.")
        wanted = types[name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(wanted, type) and (not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool)):
            raise ConfigRejected(f"{name} must be of type {wanted.__name__}, not {value!r}.")
        settings[name] = value
    return settings
