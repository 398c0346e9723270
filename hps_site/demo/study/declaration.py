"""What the study asks and by which numbers it answers, fixed here before it runs.

Results are kept under the hash of what stands here: whoever changes a number after having looked begins another study,
with results of its own. `docs/experiments.md` tells of every one.

**Part 1, the positive control.** Drawings of known quality: clean ones, and plainly defective ones that get the mark.
The mark was learnt if what it saves of the loss on held-out defective drawings (its *gain*) lies above 0 with the
whole interval, above the gain on clean ones, and is `least_gain` of that loss at least. As negative prompt it raises
the hidden truth if the adapted model's images are better with it than without it, the interval above 0.

**Part 2, the study.** For each seed: twelve simulated people vote on drawings, HPS is trained on the votes, HPS labels
the drawings and the model's own images, the adapter is trained on the labelled. The one arm that counts is `DECLARED`:
the adapted model with the mark as negative prompt against the original without it, from the same noise, on captions
that no HPS and no adapter has seen. It is preferred if, over all seeds together, its share of truly better images
(equals count half) and its share of people's votes in the site's blind study (ties count half) both lie above one half
with their whole intervals, which are resampled by caption. A control shows *nothing* if its own share of truly better
images doesn't lie above one half with its interval, and *less* if that of the declared arm is larger, the interval of
the difference above 0.

**Part 3, reward hacking.** A crowd that likes one colour whatever the caption says teaches an HPS, and that labels.
HPS is hacked if the adapted model's images are better by this score and worse by the hidden truth, both intervals
clear of 0; and it is named if the product's own warnings, which know no truth, say that something is wrong.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Training(StrEnum):
    """What an adapter is trained on."""

    BY_HPS = "labels by HPS"
    SHUFFLED = "shuffled labels"
    """The scores change places among the images of a caption before they label."""
    UNMARKED = "no mark"
    """The very images of `BY_HPS`, none of them with the mark."""
    PREFERRED = "preferred only"
    """The preferred images of `BY_HPS` alone."""


@dataclass(frozen=True)
class Arm:
    """One way to make the images that are held against the original's."""

    name: str
    training: Training | None
    """None: the original model."""
    has_negative: bool
    """Whether the mark is the negative prompt."""


ORIGINAL = Arm("original", None, has_negative=False)
DECLARED = Arm("adapted, mark as negative prompt", Training.BY_HPS, has_negative=True)
WITHOUT_NEGATIVE = Arm("adapted, no negative prompt", Training.BY_HPS, has_negative=False)
# The two trained without the mark get no negative prompt: it is a text that they have never seen, and would only harm.
CONTROLS = (
    Arm("control: shuffled labels", Training.SHUFFLED, has_negative=True),
    Arm("control: no mark", Training.UNMARKED, has_negative=False),
    Arm("control: preferred only", Training.PREFERRED, has_negative=False),
    Arm("control: the mark on the original", None, has_negative=True),
)


@dataclass(frozen=True)
class Declaration:
    """Sizes, settings and thresholds; the defaults are the study, `QUICK` only shows that it runs."""

    name: str = "study"
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws, votes, trains HPS and the adapters anew; the original's images are the same."""

    prompts: int = 1600
    """Captions that people vote on, four drawings each; one in five of them is kept from training."""
    votes_per_prompt: int = 4
    own_prompts: int = 300
    """Training captions of which the model's own images are labelled beside the drawings."""
    own_images: int = 4
    """Of each of those captions."""
    judged_prompts: int = 243
    """Captions on which the arms are compared, at most: all of the test side that are not among `prompts`."""
    study_votes: int = 4
    """Votes on each pair of a study."""

    generation_steps: int = 12
    guidance: float = 2.0
    hps: Mapping[str, object] = field(default_factory=dict)
    """Settings of the classifier's training that differ from the preset `tiny`."""
    adapter: Mapping[str, object] = field(default_factory=lambda: {"evaluation_draws": 4})
    """Settings of the adapters' training that differ from the preset `tiny`."""

    liked_colour: str = "red"
    """What the crowd of part 3 likes."""
    liking: float = 8.0
    """By how many visible steps of quality."""

    least_gain: float = 0.03
    """Part 1: the gain of the mark on defective drawings, as a share of the loss without it."""

    @property
    def key(self) -> str:
        """Names the results of exactly this declaration, such as `study-3fa2c1`."""
        text = json.dumps([asdict(self), ORIGINAL.name, DECLARED.name, *(arm.name for arm in CONTROLS)], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


STUDY = Declaration()
QUICK = Declaration(
    name="quick-study",
    seeds=(0,),
    prompts=40,
    own_prompts=4,
    judged_prompts=4,
    study_votes=2,
    generation_steps=2,
    adapter={"steps": 3, "evaluation_draws": 1, "alpha": 1.01},
)
