"""What goes out in a format that can hold it comes in again as it was; and known answers of published data."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from annotations.exports.choices import export_choices
from annotations.imports.choices import Import, import_choices
from annotations.models import Annotator, Campaign, Generator, Image, Outcome, Prompt, Slot, Task, Vote
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    number,
)

pytestmark = pytest.mark.django_db

TEXTS = [
    "a plain pier",
    "quotes \"double\" and 'single', commas; semicolons",
    "two\nlines\r\nand a\ttab",
    "émigré 🐙 日本語 עברית \u2028 end",
    "=SUM(A1) as a prompt",
    "'already quoted",
    " leading and trailing ",
]


def vote_on(task: Task, outcome: str, *, by: Annotator, chosen: int = 0, **fields: Any) -> Vote:
    """A vote on a new slot, the images shown in an order of its own."""
    images = list(task.candidates.order_by("position").values_list("image", flat=True))
    turn = number() % len(images)
    order = images[turn:] + images[:turn]
    slot = Slot.objects.create(
        campaign=task.campaign,
        task=task,
        number=task.slots.count(),
        sort_key=0,
        state=Slot.State.DONE,
        annotator=by,
        order=order,
    )
    return Vote.objects.create(
        slot=slot,
        task=task,
        annotator=by,
        outcome=outcome,
        image_id=order[chosen] if outcome == Outcome.CHOICE else None,
        order=order,
        idempotency_key=f"00000000-0000-0000-0000-{number():012}",
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC) + timedelta(seconds=number()),
        **fields,
    )


def rich_campaign(
    outcomes: Iterable[str], sizes: Iterable[int], *, tags: list[str], people: int = 3, slug: str = "rich"
) -> Campaign:
    """Every size of set, every outcome, several raters, prompts with all that a text may hold."""
    campaign = make_campaign(tasks=0, slug=slug, candidates=9)
    annotators = [make_annotator() for _ in range(people)]
    generators = [make_generator(f"generator {name}") for name in ('"q"', "=2+2", "naïve")]
    for size_number, size in enumerate(sizes):
        for text_number, text in enumerate(TEXTS):
            prompt = Prompt.objects.filter(text=text).first() or make_prompt(text, tags=tags)
            images = [
                make_image(prompt=prompt, generator=[*generators, None][(size_number + place) % 4])
                for place in range(size)
            ]
            task = make_task(campaign=campaign, prompt=prompt, images=images, votes=0)
            for place, (person, outcome) in enumerate(zip(annotators, [*outcomes] * people, strict=False)):
                vote_on(
                    task,
                    outcome,
                    by=person,
                    chosen=(text_number + place) % size,
                    shown_ms=1000 + text_number,
                    hidden_ms=place,
                    is_too_fast=place == 1,
                    instructions_version=size_number + 1,
                )
    return campaign


def meaning(slug: str, *facts: str) -> list[tuple[object, ...]]:
    """The counted votes by what they mean; people by all that they said, whatever they are called."""
    images = {image.pk: (image.sha256, image.generator and image.generator.name) for image in Image.objects.all()}
    votes = Vote.objects.counted().filter(task__campaign__slug=slug).select_related("task__prompt")
    told = [
        (
            vote.annotator_id,
            (
                *(vote.task.prompt.text, vote.task.prompt.split, *vote.task.prompt.tags, vote.outcome),
                *(images[vote.image_id] if vote.image_id else (), [images[pk] for pk in vote.order]),
                *(getattr(vote, fact) for fact in facts),
            ),
        )
        for vote in votes
    ]
    said: dict[int, list[str]] = {}
    for person, vote in told:
        said.setdefault(person, []).append(repr(vote))
    return sorted((repr(vote), *sorted(said[person])) for person, vote in told)


EVERY = ("choice", "tie", "all_bad")
TIMES = ("created_at", "shown_ms", "hidden_ms", "is_too_fast", "instructions_version")
HELD = {
    "hpd": (["choice"], [2, 3, 9], ["contains a name"], ()),
    "hpd2": (EVERY, [2, 5, 9], [], ()),
    "pickapic": (["choice", "tie"], [2], ["anatomy", "a; b"], ("created_at", "shown_ms")),
    "csv": (EVERY, [2, 5, 9], ["anatomy", 'a; "b"', "=c"], TIMES),
}


def forget(slug: str) -> None:
    """Takes everything away that could be found again instead of read."""
    for model in (Vote, Slot):
        model.objects.all().delete()
    Task.objects.all().delete()
    for model in (Image, Prompt, Generator):
        model.objects.all().delete()
    Campaign.objects.filter(slug=slug).delete()


@pytest.mark.parametrize("form", HELD)
def test_what_goes_out_comes_in_again_as_it_was(tmp_path: Path, form: str) -> None:
    outcomes, sizes, tags, facts = HELD[form]
    campaign = rich_campaign(outcomes, sizes, tags=tags)
    before = meaning("rich", *facts)

    exported = export_choices(campaign=campaign, form=form, out=tmp_path / "out", progress=lambda *_: None)
    report = import_choices(Import(tmp_path / "out", form, "again"))

    assert exported.left_out == {}
    assert report.choices == exported.votes == len(before) == 3 * len(TEXTS) * len(sizes)
    assert (report.prompts, report.images, report.skipped) == (0, 0, [])
    assert meaning("again", *facts) == before


@pytest.mark.parametrize("form", ["hpd", "hpd2", "pickapic"])
def test_what_goes_out_comes_in_again_where_nothing_is_known_of_it(tmp_path: Path, form: str) -> None:
    outcomes, _sizes, tags, facts = HELD[form]
    before = meaning(rich_campaign(outcomes, [2], tags=tags).slug, *facts)
    export_choices(
        campaign=Campaign.objects.get(slug="rich"), form=form, out=tmp_path / "out", progress=lambda *_: None
    )
    forget("rich")

    report = import_choices(Import(tmp_path / "out", form, "again"))

    assert (report.prompts, report.images) == (len(TEXTS), 2 * len(TEXTS))
    assert meaning("again", *facts) == before


def test_csv_comes_in_elsewhere_with_the_images_of_another_export(tmp_path: Path) -> None:
    campaign = rich_campaign(EVERY, [2, 4], tags=["anatomy"])
    before = meaning("rich", *TIMES)
    for form in ("csv", "hpd2"):
        export_choices(campaign=campaign, form=form, out=tmp_path / form, progress=lambda *_: None)
    forget("rich")

    report = import_choices(Import(tmp_path / "csv", "csv", "again", images=tmp_path / "hpd2"))

    assert report.images == 6 * len(TEXTS)
    assert meaning("again", *TIMES) == before


def rankings() -> list[dict[str, Any]]:
    """Two sets of a prompt's images ranked by two people each, ties and left-out ranks among them."""
    return [
        {
            "prompt": f"a {name}",
            "image_path": [f"{name}{place}.jpg" for place in range(4)],
            "rank": [1, 2, 3, 3],
            "raw_annotations": [
                {"rank": [1, 2, 5, 3], "user_hash": "ada"},
                {"rank": [2, 1, 2, 2], "user_hash": "ben"},
            ],
        }
        for name in ("barn", "cliff")
    ]


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_rankings_of_several_raters_come_in_as_pairs_and_go_out_as_rankings(tmp_path: Path) -> None:
    source = write_json(tmp_path / "test.json", rankings())

    report = import_choices(Import(source, "hpd2", "ranked", takes_pixels=False))
    export_choices(
        campaign=Campaign.objects.get(slug="ranked"), form="hpd2", out=tmp_path / "out", progress=lambda *_: None
    )
    again = import_choices(Import(tmp_path / "out", "hpd2", "again", takes_pixels=False))

    assert (report.prompts, report.images, report.choices, report.decided_pairs) == (2, 8, 24, 18)
    assert (again.choices, again.images, again.decided_pairs) == (24, 0, 18)
    assert meaning("again") == meaning("ranked")
    records = json.loads((tmp_path / "out" / "test.json").read_text())
    assert [record["image_path"] for record in records] == [record["image_path"] for record in rankings()]
    assert [[one["rank"] for one in record["raw_annotations"]] for record in records] == [
        [[1, 2, 5, 3], [2, 1, 2, 2]]
    ] * 2
    assert [record["rank"] for record in records] == [[1, 1, 3, 2]] * 2


def test_a_ranking_that_lacks_a_pair_goes_out_as_what_is_left_of_it(tmp_path: Path) -> None:
    import_choices(Import(write_json(tmp_path / "test.json", rankings()[:1]), "hpd2", "ranked", takes_pixels=False))
    Vote.objects.latest("pk").delete()
    before = meaning("ranked")

    export_choices(
        campaign=Campaign.objects.get(slug="ranked"), form="hpd2", out=tmp_path / "out", progress=lambda *_: None
    )
    import_choices(Import(tmp_path / "out", "hpd2", "again", takes_pixels=False))

    assert len(before) == 11
    assert meaning("again") == before


@pytest.mark.parametrize("form", ["hpd", "hpd2", "pickapic", "csv"])
def test_votes_whose_pixels_are_elsewhere_keep_the_images_names(tmp_path: Path, form: str) -> None:
    source = [
        {"prompt": f"a {name}", "path1": f"{name}/1.jpg", "path2": f"{name}/2.jpg", "model1": "flux", "model2": None}
        for name in ("barn", "cliff", "pier")
    ]
    import_choices(Import(write_json(tmp_path / "all.json", source), "hpd3", "first", takes_pixels=False))
    before = meaning("first")

    out = tmp_path / ("out.csv" if form == "csv" else "out")
    export_choices(campaign=Campaign.objects.get(slug="first"), form=form, out=out, progress=lambda *_: None)
    again = import_choices(Import(out, form, "again", takes_pixels=False))

    assert (again.choices, again.images) == (3, 0)
    assert meaning("again") == before
    assert set(Image.objects.values_list("file", "is_hidden", "width")) == {("", True, 0)}
    assert set(Image.objects.values_list("reference", flat=True)) == {
        f"{name}/{place}.jpg" for name in ("barn", "cliff", "pier") for place in (1, 2)
    }


def run(*arguments: object) -> Any:
    output = StringIO()
    call_command(*(str(argument) for argument in arguments), "--json", stdout=output)
    return json.loads(output.getvalue())


def test_the_test_set_of_imagereward_has_466_prompts_and_6399_decided_pairs(shared_data: Path) -> None:
    source = shared_data / "imagereward" / "test.json"

    report = run("import_choices", source, "--format", "imagereward", "--campaign", "ir", "--without-images")

    counts = ("prompts", "images", "decided_pairs", "skipped")
    assert {name: report[name] for name in counts} == {
        "prompts": 466,
        "images": 2720,
        "decided_pairs": 6399,
        "skipped": [],
    }
    assert Vote.objects.counted().filter(outcome="choice").count() == 6399
    assert report["choices"] == Vote.objects.count() == 6399 + Vote.objects.filter(outcome="tie").count()


def test_a_bradley_terry_fit_of_a_real_pairwise_study_gives_the_known_worths(shared_data: Path) -> None:
    source = shared_data / "sr_4way" / "exp2_pairwise.csv"

    report = run("import_choices", source, "--format", "csv", "--campaign", "exp2", "--without-images")
    ranking = run("rank_generators", "--campaign", "exp2")

    assert (report["choices"], report["decided_pairs"], report["generators"], report["skipped"]) == (900, 900, 4, [])
    known = {"ResShift": 0.599372, "RealESRGAN": 0.020553, "SwinIR": -0.035092, "BSRGAN": -0.584834}
    assert {place["generator"]: place["log_worth"] for place in ranking} == pytest.approx(known, abs=1e-4)
    assert {place["generator"]: place["chosen"] for place in ranking} == {
        "ResShift": 309,
        "RealESRGAN": 228,
        "SwinIR": 220,
        "BSRGAN": 143,
    }
