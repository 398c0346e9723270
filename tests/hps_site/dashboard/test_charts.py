"""The places at which charts draw their bars, dots and lines."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_site.dashboard.calibration_charts import CalibrationPoint, calibration_chart
from hps_site.dashboard.charts import (
    Interval,
    Reference,
    daily_bars,
    interval_chart,
    round_ticks,
    spark_bars,
)
from scoring.metrics import Estimate


@pytest.mark.parametrize(
    ("low", "high", "at_most", "ticks"),
    [
        (0, 0.61, 6, [0, 0.2, 0.4, 0.6, 0.8]),
        (0, 0.5, 6, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (-0.7, 0.66, 6, [-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]),
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (2, 2, 4, [2, 2.0025]),
        (0, 0, 6, [0, 0.002]),
    ],
)
def test_round_ticks_are_round_and_hold_the_values(low, high, at_most, ticks):
    assert round_ticks(low, high, at_most=at_most) == ticks


def test_round_ticks_of_counts_are_whole():
    assert round_ticks(0, 3, at_most=4, whole=True) == [0, 1, 2, 3]
    assert round_ticks(0, 1, at_most=4, whole=True) == [0, 1]
    assert round_ticks(0, 7, at_most=4, whole=True) == [0, 2, 4, 6, 8]


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.integers(2, 8))
def test_round_ticks_hold_any_range_in_at_most_that_many_steps(low, span, at_most):
    ticks = round_ticks(low, low + span, at_most=at_most)

    assert ticks[0] <= low + 1e-6 * span
    assert ticks[-1] >= low + span - 1e-6 * span
    assert 2 <= len(ticks) <= at_most + 1


def test_daily_bars_draw_empty_days_too():
    chart = daily_bars({date(2026, 3, 1): 4, date(2026, 3, 3): 2})

    assert [(bar.first_day.day, bar.count, bar.height) for bar in chart.bars] == [
        (1, 4, 150.0),
        (2, 0, 0.0),
        (3, 2, 75.0),
    ]
    assert [bar.y + bar.height for bar in chart.bars] == [172, 172, 172]
    assert [line.label for line in chart.lines] == ["0", "1", "2", "3", "4"]
    assert [label.day.day for label in chart.labels] == [1, 2, 3]
    assert not chart.is_weekly


def test_daily_bars_stay_inside_the_chart():
    first = date(2026, 1, 1)

    bars = daily_bars({first + timedelta(days=day): day + 1 for day in range(60)}).bars

    assert bars[0].x >= 0
    assert bars[-1].x + bars[-1].width <= 100
    assert all(left.x + left.width <= right.x for left, right in pairwise(bars))


def test_daily_bars_of_many_days_are_weeks_from_monday():
    chart = daily_bars({date(2026, 1, 1): 1, date(2026, 1, 4): 2, date(2026, 1, 5): 3, date(2026, 4, 1): 7})

    assert chart.is_weekly
    assert [(bar.first_day, bar.last_day, bar.count) for bar in (*chart.bars[:2], chart.bars[-1])] == [
        (date(2025, 12, 29), date(2026, 1, 4), 3),
        (date(2026, 1, 5), date(2026, 1, 11), 3),
        (date(2026, 3, 30), date(2026, 4, 5), 7),
    ]


def test_daily_bars_without_votes_draw_nothing():
    assert daily_bars({}).bars == []


def test_spark_bars_show_one_vote_among_thousands():
    heights = [bar.height for bar in spark_bars([0, 1, 5000])]

    assert heights == [0.5, 1.5, 28.0]


def test_interval_chart_places_rows_and_references_on_one_axis():
    chart = interval_chart(
        [Interval("CLIP", 0.4, 0.3, 0.5, "40 %"), Interval("HPS", 0.6, 0.5, 0.7, "60 %", is_marked=True)],
        [Reference("chance", 0.25), Reference("ceiling", 0.65, 0.6, 0.7)],
    )

    assert [tick.label for tick in chart.ticks] == ["0 %", "20 %", "40 %", "60 %", "80 %"]
    assert [(row.left, row.x, row.right) for row in chart.rows] == [(37.875, 50.0, 62.125), (62.125, 74.25, 86.375)]
    assert [row.dot_y for row in chart.rows] == [70, 116]
    assert [(line.x, line.anchor, line.band_width) for line in chart.references] == [
        (31.812, "start", None),
        (80.312, "end", 12.125),
    ]
    assert (chart.top, chart.bottom, chart.height) == (40, 132, 166)


def test_interval_chart_has_room_past_a_line_for_the_figures_at_the_end():
    chart = interval_chart([Interval("a", 0.43, 0.39, 0.47, "43.0 %")], [Reference("no difference", 0.5)])

    assert [tick.label for tick in chart.ticks][-2:] == ["50 %", "60 %"]


def test_interval_chart_of_log_worths_has_both_signs():
    chart = interval_chart([Interval("a", -0.5, -0.9, -0.1, "")], [Reference("mean", 0)], as_percent=False)

    assert [tick.label for tick in chart.ticks] == ["−1.0", "−0.8", "−0.6", "−0.4", "−0.2", "0.0"]


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3).map(sorted), min_size=1, max_size=6))
def test_interval_chart_never_draws_outside(rows):
    chart = interval_chart([Interval("", value, low, high, "") for low, value, high in rows])

    assert all(0 <= row.left <= row.x <= row.right <= 100 for row in chart.rows)


def test_calibration_chart_places_what_is_right_on_the_line_from_corner_to_corner():
    halves = Interval("half", 0.5, 0.25, 0.75, "50 %")
    ends = [Interval("never", 0.0, 0.0, 0.0, "0 %"), Interval("always", 1.0, 1.0, 1.0, "100 %")]

    error = Estimate("expected calibration error", 0.0, 0.0, 0.1, 30, "images")

    chart = calibration_chart([(ends[0], 0.0), (halves, 0.5), (ends[1], 1.0)], error)

    assert chart.points == [
        CalibrationPoint(x=chart.left, y=chart.bottom, low=chart.bottom, high=chart.bottom, words="never"),
        CalibrationPoint(x=(chart.left + chart.right) / 2, y=110.0, low=160.0, high=60.0, words="half"),
        CalibrationPoint(x=chart.right, y=chart.top, low=chart.top, high=chart.top, words="always"),
    ]
    assert chart.error == error
    assert [tick.label for tick in chart.rows] == ["0 %", "50 %", "100 %"]
