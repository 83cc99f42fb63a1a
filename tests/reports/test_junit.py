"""JUnit XML: a case a finding, as Jenkins and GitLab read it."""

from gate import Verdict
from gate.reports import junit
from gate.reports.attachments import Attachments
from tests.reports import validators


def test_a_case_fails_where_its_finding_blocks_and_is_skipped_where_it_only_warns(
    everything: Verdict, beside: Attachments
) -> None:
    suite = validators.junit(junit.render(everything, (), beside))

    cases = {case.attrib["name"]: case for case in suite.findall("testcase")}
    shown = {name: [child.tag for child in case] for name, case in cases.items()}
    assert shown == {
        "clean_accuracy.accuracy (task bad)": ["failure"],
        "clean_accuracy.accuracy (task unsettled)": ["failure"],
        "clean_accuracy.accuracy (task waived)": ["skipped"],
        "clean_accuracy.accuracy (task good)": ["system-out"],
        "warns (task good)": ["skipped"],
        "absent": ["failure"],
    }
    types = [failure.attrib["type"] for failure in suite.iter("failure")]
    assert types == ["fail", "inconclusive", "missing"]
    messages = [skipped.attrib["message"] for skipped in suite.iter("skipped")]
    assert messages[0].startswith("waived: 0.200 [0.100, 0.300]")
    assert "waived by W-1 until 2026-12-31" in messages[0]
    assert messages[1].startswith("fail, and only warns: 0.950 [0.900, 0.990]")
    assert {case.attrib["classname"] for case in cases.values()} == {"clean_accuracy"}
    assert "why: because" in next(suite.iter("failure")).text  # type: ignore[operator]


def test_the_suite_is_called_after_the_candidate_and_says_what_was_decided(
    everything: Verdict, beside: Attachments
) -> None:
    suite = validators.junit(junit.render(everything, (), beside))

    said = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    assert suite.attrib["name"] == "resnet 50"
    assert said == {
        "decision": "reject",
        "backbone": everything.backbone,
        "policy": "test v1",
        "policy digest": everything.policy.digest,
        "day": "2026-01-02",
    }
    assert validators.junit(junit.render(everything)).attrib["name"] == everything.backbone[:19]


def test_a_verdict_that_rests_on_nothing_fails_though_no_finding_does(
    resting_on_nothing: Verdict,
) -> None:
    suite = validators.junit(junit.render(resting_on_nothing))

    assert [case.attrib["name"] for case in suite.findall("testcase[failure]")] == ["decision"]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
