"""The figures of a run or version as rows of a table."""

from tests.worker.test_training import estimate
from worker.figures import Figure, figures_of


def test_figures_of_puts_the_known_ones_first_and_names_the_version_in_use() -> None:
    metrics = {
        "something_new": estimate(0.1),
        "chance": estimate(0.5),
        "top_one": estimate(0.725, 0.7, 0.75),
        "in_use": {"version": "hps-1", "top_one": estimate(0.7), "difference": estimate(-0.02, -0.05, 0.01)},
        "verdict": "words",
        "loss": 0.3,
    }

    figures = figures_of(metrics)

    assert [figure.label for figure in figures] == [
        "This version",
        "Chance",
        "Version in use at that time",
        "Difference to that version",
        "something new",
    ]
    assert figures[0] == Figure("This version", "", "72.5 %", "70.0 % to 75.0 %", 100, "choices")
    assert (figures[3].value, figures[3].interval) == ("−2.0 points", "−5.0 points to +1.0 points")


def test_figures_of_a_figure_without_a_value_gives_the_reason() -> None:
    assert figures_of({"human_ceiling": estimate(None)}) == [
        Figure("Human ceiling", "", "not known", "no votes", 100, "")
    ]
