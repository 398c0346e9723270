"""What the commands say and how they end."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from annotations.management.commands.import_choices import Bar
from annotations.models import Campaign, Snapshot, Vote
from tests.annotations.factories import make_campaign
from tests.annotations.hpd_source import PATTERN, good_train, write_source

pytestmark = pytest.mark.django_db


def run(*arguments: object) -> str:
    output = StringIO()
    call_command(*(str(argument) for argument in arguments), stdout=output)
    return output.getvalue()


def import_command(path: Path, *more: object) -> str:
    arguments = ("--format", "hpd", "--campaign", "past", "--generator-pattern", PATTERN)
    return run("import_choices", path, *arguments, *more)


def test_import_choices_prints_the_report_as_json(tmp_path: Path) -> None:
    report = json.loads(import_command(write_source(tmp_path / "hpd"), "--json"))

    assert report == {
        "prompts": 3,
        "images": 9,
        "choices": 7,
        "decided_pairs": 13,
        "annotators": 3,
        "generators": 3,
        "already_there": 0,
        "skipped": [],
        "left_out": {},
    }


def test_import_choices_tells_people_what_came_in_and_what_was_there(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")

    assert import_command(folder, "--name", "Past choices") == (
        "Imported 7 choices (13 decided pairs) by 3 new people into 'past': "
        "3 new prompts, 9 new images, 3 new generators.\n"
    )
    assert import_command(folder) == (
        "Imported 0 choices (0 decided pairs) by 0 new people into 'past': "
        "0 new prompts, 0 new images, 0 new generators.\n7 choices were there already.\n"
    )
    assert Campaign.objects.get().name == "Past choices"


def test_import_choices_dry_run_writes_nothing(tmp_path: Path) -> None:
    output = import_command(write_source(tmp_path / "hpd"), "--dry-run")

    assert output.startswith("Would import 7 choices")
    assert (Vote.objects.count(), Campaign.objects.count()) == (0, 0)


def test_import_choices_lists_what_it_left_out(tmp_path: Path) -> None:
    train = good_train()
    train[1]["human_preference"] = 7
    folder = write_source(tmp_path / "hpd", train=train)
    reason = "human_preference is 7, but its 3 images count from 0 to 2"

    with pytest.raises(CommandError, match=f"1 record is bad, nothing was imported: .*record 2: {reason}"):
        import_command(folder)
    assert import_command(folder, "--skip-bad", "--dry-run").splitlines()[1:] == [
        "Left out 1 bad record:",
        f"  preference_train.json, record 2: {reason}",
    ]
    assert json.loads(import_command(folder, "--skip-bad", "--json"))["skipped"] == [
        {"file": "preference_train.json", "record": 2, "reason": reason}
    ]


def test_import_choices_knows_only_formats_that_it_can_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"invalid choice: 'xml' \(choose from '?csv'?, '?discord'?, '?hpd'?, "):
        run("import_choices", tmp_path, "--format", "xml", "--campaign", "past")


def test_import_choices_fails_in_one_line_with_status_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "import_choices", tmp_path / "none", "--format", "hpd", "--campaign", "past"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"CommandError: {tmp_path}/none cannot be read: No such file or directory.\n"


def test_bar_is_silent_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.show("checking images", 1, 2)

    assert capfd.readouterr() == ("", "")


def test_export_choices_tells_what_it_wrote_and_left_out(tmp_path: Path) -> None:
    import_command(write_source(tmp_path / "hpd"))

    assert run("export_choices", tmp_path / "out", "--campaign", "past", "--format", "hpd") == (
        f"Exported 7 votes on 9 images to {tmp_path / 'out'}.\n"
    )
    Vote.objects.filter(pk=Vote.objects.order_by("pk")[0].pk).update(outcome="tie", image=None)
    assert run("export_choices", tmp_path / "out2", "--campaign", "past", "--format", "hpd") == (
        f"Exported 6 votes on 9 images to {tmp_path / 'out2'}.\n"
        "Left out, for hpd has no form for them: 1 tie. The csv form holds them.\n"
    )
    report = run("export_choices", tmp_path / "out.csv", "--campaign", "past", "--format", "csv", "--json")
    sha256 = Snapshot.objects.latest("pk").sha256
    assert json.loads(report) == {"votes": 7, "images": 9, "left_out": {}, "snapshot": sha256}


def test_export_choices_needs_a_campaign_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no campaign 'none'; the admin lists them all"):
        run("export_choices", tmp_path / "out", "--campaign", "none", "--format", "csv")


def test_export_choices_says_why_it_cannot(tmp_path: Path) -> None:
    make_campaign(slug="mine")

    with pytest.raises(CommandError, match="is there already; name another path"):
        run("export_choices", tmp_path, "--campaign", "mine", "--format", "csv")
