"""What people told of themselves, as counts in which nobody can be found."""

from collections import Counter
from dataclasses import dataclass

from django.db.models import CharField, Exists, OuterRef

from annotations.models import Campaign, Demographics, Vote

# The smallest group that is told of, and the number of people by which a report grows.
FEWEST = 10

QUESTIONS = ("age_band", "region", "gender", "design_experience")


@dataclass(frozen=True)
class Group:
    """People who gave the same answer to one question."""

    label: str
    people: int


@dataclass(frozen=True)
class DemographicGroups:
    """How the people of a campaign answered one question about themselves."""

    question: str
    groups: list[Group]
    """The largest first, each of ten people or more."""

    others: int
    """People in groups that are not told of, all together: none, or ten or more."""


def demographic_groups(campaign: Campaign) -> list[DemographicGroups]:
    """Who votes in a campaign, one question at a time; a question that fewer than ten people answered is left out.

    Of the people who voted here and answered, in the order in which they told, the last few are left out until they
    are ten: whoever compares the report of today with that of yesterday, or with the list of those who joined
    meanwhile, learns of ten people at once and of nobody alone. Who preferred not to say is not counted, and answers
    are never crossed with each other.
    """
    has_voted = Vote.objects.standing().filter(annotator=OuterRef("annotator"), slot__campaign=campaign)
    told = Demographics.objects.filter(Exists(has_voted)).order_by("created_at", "pk")
    people = list(told.values_list(*QUESTIONS))
    tables = []
    for column, question in enumerate(QUESTIONS):
        answers = [answer[column] for answer in people if answer[column]]
        if whole_tens := len(answers) // FEWEST * FEWEST:
            tables.append(_groups_of(question, Counter(answers[:whole_tens])))
    return tables


def withhold_small(counts: dict[str, int]) -> tuple[dict[str, int], int]:
    """The counts of ten or more, and the sum of the rest, which is none or ten or more as well.

    Where the small groups together are fewer than ten, the total would give them away: the smallest of the large
    groups is withheld with them.
    """
    told = {answer: people for answer, people in counts.items() if people >= FEWEST}
    rest = sum(counts.values()) - sum(told.values())
    while 0 < rest < FEWEST and told:
        rest += told.pop(min(told, key=lambda answer: (told[answer], answer)))
    return told, rest


def _groups_of(question: str, counts: Counter[str]) -> DemographicGroups:
    field = Demographics._meta.get_field(question)
    assert isinstance(field, CharField)
    labels = dict(field.flatchoices)
    told, rest = withhold_small(counts)
    largest_first = sorted(told.items(), key=lambda group: (-group[1], group[0]))
    return DemographicGroups(
        question=str(field.verbose_name),
        groups=[Group(label=str(labels[answer]), people=people) for answer, people in largest_first],
        others=rest,
    )
