"""The steps of a check in their order, and the attack that each of them stops."""

import json
from datetime import date
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import assume, given
from hypothesis import strategies as st

from gate.errors import AdmissionError
from gate.files import digest_of_files
from tests.builders import BACKBONE, evidence, measurement, policy
from tests.trust.admissions import (
    FILES,
    LAX,
    OTHER_FILES,
    PUBLIC,
    SIGNED,
    STRICT,
    TODAY,
    WAIVER,
    admitted_on,
    edited,
    issued,
    key_pair,
    let_through,
    verdict,
    written,
)


@pytest.mark.parametrize(
    "private", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())]
)
def test_what_was_admitted_is_let_through(private: Any) -> None:
    key, public = key_pair(private)

    found = let_through(issued(key=key), FILES, TODAY, STRICT, public)

    assert found.verdict == verdict()
    assert let_through(issued(key=key), FILES, TODAY, None, public).files == FILES


def test_3_another_artefact_is_refused() -> None:
    with pytest.raises(AdmissionError, match="changed or swapped after it was admitted"):
        let_through(issued(), OTHER_FILES, TODAY, STRICT, PUBLIC)


def test_7_an_admission_may_be_too_old() -> None:
    later = date(2026, 12, 21)

    assert let_through(issued(), today=later, max_age=30).verdict == verdict()
    assert let_through(issued(), today=date(2036, 11, 21)).verdict == verdict()
    with pytest.raises(AdmissionError, match="30 days ago, and at most 29 are allowed"):
        let_through(issued(), today=later, max_age=29)


def test_7_an_admission_from_the_future_is_refused() -> None:
    assert let_through(issued(), today=date(2026, 11, 20), max_age=0).verdict == verdict()
    with pytest.raises(AdmissionError, match="set this machine's clock"):
        let_through(issued(), today=date(2026, 11, 19))


def test_the_first_step_that_fails_is_the_one_that_is_told() -> None:
    """Everything is wrong at once; each repair uncovers the next step, in the documented order."""
    weak, ended, tightened = evidence(measurement(0.5)), date(2027, 1, 1), policy(version=2)
    true = admitted_on([weak], waivers=(WAIVER,))
    forged = written({**json.loads(true), "signatures": []})
    lie = edited(
        admitted_on([weak], judge=LAX, waivers=(WAIVER,), key=None),
        lambda s: s["predicate"]["evidence"][0].update(seed=1),
    )
    lax = policy(version=2, allow_unsigned=True)

    def says(*arguments: Any) -> str:
        with pytest.raises(AdmissionError) as caught:
            let_through(*arguments)
        return str(caught.value)

    assert "not a DSSE envelope" in says(b"", OTHER_FILES, ended, tightened, PUBLIC, 0)
    assert "no valid signature" in says(forged, OTHER_FILES, ended, tightened, PUBLIC, 0)
    assert "changed or swapped" in says(lie, OTHER_FILES, ended, lax, None, 0)
    assert "on other evidence" in says(lie, FILES, ended, lax, None, 0)
    assert "not under the given test v2" in says(true, FILES, ended, tightened, PUBLIC, 0)
    assert "leans on waiver W" in says(true, FILES, ended, STRICT, PUBLIC, 0)
    assert "at most 0 are allowed" in says(true, FILES, date(2026, 12, 31), STRICT, PUBLIC, 0)
    assert let_through(true, FILES, TODAY, STRICT, PUBLIC, 0).verdict.decision == "accept"


def test_3_an_artefact_of_many_files_says_which_of_them_changed() -> None:
    files = {"a.bin": "0" * 64, "b/x": "1" * 64}
    found = [evidence(measurement(), backbone=digest_of_files(files))]
    admission = admitted_on(found, files=files)

    assert let_through(admission, files).verdict.decision == "accept"
    for changed, name in (
        ({**files, "b/x": "2" * 64}, r"\(b/x\)"),
        ({**files, "c": "2" * 64}, r"\(c\)"),
        ({"a.bin": "0" * 64}, r"\(b/x\)"),
        ({"renamed": "0" * 64, "b/x": "1" * 64}, r"\(a.bin, renamed\)"),
        ({".": "0" * 64}, "was changed or swapped"),
    ):
        with pytest.raises(AdmissionError, match=name):
            let_through(admission, changed)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_every_other_artefact_digest_is_refused(place: int, letter: str) -> None:
    letters = list(BACKBONE.removeprefix("sha256:"))
    letters[place] = letter
    digest = "sha256:" + "".join(letters)
    assume(digest != BACKBONE)

    with pytest.raises(AdmissionError, match="changed or swapped after it was admitted"):
        let_through(SIGNED, {".": digest}, TODAY, STRICT, PUBLIC)
