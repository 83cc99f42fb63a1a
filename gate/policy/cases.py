"""Tests of a policy: files beside it that say what it must decide, and what they have shown.

The tests of ``policies/NAME.yaml`` are the files of ``policies/NAME.tests/``, one case a file.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from gate import strict_yaml
from gate.errors import GateError, PolicyError
from gate.policy.catalogue import require_known
from gate.policy.decide import decide
from gate.policy.load import load_policy
from gate.policy.rules import Policy, Sentence
from gate.policy.waivers import Waiver
from gate.strict_json import read_evidence
from gate.values import (
    Day,
    Decision,
    Digest,
    Evidence,
    Measurements,
    Outcome,
    Value,
    Verdict,
    worst,
)

BACKBONE = "sha256:" + "0" * 64  # what the measurements of a case are of
REFERENCE = "sha256:" + "f" * 64  # and what they are held against


class Case(Value):
    """What is given to a policy on a day, and what it must decide."""

    about: Sentence = Field(description="What the case shows, in a sentence.")
    as_of: Day = Field(description="The day on which waivers are judged.")
    measurements: dict[str, Measurements] = Field(
        default={}, description="By probe; or else name a folder of evidence files."
    )
    evidence: str | None = Field(None, description="A folder, relative to the case.")
    backbone: Digest = Field(BACKBONE, description="What the measurements are of.")
    waivers: tuple[Waiver, ...] = ()
    decision: Decision
    outcomes: dict[str, Outcome] = Field(default={}, description="By rule, its worst finding.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.measurements) == (self.evidence is not None):
            raise ValueError("give either measurements or evidence: a folder")
        for probe, measurements in self.measurements.items():
            for measurement in measurements:
                require_known(probe, measurement)
        return self


class Result(NamedTuple):
    """A case, and what is wrong with it; nothing if it holds."""

    path: Path
    about: str
    faults: list[str]


class Tested(NamedTuple):
    """What the cases of a policy showed."""

    results: list[Result]
    seen: dict[str, set[Outcome]]  # by rule: with which outcomes it was seen

    @property
    def unseen(self) -> list[str]:
        """Rules that no case that holds has shown to pass, or to fail."""
        return [
            f"{rule}: never seen to {outcome}"
            for rule, outcomes in self.seen.items()
            for outcome in ("pass", "fail")
            if outcome not in outcomes
        ]

    @property
    def complete(self) -> bool:
        """Whether every case holds and every rule was seen to pass and to fail."""
        return not self.unseen and not any(result.faults for result in self.results)

    def __str__(self) -> str:
        lines = []
        for path, about, faults in self.results:
            lines.append(f"{'FAIL' if faults else 'ok  '}  {path}: {about}")
            lines += [f"      {fault}" for fault in faults]
        lines += [f"UNSEEN  {line}" for line in self.unseen]
        held = sum(not result.faults for result in self.results)
        covered = sum({"pass", "fail"} <= outcomes for outcomes in self.seen.values())
        lines.append(
            f"{held} of {len(self.results)} cases hold; "
            f"{covered} of {len(self.seen)} rules were seen to pass and to fail"
        )
        return "\n".join(lines)


def run_tests(path: Path) -> Tested:
    """Run all cases of a policy.

    Raises:
        PolicyError: The policy or a case is faulty, or there is no case.
    """
    policy = load_policy(path)
    folder = path.with_suffix(".tests")
    paths = sorted(path for path in folder.glob("*") if path.suffix in (".yaml", ".yml"))
    if not paths:
        raise PolicyError(
            f"{path}: no tests; write cases {folder}/*.yaml, so that each rule is seen to pass and "
            "to fail"
        )
    results = []
    seen: dict[str, set[Outcome]] = {rule.id: set() for rule in policy.rules}
    for case_path in paths:
        case = strict_yaml.load(case_path, Case, PolicyError)
        try:
            verdict = decide(policy, evidence_of(case, case_path.parent), case.as_of, case.waivers)
            faults = list(_faults(case, policy, verdict))
        except GateError as fault:
            faults = [f"could not decide: {fault}"]
        results.append(Result(case_path, case.about, faults))
        if not faults:
            for finding in verdict.findings:
                seen[finding.rule].add(finding.outcome)
    return Tested(results, seen)


def evidence_of(case: Case, folder: Path) -> Sequence[Evidence]:
    """The evidence of a case: its files, or its measurements as if probes had made them."""
    if case.evidence is not None:
        return read_evidence(folder / case.evidence)
    return [
        Evidence(
            probe=probe,
            settings={},
            backbone=case.backbone,
            reference=REFERENCE,
            data={"given": case.backbone},
            seed=0,
            versions={},
            measurements=measurements,
        )
        for probe, measurements in case.measurements.items()
    ]


def _faults(case: Case, policy: Policy, verdict: Verdict) -> Iterator[str]:
    shown = worst(verdict.findings)
    if verdict.decision != case.decision:
        not_passed = [f"{rule} {outcome}" for rule, outcome in shown.items() if outcome != "pass"]
        yield (
            f"expected {case.decision}, found {verdict.decision}"
            f"{': ' if not_passed else ''}{', '.join(not_passed)}"
        )
    for rule, outcome in case.outcomes.items():
        if rule not in shown:
            yield f"policy {policy.name} has no rule {rule!r}; {strict_yaml.nearest(rule, shown)}"
        elif shown[rule] != outcome:
            says = next(finding.says for finding in verdict.findings if finding.rule == rule)
            yield f"{rule}: expected {outcome}, found {shown[rule]}: {says}"
