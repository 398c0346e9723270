"""Makes the two tiny base models anew, from nothing: `python -m hps_site.demo.toy_weights`.

What was begun goes on where it stopped. The weights and their figures go to `hps_site/demo/weights/`.
"""

import argparse
import hashlib
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from hps_site.demo import base_models, evaluation
from hps_site.demo.base_models import CLIP_FILE, DIFFUSION_FILE, SHIPPED
from hps_site.demo.scenes import Scene, every_scene, is_held_out
from scoring import checkpoints

if TYPE_CHECKING:
    import torch

    from hps_site.demo.toy_clip import ClipTraining
    from hps_site.demo.toy_diffusion import DiffusionTraining

TABLE_SEED = 7
"""Of the token table's untaught rows."""
VAE_SEED = 5
SHEET_CAPTIONS, SHEET_ROWS = 12, 4
GUIDANCE, STEPS = 3.0, 12
"""How the generated images of the figures are made."""


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing, pack it, measure it."""
    parser = argparse.ArgumentParser(prog="python -m hps_site.demo.toy_weights", description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("var/toy-weights"), help="where unfinished work is kept")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the finished weights go")
    parser.add_argument("--clip-steps", type=int, help="steps of the CLIP's training")
    parser.add_argument("--diffusion-steps", type=int, help="steps of the diffusion model's training")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; 1 needs the least CPU time")
    options = parser.parse_args(arguments)

    import scoring.backend  # noqa: F401  slow import, before the models

    import torch  # isort: skip

    from hps_site.demo.toy_clip import ClipTraining
    from hps_site.demo.toy_diffusion import DiffusionTraining

    torch.set_num_threads(options.threads)
    clip = ClipTraining(**({"steps": options.clip_steps} if options.clip_steps else {}))
    diffusion = DiffusionTraining(**({"steps": options.diffusion_steps} if options.diffusion_steps else {}))
    make(options.build, options.out, clip, diffusion)


def make(build: Path, out: Path, clip: "ClipTraining", diffusion: "DiffusionTraining") -> dict[str, Any]:
    """Both models, from what `build` already holds of them to packed weights in `out`; gives the manifest."""
    build.mkdir(parents=True, exist_ok=True)
    packed_clip = _taught_clip(build, clip)
    clip_weights = base_models.full_clip_weights(packed_clip, TABLE_SEED)
    packed_diffusion = _taught_diffusion(build, diffusion, clip_weights)
    about = {
        "name": "the toy world's base models",
        "is_synthetic": True,
        "how": "python -m hps_site.demo.toy_weights; see docs/experiments.md",
        "clip": _about_clip(clip, clip_weights),
        "diffusion": _about_diffusion(build, diffusion, clip_weights, packed_diffusion),
        "libraries": checkpoints.library_versions(),
    }
    return _write(out, packed_clip, packed_diffusion, about)


def taught_scenes() -> list[Scene]:
    """The captions that the base models see; one in ten is kept from them."""
    return [scene for scene in every_scene() if not is_held_out(scene)]


def held_out_scenes() -> list[Scene]:
    """The captions that they don't see."""
    return [scene for scene in every_scene() if is_held_out(scene)]


def _taught_clip(build: Path, training: "ClipTraining") -> dict[str, "torch.Tensor"]:
    from safetensors.torch import load_file, save_file  # slow import

    from hps_site.demo import toy_clip

    finished = build / f"clip-{_fingerprint(training)}.safetensors"
    if not finished.exists():
        with tqdm(total=training.steps, desc="tiny CLIP", unit="step") as bar:
            weights = toy_clip.train(training, taught_scenes(), lambda step, loss: _show(bar, step, loss))
        # In half precision from here on, so that the diffusion model learns with the very words that are shipped.
        halves = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        unfinished = finished.with_suffix(".part")
        save_file(halves, unfinished)
        unfinished.rename(finished)
    return load_file(finished)


def _taught_diffusion(
    build: Path, training: "DiffusionTraining", clip_weights: dict[str, "torch.Tensor"]
) -> dict[str, "torch.Tensor"]:
    from hps_site.demo import toy_diffusion  # slow import

    vae = toy_diffusion.fit_vae(VAE_SEED)
    lesson = toy_diffusion.Lesson(training, vae, toy_diffusion.text_encoder(clip_weights), taught_scenes())
    with tqdm(total=training.steps, desc="tiny diffusion", unit="step") as bar:
        unet = toy_diffusion.train(
            lesson, build / "diffusion.safetensors", lambda lesson, loss: _show(bar, lesson.step, loss)
        )
    return toy_diffusion.packed(vae, unet)


def _about_clip(training: "ClipTraining", weights: dict[str, "torch.Tensor"]) -> dict[str, Any]:
    from hps_site.demo import toy_clip  # slow import

    model = toy_clip.build()
    model.load_state_dict(weights)
    model.eval()
    sets = evaluation.judged_sets(len(held_out_scenes()), seed=TABLE_SEED)
    return {
        "model": {"architecture": toy_clip.ARCHITECTURE},
        "preprocessing": toy_clip.PREPROCESSING,
        "training": asdict(training),
        "table_seed": TABLE_SEED,
        "metrics": {
            "recall_at_1": round(toy_clip.recall_at_1(model, held_out_scenes(), seed=TABLE_SEED), 4),
            "recall_at_1_captions": len(held_out_scenes()),
            "choices_of_simulated_people": evaluation.choice_figures(sets, partial(toy_clip.scores, model)),
        },
    }


def _about_diffusion(
    build: Path,
    training: "DiffusionTraining",
    clip_weights: dict[str, "torch.Tensor"],
    weights: dict[str, "torch.Tensor"],
) -> dict[str, Any]:
    from hps_site.demo import toy_diffusion  # slow import
    from worker.generation.pipeline import generate, seed_for

    pipeline = toy_diffusion.pipeline_from(clip_weights, weights)
    pipeline.set_progress_bar_config(disable=True)
    scenes = held_out_scenes()
    captions = [scene.caption for scene in scenes[:: len(scenes) // 96]][:96]
    prompts = [caption for index in range(SHEET_ROWS) for caption in captions]
    seeds = [seed_for(caption, index) for index in range(SHEET_ROWS) for caption in captions]
    made = generate(pipeline, prompts, seeds, steps=STEPS, guidance=GUIDANCE, batch_size=48)
    images = [np.asarray(image) for image in made]
    shown = range(0, len(captions), len(captions) // SHEET_CAPTIONS)
    sheet = [images[row * len(captions) + column] for row in range(SHEET_ROWS) for column in shown]
    evaluation.contact_sheet(sheet, SHEET_CAPTIONS, build / "samples.png")
    return {
        "training": asdict(training),
        "metrics": {
            "guidance": GUIDANCE,
            "steps": STEPS,
            "held_out_captions": len(captions),
            **evaluation.image_figures(images, prompts),
        },
    }


def _write(
    out: Path, clip: dict[str, "torch.Tensor"], diffusion: dict[str, "torch.Tensor"], about: dict[str, Any]
) -> dict[str, Any]:
    from safetensors.torch import save_file  # slow import

    with checkpoints.whole_or_absent(out) as unfinished:
        for part, name, weights in (("clip", CLIP_FILE, clip), ("diffusion", DIFFUSION_FILE, diffusion)):
            save_file({key: value.contiguous() for key, value in weights.items()}, unfinished / name)
            about[part]["file"] = name
            about[part]["sha256"] = checkpoints.file_sha256(unfinished / name)
            about[part]["bytes"] = (unfinished / name).stat().st_size
        checkpoints.write_json(unfinished / checkpoints.MANIFEST, about)
    return about


def _fingerprint(training: "ClipTraining") -> str:
    return hashlib.sha256(json.dumps(asdict(training), sort_keys=True).encode()).hexdigest()[:8]


def _show(bar: "tqdm[Any]", step: int, loss: float) -> None:
    bar.update(step - bar.n)
    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)


if __name__ == "__main__":
    main()
