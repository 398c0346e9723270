"""The toy world's content: painters of different care draw scenes, and people are asked which drawing they prefer."""

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from annotations.models import Annotator, Campaign, Generator, Image, Invite, Prompt, Task
from annotations.services.campaigns import start_campaign
from annotations.services.images import ImageItem, get_or_create_generator, get_or_create_prompts, store_images
from annotations.services.tasks import CandidateSet, create_tasks
from hps_site.demo.pictures import png_of
from hps_site.demo.scenes import Scene, draw, every_scene, random_defects

SEED = 20230326
CAMPAIGN_SLUG = "toy-world"
SOURCE = "toy world (synthetic)"
PROMPTS = 1400
VOTES_PER_TASK = 3

VISITORS = 10
VISITORS_PROMPTS = 40

# The share of clean drawings by which the painters differ, and so should be ranked by people.
PAINTERS = {"toy painter A": 0.7, "toy painter B": 0.55, "toy painter C": 0.4, "toy painter D": 0.25}


def chosen_scenes(count: int = PROMPTS) -> list[Scene]:
    """The scenes that people are asked about, the same ones every time."""
    scenes = every_scene()
    order = np.random.default_rng(SEED).permutation(len(scenes))
    return [scenes[place] for place in order[:count]]


def draw_campaign(*, prompts: int = PROMPTS) -> Campaign:
    """The toy campaign with all its drawings and tasks, running; made once, found again later."""
    campaign, _ = Campaign.objects.get_or_create(
        slug=CAMPAIGN_SLUG,
        defaults={
            "name": "Toy world: which drawing is better?",
            "question": "Which drawing shows the text best?",
            "instructions": "Choose the drawing that shows what the text says, with the fewest faults.",
            "candidates": len(PAINTERS),
            "votes_per_task": VOTES_PER_TASK,
            "is_synthetic": True,
        },
    )
    if campaign.tasks.count() >= prompts:
        return campaign
    texts = get_or_create_prompts(texts=[scene.caption for scene in chosen_scenes(prompts)], source=SOURCE)
    images = store_images(items=tqdm(list(_drawings(prompts, texts)), desc="drawing", unit="image"))
    create_tasks(campaign=campaign, sets=_sets_of(images))
    if not campaign.is_running:
        start_campaign(campaign=campaign)
    return campaign


def open_visitors_campaigns(*, prompts: int = VISITORS_PROMPTS) -> list[Campaign]:
    """Two campaigns with places left, for whoever looks at the demo: four drawings at once, and pairs of them."""
    drawn = Task.objects.filter(campaign__slug=CAMPAIGN_SLUG).select_related("prompt").prefetch_related("images")
    tasks = list(drawn.order_by("pk")[:prompts])
    return [
        _open_for_visitors("try-four", "Try it: best of four drawings", tasks, candidates=4),
        _open_for_visitors("try-pairs", "Try it: pairs of drawings", tasks, candidates=2),
    ]


def _open_for_visitors(slug: str, name: str, tasks: list[Task], *, candidates: int) -> Campaign:
    campaign, is_new = Campaign.objects.get_or_create(
        slug=slug,
        defaults={
            "name": name,
            "question": "Which drawing shows the text best?",
            "instructions": "Choose the drawing that shows what the text says, with the fewest faults.",
            "candidates": candidates,
            "votes_per_task": VISITORS,
            "is_synthetic": True,
        },
    )
    if is_new:
        sets = [CandidateSet(prompt=task.prompt, images=list(task.images.all())[:candidates]) for task in tasks]
        create_tasks(campaign=campaign, sets=sets)
        start_campaign(campaign=campaign)
        Invite.objects.create(campaign=campaign, label="demo")
    return campaign


def _drawings(count: int, prompts: dict[str, Prompt]) -> Iterator[ImageItem]:
    painters = _painters()
    rng = np.random.default_rng(SEED)
    for scene in chosen_scenes(count):
        for name, clean_share in PAINTERS.items():
            picture = draw(scene, rng, random_defects(rng, clean_share))
            yield ImageItem(content=png_of(picture), prompt=prompts[scene.caption], generator=painters[name])


def _painters() -> dict[str, Generator]:
    return {
        name: get_or_create_generator(
            name=name,
            description="Draws scenes of the toy world, some with faults.",
            settings={"clean_share": clean_share},
            is_synthetic=True,
        )
        for name, clean_share in PAINTERS.items()
    }


def _sets_of(images: list[Image]) -> list[CandidateSet]:
    """The drawings of one prompt are one task."""
    by_prompt: dict[Prompt, list[Image]] = {}
    for image in images:
        by_prompt.setdefault(image.prompt, []).append(image)
    return [CandidateSet(prompt=prompt, images=drawings) for prompt, drawings in by_prompt.items()]


def open_annotators(names: list[str]) -> dict[str, Annotator]:
    """One simulated annotator per name, made once."""
    people = {}
    for name in names:
        people[name], _ = Annotator.objects.get_or_create(
            external_id=f"toy:{name}",
            defaults={"source": Annotator.Source.SIMULATED, "is_synthetic": True},
        )
    return people
