"""The commands for those who edit policies, and for those who answer for waivers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gate import strict_yaml
from gate.commands.options import DIR, FILE, AsOf, PolicyFile, day
from gate.commands.results import hand_over, print_line, say
from gate.errors import ExitCode, PolicyError
from gate.policy import diff as diffs
from gate.policy.cases import run_tests
from gate.policy.explain import explain as explanation
from gate.policy.explain import names
from gate.policy.load import load_policy
from gate.policy.rules import Policy, rules_digest
from gate.policy.unmatched import require_matched
from gate.policy.waivers import load_waivers
from gate.starter.shipped import shipped_policies
from gate.strict_json import read_evidence

PolicyArgument = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy file.")]


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files.")],
) -> ExitCode:
    """Check that policies are well-formed, and name only what probes measure."""
    faults = []
    for path in files:
        try:
            policy = load_policy(path)
        except PolicyError as fault:
            faults.append(str(fault))
        else:
            print_line(f"{path}: {policy.name} v{policy.version}, {len(policy.rules)} rules")
            if policy.error_rates and not policy.known_error_rates:
                print_line(
                    f"{path}: its error_rates are of other rules, so no verdict carries them; "
                    f"drop the block, or measure anew for {rules_digest(policy.rules)}"
                )
    if faults:
        raise PolicyError("\n".join(faults))
    return ExitCode.ACCEPT


def schema() -> ExitCode:
    """Print the JSON Schema of policies, for completion in editors."""
    print_line(json.dumps(Policy.model_json_schema(), indent=2))
    return ExitCode.ACCEPT


def show(
    file: PolicyArgument,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Together with all that it extends.")
    ] = False,
) -> ExitCode:
    """Print a policy as YAML; what is left at its default is left out."""
    policy = load_policy(file)  # even as written, nothing faulty is shown
    if resolved:
        print_line(f"# {policy.identity.digest}, the digest that verdicts name")
    shown = policy if resolved else strict_yaml.load(file, Policy, PolicyError)
    hand_over(strict_yaml.dump(shown.model_dump(mode="json", exclude_defaults=True)), None)
    return ExitCode.ACCEPT


def test(
    files: Annotated[list[Path], typer.Argument(metavar="POLICY...", help="Policy files.")],
) -> ExitCode:
    """Run the cases in NAME.tests/ beside each NAME.yaml, and print what they covered.

    Exits 1 if a case does not hold, or a rule was not seen both to pass and to fail.
    """
    failed = []
    for path in files:
        tested = run_tests(path)
        print_line(tested)
        if not tested.complete:
            failed.append(str(path))
    if failed:
        say(f"the tests of {', '.join(failed)} fail or are not complete; see above")
        return ExitCode.REJECT
    return ExitCode.ACCEPT


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A policy file.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="What it is to become.")],
) -> ExitCode:
    """Say in words what gets looser or stricter, what gets looser first. Exits 0 all the same."""
    differences = diffs.differences(load_policy(old), load_policy(new))
    for change in differences:
        print_line(f"{change.kind:<9} {change.rule}: {change.says}")
    if not differences:
        print_line("no difference but in name and version")
    return ExitCode.ACCEPT


def backtest(
    file: PolicyArgument,
    evidence: Annotated[str, typer.Option(metavar="GLOB", help="Folders of evidence, in quotes.")],
    against: Annotated[Path | None, FILE(help="What it is compared with.")] = None,
    as_of: AsOf = None,
) -> ExitCode:
    """Decide on past candidates, without waivers; say whose decision differs from another policy's.

    Exits 0 whatever changes.
    """
    policy = load_policy(file)
    old = load_policy(against) if against else policy
    candidates = diffs.backtest(evidence, old, policy, day(as_of))
    for candidate in candidates:
        print_line(candidate)
    if against:
        changed = sum(candidate.changed for candidate in candidates)
        print_line(
            f"{changed} of {len(candidates)} candidates are decided otherwise than by {against}"
        )
    return ExitCode.ACCEPT


def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A rule, a metric or a probe; PROBE.METRIC where several probes have it.",
            autocompletion=names,
        ),
    ],
    policy: Annotated[
        Path | None, FILE(help="Whose rules are meant; by default those that ship.")
    ] = None,
) -> ExitCode:
    """Say what a rule asks, and what a metric and a probe measure, how, and what they do not see.

    Exits 2 where it is none of them, and names the nearest.
    """
    hand_over(explanation(name, [load_policy(policy)] if policy else shipped_policies()), None)
    return ExitCode.ACCEPT


def check_waivers(
    waivers: Annotated[Path, typer.Argument(metavar="WAIVERS", help="A waiver file.")],
    policy: PolicyFile,
    evidence: Annotated[list[Path], DIR(help="Evidence of a candidate; may be repeated.")],
    as_of: AsOf = None,
) -> ExitCode:
    """Check that each waiver is still needed, and lasts no longer than the policy allows."""
    loaded = load_waivers(waivers)
    candidates = [read_evidence(folder) for folder in evidence]
    require_matched(load_policy(policy), candidates, day(as_of), loaded)
    print_line(f"{waivers}: {len(loaded)} waivers, each of them needed")
    return ExitCode.ACCEPT
