"""Labelling and training from the terminal: one finds what the other made."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.annotations.factories import make_campaign
from tests.worker.generators import make_images, make_scorers, make_tiny_generator
from worker.models import Labelling, Run


def said(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_label_images_then_train_adapter_learns_from_what_was_labelled(tmp_path, tiny_diffusion, rung):
    make_scorers(tmp_path / "clip")
    make_images(32, make_tiny_generator())

    told = said("label_images", "--here", config='{"alpha": 1.0, "non_preferred_per_preferred": 1.0}')

    name = str(Labelling.objects.get().public_id)
    assert told == (
        f"Labelling {name} (synthetic)\n"
        "  Of 32 images, 8 are preferred and 8 non-preferred by hps-1.\n"
        f"  Look through it at /dashboard/labellings/{name}/, then: train_adapter --labelling {name[:8]}\n"
    )
    trained = said(
        "train_adapter",
        "--here",
        labelling=name[:8],
        config='{"steps": 2, "batch_size": 4, "rank": 2, "evaluation_share": 0.25, "evaluation_draws": 1}',
    )
    assert trained.startswith("adapter-1 (synthetic)\n  Of 32 images, 8 are preferred and 8 non-preferred by hps-1.\n")
    assert Run.objects.get(kind="adapter").config["labelling"] == name


def test_label_images_opens_a_run_with_what_was_asked(db, tmp_path, rung):
    campaign = make_campaign(tasks=0)
    make_scorers(tmp_path / "clip")
    make_tiny_generator()

    said("label_images", generator="tiny", labels_from="both", campaign=campaign.slug, preset="paper")

    run = Run.objects.get()
    assert (run.kind, run.preset, run.campaign) == ("labelling", "paper", campaign)
    assert run.config == {"generator": "tiny", "labels_from": "both"}


@pytest.mark.parametrize("command", ["label_images", "train_adapter"])
def test_a_setting_that_is_no_good_opens_no_run(db, command):
    with pytest.raises(CommandError, match=r"^drops_blurred must be true or false, not 'no'\.$"):
        said(command, config='{"drops_blurred": "no"}')

    assert not Run.objects.exists()


def test_train_adapter_on_a_labelling_that_is_not_there_opens_nothing(db):
    with pytest.raises(CommandError, match="There is no one labelling 'abc'; the latest are: none yet"):
        said("train_adapter", labelling="abc")

    assert not Run.objects.exists()
