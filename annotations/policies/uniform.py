"""All sets alike."""

from annotations.policies.standing import Floats, Standing


def uniform(standing: Standing) -> Floats:
    """Each free vote has the same chance, so that matchups run down together and all end at the same time."""
    return standing.free
