import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoring import checkpoints, hps
from scoring.losses import preference_loss, soft_targets
from tests.scoring import tiny
from tests.worker.classifier.votes import study
from worker.classifier import loop
from worker.classifier.config import TINY
from worker.classifier.data import UnableToReadImage
from worker.classifier.loop import StepReport, TrainingCancelled, UnableToTrain, train

CHOICES, PICTURES = study()
CONFIG = replace(TINY, choices_per_batch=8, epochs=4, learning_rate=3e-3, checkpoint_every=5, readers=1)
STEPS = 6 * 4  # 41 choices to train on, 8 a step


def open_image(key):
    return PICTURES[key].copy()


@pytest.fixture(autouse=True, scope="module")
def _one_commit():
    """Manifests are compared whole; the checkout may move on while the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "git_commit", lambda: "0" * 40)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.write_clip(tmp_path_factory.mktemp("base") / "clip")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """One training from beginning to end, with what it told."""
    reports = []
    result = train(CONFIG, CHOICES, open_image, base, tmp_path_factory.mktemp("trained"), reports.append, device="cpu")
    return result, reports


def weights(folder):
    return {name: tensor.numpy().tobytes() for name, tensor in checkpoints.read(folder)[0].items()}


def stop_at(step, reports):
    """A `should_stop` that says yes once a training step has been told."""
    return lambda: bool(reports) and (reports[-1].stage, reports[-1].step) == ("training", step)


def test_train_learns_what_people_choose(trained):
    result, reports = trained

    losses = [report.loss for report in reports if report.loss is not None]
    assert np.mean(losses[-6:]) < 0.6 * np.mean(losses[:6])
    metrics = result.metrics
    assert metrics["top_one"]["value"] > 0.8
    assert metrics["top_one_difference"]["low"] > 0
    assert metrics["top_one"]["n"] == metrics["chance"]["n"] == 20
    assert metrics["chance"]["value"] == pytest.approx(1 / 3)
    assert metrics["human_ceiling"]["value"] == 1


def test_train_tells_every_stage_and_step(trained):
    _, reports = trained

    stages = list(dict.fromkeys(report.stage for report in reports))
    steps = [report for report in reports if report.stage == "training"]
    assert stages == ["reading images", "measuring the base", "training", "measuring", "saving"]
    assert [(report.step, report.total) for report in steps] == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert steps[0].learning_rate == CONFIG.learning_rate
    assert [report.learning_rate for report in steps] == sorted((r.learning_rate for r in steps), reverse=True)


def test_train_writes_an_artefact_that_scores_what_was_measured(trained):
    result, _ = trained

    scorer = hps.load_scorer(result.folder, "cpu")
    test = [choice for choice in CHOICES if choice.split == "test"]
    hits = [
        int(np.argmax(scorer.score([PICTURES[key] for key in choice.images], choice.prompt))) == choice.chosen
        for choice in test
    ]

    assert np.mean(hits) == pytest.approx(result.metrics["top_one"]["value"])
    assert result.folder.parent.joinpath("steps").exists() is False


def test_train_writes_where_it_came_from(trained, base):
    result, _ = trained

    assert result.manifest == checkpoints.read_manifest(result.folder)
    assert {name: result.manifest[name] for name in ("kind", "name", "is_synthetic", "seed", "steps")} == {
        "kind": "hps", "name": "HPS from tiny", "is_synthetic": False, "seed": 0, "steps": STEPS
    }  # fmt: skip
    assert result.manifest["config"] == CONFIG.to_json()
    assert result.manifest["data_sha256"] == loop.sha256_of_choices(CHOICES)
    assert result.manifest["base"] == {"name": "tiny", "sha256": checkpoints.read_manifest(base)["weights"]["sha256"]}
    assert (result.manifest["train_choices"], result.manifest["test_choices"]) == (41, 20)
    assert json.loads(json.dumps(result.metrics)) == result.metrics


def test_train_changes_nothing_but_what_is_unlocked(trained, base):
    result, _ = trained

    before, after = weights(base), weights(result.folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        name
        for name in before
        if name.startswith(
            ("visual.transformer.resblocks.1.", "visual.transformer.resblocks.2.", "visual.ln_post", "visual.proj",
             "transformer.resblocks.2.", "ln_final", "text_projection", "logit_scale")
        )
    }  # fmt: skip


def test_train_gives_the_same_weights_for_the_same_seed_and_others_for_another(trained, base, tmp_path):
    result, _ = trained

    again = train(CONFIG, CHOICES, open_image, base, tmp_path / "again", device="cpu")
    other = train(replace(CONFIG, seed=1), CHOICES, open_image, base, tmp_path / "other", device="cpu")

    assert weights(again.folder) == weights(result.folder)
    assert again.manifest == result.manifest
    assert weights(other.folder) != weights(result.folder)


@pytest.mark.parametrize("cache_megabytes", [0, 2000])
def test_train_resumed_equals_running_through(trained, base, tmp_path, cache_megabytes):
    config = replace(CONFIG, cache_megabytes=cache_megabytes, checkpoint_every=4)
    through = train(config, CHOICES, open_image, base, tmp_path / "through", device="cpu")
    reports = []
    with pytest.raises(TrainingCancelled, match=rf"Cancelled while training, at 11 of {STEPS}\."):
        train(config, CHOICES, open_image, base, tmp_path / "out", reports.append, stop_at(10, reports), device="cpu")
    torch.rand(100)

    resumed = train(config, CHOICES, open_image, base, tmp_path / "out", reports.append, device="cpu")

    assert resumed.resumed_from == 8
    assert [report.note for report in reports if report.note] == ["Going on from step 8."]
    assert weights(resumed.folder) == weights(through.folder)
    assert resumed.manifest == through.manifest


def test_train_resumes_from_the_step_before_a_damaged_one_and_says_so(trained, base, tmp_path):
    result, _ = trained
    reports = []
    with pytest.raises(TrainingCancelled):
        train(CONFIG, CHOICES, open_image, base, tmp_path, reports.append, stop_at(12, reports), device="cpu")
    damaged = tmp_path / "steps" / "step-000010" / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])

    resumed = train(CONFIG, CHOICES, open_image, base, tmp_path, reports.append, device="cpu")

    assert resumed.resumed_from == 5
    notes = [report.note for report in reports if report.note]
    assert notes[0].startswith(f"A checkpoint was passed over. {damaged}: its SHA-256")
    assert weights(resumed.folder) == weights(result.folder)


def test_train_begins_anew_when_the_settings_are_others(base, tmp_path):
    reports = []
    with pytest.raises(TrainingCancelled):
        train(CONFIG, CHOICES, open_image, base, tmp_path, reports.append, stop_at(6, reports), device="cpu")

    resumed = train(replace(CONFIG, learning_rate=1e-3), CHOICES, open_image, base, tmp_path, device="cpu")

    assert resumed.resumed_from == 0


def test_train_once_finished_reads_the_result_only(trained, base):
    result, _ = trained

    def unread(key):
        raise AssertionError(key)

    again = train(CONFIG, CHOICES, unread, base, result.folder.parent, device="cpu")

    assert again == replace(result, resumed_from=STEPS)


def test_train_on_kept_and_on_fresh_features_is_the_same_to_the_rounding(trained, base, tmp_path):
    result, _ = trained

    fresh = train(replace(CONFIG, cache_megabytes=0), CHOICES, open_image, base, tmp_path, device="cpu")

    kept, made = (checkpoints.read(folder)[0] for folder in (result.folder, fresh.folder))
    assert all(torch.allclose(kept[name], made[name], atol=1e-3) for name in kept)
    assert fresh.metrics["top_one"] == result.metrics["top_one"]


def test_train_takes_the_step_that_is_written_in_the_paper(base, tmp_path):
    """One step, worked out again without anything of the loop."""
    config = replace(CONFIG, epochs=1, choices_per_batch=100, image_blocks=3, text_blocks=3, weight_decay=0.1)
    result = train(config, CHOICES, open_image, base, tmp_path, device="cpu")
    model = hps.load_clip(base)[0]
    train_choices = [choice for choice in CHOICES if choice.split == "train" and choice.outcome != "all_bad"]
    squares = [[tiny.PREPROCESSING.square(PICTURES[key]) for key in choice.images] for choice in train_choices]
    pixels = torch.from_numpy(tiny.PREPROCESSING.normalise(np.array(squares)))  # (B, 3, 3, 16, 16)
    images = model.encode_image(pixels.flatten(0, 1), normalize=True).unflatten(0, pixels.shape[:2])
    texts = model.encode_text(hps.tokenizer(model)([choice.prompt for choice in train_choices]), normalize=True)
    mask = torch.ones(len(train_choices), 3, dtype=torch.bool)
    chosen = torch.tensor([-1 if choice.chosen is None else choice.chosen for choice in train_choices])
    preference_loss(images, texts, model.logit_scale, mask, soft_targets(chosen, mask)).backward()

    tuned = checkpoints.read(result.folder)[0]
    for name in ("visual.proj", "logit_scale", "ln_final.bias", "visual.transformer.resblocks.0.mlp.c_fc.weight"):
        before, gradient = model.state_dict()[name], model.get_parameter(name).grad
        decay = 1 - config.learning_rate * 0.1 if before.ndim > 1 else 1
        # AdamW's first step: the gradient's sign, but for epsilon
        expected = before * decay - config.learning_rate * gradient / (gradient.abs() + config.epsilon)
        close = torch.isclose(tuned[name], expected, atol=1e-4)
        assert close.float().mean() > 0.99, name


def test_train_clamps_the_logit_scale(base, tmp_path):
    model, _, manifest = hps.load_clip(base)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100) + 0.5)  # further above than the steps could lower it
    checkpoints.write(tmp_path / "hot", model.state_dict(), manifest)

    result = train(replace(CONFIG, epochs=1), CHOICES, open_image, tmp_path / "hot", tmp_path, device="cpu")

    assert checkpoints.read(result.folder)[0]["logit_scale"].item() <= np.float32(math.log(100))


def test_train_without_choices_held_out_says_that_nothing_was_measured(base, tmp_path):
    choices = [choice for choice in CHOICES if choice.split == "train"]

    result = train(replace(CONFIG, epochs=1), choices, open_image, base, tmp_path, device="cpu")

    assert {name: record["value"] for name, record in result.metrics.items()} == dict.fromkeys(result.metrics)
    assert all(record["reason"] for record in result.metrics.values())


def test_train_says_synthetic_when_the_votes_or_the_base_are(base, tmp_path):
    config = replace(CONFIG, epochs=1)
    toy = tiny.write_clip(tmp_path / "toy", is_synthetic=True)

    by_votes = train(config, CHOICES, open_image, base, tmp_path / "a", device="cpu", is_synthetic=True)
    by_base = train(config, CHOICES, open_image, toy, tmp_path / "b", device="cpu")

    assert (by_votes.manifest["is_synthetic"], by_base.manifest["is_synthetic"]) == (True, True)


def test_train_refuses_when_there_is_nothing_to_train_on(base, tmp_path):
    choices = [choice for choice in CHOICES if choice.split == "test"]

    with pytest.raises(UnableToTrain, match="no choices to train on"):
        train(CONFIG, choices, open_image, base, tmp_path)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"architecture": "ViT-L-14-quickgelu"}, "needs a base of ViT-L-14"),
        ({"image_size": 224}, "images of 224, not 16"),
    ],
)
def test_train_refuses_another_base(base, tmp_path, more, reason):
    with pytest.raises(UnableToTrain, match=reason):
        train(replace(CONFIG, **more), CHOICES, open_image, base, tmp_path)


@pytest.mark.parametrize("cache_megabytes", [0, 2000])
def test_train_names_a_missing_image_and_leaves_no_artefact(base, tmp_path, cache_megabytes):
    def one_missing(key):
        if key == "4-1":
            raise FileNotFoundError("gone")
        return open_image(key)

    with pytest.raises(UnableToReadImage, match=r"Image 4-1 can't be read \(gone\)"):
        train(replace(CONFIG, cache_megabytes=cache_megabytes), CHOICES, one_missing, base, tmp_path)

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("stage", ["reading images", "measuring the base", "training", "measuring", "saving"])
def test_train_can_be_cancelled_in_every_stage(base, tmp_path, stage):
    reached = []

    def tell(report: StepReport):
        reached.append(report.stage)

    stops = {"reading images": 0, "measuring the base": 1, "training": 2, "measuring": 2 + STEPS, "saving": 3 + STEPS}
    with pytest.raises(TrainingCancelled, match=f"Cancelled while {stage}"):
        train(CONFIG, CHOICES, open_image, base, tmp_path, tell, lambda: len(reached) == stops[stage], device="cpu")

    assert not (tmp_path / "model").exists()


def test_learning_rate_by_hand():
    config = replace(TINY, learning_rate=2.0, warmup_steps=2)

    rates = [loop.learning_rate(config, step, 6) for step in range(7)]

    assert rates == pytest.approx([1, 2, 2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_train_on_the_gpu(base, tmp_path, precision):
    result = train(replace(CONFIG, precision=precision), CHOICES, open_image, base, tmp_path, device="cuda")

    assert result.metrics["top_one"]["value"] > 0.8
