"""GitLab's code quality report."""

from datetime import date

from gate import Verdict, decide
from gate.reports import gitlab
from gate.reports.attachments import Attachments
from tests.builders import evidence, policy
from tests.reports import validators


def test_each_finding_that_did_not_pass_is_an_issue_on_the_line_of_its_rule(
    everything: Verdict, beside: Attachments
) -> None:
    issues = validators.gitlab(gitlab.render(everything, (), beside))

    shown = [
        (each["severity"], each["check_name"], each["location"]["path"],
         each["location"]["lines"]["begin"])
        for each in issues
    ]  # fmt: skip
    assert shown == [
        ("blocker", "clean_accuracy.accuracy", "gating/base policy.yaml", 4),
        ("critical", "absent", "gating/policy.yaml", 9),
        ("critical", "clean_accuracy.accuracy", "gating/base policy.yaml", 4),
        ("minor", "warns", "gating/policy.yaml", 7),
        ("info", "clean_accuracy.accuracy", "gating/base policy.yaml", 4),
    ]
    assert issues[0]["description"].startswith(
        "fail: clean_accuracy.accuracy (task bad): 0.200 [0.100, 0.300], n = 100, wanted at least"
    )


def test_without_the_policys_file_an_issue_stands_under_the_policys_name(
    everything: Verdict,
) -> None:
    for issue in validators.gitlab(gitlab.render(everything)):
        assert issue["location"] == {"path": "test", "lines": {"begin": 1}}


def test_an_acceptance_has_no_issues() -> None:
    assert validators.gitlab(gitlab.render(decide(policy(), [evidence()], date(2026, 1, 1)))) == []
