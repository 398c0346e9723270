"""Simulated crowds with people of every kind, to see whom the checks of quality find and whom they leave alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import numpy as np

from annotations.models import Outcome, Task
from annotations.queries.quality import Said, people_figures
from annotations.queries.suspicions import Kind, suspicions
from hps_site.demo.simulator import Choice, SimulatedAnnotator

STYLES = ("warm painter", "cool painter")
"""The two generators of the test: of equal quality, so that only taste tells them apart."""

TASTE = 0.5
"""How many visible steps of quality the liked style makes up for; the minority likes the other one."""


class Sort(StrEnum):
    """What a simulated person is."""

    SKILLED = "skilled"
    MINORITY = "honest minority"
    LEFT = "biased to the left"
    RANDOM = "random"
    COLLUDING = "colluding"


HONEST = (Sort.SKILLED, Sort.MINORITY)

CROWD = {Sort.SKILLED: 12, Sort.MINORITY: 4, Sort.LEFT: 2, Sort.RANDOM: 3, Sort.COLLUDING: 3}
"""The mixture of the experiments."""

# Whom the suspicions should name, and for which kinds of them at least one.
TO_BE_FOUND = {
    Sort.LEFT: {Kind.PLACE, Kind.RANDOM},
    Sort.RANDOM: {Kind.RANDOM},
    Sort.COLLUDING: {Kind.RING},
}


@dataclass
class Member:
    """One simulated person of a crowd."""

    name: str
    sort: Sort
    eye: SimulatedAnnotator
    taste: float = 0.0
    """Added to the utility of the first style, taken from that of the second."""
    shared: dict[tuple[int, ...], int] | None = None
    """The answers of a colluding group by the set of images: who comes first decides for all."""

    def choose(self, images: Sequence[int], qualities: Sequence[float], styles: Sequence[str | None]) -> Choice:
        """One answer to images in the order shown."""
        liked = [self.taste * ((style == STYLES[0]) - (style == STYLES[1])) for style in styles]
        utilities = [quality + like for quality, like in zip(qualities, liked, strict=True)]
        if self.shared is None:
            return self.eye.choose(utilities)
        name = tuple(sorted(images))
        if name not in self.shared:
            self.shared[name] = images[int(np.argmax(self.eye.probabilities(utilities)))]
        return images.index(self.shared[name])


@dataclass(frozen=True)
class Found:
    """What the suspicions said of one crowd."""

    people: dict[Sort, int]
    found: dict[Sort, int]
    """People named for a reason that fits their sort."""
    named: dict[Sort, int]
    """People named for any reason."""

    alarmed: int
    """Crowds in which an honest person was named."""

    @property
    def false_alarms(self) -> int:
        return sum(self.named[sort] for sort in HONEST)

    def to_record(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {"false_alarms": self.false_alarms}


@dataclass
class ImaginedWorld:
    """A campaign that exists in memory only: pairs of one image of each style, and gold whose answer is plain."""

    seed: int
    tasks: int = 300
    votes_per_task: int = 12
    gold: int = 30
    gold_each: int = 20
    repeats_each: int = 15
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def said_by(self, members: Sequence[Member]) -> list[Said]:
        """Everything these people say, in the order of time; each task goes to `votes_per_task` of them by chance."""
        qualities = -np.abs(self.rng.normal(0, 1.2, (self.tasks, 2)))
        said: list[Said] = []
        for task in range(self.tasks):
            for at in self.rng.choice(len(members), min(self.votes_per_task, len(members)), replace=False):
                said.append(self._vote(members[at], task, qualities[task], Task.Purpose.REGULAR, len(said)))
        for member in members:
            own = [vote for vote in said if vote.person == member.name and vote.purpose == Task.Purpose.REGULAR]
            for at in self.rng.choice(len(own), min(self.repeats_each, len(own)), replace=False):
                task = int(own[at].prompt)
                swapped = own[at].images[::-1]
                said.append(self._vote(member, task, qualities[task], Task.Purpose.PROBE, len(said), swapped))
            for task in self.rng.choice(self.gold, min(self.gold_each, self.gold), replace=False):
                plain = np.array([0.0, -5.0])
                said.append(self._vote(member, self.tasks + int(task), plain, Task.Purpose.GOLD, len(said)))
        return said

    def _vote(
        self, member: Member, task: int, qualities: "np.typing.NDArray[np.float64]", purpose: str, number: int,
        shown: tuple[str, ...] = (),
    ) -> Said:  # fmt: skip
        names = (str(2 * task), str(2 * task + 1))
        shown = shown or tuple(names[at] for at in self.rng.permutation(2))
        style_of = dict(zip(names, (None, None) if purpose == Task.Purpose.GOLD else STYLES, strict=True))
        quality_of = dict(zip(names, qualities, strict=True))
        styles = [style_of[name] for name in shown]
        answer = member.choose([int(name) for name in shown], [float(quality_of[name]) for name in shown], styles)
        return Said(
            person=member.name,
            purpose=purpose,
            outcome=Outcome(answer) if isinstance(answer, str) else Outcome.CHOICE,
            prompt=str(task),
            images=shown,
            image=None if isinstance(answer, str) else shown[answer],
            generators=tuple(styles),
            expected=names[0] if purpose == Task.Purpose.GOLD else None,
            shown_ms=1500,
            is_too_fast=False,
            at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        )


def crowd(sorts: dict[Sort, int], seed: int) -> list[Member]:
    """People of these sorts. The honest differ in skill (1.2 to 2.4) like the demo's and sometimes say a tie."""
    rng = np.random.default_rng(seed)
    shared: dict[tuple[int, ...], int] = {}
    members = []
    for sort, count in sorts.items():
        for number in range(count):
            is_blind = sort == Sort.RANDOM
            eye = SimulatedAnnotator(
                name=f"{sort} {number + 1}",
                skill=0.0 if is_blind else float(rng.uniform(1.2, 2.4)),
                position_bias=-2.5 if sort == Sort.LEFT else float(rng.normal(0, 0.08)) * (not is_blind),
                tie_threshold=0.25,
                tie_rate=0.0 if is_blind else float(rng.uniform(0.2, 0.6)),
                seed=int(rng.integers(2**31)),
            )
            taste = {Sort.MINORITY: -TASTE, Sort.RANDOM: 0.0}.get(sort, TASTE)
            group = shared if sort == Sort.COLLUDING else None
            members.append(Member(name=eye.name, sort=sort, eye=eye, taste=taste, shared=group))
    return members


def found_in(said: Sequence[Said], members: Sequence[Member]) -> Found:
    """How the suspicions about a crowd meet what its members are; people are known by their names."""
    sort_of = {member.name: member.sort for member in members}
    kinds: dict[str, set[Kind]] = {name: set() for name in sort_of}
    for suspicion in suspicions(people_figures(said), said):
        kinds[suspicion.person].add(suspicion.kind)
    named = Counter(sort_of[name] for name, of_person in kinds.items() if of_person)
    found = Counter(
        sort_of[name] for name, of_person in kinds.items() if of_person & TO_BE_FOUND.get(sort_of[name], set())
    )
    people = Counter(sort_of.values())
    return Found(
        people={sort: people[sort] for sort in Sort},
        found={sort: found[sort] for sort in Sort},
        named={sort: named[sort] for sort in Sort},
        alarmed=int(any(named[sort] for sort in HONEST)),
    )


def together(found: Sequence[Found]) -> Found:
    """Several crowds as one."""
    return Found(
        people={sort: sum(one.people[sort] for one in found) for sort in Sort},
        found={sort: sum(one.found[sort] for one in found) for sort in Sort},
        named={sort: sum(one.named[sort] for one in found) for sort in Sort},
        alarmed=sum(one.alarmed for one in found),
    )
