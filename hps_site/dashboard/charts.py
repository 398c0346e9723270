"""Where everything stands in a chart: templates draw the SVG on the server, without JavaScript.

Horizontal places are percentages of the chart's width and vertical ones are pixels, so that a chart is as wide as its
column while its letters keep their size on a phone.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

# Room at both ends, for dots and for the first and last label of an axis.
MARGIN_PERCENT = 1.5

BARS_HEIGHT, BARS_TOP, BARS_BASELINE = 200, 22, 172
MAX_BARS = 62

ROW_HEIGHT, ROW_LABEL_DROP, ROW_DOT_DROP = 46, 16, 30
REFERENCE_LABEL_HEIGHT = 20
WHISKER = 4
AXIS_HEIGHT = 34

# As a share, past a reference line.
ROOM = 0.02
# An axis narrower than this would tell nothing apart.
LEAST_SPAN = 0.01


@dataclass(frozen=True)
class Tick:
    """A line across the chart with its label."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True)
class DayLabel:
    """A day below the chart; the template writes it as the reader's language does."""

    at: float
    day: date
    anchor: str


@dataclass(frozen=True)
class Bar:
    """The votes of one day, or of one week where there are many days."""

    first_day: date
    last_day: date
    count: int
    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True)
class BarChart:
    """Counts over time."""

    bars: list[Bar]
    lines: list[Tick]
    labels: list[DayLabel]
    height: int = BARS_HEIGHT
    baseline: int = BARS_BASELINE

    @property
    def highest(self) -> int:
        return max((bar.count for bar in self.bars), default=0)

    @property
    def is_weekly(self) -> bool:
        return bool(self.bars) and self.bars[0].first_day != self.bars[0].last_day


@dataclass(frozen=True)
class Interval:
    """One row to draw: an estimate and its interval, in the unit of the axis."""

    label: str
    value: float
    low: float
    high: float
    text: str
    is_marked: bool = False


@dataclass(frozen=True)
class Reference:
    """A line to measure the rows against, with an interval of its own where it is an estimate."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class IntervalRow:
    """One row, placed."""

    label: str
    text: str
    x: float
    left: float
    right: float
    label_y: float
    dot_y: float
    is_marked: bool

    @property
    def whisker_top(self) -> float:
        return self.dot_y - WHISKER

    @property
    def whisker_bottom(self) -> float:
        return self.dot_y + WHISKER


@dataclass(frozen=True)
class ReferenceLine:
    """One reference, placed."""

    label: str
    x: float
    label_y: float
    anchor: str
    kind: int
    band_x: float | None
    band_width: float | None

    @property
    def line_y(self) -> float:
        """The line begins below its label's first letters, so that several labels can stand above each other."""
        return self.label_y - 11


@dataclass(frozen=True)
class IntervalChart:
    """Dots with their intervals, one below the other, on one axis."""

    rows: list[IntervalRow]
    references: list[ReferenceLine]
    ticks: list[Tick]
    top: int
    bottom: int
    height: int

    @property
    def bands_height(self) -> int:
        return self.bottom - self.top


def daily_bars(counts: Mapping[date, int]) -> BarChart:
    """Bars of the counts of each day from the first to the last, empty days included; of each week beyond 62 days."""
    if not counts:
        return BarChart(bars=[], lines=[], labels=[])
    periods = _periods(min(counts), max(counts))
    totals = [sum(counts.get(day, 0) for day in _days(first, last)) for first, last in periods]
    ticks = round_ticks(0, max(totals), at_most=4, whole=True)
    step = (100 - 2 * MARGIN_PERCENT) / len(periods)
    # A single day would otherwise be one slab from edge to edge.
    width = min(step * 0.8, 8.0)

    def y(count: float) -> float:
        return round(BARS_BASELINE - (BARS_BASELINE - BARS_TOP) * count / ticks[-1], 2)

    bars = [
        Bar(
            first_day=first,
            last_day=last,
            count=total,
            x=round(MARGIN_PERCENT + step * (index + 0.5) - width / 2, 3),
            width=round(width, 3),
            y=y(total),
            height=round(BARS_BASELINE - y(total), 2),
        )
        for index, ((first, last), total) in enumerate(zip(periods, totals, strict=True))
    ]
    lines = [Tick(at=y(tick), label=f"{tick:.0f}", anchor="start") for tick in ticks]
    return BarChart(bars=bars, lines=lines, labels=_day_labels(bars))


def spark_bars(counts: Sequence[int], *, height: int = 28) -> list[Bar]:
    """Small bars without an axis: the last days in a row of a table."""
    highest = max([*counts, 1])
    step = 100 / max(len(counts), 1)
    return [
        Bar(
            first_day=date.min,
            last_day=date.min,
            count=count,
            x=round(step * (index + 0.15), 3),
            width=round(step * 0.7, 3),
            y=round(height - _spark_height(count, highest, height), 2),
            height=_spark_height(count, highest, height),
        )
        for index, count in enumerate(counts)
    ]


def interval_chart(
    intervals: Sequence[Interval], references: Sequence[Reference] = (), *, as_percent: bool = True
) -> IntervalChart:
    """Rows and reference lines on one axis that holds all of them; percentages start at 0, log-worths lie about it."""
    edges = [edge for row in intervals for edge in (row.low, row.high)]
    # A line at the very end of the axis would run through the figures that stand there.
    room = ROOM if as_percent else 0.0
    edges += [edge for line in references for edge in (line.value + room, line.low, line.high) if edge is not None]
    lowest, highest = (0.0, min(max(edges, default=1.0), 1.0)) if as_percent else (min(edges), max(edges))
    ticks = round_ticks(lowest, highest, at_most=6)
    start, end = ticks[0], ticks[-1]

    def x(value: float) -> float:
        share = (min(max(value, start), end) - start) / (end - start)
        return round(MARGIN_PERCENT + (100 - 2 * MARGIN_PERCENT) * share, 3)

    top = REFERENCE_LABEL_HEIGHT * len(references)
    bottom = top + ROW_HEIGHT * len(intervals)
    return IntervalChart(
        rows=[
            IntervalRow(
                label=row.label,
                text=row.text,
                x=x(row.value),
                left=x(row.low),
                right=x(row.high),
                label_y=top + ROW_HEIGHT * index + ROW_LABEL_DROP,
                dot_y=top + ROW_HEIGHT * index + ROW_DOT_DROP,
                is_marked=row.is_marked,
            )
            for index, row in enumerate(intervals)
        ],
        references=[_place_reference(line, index, x) for index, line in enumerate(references)],
        ticks=[
            Tick(at=x(tick), label=_tick_label(tick, ticks, as_percent=as_percent), anchor=_anchor(index, len(ticks)))
            for index, tick in enumerate(ticks)
        ],
        top=top,
        bottom=bottom,
        height=bottom + AXIS_HEIGHT,
    )


def round_ticks(low: float, high: float, *, at_most: int, whole: bool = False) -> list[float]:
    """Evenly spaced round numbers that hold `low` and `high` between the first and the last."""
    step = _round_step(max(high - low, LEAST_SPAN) / at_most)
    while True:
        if whole:
            step = max(math.ceil(step), 1)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        last = max(last, first + 1)
        if last - first <= at_most:
            return [round(index * step, 10) for index in range(first, last + 1)]
        step = _round_step(step * 1.01)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 and their multiples by ten that is no smaller."""
    magnitude = 10.0 ** math.floor(math.log10(least))
    return next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= least * (1 - 1e-9))


def _periods(first: date, last: date) -> list[tuple[date, date]]:
    """Days from the first to the last, or weeks from Monday to Sunday where there are too many days."""
    days = (last - first).days + 1
    if days <= MAX_BARS:
        return [(day, day) for day in _days(first, last)]
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    return [(monday + timedelta(weeks=week), monday + timedelta(weeks=week, days=6)) for week in range(weeks)]


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=index) for index in range((last - first).days + 1))


def _day_labels(bars: list[Bar]) -> list[DayLabel]:
    """The first day, the last and the one between; every day where there are at most four."""
    indices = range(len(bars)) if len(bars) <= 4 else (0, len(bars) // 2, len(bars) - 1)
    return [
        DayLabel(
            at=round(bars[index].x + bars[index].width / 2, 3),
            day=bars[index].first_day,
            anchor="middle" if len(bars) <= 4 else _anchor(index, len(bars)),
        )
        for index in indices
    ]


def _spark_height(count: int, highest: int, height: int) -> float:
    # A day with one vote among days with thousands still shows.
    return round(max(height * count / highest, 1.5 if count else 0.5), 2)


def _place_reference(line: Reference, index: int, x: Callable[[float], float]) -> ReferenceLine:
    at = x(line.value)
    band = None if line.low is None or line.high is None else (x(line.low), x(line.high))
    return ReferenceLine(
        label=line.label,
        x=at,
        label_y=REFERENCE_LABEL_HEIGHT * index + 13,
        anchor="start" if at < 50 else "end",
        kind=index + 1,
        band_x=band[0] if band else None,
        band_width=round(band[1] - band[0], 3) if band else None,
    )


def _anchor(index: int, count: int) -> str:
    if index == 0:
        return "start"
    return "end" if index == count - 1 else "middle"


def _tick_label(tick: float, ticks: list[float], *, as_percent: bool) -> str:
    step = ticks[1] - ticks[0]
    if as_percent:
        return f"{tick * 100:.{_decimals(step * 100)}f} %"
    return f"{tick:.{_decimals(step)}f}".replace("-", "−")


def _decimals(step: float) -> int:
    """Digits that tell two neighbouring ticks apart."""
    return next((digits for digits in range(6) if math.isclose(step, round(step, digits), rel_tol=1e-6)), 6)
