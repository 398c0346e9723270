"""Simulated annotators at work: they claim and vote through the same services as a browser."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connection
from tqdm import tqdm

from annotations.models import Annotator, Campaign, Image, Outcome, Slot
from annotations.services.voting import claim_slots, record_vote
from hps_site.demo.pictures import pixels_of
from hps_site.demo.simulator import SimulatedAnnotator
from hps_site.demo.truth import utility
from hps_site.demo.world import open_annotators

CLAIMS_AT_ONCE = 5


class TrueQualities:
    """The hidden quality of each image for a caption, looked at once. Only the simulated people know it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], float] = {}

    def of(self, order: list[int], caption: str) -> list[float]:
        """Utilities of images in the order shown; one of another caption is as bad as it looks for this one."""
        unknown = [image_id for image_id in order if (image_id, caption) not in self._known]
        for image in Image.objects.filter(id__in=unknown) if unknown else ():
            self._known[image.pk, caption] = utility(pixels_of(image), caption)
        return [self._known[image_id, caption] for image_id in order]


def vote_until_done(*, campaign: Campaign, panel: list[SimulatedAnnotator], at_once: int = 1) -> int:
    """Let everyone in turn claim and vote until nothing is left for anyone; gives the number of votes.

    Nobody comes where no vote is wanted any more: they would be given tasks with a known answer.

    Args:
        at_once: so many people vote at the same moment, each in a thread and with a connection of its own.
    """
    wanted = campaign.slots.exclude(state=Slot.State.DONE).count()
    if not wanted:
        return 0
    people = open_annotators([person.name for person in panel])
    qualities = TrueQualities()
    with tqdm(total=wanted, desc="simulated votes", unit="vote") as bar:

        def work(panel: list[SimulatedAnnotator]) -> int:
            votes = 0
            while panel:
                counts = [_vote_on_claims(campaign, person, people[person.name], qualities) for person in panel]
                panel = [person for person, count in zip(panel, counts, strict=True) if count]
                votes += sum(counts)
                bar.update(sum(counts))
            return votes

        def work_apart(panel: list[SimulatedAnnotator]) -> int:
            try:
                return work(panel)
            finally:
                connection.close()

        if at_once == 1:
            return work(panel)
        with ThreadPoolExecutor(at_once) as threads:
            return sum(threads.map(work_apart, (panel[start::at_once] for start in range(at_once))))


def _vote_on_claims(
    campaign: Campaign, person: SimulatedAnnotator, annotator: Annotator, qualities: TrueQualities
) -> int:
    slots = claim_slots(annotator=annotator, campaign=campaign, count=CLAIMS_AT_ONCE)
    shown = {image_id for slot in slots for image_id in slot.order or []}
    public_ids = dict(Image.objects.filter(id__in=shown).values_list("id", "public_id"))
    for slot in slots:
        if slot.token is None or slot.order is None:  # a held claim has both; the types can't say so
            continue
        utilities = qualities.of(slot.order, slot.task.prompt.text)
        answer = person.choose(utilities, can_tie=campaign.allows_tie, can_all_bad=campaign.allows_all_bad)
        say = partial(record_vote, annotator=annotator, token=slot.token, idempotency_key=uuid.uuid4(), shown_ms=1500)
        if isinstance(answer, str):
            say(outcome=Outcome(answer))
        else:
            say(outcome=Outcome.CHOICE, image=public_ids[slot.order[answer]])
    return len(slots)
