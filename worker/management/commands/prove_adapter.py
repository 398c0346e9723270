"""Measure an adapter against its original on held-out prompts, from the terminal."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from worker.management.run_command import RunCommand, campaign_of, lines_of, settings_of
from worker.models import Run


class Command(RunCommand):
    help = (
        "Draw held-out prompts in four arms (original and adapted, without the mark and with it as negative prompt),"
        " and measure HPS, CLIP, aesthetic score, FID, KID, variety and closeness to training images."
    )
    kind = Run.Kind.PROOF

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("version", metavar="VERSION", help="such as adapter-3")
        parser.add_argument("--generator", metavar="NAME", help="the original; by default the one that was trained on")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--prompts", metavar="FILE", type=Path, help="a file with one held-out prompt a line")
        source.add_argument("--campaign", metavar="SLUG", help="held-out prompts of a campaign's tasks")
        parser.add_argument("--count", metavar="N", type=int, help="prompts at most")
        parser.add_argument("--per-prompt", metavar="N", type=int, help="images of each prompt and arm")
        parser.add_argument(
            "--reference", metavar="NAME", help="a generator or a folder whose images FID and KID are measured to"
        )
        parser.add_argument("--inception", metavar="FILE", help="weights of Inception v3, as FID is defined")
        parser.add_argument("--config", metavar="JSON", default="{}", help="further settings, such as the sweep's")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings_of(options["config"]) | {"version": options["version"]}
        for name in ("generator", "count", "per_prompt", "reference", "inception"):
            if options[name] is not None:
                config[name] = options[name]
        if options["prompts"]:
            config["prompts"] = lines_of(options["prompts"])
        campaign = campaign_of(options["campaign"]) if options["campaign"] else None
        self.perform(options, config, campaign)

    def result(self, run: Run) -> str:
        proof = run.metrics
        synthetic = " (synthetic)" if run.is_synthetic else ""
        lines = [f"{proof['version']} against {proof['original']}, {proof['prompts']} prompts{synthetic}"]
        lines += [f"  {_line(score)}" for score in proof["scores"]]
        lines += [f"  {'hint' if found['is_hint'] else 'WARNING'}: {found['text']}" for found in proof["findings"]]
        return "\n".join([*lines, f"  {proof['verdict']}"])


def _line(score: dict[str, Any]) -> str:
    """One scorer's means, and what the adapted arm gains."""
    means = ", ".join(f"{arm.replace('_', ' ')} {mean:.3f}" for arm, mean in score["means"].items())
    gain = score["differences"]["adapted_marked"]
    low, high = gain["low"], gain["high"]
    interval = "" if low is None else f" [{low:+.3f}, {high:+.3f}]"
    return f"{score['scorer']}: {means}; adapted marked less original {gain['value']:+.3f}{interval}"
