"""Steps 4 to 6 of a check, which `admit` asks for too: acceptance, policy, waivers."""

import json
from datetime import date
from typing import Any

import pytest

from gate import decide
from gate.errors import AdmissionError
from gate.files import digest_of_files
from gate.values import Finding, Verdict, last_day
from tests.builders import OTHER_BACKBONE, evidence, measurement, policy, rule
from tests.trust.admissions import (
    EVIDENCE,
    FILES,
    LAX,
    OTHER_FILES,
    PUBLIC,
    STRICT,
    TODAY,
    WAIVER,
    admitted_on,
    edited,
    issued,
    let_through,
    verdict,
)


def test_4_a_verdict_on_another_backbone_is_refused() -> None:
    forged = edited(
        issued(LAX, None), lambda s: s["predicate"]["verdict"].update(backbone=OTHER_BACKBONE)
    )

    with pytest.raises(AdmissionError, match="give the file that was judged"):
        let_through(forged, FILES, TODAY, LAX, None)
    with pytest.raises(AdmissionError, match="give the file that was judged"):
        admitted_on([EVIDENCE], files=OTHER_FILES)


def test_4_an_inconclusive_verdict_is_never_admitted() -> None:
    with pytest.raises(AdmissionError, match="'inconclusive', and only accept admits"):
        admitted_on([evidence(measurement(0.5))])


def test_4_a_rejection_is_never_admitted() -> None:
    failing = evidence(measurement(0.1, 0.2, 0.3))
    rejected = decide(LAX, [failing], TODAY)

    with pytest.raises(AdmissionError, match="'reject', and only accept admits"):
        admitted_on([failing], judge=LAX, key=None)
    forged = edited(
        issued(LAX, None),
        lambda s: s["predicate"].update(verdict=json.loads(rejected.model_dump_json())),
    )
    with pytest.raises(AdmissionError, match="'reject', and only accept admits"):
        let_through(forged, FILES, TODAY, LAX, None)


def test_5_an_older_policy_is_refused() -> None:
    tightened = policy(rule(at_least=0.81))

    with pytest.raises(AdmissionError, match="decide again under the current policy"):
        let_through(issued(), FILES, TODAY, tightened, PUBLIC)
    with pytest.raises(AdmissionError, match="decide again under the current policy"):
        admitted_on([EVIDENCE], judged=verdict(), judge=tightened)


def test_5_a_policy_that_differs_in_a_word_is_another() -> None:
    with pytest.raises(AdmissionError, match="not under the given test v2"):
        let_through(issued(), FILES, TODAY, policy(version=2), PUBLIC)


def test_6_an_admission_ends_with_the_waiver_that_it_leans_on() -> None:
    weak = [evidence(measurement(0.5))]
    waived = decide(STRICT, weak, TODAY, [WAIVER])
    admission = admitted_on(weak, waivers=(WAIVER,))

    assert let_through(admission, today=date(2026, 12, 31)).verdict == waived
    with pytest.raises(AdmissionError, match="leans on waiver W, which ended on 2026-12-31"):
        let_through(admission, today=date(2027, 1, 1))
    with pytest.raises(AdmissionError, match="leans on waiver W"):
        admitted_on(weak, judged=waived, waivers=(WAIVER,), today=date(2027, 1, 1))


def test_6_the_end_of_a_waiver_on_a_warning_ends_no_admission() -> None:
    judge = policy(rule(), rule(at_least=0.99, severity="warn", name="warns"))
    waiver = WAIVER.model_copy(update={"rule": "warns"})
    admission = admitted_on([EVIDENCE], judge=judge, waivers=(waiver,))

    found = let_through(admission, today=date(2027, 1, 1), policy=judge)

    assert found.verdict.decision == "accept"


def forgery(judged: Verdict, *findings: Finding) -> Verdict:
    """A verdict with other findings, as an editor of its file would make it."""
    return Verdict(
        decision="accept",
        backbone=judged.backbone,
        policy=judged.policy,
        evidence=judged.evidence,
        findings=findings or judged.findings,
        valid_until=last_day(findings or judged.findings),
    )


def test_4_a_verdict_that_leaves_out_a_finding_is_refused() -> None:
    judge = policy(rule(), rule(at_least=0.99, name="strict"))
    rejected = decide(judge, [evidence(measurement())], TODAY)
    kind = forgery(rejected, *(f for f in rejected.findings if not f.blocks))

    with pytest.raises(AdmissionError, match="decided again it is 'reject' with 2 findings, where"):
        admitted_on([EVIDENCE], judged=kind, judge=judge)


def test_4_a_finding_waived_by_nobody_is_refused() -> None:
    weak = [evidence(measurement(0.5))]
    waived = decide(STRICT, weak, TODAY, [WAIVER])

    with pytest.raises(AdmissionError, match="waiver W is not among the given ones"):
        admitted_on(weak, judged=waived)


def test_4_a_verdict_on_other_numbers_is_refused() -> None:
    with pytest.raises(AdmissionError, match="on other evidence of clean_accuracy"):
        admitted_on([evidence(measurement(0.86))], judged=verdict())


def test_4_evidence_of_another_backbone_is_refused() -> None:
    with pytest.raises(AdmissionError, match="other evidence of clean_accuracy"):
        admitted_on([evidence(measurement(), backbone=OTHER_BACKBONE)], judged=verdict())
    with pytest.raises(AdmissionError, match=r"cannot be decided again: .*2 backbones"):
        other = evidence(measurement(), probe="label_prior", backbone=OTHER_BACKBONE)
        admitted_on([EVIDENCE, other], judged=verdict())


def test_4_a_file_that_reads_like_a_folders_manifest_is_not_that_folder() -> None:
    folder = {"a.bin": "0" * 64}
    digest = digest_of_files(folder)  # also of a file with the line "000...  a.bin" in it
    admission = admitted_on([evidence(measurement(), backbone=digest)], files=folder)

    with pytest.raises(AdmissionError, match=r"resources .* are not those of the verdict"):
        let_through(admission, {".": digest.removeprefix("sha256:")})


def test_4_a_waiver_longer_than_the_carried_policy_lets_any_last_is_refused() -> None:
    short = policy(allow_unsigned=True, waivers={"longest_days": 60})
    true = admitted_on([evidence(measurement(0.5))], judge=short, waivers=(WAIVER,), key=None)
    early = edited(true, lambda s: s["predicate"].update(issued="2026-10-01"))

    assert let_through(true, policy=short, key=None)
    with pytest.raises(AdmissionError, match=r"cannot be decided again: .* none last longer"):
        let_through(early, policy=short, key=None)


def test_4_what_another_version_of_gate_decided_otherwise_says_so() -> None:
    def edit(statement: Any) -> None:
        statement["predicate"]["gate"] = "0.0.1"
        statement["predicate"]["verdict"]["findings"][0]["says"] = "worded otherwise"

    with pytest.raises(AdmissionError, match=r"issued by gate 0\.0\.1, and this is gate"):
        let_through(edited(issued(LAX, None), edit), policy=LAX, key=None)
