"""Set measures of what was chosen against what was passed over, from the database to the terminal."""

import json
from io import StringIO

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from annotations.models import Image, Outcome
from tests.annotations.factories import make_annotators, make_image, make_prompt, make_task, picture_bytes
from tests.hps_site.dashboard.worlds import cast, empty_campaign
from tests.scoring import tiny
from worker.services.versions import register_base_models

pytestmark = pytest.mark.django_db

MEASURES = [
    "IS of one split, chosen", "IS of one split, rejected", "IS of one split, chosen - rejected",
    "FID, chosen to rejected", "KID, chosen to rejected",
]  # fmt: skip


@pytest.fixture
def birds(files, tmp_path):
    """Six prompts of three images; the first is chosen each time, and one person sees no winner."""
    register_base_models(folders=[tiny.write_clip(tmp_path / "clip")])
    campaign = empty_campaign(slug="birds")
    one, other = make_annotators(2)
    for number in range(6):
        prompt = make_prompt()
        images = [
            make_image(prompt=prompt, content=picture_bytes(size=(16 + number, 16 + 4 * place))) for place in range(3)
        ]
        task = make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
        cast(task, one, 0)
        cast(task, other, Outcome.TIE)
    return campaign


def said(*arguments):
    out = StringIO()
    call_command("compare_sets", *map(str, arguments), stdout=out, stderr=StringIO())
    return out.getvalue()


@pytest.mark.usefixtures("birds")
def test_compare_sets_as_json_names_what_it_stands_on():
    record = json.loads(said("--campaign", "birds", "--resamples", "5", "--json"))

    measures, tests = record.pop("measures"), record.pop("exchange_tests")
    assert record == {
        "campaigns": ["birds"],
        "is_synthetic": False,
        "features": "CLIP features of tiny",
        "choices": 6,
        "prompts": 6,
        "left_out": 0,
        "reference": 0,
    }
    assert [measure["name"] for measure in measures] == [f"{name} on CLIP features of tiny" for name in MEASURES]
    assert all(measure["low"] <= measure["value"] <= measure["high"] for measure in measures)
    assert [(test["name"], test["value"], test["exchanges"]) for test in tests] == [
        (measure["name"], measure["value"], 5) for measure in measures[3:]
    ]


@pytest.mark.usefixtures("birds")
def test_compare_sets_as_a_table_against_a_reference(tmp_path):
    (tmp_path / "reference").mkdir()
    for number in range(4):
        tiny.picture(60 * number, seed=number).save(tmp_path / "reference" / f"{number}.png")

    lines = said("--campaign", "birds", "--resamples", "3", "--reference", tmp_path / "reference").splitlines()

    assert lines[0] == "Sets of images: chosen against passed over: birds"
    assert "on CLIP features of tiny; 6 decided choices on 6 prompts" in lines[1]
    assert [line.split("  ")[0] for line in lines[5:-3]] == [
        *MEASURES,
        *(
            f"{measure}, {side} to reference"
            for measure in ("FID", "KID")
            for side in ("chosen", "rejected", "chosen - rejected")
        ),
    ]


@pytest.mark.usefixtures("birds")
def test_compare_sets_leaves_out_choices_whose_images_cannot_be_read():
    default_storage.delete(Image.objects.earliest("pk").file.name)

    record = json.loads(said("--campaign", "birds", "--resamples", "3", "--json"))

    assert (record["choices"], record["left_out"]) == (5, 1)


@pytest.mark.usefixtures("birds")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--campaign", "fish"], "There is no campaign 'fish'"),
        (["--clip", "clip-7"], "There is no scorer 'clip-7'"),
        (["--inception", "none.pth"], "none.pth: can't be read as plain weights"),
        (["--reference", "no-such-folder"], "'no-such-folder' is neither a generator nor a folder of images"),
    ],
)
def test_compare_sets_says_in_one_line_what_is_missing(arguments, reason):
    with pytest.raises(CommandError, match=reason):
        said("--resamples", "2", *arguments)


def test_compare_sets_without_choices_says_so(files, tmp_path):
    register_base_models(folders=[tiny.write_clip(tmp_path / "clip")])
    empty_campaign(slug="empty")

    with pytest.raises(CommandError, match="Fewer than two decided choices"):
        said("--campaign", "empty")
