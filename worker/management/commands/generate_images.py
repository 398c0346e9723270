"""Make images of prompts with a generator, from the terminal."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from worker.generation.schedulers import SCHEDULERS  # noqa: TID253 - names alone, nothing of torch
from worker.management.run_command import RunCommand, campaign_of
from worker.models import Run
from worker.services.generation_runs import RECIPE_FIELDS, wish_of
from worker.services.prompt_files import read_prompts
from worker.services.recipes import PRECISIONS, FieldRejected, Recipe


class Command(RunCommand):
    help = "Make images of prompts with a generator; images that are there already are not made again."
    kind = Run.Kind.GENERATION

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--generator", metavar="NAME", required=True, help="who draws")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--prompts", metavar="FILE", type=Path, help="text with one prompt per line, or .jsonl with prompt and tags"
        )
        source.add_argument("--tag", metavar="TAG", default="", help="the prompts that have a tag")
        source.add_argument("--campaign", metavar="SLUG", help="the prompts of a campaign's tasks")
        parser.add_argument("--per-prompt", metavar="N", type=int, default=4, help="images of each prompt")
        new = parser.add_argument_group("a generator that is not there yet")
        new.add_argument("--pipeline", metavar="NAME", help="a base model, a folder of diffusers, or owner/name")
        new.add_argument("--scheduler", metavar="NAME", help=f"the pipeline's own, or one of {', '.join(SCHEDULERS)}")
        new.add_argument("--steps", metavar="N", type=int, help=f"denoising steps; {Recipe.steps}")
        new.add_argument("--guidance", metavar="X", type=float, help=f"classifier-free guidance; {Recipe.guidance}")
        new.add_argument("--negative-prompt", metavar="TEXT", help="what images shall not be")
        new.add_argument("--width", metavar="PIXELS", type=int, help="a multiple of 8; as the model was trained")
        new.add_argument("--height", metavar="PIXELS", type=int, help="as --width")
        new.add_argument("--adapter", metavar="VERSION", help="such as adapter-3")
        new.add_argument("--adapter-scale", metavar="X", type=float, help="1: as trained; 0: none of it")
        new.add_argument("--precision", metavar="NAME", help=f"of the weights: one of {', '.join(PRECISIONS)}")
        new.add_argument("--synthetic", action="store_true", help="its images are of the toy world")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        recipe = {name: options[name] for name in RECIPE_FIELDS if options[name] is not None}
        config: dict[str, Any] = {"generator": options["generator"], "per_prompt": options["per_prompt"], **recipe}
        if options["synthetic"]:
            config["is_synthetic"] = True
        if options["tag"]:
            config["tag"] = options["tag"]
        campaign = campaign_of(options["campaign"]) if options["campaign"] else None
        try:
            if options["prompts"]:
                config["prompts"] = [prompt.to_json() for prompt in read_prompts(*_file(options["prompts"]))]
            wish_of(config, campaign)
        except FieldRejected as error:
            raise CommandError(_as_option(error)) from error
        self.perform(options, config, campaign)

    def result(self, run: Run) -> str:
        made, kept, hidden = (run.metrics[name] for name in ("made", "kept", "hidden"))
        faults = ", ".join(f"{count} {fault}" for fault, count in run.metrics["faults"].items())
        hidden = f"{hidden} of the new ones are hidden: {faults}." if hidden else "None is hidden."
        return f"{made} images made, {kept} there already. {hidden}"


def _file(path: Path) -> tuple[str, bytes]:
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from error


def _as_option(error: FieldRejected) -> str:
    return f"--{error.field.replace('_', '-')}: {error.reason}"
