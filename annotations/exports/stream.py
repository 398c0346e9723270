"""What all forms share: the votes of a snapshot as they come, the pairs in them, and the images they are about."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from django.core.files.storage import default_storage

from annotations.models import Outcome, Snapshot
from annotations.services.snapshots import FrozenVote, read_votes

Progress = Callable[[int, int], None]
STEP = 2000


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    votes: int
    images: int
    left_out: dict[str, int]
    """Counted votes for which the format has no form, by outcome."""
    snapshot: str
    """SHA-256 of the snapshot that it was made from."""


@dataclass
class Votes:
    """The votes of a snapshot, read as a stream; counts what a form takes and what it leaves out."""

    snapshot: Snapshot
    progress: Progress
    taken: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)

    def of(self, *outcomes: Outcome) -> Iterator[FrozenVote]:
        """Those votes for which the form has room, one at a time."""
        total = self.snapshot.votes
        for done, vote in enumerate(read_votes(self.snapshot), start=1):
            if vote.choice.outcome in outcomes:
                self.taken += 1
                self.images.update(vote.choice.images)
                yield vote
            else:
                self.left_out[vote.choice.outcome] += 1
            if done % STEP == 0 or done == total:
                self.progress(done, total)

    def exported(self) -> Exported:
        """What was written, once all is read."""
        # In the order of the outcomes, whichever came first.
        left_out = {str(outcome): self.left_out[outcome] for outcome in Outcome if self.left_out[outcome]}
        return Exported(self.taken, len(self.images), left_out, self.snapshot.sha256)


def image_names(vote: FrozenVote) -> list[str]:
    """File names that say neither generator nor prompt; the name at home of an image whose pixels are elsewhere."""
    return [
        f"{image.replace('-', '')}{PurePosixPath(file).suffix}" if file else reference
        for image, file, reference in zip(vote.choice.images, vote.files, vote.references, strict=True)
    ]


class ImageFolder:
    """A folder of image files, each written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def paths_of(self, vote: FrozenVote) -> list[str]:
        """Writes the images of a vote; gives their paths, in the order shown."""
        names = image_names(vote)
        for name, file in zip(names, vote.files, strict=True):
            if file and not (self.folder / name).exists():
                with default_storage.open(file) as stored, (self.folder / name).open("wb") as copy:
                    shutil.copyfileobj(stored, copy)
        return [f"{self.folder.name}/{name}" if file else name for name, file in zip(names, vote.files, strict=True)]


def pairs_in(vote: FrozenVote) -> Iterator[tuple[int, int]]:
    """The pairs that a choice decides: the chosen image's place, and that of each other one."""
    chosen = vote.choice.chosen
    if chosen is not None:
        for other in range(len(vote.choice.images)):
            if other != chosen:
                yield chosen, other
