"""A tiny diffusion pipeline and tiny scorers as this site knows them: settings, generators and versions."""

from pathlib import Path
from typing import Any

from annotations.models import Generator, Image, Prompt, Split
from tests.annotations.factories import make_image, make_prompt, picture_bytes
from tests.worker.worlds import write_tiny_clip
from worker.models import ModelVersion, Run
from worker.services.execution import Reporter, claim_run
from worker.services.generation import Recipe, make_generator
from worker.services.runs import open_run
from worker.services.versions import promote_version, register_base_models, register_version


def make_tiny_generator(name: str = "tiny", **changes: Any) -> Generator:
    """A generator that draws with the pipeline that the fixture `tiny_diffusion` put into the settings."""
    return make_generator(
        name=name,
        recipe=Recipe(**{"pipeline": "tiny-diffusion", "steps": 2, "guidance": 2.0} | changes),
        is_synthetic=True,
    )


def make_scorers(folder: Path) -> dict[str, ModelVersion]:
    """A CLIP and an HPS version in use, both with the same random weights."""
    artefact = write_tiny_clip(folder)
    (clip,) = register_base_models(folders=[artefact])
    hps = register_version(family=ModelVersion.Family.HPS, folder=artefact, manifest={}, metrics={}, is_synthetic=True)
    return {"clip": clip, "hps": promote_version(version=hps)}


def make_images(count: int, generator: Generator, *, split: str = Split.TRAIN, per_prompt: int = 4) -> list[Image]:
    """Little pictures of different colours, `per_prompt` for each prompt."""
    prompts: list[Prompt] = [make_prompt(split=split) for _ in range(-(-count // per_prompt))]
    return [
        make_image(
            prompt=prompts[place // per_prompt], generator=generator, seed=place, content=picture_bytes(size=(16, 16))
        )
        for place in range(count)
    ]


def claimed_run(kind: str, config: dict[str, Any], preset: str = "tiny", **fields: Any) -> tuple[Run, Reporter]:
    """A run that this process holds, with its reporter."""
    opened = open_run(kind=kind, preset=preset, config=config, **fields)
    run = claim_run(run_id=opened.run.pk, worker="test")
    assert run is not None
    return run, Reporter(run)
