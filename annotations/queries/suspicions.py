"""Who may not have looked: people to look at, with reasons in words. Nobody is excluded by it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotations.queries.quality import TASTE_LEVEL, PersonFigures, Said, choices_of, same_twice
from scoring.collusion import Ring, rings
from scoring.metrics import Estimate
from scoring.reliability import answers_of

# Over all people together, an honest crowd gives a false alarm of one kind with at most this probability.
FALSE_ALARMS = 0.05

# What others reach is known from so many answers; with fewer, this is taken for it.
ANSWERS_TO_KNOW = 20
USUAL_GOLD, USUAL_REPEATS, USUAL_FIT = 0.9, 0.8, 0.8

# Where gold and repeats together are fewer than these, the decided crowd is asked as well.
TELLING_CHECKS = 5

# A habit of place must be seen (corrected for the number of people) and be worth speaking of.
PLACE_LEVEL, PLACE_LEAST = 0.01, 0.1

# Evidence beyond this is told in the same words; its exponential is a number that a float still holds.
LARGEST_EVIDENCE = 20.0

# Habits are judged from so many votes on.
VOTES_TO_JUDGE = 20
MANY_TOO_FAST, MOSTLY, USUALLY_FEW = 0.2, 0.5, 0.25


class Kind(models.TextChoices):
    RANDOM = "random", gettext_lazy("looks random")
    RING = "ring", gettext_lazy("answers shared")
    PLACE = "place", gettext_lazy("one place preferred")
    TOO_FAST = "too_fast", gettext_lazy("too fast")
    SAME_ANSWER = "same_answer", gettext_lazy("hardly chooses")


@dataclass(frozen=True)
class Suspicion:
    """One reason to look at one person."""

    person: str
    kind: Kind
    reason: str
    """What was seen, in words and numbers."""
    others: tuple[str, ...] = ()
    """The other members of a ring."""


def suspicions(figures: Mapping[str, PersonFigures], said: Sequence[Said]) -> list[Suspicion]:
    """Whom to look at and why, those with the most reasons first.

    Args:
        figures: of the people that are part of the crowd.
        said: what these people said.
    """
    found = [
        *_random(figures),
        *_shared(said),
        *_places(figures),
        *_too_fast(figures),
        *_same_answers(figures),
    ]
    reasons = {person: sum(one.person == person for one in found) for person in figures}
    kinds = list(Kind)
    return sorted(found, key=lambda one: (-reasons[one.person], one.person, kinds.index(one.kind)))


def evidence_of_guessing(figures: PersonFigures, everyone: Mapping[str, PersonFigures]) -> float:
    """How many times likelier these answers are from somebody who guesses than from one like the others; as logarithm.

    Gold and repeats speak: whoever looks gets them right, whatever their taste. Agreement with the decided crowd speaks
    only where there are hardly any of them, and never against a person whose choices follow a taste of their own.
    """
    guess = 1 / figures.images
    others = [other for person, other in everyone.items() if person != figures.person]
    evidence = _log_ratio(figures.gold, guess, _usual([other.gold for other in others], USUAL_GOLD, guess))
    evidence += _log_ratio(figures.repeats, guess, _usual([other.repeats for other in others], USUAL_REPEATS, guess))
    if figures.gold.n + figures.repeats.n >= TELLING_CHECKS or has_own_taste(figures):
        return evidence
    usual_fit = _usual([other.fit for other in others], USUAL_FIT, figures.chance_fit)
    return evidence + _log_ratio(figures.fit, figures.chance_fit or guess, usual_fit)


def has_own_taste(figures: PersonFigures) -> bool:
    """Whether the choices follow the generators in some way, be it another way than the others'."""
    return figures.preference_p is not None and figures.preference_p < TASTE_LEVEL


def _random(figures: Mapping[str, PersonFigures]) -> list[Suspicion]:
    """By a likelihood ratio: of honest people, at most one in so many reaches it, however long one looks (Ville)."""
    least = math.log(max(1, len(figures)) / FALSE_ALARMS)
    found = []
    for person, of_person in figures.items():
        evidence = evidence_of_guessing(of_person, figures)
        if evidence > least:
            seen = [
                text
                for estimate, text in (
                    (of_person.gold, _("%(hits)s of %(n)s gold tasks right")),
                    (of_person.repeats, _("the same answer to %(hits)s of %(n)s repeats")),
                    (of_person.fit, _("as the decided crowd in %(hits)s of %(n)s tasks")),
                )
                if estimate.n
                for text in [text % {"hits": _hits(estimate), "n": estimate.n}]
            ]
            reason = _("%(seen)s: %(times)s times likelier from somebody who guesses than from one like the others.")
            found.append(
                Suspicion(person, Kind.RANDOM, reason % {"seen": "; ".join(seen), "times": _rounded(evidence)})
            )
    return found


def _shared(said: Sequence[Said]) -> list[Suspicion]:
    counts = same_twice(said).values()
    found = rings(
        answers_of(choices_of(said)),
        same_twice=sum(same for same, _n in counts),
        repeats=sum(n for _same, n in counts),
    )
    return [
        Suspicion(person, Kind.RING, _ring_reason(ring), tuple(other for other in ring.people if other != person))
        for ring in found
        for person in ring.people
    ]


def _ring_reason(ring: Ring) -> str:
    return _(
        "%(people)s people chose the same image in %(agreed)s of %(shared)s cases; people who look for "
        "themselves agree in at most about %(bound)s %%, however alike their tastes are."
    ) % {
        "people": len(ring.people),
        "agreed": ring.agreed,
        "shared": ring.shared,
        "bound": round(100 * ring.bound),
    }


def _places(figures: Mapping[str, PersonFigures]) -> list[Suspicion]:
    judged = [
        (person, of_person.places)
        for person, of_person in figures.items()
        if of_person.places is not None and of_person.places.choices >= VOTES_TO_JUDGE
    ]
    found = []
    for rank, (person, places) in enumerate(sorted(judged, key=lambda pair: pair[1].p_value)):
        if places.p_value * (len(judged) - rank) > PLACE_LEVEL:  # Holm: the first that passes ends it
            break
        estimate = places.share(places.favourite)
        if estimate.value is not None and estimate.value - places.even_share >= PLACE_LEAST:
            reason = _(
                "place %(place)s chosen in %(share)s %% of %(n)s choices (95 %% interval %(low)s to %(high)s %%)."
            )
            words = {"place": places.favourite + 1} | _percents(estimate)
            found.append(Suspicion(person, Kind.PLACE, reason % words))
    return found


def _too_fast(figures: Mapping[str, PersonFigures]) -> list[Suspicion]:
    reason = _("%(share)s %% of %(n)s votes came faster than one can look.")
    return [
        Suspicion(person, Kind.TOO_FAST, reason % _percents(of_person.too_fast))
        for person, of_person in figures.items()
        if of_person.said >= VOTES_TO_JUDGE and (of_person.too_fast.low or 0) > MANY_TOO_FAST
    ]


def _same_answers(figures: Mapping[str, PersonFigures]) -> list[Suspicion]:
    found = []
    for name, reason in (
        ("ties", _("a tie in %(share)s %% of %(n)s judgements, where others hardly say it.")),
        ("all_bad", _("'all bad' in %(share)s %% of %(n)s judgements, where others hardly say it.")),
        ("skips", _("skipped or flagged %(share)s %% of %(n)s tasks, where others hardly do.")),
    ):
        for person, of_person in figures.items():
            estimate = getattr(of_person, name)
            others = [getattr(other, name) for other in figures.values() if other.person != person]
            if estimate.n >= VOTES_TO_JUDGE and (estimate.low or 0) > MOSTLY and _usual(others, 0.0, 0.0) < USUALLY_FEW:
                found.append(Suspicion(person, Kind.SAME_ANSWER, reason % _percents(estimate)))
    return found


def _usual(estimates: Sequence[Estimate], unknown: float, guess: float) -> float:
    """The others' share; never so near to guessing, or to certainty, that a single answer would decide."""
    n = sum(estimate.n for estimate in estimates)
    if n < ANSWERS_TO_KNOW:
        return unknown
    return float(np.clip(sum(_hits(estimate) for estimate in estimates) / n, guess + 0.05 if guess else 0, 0.97))


def _log_ratio(estimate: Estimate, guess: float, usual: float) -> float:
    """Logarithm of the likelihood of these hits at the guesser's rate over that at the usual one."""
    if not estimate.n or not 0 < guess < 1:
        return 0.0
    hits = _hits(estimate)
    return hits * math.log(guess / usual) + (estimate.n - hits) * math.log((1 - guess) / (1 - usual))


def _hits(estimate: Estimate) -> int:
    return round((estimate.value or 0) * estimate.n)


def _rounded(evidence: float) -> str:
    """A ratio in words that a person can read: two leading digits, or a million and more."""
    ratio = float(f"{math.exp(min(evidence, LARGEST_EVIDENCE)):.1e}")
    return _("a million or more") if ratio >= 1e6 else f"{ratio:,.0f}"


def _percents(estimate: Estimate) -> dict[str, int]:
    return {
        "share": round(100 * (estimate.value or 0)),
        "low": round(100 * (estimate.low or 0)),
        "high": round(100 * (estimate.high or 0)),
        "n": estimate.n,
    }
