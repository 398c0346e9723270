"""The whole loop on the toy world: from a click to a better model, and the proof before people."""

from pathlib import Path
from typing import Any

from django.conf import settings

from annotations.models import Campaign, Generator, Prompt, Split
from annotations.services.images import get_or_create_prompts
from hps_site.demo import base_models, simulator, voters, world
from hps_site.demo.report import final_table
from hps_site.demo.steps import Ledger
from worker.models import ModelVersion, Run, Study
from worker.services.following import follow_run
from worker.services.generation import Recipe, make_generator
from worker.services.runs import open_run
from worker.services.studies import adapted_generator, create_study
from worker.services.versions import promote_version, register_base_models

Kind, Family = Run.Kind, ModelVersion.Family

PEOPLE = 12
PANEL_SEED = 7

ORIGINAL = "toy diffusion"
RECIPE = Recipe(pipeline="tiny-diffusion", steps=12, guidance=3.0)
ADAPTER: dict[str, Any] = {"generator": ORIGINAL}
LABELLED_PROMPTS = 300
IMAGES_PER_PROMPT = 4

STUDY_SLUG = "toy-study"
STUDY_PROMPTS = 120
STUDY_VOTES_PER_TASK = 8


def run_demo(ledger: Ledger) -> str:
    """Every step of the loop; what an earlier demo has done is found and not done again. Gives the table.

    Raises:
        RunFailed: a run of the worker did not succeed.
    """
    with ledger.step("Unpack the tiny base models"):
        base_models.unpack(Path(settings.HPS_SITE_HOME) / "base-models")
        register_base_models()
    with ledger.step("Draw the toy world"):
        campaign = world.draw_campaign()
    with ledger.step("Simulated annotators vote"):
        voters.vote_until_done(campaign=campaign, panel=simulator.panel(PEOPLE, PANEL_SEED))
    with ledger.step("Retrain the classifier in the worker"):
        train(Kind.CLASSIFIER, Family.HPS, campaign=campaign)
    with ledger.step("Train the aesthetic head in the worker"):
        train(Kind.AESTHETIC, Family.AESTHETIC, campaign=campaign)
    with ledger.step("Score the drawings with CLIP, aesthetic and HPS"):
        run_once(Kind.SCORING, campaign=campaign, config={"versions": versions_in_use()})
    with ledger.step("Generate images with the tiny diffusion model"):
        original = make_generator(
            name=ORIGINAL, recipe=RECIPE, description="The tiny Stable Diffusion of the toy world.", is_synthetic=True
        )
        generate(original, prompts=training_texts(), per_prompt=IMAGES_PER_PROMPT)
    with ledger.step("Label them by HPS, train the adapter"):
        adapter = train(Kind.ADAPTER, Family.ADAPTER, config=ADAPTER)
    with ledger.step("Make the blind study: original against adapted"):
        study = open_study(original, adapter)
    with ledger.step("Simulated annotators vote in the study"):
        voters.vote_until_done(campaign=study.campaign, panel=simulator.panel(PEOPLE, PANEL_SEED + 1))
    return final_table(choices_campaign=campaign, study_campaign=study.campaign)


def train(
    kind: str, family: str, *, campaign: Campaign | None = None, config: dict[str, Any] | None = None
) -> ModelVersion:
    """A version of this family, trained in the worker from what the demo collected, in use."""
    run = run_once(kind, campaign=campaign, config=config)
    return promote_version(version=ModelVersion.objects.get(run=run, family=family), reason="the demo's own")


def run_once(kind: str, *, campaign: Campaign | None = None, config: dict[str, Any] | None = None) -> Run:
    """A run of the worker that succeeded with these settings: an earlier one, or a new one that is waited for."""
    done = Run.objects.filter(kind=kind, campaign=campaign, config=config or {}, state=Run.State.SUCCEEDED)
    return done.order_by("-id").first() or follow_run(
        run=open_run(kind=kind, preset="tiny", campaign=campaign, config=config).run
    )


def versions_in_use() -> list[str]:
    """Names of the scorers in use, such as `hps-1`."""
    scorers = ModelVersion.objects.current().exclude(family=Family.ADAPTER).order_by("family")
    return [str(version) for version in scorers]


def generate(generator: Generator, *, prompts: list[str], per_prompt: int) -> None:
    """Let the worker make the images of these prompts that are not there yet."""
    run_once(Kind.GENERATION, config={"generator": generator.name, "prompts": prompts, "per_prompt": per_prompt})


def training_texts() -> list[str]:
    """Captions on the training side of the split, for labelling."""
    captions = [scene.caption for scene in world.chosen_scenes()]
    return [caption for caption in captions if Split.of(caption) == Split.TRAIN][:LABELLED_PROMPTS]


def study_prompts() -> list[Prompt]:
    """Prompts on the test side of the split, which no training has seen."""
    captions = [scene.caption for scene in world.chosen_scenes()]
    held_out = [caption for caption in captions if Split.of(caption) == Split.TEST][:STUDY_PROMPTS]
    prompts = get_or_create_prompts(texts=held_out, source=world.SOURCE)
    return [prompts[caption] for caption in held_out]


def open_study(original: Generator, adapter: ModelVersion) -> Study:
    """The blind campaign of the original against this adapter; both arms are drawn by the worker."""
    slug = f"{STUDY_SLUG}-{adapter}"
    if study := Study.objects.filter(campaign__slug=slug).select_related("campaign").first():
        return study
    prompts = study_prompts()
    for generator in (original, adapted_generator(version=adapter, original=original)):
        generate(generator, prompts=[prompt.text for prompt in prompts], per_prompt=1)
    return create_study(
        version=adapter,
        original=original,
        prompts=prompts,
        slug=slug,
        name="Toy study: original against adapted",
        votes_per_task=STUDY_VOTES_PER_TASK,
        allows_tie=True,
    )
