import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoring import checkpoints, hps
from scoring.distributed import Processes
from scoring.losses import preference_loss, soft_targets
from scoring.preferences import Choice
from tests.scoring import tiny
from tests.worker.classifier.votes import study
from worker.classifier import features, loop
from worker.classifier.config import TINY
from worker.classifier.data import UnableToReadImage
from worker.classifier.encoding import Encoder
from worker.classifier.loop import train
from worker.classifier.reports import StepReport, TrainingCancelled, UnableToTrain

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
    """One training from beginning to end without a cache, with what it told."""
    reports = []
    result = train(CONFIG, CHOICES, open_image, base, tmp_path_factory.mktemp("trained"), reports.append, device="cpu")
    return result, reports


def losses(reports):
    return [report.loss for report in reports if report.loss is not None]


def notes(reports):
    return [report.note for report in reports if report.note]


def weights(folder):
    return {name: tensor.numpy().tobytes() for name, tensor in checkpoints.read(folder)[0].items()}


def stop_at(step, reports):
    """A `should_stop` that says yes once a training step has been told."""
    return lambda: bool(reports) and (reports[-1].stage, reports[-1].step) == ("training", step)


def test_train_learns_what_people_choose(trained):
    result, reports = trained

    assert np.mean(losses(reports)[-6:]) < 0.6 * np.mean(losses(reports)[:6])
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
    assert stages == ["measuring the base", "training", "measuring", "saving"]
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
    assert {name: result.manifest[name] for name in ("train_choices", "test_choices", "test_choices_left_out")} == {
        "train_choices": 41, "test_choices": 20, "test_choices_left_out": 0
    }  # fmt: skip
    scale = checkpoints.read(result.folder)[0]["logit_scale"].exp().item()
    assert result.manifest["scale"] == pytest.approx(scale)
    assert scale != pytest.approx(checkpoints.read(base)[0]["logit_scale"].exp().item())
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


@pytest.mark.parametrize("has_cache", [False, True])
@pytest.mark.parametrize("more", [{}, {"evaluate_every": 3, "choices_at_once": 3, "raters": "together"}])
def test_train_resumed_equals_running_through(base, tmp_path, has_cache, more):
    config = replace(CONFIG, checkpoint_every=4, choices_per_batch=4 if more else 8, **more)
    total = 4 * -(-19 // 4) if more else STEPS
    reports = []

    def run(name, should_stop=lambda: False):
        cache_folder = tmp_path / f"cache-{name}" if has_cache else None
        return train(
            config, CHOICES, open_image, base, tmp_path / name, reports.append, should_stop, device="cpu",
            cache_folder=cache_folder,
        )  # fmt: skip

    through = run("through")
    reports.clear()
    with pytest.raises(TrainingCancelled, match=rf"Cancelled while training, at 11 of {total}\."):
        run("out", stop_at(10, reports))
    torch.rand(100)

    resumed = run("out")

    assert resumed.resumed_from == 8
    assert "Going on from step 8." in notes(reports)
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
    assert notes(reports)[0].startswith(f"A checkpoint was passed over. {damaged}: its SHA-256")
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


def test_train_with_the_cache_has_the_losses_of_training_without(trained, base, tmp_path):
    result, without = trained
    reports = []

    cached = train(
        CONFIG, CHOICES, open_image, base, tmp_path, reports.append, device="cpu", cache_folder=tmp_path / "cache"
    )

    assert losses(reports) == pytest.approx(losses(without), abs=1e-4)
    assert cached.metrics["top_one"] == result.metrics["top_one"]
    assert notes(reports)[0].startswith(
        "Frozen blocks, images: 60 worked out, 0 found in the cache; prompts: 20 worked out, 0 found in the cache; "
    )


def test_train_on_rounded_tokens_is_as_good_as_on_whole_ones(trained, base, tmp_path):
    result, rounded = trained
    reports = []

    whole = train(replace(CONFIG, cache_megabytes=0), CHOICES, open_image, base, tmp_path, reports.append, device="cpu")

    difference = np.subtract(losses(reports), losses(rounded))
    assert 0 < np.abs(difference).mean() < 1e-3
    assert np.abs(difference).max() < 3e-3
    assert whole.metrics["top_one"] == result.metrics["top_one"]


def test_train_after_new_votes_works_out_new_images_only(base, tmp_path):
    few = [choice for choice in CHOICES if int(choice.prompt.split()[1]) < 20]
    config, cache = replace(CONFIG, epochs=1), tmp_path / "cache"
    hashes = {key: key for key in PICTURES}
    train(config, few, open_image, base, tmp_path / "a", device="cpu", cache_folder=cache, hashes=hashes)
    opened, reports = [], []

    def counting(key):
        opened.append(key)
        return open_image(key)

    train(
        config, CHOICES, counting, base, tmp_path / "b", reports.append, device="cpu", cache_folder=cache, hashes=hashes
    )

    assert notes(reports)[0].startswith(
        "Frozen blocks, images: 21 worked out, 39 found in the cache; prompts: 7 worked out, 13 found in the cache; "
    )
    read_for_training = {key for key in opened if int(key.split("-")[0]) % 3}
    assert read_for_training == {f"{n}-{place}" for n in range(20, 30) if n % 3 for place in range(3)}


def test_train_does_not_take_the_tokens_of_another_base_cut_or_format(base, tmp_path):
    other = tiny.write_clip(tmp_path / "other", seed=1)
    config = replace(CONFIG, epochs=1)
    found = []
    for folder, settings in (
        (base, config),
        (other, config),
        (base, replace(config, image_blocks=1, text_blocks=2)),
        (base, replace(config, precision="bfloat16")),
        (base, replace(config, learning_rate=1e-3)),
    ):
        reports = []
        out = tmp_path / str(len(found))
        train(settings, CHOICES, open_image, folder, out, reports.append, device="cpu", cache_folder=tmp_path / "cache")
        found.append(notes(reports)[0].split(", ")[1])

    assert found == [*["images: 60 worked out"] * 4, "images: 0 worked out"]


def test_train_with_a_cache_too_small_keeps_what_fits_and_learns_the_same(trained, base, tmp_path, monkeypatch):
    _, without = trained
    reports = []
    monkeypatch.setattr(features, "MADE_AT_ONCE", 16)
    monkeypatch.setattr(loop, "BYTES_PER_MEGABYTE", 20_000)  # an image takes 160 bytes and the batch's header

    train(
        replace(CONFIG, cache_megabytes=1),
        CHOICES, open_image, base, tmp_path, reports.append, device="cpu", cache_folder=tmp_path / "cache",
    )  # fmt: skip

    assert "without room in it" in notes(reports)[0]
    assert losses(reports) == pytest.approx(losses(without), abs=1e-4)


def test_train_in_pieces_takes_the_steps_of_whole_batches(trained, base, tmp_path):
    _, whole = trained
    reports = []

    train(replace(CONFIG, choices_at_once=3), CHOICES, open_image, base, tmp_path, reports.append, device="cpu")

    assert losses(reports) == pytest.approx(losses(whole), abs=1e-3)


def test_train_out_of_memory_goes_on_with_half_as_many_choices_at_once(trained, base, tmp_path, monkeypatch):
    _, whole = trained
    reports = []
    embeddings = Encoder.embeddings

    def short_of_memory(self, rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError
        return embeddings(self, rows)

    monkeypatch.setattr(Encoder, "embeddings", short_of_memory)
    train(CONFIG, CHOICES, open_image, base, tmp_path, reports.append, device="cpu")

    assert notes(reports) == ["Out of memory; 4 choices at once.", "Out of memory; 2 choices at once."]
    assert losses(reports) == pytest.approx(losses(whole), abs=1e-3)


class FirstOfTwo(Processes):
    """Takes every second choice, and waits for nobody."""

    def share(self, rows):
        return rows[::2]


def test_train_out_of_memory_halves_what_this_process_had_at_once(base, tmp_path, monkeypatch):
    reports = []
    embeddings = Encoder.embeddings

    def short_of_memory(self, rows):
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return embeddings(self, rows)

    monkeypatch.setattr(Encoder, "embeddings", short_of_memory)
    with pytest.raises(TrainingCancelled):
        train(
            CONFIG, CHOICES, open_image, base, tmp_path, reports.append, stop_at(1, reports), device="cpu",
            processes=FirstOfTwo(),
        )  # fmt: skip

    assert notes(reports) == ["Out of memory; 2 choices at once."]  # of the four of eight that are its share


def test_train_says_that_a_long_warm_up_is_cut(base, tmp_path):
    reports = []

    with pytest.raises(TrainingCancelled):
        train(
            replace(CONFIG, warmup_steps=500), CHOICES, open_image, base, tmp_path, reports.append,
            stop_at(1, reports), device="cpu",
        )  # fmt: skip

    assert notes(reports) == ["The warm-up of 500 steps is cut to 12, half of the training."]


def test_train_out_of_memory_for_a_single_choice_says_so(base, tmp_path, monkeypatch):
    def no_memory(self, rows):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Encoder, "embeddings", no_memory)

    with pytest.raises(UnableToTrain, match="A single choice is too much for the memory"):
        train(CONFIG, CHOICES, open_image, base, tmp_path, device="cpu")


def test_train_of_several_people_together_takes_the_step_of_each_one_alone(base, tmp_path):
    each, together = [], []
    config = replace(CONFIG, epochs=1, choices_per_batch=100)

    train(config, CHOICES, open_image, base, tmp_path / "each", each.append, device="cpu")
    train(
        replace(config, raters="together"), CHOICES, open_image, base, tmp_path / "all", together.append, device="cpu"
    )

    assert losses(together) == pytest.approx(losses(each), abs=1e-5)


def test_train_leaves_out_whose_reliability_is_nought(base, tmp_path):
    config = replace(CONFIG, epochs=1)
    without = [choice for choice in CHOICES if choice.annotator != "p1" or choice.split == "test"]
    weighed, left_out = [], []

    result = train(
        config, CHOICES, open_image, base, tmp_path / "a", weighed.append, device="cpu", reliability={"p1": 0.0}
    )
    train(config, without, open_image, base, tmp_path / "b", left_out.append, device="cpu")

    assert losses(weighed) == losses(left_out)
    assert result.manifest["reliability"] == {
        "people": 1, "least": 0.0, "most": 0.0, "sha256": loop.sha256_of('{"p1": 0.0}')
    }  # fmt: skip


def test_train_ends_early_and_gives_the_weights_that_were_best_on_prompts_held_back(base, tmp_path):
    config = replace(
        CONFIG, epochs=20, learning_rate=0.3, evaluate_every=2, patience=3, validation_share=0.2, checkpoint_every=3
    )
    reports = []

    result = train(config, CHOICES, open_image, base, tmp_path, reports.append, device="cpu")

    looks = {r.step: r.validation_loss for r in reports if r.validation_loss is not None}
    best = min(looks, key=looks.get)
    assert result.manifest["best"] == {"loss": looks[best], "step": best, "looks_since": 3}
    assert result.steps == max(looks) == best + 6 < 20 * 5
    assert notes(reports)[-1].startswith(f"The result: the weights of step {best}, best on prompts held back (")
    stopped_there = replace(config, patience=0)
    again = []
    with pytest.raises(TrainingCancelled):
        train(
            stopped_there, CHOICES, open_image, base, tmp_path / "b", again.append, stop_at(best, again), device="cpu"
        )
    kept = checkpoints.read(tmp_path / "b" / "best")[0]
    result_weights = checkpoints.read(result.folder)[0]
    assert all(torch.equal(tensor, result_weights[name]) for name, tensor in kept.items())
    assert not (tmp_path / "best").exists()


def test_train_holds_back_no_prompt_where_only_one_is_there(base, tmp_path):
    choices = [choice for choice in CHOICES if choice.prompt in {"scene 1", "scene 0"}]

    with pytest.raises(UnableToTrain, match="set evaluate_every 0"):
        train(replace(CONFIG, evaluate_every=1), choices, open_image, base, tmp_path, device="cpu")


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


def test_train_does_not_test_on_what_it_trains_on_and_says_so(base, tmp_path):
    """Of the ten test prompts one is asked in training too, in capitals; of another, a picture lies there as a copy."""
    first, second = (next(c for c in CHOICES if c.prompt == prompt) for prompt in ("scene 0", "scene 3"))
    pictures = PICTURES | {"copy": PICTURES[second.images[0]]}
    taught = [
        Choice("SCENE 0", ("1-0", "1-1"), "choice", 0, "p9", "train"),
        Choice("scene 99", ("copy", "1-1"), "choice", 0, "p9", "train"),
    ]
    hashes = {key: key for key in PICTURES} | {"copy": second.images[0]}
    config, reports = replace(CONFIG, epochs=1), []

    result = train(
        config, [*CHOICES, *taught], pictures.__getitem__, base, tmp_path, reports.append, device="cpu", hashes=hashes
    )

    assert notes(reports) == [
        "Left out of the test: 4 of 20 choices, whose prompt or one of whose images is trained on."
    ]
    assert (result.manifest["test_choices"], result.manifest["test_choices_left_out"]) == (16, 4)
    assert result.metrics["top_one"]["n"] == 16
    assert first.split == second.split == "test"


def test_train_refuses_when_all_test_choices_are_trained_on(base, tmp_path):
    both = [replace(choice, split=split) for choice in CHOICES for split in ("train", "test")]

    with pytest.raises(UnableToTrain, match="Nothing is left to test: each test choice has a prompt or an image that"):
        train(CONFIG, both, open_image, base, tmp_path)


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


@pytest.mark.parametrize("has_cache", [False, True])
def test_train_names_a_missing_image_and_leaves_no_artefact(base, tmp_path, has_cache):
    def one_missing(key):
        if key == "4-1":
            raise FileNotFoundError("gone")
        return open_image(key)

    with pytest.raises(UnableToReadImage, match=r"Image 4-1 can't be read \(no such file\)"):
        train(
            CONFIG, CHOICES, one_missing, base, tmp_path, device="cpu",
            cache_folder=tmp_path / "cache" if has_cache else None,
        )  # fmt: skip

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("stage", ["reading images", "measuring the base", "training", "measuring", "saving"])
def test_train_can_be_cancelled_in_every_stage(base, tmp_path, stage):
    reached = []

    def tell(report: StepReport):
        reached.append(report.stage)

    stops = {"reading images": 0, "measuring the base": 6, "training": 7, "measuring": 7 + STEPS, "saving": 8 + STEPS}
    with pytest.raises(TrainingCancelled, match=f"Cancelled while {stage}"):
        train(
            CONFIG, CHOICES, open_image, base, tmp_path, tell, lambda: len(reached) == stops[stage], device="cpu",
            cache_folder=tmp_path / "cache",
        )  # fmt: skip

    assert not (tmp_path / "model").exists()


def test_learning_rate_by_hand():
    config = replace(TINY, learning_rate=2.0, warmup_steps=2)

    rates = [loop.learning_rate(config, step, 6) for step in range(7)]

    assert rates == pytest.approx([1, 2, 2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0])
    assert loop.learning_rate(replace(config, warmup_steps=500), 0, 4) == 1.0


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_train_on_the_gpu(base, tmp_path, precision):
    result = train(replace(CONFIG, precision=precision), CHOICES, open_image, base, tmp_path, device="cuda")

    assert result.metrics["top_one"]["value"] > 0.8
