"""The adapter at several scales and guidances: is there a setting at which it does better than as trained?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotations.models import Generator, Image
from scoring import checkpoints
from scoring.metrics import Estimate
from scoring.reward_hacking import Arms, difference, win_rate
from worker.models import ImageScore, ModelVersion
from worker.services.execution import Reporter, RunStopped
from worker.services.generation import Recipe, adapter_folder, load_generator
from worker.services.versions import scorer_for

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from worker.generation.pipeline import Drawn

KEPT = "sweep.json"

_Scores = dict[str, list[float | None]]
"""By scorer, the score of each prompt's picture."""


@dataclass(frozen=True)
class Cell:
    """One setting of the sweep against the original at its own setting, prompt by prompt."""

    guidance: float
    scale: float
    """Of the adapter: 1 as trained."""
    differences: dict[str, Estimate]
    """By scorer: score of this setting, with the mark as negative prompt, less the original's; of the prompts whose
    picture is not blank, broken or blocked.
    """
    wins: dict[str, Estimate]
    """By scorer, of the same prompts."""
    left_out: int
    """Prompts whose picture is."""

    def to_record(self) -> dict[str, Any]:
        """The cell as plain values for JSON."""
        return {
            "guidance": self.guidance,
            "scale": self.scale,
            "differences": {name: estimate.to_record() for name, estimate in self.differences.items()},
            "wins": {name: estimate.to_record() for name, estimate in self.wins.items()},
            "left_out": self.left_out,
        }


def sweep(
    *,
    version: ModelVersion,
    original: Generator,
    prompts: Sequence[str],
    originals: Sequence[Image],
    scorers: Sequence[ModelVersion],
    grid: Sequence[tuple[float, float]],
    reporter: Reporter,
    workdir: Path,
) -> list[Cell]:
    """Draw each prompt once at every setting, with the mark as negative prompt, and score it; no image is kept.

    Settings that are done lie in `workdir`, so that a run that was ended goes on with the next.

    Args:
        version: the adapter.
        original: without it; gives pipeline and steps.
        prompts: (n,) texts.
        originals: (n,) the original's first images of them, scored by all scorers.
        scorers: by which all is measured.
        grid: (guidance, scale) of each setting.
        reporter: of the run.
        workdir: of the run.

    Raises:
        UnableToGenerate: a pipeline is not there.
        RunStopped: cancelled.
    """
    base = {scorer: _scores_of(scorer, originals) for scorer in scorers}
    done = _read(workdir / KEPT)
    pipeline = None
    for number, (guidance, scale) in enumerate(grid, start=1):
        reporter.stage(f"Sweep, {number} of {len(grid)}: guidance {guidance:g}, adapter scale {scale:g}")
        name = f"{guidance:g} {scale:g}"
        if name not in done:
            pipeline = pipeline or load_generator(Recipe.of(original))
            drawn = _drawn(pipeline, version, original, prompts, guidance, scale)
            done[name] = {str(scorer): _scored(scorer, drawn, prompts) for scorer in scorers}
            _keep(workdir / KEPT, done)
        reporter.step(number, len(grid))
        if reporter.should_stop():
            raise RunStopped
    return [_cell(guidance, scale, done[f"{guidance:g} {scale:g}"], base) for guidance, scale in grid]


def _drawn(
    pipeline: "DiffusionPipeline",
    version: ModelVersion,
    original: Generator,
    prompts: Sequence[str],
    guidance: float,
    scale: float,
) -> "list[Drawn]":
    from worker.adapter.config import negative_with  # slow imports
    from worker.generation.pipeline import draw, seed_for, with_adapter

    recipe = Recipe.of(original)
    with with_adapter(pipeline, adapter_folder(str(version)), scale):
        batches = draw(
            pipeline,
            prompts,
            [seed_for(prompt, 0) for prompt in prompts],
            steps=recipe.steps,
            guidance=guidance,
            negative_prompt=negative_with(version.manifest["mark"], recipe.negative_prompt),
            width=recipe.width,
            height=recipe.height,
        )
        return [drawn for batch in batches for drawn in batch]


def _scored(scorer: ModelVersion, drawn: "Sequence[Drawn]", prompts: Sequence[str]) -> list[float | None]:
    """The score of each prompt's picture; None of a faulty one, which a score would judge for what it isn't."""
    sound = [(each.picture, prompt) for each, prompt in zip(drawn, prompts, strict=True) if each.fault is None]
    scores = iter(scorer_for(scorer).score_pairs(sound) if sound else ())
    return [float(next(scores)) if each.fault is None else None for each in drawn]


def _scores_of(scorer: ModelVersion, images: Sequence[Image]) -> np.ndarray:
    values = dict(ImageScore.objects.filter(version=scorer, image__in=images).values_list("image_id", "value"))
    return np.array([values[image.pk] for image in images])


def _cell(guidance: float, scale: float, scores: _Scores, base: dict[ModelVersion, np.ndarray]) -> Cell:
    after = {scorer: np.array(scores[str(scorer)], dtype=np.float64) for scorer in base}  # None becomes NaN
    sound = {scorer: np.isfinite(values) for scorer, values in after.items()}
    arms = {str(scorer): Arms(before[sound[scorer]], after[scorer][sound[scorer]]) for scorer, before in base.items()}
    differences = {name: difference(pair) for name, pair in arms.items()}
    wins = {name: win_rate(pair) for name, pair in arms.items()}
    return Cell(
        guidance,
        scale,
        {name: estimate for name, estimate in differences.items() if estimate},
        {name: estimate for name, estimate in wins.items() if estimate},
        left_out=max((int((~there).sum()) for there in sound.values()), default=0),
    )


def _keep(path: Path, done: dict[str, _Scores]) -> None:
    unfinished = path.with_suffix(".part")
    checkpoints.write_json(unfinished, done)
    unfinished.replace(path)


def _read(path: Path) -> dict[str, _Scores]:
    kept: dict[str, _Scores] = json.loads(path.read_text()) if path.is_file() else {}
    return kept
