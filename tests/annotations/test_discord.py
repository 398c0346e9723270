"""A Discord channel: which messages are choices, of what, and what is left out."""

import io
import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from annotations.imports.choices import Import, Report, import_choices
from annotations.imports.records import UnableToImport
from annotations.models import Annotator, Image, Vote
from tests.annotations.factories import picture_bytes

pytestmark = pytest.mark.django_db

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]


def message(
    number: int, author: str, content: str, *, reply_to: int | None = None, files: list[str] | None = None
) -> dict[str, Any]:
    """As DiscordChatExporter writes it; the bots are known by their names."""
    written: dict[str, Any] = {
        "id": str(number),
        "type": "Default" if reply_to is None else "Reply",
        "timestamp": f"2023-01-10T12:{number % 60:02}:00.000+00:00",
        "content": content,
        "author": {"id": f"9{author}", "name": author, "isBot": author in {"DreamBotMothership", "Midjourney Bot"}},
        "attachments": [
            {"id": f"{number}{place}", "url": f"media/{name}", "fileName": name, "fileSizeBytes": 100}
            for place, name in enumerate(files or [])
        ],
        "embeds": [],
    }
    if reply_to is not None:
        written["reference"] = {"messageId": str(reply_to), "channelId": "1", "guildId": "2"}
    return written


def write_channel(folder: Path, messages: list[dict[str, Any]], name: str = "channel.json") -> Path:
    """The export with its media: one plain picture for each file that a message names."""
    (folder / "media").mkdir(parents=True, exist_ok=True)
    files = [one["fileName"] for written in messages for one in written["attachments"]]
    for place, file in enumerate(files):
        if not (folder / "media" / file).exists():
            (folder / "media" / file).write_bytes(picture_bytes(colour=(20 * place % 256, 90, place)))
    channel = {"guild": {"id": "2", "name": 'a "messages": [ server'}, "channel": {"id": "1"}, "messages": messages}
    (folder / name).write_text(json.dumps(channel | {"messageCount": len(messages)}))
    return folder


def write_grid(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = PIL.Image.new("RGB", (32, 32))
    for place, colour in enumerate(COLOURS):
        grid.paste(colour, (place % 2 * 16, place // 2 * 16, place % 2 * 16 + 16, place // 2 * 16 + 16))
    grid.save(path)


def read(folder: Path, rules: str, **options: Any) -> Report:
    return import_choices(Import(folder, "discord", "chat", rules=rules, **options))


def colour_of(image: Image) -> tuple[int, ...]:
    with image.file.open() as file:
        return PIL.Image.open(io.BytesIO(file.read())).getpixel((8, 8))


def dreams() -> list[dict[str, Any]]:
    four = ["a.png", "b.png", "c.png", "d.png"]
    return [
        message(1, "ada", '!dream "a cat on a mat" -n 4 -S 7'),
        message(2, "DreamBotMothership", "here it is", reply_to=1, files=four),
        message(3, "ada", "3", reply_to=2),
        message(4, "ben", "#1!", reply_to=2),
        message(5, "ben", "lovely, all of them", reply_to=2),
        message(6, "ada", "2", reply_to=2),
        message(7, "ada", '!dream "a dog" -n 2'),
        message(8, "DreamBotMothership", "", reply_to=7, files=["SPOILER_e.png", "f.png"]),
        message(9, "ada", "1", reply_to=8),
        message(10, "cleo", '!dream "a cow" --init_image https://example.org/x.png'),
        message(11, "DreamBotMothership", "", reply_to=10, files=["g.png", "h.png"]),
        message(12, "cleo", "1", reply_to=5),
        message(13, "cleo", '!dream "my own picture" ', files=["mine.png"]),
        message(14, "DreamBotMothership", "", reply_to=13, files=["i.png", "j.png"]),
    ]


def test_a_reply_with_a_number_is_a_choice_of_what_it_replies_to(tmp_path: Path) -> None:
    report = read(write_channel(tmp_path / "chat", dreams()), "dreambot")

    assert (report.prompts, report.images, report.choices, report.decided_pairs, report.annotators) == (1, 4, 2, 6, 2)
    assert report.left_out == {
        "another choice of the same set by the same person": 1,
        "a generation behind a spoiler mark": 1,
        "a choice of a generation that is left out": 1,
        "a generation made from another image": 2,
        "a choice that refers to no generation": 1,
    }
    votes = Vote.objects.order_by("pk")
    assert [(vote.task.prompt.text, vote.order.index(vote.image_id)) for vote in votes] == [
        ("a cat on a mat", 2),
        ("a cat on a mat", 0),
    ]
    assert votes[0].created_at.isoformat() == "2023-01-10T12:03:00+00:00"


def test_nobody_is_known_by_their_discord_id(tmp_path: Path) -> None:
    read(write_channel(tmp_path / "chat", dreams()), "dreambot")

    assert not any("9ada" in name or "9ben" in name for name in Annotator.objects.values_list("external_id", flat=True))


def test_a_second_time_adds_nothing_and_parts_are_read_as_one(tmp_path: Path) -> None:
    messages = dreams()
    folder = write_channel(tmp_path / "chat", messages[:2], "channel [part 2].json")
    write_channel(folder, messages[2:], "channel [part 10].json")

    first, second = read(folder, "dreambot"), read(folder, "dreambot")

    assert (first.choices, second.choices, second.already_there) == (2, 0, 2)


def test_a_grid_is_split_into_its_tiles_from_left_to_right_and_down(tmp_path: Path) -> None:
    write_grid(tmp_path / "chat" / "media" / "grid.png")
    folder = write_channel(
        tmp_path / "chat",
        [
            message(1, "Midjourney Bot", "**a harbour --v 5.2** - <@77> (fast)", files=["grid.png"]),
            message(2, "Midjourney Bot", "**a harbour --v 5.2** - Image #3 <@77>", reply_to=1, files=["up.png"]),
            message(3, "Midjourney Bot", "**a harbour --v 5.2** - Image #2 <@78>", reply_to=1, files=["up.png"]),
            message(4, "Midjourney Bot", "**https://x.org/y.png a boat** - <@77> (fast)", files=["grid.png"]),
        ],
    )

    report = read(folder, "midjourney")

    assert (report.images, report.choices, report.left_out) == (4, 2, {"a generation made from another image": 1})
    first = Vote.objects.order_by("pk")[0]
    assert first.task.prompt.text == "a harbour"
    images = Image.objects.in_bulk(first.order)
    assert [colour_of(images[pk]) for pk in first.order] == COLOURS
    assert first.image_id == first.order[2]


def test_a_choice_that_refers_to_nothing_is_resolved_by_prompt_and_person(tmp_path: Path) -> None:
    write_grid(tmp_path / "chat" / "media" / "grid.png")
    folder = write_channel(
        tmp_path / "chat",
        [
            message(1, "Midjourney Bot", "**a harbour** - <@77> (fast)", files=["grid.png"]),
            message(2, "Midjourney Bot", "**a harbour** - Image #4 <@77>", files=["up.png"]),
            message(3, "Midjourney Bot", "**a harbour** - Image #4 <@99>", files=["up.png"]),
        ],
    )

    report = read(folder, "midjourney")

    assert (report.choices, report.left_out) == (1, {"a choice that refers to no generation": 1})


def test_without_images_the_tiles_have_names_alone(tmp_path: Path) -> None:
    messages = [
        message(1, "Midjourney Bot", "**a harbour** - <@77> (fast)", files=["grid.png"]),
        message(2, "Midjourney Bot", "**a harbour** - Image #1 <@77>", reply_to=1, files=["up.png"]),
    ]
    folder = write_channel(tmp_path / "chat", messages)

    report = read(folder, "midjourney", takes_pixels=False)

    assert report.choices == 1
    assert set(Image.objects.values_list("reference", "file")) == {(f"10#{place}", "") for place in range(1, 5)}


@pytest.mark.parametrize(
    ("content", "files", "reason"),
    [
        ("5", ["a.png", "b.png", "c.png", "d.png"], "it chooses image 5 of 4 (channel.json, record 2)"),
        ("1", ["../../outside.png", "b.png"], "is no path below the image folder"),
        ("1", ["alone.txt"], "it chooses among 1 images"),
    ],
)
def test_a_bad_choice_is_named(tmp_path: Path, content: str, files: list[str], reason: str) -> None:
    messages = [
        message(1, "ada", '!dream "a cat"'),
        message(2, "DreamBotMothership", "", reply_to=1, files=files),
        message(3, "ada", content, reply_to=2),
    ]

    with pytest.raises(UnableToImport) as caught:
        read(write_channel(tmp_path / "deep" / "chat", messages), "dreambot")

    assert "channel.json, record 3: " in str(caught.value)
    assert reason in str(caught.value)


def test_rules_of_ones_own_are_taken_and_wrong_ones_are_explained(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    good = (
        "[generation]\nauthor = 'Dream'\nprompt = ['\"(?P<prompt>.+)\"']\ngenerator = \"SD 1.4\"\n"
        "[choice]\nfrom = \"person\"\npattern = '^(?P<number>[1-4])$'\n"
    )
    own.write_text(good)
    folder = write_channel(tmp_path / "chat", dreams()[:4])
    assert (read(folder, str(own)).choices, Image.objects.values_list("generator__name", flat=True)[0]) == (1, "SD 1.4")

    wrong = {
        good.replace("(?P<number>[1-4])", "[1-4]"): r"own.toml: choice.pattern has no group \(\?P<number>…\)",
        good.replace("'Dream'", "'('"): "own.toml: generation.author is no regular expression",
        good.replace("author", "auther"): "own.toml: .generation. has no 'auther'; it has author, conditioned",
        good.replace('"person"', '"both"'): 'own.toml: choice.from is "person" or "bot", not \'both\'',
        "x": "own.toml is not TOML",
    }
    for text, reason in wrong.items():
        own.write_text(text)
        with pytest.raises(UnableToImport, match=reason):
            read(folder, str(own))
    with pytest.raises(
        UnableToImport, match=r"--rules '' is neither a preset \(dreambot, midjourney\) nor a TOML file"
    ):
        read(folder, "")
