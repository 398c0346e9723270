"""A test campaign in which a simulated crowd votes through the same services as a browser, gold included."""

import uuid
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from annotations.models import Annotator, Campaign, Image, Outcome, Slot
from annotations.queries.quality import Said, read_said
from annotations.services.campaigns import start_campaign
from annotations.services.gold import make_gold
from annotations.services.images import ImageItem, get_or_create_generator, get_or_create_prompts, store_images
from annotations.services.tasks import CandidateSet, create_tasks
from annotations.services.voting import claim_slots, record_vote
from hps_site.demo.crowd import STYLES, Member
from hps_site.demo.pictures import png_of
from hps_site.demo.scenes import Defect, draw
from hps_site.demo.voters import TrueQualities
from hps_site.demo.world import SOURCE, chosen_scenes

SLUG = "test-crowd"
GOLD = 40

# Faults that one has to look for, so that people differ about them.
FAULTS, FAULTY, FAULT_STRENGTH = ("blur", "noise", "haze"), 0.6, (0.1, 0.5)


def open_crowd_campaign(*, tasks: int, votes_per_task: int, gold_share: float = 0.1, seed: int = 0) -> Campaign:
    """A running campaign of pairs, one drawing of each style, with gold and repeats; synthetic and marked so."""
    campaign = Campaign.objects.create(
        slug=SLUG,
        name="Test crowd: which drawing is better?",
        question="Which drawing shows the text best?",
        candidates=2,
        votes_per_task=votes_per_task,
        gold_share=gold_share,
        probe_share=0.12,
        is_synthetic=True,
    )
    rng = np.random.default_rng(seed)
    scenes = chosen_scenes(tasks)
    prompts = get_or_create_prompts(texts=[scene.caption for scene in scenes], source=SOURCE)
    painters = [
        get_or_create_generator(name=style, description="Of equal quality; tastes differ.", is_synthetic=True)
        for style in STYLES
    ]
    items = [
        ImageItem(content=png_of(draw(scene, rng, _faults(rng))), prompt=prompts[scene.caption], generator=painter)
        for scene in scenes
        for painter in painters
    ]
    images = store_images(items=items)
    sets = [CandidateSet(images[at].prompt, images[at : at + 2]) for at in range(0, len(images), 2)]
    create_tasks(campaign=campaign, sets=sets)
    make_gold(campaign=campaign, count=min(GOLD, tasks), seed=seed)
    return start_campaign(campaign=campaign)


def vote_as(members: Sequence[Member], *, campaign: Campaign) -> list[Said]:
    """Let everyone in turn claim and vote until nothing is left for anyone; gives all that was said, by name."""
    people = {member.name: _annotator(member.name, campaign) for member in members}
    qualities = TrueQualities()
    wanted = campaign.slots.exclude(state=Slot.State.DONE).count()
    with tqdm(total=wanted, desc="simulated votes", unit="vote", disable=None) as bar:
        at_work = list(members)
        while at_work:
            at_work = [member for member in at_work if _votes(member, people[member.name], campaign, qualities)]
            bar.update(len(at_work))
    names = {str(annotator.pk): name for name, annotator in people.items()}
    return [vote._replace(person=names[vote.person]) for vote in read_said([campaign])]


def _faults(rng: np.random.Generator) -> tuple[Defect, ...]:
    if rng.random() > FAULTY:
        return ()
    return (Defect(str(rng.choice(FAULTS)), float(rng.uniform(*FAULT_STRENGTH))),)


def _annotator(name: str, campaign: Campaign) -> Annotator:
    return Annotator.objects.get_or_create(
        external_id=f"{campaign.slug}:{name}",
        defaults={"source": Annotator.Source.SIMULATED, "is_synthetic": True},
    )[0]


def _votes(member: Member, annotator: Annotator, campaign: Campaign, qualities: TrueQualities) -> bool:
    """One vote on one claim; False where there is nothing left for this person."""
    slots = claim_slots(annotator=annotator, campaign=campaign, count=1)
    for slot in slots:
        if slot.token is None or slot.order is None:  # a held claim has both; the types can't say so
            continue
        images = Image.objects.select_related("generator", "corrupted_from__generator").in_bulk(slot.order)
        styles = [_style(images[shown]) for shown in slot.order]
        answer = member.choose(slot.order, qualities.of(slot.order, slot.task.prompt.text), styles)
        record_vote(
            annotator=annotator,
            token=slot.token,
            outcome=answer if isinstance(answer, str) else Outcome.CHOICE,
            image=None if isinstance(answer, str) else images[slot.order[answer]].public_id,
            idempotency_key=uuid.uuid4(),
            shown_ms=1500,
        )
    return bool(slots)


def _style(image: Image) -> str | None:
    """Of its painter; a worse copy is still in the style of its original."""
    generator = (image.corrupted_from or image).generator
    return generator.name if generator else None
