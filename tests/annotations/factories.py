"""Small worlds for tests: people, prompts, tiny pictures, and campaigns with tasks and open slots."""

import hashlib
import io
import itertools
from typing import Any

import PIL.Image
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from annotations.models import (
    Annotator,
    Campaign,
    Candidate,
    Generator,
    Image,
    Invite,
    Prompt,
    Recruitment,
    Slot,
    Task,
    image_path,
)
from annotations.services.tasks import matchup_of

_numbers = itertools.count(1)


def number() -> int:
    """A number that no other thing made here has."""
    return next(_numbers)


def picture_bytes(*, colour: tuple[int, int, int] | None = None, size: tuple[int, int] = (24, 16)) -> bytes:
    """A tiny PNG of one colour; without `colour`, each call gives another one."""
    count = number()
    colour = colour or (count * 47 % 256, count * 89 % 256, count // 256 % 256)
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def make_user(username: str = "", *, is_staff: bool = False, is_superuser: bool = False) -> User:
    """A person with an account, by default without a usable password (quick: nothing is hashed)."""
    username = username or f"person-{number()}"
    return User.objects.create(username=username, password="!", is_staff=is_staff, is_superuser=is_superuser)


def make_annotator(username: str = "", **fields: Any) -> Annotator:
    """A person with an account who votes; `user=None` makes one without an account."""
    fields.setdefault("source", Annotator.Source.REGISTERED)
    if "user" not in fields:
        fields["user"] = make_user(username)
    return Annotator.objects.create(**fields)


def make_annotators(count: int) -> list[Annotator]:
    """Many people without accounts, in one statement."""
    return Annotator.objects.bulk_create(Annotator(source=Annotator.Source.SIMULATED) for _ in range(count))


def make_prompt(text: str = "", **fields: Any) -> Prompt:
    return Prompt.objects.create(text=text or f"a quiet harbour at dawn, number {number()}", **fields)


def make_generator(name: str = "", **fields: Any) -> Generator:
    return Generator.objects.create(name=name or f"generator-{number()}", **fields)


def make_image(*, prompt: Prompt | None = None, has_file: bool = True, **fields: Any) -> Image:
    """A stored picture; `has_file=False` leaves the file out, for tests that never look at it."""
    content = fields.pop("content", None) or picture_bytes()
    width, height = PIL.Image.open(io.BytesIO(content)).size
    image = Image(
        prompt=prompt or make_prompt(),
        sha256=hashlib.sha256(content).hexdigest(),
        format=Image.Format.PNG,
        width=width,
        height=height,
        **fields,
    )
    if has_file:
        image.file.save("picture.png", ContentFile(content), save=False)
    else:
        image.file.name = image_path(image, "")
    image.save()
    return image


def make_campaign(
    *, images: int = 2, tasks: int = 3, votes_per_task: int = 1, has_files: bool = False, **fields: Any
) -> Campaign:
    """A running campaign of `tasks` tasks with `images` candidates and `votes_per_task` open slots each."""
    count = number()
    fields = {
        "slug": f"campaign-{count}",
        "name": f"Campaign {count}",
        "state": Campaign.State.RUNNING,
        "candidates": images,
        "votes_per_task": votes_per_task,
        **fields,
    }
    campaign = Campaign.objects.create(**fields)
    for _ in range(tasks):
        make_task(campaign=campaign, images=images, has_files=has_files)
    return campaign


def make_task(
    *,
    campaign: Campaign,
    images: int | list[Image] = 2,
    votes: int | None = None,
    prompt: Prompt | None = None,
    purpose: Task.Purpose = Task.Purpose.REGULAR,
    expected: Image | None = None,
    repeats: Task | None = None,
    has_files: bool = False,
) -> Task:
    """One task with its candidates and open slots; `images` is a number or the images themselves.

    Of a gold or practice task the first image is the obvious answer unless `expected` says otherwise; a probe without
    `repeats` repeats a task made for it.
    """
    prompt = prompt or make_prompt()
    if isinstance(images, int):
        images = [make_image(prompt=prompt, has_file=has_files) for _ in range(images)]
    if purpose in {Task.Purpose.GOLD, Task.Purpose.PRACTICE}:
        expected = expected or images[0]
    if purpose == Task.Purpose.PROBE:
        repeats = repeats or make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
    task = Task.objects.create(
        campaign=campaign,
        prompt=prompt,
        purpose=purpose,
        expected=expected,
        repeats=repeats,
        matchup=matchup_of(images),
        candidates_hash=Task.hash_of([image.pk for image in images]),
    )
    Candidate.objects.bulk_create(
        Candidate(task=task, image=image, position=position) for position, image in enumerate(images)
    )
    Slot.objects.bulk_create(
        Slot(
            campaign=campaign,
            task=task,
            number=position,
            sort_key=number() * 7919 % 100_003,
            matchup=task.matchup,
        )
        for position in range(campaign.votes_per_task if votes is None else votes)
    )
    return task


def make_invite(campaign: Campaign, **fields: Any) -> Invite:
    return Invite.objects.create(campaign=campaign, **fields)


def make_recruitment(campaign: Campaign, **fields: Any) -> Recruitment:
    """A study at Prolific with places for everybody, three votes wanted and one code for all."""
    fields = {"panel": "prolific", "votes_wanted": 3, "completion_code": "C0DE", "screen_out_code": "0UT", **fields}
    recruitment = Recruitment(campaign=campaign, **fields)
    recruitment.full_clean()
    recruitment.save()
    return recruitment
