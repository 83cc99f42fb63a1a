"""What can go wrong, and the exit code that says so.

=======================  ==========================================================  ====
raised                   when                                                        exit
=======================  ==========================================================  ====
``GateError``            never by itself: the root, to catch them all                   3
``├─ PolicyError``       a policy or waiver file is invalid, empty or unknown           2
``├─ PlanError``         a plan is invalid, or names a split or probe it lacks          2
``├─ DataError``         images, labels or attributes are unusable                      3
``├─ BackboneError``     weights are refused, do not load, or give unusable features    3
``├─ EvidenceError``     a number cannot be measured, or evidence does not fit          3
``├─ AdmissionError``    an admission is absent, forged, stale or of another file       3
``└─ PromotionError``    a registry holds other bytes, refuses, or cannot be reached    3
=======================  ==========================================================  ====
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; everything but 0 blocks."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """A code and what it means."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    ACCEPT = 0, "every blocking rule passed or is waived (or: the command did what it was asked)"
    REJECT = 1, "at least one blocking rule failed"
    USAGE = 2, "bad flags, an invalid or empty policy or plan, an unknown probe, metric or rule"
    ERROR = 3, "could not evaluate: load refused, invalid data, NaN, digest mismatch, missing file"
    INCONCLUSIVE = 4, "nothing failed, but some evidence is too weak to pass"
    INTERRUPTED = 130, "interrupted"


class GateError(Exception):
    """The message names who, what was found, the bound, and what to do."""

    exit_code = ExitCode.ERROR


class PolicyError(GateError):
    """A policy or waiver file that cannot be decided by."""

    exit_code = ExitCode.USAGE


class PlanError(GateError):
    """A plan that cannot be carried out."""

    exit_code = ExitCode.USAGE


class DataError(GateError):
    """Images, labels or attributes that cannot be measured on."""


class BackboneError(GateError):
    """Weights that are refused, do not load, or give unusable features."""


class EvidenceError(GateError):
    """A number that cannot be measured, or evidence that does not fit its verdict."""


class AdmissionError(GateError):
    """An admission that does not admit this artefact here and now."""


class PromotionError(GateError):
    """A registry that does not hold what was admitted, or does not answer."""


@contextmanager
def failing_as(error: type[GateError], what: str, do: str = "") -> Iterator[None]:
    """Whatever a foreign library raises in the block is an error of gate's; those of gate pass.

    Args:
        error: What to raise instead.
        what: What the message says was found, before the library's own words.
        do: What the message tells people to do, if they can do anything.

    >>> with failing_as(BackboneError, "a.onnx: truncated", "export it again"):
    ...     raise EOFError("7 bytes are missing")
    Traceback (most recent call last):
    gate.errors.BackboneError: a.onnx: truncated: 7 bytes are missing; export it again
    >>> with failing_as(BackboneError, "a.pt2: truncated"):
    ...     raise BackboneError("a.pt2: holds a pickle; refused")
    Traceback (most recent call last):
    gate.errors.BackboneError: a.pt2: holds a pickle; refused
    """
    try:
        yield
    except GateError:
        raise
    except Exception as fault:  # readers raise whatever damaged bytes make them raise
        raise error(f"{what}: {first_line(fault)}" + (f"; {do}" if do else "")) from fault


def first_line(fault: BaseException) -> str:
    """What another library's exception says, in one line; its type where it says nothing.

    >>> first_line(ValueError(" bad shape "))
    'bad shape'
    """
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]
