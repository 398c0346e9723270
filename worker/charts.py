"""The curves of a run, laid out for a drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from worker.queries import Curve

CHART_WIDTH, CHART_HEIGHT = 640.0, 220.0
CHART_LEFT, CHART_RIGHT, CHART_TOP, CHART_BOTTOM = 56.0, 12.0, 12.0, 28.0

# The curves that are drawn, by the names under which performers report them.
CURVES: dict[str, Any] = {
    "loss": _("Loss"),
    "accuracy": _("Accuracy"),
    "learning_rate": _("Learning rate"),
}


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in the units of the drawing."""

    place: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """A curve laid out for a drawing of 640 by 220."""

    name: str
    title: str
    points: str
    """For an SVG polyline."""

    last_x: float
    last_y: float
    first: str
    last: str
    last_step: int
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]


def line_chart(curve: Curve) -> LineChart:
    """Lay out a curve: steps to the right, values upwards, round numbers at the axes."""
    steps, values = [step for step, _value in curve.points], [value for _step, value in curve.points]
    marks = round_marks(min(values), max(values))
    low, high = min(marks[0], *values), max(marks[-1], *values)
    last_step = max(steps[-1], 1)

    def across(step: float) -> float:
        return round(CHART_LEFT + (CHART_WIDTH - CHART_LEFT - CHART_RIGHT) * step / last_step, 1)

    def down(value: float) -> float:
        return round(CHART_TOP + (CHART_HEIGHT - CHART_TOP - CHART_BOTTOM) * (high - value) / (high - low), 1)

    return LineChart(
        name=curve.name,
        title=str(CURVES.get(curve.name, curve.name)),
        points=" ".join(f"{across(step)},{down(value)}" for step, value in curve.points),
        last_x=across(steps[-1]),
        last_y=down(values[-1]),
        first=f"{values[0]:.4g}",
        last=f"{values[-1]:.4g}",
        last_step=last_step,
        rows=tuple(Tick(down(mark), f"{mark:.4g}") for mark in marks),
        columns=tuple(Tick(across(step), f"{step:,}") for step in sorted({0, last_step // 2, last_step})),
    )


def round_marks(low: float, high: float, count: int = 4) -> Sequence[float]:
    """About `count` round numbers that enclose a range, at equal distances; never fewer than two."""
    span = (high - low) or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / count))
    distance = next(factor * size for factor in (1, 2, 5, 10) if factor * size * count >= span)
    first, last = math.floor(low / distance), math.ceil(high / distance)
    return [number * distance for number in range(first, max(last, first + 1) + 1)]
