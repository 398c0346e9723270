"""What is collected, a module for each noun."""

from annotations.models.campaigns import (
    MAX_CANDIDATES,
    MIN_CANDIDATES,
    RESERVED_SLUGS,
    Campaign,
    CampaignQuerySet,
    Instructions,
    InstructionsExample,
    Invite,
    Recruitment,
    random_code,
)
from annotations.models.library import TEST_SHARE, Generator, Image, Prompt, Split, image_path, text_sha256
from annotations.models.outcomes import Outcome
from annotations.models.people import Annotator, Demographics, Participation, StateChange
from annotations.models.snapshots import Snapshot
from annotations.models.tasks import Candidate, Slot, Task
from annotations.models.throttles import Attempts
from annotations.models.uploads import ManifestRow, Upload, UploadPart, part_path
from annotations.models.votes import Vote, VoteQuerySet

__all__ = [
    "MAX_CANDIDATES",
    "MIN_CANDIDATES",
    "RESERVED_SLUGS",
    "TEST_SHARE",
    "Annotator",
    "Attempts",
    "Campaign",
    "CampaignQuerySet",
    "Candidate",
    "Demographics",
    "Generator",
    "Image",
    "Instructions",
    "InstructionsExample",
    "Invite",
    "ManifestRow",
    "Outcome",
    "Participation",
    "Prompt",
    "Recruitment",
    "Slot",
    "Snapshot",
    "Split",
    "StateChange",
    "Task",
    "Upload",
    "UploadPart",
    "Vote",
    "VoteQuerySet",
    "image_path",
    "part_path",
    "random_code",
    "text_sha256",
]
