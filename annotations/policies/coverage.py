"""Generators with few votes first, so that a new one soon has a place."""

import numpy as np

from annotations.policies.standing import Floats, Standing


def coverage(standing: Standing) -> Floats:
    """How far the generators of a matchup lag, in sets, behind the one that was asked about most.

    Once all have been asked about alike no weight is left, and chance alone decides.
    """
    times_asked = standing.asked @ (standing.shown > 0)
    lag = times_asked.max(initial=0) - times_asked
    return np.asarray(standing.shown @ lag)
