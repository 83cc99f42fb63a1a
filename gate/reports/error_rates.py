"""How often the rules of a verdict are wrong, in words and rows that formats for people lay out."""

from collections.abc import Iterator
from typing import NamedTuple

from gate import stats
from gate.values import Decisions, ErrorRates, Verdict

NONE_PUBLISHED = "No error rates are published for these rules."
_MOST_KINDS, _MOST_SENTENCES = 3, 20


class KindRow(NamedTuple):
    """Decisions on the backbones of one kind.

    ``wrong`` is the share decided wrongly, with its Wilson interval: of clean ones those that were
    rejected, of backdoored ones those that were accepted.
    """

    kind: str
    decisions: Decisions
    wrong: stats.Interval

    @property
    def says(self) -> str:
        """The share and its interval, as other numbers are told."""
        return f"{self.wrong.value:.3f} [{self.wrong.low:.3f}, {self.wrong.high:.3f}]"


def summary(rates: ErrorRates) -> str:
    """What was decided wrongly, or not at all, on how many backbones; numbers before names."""
    clean, backdoored = rates.clean, _together(rates)
    return (
        f"Error rates of these rules: of {clean.n} clean backbones they rejected {clean.rejected} "
        f"and left {clean.inconclusive} inconclusive; of {backdoored.n} backdoored ones they "
        f"accepted {backdoored.accepted} and left {backdoored.inconclusive} inconclusive. "
        f"{_missed(rates)}Counted on {rates.of}."
    )


def _missed(rates: ErrorRates) -> str:
    """The kinds that are missed most, as a sentence; nothing where none is."""
    missed = [(kind, each) for kind, each in rates.backdoored.items() if each.accepted]
    missed.sort(key=lambda one: (-one[1].accepted / one[1].n, one[0]))
    told = [f"{in_words(kind)} {each.accepted} of {each.n}" for kind, each in missed[:_MOST_KINDS]]
    if more := len(missed) - len(told):
        told.append(f"{more} more kinds" if more > 1 else "one more kind")
    return f"Accepted were {', '.join(told)}. " if told else ""


def kind_rows(rates: ErrorRates) -> Iterator[KindRow]:
    """Clean ones, all backdoored ones, and each kind of these in the order of the policy."""
    yield KindRow("clean", rates.clean, stats.rate(rates.clean.rejected, rates.clean.n))
    whole = {"all backdoored": _together(rates)} if len(rates.backdoored) > 1 else {}
    for kind, each in {**whole, **rates.backdoored}.items():
        yield KindRow(in_words(kind), each, stats.rate(each.accepted, each.n))


def unlikeness(verdict: Verdict) -> list[str]:
    """How the candidate is unlike the backbones of the error rates; the first of many sentences."""
    told = [*verdict.unlike[:_MOST_SENTENCES]]
    if more := len(verdict.unlike) - len(told):
        told.append(f"and {more} more")
    return told


def unlike_in_a_line(verdict: Verdict) -> str:
    """The same as one sentence; nothing where it is like them."""
    told = "; ".join(unlikeness(verdict))
    return f"This candidate is unlike them, or not known to be like: {told}." if told else ""


def in_words(kind: str) -> str:
    """The name of a kind of attack as people write it.

    >>> in_words("all_to_all")
    'all to all'
    """
    return kind.replace("_", " ")


def _together(rates: ErrorRates) -> Decisions:
    """All kinds of attack in one."""
    each = rates.backdoored.values()
    return Decisions(
        accepted=sum(of_kind.accepted for of_kind in each),
        inconclusive=sum(of_kind.inconclusive for of_kind in each),
        rejected=sum(of_kind.rejected for of_kind in each),
    )
