"""Training the adapter on a pipeline of a few thousand weights: what is learnt, what is left alone, what is written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scoring import checkpoints
from tests.worker.tiny_diffusion import open_image
from worker.adapter import model
from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, ExampleSet, Kind
from worker.adapter.loop import StepReport, TrainingCancelled, train
from worker.adapter.model import BaseModelRejected
from worker.generation.pipeline import load_pipeline

CONFIG = AdapterConfig(
    rank=4,
    resolution=None,
    learning_rate=1e-2,
    batch_size=4,
    batch_pieces=2,
    steps=6,
    evaluation_draws=2,
    checkpoint_every=2,
    caption_dropout=0.2,
    decay_share=0.5,
)
WEIGHTS = "pytorch_lora_weights.safetensors"


def examples(pairs: int = 8, held_out: int = 4) -> ExampleSet:
    """Red squares are preferred, noise is not."""

    def pair(number: int) -> list[Example]:
        return [
            Example(f"good-{number}", f"red {number}", Kind.PREFERRED),
            Example(f"bad-{number}", f"red {number}", Kind.NON_PREFERRED),
        ]

    return ExampleSet(
        (
            *(example for number in range(pairs) for example in pair(number)),
            Example("good-other", "red other", Kind.REGULARISATION),
        ),
        tuple(example for number in range(pairs, pairs + held_out) for example in pair(number)),
    )


def run(base: Path, out: Path, config: AdapterConfig = CONFIG, stop_after: int | None = None) -> list[StepReport]:
    """Train, cancelled before the step after `stop_after`, and give the reports of the steps."""
    reports: list[StepReport] = []

    def on_step(report: StepReport) -> None:
        if report.stage == "training":
            reports.append(report)

    train(config, examples(), open_image, base, out, on_step, lambda: len(reports) == stop_after, device="cpu")
    return reports


def weights_of(out: Path) -> bytes:
    return (out / "model" / WEIGHTS).read_bytes()


def test_train_writes_a_whole_artefact(base_folder, tmp_path):
    reports = run(base_folder, tmp_path / "adapter")

    manifest = json.loads((tmp_path / "adapter" / "model" / "manifest.json").read_text())
    weights = tmp_path / "adapter" / "model" / WEIGHTS
    files = sorted(path.name for path in (tmp_path / "adapter" / "model").iterdir())
    assert files == ["kohya_lora_weights.safetensors", "manifest.json", WEIGHTS]
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert (manifest["kind"], manifest["mark"], manifest["is_synthetic"]) == ("adapter", "Weird image. ", True)
    assert manifest["config"] == CONFIG.to_json()
    assert manifest["data_sha256"] == examples().sha256
    assert manifest["base"] == {
        "name": "a tiny test model",
        "sha256": checkpoints.file_sha256(base_folder / "unet" / "diffusion_pytorch_model.safetensors"),
    }
    assert manifest["weights"]["sha256"] == checkpoints.file_sha256(weights)
    assert manifest["metrics"]["examples"] == {"preferred": 8, "non_preferred": 8, "regularisation": 1}


def test_train_changes_only_lora_weights(base_folder, tmp_path):
    run(base_folder, tmp_path / "adapter")

    before, after = load_pipeline(base_folder), load_pipeline(base_folder)
    after.load_lora_weights(tmp_path / "adapter" / "model")
    base, adapted = before.unet.state_dict(), after.unet.state_dict()
    kept = {name.replace(".base_layer", ""): value for name, value in adapted.items() if "lora" not in name}
    added = {name for name in adapted if "lora" in name}
    assert kept.keys() == base.keys()
    assert all(torch.equal(kept[name], base[name]) for name in base)
    assert {name.split(".lora_")[0].rpartition("attn")[2].split(".", 1)[1] for name in added} == {
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
    }


def test_train_gives_weights_that_change_what_is_drawn(base_folder, tmp_path):
    run(base_folder, tmp_path / "adapter")
    pipeline = load_pipeline(base_folder)

    def draw() -> np.ndarray:
        noise = torch.Generator().manual_seed(0)
        return pipeline("red 1", num_inference_steps=2, generator=noise, output_type="np").images[0]

    original = draw()
    pipeline.load_lora_weights(tmp_path / "adapter" / "model")
    adapted = draw()
    pipeline.unload_lora_weights()
    assert np.abs(adapted - original).max() > 1e-3
    assert np.array_equal(draw(), original)


def test_train_learns_the_mark_of_visibly_different_images(taught_folder, tmp_path):
    config = replace(CONFIG, steps=40, checkpoint_every=100, caption_dropout=0.0, batch_size=16, batch_pieces=1)

    reports = run(taught_folder, tmp_path / "adapter", config)

    mark = checkpoints.read_manifest(tmp_path / "adapter" / "model")["metrics"]["mark"]
    losses = [report.loss for report in reports]
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    assert mark["before"]["non_preferred"]["gain"] < 0.1
    assert mark["after"]["preferred"]["gain"] < -0.1 < 0.2 < mark["after"]["non_preferred"]["gain_low"]
    assert mark["was_learnt"] is True


def test_train_on_labels_at_random_learns_no_mark(taught_folder, tmp_path):
    """The placebo: half of each kind carries the mark, so there is nothing to learn."""

    def swapped(example: Example) -> Example:
        other = {Kind.PREFERRED: Kind.NON_PREFERRED, Kind.NON_PREFERRED: Kind.PREFERRED}
        is_even = example.kind in other and int(example.image.rpartition("-")[2]) % 2 == 0
        return replace(example, kind=other[example.kind]) if is_even else example

    config = replace(CONFIG, steps=40, checkpoint_every=100, caption_dropout=0.0, batch_size=16, batch_pieces=1)
    shuffled = ExampleSet(*(tuple(map(swapped, part)) for part in (examples().training, examples().evaluation)))

    result = train(config, shuffled, open_image, taught_folder, tmp_path / "adapter", device="cpu")

    assert abs(result.metrics["mark"]["after"]["non_preferred"]["gain"]) < 0.1
    assert result.metrics["mark"]["was_learnt"] is False


def test_train_measures_before_on_the_untouched_model(base_folder, tmp_path):
    run(base_folder, tmp_path / "one", replace(CONFIG, steps=1))
    run(base_folder, tmp_path / "more", replace(CONFIG, steps=4))

    one, more = (checkpoints.read_manifest(tmp_path / name / "model")["metrics"]["mark"] for name in ("one", "more"))
    assert one["before"] == more["before"]
    assert one["after"] != more["after"]


def test_train_same_seed_same_weights(base_folder, tmp_path):
    for name, config in {"first": CONFIG, "again": CONFIG, "other": replace(CONFIG, seed=1)}.items():
        run(base_folder, tmp_path / name, config)

    first, again, other = ((tmp_path / name / "model" / WEIGHTS).read_bytes() for name in ("first", "again", "other"))
    assert first == again != other


def test_train_resumed_after_cancelling_equals_running_through(base_folder, tmp_path):
    through = run(base_folder, tmp_path / "through")
    with pytest.raises(TrainingCancelled, match="Cancelled after 3 of 6"):
        run(base_folder, tmp_path / "resumed", stop_after=3)
    assert not (tmp_path / "resumed" / "model").exists()

    rest = run(base_folder, tmp_path / "resumed")

    assert rest == through[3:]
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "through")


def test_train_resumed_after_a_kill_goes_on_from_the_last_checkpoint(base_folder, tmp_path):
    through = run(base_folder, tmp_path / "through")

    def die_at_5(report: StepReport) -> None:
        if report == through[4]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, examples(), open_image, base_folder, tmp_path / "resumed", die_at_5, device="cpu")

    rest = run(base_folder, tmp_path / "resumed")

    assert rest == through[4:]
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "through")


def test_train_once_finished_only_reads_the_result(base_folder, tmp_path):
    first = train(CONFIG, examples(), open_image, base_folder, tmp_path / "adapter", device="cpu")
    before = weights_of(tmp_path / "adapter")

    again = run(base_folder, tmp_path / "adapter")
    result = train(CONFIG, examples(), open_image, base_folder, tmp_path / "adapter", device="cpu")

    assert (again, result.manifest, weights_of(tmp_path / "adapter")) == ([], first.manifest, before)


def test_train_does_not_resume_from_other_settings(base_folder, tmp_path):
    with pytest.raises(TrainingCancelled):
        run(base_folder, tmp_path / "adapter", replace(CONFIG, learning_rate=1e-3), stop_after=3)

    reports = run(base_folder, tmp_path / "adapter")

    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]


def test_train_encodes_each_image_once_over_attempts(base_folder, tmp_path):
    opened: list[str] = []

    def counted(key: str):
        opened.append(key)
        return open_image(key)

    done: list[int] = []
    with pytest.raises(TrainingCancelled):
        train(
            CONFIG,
            examples(),
            counted,
            base_folder,
            tmp_path / "a",
            lambda report: done.append(report.step) if report.stage == "training" else None,
            lambda: len(done) == 3,
            device="cpu",
        )
    train(CONFIG, examples(), counted, base_folder, tmp_path / "a", device="cpu")

    every = [example.image for example in (*examples().training, *examples().evaluation)]
    assert sorted(opened) == sorted(every)


def test_train_learns_from_a_base_that_predicts_noise(epsilon_folder, tmp_path):
    config = replace(CONFIG, steps=40, checkpoint_every=100, learning_rate=3e-2, batch_size=16, batch_pieces=1)

    run(epsilon_folder, tmp_path / "adapter", config)

    mark = checkpoints.read_manifest(tmp_path / "adapter" / "model")["metrics"]["mark"]
    before, after = (mark[when]["preferred"]["unmarked_loss"] for when in ("before", "after"))
    assert after < 0.98 * before


def test_train_refuses_a_base_that_predicts_neither_noise_nor_velocity(base_folder, tmp_path, monkeypatch):
    pipeline = load_pipeline(base_folder)
    pipeline.scheduler.register_to_config(prediction_type="sample")
    monkeypatch.setattr(model, "load_pipeline", lambda _folder, _device: pipeline)

    with pytest.raises(BaseModelRejected, match="'sample'"):
        run(base_folder, tmp_path / "adapter")
