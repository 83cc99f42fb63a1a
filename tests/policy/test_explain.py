"""What `gate explain` says of every name that there is, and of one that there is not."""

import pytest
from rich.cells import cell_len

from gate.errors import ExitCode, PolicyError
from gate.policy.explain import explain, names
from gate.policy.rules import Policy
from gate.probes import PROBES
from gate.starter.shipped import shipped_policies
from tests.builders import policy, rule
from tests.conftest import Gate

SHIPPED = shipped_policies()
METRICS = [(probe, metric) for probe in PROBES for metric in PROBES[probe].metrics]


def words(text: str) -> str:
    """A text without its lines."""
    return " ".join(text.split())


def test_every_policy_that_ships_is_looked_into() -> None:
    assert {each.name for each in SHIPPED} >= {"research", "production", "digits", "text"}


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_explained_by_its_whole_header(name: str) -> None:
    probe, shown = PROBES[name], explain(name, [])

    assert f"{name}: a probe\n" in shown
    assert probe.question in words(shown)
    told = words(probe.header).removeprefix(probe.question).strip()
    for topic in probe.topics:
        assert f"  {topic} " in shown
        told = told.replace(f"{topic}: ", f"{topic} ")
    assert told in words(shown)
    assert {"What it measures", "Control", "Blind spots", "Source"} <= probe.topics.keys()
    for metric in probe.metrics:
        assert metric in shown


@pytest.mark.parametrize(("probe", "name"), METRICS)
def test_a_metric_is_explained_with_its_unit_side_labels_and_probe(probe: str, name: str) -> None:
    metric, shown = PROBES[probe].metrics[name], explain(f"{probe}.{name}", [])

    for says in (
        metric.meaning,
        f"Unit {metric.unit} Better",
        f"Labels {', '.join(metric.labels)}",
    ):
        assert says in words(shown)
    sides = {"neither": "no side is better by itself"}
    assert f"Better {sides.get(metric.better, metric.better)} Labels" in words(shown)
    assert shown.count(": a metric\n") == 1
    assert f"\n{probe}: a probe\n" in shown


@pytest.mark.parametrize("judge", SHIPPED, ids=lambda each: each.name)
def test_every_rule_of_a_policy_that_ships_is_explained(judge: Policy) -> None:
    for each in judge.rules:
        shown = words(explain(each.id, SHIPPED))

        assert f"{judge.name} v{judge.version}" in shown
        assert f"{each.measured_metric} {each.bound}" in shown
        assert f"Why {words(each.why)}" in shown
        assert f"{each.probe}.{each.measured_metric}: a metric" in shown
        assert f"{each.probe}: a probe" in shown


def test_no_line_is_wider_than_a_terminal() -> None:
    rules = {each.id for judge in SHIPPED for each in judge.rules}

    for name in (*names(), *rules):
        assert max(map(cell_len, explain(name, SHIPPED).splitlines())) <= 100


def test_a_metric_of_several_probes_is_explained_for_each() -> None:
    several = [probe for probe, metric in METRICS if metric == "accuracy"]
    assert len(several) > 1

    shown = explain("accuracy", [])

    assert [f"{probe}.accuracy: a metric\n" in shown for probe in several] == [True] * len(several)


def test_a_name_of_a_probe_and_of_its_metric_is_explained_as_both() -> None:
    shown = explain("label_prior", [])

    assert "label_prior.label_prior: a metric" in shown
    assert shown.count("label_prior: a probe") == 1


def test_a_rule_says_all_that_it_asks() -> None:
    asked = rule(
        name="mine", at_least=0.7, decide_on="point", min_n=40, severity="warn",
        on_inconclusive="warn", where={"task": "birds"}, why="猫 " * 60,
    )  # fmt: skip
    relative = rule(
        name="over", probe="trigger_patch", metric="attack_success_rate", at_least=None,
        at_most_over_reference=0.1, relative=True,
    )  # fmt: skip
    judge = policy(asked, relative, rule())

    shown = explain("mine", [judge])

    assert "mine: a rule of test v1" in shown
    for says in (
        "Bound accuracy at least 0.7 by the point estimate", "Where task birds", "Severity warn",
        "If inconclusive only warns", "Least n 40; fewer examples cannot pass",
    ):  # fmt: skip
        assert says in words(shown)
    assert max(map(cell_len, shown.splitlines())) <= 100
    assert "attack_success_rate_over_reference at most 0.1 as a share of reference_attack" in words(
        explain("over", [judge])
    )


def test_rules_of_one_name_that_ask_otherwise_stand_apart_and_equal_ones_together() -> None:
    strict = policy(rule(at_least=0.9), name="strict")
    same = policy(rule(), name="same")

    shown = explain("clean_accuracy.accuracy", [policy(), strict, same])

    assert "a rule of test v1 and of same v1\n" in shown
    assert "a rule of strict v1\n" in shown


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    judge = policy(rule(name="enough-birds"))

    with pytest.raises(PolicyError, match=r"'acuracy' is no rule of test, .*mean 'accuracy'\?"):
        explain("acuracy", [judge])
    with pytest.raises(PolicyError, match=r"did you mean 'enough-birds'\?"):
        explain("enogh-birds", [judge])
    with pytest.raises(PolicyError, match="known: clean_accuracy, "):
        explain("zzzzzz", [judge])


def test_the_command_explains_rules_of_a_policy_file_and_exits_2_on_an_unknown_name(
    gate: Gate,
) -> None:
    code, out, err = gate("explain", "label_prior", "--policy", "policies/digits.yaml")
    assert (code, err) == (0, "")
    assert "label_prior: a probe" in out

    code, out, err = gate(
        "explain", "trigger_patch.worst_atack", "--policy", "policies/digits.yaml"
    )
    assert (code, out) == (ExitCode.USAGE, "")
    assert "is no rule of digits, and no metric or probe; did you mean 'trigger_patch.worst_" in err

    everywhere = gate("explain", "trigger_patch.worst_attack_success_rate")[1]
    assert "a rule of cifar v" in everywhere
    assert "a rule of digits v" in everywhere
