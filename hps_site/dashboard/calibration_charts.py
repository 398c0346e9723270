"""Where everything stands in a chart of probabilities against what was seen; places as in `charts`."""

from collections.abc import Sequence
from dataclasses import dataclass

from hps_site.dashboard.charts import AXIS_HEIGHT, MARGIN_PERCENT, Interval, Tick
from scoring.metrics import Estimate

# Room for the labels of the axis that goes upwards.
LEFT_PERCENT = 16.0
TOP, BOTTOM = 10, 210


@dataclass(frozen=True)
class CalibrationPoint:
    """One bin, placed; `low` and `high` are the ends of its interval in pixels from above."""

    x: float
    y: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class CalibrationChart:
    """What was said across, what was seen upwards, both from 0 to 1, and the line where the two are equal."""

    points: list[CalibrationPoint]
    error: Estimate
    columns: list[Tick]
    rows: list[Tick]
    left: float = LEFT_PERCENT
    right: float = 100 - MARGIN_PERCENT
    top: int = TOP
    bottom: int = BOTTOM
    height: int = BOTTOM + AXIS_HEIGHT


def calibration_chart(points: Sequence[tuple[Interval, float]], error: Estimate) -> CalibrationChart:
    """Observed shares with their intervals at the probabilities that were predicted.

    Args:
        points: the share of each bin, and its mean predicted probability.
        error: the expected calibration error.
    """

    def x(share: float) -> float:
        return round(LEFT_PERCENT + (100 - MARGIN_PERCENT - LEFT_PERCENT) * share, 3)

    def y(share: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * share, 2)

    shares = (0.0, 0.5, 1.0)
    return CalibrationChart(
        points=[
            CalibrationPoint(x=x(predicted), y=y(one.value), low=y(one.low), high=y(one.high), words=one.label)
            for one, predicted in points
        ],
        error=error,
        columns=[Tick(x(share), f"{share * 100:.0f} %", "end" if share == 1 else "middle") for share in shares],
        rows=[Tick(y(share), f"{share * 100:.0f} %", "start") for share in shares],
    )
