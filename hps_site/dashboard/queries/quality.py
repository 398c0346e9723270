"""How good a campaign's votes are: agreement beyond chance, places, and the tasks that stand out."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from annotations.models import Image, Outcome, Prompt, Task, Vote
from annotations.queries.quality import Said, choices_of
from scoring import agreement, reliability
from scoring.metrics import Estimate
from scoring.reliability import Places

ITEMS = 6

# A task that fewer people judged cannot be called contested; gold that fewer answered cannot be called misleading.
JUDGEMENTS_TO_CONTEST, ANSWERS_TO_MISLEAD = 3, 4


@dataclass(frozen=True)
class Item:
    """A task that stands out."""

    prompt: str
    images: list[tuple[Image, int]]
    """Each with how often it was chosen."""
    others: list[tuple[Outcome, int]]
    """What else was said, and how often."""
    reasons: list[str]
    """Why it was flagged or skipped, where somebody told."""


@dataclass(frozen=True)
class QualityReport:
    """One campaign's quality in numbers."""

    estimates: list[Estimate]
    """Agreement in percent, alpha, kappa, the human ceiling; each with a reason where it is undefined."""
    places: Places | None
    contested: list[Item]
    skipped: list[Item]
    flagged: list[Item]


@dataclass(frozen=True)
class GoldRow:
    """One task with a known answer, and how it fared."""

    task: Task
    given: int
    """People who had it."""
    right: Estimate

    @property
    def is_misleading(self) -> bool:
        """Most who answer it get it wrong: then it is the task that should be looked at."""
        return self.right.n >= ANSWERS_TO_MISLEAD and (self.right.value or 0) < 0.5


def quality_report(said: Sequence[Said]) -> QualityReport:
    """The figures of what people that are not excluded said in one campaign; three SQL statements for the items."""
    regular = [vote for vote in said if vote.purpose == Task.Purpose.REGULAR]
    choices = choices_of(regular)
    counts = agreement.answer_counts(choices)
    by_task: dict[tuple[str, tuple[str, ...]], list[Said]] = defaultdict(list)
    for vote in regular:
        by_task[vote.task].append(vote)
    contested = _contested(by_task)
    skipped = _most(by_task, Outcome.SKIP)
    flagged = _most(by_task, Outcome.FLAG)
    shown = {task: by_task[task] for task in [*contested, *skipped, *flagged]}
    items = _items(shown)
    return QualityReport(
        estimates=[
            agreement.percent_agreement(choices),
            agreement.krippendorff_alpha(counts),
            agreement.fleiss_kappa(counts),
            agreement.human_ceiling(choices),
        ],
        places=reliability.places(choices),
        contested=[items[task] for task in contested],
        skipped=[items[task] for task in skipped],
        flagged=[items[task] for task in flagged],
    )


def gold_rows(tasks: Sequence[Task]) -> list[GoldRow]:
    """How each gold or practice task fared with people who are not excluded; one SQL statement."""
    votes = (
        Vote.objects.standing()
        .filter(task__in=tasks, outcome__in=Outcome.judgements())
        .exclude(annotator__state="excluded")
        .values_list("task", "image")
    )
    answers: dict[int, list[int | None]] = defaultdict(list)
    for task, image in votes:
        answers[task].append(image)
    return [
        GoldRow(
            task=task,
            given=len(answers[task.pk]),
            right=reliability.share(
                "right", sum(image == task.expected_id for image in answers[task.pk]), len(answers[task.pk]), "answers"
            ),
        )
        for task in tasks
    ]


TaskName = tuple[str, tuple[str, ...]]


def _contested(by_task: dict[TaskName, list[Said]]) -> list[TaskName]:
    """Those whose commonest answer has the smallest share, more votes first among equals."""
    shares = {}
    for task, votes in by_task.items():
        answers = Counter(vote.answer for vote in votes if vote.is_judgement)
        if answers.total() >= JUDGEMENTS_TO_CONTEST:
            shares[task] = max(answers.values()) / answers.total(), -answers.total()
    return sorted((task for task in shares if shares[task][0] < 1), key=lambda task: shares[task])[:ITEMS]


def _most(by_task: dict[TaskName, list[Said]], outcome: Outcome) -> list[TaskName]:
    counts = {task: sum(vote.outcome == outcome for vote in votes) for task, votes in by_task.items()}
    return sorted((task for task in counts if counts[task]), key=lambda task: -counts[task])[:ITEMS]


def _items(shown: dict[TaskName, list[Said]]) -> dict[TaskName, Item]:
    images = Image.objects.in_bulk({int(key) for _prompt, keys in shown for key in keys})
    prompts = Prompt.objects.in_bulk({int(prompt) for prompt, _keys in shown})
    told: dict[TaskName, list[str]] = defaultdict(list)
    named = Vote.objects.standing().filter(
        task__prompt__in=prompts, outcome__in=[Outcome.SKIP, Outcome.FLAG], task__purpose=Task.Purpose.REGULAR
    )
    for prompt, order, reason in named.exclude(reason="").values_list("task__prompt", "order", "reason"):
        told[str(prompt), tuple(sorted(map(str, order)))].append(reason)
    return {
        (prompt, keys): Item(
            prompt=prompts[int(prompt)].text,
            images=[(images[int(key)], sum(vote.image == key for vote in votes)) for key in keys],
            others=[
                (Outcome(outcome), count)
                for outcome, count in Counter(vote.outcome for vote in votes if vote.image is None).items()
            ],
            reasons=told[prompt, keys],
        )
        for (prompt, keys), votes in shown.items()
    }
