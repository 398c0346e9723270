"""The curves of a run, laid out for a drawing."""

import xml.etree.ElementTree as ET

import pytest
from django.template.loader import render_to_string

from worker.charts import line_chart, round_marks
from worker.queries import Curve


def test_line_chart_lays_out_steps_to_the_right_and_values_upwards() -> None:
    chart = line_chart(Curve("loss", ((0, 1.0), (50, 0.5), (100, 0.0))))

    assert chart.points == "56.0,12.0 342.0,102.0 628.0,192.0"
    assert (chart.title, chart.first, chart.last, chart.last_step) == ("Loss", "1", "0", 100)
    assert [tick.label for tick in chart.columns] == ["0", "50", "100"]
    svg = render_to_string("components/line_chart.html", {"chart": chart})
    assert ET.fromstring(svg.strip()).attrib["viewBox"] == "0 0 640 220"


@pytest.mark.parametrize("points", [((1, 0.5),), ((1, 0.5), (2, 0.5)), ((1, 0.0),), ((1, -3.0), (2, 1e9))])
def test_line_chart_of_one_point_or_a_level_line_stays_inside(points: tuple[tuple[int, float], ...]) -> None:
    chart = line_chart(Curve("loss", points))

    places = [float(place) for pair in chart.points.split() for place in pair.split(",")]
    assert all(0 <= place <= 640 for place in places)


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [(0.0, 1.0, [0.0, 0.5, 1.0]), (0.31, 0.69, [0.3, 0.4, 0.5, 0.6, 0.7]), (0.0, 0.0, [0.0, 0.5])],
)
def test_round_marks_enclose_the_range(low: float, high: float, marks: list[float]) -> None:
    assert round_marks(low, high) == pytest.approx(marks)
