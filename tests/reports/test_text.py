"""The report for a terminal: a line a finding, that fits, and what blocks first."""

import re
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from gate import Evidence, Verdict, decide
from gate.policy.rules import Rule
from gate.reports import text
from gate.reports.attachments import Attachments, Verbosity
from gate.reports.findings import LIMITS
from gate.values import Finding, Measurement, Outcome
from tests.builders import BACKBONE, evidence, measurement, policy, rule, waiver

DAY = date(2026, 1, 1)
VERBOSITIES: tuple[Verbosity, ...] = ("quiet", "normal", "verbose")


def shown(
    verdict: Verdict, verbosity: Verbosity = "normal", found: Sequence[Evidence] = ()
) -> list[str]:
    """The lines of a report, those of its end left out."""
    whole = text.render(verdict, found, Attachments(verbosity=verbosity))
    return whole.partition(LIMITS[:40])[0].splitlines()


def table(verdict: Verdict, verbosity: Verbosity = "normal") -> list[str]:
    """The lines of findings, below the header of their columns."""
    lines = shown(verdict, verbosity)
    (header,) = (i for i, line in enumerate(lines) if line.split()[0] == "rule")
    return lines[header + 1 :]


def judged(*rules: Rule, found: Sequence[Measurement] = (), waived: str = "") -> Verdict:
    waivers = [waiver(id="W-1", rule=waived)] if waived else []
    return decide(policy(*rules), [evidence(*found)], DAY, waivers)


@pytest.fixture
def everything() -> Verdict:
    """A finding of each kind, by rules in an order that is not the report's."""
    return judged(
        rule(name="passes"),
        rule(name="warns", at_least=0.99, severity="warn"),
        rule(name="unsettled", at_least=0.9),
        rule(name="waived", at_least=0.99),
        rule(name="missing", where={"task": "x"}),
        rule(name="fails", at_least=0.98),
        waived="waived",
    )


def test_colours_are_left_out_where_they_are_not_wanted(verdict: Verdict) -> None:
    assert "\x1b[" not in text.render(verdict)
    assert "\x1b[" in text.render(verdict, (), Attachments(colour=True))


def test_colours_do_not_depend_on_what_the_process_was_started_with(
    verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    coloured = text.render(verdict, (), Attachments(colour=True))
    plain = text.render(verdict)
    for name, value in {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "20"}.items():
        monkeypatch.setenv(name, value)

    assert text.render(verdict, (), Attachments(colour=True)) == coloured
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert text.render(verdict) == plain


def test_each_finding_has_a_line_and_what_blocks_comes_first(everything: Verdict) -> None:
    assert [line.split()[:2] for line in table(everything)] == [
        ["FAIL", "fails"],
        ["MISSING", "missing"],
        ["INCONCLUSIVE", "unsettled"],
        ["WAIVED", "waived"],
        ["FAIL", "warns"],
        ["pass", "passes"],
    ]
    assert [line for line in table(everything) if "only warns" in line] == [table(everything)[4]]


def test_a_line_has_value_interval_bound_and_number_of_examples() -> None:
    (line,) = table(judged(rule(at_least=0.96), found=[measurement(n=1234)]))
    (point,) = table(judged(rule(at_least=0.7, decide_on="point")))

    assert re.split(" {2,}", line) == [
        "FAIL clean_accuracy.accuracy", "task digits", "0.900 [0.850, 0.950]", "≥ 0.96", "1234"
    ]  # fmt: skip
    assert "≥ 0.7 (point)" in point


def test_a_waived_finding_says_until_when_it_is_let_through(everything: Verdict) -> None:
    (line,) = (line for line in table(everything) if line.startswith("WAIVED"))

    assert "until 2026-12-31" in line


def test_labels_that_all_findings_share_are_told_once() -> None:
    verdict = judged(
        rule(probe="label_prior", metric="total_variation_to_uniform", at_most=1, at_least=None),
        rule(probe="label_prior", metric="label_prior", at_most=1, at_least=None),
        rule(probe="clean_accuracy", where={"task": "other"}),
    )
    assert "all about" not in "\n".join(shown(verdict))
    one, two = measurement(task="a"), measurement(task="b")
    assert "all about task a" not in shown(judged(found=[one]))
    assert "task a" in shown(judged(found=[one]))[-1]
    assert "all about task a" not in "\n".join(shown(judged(found=[one, two])))

    both = shown(judged(rule(), rule(name="again"), found=[one]))

    assert "all about task a" in both
    assert not [line for line in both[4:] if "task a" in line]


@pytest.mark.parametrize(
    ("rules", "first"),
    [
        ((rule(at_least=0.96),), "REJECT  clean_accuracy.accuracy: 0.900 [0.850, 0.950], "
         "wanted at least 0.96 (task digits)"),
        ((rule(at_least=0.9),), "INCONCLUSIVE  clean_accuracy.accuracy: 0.900 [0.850, 0.950], "
         "wanted at least 0.9 (task digits)"),
        ((rule(at_least=0.9), rule(name="absent", where={"task": "x"})),
         "INCONCLUSIVE  absent: not measured, wanted at least 0.8"),
        ((rule(), rule(name="w", at_least=0.99, severity="warn")),
         "ACCEPT  2 findings: 1 fail, 1 pass"),
    ],
)  # fmt: skip
def test_the_first_line_says_what_carries_the_decision_and_is_all_of_a_quiet_report(
    rules: tuple[Rule, ...], first: str
) -> None:
    verdict = judged(*rules)

    assert text.render(verdict).splitlines()[0] == first
    quiet = text.render(verdict, [evidence()], Attachments(verbosity="quiet"))
    assert quiet == first + "\n"


def test_the_first_line_leaves_labels_out_rather_than_numbers() -> None:
    name = "trigger_patch.excess_targeted_attack_success_rate_" + "x" * 40

    (line,) = shown(judged(rule(name=name, at_least=0.96)), "quiet")

    assert line.endswith("…xxxx: 0.900 [0.850, 0.950], wanted at least 0.96")


def test_what_passed_is_one_line_a_rule_with_the_worst_number() -> None:
    found = [measurement(0.9 - i / 100, 0.95, 0.99, task=f"t{i}") for i in range(5)]

    lines = table(judged(rule(), rule(name="again", where={"task": "t0"}), found=found))

    assert len(lines) == 2
    assert "the worst of 5" in lines[0]
    assert "[0.860, 0.990]" in lines[0]
    assert "the worst" not in lines[1]


@pytest.mark.parametrize("many", [3, 4])
def test_three_findings_of_a_rule_and_outcome_are_shown_and_the_rest_counted(many: int) -> None:
    found = [measurement(0.1, 0.2, 0.3 + i / 100, task=f"t{i}") for i in range(many)]

    lines = table(judged(found=found))

    assert [f"task t{i}" in "".join(lines) for i in range(many)] == [True, True, True, False][:many]
    assert [line.strip() for line in lines[3:]] == ["and 1 more fail"][: many - 3]


def test_a_verbose_report_says_why_what_next_and_every_finding_that_passed() -> None:
    long = "a task whose name has no room at all in a line of a hundred columns, whatever else"
    found = [measurement(task=f"t{i}") for i in range(5)]
    found += [measurement(0.7, 0.78, 0.86, task=long)]

    lines = table(judged(rule(why="Curators need it."), found=found), "verbose")
    joined = " ".join(" ".join(lines).split())

    assert [line.split()[0] for line in lines if line[0].strip()] == ["INCONCLUSIVE", *["pass"] * 5]
    assert f"clean_accuracy.accuracy (task {long})" in joined
    assert "likely to fail, about " in joined
    assert "more examples would settle it" in joined
    assert joined.count("why: Curators need it.") == 1


def test_a_verbose_report_says_what_to_do_about_what_is_missing() -> None:
    verdict = decide(policy(), [evidence(probe="label_prior")], DAY)

    says = "    accuracy was not measured; add probes.clean_accuracy to the plan, or drop the rule"
    assert says in table(verdict, "verbose")
    assert "add probes" not in "\n".join(table(verdict))


def test_a_verbose_report_has_what_probes_remarked() -> None:
    found = Evidence.model_validate({**evidence().model_dump(by_alias=True), "remarks": ["look!"]})
    verdict = decide(policy(), [found], DAY)

    assert "clean_accuracy: look!" in shown(verdict, "verbose", [found])
    assert "clean_accuracy: look!" not in shown(verdict, "normal", [found])


def test_the_last_line_says_how_to_see_more(verdict: Verdict) -> None:
    last = text.render(verdict).splitlines()[-1]

    assert "-v" in last
    assert "gate explain RULE" in last
    assert "explain" not in text.render(verdict, (), Attachments(verbosity="quiet"))


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=150)
NAME = ANY | st.text(st.sampled_from("猫: #[a\u0301\n\x1b🐈"), max_size=150)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1, 1)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    """Of any names and numbers, past all validation but what its outcome follows from."""
    low, value, high = sorted(draw(st.tuples(NUMBER, NUMBER, NUMBER)))
    m = measurement(n=draw(st.integers(1, 10**400))).model_copy(
        update={
            "low": low, "value": value, "high": high,
            "about": draw(st.dictionaries(NAME, NAME, max_size=3)),
        }
    )  # fmt: skip
    asked = rule(
        at_least=draw(st.floats(0, 1)),
        severity=draw(st.sampled_from(["block", "warn"])),
        decide_on=draw(st.sampled_from(["bound", "point"])),
    )
    bound = asked.bound.model_copy(update={"at_least": draw(NUMBER)})
    held = draw(st.sampled_from([m, m, None]))
    waived = draw(st.booleans())
    outcome: Outcome = "missing" if held is None else bound.outcome(m)
    if waived and outcome in ("fail", "inconclusive"):
        outcome = "waived"
    return Finding.model_construct(
        rule=draw(NAME), probe="clean_accuracy", metric="accuracy", severity=asked.severity,
        bound=bound, measurement=held, outcome=outcome, on_inconclusive="block", waiver="w",
        waived_until=DAY if outcome == "waived" else None, says=draw(NAME), why=draw(NAME),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(findings(), min_size=1, max_size=6), NAME, st.integers(1, 10**50))
def test_every_line_fits_and_begins_with_what_blocks_whatever_names_and_numbers_are(
    found: list[Finding], name: str, version: int
) -> None:
    identity = policy().identity.model_copy(update={"name": name, "version": version})
    decision = Verdict.model_construct
    blocks = [f.outcome for f in found if f.blocks]
    verdict = decision(
        decision="reject" if "fail" in blocks else "inconclusive" if blocks else "accept",
        backbone=BACKBONE, policy=identity, findings=tuple(found), evidence={}, valid_until=None,
    )  # fmt: skip

    for verbosity in VERBOSITIES:
        whole = text.render(verdict, (), Attachments(verbosity=verbosity))
        lines = whole.split("\n")
        assert lines.pop() == ""
        assert max(map(cell_len, lines)) <= 100
        assert lines[0].startswith(verdict.decision.upper())
        assert not set("\x1b\x07\r\u202e") & set(whole)
    for finding in found:  # neither numbers nor bounds are shortened
        number = repr(finding.bound.number).removesuffix(".0")
        assert f"≥ {number}" in whole
    marks = [line.split(" ")[0] for line in table(verdict) if line[:1].strip()]
    kinds = ["FAIL", "MISSING", "INCONCLUSIVE"]
    expected = [kind for kind in kinds if kind.lower() in blocks]
    assert list(dict.fromkeys(marks))[: len(expected)] == expected


def test_numbers_that_leave_no_room_for_names_have_a_line_of_their_own() -> None:
    wide = rule(at_least=0.12345678901234568, decide_on="point", name="x" * 90)

    usual, names, numbers = table(judged(rule(), wide))

    assert usual.endswith("100")
    assert re.fullmatch(r"pass x+…xxxx *task digits *|pass x+…xxxx *", names)
    assert numbers == "    0.900 [0.850, 0.950]  ≥ 0.12345678901234568 (point)  100"
