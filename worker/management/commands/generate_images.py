"""Make images of prompts with a generator, from the terminal."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from annotations.models import Generator
from worker.management.run_command import RunCommand, campaign_of, lines_of
from worker.models import Run
from worker.services.generation import Recipe, UnableToGenerate, make_generator


class Command(RunCommand):
    help = "Make images of prompts with a generator; images that are there already are not made again."
    kind = Run.Kind.GENERATION

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--generator", metavar="NAME", required=True, help="who draws")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--prompts", metavar="FILE", type=Path, help="a text file with one prompt per line")
        source.add_argument("--campaign", metavar="SLUG", help="the prompts of a campaign's tasks")
        parser.add_argument("--per-prompt", metavar="N", type=int, default=4, help="images of each prompt")
        new = parser.add_argument_group("a generator that is not there yet")
        new.add_argument(
            "--pipeline", metavar="NAME", default="", help="name of a base model, or a folder of diffusers"
        )
        new.add_argument("--adapter", metavar="VERSION", default="", help="such as adapter-3")
        new.add_argument("--negative-prompt", metavar="TEXT", default="", help="what images shall not be")
        new.add_argument("--steps", metavar="N", type=int, default=50, help="denoising steps")
        new.add_argument("--guidance", metavar="X", type=float, default=7.5, help="classifier-free guidance")
        new.add_argument("--synthetic", action="store_true", help="its images are of the toy world")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        if options["per_prompt"] < 1:
            raise CommandError("--per-prompt must be at least 1.")
        generator = self._generator(options)
        config: dict[str, Any] = {"generator": generator.name, "per_prompt": options["per_prompt"]}
        if options["prompts"]:
            config["prompts"] = lines_of(options["prompts"])
        self.perform(options, config, campaign_of(options["campaign"]) if options["campaign"] else None)

    def result(self, run: Run) -> str:
        made, kept, hidden = (run.metrics[name] for name in ("made", "kept", "hidden"))
        return f"{made} images made, {kept} there already; {hidden} of the new ones are blank and hidden."

    def _generator(self, options: dict[str, Any]) -> Generator:
        name = options["generator"]
        if not options["pipeline"]:
            generator = Generator.objects.filter(name=name).first()
            if generator is None:
                raise CommandError(f"There is no generator {name!r}; to make one, say its --pipeline.")
            return generator
        try:
            recipe = Recipe(
                *(options[part] for part in ("pipeline", "adapter", "negative_prompt", "steps", "guidance"))
            )
            return make_generator(name=name, recipe=recipe, is_synthetic=options["synthetic"])
        except UnableToGenerate as error:
            raise CommandError(str(error)) from error
