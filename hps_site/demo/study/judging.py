"""Images of the arms, made by the site's generators, and what the truth, the scores and people say of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from annotations.models import Generator, Prompt
from annotations.services.images import get_or_create_prompts
from hps_site.dashboard.queries import ballots
from hps_site.demo import evaluation, simulator, voters, world
from hps_site.demo.pictures import pixels_of
from hps_site.demo.study.declaration import Declaration
from hps_site.demo.study.material import PEOPLE
from hps_site.demo.study.training import DIFFUSION, scorer_in
from scoring.preferences import Choice
from worker.models import ModelVersion, Study
from worker.services.adapters import adapted_generator
from worker.services.generation import Recipe, generate_for_prompts, images_by_seed, make_generator
from worker.services.studies import create_study


def prompts_of(captions: Sequence[str]) -> list[Prompt]:
    """The captions as prompts of the site, in their order."""
    prompts = get_or_create_prompts(texts=captions, source=world.SOURCE)
    return [prompts[caption] for caption in captions]


def generator_of(declaration: Declaration, version: ModelVersion | None, *, negative_prompt: str = "") -> Generator:
    """The base model as the study draws with it, with an adapter or without."""
    original = make_generator(name=f"{declaration.key}: original", recipe=_recipe(declaration), is_synthetic=True)
    if version is not None and negative_prompt:
        return adapted_generator(version=version, original=original)  # the very one that the blind study shows
    if version is None and not negative_prompt:
        return original
    words = " + ".join([str(version)] if version else ["the mark"])
    recipe = _recipe(declaration, adapter=str(version or ""), negative_prompt=negative_prompt)
    return make_generator(name=f"{declaration.key}: {words}", recipe=recipe, is_synthetic=True)


def pictures_by(generator: Generator, prompts: Sequence[Prompt], per_prompt: int) -> list[list[Picture.Image]]:
    """The images number 0 to `per_prompt` - 1 of every prompt, made where they aren't there: a list for each number."""
    generate_for_prompts(generator=generator, prompts=prompts, per_prompt=per_prompt)
    numbered = [images_by_seed(generator, prompts, index) for index in range(per_prompt)]
    return [[Picture.fromarray(pixels_of(images[prompt.pk])) for prompt in prompts] for images in numbered]


def judge(generator: Generator, prompts: Sequence[Prompt], scorers: Mapping[str, Path]) -> dict[str, Any]:
    """What there is to say of a generator's first image of each prompt.

    Args:
        scorers: folders by the names under which their scores are given.

    Returns:
        `utility`, the hidden truth, and the scores: one number per prompt; `looks_like`: counts, see `evaluation`.
    """
    captions = [prompt.text for prompt in prompts]
    [pictures] = pictures_by(generator, prompts, 1)
    pairs = list(zip(pictures, captions, strict=True))
    pixels = [np.asarray(picture) for picture in pictures]
    kinds = Counter(evaluation.looks_like(image, caption) for image, caption in zip(pixels, captions, strict=True))
    scores = {name: list(scorer_in(folder).score_pairs(pairs)) for name, folder in scorers.items()}
    return {"utility": evaluation.true_utilities(pixels, captions), "looks_like": dict(kinds), **scores}


def ask_people(
    declaration: Declaration, version: ModelVersion, prompts: Sequence[Prompt], *, name: str, panel_seed: int
) -> dict[str, Any]:
    """The site's own blind study of an adapter, voted on by simulated people through the same services as a browser.

    Returns:
        `captions` and `credits`, one each per vote: 1 for the adapted image, 0 for the original's, a half for a tie.
    """
    slug = f"{declaration.key}-{name}"
    study = Study.objects.filter(campaign__slug=slug).select_related("campaign", "adapted").first() or create_study(
        version=version,
        original=generator_of(declaration, None),
        prompts=prompts,
        slug=slug,
        name=f"{declaration.name}: {name}",
        votes_per_task=declaration.study_votes,
        allows_tie=True,
    )
    voters.vote_until_done(campaign=study.campaign, panel=simulator.panel(PEOPLE, panel_seed))
    captions = {str(prompt.pk): prompt.text for prompt in prompts}
    choices = [choice for choice in ballots.read_choices([study.campaign]) if choice.outcome != "all_bad"]
    return {
        "campaign": slug,
        "captions": [captions[choice.prompt] for choice in choices],
        "credits": [_credit(choice, study.adapted.name) for choice in choices],
    }


def _credit(choice: Choice, adapted: str) -> float:
    if choice.chosen is None:
        return 0.5
    return float(choice.generators[choice.chosen] == adapted)


def _recipe(declaration: Declaration, *, adapter: str = "", negative_prompt: str = "") -> Recipe:
    return Recipe(
        pipeline=DIFFUSION,
        adapter=adapter,
        negative_prompt=negative_prompt,
        steps=declaration.generation_steps,
        guidance=declaration.guidance,
    )
