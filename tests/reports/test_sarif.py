"""SARIF for code scanning: rules of the policy, and a result for each finding that did not pass."""

from datetime import date

from gate import Verdict, decide
from gate.reports import sarif
from gate.reports.attachments import Attachments
from tests.builders import evidence, measurement, policy
from tests.reports import validators


def test_each_finding_that_did_not_pass_is_a_result_on_the_line_of_its_rule(
    everything: Verdict, beside: Attachments
) -> None:
    run = validators.sarif(sarif.render(everything, (), beside))

    shown = []
    for result in run["results"]:
        (location,) = result["locations"]
        artefact = location["physicalLocation"]["artifactLocation"]
        assert artefact["uriBaseId"] == "%SRCROOT%"
        line = location["physicalLocation"]["region"]["startLine"]
        shown.append((result["properties"]["outcome"], result["level"], artefact["uri"], line))
    assert shown == [
        ("fail", "error", "gating/base%20policy.yaml", 4),
        ("missing", "error", "gating/policy.yaml", 9),
        ("inconclusive", "error", "gating/base%20policy.yaml", 4),
        ("fail", "warning", "gating/policy.yaml", 7),
        ("waived", "note", "gating/base%20policy.yaml", 4),
    ]
    assert run["automationDetails"]["id"] == "gate/test/resnet 50/"
    assert run["properties"]["decision"] == "reject"


def test_the_help_of_a_rule_is_the_policys_reason(everything: Verdict) -> None:
    rules = validators.sarif(sarif.render(everything))["tool"]["driver"]["rules"]

    assert [rule["id"] for rule in rules] == ["clean_accuracy.accuracy", "warns", "absent"]
    assert [rule["help"]["text"] for rule in rules] == ["because"] * 3
    levels = [rule["defaultConfiguration"]["level"] for rule in rules]
    assert levels == ["error", "warning", "error"]
    assert rules[0]["shortDescription"]["text"] == "accuracy of clean_accuracy, at least 0.8"


def test_what_is_waived_is_suppressed_and_nothing_else_is(everything: Verdict) -> None:
    results = validators.sarif(sarif.render(everything))["results"]

    ((suppressed, why),) = [
        (result, each) for result in results for each in result.get("suppressions", ())
    ]
    assert suppressed["properties"]["outcome"] == "waived"
    assert "waived by W-1 until 2026-12-31 (ml-team: known)" in why["justification"]


def test_a_finding_is_known_again_whatever_was_measured(beside: Attachments) -> None:
    def marks(value: float, beside: Attachments) -> set[str]:
        found = evidence(*(measurement(0, value, 0.3, task=task) for task in "ab"))
        verdict = decide(policy(), [found], date(2026, 1, 1))
        results = validators.sarif(sarif.render(verdict, (), beside))["results"]
        return {each["partialFingerprints"]["primaryLocationLineHash"] for each in results}

    assert marks(0.1, beside) == marks(0.2, beside)
    assert len(marks(0.1, beside)) == 2
    assert not marks(0.1, beside) & marks(0.1, Attachments(candidate="another"))


def test_without_the_policy_a_result_names_its_rule_and_no_file(everything: Verdict) -> None:
    for result in validators.sarif(sarif.render(everything))["results"]:
        (location,) = result["locations"]
        assert location == {"logicalLocations": [{"name": result["ruleId"], "kind": "rule"}]}


def test_a_verdict_that_rests_on_nothing_is_an_error(resting_on_nothing: Verdict) -> None:
    run = validators.sarif(sarif.render(resting_on_nothing))

    levels = {result["ruleId"]: result["level"] for result in run["results"]}
    assert levels == {"clean_accuracy.accuracy": "warning", "gate/decision": "error"}
