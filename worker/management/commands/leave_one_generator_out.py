"""Whether the classifier is right about generators that it never saw, from the terminal."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from worker.management.run_command import RunCommand, campaign_of, settings_of
from worker.models import Run

# The columns of the table, in its order.
FIGURES = {
    "unseen_top_one": "without it",
    "seen_top_one": "on all",
    "base_top_one": "base CLIP",
    "unseen_difference": "without it - base",
    "seen_difference": "without it - all",
    "chance": "chance",
    "human_ceiling": "ceiling",
}

WIDTH = 24


class Command(RunCommand):
    help = (
        "For each generator: train the classifier without its images, and measure it on held-out choices that show it,"
        " beside base CLIP and the classifier trained on all. A run that workers take up; it registers no version."
    )
    kind = Run.Kind.LEAVE_OUT

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--campaign", metavar="SLUG", default="", help="votes of one campaign; without it, of all")
        parser.add_argument(
            "--config",
            metavar="JSON",
            default="{}",
            help="settings that differ from the preset's, and fewest_test, fewest_train (choices), most (generators)",
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        campaign = campaign_of(options["campaign"]) if options["campaign"] else None
        self.perform(options, settings_of(options["config"]), campaign)

    def result(self, run: Run) -> str:
        synthetic = " [synthetic]" if run.is_synthetic else ""
        rows = [*run.metrics["generators"], {**run.metrics, "generator": "all together"}]
        return "\n".join(
            [
                f"Top-1 of n on choices that show a generator, by models that never saw it{synthetic}",
                "".join(text.ljust(WIDTH) for text in ("left out", *FIGURES.values())).rstrip(),
                *(_line(row) for row in rows),
                *(f"Not left out: {one['generator']}. {one['reason']}" for one in run.metrics["passed_over"]),
                run.metrics["verdict"],
            ]
        )


def _line(row: Mapping[str, Any]) -> str:
    cells = [f"{row['generator']} ({row['unseen_top_one']['n']})", *(_in_words(row[name]) for name in FIGURES)]
    return "".join(cell.ljust(WIDTH) for cell in cells).rstrip()


def _in_words(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    interval = f" [{estimate['low']:.1%}, {estimate['high']:.1%}]" if estimate["low"] is not None else ""
    return f"{estimate['value']:.1%}{interval}"
