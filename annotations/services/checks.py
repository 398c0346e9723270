"""Gold, probes and practice: when a person gets one instead of regular work."""

from annotations.models import Annotator, Campaign


def deal_check(*, annotator: Annotator, campaign: Campaign) -> bool:  # noqa: ARG001 no checks so far
    """Lease a practice, gold or probe slot to this person if one is due now; whether one was."""
    return False
