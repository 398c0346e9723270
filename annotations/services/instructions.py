"""The wording under which people vote: each change is the next version, and none is ever edited."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from annotations.models import Campaign, Image, Instructions, InstructionsExample
from annotations.services.images import ImageItem, get_or_create_prompts, store_images

MAX_EXAMPLES = 6
SOURCE = "instructions"
EXAMPLE_PROMPT = "Pictures in instructions"


class InstructionsRejected(Exception):
    """What is no wording of a campaign; the message says what would be right. Nothing was changed."""


@dataclass(frozen=True)
class Example:
    """A picture that shows what is meant."""

    image: Image
    caption: str
    is_good: bool = True


@transaction.atomic
def revise_instructions(
    *,
    campaign: Campaign,
    question: str,
    text: str = "",
    examples: Sequence[Example] | None = None,
    by: AbstractBaseUser | None = None,
) -> Instructions:
    """The next version of a campaign's wording, or the present one where nothing has changed.

    Votes carry the number of the version under which they were given.

    Args:
        campaign: whose wording it is; its `question`, `instructions` and `instructions_version` follow.
        question: one line.
        text: plain text with line breaks, shown as it is.
        examples: in the order to show; None keeps those there are.
        by: who wrote it.

    Raises:
        InstructionsRejected: no question, too many examples, or one that people cannot see.
    """
    campaign.refresh_from_db(from_queryset=Campaign.objects.select_for_update(no_key=True))
    present = campaign.current_instructions or write_version(campaign=campaign, by=campaign.created_by)
    question, text = question.strip(), _tidied(text)
    shown = examples_of(present)
    wanted = shown if examples is None else list(examples)
    if (question, text, wanted) == (present.question, present.text, shown):
        return present
    _check(question, wanted)
    campaign.question, campaign.instructions = question, text
    campaign.instructions_version = present.number + 1
    campaign.save(update_fields=["question", "instructions", "instructions_version"])
    return write_version(campaign=campaign, examples=wanted, by=by)


@transaction.atomic
def write_version(
    *, campaign: Campaign, examples: Sequence[Example] = (), by: AbstractBaseUser | None = None
) -> Instructions:
    """Keep the wording that a campaign has now, under the number that it has; only where that number is new.

    Raises:
        InstructionsRejected: too many examples, or one that people cannot see.
    """
    _check(campaign.question, examples)
    written = Instructions.objects.create(
        campaign=campaign,
        number=campaign.instructions_version,
        question=campaign.question,
        text=_tidied(campaign.instructions),
        created_by_id=None if by is None else by.pk,
    )
    InstructionsExample.objects.bulk_create(
        InstructionsExample(
            instructions=written,
            image=example.image,
            caption=example.caption,
            is_good=example.is_good,
            position=position,
        )
        for position, example in enumerate(examples)
    )
    return written


def store_example_image(*, content: bytes) -> Image:
    """The picture of an example, checked as every image is; it belongs to no task.

    Raises:
        ImageRejected: it is no image that may be stored.
    """
    prompt = get_or_create_prompts(texts=[EXAMPLE_PROMPT], source=SOURCE)[EXAMPLE_PROMPT]
    return store_images(items=[ImageItem(content=content, prompt=prompt)])[0]


def examples_of(instructions: Instructions) -> list[Example]:
    """The pictures of a version, in the order in which they are shown."""
    return [
        Example(example.image, example.caption, example.is_good)
        for example in instructions.examples.select_related("image").order_by("position")
    ]


def _check(question: str, examples: Sequence[Example]) -> None:
    if not question.strip() or len(question) > 200:
        raise InstructionsRejected("The question is one line of at most 200 characters.")
    if len(examples) > MAX_EXAMPLES:
        raise InstructionsRejected(f"At most {MAX_EXAMPLES} examples are shown, not {len(examples)}.")
    for number, example in enumerate(examples, start=1):
        if not example.caption.strip() or len(example.caption) > 300:
            raise InstructionsRejected(f"Example {number} needs a caption of at most 300 characters.")
        if example.image.is_hidden:
            raise InstructionsRejected(f"The image of example {number} is hidden from annotators.")


def _tidied(text: str) -> str:
    return text.strip().replace("\r\n", "\n")
