"""Which images of the arms of a proof or a study can't be shown, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence

from annotations.models import Image

MISSING, HIDDEN, ALIKE = "missing", "hidden", "alike"

Reasons = dict[str, int]
"""By reason, how many images: one of `Image.HiddenReason`, hidden by a person, missing, or alike in both arms."""


def fault_of(image: Image | None) -> str:
    """Why an image can't be shown; empty where it can."""
    if image is None:
        return MISSING
    return (image.hidden_reason or HIDDEN) if image.is_hidden else ""


def reasons_by_arm(images: Mapping[str, Sequence[Image | None]]) -> dict[str, Reasons]:
    """Of each arm the images that can't be shown, by reason; arms without any are left out."""
    counts = {arm: Counter(fault for image in of_arm if (fault := fault_of(image))) for arm, of_arm in images.items()}
    return {arm: dict(sorted(reasons.items())) for arm, reasons in counts.items() if reasons}


def told(reasons: Mapping[str, Reasons]) -> str:
    """Such as `adapted: 3 blank, 1 broken; both: 1 alike`."""
    return "; ".join(
        f"{arm}: " + ", ".join(f"{count} {reason}" for reason, count in of_arm.items())
        for arm, of_arm in reasons.items()
    )
