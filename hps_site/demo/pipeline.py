"""The whole loop on the toy world: from a click to a better model, and the proof before people."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from annotations.models import Campaign, Generator, Split
from annotations.services.images import existing_prompts, get_or_create_prompts
from hps_site.demo import base_models, simulator, voters, world
from hps_site.demo.report import final_table
from hps_site.demo.steps import Ledger
from worker.models import ModelVersion, Run, Study
from worker.services.adapters import adapted_generator, put_into_use
from worker.services.following import follow_run
from worker.services.generation import Recipe, make_generator
from worker.services.runs import open_run
from worker.services.studies import create_study
from worker.services.versions import register_base_models

Kind, Family = Run.Kind, ModelVersion.Family

PEOPLE = 12
PANEL_SEED = 7
AT_ONCE = 2
"""Simulated people who vote at the same moment: while one waits for the database, the other thinks."""

ORIGINAL = "toy diffusion"
STUDY_SLUG = "toy-study"

# At which the tiny model's images are best, and the adapter learns from drawings beside them: both measured in
# docs/experiments.md, where learning from the model's own few images alone made it worse.
GUIDANCE = 2.0
SOURCES = [ORIGINAL, *world.PAINTERS]


@dataclass(frozen=True)
class Size:
    """How much the demo does: enough for clear answers in some minutes on two cores."""

    prompts: int = world.PROMPTS
    """Captions that people are asked about, one in five of them held out."""
    labelled_prompts: int = 240
    """Training captions for which images are generated and labelled."""
    images_per_prompt: int = 4
    """Of those; the paper's labelling wants four or more."""
    generation_steps: int = 12
    """Of the tiny diffusion model's scheduler."""
    adapter: dict[str, Any] = field(default_factory=dict)
    """Settings of the adapter's training that differ from the preset `tiny`."""
    proof: dict[str, Any] = field(default_factory=lambda: {"count": 20, "sweep_prompts": 6})
    """Settings of the adapter's automatic proof."""
    study_prompts: int = world.PROMPTS
    """Held-out captions of the blind study at most: all of them, since prompts narrow its interval more than votes."""
    study_votes: int = 4
    """Votes on each pair of the study."""


def run_demo(ledger: Ledger, size: Size = Size()) -> str:
    """Every step of the loop; what an earlier demo has done is found and not done again. Gives the table.

    Raises:
        RunFailed: a run of the worker did not succeed.
    """
    with ledger.step("Unpack the tiny base models"):
        base_models.unpack(Path(settings.HPS_SITE_HOME) / "base-models")
        register_base_models()
    with ledger.step("Draw the toy world"):
        campaign = world.draw_campaign(prompts=size.prompts)
    original = make_generator(
        name=ORIGINAL,
        recipe=Recipe(pipeline="tiny-diffusion", steps=size.generation_steps, guidance=GUIDANCE),
        description="The tiny Stable Diffusion of the toy world.",
        is_synthetic=True,
    )
    to_label = captions_of(Split.TRAIN, size.prompts)[: size.labelled_prompts]
    held_out = captions_of(Split.TEST, size.prompts)
    with ledger.step("Annotators vote; the tiny diffusion model generates"):
        generating = ask_for_images(original, prompts=to_label, per_prompt=size.images_per_prompt)
        voters.vote_until_done(campaign=campaign, panel=simulator.panel(PEOPLE, PANEL_SEED), at_once=AT_ONCE)
        wait_for(generating)
    with ledger.step("Retrain the classifier in the worker"):
        train(Kind.CLASSIFIER, Family.HPS, campaign=campaign)
    with ledger.step("Train the aesthetic head in the worker"):
        train(Kind.AESTHETIC, Family.AESTHETIC, campaign=campaign)
    with ledger.step("Score the drawings with CLIP, aesthetic and HPS"):
        run_once(Kind.SCORING, campaign=campaign, config={"versions": versions_in_use()})
    with ledger.step("Label images and drawings by HPS, train the adapter"):
        adapter = train(
            Kind.ADAPTER, Family.ADAPTER, config={"generator": ORIGINAL, "sources": SOURCES, **size.adapter}
        )
    with ledger.step("Make the blind study: original against adapted"):
        study = open_study(original, adapter, prompts=held_out[: size.study_prompts], votes=size.study_votes)
    with ledger.step("Annotators vote in it; the adapter is measured"):
        scoring = ask_for(Kind.SCORING, campaign=study.campaign, config={"versions": versions_in_use()})
        proof = ask_for(Kind.PROOF, config={"version": str(adapter), "prompts": held_out, **size.proof})
        voters.vote_until_done(campaign=study.campaign, panel=simulator.panel(PEOPLE, PANEL_SEED + 1), at_once=AT_ONCE)
        wait_for(scoring)
        wait_for(proof)
    return final_table(choices_campaign=campaign, study_campaign=study.campaign)


def train(
    kind: str, family: str, *, campaign: Campaign | None = None, config: dict[str, Any] | None = None
) -> ModelVersion:
    """A version of this family, trained in the worker from what the demo collected, and put into use when it is new."""
    version = ModelVersion.objects.get(run=run_once(kind, campaign=campaign, config=config), family=family)
    return version if version.promotions.exists() else put_into_use(version=version, reason="the demo's own")


def run_once(kind: str, *, campaign: Campaign | None = None, config: dict[str, Any] | None = None) -> Run:
    """A run of the worker that succeeded with these settings: an earlier one, or a new one that is waited for."""
    return wait_for(ask_for(kind, campaign=campaign, config=config))


def ask_for(kind: str, *, campaign: Campaign | None = None, config: dict[str, Any] | None = None) -> Run:
    """A run with these settings that succeeded, or a new one that the worker begins while we go on."""
    done = Run.objects.filter(kind=kind, campaign=campaign, config=config or {}, state=Run.State.SUCCEEDED)
    return done.order_by("-id").first() or open_run(kind=kind, preset="tiny", campaign=campaign, config=config).run


def wait_for(run: Run) -> Run:
    """The run when it has succeeded, its progress being shown until then."""
    return run if run.state == Run.State.SUCCEEDED else follow_run(run=run)


def versions_in_use() -> list[str]:
    """Names of the scorers in use, such as `hps-1`."""
    scorers = ModelVersion.objects.current().exclude(family=Family.ADAPTER).order_by("family")
    return [str(version) for version in scorers]


def ask_for_images(generator: Generator, *, prompts: list[str], per_prompt: int) -> Run:
    """Let the worker make the images of these prompts that are not there yet."""
    return ask_for(Kind.GENERATION, config={"generator": generator.name, "prompts": prompts, "per_prompt": per_prompt})


def captions_of(split: Split, prompts: int) -> list[str]:
    """The captions on one side of the split, among those that people are asked about."""
    captions = [scene.caption for scene in world.chosen_scenes(prompts)]
    there = existing_prompts(texts=captions)
    return [caption for caption in captions if there[caption].split == split]


def open_study(original: Generator, adapter: ModelVersion, *, prompts: list[str], votes: int) -> Study:
    """The blind campaign of the original against this adapter, on captions that no training saw.

    The worker draws what is not there yet of both arms.
    """
    slug = f"{STUDY_SLUG}-{adapter}"
    if study := Study.objects.filter(campaign__slug=slug).select_related("campaign").first():
        return study
    for generator in (original, adapted_generator(version=adapter, original=original)):
        wait_for(ask_for_images(generator, prompts=prompts, per_prompt=1))
    known = get_or_create_prompts(texts=prompts, source=world.SOURCE)
    return create_study(
        version=adapter,
        original=original,
        prompts=[known[text] for text in prompts],
        slug=slug,
        name="Toy study: original against adapted",
        votes_per_task=votes,
        allows_tie=True,
    )
