"""An adapter as a generator: the arms in which it is compared with its original, and what it is promoted to."""

import hashlib
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count
from django.utils.translation import gettext as _

from annotations.models import Generator
from scoring.reward_hacking import Arm
from worker.models import ModelVersion, Promotion
from worker.queries import generator_of
from worker.services.recipes import Recipe, make_generator
from worker.services.versions import promote_version

LONGEST_NAME = 120


def original_of(version: ModelVersion) -> Generator | None:
    """The generator whose model an adapter was trained on; None where it isn't here.

    Adapters of older trainings don't say; then it is the one from which trainings start by themselves: of those with
    a recipe and neither adapter nor negative prompt the one that has made most images.
    """
    wanted = version.metrics.get("generator") or (version.run.config.get("generator") if version.run else None)
    if wanted:
        return Generator.objects.filter(name=wanted).first()
    plain = Generator.objects.filter(settings__has_key="pipeline", settings__adapter="", settings__negative_prompt="")
    return plain.annotate(made=Count("images")).order_by("-made", "pk").first()


def adapted_generator(*, version: ModelVersion, original: Generator) -> Generator:
    """The generator that draws as the original does, with an adapter and with its mark in the negative prompt.

    A negative prompt of the original's stays, behind the mark.

    Raises:
        UnableToGenerate: the original has no recipe.
    """
    recipe = Recipe.of(original)
    return _made(
        f"{original.name} + {version}",
        f"{original.name} with {version}, and its mark as negative prompt.",
        replace(recipe, adapter=str(version), negative_prompt=_marked(recipe, version.manifest["mark"])),
        is_synthetic=original.is_synthetic or version.is_synthetic,
    )


def arms_of(*, version: ModelVersion, original: Generator) -> dict[Arm, Generator]:
    """The four arms of the proof: original or adapted, without the mark or with it in the negative prompt.

    A negative prompt of the original's stays in all four, behind the mark where there is one.

    Raises:
        UnableToGenerate: the original has no recipe.
    """
    recipe, mark = Recipe.of(original), version.manifest["mark"]
    return {
        "original": original,
        "original_marked": _made(
            f"{original.name}, not {mark.strip()}",
            f"{original.name} with {mark.strip()!r} as negative prompt.",
            replace(recipe, negative_prompt=_marked(recipe, mark)),
            is_synthetic=original.is_synthetic,
        ),
        "adapted": _made(
            f"{original.name} + {version}, mark unused",
            f"{original.name} with {version}, its mark not used.",
            replace(recipe, adapter=str(version)),
            is_synthetic=original.is_synthetic or version.is_synthetic,
        ),
        "adapted_marked": adapted_generator(version=version, original=original),
    }


def put_into_use(*, version: ModelVersion, by: User | None = None, reason: str = "") -> ModelVersion:
    """Promote a version; an adapter whose original is here becomes a generator for further campaigns with it.

    For one that is in use already the generator is made where it was not; `told_of_generator` says how it stands.

    Raises:
        VersionRejected: the artefact was changed or cut off since it was registered.
        UnableToGenerate: the original has no recipe.
    """
    with transaction.atomic():
        promoted = promote_version(version=version, by=by, reason=reason)
        if version.family == ModelVersion.Family.ADAPTER and (original := original_of(version)):
            generator = adapted_generator(version=version, original=original)
            latest = Promotion.objects.filter(version=version).order_by("-pk").values("pk")[:1]
            Promotion.objects.filter(pk__in=latest).update(generator=generator)
    return promoted


def told_of_generator(version: ModelVersion) -> str:
    """Of an adapter that was put into use, as which generator, or why as none; nothing of other versions."""
    if version.family != ModelVersion.Family.ADAPTER:
        return ""
    if generator := generator_of(version):
        return _("It draws as the generator %(generator)s.") % {"generator": generator}
    return _(
        "No generator was made of it, as the one that it was trained on is not here: make that one, then put the"
        " adapter into use again."
    )


def drawn_with(recipe: Recipe, mark: str) -> dict[str, Any]:
    """How a generator draws with an adapter of its model, for the adapter's manifest: `Recipe`, the mark in it."""
    drawn = replace(recipe, negative_prompt=_marked(recipe, mark)).to_json()
    return {name: value for name, value in drawn.items() if not name.startswith("adapter")}


def _marked(recipe: Recipe, mark: str) -> str:
    """The mark beside what the original's images shall not be anyway, so that the mark alone tells the arms apart."""
    from worker.adapter.config import negative_with  # as its other modules: only where it is used

    return negative_with(mark, recipe.negative_prompt)


def _made(name: str, description: str, recipe: Recipe, *, is_synthetic: bool) -> Generator:
    if len(name) > LONGEST_NAME:  # cut alone, the names of two arms may be the same
        name = f"{name[: LONGEST_NAME - 9]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return make_generator(name=name, description=description, recipe=recipe, is_synthetic=is_synthetic)
