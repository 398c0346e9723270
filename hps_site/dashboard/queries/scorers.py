"""Metrics against people: how often each scorer picks the image that a person chose, on held-out prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from annotations.models import Campaign, Candidate, Split
from hps_site.dashboard.queries.ballots import NothingToReport
from scoring import agreement, metrics
from scoring.metrics import Estimate
from scoring.preferences import Choice
from worker.models import ImageScore, ModelVersion
from worker.queries import scoring_versions

Family = ModelVersion.Family

# In the order of the report: the base, the other metrics (those of one's own among them), what was learnt from votes.
FIRST, LAST = [Family.CLIP, Family.AESTHETIC], Family.HPS

Standing = Literal["base", "ahead", "behind", "no difference shown", "not compared"]


@dataclass(frozen=True)
class ScorerResult:
    """How one scorer version does against people."""

    version: ModelVersion
    accuracy: Estimate
    """Top-1 of n: how often the image with the highest score is the one that was chosen."""
    difference: Estimate | None
    """To base CLIP on the choices that both have scored; None for base CLIP itself and where it has scored nothing."""
    choices: int
    """Held-out choices of which every image has a score."""
    prompts: int
    is_base: bool

    @property
    def is_highlighted(self) -> bool:
        """The HPS in use: the one that the site lives by."""
        return self.version.is_current and self.version.family == Family.HPS

    @property
    def standing(self) -> Standing:
        """Where the scorer stands beside base CLIP: ahead or behind only where the whole interval is."""
        if self.is_base:
            return "base"
        if self.difference is None or self.difference.value is None:
            return "not compared"
        shown = metrics.verdict(self.difference, against=0.0)
        return {"preferred": "ahead", "not preferred": "behind"}.get(shown, "no difference shown")  # type: ignore[return-value]


@dataclass(frozen=True)
class MissingScores:
    """A version in use that has not scored all the images of the held-out choices."""

    version: ModelVersion
    choices: int
    """Held-out choices that wait for scores."""


@dataclass(frozen=True)
class ScorerReport:
    """All scorers against people on the same held-out choices."""

    results: list[ScorerResult]
    chance: Estimate
    ceiling: Estimate
    """Leave-one-out: how often the favourite of the others is what a person chose."""
    choices: int
    """Held-out choices of an image whose pixels are here; ties and 'all bad' name none and are not among them."""
    prompts: int
    set_sizes: list[int]
    """Images per choice, each size that occurs."""
    missing: list[MissingScores]
    families_without_version: list[Family]
    """Of base CLIP and HPS, those of which there is no version at all."""

    @property
    def measure(self) -> str:
        """The name of the number, such as `top-1 of 4`."""
        if not self.set_sizes:
            return "top-1 of n"
        smallest, largest = self.set_sizes[0], self.set_sizes[-1]
        return f"top-1 of {smallest}" if smallest == largest else f"top-1 of {smallest} to {largest}"

    def require_choices(self) -> None:
        """Do nothing where there is something to measure on.

        Raises:
            NothingToReport: there is no held-out choice.
        """
        if not self.choices:
            raise NothingToReport(
                "Nobody has chosen an image of a held-out prompt yet (one in five is): collect more votes."
            )


def compare_scorers(campaigns: Sequence[Campaign], choices: Sequence[Choice], *, seed: int = 0) -> ScorerReport:
    """Every scorer version that has scored held-out candidates, beside chance and the human ceiling.

    Args:
        campaigns: whose candidates were scored.
        choices: counted votes of these campaigns, from `ballots.read_choices`.
        seed: of the intervals' resampling.

    Returns:
        Results in the order CLIP, aesthetic, HPS, then by number. Three SQL statements.
    """
    elsewhere = images_without_pixels(campaigns)
    held_out = [
        choice
        for choice in choices
        if choice.is_decided and choice.split == "test" and elsewhere.isdisjoint(choice.images)
    ]
    versions = scorer_versions()
    scores = read_scores(campaigns, versions, [Split.TEST])
    base = base_version(versions)
    results = [_result(version, base, held_out, scores, seed=seed) for version in versions if scores.get(version.pk)]
    covered = {result.version.pk: result.choices for result in results}
    return ScorerReport(
        results=[result for result in results if result.choices],
        chance=metrics.chance_level(held_out),
        ceiling=agreement.human_ceiling(held_out, seed=seed),
        choices=len(held_out),
        prompts=count_prompts(held_out),
        set_sizes=sorted({len(choice.images) for choice in held_out}),
        missing=[
            MissingScores(version=version, choices=len(held_out) - covered.get(version.pk, 0))
            for version in versions
            if (version.is_current or version == base) and covered.get(version.pk, 0) < len(held_out)
        ],
        families_without_version=[
            family for family in (Family.CLIP, Family.HPS) if family not in {version.family for version in versions}
        ],
    )


def _result(
    version: ModelVersion,
    base: ModelVersion | None,
    held_out: Sequence[Choice],
    scores: dict[int, dict[str, float]],
    *,
    seed: int,
) -> ScorerResult:
    mine = scores[version.pk]
    scored = scored_by(held_out, mine)
    difference = None
    if base is not None and version != base and scores.get(base.pk):
        theirs = scores[base.pk]
        shared = scored_by(scored, theirs)
        difference = metrics.top_one_difference(
            shared, numbers(shared, mine), numbers(shared, theirs), seed=seed, name="top-1 of n, ahead of base CLIP"
        )
    return ScorerResult(
        version=version,
        accuracy=metrics.top_one_accuracy(scored, numbers(scored, mine), seed=seed),
        difference=difference,
        choices=len(scored),
        prompts=count_prompts(scored),
        is_base=version == base,
    )


def scorer_versions() -> list[ModelVersion]:
    """All scorers in the order of the report."""
    return sorted(scoring_versions(), key=_place)


def _place(version: ModelVersion) -> tuple[int, str, int]:
    places = [*map(str, FIRST), "", str(LAST)]
    place = places.index(version.family) if version.family in places else places.index("")
    return place, version.family, version.number


def versions_in_use() -> list[ModelVersion]:
    """The scorers in use and base CLIP, in the order of the report."""
    versions = scorer_versions()
    base = base_version(versions)
    return [version for version in versions if version.is_current or version == base]


def base_version(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """The CLIP in use, or the first there was."""
    clips = [version for version in versions if version.family == Family.CLIP]
    return next((version for version in clips if version.is_current), clips[0] if clips else None)


def read_scores(
    campaigns: Sequence[Campaign], versions: Sequence[ModelVersion], splits: Sequence[Split]
) -> dict[int, dict[str, float]]:
    """By version, the score of each candidate of these splits that has one, by the image's id as text."""
    candidates = Candidate.objects.filter(task__campaign__in=campaigns, task__prompt__split__in=splits)
    rows = ImageScore.objects.filter(version__in=versions, image__in=candidates.order_by().values("image"))
    scores: dict[int, dict[str, float]] = {}
    for version, image, value in rows.values_list("version_id", "image_id", "value"):
        scores.setdefault(version, {})[str(image)] = value
    return scores


def images_without_pixels(campaigns: Sequence[Campaign]) -> set[str]:
    """Ids, as texts, of the candidates that no scorer can ever see."""
    candidates = Candidate.objects.filter(task__campaign__in=campaigns, image__file="")
    return set(map(str, candidates.order_by().values_list("image", flat=True)))


def scored_by(choices: Sequence[Choice], scores: Mapping[str, float]) -> list[Choice]:
    """The choices of which every image has a score."""
    return [choice for choice in choices if all(image in scores for image in choice.images)]


def numbers(choices: Sequence[Choice], scores: Mapping[str, float]) -> list[list[float]]:
    """The scores of each choice's images, in their order."""
    return [[scores[image] for image in choice.images] for choice in choices]


def count_prompts(choices: Sequence[Choice]) -> int:
    """How many prompts there are among the choices."""
    return len({choice.prompt for choice in choices})
