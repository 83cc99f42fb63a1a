"""The jackknife over blocks of images: image i belongs to block i modulo 20."""

from gate import stats
from gate.arrays import Float64
from gate.errors import EvidenceError

BLOCKS = 20


def require_blocks(probe: str, what: str, n: int) -> None:
    """Refuse what a jackknife over blocks cannot measure.

    Raises:
        EvidenceError: Fewer than two examples a block.
    """
    if n < 2 * BLOCKS:
        raise EvidenceError(
            f"{probe}: {what} has {n} examples, and the jackknife over {BLOCKS} blocks needs "
            f"{2 * BLOCKS}; add more"
        )


def jackknife(values: Float64, *, searched_low: int = 1, searched_high: int = 1) -> stats.Interval:
    """Jackknife interval of ``(1 + B,)`` values: on all images, then without each block."""
    whole, parts = float(values[0]), values[1:].tolist()
    return stats.jackknife(whole, parts, searched_low=searched_low, searched_high=searched_high)


def shift(
    values: Float64, n: int, *, searched_low: int = 1, searched_high: int = 1
) -> stats.Interval:
    """Jackknife interval of a change in the answers to ``n`` images, as between histograms.

    Where no image changes its class a jackknife has no width; then, as for any rate, nothing was
    seen in ``n`` images, and the reach is that of a rate of zero.

    Args:
        values: ``(1 + B,)``, on all images and without each block.
        n: How many images.
        searched_low: How many lower ends must hold at once, where the largest is taken.
        searched_high: How many upper ends must hold at once, where the smallest is taken.
    """
    value, low, high = jackknife(values, searched_low=searched_low, searched_high=searched_high)
    below, above = (
        stats.rate(0, n, searched_high=searched).high for searched in (searched_low, searched_high)
    )
    return stats.Interval(value, min(low, value - below), max(high, value + above))
