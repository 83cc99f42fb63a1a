"""The policies that ship with gate, each as a policy of its own for one plan."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gate import __version__, strict_yaml
from gate.errors import GateError, PolicyError
from gate.policy.cases import Case, evidence_of
from gate.policy.decide import decide
from gate.policy.load import load_policy
from gate.policy.rules import Policy, Rule
from gate.values import worst

Shipped = Literal["research", "production", "production_groups", "text"]
_WIDTH = 100
_MOST_SEARCHED = 12  # classes whose pairs `trigger_search` searches on


_FEWEST_OF_A_CLASS = 20  # correctly classified, for a trigger that moves that class alone


class Measured(NamedTuple):
    """What a plan measures, as far as rules ask for it.

    Args:
        probes: Their names.
        classes: The largest number that a task has.
        of_a_class: Test examples of the class that has most.
    """

    probes: frozenset[str]
    classes: int
    of_a_class: int = _FEWEST_OF_A_CLASS


def policy_files(shipped: Shipped, name: str, measured: Measured) -> dict[str, str]:
    """A shipped policy and its tests, less the rules whose numbers the plan does not give.

    Args:
        shipped: Which one.
        name: What it is called.
        measured: What the plan gives.

    Returns:
        Texts of ``policy.yaml`` and of ``policy.tests/CASE.yaml``, by name.
    """
    with as_file(_home()) as home:
        path = home / f"{shipped}.yaml"
        whole = load_policy(path)
        left_out = {rule.id: why for rule in whole.rules if (why := _obstacle(rule, measured))}
        rules = tuple(rule for rule in whole.rules if rule.id not in left_out)
        policy = Policy.model_validate({**dict(whole), "rules": rules})
        written = {"policy.yaml": "\n".join(_lines(policy, whole, name, left_out)) + "\n"}
        for case in sorted(path.with_suffix(".tests").glob("*.yaml")):
            if text := _case(case, policy, left_out):
                written[f"policy.tests/{case.name}"] = text
    return written


def shipped_policies() -> list[Policy]:
    """The policies that ship, each together with what it extends, in the order of their names."""
    with as_file(_home()) as home:
        return [load_policy(path) for path in sorted(home.glob("*.yaml"))]


def _home() -> Any:
    """Inside the package where it was installed from a wheel, else beside it."""
    installed = resources("gate.starter") / "policies"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "policies"


def _obstacle(rule: Rule, measured: Measured) -> str:
    """Why a plan gives no number for a rule; empty where it does."""
    if rule.probe not in measured.probes:
        return f"the plan has no probe {rule.probe}"
    if rule.measured_metric.endswith("_over_reference"):
        return "the plan names no reference"
    searches_pairs = rule.probe == "trigger_search" and "source" in rule.where
    if searches_pairs and measured.classes > _MOST_SEARCHED:
        return f"above {_MOST_SEARCHED} classes no pair is searched on"
    of_source = rule.probe in ("trigger_patch", "trigger_phrase") and "source" in rule.where
    if of_source and measured.of_a_class < _FEWEST_OF_A_CLASS:
        return f"no class has {_FEWEST_OF_A_CLASS} test examples"
    return ""


def _lines(policy: Policy, whole: Policy, name: str, left_out: Mapping[str, str]) -> Iterator[str]:
    yield "# yaml-language-server: $schema=schema.json"
    yield f"# For completion in editors: gate policy schema > {name}/schema.json"
    yield f"# Its tests are policy.tests/: gate policy test {name}/policy.yaml"
    yield f"# The rules of {whole.name} v{whole.version} of gate {__version__}; they are yours now."
    if left_out:
        yield "# Left out, since the plan gives no number for them:"
        yield from (f"#   {rule}: {why}" for rule, why in left_out.items())
    yield f"name: {name}"
    yield "version: 1"
    yield from _folded("about", policy.about, "")
    if policy.allow_unsigned:
        yield "allow_unsigned: true"
    if policy.waivers:
        yield f"waivers: {{longest_days: {policy.waivers.longest_days}}}"
    yield "rules:"
    for rule in policy.rules:
        yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    stated = rule.model_dump(mode="json", exclude_defaults=True, exclude={"why", "loosen", "where"})
    lead = "  - "
    for key, value in stated.items():
        yield f"{lead}{key}: {value}"
        lead = "    "
        if key == "metric" and rule.where:
            where = ", ".join(f'{label}: "{glob}"' for label, glob in rule.where.items())
            yield f"    where: {{{where}}}"
    yield from _folded("why", rule.why, "    ")


def _folded(key: str, sentence: str, indent: str) -> Iterator[str]:
    yield f"{indent}{key}: >-"
    yield from textwrap.wrap(
        sentence, _WIDTH, initial_indent=f"{indent}  ", subsequent_indent=f"{indent}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _case(path: Path, policy: Policy, left_out: Mapping[str, str]) -> str:
    """A case's text, less what it expects of rules that are left out; empty where it fails then."""
    text = path.read_text(encoding="utf-8")
    for rule in left_out:
        text = re.sub(rf"^  {re.escape(rule)}: \w+\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^outcomes:\n(?!  )", "", text, flags=re.MULTILINE)
    case = strict_yaml.load(path, Case, PolicyError)
    try:
        verdict = decide(policy, evidence_of(case, path.parent), case.as_of, case.waivers)
    except GateError:  # such as a waiver of a rule that is left out
        return ""
    shown = worst(verdict.findings)
    expected = {rule: wanted for rule, wanted in case.outcomes.items() if rule not in left_out}
    holds = verdict.decision == case.decision
    return text if holds and expected.items() <= shown.items() else ""
