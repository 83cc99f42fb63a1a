"""How the rules of one policy differ from those of another: which ask less, and which ask more."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from gate.policy.rules import Rule
from gate.values import DecideOn, Severity, digest_of

Kind = Literal["looser", "unclear", "stricter", "reworded"]
_KIND: dict[bool | None, Kind] = {True: "stricter", False: "looser", None: "unclear"}


class Change(NamedTuple):
    """One way in which a policy differs from another, in words.

    ``unclear`` is what may let more through and less through as well: other labels, another metric.
    """

    kind: Kind
    rule: str
    says: str


def changes(old: Rule, new: Rule) -> list[Change]:
    """How a rule differs from the one that it replaces.

    >>> whole = {"probe": "clean_accuracy", "metric": "accuracy", "why": "because"}
    >>> changes(Rule(at_least=0.8, **whole), Rule(at_least=0.7, **whole))[0].says
    'at least 0.8 -> at least 0.7'
    """
    differing = [Change(_KIND[stricter], new.id, says) for stricter, says in _asks(old, new)]
    if old.why != new.why:
        differing.append(Change("reworded", new.id, f"why: {new.why}"))
    if old.loosen != new.loosen:
        says = f"loosen: {old.loosen or 'none'} -> {new.loosen or 'none'}"
        differing.append(Change("reworded", new.id, says))
    if not differing and digest_of(old) != digest_of(new):
        differing.append(Change("reworded", new.id, "written otherwise, and asks the same"))
    return differing


def compared(old: Iterable[Rule], new: Iterable[Rule]) -> list[Change]:
    """How the rules of one policy differ from those of another; they are told apart by their id.

    Where no rule that blocks has to be settled, what is open is not accepted only because nothing
    carries the acceptance. A rule that begins to block might carry it: that is no tightening.
    """
    before, after = ({rule.id: rule for rule in rules} for rules in (old, new))
    differing = [
        Change("looser", name, f"the rule is gone: {_asked(rule)}")
        for name, rule in before.items()
        if name not in after
    ]
    for name, rule in after.items():
        if name in before:
            differing += changes(before[name], rule)
        else:
            differing.append(Change("stricter", name, f"a new rule: {_asked(rule)}"))
    blocked = {name for name, rule in before.items() if rule.severity == "block"}
    blocks = {name: rule for name, rule in after.items() if rule.severity == "block"}
    if not any(blocks[name].on_inconclusive == "block" for name in blocked & blocks.keys()):
        says = (
            "it blocks only now, and an acceptance may rest on it alone, for no rule that blocked "
            "before has to be settled; set on_inconclusive: block on one that did"
        )
        differing += [Change("unclear", name, says) for name in blocks if name not in blocked]
    return differing


def _asks(old: Rule, new: Rule) -> Iterator[tuple[bool | None, str]]:
    """What a rule asks otherwise than the one that it replaces: whether that is stricter, if known.

    Yields:
        True (stricter), False (looser) or None (unclear), and the difference in words.
    """
    bounded = [(rule.probe, rule.measured_metric, rule.relative, rule.where) for rule in (old, new)]
    if bounded[0] != bounded[1]:
        yield None, f"{_measured(old)} -> {_measured(new)}"
    was, now = old.bound.number, new.bound.number
    if (old.at_least is None) != (new.at_least is None):
        yield None, f"{old.bound} -> {new.bound}"
    elif was != now:
        yield (now > was) == (new.at_least is not None), f"{old.bound} -> {new.bound}"
    if old.severity != new.severity:
        yield new.severity == "block", f"severity {old.severity} -> {new.severity}"
    before, after = ((rule.decide_on, rule.on_inconclusive) for rule in (old, new))
    if before != after:
        names = ("decide_on", "on_inconclusive")
        yield (
            _settles_more(before, after),
            ", ".join(
                f"{name} {one} -> {other}"
                for name, one, other in zip(names, before, after, strict=True)
                if one != other
            ),
        )
    if old.min_n != new.min_n:
        more = (new.min_n or 0) > (old.min_n or 0)
        yield more, f"min_n {old.min_n or 'none'} -> {new.min_n or 'none'}"


def _settles_more(
    before: tuple[DecideOn, Severity], after: tuple[DecideOn, Severity]
) -> bool | None:
    """Which way of settling what an interval leaves open lets less through, if either does.

    A point fails what a warning lets through, and passes what it leaves open, on which alone
    nothing is accepted: hence None.
    """
    if ("bound", "block") in (before, after):
        return after == ("bound", "block")
    return after[1] == "block" if before[0] == after[0] else None


def _asked(rule: Rule) -> str:
    return f"{rule.probe}.{rule.measured_metric} {rule.bound}, {rule.severity}"


def _measured(rule: Rule) -> str:
    labels = ", ".join(f"{name} {glob}" for name, glob in rule.where.items())
    share = " as a share of the reference" if rule.relative else ""
    return f"{rule.probe}.{rule.measured_metric}{share}{f' ({labels})' if labels else ''}"
