"""Training the adapter on a pipeline of a few thousand weights: what is learnt, what is left alone, what is written."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scoring import checkpoints, training_state
from scoring.distributed import Processes
from tests.worker.tiny_diffusion import open_image
from worker.adapter import model
from worker.adapter.artefact import KOHYA_WEIGHTS, WEIGHTS
from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, ExampleSet, Kind
from worker.adapter.loop import Samples, SampleWish, StepReport, TrainingCancelled, TrainingDiverged, train
from worker.adapter.model import BaseModelRejected
from worker.generation.pipeline import generate, load_pipeline, seed_for, use_scheduler

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
    assert files == [KOHYA_WEIGHTS, "manifest.json", WEIGHTS]
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


@pytest.mark.parametrize(
    "changes",
    [{"lora_alpha": 2.0}, {"lora_alpha": 10.0, "adapts_text_encoder": True}],
    ids="+".join,
)
def test_train_writes_two_files_that_draw_what_the_trained_model_draws(base_folder, tmp_path, changes):
    """The last sample is of the model in training; diffusers reads it back from either file."""
    looks: list[Samples] = []
    config = replace(CONFIG, **changes, sample_every=6, sample_prompts=2)
    wish = SampleWish(("red 1", "red 2"), steps=3, guidance=2.0)

    train(config, examples(), open_image, base_folder, tmp_path, device="cpu", samples=wish, on_samples=looks.append)

    def drawn(file: str | None) -> list[np.ndarray]:
        pipeline = load_pipeline(base_folder)
        if file:
            pipeline.load_lora_weights(tmp_path / "model", weight_name=file, local_files_only=True)
        seeds = [seed_for(prompt, 0) for prompt in wish.prompts]
        negative = config.mark if file else None
        return [
            np.asarray(picture, dtype=int)
            for picture in generate(pipeline, wish.prompts, seeds, steps=3, guidance=2.0, negative_prompt=negative)
        ]

    before, after = ([np.asarray(picture, dtype=int) for picture in look.pictures] for look in looks)
    assert [(look.step, look.prompts) for look in looks] == [(0, wish.prompts), (6, wish.prompts)]
    assert np.array_equal(before, drawn(None))
    assert np.abs(np.subtract(after, before)).max() > 2
    assert np.abs(np.subtract(drawn(WEIGHTS), after)).max() <= 1  # another order of sums
    assert np.abs(np.subtract(drawn(KOHYA_WEIGHTS), after)).max() <= 2  # in half precision


def test_train_of_the_text_encoder_changes_what_a_caption_means(base_folder, tmp_path):
    run(base_folder, tmp_path, replace(CONFIG, adapts_text_encoder=True))

    pipeline = load_pipeline(base_folder)
    before, _none = pipeline.encode_prompt("red 1", "cpu", 1, do_classifier_free_guidance=False)
    pipeline.load_lora_weights(tmp_path / "model")
    after, _none = pipeline.encode_prompt("red 1", "cpu", 1, do_classifier_free_guidance=False)
    assert not torch.allclose(before, after, atol=1e-4)
    assert not list((tmp_path / "encoded").glob("*captions*"))


def test_train_looks_at_samples_every_so_many_steps_and_at_the_end(base_folder, tmp_path):
    looks: list[Samples] = []
    config = replace(CONFIG, sample_every=4, sample_prompts=2)
    wish = SampleWish(("red 1", "red 2", "red 3"), steps=1)

    train(config, examples(), open_image, base_folder, tmp_path, device="cpu", samples=wish, on_samples=looks.append)

    assert [(look.step, look.prompts, len(look.pictures)) for look in looks] == [
        (0, ("red 1", "red 2"), 2),
        (4, ("red 1", "red 2"), 2),
        (6, ("red 1", "red 2"), 2),
    ]


def test_train_looks_at_what_a_generator_makes_with_its_whole_recipe(base_folder, tmp_path):
    looks: list[Samples] = []
    config = replace(CONFIG, sample_every=6, sample_prompts=1)
    wish = SampleWish(
        ("red 1",), steps=3, guidance=2.0, negative_prompt="noise", scheduler="euler", width=24, height=16
    )

    train(config, examples(), open_image, base_folder, tmp_path, device="cpu", samples=wish, on_samples=looks.append)

    def drawn(negative: str, **adapter) -> np.ndarray:
        pipeline = load_pipeline(base_folder)
        use_scheduler(pipeline, "euler")
        fixed = {"steps": 3, "guidance": 2.0, "width": 24, "height": 16}
        (picture,) = generate(pipeline, ["red 1"], [seed_for("red 1", 0)], negative_prompt=negative, **fixed, **adapter)
        return np.asarray(picture, dtype=int)

    before, after = (np.asarray(look.pictures[0], dtype=int) for look in looks)
    assert np.array_equal(before, drawn("noise"))
    assert np.abs(after - drawn("Weird image. noise", adapter_folder=tmp_path / "model")).max() <= 1


def test_train_with_and_without_samples_gives_the_same_weights(base_folder, tmp_path):
    config = replace(CONFIG, lora_dropout=0.3, sample_every=2)
    wish = SampleWish(("red 1",), steps=1)

    train(config, examples(), open_image, base_folder, tmp_path / "seen", device="cpu", samples=wish)

    run(base_folder, tmp_path / "unseen", config)
    assert weights_of(tmp_path / "seen") == weights_of(tmp_path / "unseen")


@pytest.mark.parametrize(
    "changes", [{"noise_offset": 0.1}, {"lora_dropout": 0.3}, {"precision": "bfloat16"}], ids="+".join
)
def test_train_with_other_settings_learns_something_else(base_folder, tmp_path, changes):
    plain = run(base_folder, tmp_path / "plain", replace(CONFIG, steps=2))

    other = run(base_folder, tmp_path / "other", replace(CONFIG, steps=2, **changes))

    assert [report.loss for report in other] != [report.loss for report in plain]
    assert [report.loss for report in other] == pytest.approx([report.loss for report in plain], rel=0.1)
    assert weights_of(tmp_path / "other") != weights_of(tmp_path / "plain")


def test_train_in_pieces_gives_the_gradient_of_the_whole_batch(base_folder, tmp_path):
    whole, pieces = (
        run(base_folder, tmp_path / str(count), replace(CONFIG, batch_pieces=count, steps=2)) for count in (1, 4)
    )

    assert [report.loss for report in pieces] == pytest.approx([report.loss for report in whole], rel=1e-5)
    assert [each.gradient_norm for each in pieces] == pytest.approx([each.gradient_norm for each in whole], rel=1e-4)


def test_train_clips_gradients(base_folder, tmp_path, monkeypatch):
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def noted(self, *arguments):
        gradients = [each.grad.flatten() for group in self.param_groups for each in group["params"]]
        norms.append(torch.cat(gradients).norm().item())
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    reports = run(base_folder, tmp_path, replace(CONFIG, steps=2, largest_gradient_norm=1e-3))

    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-2)
    assert min(report.gradient_norm for report in reports) > 1e-2


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


@pytest.mark.parametrize(
    "config",
    [CONFIG, replace(CONFIG, adapts_text_encoder=True, lora_dropout=0.3, lora_alpha=2.0, noise_offset=0.1)],
    ids=["paper", "all that there is"],
)
def test_train_resumed_after_cancelling_equals_running_through(base_folder, tmp_path, config):
    through = run(base_folder, tmp_path / "through", config)
    with pytest.raises(TrainingCancelled, match="Cancelled after 3 of 6"):
        run(base_folder, tmp_path / "resumed", config, stop_after=3)
    assert not (tmp_path / "resumed" / "model").exists()

    rest = run(base_folder, tmp_path / "resumed", config)

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


@pytest.mark.parametrize("steps", [6, 1], ids=["in training", "by the last step"])
def test_train_that_diverges_says_so_and_keeps_no_broken_state(base_folder, tmp_path, steps):
    config = replace(CONFIG, learning_rate=1e30, decay_share=0.0, checkpoint_every=1, steps=steps)

    with pytest.raises(TrainingDiverged) as refused:
        run(base_folder, tmp_path, config)

    last = training_state.latest(tmp_path / "steps")
    assert str(refused.value) == f"The training diverged at step {min(steps, 2)}: lower learning_rate (1e+30)."
    assert (last.step if last else None) == (1 if steps > 1 else None)
    assert all(tensor.isfinite().all() for tensor in (last.tensors.values() if last else []))
    assert not (tmp_path / "model").exists()


def test_train_stops_too_where_another_process_diverges(base_folder, tmp_path):
    class BesideABrokenOne(Processes):
        def sum(self, value: float) -> float:
            return value + math.nan

    with pytest.raises(TrainingDiverged, match="diverged at step 1"):
        train(CONFIG, examples(), open_image, base_folder, tmp_path, device="cpu", processes=BesideABrokenOne())


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
