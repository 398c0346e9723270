"""The reporting commands: the page's numbers on the terminal."""

import json
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from annotations.models import Annotator, Campaign, Outcome, Task
from hps_site.dashboard.text_reports import text_table
from tests.annotations.factories import make_annotator, make_annotators
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, make_version, task_of

pytestmark = pytest.mark.django_db

# The real study of four super-resolution models: how often each was chosen.
REAL_COUNTS = {"ResShift": 624, "SwinIR": 377, "RealESRGAN": 351, "BSRGAN": 268}


def output_of(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def json_of(*arguments: str):
    return json.loads(output_of(*arguments, "--json"))


def birds() -> None:
    """Two held-out prompts of four images, seven votes: gull 4, hawk 2, kite 1, lark never; one tie beside."""
    campaign = empty_campaign(slug="birds")
    people = make_annotators(5)
    first, second = (task_of(campaign, ["gull", "hawk", "kite", "lark"]) for _ in range(2))
    for person, chosen in zip(people, (0, 0, 0, 1, Outcome.TIE), strict=True):
        cast(first, person, chosen)
    for person, chosen in zip(people, (0, 1, 2), strict=False):
        cast(second, person, chosen)


def test_rank_generators_gives_the_agreed_records():
    birds()

    ranking = json_of("rank_generators", "--campaign", "birds")

    assert [list(place) for place in ranking] == [["generator", "chosen", "shown", "log_worth", "low", "high"]] * 4
    assert [(place["generator"], place["chosen"], place["shown"]) for place in ranking] == [
        ("gull", 4, 8),
        ("hawk", 2, 8),
        ("kite", 1, 8),
        ("lark", 0, 8),
    ]
    assert sum(place["log_worth"] for place in ranking) == pytest.approx(0, abs=1e-9)
    assert all(place["low"] < place["log_worth"] < place["high"] for place in ranking)


def test_rank_generators_as_a_table():
    birds()

    lines = output_of("rank_generators", "--campaign", "birds").splitlines()

    assert lines[0] == "Generators by what people chose: birds"
    assert lines[1].split() == ["rank", "generator", "log-worth", "95", "%", "interval", "chosen", "shown"]
    assert lines[3].split()[:2] == ["1-4", "gull"]


def what_stands_first() -> Campaign:
    """Forty choices of what stands first, three times in four; that is the gull as often as the hawk."""
    campaign = empty_campaign(slug="birds")
    ada = make_annotator()
    for turn in range(40):
        order = [0, 1] if turn % 2 else [1, 0]
        cast(task_of(campaign, ["gull", "hawk"]), ada, order[0] if turn % 8 < 6 else order[1], order=order)
    return campaign


LEANINGS = "Leaning to places on the screen, by votes given here, taken out of the log-worths: 1 +0.549, 2 -0.549."


def test_rank_generators_prints_the_leanings_to_places():
    what_stands_first()

    lines = output_of("rank_generators", "--campaign", "birds").splitlines()

    # By hand: odds of 3 to 1 for the first place, whose logarithm is 1.099.
    assert lines[-1] == LEANINGS


def test_rank_generators_learns_no_leaning_from_imported_votes():
    """HPD v3 names the chosen image first, always."""
    campaign = what_stands_first()
    for best in [0, 1] * 20:
        imported = make_annotator(user=None, source=Annotator.Source.IMPORTED)
        cast(task_of(campaign, ["gull", "hawk"]), imported, best, order=[best, 1 - best])

    lines = output_of("rank_generators", "--campaign", "birds").splitlines()

    assert lines[-1] == LEANINGS


def test_rank_generators_names_groups_that_were_never_compared():
    birds()
    cast(task_of(Campaign.objects.get(slug="birds"), ["wren", "dove"]), make_annotator(), 0)

    lines = output_of("rank_generators", "--campaign", "birds").splitlines()

    assert lines[-1] == (
        "These groups were never compared with each other, so only places within one count:"
        " gull, hawk, kite, lark; dove, wren."
    )


def test_rank_generators_as_json_warns_of_groups_that_were_never_compared_beside_the_list(capsys):
    birds()
    call_command("rank_generators", "--campaign", "birds", "--json")
    assert capsys.readouterr().err == ""

    cast(task_of(Campaign.objects.get(slug="birds"), ["wren", "dove"]), make_annotator(), 0)
    call_command("rank_generators", "--campaign", "birds", "--json")

    printed = capsys.readouterr()
    assert {place["generator"] for place in json.loads(printed.out)} == {"gull", "hawk", "kite", "lark", "wren", "dove"}
    assert printed.err == (
        "These groups were never compared with each other, so only places within one count:"
        " gull, hawk, kite, lark; dove, wren.\n"
    )


def test_rank_generators_of_one_generator_says_why_not():
    campaign = empty_campaign(slug="lonely")
    cast(task_of(campaign, ["gull", "gull"]), make_annotator(), 0)

    with pytest.raises(CommandError, match="at least two named generators"):
        call_command("rank_generators", "--campaign", "lonely")


@pytest.mark.parametrize("command", ["rank_generators", "evaluate_scorers"])
def test_commands_name_the_campaigns_there_are(command):
    empty_campaign(slug="birds")

    with pytest.raises(CommandError, match=r"There is no campaign 'fish'. Campaigns: birds."):
        call_command(command, "--campaign", "fish")


def test_evaluate_scorers_gives_the_numbers_of_the_page():
    birds()
    clip = make_version("clip", is_current=True)
    for task in Task.objects.all():
        give_scores(clip, task, [4, 3, 2, 1])

    report = json_of("evaluate_scorers", "--campaign", "birds")

    [scorer] = report.pop("scorers")
    assert scorer.pop("top_1")["value"] == pytest.approx(4 / 7)
    assert scorer == {
        "scorer": "clip-1",
        "family": "clip",
        "is_current": True,
        "is_synthetic": False,
        "ahead_of_base_clip": None,
        "standing": "base",
        "choices": 7,
        "prompts": 2,
    }
    assert report.pop("chance")["value"] == 0.25
    assert report.pop("human_ceiling")["n"] == 7
    [warning] = report.pop("warnings")
    assert warning["text"] == "clip-1 is not told apart from chance: 57.1 % (0.0 to 100.0 %), chance 25.0 %."
    [whole] = report.pop("slices")
    assert (whole["kind"], whole["choices"], whole["scorers"][0]["top_1"]["value"]) == ("all", 7, pytest.approx(4 / 7))
    assert [one["scorer"] for one in report.pop("details")] == ["clip-1"]
    assert report.pop("slices_left_out") == 8
    assert report.pop("scorer_pairs") == []
    assert report.pop("demographic_groups") == []
    assert report == {
        "campaigns": ["birds"],
        "is_synthetic": False,
        "measure": "top-1 of 4",
        "split": "test",
        "choices": 7,
        "prompts": 2,
        "missing": [],
        "families_without_version": ["hps"],
    }


def test_evaluate_scorers_as_a_table_tells_what_is_missing():
    birds()
    make_version("clip", is_current=True)

    text = output_of("evaluate_scorers", "--campaign", "birds")

    assert "top-1 of 4 on 7 held-out choices on 2 prompts; intervals by prompt" in text
    assert "clip-1 lacks scores for 7 of these choices: run `score_images --campaign birds --scorer clip-1`." in text
    assert "There is no version of Human Preference Score yet: `retrain_classifier` makes one." in text


def test_evaluate_scorers_prints_warnings_slices_and_coefficients():
    birds()
    for version in (make_version("clip"), make_version("hps")):
        for task in Task.objects.all():
            give_scores(version, task, [4, 3, 2, 1] if version.family == "clip" else [1, 2, 3, 4])

    lines = [" ".join(line.split()) for line in output_of("evaluate_scorers", "--campaign", "birds").splitlines()]

    assert (
        "WARNING: hps-1 disagrees with people: it finds the chosen image in 0.0 % (0.0 to 65.8 %), chance in 25.0 %."
        in lines
    )
    assert "all 7 2 hps-1 0.0 % 0.0 to 65.8 % 25.9 % 0.5000" in lines
    assert "all 7 2 highest attainable 57.1 % 0.0 to 100.0 %" in lines
    assert "clip-1 inversion score, ties as right (HPS v2) 91.7 % 15.3 to 100.0 % 8 choices" in lines
    assert "hps-1 clip-1 -57.1 -100.0 to +100.0 7 0.5000 0.5000" in lines
    why = "The same in 95 % of the resamples: no interval."
    assert f"hps-1 Kendall's tau-b of generator rankings -0.707 {why} 4 generators" in lines
    assert lines[-1] == "hps-1: expected calibration error 36.9 %, 29.8 to 44.0 %"


def test_evaluate_scorers_as_json_holds_the_test_of_each_two_scorers():
    birds()
    for version in (make_version("clip"), make_version("hps")):
        for task in Task.objects.all():
            give_scores(version, task, [4, 3, 2, 1] if version.family == "clip" else [1, 2, 3, 4])

    [pair] = json_of("evaluate_scorers", "--campaign", "birds")["scorer_pairs"]

    assert (pair["scorer"], pair["other"], pair["p_value_holm"]) == ("hps-1", "clip-1", 0.5)
    assert (pair["paired_test"]["difference"]["value"], pair["paired_test"]["p_value"]) == (pytest.approx(-4 / 7), 0.5)


def test_evaluate_scorers_marks_synthetic_votes():
    campaign = empty_campaign(slug="toys", is_synthetic=True)
    cast(task_of(campaign, ["a", "b"]), make_annotator(), 0)

    assert output_of("evaluate_scorers").startswith("Metrics against people: toys [synthetic]")


def test_evaluate_scorers_without_a_held_out_choice_says_what_to_do():
    empty_campaign(slug="birds")

    with pytest.raises(CommandError, match="collect more votes"):
        call_command("evaluate_scorers", "--campaign", "birds")


def test_text_table_puts_numbers_to_the_right():
    assert text_table(["name", "n"], [("a", 7), ("longer", 1000)]) == [
        "name       n",
        "------  ----",
        "a          7",
        "longer  1000",
    ]


@pytest.mark.slow
def test_rank_generators_of_the_real_study(shared_data: Path, files: Path):
    for split in ("train", "test"):
        call_command(
            "import_choices",
            str(shared_data / "sr_4way" / f"preference_{split}.json"),
            "--format=hpd",
            f"--images={shared_data / 'sr_4way'}",
            "--generator-pattern=_([A-Za-z]+)",
            "--campaign=sr-4way",
            stdout=StringIO(),
        )

    ranking = json_of("rank_generators", "--campaign", "sr-4way")
    report = json_of("evaluate_scorers", "--campaign", "sr-4way")

    assert {place["generator"]: place["chosen"] for place in ranking} == REAL_COUNTS
    assert {place["shown"] for place in ranking} == {1620}
    assert [place["generator"] for place in ranking] == list(REAL_COUNTS)
    assert report["chance"]["value"] == 0.25
    assert report["choices"] > 0


def test_rank_generators_of_a_made_study_in_the_same_shape():
    campaign = empty_campaign(slug="sr")
    people = [make_annotator(user=None, source=Annotator.Source.IMPORTED) for _ in range(27)]
    wanted = Counter({"ResShift": 62, "SwinIR": 38, "RealESRGAN": 35, "BSRGAN": 27})
    names = sorted(wanted)
    chosen = iter(sorted(wanted.elements()))
    for _ in range(6):
        task = task_of(campaign, names)
        for person in people:
            cast(task, person, names.index(next(chosen)))

    ranking = json_of("rank_generators", "--campaign", "sr")

    assert {place["generator"]: place["chosen"] for place in ranking} == dict(wanted)
    assert [place["generator"] for place in ranking] == ["ResShift", "SwinIR", "RealESRGAN", "BSRGAN"]
    # All four shown each time: the worths are the shares, so the log-worths differ by the logarithm of their ratio.
    log_worths = {place["generator"]: place["log_worth"] for place in ranking}
    assert log_worths["ResShift"] - log_worths["BSRGAN"] == pytest.approx(0.8313, abs=1e-3)
