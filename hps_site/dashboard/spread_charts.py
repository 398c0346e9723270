"""Where scores lie about the mean of their prompt, as bars: those preferred, those non-preferred, and the others."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hps_site.dashboard.charts import MARGIN_PERCENT, Tick, round_ticks

HEIGHT, TOP, BASELINE = 200, 12, 166
KINDS = ("others", "non_preferred", "preferred")
"""From the baseline upwards."""


@dataclass(frozen=True)
class Piece:
    """The part of a bar that is of one kind."""

    kind: str
    count: int
    y: float
    height: float


@dataclass(frozen=True)
class SpreadBar:
    """The images whose scores lie between two distances from the mean."""

    low: float
    high: float
    counts: dict[str, int]
    x: float
    width: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class SpreadChart:
    """A histogram; horizontal places in percent of the width, vertical ones in pixels."""

    bars: tuple[SpreadBar, ...]
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    height: int = HEIGHT
    baseline: int = BASELINE


def spread_chart(spread: Mapping[str, Any]) -> SpreadChart | None:
    """Stacked bars of `worker.models.Labelling.spread`; None where nothing was scored."""
    if not spread:
        return None
    edges: Sequence[float] = spread["edges"]
    start, end = edges[0], edges[-1]
    totals = [sum(counts) for counts in zip(*(spread[kind] for kind in KINDS), strict=True)]
    rows = round_ticks(0, max(totals), at_most=4, whole=True)

    def x(score: float) -> float:
        return round(MARGIN_PERCENT + (100 - 2 * MARGIN_PERCENT) * (score - start) / (end - start), 3)

    def y(count: float) -> float:
        return round(BASELINE - (BASELINE - TOP) * count / rows[-1], 2)

    bars = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        counts = {kind: spread[kind][number] for kind in KINDS}
        bars.append(SpreadBar(low, high, counts, x(low), round(0.9 * (x(high) - x(low)), 3), _stacked(counts, y)))
    inside = [tick for tick in round_ticks(start, end, at_most=8) if start <= tick <= end]
    return SpreadChart(
        bars=tuple(bars),
        rows=tuple(Tick(y(tick), f"{tick:.0f}", "start") for tick in rows),
        columns=tuple(Tick(x(tick), f"{tick:+g}".replace("-", "−") if tick else "0") for tick in inside),
    )


def _stacked(counts: Mapping[str, int], y: Callable[[float], float]) -> tuple[Piece, ...]:
    pieces, below = [], 0
    for kind in KINDS:
        if counts[kind]:
            top = y(below + counts[kind])
            pieces.append(Piece(kind, counts[kind], top, round(y(below) - top, 2)))
        below += counts[kind]
    return tuple(pieces)
