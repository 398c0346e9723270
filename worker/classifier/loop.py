"""The training of the preference classifier, as the story of one run."""

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scoring import backend, checkpoints, hps, training_state
from scoring.checkpoints import CheckpointRejected
from scoring.distributed import ALONE, Processes
from scoring.losses import choice_divergence, preference_loss
from scoring.preferences import Choice, write_lines
from scoring.preprocessing import Preprocessing
from worker.classifier import towers
from worker.classifier.config import ClassifierConfig
from worker.classifier.data import ChoiceTable, ImageReader, OpenImage, batches, hold_out, tabulate
from worker.classifier.encoding import Encoder
from worker.classifier.reports import (
    OnStep,
    ShouldStop,
    StepReport,
    TrainingCancelled,
    TrainingResult,
    UnableToTrain,
    never,
    tell_nobody,
)
from worker.classifier.trunk_cache import TrunkCache

# open_clip_train/main.py clamps CLIP's inverse temperature to 1..100 after every step.
MAX_LOGIT_SCALE = math.log(100)

BYTES_PER_MEGABYTE = 1_000_000


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
    cache_folder: Path | None = None,
    hashes: Mapping[str, str] | None = None,
    reliability: Mapping[str, float] | None = None,
    processes: Processes = ALONE,
) -> TrainingResult:
    """Tune a CLIP model on people's choices and measure it on the choices held out.

    Called again with the same arguments after it was stopped or killed, it goes on from its last whole checkpoint and
    ends, on a CPU, with the very same weights as if it had run through; once finished it only reads the result.

    Args:
        config: see `ClassifierConfig`.
        choices: both sides of the split. Ties teach that all are equally good; all-bad answers teach nothing. A test
            choice whose prompt or one of whose images is trained on is left out of the test, told in a note, and
            counted as `test_choices_left_out` in the manifest; see `data.kept_apart`.
        open_image: from an image's key to the picture; called from several threads.
        base_folder: artefact of kind `clip` or `hps` to begin from.
        out_folder: the result will stand in `model/`, checkpoints meanwhile in `steps/`.
        on_step: told of every step; what it raises ends the training.
        should_stop: asked before every step.
        device: by default CUDA where there is one.
        is_synthetic: whether the votes are simulated; the result is synthetic if they or the base are.
        cache_folder: where what the frozen blocks make is kept for later epochs and later trainings; None: nowhere.
        hashes: SHA-256 of each image's file by key, by which the cache knows it, and copies on the other side of the
            split are found; without them, the cache knows images by their pixels, so that they have to be read in every
            training, and the sides are compared by key alone.
        reliability: how much each annotator's answers count in training, 1 where not named; the test counts all alike.
        processes: those that share this training, each of which calls this function with the same arguments, see
            `launch`; by default this one alone.

    Raises:
        UnableToTrain: there is nothing to train on, all test choices are of what is trained on, the base isn't the
            model that the config asks for, or the memory doesn't suffice for a single choice.
        UnableToUnlock: the base has fewer blocks than shall be trained, or is no vision transformer.
        UnableToReadImage: an image is missing or damaged.
        TrainingCancelled: `should_stop` said so.
        CheckpointRejected: the base can't be read.
    """
    run = _Run(
        config, choices, base_folder, out_folder, on_step, should_stop, device, is_synthetic, hashes or {},
        reliability or {}, processes,
    )  # fmt: skip
    if finished := run.finished_result():
        return finished
    backend.make_deterministic(config.seed)
    run.tell_what_is_left_out()
    with run.encoder(open_image, cache_folder, hashes):
        base_scores = run.scores("measuring the base")
        optimizer = run.optimizer()
        first_step = run.resume(optimizer)
        run.steps_from(first_step, optimizer)
        from worker.classifier.evaluation import measure  # needs scipy, which the steps themselves do without

        metrics = measure(run.held_out.choices, run.scores("measuring"), base_scores)
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
        is_synthetic: bool,  # noqa: FBT001 - as named in `train`
        hashes: Mapping[str, str],
        reliability: Mapping[str, float],
        processes: Processes,
    ) -> None:
        self.config, self.on_step, self.should_stop, self.processes = config, on_step, should_stop, processes
        self.folder, self.steps_folder, self.best_folder = (out_folder / name for name in ("model", "steps", "best"))
        self.device = backend.pick_device(processes.device or device)
        wanted = config.precision
        self.dtype = backend.pick_dtype(self.device) if wanted == "auto" else getattr(torch, wanted)
        self.table: ChoiceTable = tabulate(
            [choice for choice in choices if choice.split == "train"],
            reliability=reliability,
            is_together=config.raters == "together",
        )
        self.train_rows, self.validation_rows = _divided(config, self.table)
        self.held_out = hold_out(choices, self.table.choices, hashes)
        self.total_steps = -(-len(self.train_rows) // config.choices_per_batch) * config.epochs
        self.choices_at_once = config.choices_at_once or config.choices_per_batch
        self.best = {"loss": math.inf, "step": 0, "looks_since": 0}
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
        if reliability:
            self.identity["reliability"] = {
                "people": len(reliability),
                "least": min(reliability.values()),
                "most": max(reliability.values()),
                "sha256": sha256_of(json.dumps(dict(reliability), sort_keys=True)),
            }

    def finished_result(self) -> TrainingResult | None:
        """The result of an earlier call with the same arguments, killed after it had saved."""
        try:
            _, manifest = checkpoints.read(self.folder)
        except CheckpointRejected:
            return None
        if any(manifest.get(name) != value for name, value in self.identity.items()):
            return None
        return TrainingResult(self.folder, manifest, manifest["metrics"], manifest["steps"], manifest["steps"])

    def tell_what_is_left_out(self) -> None:
        """Of the test, because it would measure how well the training remembers."""
        if note := self.held_out.note:
            self._tell("measuring the base", 0, len(self.held_out.choices), note=note)

    @contextlib.contextmanager
    def encoder(
        self, open_image: OpenImage, cache_folder: Path | None, hashes: Mapping[str, str] | None
    ) -> Iterator[None]:
        """For the time of the block, threads that read images and a cache of what the frozen blocks make of them."""
        cache = None
        if cache_folder is not None and self.config.cache_megabytes:
            cache = TrunkCache(cache_folder, self.config.cache_megabytes * BYTES_PER_MEGABYTE)
        with (
            ImageReader(open_image, self.preprocessing, self.config.readers) as reader,
            ThreadPoolExecutor(1, thread_name_prefix="frozen-tokens") as thread,
        ):
            self.encode = Encoder(self.model, self.config, self.table, reader, thread, self.dtype, self.processes)
            if cache is not None:
                base_sha256 = self.base["weights"]["sha256"]
                kept = self.encode.use(cache, base_sha256, self.preprocessing, hashes, self._tell)
                self._tell("reading prompts", 1, 1, note=kept)
            yield

    def optimizer(self) -> torch.optim.AdamW:
        """AdamW over what is unlocked, without weight decay on anything that is not a matrix."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups,
            lr=self.config.learning_rate,
            betas=(self.config.beta1, self.config.beta2),
            eps=self.config.epsilon,
            fused=True,  # one pass over the memory of each parameter: a third of the time, on a CPU too
        )

    def resume(self, optimizer: torch.optim.AdamW) -> int:
        """Go back to the newest whole checkpoint of this very training; how many steps it had done."""
        state = training_state.latest(self.steps_folder)
        for reason in state.rejected if state else ():
            self._tell("training", 0, self.total_steps, note=f"A checkpoint was passed over. {reason}")
        if state is None or {**state.record, "best": None} != {**self.identity, "best": None}:
            return 0
        training_state.restore(self.model, optimizer, state.tensors)
        self.best = state.record.get("best", self.best)
        self._tell("training", state.step, self.total_steps, note=f"Going on from step {state.step}.")
        return state.step

    def steps_from(self, first_step: int, optimizer: torch.optim.AdamW) -> None:
        """Train from a step to the end, looking at the prompts held back and writing a checkpoint now and then."""
        config = self.config
        if (warmup := warmup_of(config, self.total_steps)) < config.warmup_steps:
            note = f"The warm-up of {config.warmup_steps} steps is cut to {warmup}, half of the training."
            self._tell("training", first_step, self.total_steps, note=note)
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
                self.encode.fetch_ahead(self.processes.share(coming[offset + 1])[: self.choices_at_once])
            rate = learning_rate(config, step, self.total_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = self._backward(rows, optimizer)
            optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
            step += 1
            is_last = step == self.total_steps
            looks = len(self.validation_rows) and (step % config.evaluate_every == 0 or is_last)
            validation_loss = self._look(step) if looks else None
            self._tell(
                "training", step, self.total_steps, loss=loss, learning_rate=rate, validation_loss=validation_loss
            )
            if config.patience and self.best["looks_since"] >= config.patience:
                self._tell("training", step, self.total_steps, note=f"Ended early: {self._best_in_words()}")
                break
            if step % config.checkpoint_every == 0 and not is_last and self.processes.is_first:
                tensors = training_state.optimizer_tensors(self.model, optimizer)
                record = self.identity | ({"best": self.best} if len(self.validation_rows) else {})
                training_state.write(self.steps_folder, step=step, tensors=tensors, record=record)
        if len(self.validation_rows):
            self._go_back_to_best()
        self.steps = step if coming else first_step

    def scores(self, stage: str) -> list[list[float]]:
        """100 * cosine for every image of the test choices, in full precision whatever the training's."""
        mine = [self.held_out.choices[place] for place in self.processes.share(np.arange(len(self.held_out.choices)))]
        return self.processes.together(self.encode.scores(mine, lambda done, total: self._tell(stage, done, total)))

    def save(self, metrics: dict[str, Any], *, resumed_from: int) -> TrainingResult:
        """Write the artefact, then drop the checkpoints that led to it."""
        self._tell("saving", 0, 1)
        if self.processes.is_first:
            self._write(metrics)
        self.processes.wait()
        manifest = checkpoints.read_manifest(self.folder)
        return TrainingResult(self.folder, manifest, metrics, self.steps, resumed_from)

    def _write(self, metrics: dict[str, Any]) -> None:
        checkpoints.write(
            self.folder,
            hps.pack_token_table(self.model.state_dict()),
            {
                **self.identity,
                "kind": "hps",
                "name": f"HPS from {self.base.get('name') or 'CLIP'}",
                "model": self.base["model"],
                "preprocessing": self.preprocessing.to_manifest(),
                "scale": self.model.logit_scale.exp().item(),
                "seed": self.config.seed,
                "metrics": metrics,
                "train_choices": len(self.train_rows),
                "test_choices": len(self.held_out.choices),
                "test_choices_left_out": self.held_out.left_out,
                "steps": self.steps,
                **({"best": self.best} if len(self.validation_rows) else {}),
            },
        )
        for folder in (self.steps_folder, self.best_folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _backward(self, rows: NDArray[np.int64], optimizer: torch.optim.AdamW) -> float:
        """Put the gradient of a batch's loss into the parameters, in as many pieces as the memory needs; the loss."""
        while True:
            optimizer.zero_grad()
            try:
                loss = self._accumulate(rows)
                break
            except torch.OutOfMemoryError as error:
                if self.choices_at_once == 1:
                    raise UnableToTrain("A single choice is too much for the memory; train fewer blocks.") from error
            self.choices_at_once = min(self.choices_at_once, len(self.processes.share(rows))) // 2 or 1
            torch.cuda.empty_cache()
            self._tell("training", 0, self.total_steps, note=f"Out of memory; {self.choices_at_once} choices at once.")
        self.processes.sum_gradients(p for p in self.model.parameters() if p.requires_grad)
        return self.processes.sum(loss)

    def _accumulate(self, rows: NDArray[np.int64]) -> float:
        """Add the gradient of this process's part of a batch; that part's part of the loss."""
        whole, mine = self.table.weights(rows).sum(), self.processes.share(rows)
        total = torch.zeros((), device=self.device)
        for start in range(0, len(mine), self.choices_at_once):
            some = mine[start : start + self.choices_at_once]
            images, texts = self.encode.embeddings(some)
            loss = preference_loss(images, texts, self.model.logit_scale, *self.encode.answers(some))
            loss = loss * float(self.table.weights(some).sum() / whole)
            loss.backward()
            total += loss.detach()
        return total.item()

    def _look(self, step: int) -> float:
        """The divergence on the prompts held back, the weights being kept if it is the least so far."""
        mine, size, total = self.processes.share(self.validation_rows), self.choices_at_once, 0.0
        with torch.no_grad():
            for start in range(0, len(mine), size):
                rows = mine[start : start + size]
                images, texts = self.encode.embeddings(rows)
                logits = self.model.logit_scale.exp() * torch.einsum("bnd,bd->bn", images, texts)
                divergence = choice_divergence(logits, *self.encode.answers(rows))
                total += divergence.item() * float(self.table.weights(rows).sum())
        loss = self.processes.sum(total) / float(self.table.weights(self.validation_rows).sum())
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "step": step, "looks_since": 0}
            if self.processes.is_first:
                trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
                checkpoints.write(self.best_folder, trained, {"kind": "training_state", "step": step})
        else:
            self.best = self.best | {"looks_since": self.best["looks_since"] + 1}
        return loss

    def _go_back_to_best(self) -> None:
        self.processes.wait()
        tensors, _ = checkpoints.read(self.best_folder)
        self.model.load_state_dict(tensors, strict=False)
        self._tell("training", self.total_steps, self.total_steps, note=f"The result: {self._best_in_words()}")

    def _best_in_words(self) -> str:
        return f"the weights of step {self.best['step']}, best on prompts held back ({self.best['loss']:.4f} nats)."

    def _tell(self, stage: str, step: int, total: int, **more: Any) -> None:
        if self.should_stop():
            raise TrainingCancelled(f"Cancelled while {stage}, at {step} of {total}.")
        self.on_step(StepReport(stage, step, total, **more))


def learning_rate(config: ClassifierConfig, step: int, total_steps: int) -> float:
    """Linear warm-up, then a cosine that would be 0 one step after the last, as open_clip_train's `cosine_lr`."""
    warmup = warmup_of(config, total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * cosine((step - warmup) / max(1, total_steps - warmup))


def warmup_of(config: ClassifierConfig, total_steps: int) -> int:
    """Steps of warm-up: half of the training at most, so that a recipe for many choices can be tried on few."""
    return min(config.warmup_steps, total_steps // 2)


def cosine(share: float) -> float:
    """From 1 at 0 down to 0 at 1, along half a cosine wave."""
    return 0.5 * (1 + math.cos(math.pi * share))


def sha256_of_choices(choices: Sequence[Choice]) -> str:
    """SHA-256 of choices as JSON lines in the order given, as 64 hexadecimal digits."""
    return sha256_of(write_lines(choices))


def sha256_of(text: str) -> str:
    """SHA-256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _divided(config: ClassifierConfig, table: ChoiceTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, and rows on prompts held back to look at.

    Raises:
        UnableToTrain: nothing is left to train on.
    """
    rows = np.arange(len(table.choices))
    if not len(rows):
        raise UnableToTrain("There are no choices to train on; collect votes first.")
    if not config.evaluate_every:
        return rows, rows[:0]
    held_back = table.held_back(rows, config.validation_share, config.seed)
    if held_back.all():
        raise UnableToTrain(
            "All choices to train on are of one prompt, which would be held back: set evaluate_every 0."
        )
    return rows[~held_back], rows[held_back]


def _check_base(config: ClassifierConfig, base: dict[str, Any], preprocessing: Preprocessing) -> None:
    architecture = base["model"]["architecture"]
    if config.architecture is not None and architecture != config.architecture:
        raise UnableToTrain(f"Preset {config.preset} needs a base of {config.architecture}, not {architecture}.")
    if config.image_size is not None and preprocessing.size != config.image_size:
        raise UnableToTrain(f"Preset {config.preset} needs images of {config.image_size}, not {preprocessing.size}.")
