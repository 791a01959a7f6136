"""Which of several processes this one is."""

from pytorch_lightning.utilities.rank_zero import rank_zero_only


def is_first() -> bool:
    """Say whether this is process 0 of all, as Lightning counts them: also before they have met."""
    return bool(rank_zero_only(lambda: True)())
