"""Train the preference classifier on the votes collected so far, from the terminal."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from worker.management.run_command import RunCommand, campaign_of, settings_of
from worker.models import Run

# The figures of the table, in its order.
FIGURES = {
    "top_one": "this version",
    "base_top_one": "base CLIP",
    "chance": "chance",
    "human_ceiling": "human ceiling",
    "top_one_difference": "difference to base CLIP",
    "pairwise": "this version, by pairs",
}


class Command(RunCommand):
    help = "Train the preference classifier on the votes collected so far, as a run that workers take up."
    kind = Run.Kind.CLASSIFIER

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--campaign", metavar="SLUG", default="", help="votes of one campaign; without it, of all")
        parser.add_argument("--config", metavar="JSON", default="{}", help="settings that differ from the preset's")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        campaign = campaign_of(options["campaign"]) if options["campaign"] else None
        self.perform(options, settings_of(options["config"]), campaign)

    def result(self, run: Run) -> str:
        synthetic = " (synthetic)" if run.is_synthetic else ""
        lines = [f"{getattr(run, 'version', run)}{synthetic}, on choices of prompts kept out of training:"]
        for name, label in FIGURES.items():
            if estimate := run.metrics.get(name):
                lines.append(f"  {label:<24} {_in_words(estimate)}")
        return "\n".join([*lines, run.metrics["verdict"]])


def _in_words(estimate: Mapping[str, Any]) -> str:
    """A figure as text, with its interval and on how many choices it rests."""
    if estimate["value"] is None:
        return f"not known: {estimate['reason']}"
    interval = f" [{estimate['low']:.1%} to {estimate['high']:.1%}]" if estimate["low"] is not None else ""
    return f"{estimate['name']} {estimate['value']:.1%}{interval}, {estimate['n']} {estimate['unit']}"
