"""Waivers: dated, named exceptions, and the files that they stand in."""

from datetime import date
from pathlib import Path

from pydantic import Field, field_validator

from gate import strict_yaml
from gate.errors import PolicyError
from gate.policy.rules import Names, Policy, Sentence, matches
from gate.values import About, Day, Digest, Finding, Value, repeated


class Waiver(Value):
    """A dated, named exception for one rule and one backbone.

    >>> from datetime import date
    >>> waiver = Waiver(id="W-1", rule="r", backbone="sha256:" + "0" * 64, reason="known",
    ...                 owner="ml-team", expires=date(2026, 12, 31))
    >>> waiver.holds_on(date(2026, 12, 31)), waiver.holds_on(date(2027, 1, 1))
    (True, False)
    """

    id: str = Field(min_length=1, description="How findings and messages call it.")
    rule: str = Field(min_length=1, description="A rule's name; without one, probe.metric.")
    where: About = Field(
        default={}, description="Labels of what it covers: names, or else globs; none covers all."
    )
    backbone: Digest = Field(description="The one that it is for, as a verdict names it.")
    reason: Sentence = Field(description="Why what is known may pass until then.")
    owner: Sentence = Field(description="Who answers for it.")
    expires: Day = Field(description="The last day (UTC) on which it holds.")

    def holds_on(self, day: date) -> bool:
        """The one place that knows when a waiver ends: it lasts through its last day."""
        return day <= self.expires

    def covers(self, finding: Finding, names: Names) -> bool:
        """Whether it is about a finding: of its rule, measured, and with labels that fit.

        Args:
            finding: Of any rule.
            names: Those in the evidence; written in ``where``, each stands for itself alone.
        """
        if finding.measurement is None:
            return False  # a known number may be let through, not one that nobody knows
        return self.rule == finding.rule and matches(finding.measurement.about, self.where, names)

    def require_short(self, policy: Policy, today: date) -> None:
        """Refuse a waiver that lasts longer than a policy lets any last.

        Raises:
            PolicyError: Its last day lies further away than ``waivers.longest_days``.
        """
        days = (self.expires - today).days
        if policy.waivers and days > policy.waivers.longest_days:
            raise PolicyError(
                f"waiver {self.id} lasts until {self.expires}, {days} days from {today}, and "
                f"policy {policy.name} lets none last longer than {policy.waivers.longest_days}; "
                "shorten it, and renew it when it ends"
            )


class Waivers(Value):
    """A waiver file."""

    waivers: tuple[Waiver, ...]

    @field_validator("waivers")
    @classmethod
    def _each_once(cls, waivers: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
        for twice in repeated(waiver.id for waiver in waivers):
            raise ValueError(f"two waivers are called {twice!r}")
        return waivers


def load_waivers(path: str | Path) -> tuple[Waiver, ...]:
    """Read a waiver file.

    Raises:
        PolicyError: As for a policy.
    """
    return strict_yaml.load(Path(path), Waivers, PolicyError).waivers
