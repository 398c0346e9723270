"""What is read in the machine's room: runs, their curves, model versions, and who is there to work."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator, Image, Vote
from scoring.metrics import Estimate
from worker.models import ModelVersion, Promotion, Rejection, Run, RunEvent, RunSample, Study

DEFAULT_QUEUE, GPU_QUEUE = "default", "gpu"

# Workers report every 10 seconds; three silences in a row mean that nobody is there.
PRESENCE_SECONDS = 30

LOG_LINES = 200
CURVE_POINTS = 200

TIMED_VOTES = 500
IMAGES_SHOWN = 12


# The settings there are to start from, by kind; the others need none.
PRESETS: dict[str, tuple[str, ...]] = {
    Run.Kind.CLASSIFIER: ("tiny", "paper", "hps2"),
    Run.Kind.AESTHETIC: ("tiny", "paper"),
    Run.Kind.LABELLING: ("tiny", "paper"),
    Run.Kind.ADAPTER: ("tiny", "paper"),
    Run.Kind.LEAVE_OUT: ("tiny", "paper", "hps2"),
}

# What a button can start on the page of runs; the others need to be told of what.
BUTTONS: dict[str, Any] = {
    Run.Kind.CLASSIFIER: _("Retrain classifier"),
    Run.Kind.LABELLING: _("Label images"),
    Run.Kind.ADAPTER: _("Train adapter"),
    Run.Kind.AESTHETIC: _("Train aesthetic head"),
}


@dataclass(frozen=True)
class Curve:
    """One figure of a run over its steps."""

    name: str
    points: tuple[tuple[int, float], ...]
    """(step, value), by step."""


@dataclass(frozen=True)
class SampleGrid:
    """What a model in training made of some prompts: a row for each prompt, a column for each look."""

    steps: tuple[int, ...]
    """Steps done before each look; 0 is the base model."""
    rows: tuple[tuple[str, tuple[RunSample | None, ...]], ...]
    """Each prompt with its samples, one for each of `steps`, or None where one is missing."""

    @property
    def size(self) -> int:
        """Samples in all: tells whether there are new ones."""
        return sum(sample is not None for _prompt, samples in self.rows for sample in samples)


def presence_key(queue: str) -> str:
    """Where in the cache the workers of a queue report."""
    return f"worker-present:{queue}"


def queue_of(kind: str) -> str:
    """Where runs of this kind wait: imports need no accelerator and do not stand behind trainings."""
    return DEFAULT_QUEUE if kind == Run.Kind.IMPORT else GPU_QUEUE


def is_worker_online(queue: str = GPU_QUEUE) -> bool:
    """Whether a worker of this queue reported in the last 30 seconds, or holds a run at this moment.

    While the cache is away only the second counts.
    """
    held = Run.objects.filter(state=Run.State.RUNNING, lease_until__gt=Now()).values_list("kind", flat=True)
    return any(queue_of(kind) == queue for kind in held) or bool(cache.get(presence_key(queue)))


def run_choices() -> dict[str, Any]:
    """What a form that opens runs offers: buttons by kind, presets, campaigns."""
    return {
        "run_buttons": BUTTONS.items(),
        "run_presets": list(dict.fromkeys(preset for kind in BUTTONS for preset in PRESETS[kind])),
        "run_campaigns": Campaign.objects.order_by("name"),
    }


def runs_by_age() -> QuerySet[Run]:
    """All runs, the newest first, with what a list shows of them."""
    return Run.objects.select_related("campaign", "requested_by", "version").order_by("-id")


def active_run(kind: str) -> Run | None:
    """The run of this kind that is queued or running, if there is one."""
    return Run.objects.active().filter(kind=kind).first()


def log_of(run: Run, limit: int = LOG_LINES) -> list[RunEvent]:
    """The last lines of a run's log, the oldest first."""
    lines = run.events.exclude(text="").order_by("-id")[:limit]
    return list(lines)[::-1]


def curves_of(run: Run, limit: int = CURVE_POINTS) -> list[Curve]:
    """The figures that a run reported, one curve per name, by name.

    Where a step was repeated by a later attempt, the later value holds. Long curves are thinned evenly to `limit`
    points, their last point kept.
    """
    curves: dict[str, dict[int, float]] = {}
    reported = run.events.filter(step__isnull=False).values_list("step", "metrics")
    for step, metrics in reported.iterator():
        for name, value in metrics.items():
            if step is not None and isinstance(value, int | float):
                curves.setdefault(name, {})[step] = float(value)
    return [Curve(name, _thinned(sorted(points.items()), limit)) for name, points in sorted(curves.items())]


def newest_images_of(run: Run, limit: int = IMAGES_SHOWN) -> list[Image]:
    """The images that a run of generation made last, hidden ones too, the newest first; of other runs none."""
    if run.kind != Run.Kind.GENERATION or run.started_at is None:
        return []
    made = Image.objects.filter(
        generator__name=run.config.get("generator", ""), created_at__gte=run.started_at, file__gt=""
    )
    if run.finished_at is not None:
        made = made.filter(created_at__lte=run.finished_at)
    return list(made.select_related("prompt").order_by("-pk")[:limit])


def samples_of(run: Run) -> SampleGrid | None:
    """The samples of a run, side by side; None where it made none."""
    samples = list(run.samples.select_related("run"))
    steps = sorted({sample.step for sample in samples})
    prompts = {sample.place: sample.prompt for sample in samples}
    by_place = {(sample.place, sample.step): sample for sample in samples}
    rows = tuple((prompts[place], tuple(by_place.get((place, step)) for step in steps)) for place in sorted(prompts))
    return SampleGrid(tuple(steps), rows) if samples else None


def versions_by_age() -> QuerySet[ModelVersion]:
    """All versions: by family, the newest first."""
    return ModelVersion.objects.select_related("run", "snapshot").order_by("family", "-number")


def scoring_versions() -> QuerySet[ModelVersion]:
    """All versions that give scores: every family but the adapters."""
    return ModelVersion.objects.exclude(family=ModelVersion.Family.ADAPTER)


def version_by_name(name: str) -> ModelVersion | None:
    """The version of a name such as `hps-3`, if there is one."""
    family, _dash, number = name.rpartition("-")
    return ModelVersion.objects.filter(family=family, number=int(number)).first() if number.isdecimal() else None


def current_version(family: str) -> ModelVersion | None:
    """The version of a family that is in use, if one is."""
    return ModelVersion.objects.current().filter(family=family).first()


def previous_version(family: str) -> ModelVersion | None:
    """The version to which a roll-back would return: the one in use before the current one.

    Promoting a version that was in use before counts as going back to it; rejected versions are passed over.
    """
    history: list[int] = []
    for version_id in Promotion.objects.filter(version__family=family).order_by("id").values_list("version", flat=True):
        if version_id in history:
            del history[history.index(version_id) :]
        history.append(version_id)
    standing = Rejection.objects.filter(taken_back_by=None).values("version")
    earlier = ModelVersion.objects.filter(pk__in=history, is_current=False).exclude(pk__in=standing)
    return max(earlier, key=lambda version: history.index(version.pk), default=None)


def generator_of(version: ModelVersion) -> Generator | None:
    """As which generator a version is in use by its latest promotion; None for scorers, and where none was made."""
    latest = version.promotions.select_related("generator").first()
    return latest.generator if latest else None


def rejection_of(version: ModelVersion) -> Rejection | None:
    """The decision against a version that stands."""
    return version.rejections.filter(taken_back_by=None).select_related("by").first()


def latest_proof(version: ModelVersion) -> Run | None:
    """The newest automatic proof of an adapter that succeeded."""
    proofs = Run.objects.filter(kind=Run.Kind.PROOF, state=Run.State.SUCCEEDED, config__version=str(version))
    return proofs.order_by("-id").first()


def generators_with_images() -> QuerySet[Generator]:
    """Generators that FID and KID can be measured to, by name: those with two images at least that can be shown."""
    shown = Count("images", filter=Q(images__is_hidden=False, images__file__gt=""))
    return Generator.objects.annotate(shown=shown).filter(shown__gte=2).order_by("name")


def run_of_study(study: Study) -> Run | None:
    """The run that made a study, whatever became of it afterwards; None where a command made it without one."""
    runs = Run.objects.filter(kind=Run.Kind.STUDY, config__slug=study.campaign.slug, metrics__has_key="left_out")
    return runs.order_by("-id").first()


def seconds_per_vote(*, is_synthetic: bool) -> float | None:
    """How long a person takes to choose between two images: median of the latest 500 votes; None without any."""
    votes = Vote.objects.counted().filter(
        task__campaign__candidates=2, task__campaign__is_synthetic=is_synthetic, shown_ms__isnull=False
    )
    times = [
        time for time in votes.order_by("-pk").values_list("shown_ms", flat=True)[:TIMED_VOTES] if time is not None
    ]
    return statistics.median(times) / 1000 if times else None


def mark_gains_of(version: ModelVersion) -> tuple[Estimate | None, Estimate | None]:
    """By which share of it the mark lowers the loss of held-out non-preferred and of preferred images, as training
    found it.
    """
    after = (version.metrics.get("mark") or {}).get("after") or {}
    return _gain(after.get("non_preferred")), _gain(after.get("preferred"))


def _gain(record: Mapping[str, Any] | None) -> Estimate | None:
    if not record:
        return None
    value, low, high = (
        None if record[part] is None else record[part] / record["unmarked_loss"]
        for part in ("gain", "gain_low", "gain_high")
    )
    return Estimate("gain of the mark", value, low, high, record["images"], "images")


def _thinned(points: Sequence[tuple[int, float]], limit: int) -> tuple[tuple[int, float], ...]:
    if len(points) <= limit:
        return tuple(points)
    last = len(points) - 1
    return tuple(points[round(place * last / (limit - 1))] for place in range(limit))
