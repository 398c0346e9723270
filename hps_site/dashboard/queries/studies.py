"""Blind studies: does the adapted generator get more votes than the original it was made from?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from annotations.models import Campaign, Image, Task
from scoring import metrics
from scoring.metrics import Estimate, Verdict
from scoring.preferences import Choice
from worker.models import Study

EXAMPLES = 6


@dataclass(frozen=True)
class Example:
    """One prompt with both images and what people said of them."""

    prompt: str
    original: Image
    adapted: Image
    original_votes: int
    adapted_votes: int
    undecided_votes: int


@dataclass(frozen=True)
class StudyReport:
    """What a study has shown so far."""

    study: Study
    share: Estimate
    """Votes for the adapted generator; a tie counts half, 'all bad' is left out."""
    prompts_won: Estimate
    """Prompts with more than half of the votes for the adapted one; a prompt split evenly counts half."""
    verdict: Verdict
    votes: int
    prompts: int
    examples: list[Example]
    """Drawn at random, not picked: the first by the tasks' random ids."""


def study_report(campaign: Campaign, choices: Sequence[Choice], *, seed: int = 0) -> StudyReport | None:
    """How the adapted generator of a study campaign fares; None for any other campaign.

    Args:
        campaign: whose study is looked at.
        choices: counted votes of the campaign, from `ballots.read_choices`.
        seed: of the intervals' resampling.

    Returns:
        Shares with intervals resampled by prompt; the verdict is on the share of votes. At most four SQL statements.
    """
    study = Study.objects.filter(campaign=campaign).select_related("original", "adapted", "version").first()
    if study is None:
        return None
    adapted = study.adapted.name
    judged = [choice for choice in choices if adapted in choice.generators and choice.outcome != "all_bad"]
    share = metrics.vote_share(judged, adapted, seed=seed)
    return StudyReport(
        study=study,
        share=share,
        prompts_won=metrics.prompts_won(judged, adapted, seed=seed),
        verdict=metrics.verdict(share),
        votes=len(judged),
        prompts=len({choice.prompt for choice in judged}),
        examples=_examples(study, choices),
    )


def _examples(study: Study, choices: Sequence[Choice]) -> list[Example]:
    tasks = (
        Task.objects.filter(campaign=study.campaign_id, purpose=Task.Purpose.REGULAR)
        .select_related("prompt")
        .prefetch_related("images")
        .order_by("public_id")
    )
    said = Counter((frozenset(choice.images), choice.answer) for choice in choices)
    examples = (_example(study, task, said) for task in tasks[:EXAMPLES])
    return [example for example in examples if example is not None]


def _example(study: Study, task: Task, said: Counter[tuple[frozenset[str], str]]) -> Example | None:
    images = {image.generator_id: image for image in task.images.all()}
    original, adapted = images.get(study.original_id), images.get(study.adapted_id)
    if original is None or adapted is None:
        return None
    shown = frozenset(str(image.pk) for image in task.images.all())
    return Example(
        prompt=task.prompt.text,
        original=original,
        adapted=adapted,
        original_votes=said[shown, str(original.pk)],
        adapted_votes=said[shown, str(adapted.pk)],
        undecided_votes=said[shown, "tie"] + said[shown, "all_bad"],
    )
