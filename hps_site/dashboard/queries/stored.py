"""What workers found out about a campaign and left in their runs: long questions are asked once and shown again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from annotations.models import Campaign, Generator
from scoring.metrics import Estimate
from worker.models import Run
from worker.services.image_sets import SetReport


@dataclass(frozen=True)
class Stored:
    """One question about a campaign: the newest answer, and the run that works at the next one."""

    done: Run | None
    active: Run | None


@dataclass(frozen=True)
class UnseenFigures:
    """A model on generators that it never saw, beside one that did see them and the base, on the same choices."""

    unseen: Estimate
    seen: Estimate
    base: Estimate
    chance: Estimate
    ceiling: Estimate
    attainable: Estimate
    ahead_of_base: Estimate
    """The model that never saw it, less the base."""
    behind_seen: Estimate
    """The model that never saw it, less the one that did."""


@dataclass(frozen=True)
class UnseenGenerator:
    """One generator that was left out."""

    generator: str
    train_choices: int
    """Decided ones, left to train on."""
    test_choices: int
    prompts: int
    figures: UnseenFigures


@dataclass(frozen=True)
class GeneralisationReport:
    """Leave one generator out, as the newest run found it."""

    run: Run
    verdict: str
    pooled: UnseenFigures
    """Over all generators, a choice that shows several of them counting with each."""
    generators: list[UnseenGenerator]
    passed_over: list[Mapping[str, str]]
    """`generator` and `reason`."""


@dataclass(frozen=True)
class SetComparison:
    """Chosen against rejected images, as the newest run measured them."""

    run: Run
    report: SetReport

    @property
    def tested(self) -> list[str]:
        """The measures that could tell the sets apart, such as `FID to the reference`."""
        return [measure for measure, _ in self._tests()]

    @property
    def told_apart(self) -> list[str]:
        """Those of them that do: the whole interval of the difference lies beside 0, or p is below .05."""
        return [measure for measure, is_told_apart in self._tests() if is_told_apart]

    def _tests(self) -> list[tuple[str, bool]]:
        differences = [
            (
                one.name.split(",", 1)[0] + (" to the reference" if "to reference" in one.name else ""),
                not one.low <= 0 <= one.high,
            )
            for one in self.report.estimates
            if "chosen - rejected" in one.name and one.low is not None and one.high is not None
        ]
        distances = [
            (f"{one.name.split(',', 1)[0]} between the two", one.p_value < 0.05) for one in self.report.exchanges
        ]
        return differences + distances


def stored_results(campaign: Campaign) -> dict[str, Stored]:
    """By kind of run, what is known and what is being worked at; one SQL statement."""
    kinds = [Run.Kind.LEAVE_OUT, Run.Kind.SETS]
    runs = Run.objects.filter(Q(state=Run.State.SUCCEEDED) | Q(state__in=Run.ACTIVE), kind__in=kinds, campaign=campaign)
    newest = {(run.kind, run.is_active): run for run in runs.order_by("kind", "state", "-id").distinct("kind", "state")}
    return {str(kind): Stored(newest.get((kind, False)), newest.get((kind, True))) for kind in kinds}


def generalisation_report(run: Run | None) -> GeneralisationReport | None:
    """What a run of kind `leave_out` found; None of none."""
    if run is None:
        return None
    found = run.metrics
    return GeneralisationReport(
        run=run,
        verdict=found["verdict"],
        pooled=_figures(found),
        generators=[
            UnseenGenerator(
                generator=row["generator"],
                train_choices=row["train_choices"],
                test_choices=row["test_choices"],
                prompts=row["prompts"],
                figures=_figures(row),
            )
            for row in found["generators"]
        ],
        passed_over=found["passed_over"],
    )


def set_comparison(run: Run | None) -> SetComparison | None:
    """What a run of kind `sets` measured; None of none."""
    return None if run is None else SetComparison(run, SetReport.from_record(run.metrics))


def reference_names() -> list[str]:
    """The generators whose images both sets may be held against; one SQL statement."""
    return list(Generator.objects.order_by("name").values_list("name", flat=True))


def _figures(record: Mapping[str, Any]) -> UnseenFigures:
    return UnseenFigures(
        unseen=Estimate(**record["unseen_top_one"]),
        seen=Estimate(**record["seen_top_one"]),
        base=Estimate(**record["base_top_one"]),
        chance=Estimate(**record["chance"]),
        ceiling=Estimate(**record["human_ceiling"]),
        attainable=Estimate(**record["highest_attainable"]),
        ahead_of_base=Estimate(**record["unseen_difference"]),
        behind_seen=Estimate(**record["seen_difference"]),
    )
