"""Shares by demographic group, made so that nobody's answers can be found out from them.

Who runs a campaign sees the votes of each person, and could add up those of any ten until the sum is the one that is
told. What stands in the way, each by itself not enough:

- a group has ten people or more, and so have all who are not in it together; where the total would give away fewer,
  the smallest large group is withheld with them;
- the last few who told of themselves are left out until they are ten, as in `annotations.queries.demographics`;
- nothing is told before the campaign is closed: a figure that moves with a vote would tell whose it was;
- nothing is told over several campaigns, or by two questions at once: the difference would be a few people;
- each person counts alike, and chance is added of half of what one person can move a share by. It follows from the
  secret key and from the very people and numbers, so that asking again gives the same (the cell keys of census
  offices) and leaving anybody out gives another;
- shares are rounded to whole percents, intervals outwards; how many people there are is not told.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from django.db.models import CharField, QuerySet
from django.utils.crypto import salted_hmac

from annotations.models import Campaign, Demographics
from annotations.queries.demographics import FEWEST, QUESTIONS
from scoring.metrics import Estimate, clustered_mean

# Standard deviation of what is added to a share, in the share of one person.
NOISE = 0.5

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Credit:
    """How far one vote agrees with something."""

    annotator: int
    """Primary key."""
    credit: float
    """0..1."""


@dataclass(frozen=True)
class GroupShare:
    """A share among the people who gave one answer to one question about themselves."""

    question: str
    label: str
    share: Estimate
    """Coarse on purpose; n is the least number of people it can stand for."""


def shares_by_group(campaign: Campaign, credits: Iterable[Credit], *, name: str, key: str) -> list[GroupShare]:
    """The mean over people of their mean credit, by group; see the head of this module for what is withheld.

    Args:
        campaign: the one in which all these votes were cast.
        credits: of votes of this campaign alone, several of each person.
        name: of the share.
        key: names what the votes are held against, so that each has its own chance added.

    Returns:
        Question by question, groups in the order of their answers; nothing of a person leaves this function. Empty
        until the campaign is closed. One SQL statement.
    """
    if campaign.state != Campaign.State.CLOSED:
        return []
    sums: dict[int, list[float]] = defaultdict(list)
    for one in credits:
        sums[one.annotator].append(one.credit)
    means = {person: float(np.mean(values)) for person, values in sums.items()}
    people = list(_consenting(campaign).filter(annotator__in=means).values_list("annotator_id", *QUESTIONS))
    shares = []
    for column, question in enumerate(QUESTIONS, start=1):
        groups = _groups([(row[0], row[column]) for row in people if row[column]], len(means))
        for answer, label in _labels(question):
            if answer in groups:
                share = coarse(means, groups[answer], name=name, key=f"{campaign.pk} {key} {question} {answer}")
                shares.append(GroupShare(_title(question), label, share))
    return shares


def told(counts: dict[str, int], total: int) -> set[str]:
    """The answers whose groups may be told of where the total over everybody is known too.

    Args:
        counts: people by answer.
        total: everybody, those who didn't answer included.

    Returns:
        Groups of ten or more, such that everybody less any of them is ten people or more as well.
    """
    large = {answer: people for answer, people in counts.items() if people >= FEWEST}
    rest = total - sum(large.values())
    while 0 < rest < FEWEST and large:
        rest += large.pop(min(large, key=lambda answer: (large[answer], answer)))
    # One group of everybody would tell of each of them.
    return set() if rest == 0 and len(large) == 1 else set(large)


def _consenting(campaign: Campaign) -> QuerySet[Demographics]:
    """Who told of themselves, and agrees to this campaign's text where it has one; in the order in which they told."""
    answers = Demographics.objects.order_by("created_at", "pk")
    if not campaign.consent:
        return answers
    agreed = campaign.participations.exclude(consent_hash="").values("annotator")
    return answers.filter(annotator__in=agreed)


def _groups(answers: Sequence[tuple[int, str]], total: int) -> dict[str, list[int]]:
    used = answers[: len(answers) // FEWEST * FEWEST]
    may_be_told = told(Counter(answer for _person, answer in used), total)
    groups: dict[str, list[int]] = defaultdict(list)
    for person, answer in used:
        if answer in may_be_told:
            groups[answer].append(person)
    return groups


def coarse(means: Mapping[int, float], members: Iterable[int], *, name: str, key: str) -> Estimate:
    """The mean of a group with its interval over people, chance added to both, in whole percents.

    The chance follows from everybody's numbers, not only from the group's: else a share that stays the very same when
    somebody is excluded would tell that they don't belong to it.

    Args:
        means: of everybody in the slice, by person.
        members: ten people or more.
        name: of the share.
        key: what the share is of.
    """
    people = sorted(members)
    values = np.array([means[person] for person in people])
    exact = clustered_mean(values, list(map(str, people)), name=name, unit="people or more")
    assert exact.value is not None  # there are ten people
    assert exact.low is not None
    assert exact.high is not None
    deviation = NOISE / len(people)
    said = repr((key, people, sorted((person, round(mean, 9)) for person, mean in means.items())))
    seed = int.from_bytes(salted_hmac(__name__, said, algorithm="sha256").digest())
    added = float(np.random.default_rng(seed).normal(0, deviation))
    half = math.hypot((exact.high - exact.low) / 2, _Z95 * deviation)
    value = _within(exact.value + added)
    return Estimate(
        name=name,
        value=round(value, 2),
        low=math.floor(100 * _within(value - half)) / 100,
        high=math.ceil(100 * _within(value + half)) / 100,
        n=FEWEST,
        unit="people or more",
        reason="Coarse, so that nobody's answers can be found out.",
    )


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))


def _labels(question: str) -> list[tuple[str, str]]:
    field = Demographics._meta.get_field(question)
    assert isinstance(field, CharField)
    return [(str(answer), str(label)) for answer, label in field.flatchoices if answer]


def _title(question: str) -> str:
    field = Demographics._meta.get_field(question)
    assert isinstance(field, CharField)
    return str(field.verbose_name)
