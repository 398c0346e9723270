"""How far the matchups of a campaign have come, read for the policies."""

import numpy as np
from django.db.models import Count, Q
from django.db.models.functions import Now

from annotations.models import Campaign, Outcome, Slot, Task, Vote
from annotations.policies import Standing


def standing_of(campaign: Campaign) -> Standing:
    """What was asked and said of each matchup and what is left to ask; two SQL statements over all slots and votes.

    Counted are judgements that would count in a ranking, and of what is left only regular tasks. Matchups whose work
    is done are there for what was said of them.
    """
    free, out = _work_by_matchup(campaign)
    answers = _answers_by_matchup(campaign)
    matchups = sorted(free.keys() | answers.keys(), key=generators_of)
    generators = sorted({pk for matchup in matchups for pk in generators_of(matchup)})
    column = {pk: number for number, pk in enumerate(generators)}
    shown = np.zeros((len(matchups), len(generators)))
    answered = np.zeros_like(shown)
    for row, matchup in enumerate(matchups):
        members = [column[pk] for pk in generators_of(matchup)]
        np.add.at(shown[row], members, 1)
        for (outcome, generator), times in answers.get(matchup, {}).items():
            if outcome == Outcome.CHOICE and generator in column:
                answered[row, column[generator]] += times
            elif outcome == Outcome.TIE and members:
                answered[row] += times * shown[row] / len(members)
    return Standing(
        matchups=tuple(matchups),
        shown=shown,
        answers=answered,
        out=np.array([out.get(matchup, 0) for matchup in matchups], dtype=np.float64),
        free=np.array([free.get(matchup, 0) for matchup in matchups], dtype=np.float64),
    )


def generators_of(matchup: str) -> list[int]:
    """The ids in the name of a matchup, one for each image; none where an image is of unknown origin."""
    return [int(pk) for pk in matchup.split("-") if pk]


def _work_by_matchup(campaign: Campaign) -> tuple[dict[str, int], dict[str, int]]:
    """Slots that can be given out, and those that people hold, by matchup."""
    is_held = Q(state=Slot.State.LEASED, lease_until__gt=Now())
    rows = list(
        Slot.objects.filter(campaign=campaign, task__purpose=Task.Purpose.REGULAR)
        .exclude(state=Slot.State.DONE)
        .values_list("matchup")
        .annotate(free=Count("pk", filter=~is_held), out=Count("pk", filter=is_held))
    )
    return {matchup: free for matchup, free, _out in rows}, {matchup: out for matchup, _free, out in rows}


def _answers_by_matchup(campaign: Campaign) -> dict[str, dict[tuple[str, int | None], int]]:
    """How often each outcome was said and each generator chosen, by matchup."""
    rows = (
        Vote.objects.counted()
        .filter(task__campaign=campaign)
        .order_by()
        .values_list("task__matchup", "outcome", "image__generator_id")
        .annotate(Count("pk"))
    )
    answers: dict[str, dict[tuple[str, int | None], int]] = {}
    for matchup, outcome, generator, times in rows:
        answers.setdefault(matchup, {})[outcome, generator] = times
    return answers
