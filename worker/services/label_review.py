"""A labelling after it was made: what people strike out of it, and what is left to learn from."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models.functions import Now

from worker.models import Label, Labelling

if TYPE_CHECKING:
    from worker.adapter.labelling import LabelledImage


class UnableToStrikeOut(ValueError):
    """No training learns from this image anyway."""


class UnknownLabelling(ValueError):
    """There is no such labelling; the message says which there are."""


def labelling_named(name: str) -> Labelling:
    """The labelling of a public id, or of the digits it begins with.

    Raises:
        UnknownLabelling: there is none, or more than one.
    """
    known = [str(public_id) for public_id in Labelling.objects.order_by("-pk").values_list("public_id", flat=True)]
    found = [public_id for public_id in known if name and public_id.startswith(name.lower())]
    if len(found) != 1:
        there = ", ".join(public_id[:8] for public_id in known[:5]) or "none yet; run label_images first"
        raise UnknownLabelling(f"There is no one labelling {name!r}; the latest are: {there}.")
    return Labelling.objects.select_related("scorer").get(public_id=UUID(found[0]))


def strike_out(*, label: Label, by: User) -> Label:
    """Keep an image out of trainings on this labelling; striking it out twice is harmless.

    Raises:
        UnableToStrikeOut: no training learns from it anyway.
    """
    if label.kind not in Label.LEARNT:
        raise UnableToStrikeOut(f"This image is {label.get_kind_display()}: no training learns from it anyway.")
    Label.objects.filter(pk=label.pk, struck_out_at=None).update(struck_out_at=Now(), struck_out_by=by)
    label.refresh_from_db()
    return label


def restore(*, label: Label) -> Label:
    """Let trainings on this labelling learn from an image again."""
    Label.objects.filter(pk=label.pk).update(struck_out_at=None, struck_out_by=None)
    label.refresh_from_db()
    return label


def left_of(labelling: Labelling) -> "list[LabelledImage]":
    """The images that are labelled and not struck out, in the order of their prompts."""
    from worker.adapter import labelling as selection  # slow import

    rows = labelling.labels.left().order_by("image__prompt__text", "image__public_id").select_related("image__prompt")
    return [
        selection.LabelledImage(
            image=str(row.image.public_id),
            prompt=row.image.prompt.text,
            label=selection.Label(row.kind),
            confidence=float(row.confidence or 0),
            group_size=row.group_size,
        )
        for row in rows.iterator(chunk_size=1000)
    ]


def figures_of(labelling: Labelling) -> dict[str, Any]:
    """Which labelling, by whom, what was looked at, and how many images of each kind there are; of those that are
    learnt from, how many are left, and how many are struck out.
    """
    made = Counter(labelling.labels.values_list("kind", flat=True))
    left = Counter(labelling.labels.left().values_list("kind", flat=True))
    return {
        "labelling": str(labelling.public_id),
        "sha256": labelling.sha256,
        "scorer": str(labelling.scorer) if labelling.scorer else None,
        "labels_from": labelling.settings["labels_from"],
        **labelling.counts,
        **{kind.value: left[kind] for kind in Label.LEARNT},
        **{kind.value: made[kind] for kind in Label.Kind if kind not in Label.LEARNT},
        "struck_out": labelling.labels.filter(struck_out_at__isnull=False).count(),
    }


def counted(figures: Mapping[str, Any]) -> str:
    """The figures of a labelling in one sentence."""
    by = {"hps": figures["scorer"], "both": f"people and {figures['scorer']}", "imported": "whoever labelled them"}
    left_out = {name: figures[name] for name in ("blurred", "blank", "struck_out") if figures.get(name)}
    others = "".join(f", {count} {name.replace('_', ' ')}" for name, count in left_out.items())
    return (
        f"Of {figures['images']} images, {figures['preferred']} are preferred and {figures['non_preferred']}"
        f" non-preferred by {by.get(figures['labels_from'], 'people')}{others}."
    )
