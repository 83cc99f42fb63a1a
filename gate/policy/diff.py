"""What another policy would change: its rules in words, and the candidates of the past."""

import math
from collections.abc import Iterable, Iterator
from datetime import date
from glob import glob
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from gate.errors import EvidenceError
from gate.policy.decide import decide
from gate.policy.rules import Policy, Rule
from gate.strict_json import read_evidence
from gate.values import Decision, digest_of, in_words, worst

# in the order in which they are told
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
    if old.requires != new.requires and "warn" in (old.severity, new.severity):
        # of a rule that warns, what is missing never blocks
        differing.append(Change("reworded", new.id, _required(old, new)))
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
    settled = [blocks[name] for name in blocked & blocks.keys()]
    if not any(rule.on_inconclusive == "block" and not rule.requires for rule in settled):
        says = (
            "it blocks only now, and an acceptance may rest on it alone, for no rule that blocked "
            "before has to be settled; set on_inconclusive: block on one that did, and requires "
            "nothing"
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
    if old.requires != new.requires and old.severity == new.severity == "block":
        stricter = None if old.requires and new.requires else not new.requires
        yield stricter, _required(old, new)
    if old.severity != new.severity:
        yield new.severity == "block", f"severity {old.severity} -> {new.severity}"
    settled = [
        f"{name} {getattr(old, name)} -> {getattr(new, name)}"
        for name in ("decide_on", "on_inconclusive")
        if getattr(old, name) != getattr(new, name)
    ]
    if settled:
        yield _settles_more(old, new), ", ".join(settled)
    if old.min_n != new.min_n:
        more = (new.min_n or 0) > (old.min_n or 0)
        yield more, f"min_n {old.min_n or 'none'} -> {new.min_n or 'none'}"


def _required(old: Rule, new: Rule) -> str:
    return f"requires {old.requires or 'nothing'} -> {new.requires or 'nothing'}"


def _settles_more(old: Rule, new: Rule) -> bool | None:
    """Which way of settling what an interval leaves open lets less through, if either does.

    A point fails what a warning lets through, and passes what it leaves open, on which alone
    nothing is accepted: hence None.
    """
    before, after = ((rule.decide_on, rule.on_inconclusive) for rule in (old, new))
    if ("bound", "block") in (before, after):
        return after == ("bound", "block")
    return after[1] == "block" if before[0] == after[0] else None


def _asked(rule: Rule) -> str:
    requires = f", requires {rule.requires}" if rule.requires else ""
    return f"{rule.probe}.{rule.measured_metric} {rule.bound}, {rule.severity}{requires}"


def _measured(rule: Rule) -> str:
    share = " as a share of the reference" if rule.relative else ""
    where = f" ({in_words(rule.where)})" if rule.where else ""
    return f"{rule.probe}.{rule.measured_metric}{share}{where}"


def differences(old: Policy, new: Policy) -> list[Change]:
    """How a policy differs from another, what got looser first.

    Nothing is said of name and version; where nothing else is said, nothing else differs.
    """
    differing = compared(old.rules, new.rules)
    before, after = ([rule.id for rule in policy.rules] for policy in (old, new))
    if [name for name in before if name in after] != [name for name in after if name in before]:
        differing.append(Change("reworded", "rules", "they stand in another order"))
    if old.allow_unsigned != new.allow_unsigned:
        says = f"{old.allow_unsigned} -> {new.allow_unsigned}".lower()
        kind: Kind = "looser" if new.allow_unsigned else "stricter"
        differing.append(Change(kind, "allow_unsigned", says))
    was, now = (p.waivers.longest_days if p.waivers else math.inf for p in (old, new))
    if was != now:
        says = f"{was} -> {now}".replace("inf", "no limit")
        kind = "looser" if now > was else "stricter"
        differing.append(Change(kind, "waivers.longest_days", says))
    if old.about != new.about:
        differing.append(Change("reworded", "about", new.about))
    if old.error_rates != new.error_rates:
        says = f"{_published(old)} -> {_published(new)}"
        differing.append(Change("reworded", "error_rates", says))
    return sorted(differing, key=lambda change: get_args(Kind).index(change.kind))


def _published(policy: Policy) -> str:
    """Error rates in few words: nothing that they say makes a policy looser or stricter."""
    rates = policy.error_rates
    if not rates:
        return "none"
    backdoored = sum(each.n for each in rates.backdoored.values())
    return f"of {rates.clean.n} clean and {backdoored} backdoored backbones ({rates.of})"


class Backtested(NamedTuple):
    """A candidate of the past, decided on under two policies."""

    folder: Path
    before: Decision
    after: Decision
    rules: list[str]  # those whose worst outcome differs, in words

    def __str__(self) -> str:
        decisions = f"{self.before} -> {self.after}" if self.changed else self.after
        return f"{self.folder}: {decisions}" + "".join(f"\n    {line}" for line in self.rules)

    @property
    def changed(self) -> bool:
        """Whether the decision differs."""
        return self.before != self.after


def backtest(pattern: str, old: Policy, new: Policy, today: date) -> list[Backtested]:
    """Decide on every candidate of the past under both policies, without waivers.

    Args:
        pattern: A glob that finds folders of evidence, one a candidate.
        old: What it is compared with.
        new: The policy that is tried.
        today: As for :func:`gate.policy.decide.decide`.

    Raises:
        EvidenceError: The pattern finds no folder, or a folder's evidence cannot be decided on.
    """
    names = glob(pattern, recursive=True)  # noqa: PTH207  # an absolute pattern, too
    folders = sorted(path for path in map(Path, names) if path.is_dir())
    if not folders:
        raise EvidenceError(
            f"{pattern}: no folder of evidence; give a pattern in quotes, "
            "such as --evidence 'out/*/evidence'"
        )
    return [_backtested(folder, old, new, today) for folder in folders]


def _backtested(folder: Path, old: Policy, new: Policy, today: date) -> Backtested:
    evidence = read_evidence(folder)
    before, after = (decide(policy, evidence, today) for policy in (old, new))
    was, now = worst(before.findings), worst(after.findings)
    rules = [
        f"{rule}: {was.get(rule, 'no rule')} -> {now.get(rule, 'no rule')}"
        for rule in dict.fromkeys([*was, *now])
        if was.get(rule) != now.get(rule)
    ]
    return Backtested(folder, before.decision, after.decision, rules)
