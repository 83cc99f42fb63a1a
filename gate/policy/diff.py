"""What another policy would change: its rules in words, and the candidates of the past."""

import math
from collections.abc import Sequence
from datetime import date
from glob import glob
from pathlib import Path
from typing import NamedTuple

from gate.errors import EvidenceError
from gate.policy.changes import Change, Kind, compared
from gate.policy.decide import decide
from gate.policy.rules import Policy
from gate.strict_json import read_evidence
from gate.values import Decision, Evidence, worst

_ORDER = ("looser", "unclear", "stricter", "reworded")


def differences(old: Policy, new: Policy) -> list[Change]:
    """How a policy differs from another, what got looser first.

    Nothing is said of name and version; where nothing else is said, nothing else differs.
    """
    found = compared(old.rules, new.rules)
    before, after = ([rule.id for rule in policy.rules] for policy in (old, new))
    if [name for name in before if name in after] != [name for name in after if name in before]:
        found.append(Change("reworded", "rules", "they stand in another order"))
    if old.allow_unsigned != new.allow_unsigned:
        kind: Kind = "looser" if new.allow_unsigned else "stricter"
        says = f"{old.allow_unsigned} -> {new.allow_unsigned}".lower()
        found.append(Change(kind, "allow_unsigned", says))
    was, now = _longest(old), _longest(new)
    if was != now:
        says = f"{was} -> {now}".replace("inf", "no limit")
        found.append(Change("looser" if now > was else "stricter", "waivers.longest_days", says))
    if old.about != new.about:
        found.append(Change("reworded", "about", new.about))
    return sorted(found, key=lambda change: _ORDER.index(change.kind))


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
    return [_backtested(folder, read_evidence(folder), old, new, today) for folder in folders]


def _backtested(
    folder: Path, evidence: Sequence[Evidence], old: Policy, new: Policy, today: date
) -> Backtested:
    before, after = (decide(policy, evidence, today) for policy in (old, new))
    was, now = worst(before.findings), worst(after.findings)
    return Backtested(
        folder,
        before.decision,
        after.decision,
        [
            f"{rule}: {was.get(rule, 'no rule')} -> {now.get(rule, 'no rule')}"
            for rule in dict.fromkeys([*was, *now])
            if was.get(rule) != now.get(rule)
        ],
    )


def _longest(policy: Policy) -> float:
    return policy.waivers.longest_days if policy.waivers else math.inf
