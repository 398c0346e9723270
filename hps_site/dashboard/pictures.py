"""Reports turned into charts: which rows, which lines to hold them against, and what is written beside each."""

from collections.abc import Sequence
from typing import TypeVar

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from annotations.queries.quality import PersonFigures
from hps_site.dashboard.calibration_charts import CalibrationChart, calibration_chart
from hps_site.dashboard.charts import (
    Interval,
    IntervalChart,
    Reference,
    interval_chart,
)
from hps_site.dashboard.queries.ballots import PositionReport
from hps_site.dashboard.queries.forecasts import Precision
from hps_site.dashboard.queries.scorers import ScorerReport
from hps_site.dashboard.queries.studies import StudyReport
from hps_site.dashboard.templatetags.figures import log_worth, percent
from scoring.calibration import Calibration
from scoring.metrics import Estimate
from scoring.rankings import RankedGenerator
from scoring.reliability import Places

T = TypeVar("T")


def scorer_chart(report: ScorerReport) -> IntervalChart | None:
    """Each scorer's top-1 accuracy beside chance and the human ceiling; None where nothing was scored."""
    rows = [_row(str(result.version), result.accuracy, is_marked=result.is_highlighted) for result in report.results]
    lines = [_line(_("chance"), report.chance), _line(_("human ceiling"), report.ceiling)]
    return interval_chart(_drawn(rows), _drawn(lines)) if report.results else None


def calibration_picture(calibration: Calibration) -> CalibrationChart:
    """Shares chosen at the probabilities that a scorer gave."""
    points = []
    for one in calibration.bins:
        words = _("%(predicted)s predicted, %(observed)s chosen of %(n)s") % {
            "predicted": percent(one.predicted),
            "observed": percent(one.observed.value),
            "n": number_format(one.observed.n, force_grouping=True),
        }
        row = _row(words, one.observed)
        if row is not None:
            points.append((row, one.predicted))
    return calibration_chart(points, calibration.error)


def ranking_chart(ranking: Sequence[RankedGenerator]) -> IntervalChart:
    """Log-worths about their mean, the best first."""
    rows = [
        Interval(
            label=place.generator,
            value=place.log_worth,
            low=place.low,
            high=place.high,
            text=log_worth(place.log_worth),
            is_marked=True,
        )
        for place in ranking
    ]
    return interval_chart(rows, [Reference(_("mean of all"), 0.0)], as_percent=False)


def position_chart(report: PositionReport) -> IntervalChart:
    """The share of each place beside the share it has if places don't matter."""
    rows = [
        Interval(
            label=_("place %(number)s") % {"number": share.position},
            value=share.value,
            low=share.low,
            high=share.high,
            text=percent(share.value),
            is_marked=True,
        )
        for share in report.shares
    ]
    return interval_chart(
        rows, [Reference(_("even: %(share)s") % {"share": percent(report.even_share)}, report.even_share)]
    )


def places_chart(places: Places) -> IntervalChart:
    """How often each place was chosen, beside the share it has if places don't matter."""
    rows = [
        _row(_("place %(number)s") % {"number": place + 1}, places.share(place), is_marked=True)
        for place in range(len(places.chosen))
    ]
    even = _("even: %(share)s") % {"share": percent(places.even_share)}
    return interval_chart(_drawn(rows), [Reference(even, places.even_share)])


def person_chart(figures: PersonFigures) -> IntervalChart:
    """What tells whether one person looks."""
    rows = [
        _row(_("gold tasks right"), figures.gold, is_marked=True),
        _row(_("same answer to repeats"), figures.repeats, is_marked=True),
        _row(_("as the decided crowd"), figures.fit, is_marked=True),
        _row(_("reliability"), figures.reliability, is_marked=True),
    ]
    return interval_chart(_drawn(rows))


def study_chart(report: StudyReport) -> IntervalChart | None:
    """The share of votes, of all and of the prompts with each tag, beside one half; None before the first vote."""
    rows = [_row(_("all votes"), report.share, is_marked=True)]
    rows += [_row(one.tag, one.share) for one in report.tags]
    drawn = _drawn(rows)
    return interval_chart(drawn, [Reference(_("no difference: 50 %"), 0.5)]) if drawn else None


def pair_agreement_chart(report: StudyReport) -> IntervalChart | None:
    """Agreement of the scorers with people beside that of people with each other, on the same pairs."""
    rows = [_row(_("people with each other"), report.human_agreement, is_marked=True)]
    rows += [_row(str(one.version), one.agreement) for one in report.scorer_agreements]
    drawn = _drawn(rows)
    return interval_chart(drawn, [Reference(_("chance: 50 %"), 0.5)]) if drawn else None


def precision_chart(precision: Precision) -> IntervalChart:
    """The share between two generators with its interval now, and as wide as it is wanted."""
    share = precision.share
    middle = 0.5 if share.value is None else share.value
    rows = [_row(_("now, %(n)s votes") % {"n": number_format(share.n, force_grouping=True)}, share, is_marked=True)]
    wanted = Interval(
        label=_("wanted, %(n)s votes") % {"n": number_format(precision.needed, force_grouping=True)},
        value=middle,
        low=max(0.0, middle - precision.width / 2),
        high=min(1.0, middle + precision.width / 2),
        text=percent(middle),
    )
    return interval_chart(_drawn([*rows, wanted]), [Reference(_("no difference: 50 %"), 0.5)])


def _row(label: str, estimate: Estimate, *, is_marked: bool = False) -> Interval | None:
    if estimate.value is None:
        return None
    return Interval(
        label=label,
        value=estimate.value,
        # Without an interval (all choices are of one prompt) the dot stands alone.
        low=estimate.value if estimate.low is None else estimate.low,
        high=estimate.value if estimate.high is None else estimate.high,
        text=percent(estimate.value),
        is_marked=is_marked,
    )


def _line(label: str, estimate: Estimate) -> Reference | None:
    if estimate.value is None:
        return None
    return Reference(f"{label} {percent(estimate.value)}", estimate.value, estimate.low, estimate.high)


def _drawn(things: Sequence[T | None]) -> list[T]:
    return [thing for thing in things if thing is not None]
