"""The automatic proof: four arms on the same noise, measured, with warnings that follow from the numbers."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from annotations.models import Generator, Image, Prompt, Split
from scoring.reward_hacking import Arms, Evidence
from tests.annotations.factories import make_generator, make_prompt, make_user
from tests.worker.generators import claimed_run, make_images, make_scorers, make_tiny_generator
from tests.worker.labels import make_labelling
from tests.worker.test_studies import adapter  # noqa: F401  a fixture
from worker.management.commands.prove_adapter import Command
from worker.models import Labelling, ModelVersion, Run, RunEvent
from worker.proof_tables import proof_tables
from worker.services import proof_features
from worker.services.execution import RunStopped, StopReason
from worker.services.label_review import strike_out
from worker.services.proof import ProofConfig, UnableToProve, guidances_about, perform_proof, verdict
from worker.services.proof_sweep import KEPT
from worker.services.scoring import open_picture

ARMS = ["original", "original_marked", "adapted", "adapted_marked"]
SMALL = {"version": "adapter-1", "count": 3, "guidances": [2.0, 3.0], "scales": [0.5], "sweep_prompts": 2}


@pytest.fixture
def proven(adapter, files) -> ModelVersion:  # noqa: F811
    """An adapter whose original, scorers and training images are here, and three held-out prompts."""
    make_scorers(files / "clip")
    original = make_tiny_generator("original")
    make_images(4, original)
    for _ in range(3):
        make_prompt(split=Split.TEST)
    return adapter


def prove(config: dict, workdir, **fields) -> dict:
    run, reporter = claimed_run(Run.Kind.PROOF, config, preset="", **fields)
    return perform_proof(run, reporter, workdir)


def test_proof_measures_four_arms_against_the_original(proven, tmp_path):
    proof = prove({**SMALL, "scales": []}, tmp_path)

    assert list(proof["arms"]) == ARMS
    assert (proof["version"], proof["original"], proof["prompts"], proof["left_out"]) == ("adapter-1", "original", 3, 0)
    assert [score["scorer"] for score in proof["scores"]] == ["clip-1", "hps-1"]
    for score in proof["scores"]:
        assert list(score["means"]) == ARMS
        gain = score["differences"]["adapted_marked"]
        assert gain["value"] == pytest.approx(score["means"]["adapted_marked"] - score["means"]["original"])
        assert (gain["n"], gain["unit"]) == (3, "prompts")
        assert gain["low"] <= gain["value"] <= gain["high"]
        assert 0 <= score["wins"]["adapted"]["value"] <= 1
    sets = proof["sets"]
    assert (sets["tower"], sets["training_images"]) == ("CLIP features of a tiny random CLIP", 4)
    assert sets["reference"] == "the original's images of the same prompts"
    notes = {row.label: row.note for row in proof_tables(proof).rows}
    assert (
        notes["FID"]
        == notes["KID"]
        == (
            "CLIP features of a tiny random CLIP; to the original's images of the same prompts, n = 6;"
            " how far the images moved from the original's, which is no measure of quality"
        )
    )
    assert list(sets["fid"]) == list(sets["kid"]) == ARMS[1:]
    assert all(distance >= 0 for distance in sets["fid"].values())
    assert set(sets["copies"]) == set(sets["closeness"]) == set(sets["diversity"]) - {"kept"} == set(ARMS)
    assert proof["sweep"] == []
    assert json.loads(json.dumps(proof, allow_nan=False)) == proof

    settings = {arm: Generator.objects.get(name=name).settings for arm, name in proof["arms"].items()}
    assert {arm: (used["adapter"], used["negative_prompt"]) for arm, used in settings.items()} == {
        "original": ("", ""),
        "original_marked": ("", "Weird image. "),
        "adapted": ("adapter-1", ""),
        "adapted_marked": ("adapter-1", "Weird image. "),
    }
    made = Image.objects.filter(prompt__split=Split.TEST)
    assert (made.count(), made.values("prompt", "seed").distinct().count()) == (4 * 3 * 2, 3 * 2)
    assert [set(example["images"]) for example in proof["examples"]] == [set(ARMS)] * 3
    lines = Command().result(Run(metrics=proof, is_synthetic=True)).splitlines()
    assert lines[0] == "adapter-1 against original, 3 prompts (synthetic)"
    assert lines[1].startswith("  clip-1: original ")
    assert lines[-1].strip() == proof["verdict"]


def test_proof_measures_fid_to_a_generator_of_photographs(proven, tmp_path):
    make_images(4, make_generator("photographs"))

    proof = prove({**SMALL, "reference": "photographs", "guidances": []}, tmp_path)

    sets = proof["sets"]
    assert "no measure of quality" not in str(proof_tables(proof).rows)
    assert (sets["reference"], sets["reference_images"]) == ("photographs", 4)
    assert list(sets["fid"]) == ARMS


def test_proof_tells_which_images_it_leaves_out_and_warns_where_the_adapter_loses_them(proven, tmp_path):
    config = {**SMALL, "count": 8, "guidances": []}
    for _ in range(5):
        make_prompt(split=Split.TEST)
    arms = prove(config, tmp_path)["arms"]
    Run.objects.all().delete()
    lost = Image.objects.filter(generator__name=arms["adapted_marked"]).order_by("prompt", "seed")
    Image.objects.filter(pk__in=list(lost.values_list("pk", flat=True))[:9]).update(
        is_hidden=True, hidden_reason="broken"
    )
    Image.objects.filter(pk=lost.last().pk).update(is_hidden=True)

    proof = prove(config, tmp_path)

    assert (proof["prompts"], proof["left_out"]) == (2, 6)
    assert proof["left_out_images"] == {"adapted_marked": {"broken": 9, "hidden": 1}}
    assert "images lost" in [finding["name"] for finding in proof["findings"] if not finding["is_hint"]]
    assert proof_tables(proof).left_out == ("Adapted, mark as negative prompt: 9 broken, 1 hidden by a person",)


def learnt_from(labelling: Labelling, config: dict, regularisation: int) -> None:
    """Let the adapter be of a training on a labelling."""
    run = Run.objects.create(kind=Run.Kind.ADAPTER, state=Run.State.SUCCEEDED, config=config, finished_at=Now())
    labels, examples = {"labelling": str(labelling.public_id)}, {"regularisation": regularisation}
    ModelVersion.objects.filter(family="adapter").update(run=run, metrics={"labels": labels, "examples": examples})


def watched(monkeypatch) -> list[Image]:
    """The images of the training that a proof looks at, filled as it does."""
    looked_at: list[Image] = []
    monkeypatch.setattr(proof_features, "_readable", lambda there: looked_at.extend(there) or map(open_picture, there))
    return looked_at


def test_proof_holds_the_arms_against_what_is_left_of_the_labelling_and_the_regularisation(
    proven, tmp_path, monkeypatch
):
    labelling = make_labelling(prompts=3, generator=make_generator("diffusiondb"))
    strike_out(label=labelling.labels.filter(kind="preferred").first(), by=make_user())
    photographs = make_images(4, make_generator("photographs"))
    learnt_from(labelling, {"labelling": "1", "regularisation": ["photographs"]}, regularisation=4)
    looked_at = watched(monkeypatch)

    sets = prove({**SMALL, "guidances": []}, tmp_path)["sets"]

    left = Image.objects.filter(labels__in=labelling.labels.left())
    assert {image.pk for image in looked_at} == {image.pk for image in [*left, *photographs]}
    assert (sets["training_images"], sets["training_images_in_all"]) == (5 + 4, 5 + 4)


def test_proof_looks_at_labelled_images_first_where_there_are_too_many(proven, tmp_path, monkeypatch):
    labelling = make_labelling(prompts=2, generator=make_generator("diffusiondb"))
    make_images(4, Generator.objects.get(name="diffusiondb"))
    learnt_from(labelling, {}, regularisation=4)
    monkeypatch.setattr(proof_features, "MOST_TRAINING_IMAGES", 4)
    looked_at = watched(monkeypatch)

    proof = prove({**SMALL, "guidances": []}, tmp_path)

    assert {image.pk for image in looked_at} == {label.image_id for label in labelling.labels.left()}
    [closeness] = [row for row in proof_tables(proof).rows if row.label == "Closeness to training images"]
    assert closeness.note == "cos to the nearest of 4 training images; 4 of 8 looked at"


def test_proof_says_where_the_images_of_the_training_are_not_here(proven, tmp_path):
    Image.objects.update(is_hidden=True)

    proof = prove({**SMALL, "guidances": []}, tmp_path)

    [closeness] = [row for row in proof_tables(proof).rows if row.label == "Closeness to training images"]
    assert closeness.note == "not measured: the images that it was trained on are not here"
    assert [cell.value for cell in closeness.cells] == ["–"] * 4


def test_proof_sweeps_guidance_and_scale_and_goes_on_after_a_kill(proven, tmp_path, monkeypatch):
    whole = prove(SMALL, tmp_path)["sweep"]
    assert [(cell["guidance"], cell["scale"]) for cell in whole] == [(2.0, 0.5), (3.0, 0.5)]
    assert set(whole[0]["differences"]) == {"clip-1", "hps-1"}
    kept = json.loads((tmp_path / KEPT).read_text())
    (tmp_path / KEPT).write_text(json.dumps({"2 0.5": kept["2 0.5"]}))
    Run.objects.all().delete()
    drawn = []
    from worker.services import proof_sweep

    draw = proof_sweep._drawn
    monkeypatch.setattr(proof_sweep, "_drawn", lambda *args: drawn.append(args[-2:]) or draw(*args))

    again = prove(SMALL, tmp_path)["sweep"]

    assert drawn == [(3.0, 0.5)]
    assert again == whole


def test_sweep_scores_no_faulty_picture(proven, tmp_path, monkeypatch):
    from worker.generation import pipeline
    from worker.generation.faults import Fault

    whole = prove(SMALL, tmp_path)["sweep"]
    assert [cell["left_out"] for cell in whole] == [0, 0]
    (tmp_path / KEPT).unlink()
    Run.objects.all().delete()
    draw = pipeline.draw

    def draw_the_first_black(drawing, prompts, seeds, **settings):
        [batch] = draw(drawing, prompts, seeds, **settings)
        lost = len(prompts) if settings["guidance"] == 3.0 else 1
        yield [replace(each, fault=Fault.UNSAFE) if place < lost else each for place, each in enumerate(batch)]

    monkeypatch.setattr(pipeline, "draw", draw_the_first_black)

    proof = prove(SMALL, tmp_path)

    one_lost, all_lost = proof["sweep"]

    before, after = whole[0]["differences"]["hps-1"], one_lost["differences"]["hps-1"]
    assert (before["n"], after["n"], one_lost["wins"]["hps-1"]["n"], one_lost["left_out"]) == (2, 1, 1, 1)
    kept = json.loads((tmp_path / KEPT).read_text())["2 0.5"]["hps-1"]
    assert (kept[0], isinstance(kept[1], float)) == (None, True)
    assert (all_lost["differences"]["hps-1"]["value"], all_lost["left_out"]) == (None, 2)
    assert proof_tables(proof).sweep[1].cells[0].notes[-3:] == (
        "hps-1 –",
        "wins –, n = 0",
        "left out as blank, broken or blocked: 2",
    )


@pytest.mark.parametrize(
    ("own", "expected"),
    [(7.5, [2.62, 4.25, 7.5, 10.75]), (2.0, [1.25, 1.5, 2.0, 2.5]), (1.2, [1.05, 1.1, 1.2, 1.3]), (1.0, [])],
)
def test_sweep_looks_about_the_original_guidance_down_to_gentle_ones(own, expected):
    assert guidances_about(own) == expected


def test_proof_that_is_cancelled_stops(proven, tmp_path):
    run, reporter = claimed_run(Run.Kind.PROOF, SMALL, preset="")
    reporter.stop(StopReason.CANCELLED)

    with pytest.raises(RunStopped):
        perform_proof(run, reporter, tmp_path)


def test_proof_without_a_held_out_prompt_says_so(proven, tmp_path):
    seen = make_prompt("a seen one", split=Split.TRAIN)

    with pytest.raises(UnableToProve, match=r"needs two held-out prompts .* trainings may have seen 1"):
        prove({**SMALL, "prompts": [seen.text]}, tmp_path)


def test_proof_leaves_out_named_prompts_that_trainings_may_have_seen(proven, tmp_path):
    held_out = [prompt.text for prompt in Prompt.objects.filter(split=Split.TEST).order_by("pk")[:3]]
    seen = make_prompt("a seen one", split=Split.TRAIN)

    prove({**SMALL, "prompts": [seen.text, *held_out]}, tmp_path)

    drawn = Prompt.objects.filter(images__generator__name="original + adapter-1").distinct()
    assert {prompt.text for prompt in drawn} == set(held_out)
    [said] = RunEvent.objects.filter(text__contains="left out").values_list("text", flat=True)
    assert said == "1 of the prompts named are left out: trainings may have seen them."


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "version is missing"),
        ({"version": ""}, "Say which adapter is meant"),
        ({"version": "adapter-1", "sweeps": 3}, "no setting 'sweeps'"),
        ({"version": "adapter-1", "count": "many"}, "count must be a whole number, not 'many'"),
        ({"version": "adapter-1", "count": True}, "count must be a whole number, not True"),
        ({"version": "adapter-1", "guidances": ["a"]}, "guidances must be a list of numbers or null"),
        ({"version": "adapter-1", "per_prompt": 1}, "per_prompt is 1; a proof needs 2"),
        ({"version": "adapter-1", "guidances": [1.0]}, "A guidance of 1 or less"),
        ({"version": "adapter-1", "scales": [0.0]}, "scale lies above 0"),
    ],
)
def test_proof_config_refuses(config, words):
    with pytest.raises(UnableToProve, match=words):
        ProofConfig.from_json(config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"version": "hps-1"}, "There is no adapter 'hps-1'"),
        ({"version": "adapter-1", "generator": "nobody"}, "There is no generator 'nobody'"),
    ],
)
def test_proof_of_what_is_not_here_is_refused(proven, tmp_path, config, words):
    with pytest.raises(UnableToProve, match=words):
        prove(config, tmp_path)


def test_verdict_says_what_hps_says_and_counts_the_warnings():
    better = Evidence(hps=Arms(np.zeros(50), np.ones(50)))
    alike = Evidence(hps=Arms(np.zeros(50), np.tile([1.0, -1.0], 25)))

    assert verdict(better, 0) == (
        "By HPS, adapted with the mark as negative prompt wins 100 % (93 to 100 %) of the prompts: more than half."
    )
    assert verdict(better, 2).endswith("more than half. 2 warnings.")
    assert "no difference shown. 1 warning." in verdict(alike, 1)
    assert verdict(replace(better, hps=None), 0) == "HPS was not measured."


def test_prove_adapter_command_opens_a_run_with_what_was_said(db, tmp_path):
    (tmp_path / "prompts.txt").write_text("a pier\n\na boat\n")
    options = [
        "--generator",
        "original",
        "--count",
        "5",
        "--per-prompt",
        "4",
        "--prompts",
        str(tmp_path / "prompts.txt"),
    ]

    call_command("prove_adapter", "adapter-1", *options, "--config", '{"scales": [2.0]}', stdout=StringIO())

    run = Run.objects.get(kind=Run.Kind.PROOF)
    assert (run.state, run.campaign) == (Run.State.QUEUED, None)
    assert run.config == {
        "version": "adapter-1",
        "generator": "original",
        "count": 5,
        "per_prompt": 4,
        "prompts": ["a pier", "a boat"],
        "scales": [2.0],
    }
