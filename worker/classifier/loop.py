"""The training of the preference classifier, as the story of one run."""

import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scoring import backend, checkpoints, hps, training_state
from scoring.checkpoints import CheckpointRejected
from scoring.losses import preference_loss, soft_targets
from scoring.preferences import Choice, write_lines
from scoring.preprocessing import Preprocessing
from worker.classifier import towers
from worker.classifier.config import ClassifierConfig
from worker.classifier.data import ChoiceTable, ImageReader, OpenImage, batches, tabulate
from worker.classifier.evaluation import measure
from worker.classifier.features import TrunkFeatures

# open_clip_train/main.py clamps CLIP's inverse temperature to 1..100 after every step.
MAX_LOGIT_SCALE = math.log(100)

SCORED_AT_ONCE = 256


class UnableToTrain(ValueError):
    """The training can't begin; the message says what is missing or doesn't fit."""


class TrainingCancelled(Exception):
    """Somebody asked for the training to stop. Its last checkpoint stays, so that it could go on."""


@dataclass(frozen=True)
class StepReport:
    """Where a training stands."""

    stage: str
    """What is being done: `reading images`, `measuring the base`, `training`, `measuring`, `saving`."""

    step: int
    """Steps done, in training; things done, in the other stages."""

    total: int
    """Of how many."""

    loss: float | None = None
    """Cross-entropy of this batch in nats, before the step; only in training."""

    learning_rate: float | None = None
    """Of this step; only in training."""

    note: str = ""
    """Something that a person should know, such as that a damaged checkpoint was passed over."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training."""

    folder: Path
    """The artefact, readable by `scoring.hps.load_scorer`."""

    manifest: dict[str, Any]
    """As written in it."""

    metrics: dict[str, Any]
    """What was measured on the test choices, see `worker.classifier.evaluation.measure`."""

    steps: int
    """Steps of the whole training, those before a resume included."""

    resumed_from: int
    """The step at which this call took up; 0 for a training from the start."""


OnStep = Callable[[StepReport], None]
ShouldStop = Callable[[], bool]


def tell_nobody(_report: StepReport) -> None:
    """An `on_step` for trainings that nobody watches."""


def never() -> bool:
    """A `should_stop` for trainings that nobody stops."""
    return False


def train(
    config: ClassifierConfig,
    choices: Sequence[Choice],
    open_image: OpenImage,
    base_folder: Path,
    out_folder: Path,
    on_step: OnStep = tell_nobody,
    should_stop: ShouldStop = never,
    *,
    device: str | None = None,
    is_synthetic: bool = False,
) -> TrainingResult:
    """Tune a CLIP model on people's choices and measure it on the choices held out.

    Called again with the same arguments after it was stopped or killed, it goes on from its last whole checkpoint and
    ends, on a CPU, with the very same weights as if it had run through; once finished it only reads the result.

    Args:
        config: see `ClassifierConfig`.
        choices: both sides of the split. Ties teach that all are equally good; all-bad answers teach nothing.
        open_image: from an image's key to the picture; called from several threads.
        base_folder: artefact of kind `clip` or `hps` to begin from.
        out_folder: the result will stand in `model/`, checkpoints meanwhile in `steps/`.
        on_step: told of every step; what it raises ends the training.
        should_stop: asked before every step.
        device: by default CUDA where there is one.
        is_synthetic: whether the votes are simulated; the result is synthetic if they or the base are.

    Raises:
        UnableToTrain: there is nothing to train on, or the base isn't the model that the config asks for.
        UnableToReadImage: an image is missing or damaged.
        TrainingCancelled: `should_stop` said so.
        CheckpointRejected: the base can't be read.
    """
    run = _Run(config, choices, base_folder, out_folder, on_step, should_stop, device, is_synthetic=is_synthetic)
    if finished := run.finished_result():
        return finished
    backend.make_deterministic(config.seed)
    with ImageReader(open_image, run.preprocessing, config.readers) as reader:
        run.prepare(reader)
        base_scores = run.scores("measuring the base")
        optimizer = run.optimizer()
        first_step = run.resume(optimizer)
        run.steps_from(first_step, optimizer)
        metrics = measure(run.test_choices, run.scores("measuring"), base_scores)
    return run.save(metrics, resumed_from=first_step)


class _Run:
    """One training with everything it holds."""

    def __init__(
        self,
        config: ClassifierConfig,
        choices: Sequence[Choice],
        base_folder: Path,
        out_folder: Path,
        on_step: OnStep,
        should_stop: ShouldStop,
        device: str | None,
        *,
        is_synthetic: bool,
    ) -> None:
        self.config, self.on_step, self.should_stop = config, on_step, should_stop
        self.folder, self.steps_folder = out_folder / "model", out_folder / "steps"
        self.device = backend.pick_device(device)
        wanted = config.precision
        self.dtype = backend.pick_dtype(self.device) if wanted == "auto" else getattr(torch, wanted)
        self.table: ChoiceTable = tabulate(choices)
        self.train_rows, self.test_rows = self.table.rows("train"), self.table.rows("test")
        self.test_choices = [self.table.choices[row] for row in self.test_rows]
        if not len(self.train_rows):
            raise UnableToTrain("There are no choices to train on; collect votes first.")
        self.total_steps = -(-len(self.train_rows) // config.choices_per_batch) * config.epochs
        self.model, self.preprocessing, self.base = hps.load_clip(base_folder)
        _check_base(config, self.base, self.preprocessing)
        towers.unlock(self.model, image_blocks=config.image_blocks, text_blocks=config.text_blocks)
        self.model.to(self.device).train()
        self.identity = {
            "config": config.to_json(),
            "data_sha256": sha256_of_choices(choices),
            "base": {"name": self.base.get("name"), "sha256": self.base["weights"]["sha256"]},
            "is_synthetic": is_synthetic or bool(self.base.get("is_synthetic", False)),
        }

    def finished_result(self) -> TrainingResult | None:
        """The result of an earlier call with the same arguments, killed after it had saved."""
        try:
            _, manifest = checkpoints.read(self.folder)
        except CheckpointRejected:
            return None
        if any(manifest.get(name) != value for name, value in self.identity.items()):
            return None
        return TrainingResult(self.folder, manifest, manifest["metrics"], self.total_steps, self.total_steps)

    def prepare(self, reader: ImageReader) -> None:
        """Read the images, if what the frozen blocks make of them fits into memory, and turn the prompts into ids."""
        self.features = TrunkFeatures(
            self.model,
            reader,
            self.table.images,
            trained_blocks=self.config.image_blocks,
            cache_megabytes=self.config.cache_megabytes,
        )
        self.features.keep(lambda done, total: self._tell("reading images", done, total))
        self.texts = hps.tokenizer(self.model)(list(self.table.prompts)).to(self.device)

    def optimizer(self) -> torch.optim.AdamW:
        """AdamW over what is unlocked, without weight decay on anything that is not a matrix."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups, lr=self.config.learning_rate, betas=(self.config.beta1, self.config.beta2), eps=self.config.epsilon
        )

    def resume(self, optimizer: torch.optim.AdamW) -> int:
        """Go back to the newest whole checkpoint of this very training; how many steps it had done."""
        state = training_state.latest(self.steps_folder)
        for reason in state.rejected if state else ():
            self._tell("training", 0, self.total_steps, note=f"A checkpoint was passed over. {reason}")
        if state is None or state.record != self.identity:
            return 0
        training_state.restore(self.model, optimizer, state.tensors)
        self._tell("training", state.step, self.total_steps, note=f"Going on from step {state.step}.")
        return state.step

    def steps_from(self, first_step: int, optimizer: torch.optim.AdamW) -> None:
        """Train from a step to the end, with a checkpoint now and then."""
        config = self.config
        coming = list(
            batches(
                self.train_rows,
                size=config.choices_per_batch,
                epochs=config.epochs,
                seed=config.seed,
                first_step=first_step,
            )
        )
        for offset, rows in enumerate(coming):
            step = first_step + offset
            if offset + 1 < len(coming):
                self.features.ask(self._images_of(coming[offset + 1]))
            rate = learning_rate(config, step, self.total_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = self._loss(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
            self._tell("training", step + 1, self.total_steps, loss=loss.item(), learning_rate=rate)
            if (step + 1) % config.checkpoint_every == 0 and step + 1 < self.total_steps:
                tensors = training_state.optimizer_tensors(self.model, optimizer)
                training_state.write(self.steps_folder, step=step + 1, tensors=tensors, record=self.identity)

    def scores(self, stage: str) -> list[list[float]]:
        """100 * cosine for every image of the test choices, in full precision whatever the training's."""
        with torch.no_grad():
            texts = self._encode_texts(np.unique(self.table.prompt_ids[self.test_rows]))
            images = np.unique(self.table.image_ids[self.test_rows][self.table.mask[self.test_rows]])
            embeddings = torch.empty(len(self.table.images), texts.shape[1], device=self.device)
            for start in range(0, len(images), SCORED_AT_ONCE):
                places = images[start : start + SCORED_AT_ONCE]
                self.features.ask(images[start + SCORED_AT_ONCE : start + 2 * SCORED_AT_ONCE])
                embeddings[torch.from_numpy(places)] = self._encode_images(places)
                self._tell(stage, start + len(places), len(images))
            scored = []
            for row in self.test_rows:
                own = embeddings[torch.from_numpy(self.table.image_ids[row][self.table.mask[row]])]
                scored.append((100 * own @ texts[self.table.prompt_ids[row]]).tolist())
        return scored

    def save(self, metrics: dict[str, Any], *, resumed_from: int) -> TrainingResult:
        """Write the artefact, then drop the checkpoints that led to it."""
        self._tell("saving", 0, 1)
        manifest = checkpoints.write(
            self.folder,
            hps.pack_token_table(self.model.state_dict()),
            {
                **self.identity,
                "kind": "hps",
                "name": f"HPS from {self.base.get('name') or 'CLIP'}",
                "model": self.base["model"],
                "preprocessing": self.preprocessing.to_manifest(),
                "seed": self.config.seed,
                "metrics": metrics,
                "train_choices": len(self.train_rows),
                "test_choices": len(self.test_rows),
                "steps": self.total_steps,
            },
        )
        shutil.rmtree(self.steps_folder, ignore_errors=True)
        return TrainingResult(self.folder, manifest, metrics, self.total_steps, resumed_from)

    def _loss(self, rows: NDArray[np.int64]) -> torch.Tensor:
        mask = torch.from_numpy(self.table.mask[rows]).to(self.device)
        targets = soft_targets(torch.from_numpy(self.table.chosen[rows]).to(self.device), mask)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            images = self._encode_images(self._images_of(rows))
            distinct, back = np.unique(self.table.prompt_ids[rows], return_inverse=True)
            texts = self._head_of_texts(distinct)[torch.from_numpy(back).to(self.device)]
        padded = images.new_zeros(*mask.shape, images.shape[1])
        padded[mask] = images
        return preference_loss(padded.float(), texts.float(), self.model.logit_scale, mask, targets)

    def _images_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        places: NDArray[np.int64] = self.table.image_ids[rows][self.table.mask[rows]]
        return places

    def _encode_images(self, places: NDArray[np.int64]) -> torch.Tensor:
        return towers.image_head(self.model, self.features.tokens(places), self.config.image_blocks)

    def _encode_texts(self, places: NDArray[np.int64]) -> torch.Tensor:
        """Embeddings of the prompts at these places, in a table of all prompts, (prompts, embed_dim)."""
        encoded = torch.zeros(len(self.table.prompts), self.model.visual.output_dim, device=self.device)
        for start in range(0, len(places), SCORED_AT_ONCE):
            some = places[start : start + SCORED_AT_ONCE]
            encoded[torch.from_numpy(some)] = self._head_of_texts(some)
        return encoded

    def _head_of_texts(self, places: NDArray[np.int64]) -> torch.Tensor:
        ids = self.texts[torch.from_numpy(places).to(self.device)]
        with torch.no_grad():
            tokens = towers.text_trunk(self.model, ids, self.config.text_blocks)
        return towers.text_head(self.model, tokens, ids, self.config.text_blocks)

    def _tell(self, stage: str, step: int, total: int, **more: Any) -> None:
        if self.should_stop():
            raise TrainingCancelled(f"Cancelled while {stage}, at {step} of {total}.")
        self.on_step(StepReport(stage, step, total, **more))


def learning_rate(config: ClassifierConfig, step: int, total_steps: int) -> float:
    """Linear warm-up, then a cosine that would be 0 one step after the last, as open_clip_train's `cosine_lr`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    return config.learning_rate * cosine((step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))


def cosine(share: float) -> float:
    """From 1 at 0 down to 0 at 1, along half a cosine wave."""
    return 0.5 * (1 + math.cos(math.pi * share))


def sha256_of_choices(choices: Sequence[Choice]) -> str:
    """SHA-256 of choices as JSON lines in the order given, as 64 hexadecimal digits."""
    return hashlib.sha256(write_lines(choices).encode()).hexdigest()


def _check_base(config: ClassifierConfig, base: dict[str, Any], preprocessing: Preprocessing) -> None:
    architecture = base["model"]["architecture"]
    if config.architecture is not None and architecture != config.architecture:
        raise UnableToTrain(f"Preset {config.preset} needs a base of {config.architecture}, not {architecture}.")
    if config.image_size is not None and preprocessing.size != config.image_size:
        raise UnableToTrain(f"Preset {config.preset} needs images of {config.image_size}, not {preprocessing.size}.")
