"""Writes a batch of new choices: prompts, generators, images, people, and the votes with their done slots."""

from collections.abc import Sequence

from annotations.imports.pictures import FoundPicture
from annotations.imports.plan import Choice, Picture, Plan
from annotations.models import Campaign, Generator, Image, Prompt, Split
from annotations.services.archive import (
    PastChoice,
    get_or_create_imported_annotators,
    record_past_choices,
)
from annotations.services.images import (
    get_or_create_generators,
    get_or_create_prompts,
    record_images,
    unsaved_image,
    unsaved_reference,
)
from annotations.services.tasks import CandidateSet


def write(plan: Plan, campaign: Campaign, source: str) -> None:
    """Adds what is new; to be called in a transaction.

    Args:
        plan: of the choices to add.
        campaign: into which they go.
        source: the format's name, kept with new prompts.
    """
    choices = plan.choices
    if not choices:
        return
    prompts = written_prompts(choices, source)
    images = written_images(plan, prompts, is_synthetic=campaign.is_synthetic)
    annotators = get_or_create_imported_annotators(
        external_ids=[choice.external_id for choice in choices], is_synthetic=campaign.is_synthetic
    )
    past = []
    for choice in choices:
        judgement, shown = choice.judgement, [images[key] for key in choice.pictures]
        past.append(
            PastChoice(
                annotator=annotators[choice.external_id],
                candidates=CandidateSet(prompts[judgement.prompt], shown),
                outcome=judgement.outcome,
                chosen=None if judgement.chosen is None else shown[judgement.chosen],
                idempotency_key=choice.idempotency_key,
                voted_at=judgement.voted_at,
                shown_ms=judgement.shown_ms,
                hidden_ms=judgement.hidden_ms,
                is_too_fast=judgement.is_too_fast,
                instructions_version=judgement.instructions_version,
                details=judgement.details,
            )
        )
    record_past_choices(campaign=campaign, choices=past)


def written_prompts(choices: Sequence[Choice], source: str) -> dict[str, Prompt]:
    """All prompts; a new one has every tag that one of its records has."""
    tags: dict[tuple[str, Split | None], dict[str, None]] = {}
    for judgement in (choice.judgement for choice in choices):
        tags.setdefault((judgement.prompt, judgement.split), {}).update(dict.fromkeys(judgement.tags))
    alike: dict[tuple[tuple[str, ...], Split | None], list[str]] = {}
    for (text, split), names in tags.items():
        alike.setdefault((tuple(names), split), []).append(text)
    prompts: dict[str, Prompt] = {}
    for (tags_alike, split), texts in alike.items():
        prompts |= get_or_create_prompts(texts=texts, source=source, tags=tags_alike, split=split)
    return prompts


def written_images(plan: Plan, prompts: dict[str, Prompt], *, is_synthetic: bool) -> dict[Picture, Image]:
    found = {
        picture: found for choice in plan.choices for picture, found in zip(choice.pictures, choice.found, strict=True)
    }
    here = {picture: image for picture in found if (image := plan.present.image(picture)) is not None}
    missing = {picture: found[picture] for picture in found if picture not in here}
    names = [name for _text, name, _sha256 in missing if name is not None]
    generators = get_or_create_generators(names=names, is_synthetic=is_synthetic)
    unsaved = [
        unsaved_of(picture, prompts[text], None if name is None else generators[name])
        for (text, name, _sha256), picture in missing.items()
    ]
    return here | dict(zip(missing, record_images(images=unsaved), strict=True))


def unsaved_of(picture: FoundPicture, prompt: Prompt, generator: Generator | None) -> Image:
    if picture.file is not None:
        return unsaved_image(facts=picture.file.facts, prompt=prompt, generator=generator)
    return unsaved_reference(reference=picture.reference, sha256=picture.sha256, prompt=prompt, generator=generator)
