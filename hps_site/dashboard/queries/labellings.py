"""What an adapter will learn from, as a page shows it: labellings, and the images of one, prompt by prompt."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.core.paginator import Page, Paginator
from django.db.models import Count, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext_lazy as _

from worker.models import Label, Labelling, LabelQuerySet, ModelVersion

PROMPTS_ON_A_PAGE = 12

KINDS = {
    "": (_("everything"), Q(kind__in=[*Label.LEARNT, Label.Kind.REJECTED])),
    "preferred": (_("preferred"), Q(kind=Label.Kind.PREFERRED)),
    "non_preferred": (_("non-preferred"), Q(kind=Label.Kind.NON_PREFERRED)),
    "struck_out": (_("struck out"), Q(struck_out_at__isnull=False)),
    "rejected": (_("rejected by people"), Q(kind=Label.Kind.REJECTED)),
    "spare": (_("non-preferred, not needed"), Q(kind=Label.Kind.SPARE)),
    "unusable": (_("blurred or blank"), Q(kind__in=[Label.Kind.BLURRED, Label.Kind.BLANK])),
}
"""Which images a prompt must have to be shown, by the name in the address."""

SOURCES = {"": _("anybody"), "hps": _("HPS"), "people": _("people")}

ORDERS = {
    "": (_("by prompt"), "image__prompt__text"),
    "unsure": (_("the least sure first"), "least"),
    "sure": (_("the surest first"), "-most"),
}


@dataclass(frozen=True)
class Wanted:
    """What of a labelling is shown."""

    kind: str = ""
    source: str = ""
    order: str = ""
    text: str = ""
    """Part of the prompt."""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> "Wanted":
        """From a page's address; words that mean nothing are passed over."""
        kind, source, order = (asked.get(name, "") for name in ("kind", "source", "order"))
        return cls(
            kind if kind in KINDS else "",
            source if source in SOURCES else "",
            order if order in ORDERS else "",
            asked.get("text", "").strip()[:200],
        )


@dataclass
class PromptRow:
    """The images of one prompt, those to be learnt from side by side."""

    prompt: str
    preferred: list[Label] = field(default_factory=list)
    non_preferred: list[Label] = field(default_factory=list)
    others: list[Label] = field(default_factory=list)
    """Images that no training learns from: rejected, not needed, blurred or blank."""


@dataclass(frozen=True)
class Left:
    """How many images a training would learn from."""

    preferred: int
    non_preferred: int
    struck_out: int


def labellings_by_age() -> QuerySet[Labelling]:
    """All labellings, the newest first, with how many images are left of each."""
    labels = Label.objects.filter(labelling=OuterRef("pk"))
    left = {kind: _number(labels.left().filter(kind=kind)) for kind in Label.LEARNT}
    struck_out = _number(labels.filter(struck_out_at__isnull=False))
    return Labelling.objects.select_related("run", "scorer").annotate(**left, struck_out=struck_out).order_by("-pk")


def left_in(labelling: Labelling) -> Left:
    """How many images are left to learn from; two SQL statements."""
    left = dict(labelling.labels.left().order_by().values_list("kind").annotate(Count("pk")))
    struck_out = labelling.labels.filter(struck_out_at__isnull=False).count()
    return Left(left.get(Label.Kind.PREFERRED, 0), left.get(Label.Kind.NON_PREFERRED, 0), struck_out)


def kind_counts(labelling: Labelling) -> dict[str, int]:
    """How many images there are of each kind, struck-out ones included."""
    rows = labelling.labels.order_by().values_list("kind").annotate(Count("pk"))
    return dict(rows)


def page_of_prompts(labelling: Labelling, wanted: Wanted, number: str | None) -> tuple[Page, list[PromptRow]]:  # type: ignore[type-arg]
    """One page of the prompts that have such images, with all images of these prompts; three SQL statements."""
    matching = _matching(labelling, wanted)
    prompts = matching.values("image__prompt", "image__prompt__text").annotate(
        least=Min("confidence"), most=Max("confidence")
    )
    ordered = prompts.order_by(ORDERS[wanted.order][1], "image__prompt")
    page = Paginator(ordered, PROMPTS_ON_A_PAGE).get_page(number)
    rows = {row["image__prompt"]: PromptRow(row["image__prompt__text"]) for row in page}
    labels = labelling.labels.filter(image__prompt__in=rows).select_related("image__generator", "struck_out_by")
    for label in labels.order_by("kind", "pk"):
        _column(rows[label.image.prompt_id], label).append(label)
    return page, list(rows.values())


def versions_trained_on(labelling: Labelling) -> QuerySet[ModelVersion]:
    """The adapters that were trained on it."""
    return ModelVersion.objects.filter(
        family=ModelVersion.Family.ADAPTER, manifest__labelling__id=str(labelling.public_id)
    ).order_by("number")


def _number(labels: LabelQuerySet) -> Subquery:
    return Subquery(labels.order_by().values("labelling").annotate(n=Count("pk")).values("n"))


def _matching(labelling: Labelling, wanted: Wanted) -> LabelQuerySet:
    labels = labelling.labels.filter(KINDS[wanted.kind][1])
    if wanted.source:
        labels = labels.filter(source=wanted.source)
    return labels.filter(image__prompt__text__icontains=wanted.text) if wanted.text else labels


def _column(row: PromptRow, label: Label) -> list[Label]:
    match label.kind:
        case Label.Kind.PREFERRED:
            return row.preferred
        case Label.Kind.NON_PREFERRED:
            return row.non_preferred
        case _:
            return row.others
