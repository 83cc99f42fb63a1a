"""How often rules on the worst of a bank accept and reject: as intervals are, and as they were.

``python -m tests.benchmarks.intervals`` prints tables in Markdown. Nothing is drawn: every share is
a sum of binomial probabilities. Both ends used to be corrected for all that was searched, and
paired differences used to have Newcombe's limits.
"""

import math
from collections.abc import Callable

from gate import stats
from gate.triggers.bank import bank
from gate.triggers.grid import DEFAULT_BANK

IMAGES, CLASSES, CONTROLS = 500, 10, 3
BOUND, EXCESS_BOUND = 0.6, 0.4
_NEVER = 1e-12  # less probable counts are left out


# an upper end from: both, first, second, n, searched
PairedLimit = Callable[[int, int, int, int, int], float]


def newcombe(both: int, first: int, second: int, n: int, searched: int) -> float:
    """Upper limit of a paired difference by square-and-add on Wilson limits.

    Source:
        Newcombe 1998, "Improved confidence intervals for the difference between binomial
        proportions based on paired data", method 10.
    """
    neither = n - both - first - second
    a, b = (
        stats.rate(both + one, n, searched_low=searched, searched_high=searched)
        for one in (first, second)
    )
    margins = (both + first) * (neither + second) * (both + second) * (neither + first)
    product = float(both * neither - first * second)
    if product > 0:  # the continuity correction is for a positive association only
        product = max(product - n / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0
    x, y = a.high - a.value, b.value - b.low
    reach = math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))
    return min(a.value - b.value + reach, 1.0)


def tango(_both: int, first: int, second: int, n: int, searched: int) -> float:
    """Upper limit of a paired difference, as the gate has it."""
    return stats.paired_difference(first, second, n, searched_high=searched).high


def rate_accepted(truth: float, searched: int = 1) -> float:
    """How often the upper end of a rate, one of so many that must hold at once, keeps to 0.6."""
    return _share(
        truth, lambda hits: stats.rate(hits, IMAGES, searched_high=searched).high <= BOUND
    )


def rates_rejected(truth: float, rates: int, searched: int) -> float:
    """How often the lower end of some of so many independent rates lies above 0.6."""
    one = _share(truth, lambda hits: stats.rate(hits, IMAGES, searched_low=searched).low > BOUND)
    return -math.expm1(rates * math.log1p(-one))


def _share(truth: float, holds: Callable[[int], bool]) -> float:
    from scipy.stats import binom

    counts = range(IMAGES + 1)
    shares = binom.pmf(counts, IMAGES, truth).tolist()
    probable = [(hits, share) for hits, share in enumerate(shares) if share > _NEVER]
    return math.fsum(share for hits, share in probable if holds(hits))


def excess_accepted(limit: PairedLimit, rate: float, excess: float, searched: int) -> float:
    """How often the upper end of a trigger's excess over the strongest control keeps to 0.4.

    Whatever a control hits the trigger hits too; controls are alike, and independent of each other
    among the trigger's hits.
    """
    from scipy.stats import binom

    total = 0.0
    for hits, share in enumerate(binom.pmf(range(IMAGES + 1), IMAGES, rate).tolist()):
        if share > _NEVER:
            both = binom.pmf(range(hits + 1), hits, (rate - excess) / rate).tolist()
            one = math.fsum(
                part
                for shared, part in enumerate(both)
                if part > _NEVER
                and limit(shared, hits - shared, 0, IMAGES, searched) <= EXCESS_BOUND
            )
            total += share * (1 - (1 - one) ** CONTROLS)
    return total


def main() -> None:
    """Print the table."""
    triggers = len(bank(DEFAULT_BANK, 32, 3, 0, ()))
    searched = triggers * CLASSES
    print(f"The default bank of {triggers} triggers, {CLASSES} classes, {IMAGES} images:\n")
    print("| worst rate, bound 0.6 | end corrected for all searched | not |\n|---|---|---|")
    for truth in (0.5, 0.55, 0.6):
        shares = rate_accepted(truth, searched), rate_accepted(truth)
        _row(f"upper end: one true rate of {truth}, all others far below: accepted", *shares)
    shares = rates_rejected(BOUND, searched, searched), rates_rejected(BOUND, searched, 1)
    _row(f"lower end: all {searched:,} true rates are 0.6: rejected", *shares)
    print(
        f"\n| worst excess over the strongest of {CONTROLS} controls, bound 0.4 "
        "| Newcombe, corrected for all searched | Newcombe, for controls | Tango, for controls |\n"
        "|---|---|---|---|"
    )
    for excess in (0.35, 0.4):
        for rate in (0.42, 0.45, 0.6, 0.8):
            _row(
                f"upper end: a true excess of {excess}, a rate of {rate}: accepted",
                excess_accepted(newcombe, rate, excess, searched * CONTROLS),
                excess_accepted(newcombe, rate, excess, CONTROLS),
                excess_accepted(tango, rate, excess, CONTROLS),
            )
    print("\nA rate of 0.6, or an excess of 0.4, may be accepted or rejected in 2.5 % of cases.")


def _row(what: str, *shares: float) -> None:
    print("|", " | ".join([what, *(f"{100 * share:.1f} %" for share in shares)]), "|")


if __name__ == "__main__":
    main()
