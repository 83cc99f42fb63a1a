"""What a statement says, and that each part of it is held against the others."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gate.errors import AdmissionError
from gate.values import Evidence, digest_of
from tests.builders import evidence, measurement, policy, rule
from tests.trust.admissions import (
    EVIDENCE,
    FILES,
    LAX,
    STRICT,
    TODAY,
    WAIVER,
    admitted_on,
    decoded,
    edited,
    issued,
    let_through,
    verdict,
    written,
)


# a digest depends on the order of keys, so a payload with sorted keys could not be decided again
def test_evidence_comes_back_with_its_settings_in_their_order() -> None:
    found = [
        Evidence.model_validate(
            EVIDENCE.model_dump() | {"settings": {"z": [1, {"y": 2, "b": 3}], "a": None}}
        )
    ]

    assert let_through(admitted_on(found)).verdict.decision == "accept"


def test_an_admission_names_its_artefact_its_policy_and_its_evidence() -> None:
    statement = json.loads(decoded(issued())[0])

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "model.onnx", "digest": {"sha256": "ab" * 32}}]
    predicate = statement["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == ["clean_accuracy.accuracy"]
    assert predicate["issued"] == "2026-11-21"
    assert predicate["resources"] == [{"name": ".", "digest": "ab" * 32, "algorithm": "sha256"}]
    listed = {
        item["name"]: f"sha256:{item['digest']['sha256']}" for item in predicate["configuration"]
    }
    assert listed == {
        "policy test": STRICT.identity.digest,
        "verdict": digest_of(verdict()),
        "evidence clean_accuracy": digest_of(EVIDENCE),
        "data test": "sha256:" + "01" * 32,
    }
    assert Evidence.model_validate(predicate["evidence"][0]) == EVIDENCE


# a rule that failed and only warns is no passed test; in-toto has warnedTests
def test_a_failed_warning_is_not_listed_as_passed() -> None:
    judged = policy(rule(), rule(at_least=0.99, severity="warn", name="warns"))

    statement = json.loads(decoded(issued(judged))[0])

    assert statement["predicate"]["passedTests"] == ["clean_accuracy.accuracy"]


# a statement by another tool of the same key, or one that is unsigned
def test_1_a_digest_that_is_no_text_is_refused() -> None:
    forged = edited(issued(LAX, None), lambda s: s["subject"][0]["digest"].update(sha256=5))

    with pytest.raises(AdmissionError, match="the admission is for sha256:5, and this artefact is"):
        let_through(forged, FILES, TODAY, LAX, None)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s: s.pop("subject"), "no in-toto statement"),
        (lambda s: s["subject"].append(s["subject"][0]), "2 subjects"),
        (lambda s: s["predicate"].update(result="FAILED"), "not sound: result"),
        (lambda s: s.update(predicateType="https://other"), "https://other"),
        (lambda s: s.update(_type="https://other"), "https://other"),
        (lambda s: s["subject"].clear(), "0 subjects"),
        (lambda s: s["predicate"].pop("verdict"), "not sound: verdict"),
        (lambda s: s["predicate"].pop("result"), "not sound: result"),
        (lambda s: s.update(predicate=[]), "not sound"),
    ],
)
def test_1_what_is_no_admission_statement_is_refused(edit: Any, says: str) -> None:
    with pytest.raises(AdmissionError, match=says):
        let_through(edited(issued(LAX, None), edit), FILES, TODAY, LAX, None)


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v["findings"][0]["measurement"].update(low=0.1),
        lambda v: v["findings"].clear(),
    ],
)
def test_4_a_verdict_that_does_not_follow_is_refused(edit: Any) -> None:
    forged = edited(issued(LAX, None), lambda s: edit(s["predicate"]["verdict"]))

    with pytest.raises(AdmissionError, match="not sound"):
        let_through(forged, FILES, TODAY, LAX, None)


EDITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "evidence": (lambda p: p["evidence"][0]["measurements"][0].update(n=99), "other evidence"),
    "seed": (lambda p: p["evidence"][0].update(seed=1), "other evidence"),
    "no evidence": (lambda p: p["evidence"].clear(), "cannot be decided again"),
    "bound": (lambda p: p["policy"]["rules"][0].update(at_least=0.1), "not under the given"),
    "reason": (lambda p: p["verdict"]["findings"][0].update(why="fine"), "decided again"),
    "test name": (lambda p: p["passedTests"].append("all"), "are not those of the verdict"),
    "digest": (lambda p: p["configuration"].pop(), "are not those of the verdict"),
    "resource": (lambda p: p["resources"].clear(), "are not those of the verdict"),
    "unknown": (lambda p: p.update(note="x"), "are not those of the verdict"),
    "issued": (lambda p: p.update(issued="soon"), "not sound: issued"),
    "version": (lambda p: p.update(gate=1), "not sound: gate"),
}


# even where nothing is signed: each part of a statement is held against the others
@pytest.mark.parametrize("name", EDITS)
def test_4_an_edited_part_of_a_statement_does_not_fit_the_rest(name: str) -> None:
    edit, says = EDITS[name]
    forged = edited(issued(LAX, None), lambda s: edit(s["predicate"]))

    with pytest.raises(AdmissionError, match=says):
        let_through(forged, policy=LAX, key=None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"_type"', b'{"_type": 1, "_type"'),
        (b'"seed": 0', b'"seed": false'),
        (b'"seed": 0', b'"seed": 1, "seed": 0'),
        (b'"n": 100', b'"n": 100.0'),
        (b": ", b":"),
    ],
)
def test_4_a_statement_that_says_the_same_in_other_bytes_is_refused(old: bytes, new: bytes) -> None:
    envelope = json.loads(issued(LAX, None))
    payload = base64.b64decode(envelope["payload"])
    assert old in payload
    envelope["payload"] = base64.b64encode(payload.replace(old, new)).decode()

    with pytest.raises(AdmissionError, match="are not those of the verdict"):
        let_through(written(envelope), policy=LAX, key=None)


def test_a_waiver_that_nothing_leans_on_is_not_carried() -> None:
    unused = WAIVER.model_copy(update={"id": "V", "rule": "other"})
    admission = admitted_on([evidence(measurement(0.5))], waivers=(unused, WAIVER))

    predicate = json.loads(decoded(admission)[0])["predicate"]

    assert [waiver["id"] for waiver in predicate["waivers"]] == ["W"]


UNSIGNED = issued(LAX, None)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_of_an_unsigned_statement_is_refused_or_only_says_who_and_when(
    place: int, flip: int
) -> None:
    """Without a signature, the name, the day and gate's version are what anybody wrote there."""
    envelope = json.loads(UNSIGNED)
    content = bytearray(base64.b64decode(envelope["payload"]))
    content[place % len(content)] ^= flip
    envelope["payload"] = base64.b64encode(content).decode()
    try:
        let_through(written(envelope), policy=LAX, key=None)
    except AdmissionError:
        return
    told, changed = json.loads(decoded_payload(UNSIGNED)), json.loads(content)
    for statement in (told, changed):
        statement["subject"][0].pop("name")
        statement["predicate"].pop("issued")
        statement["predicate"].pop("gate")
    assert told == changed


_any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@given(st.data(), _any_json)
def test_a_statement_with_any_part_replaced_is_refused(data: st.DataObject, value: Any) -> None:
    def edit(node: Any) -> None:
        while True:
            places = list(node) if isinstance(node, dict) else list(range(len(node)))
            place = data.draw(st.sampled_from(places))
            inner = node[place]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            node = inner
        # unsigned, the name, the day and gate's version are anybody's to write, as text
        put = [value] if place in ("name", "issued", "gate") else value
        assume(json.dumps(put) != json.dumps(inner))
        node[place] = put

    forged = edited(UNSIGNED, edit)

    with pytest.raises(AdmissionError):
        let_through(forged, policy=LAX, key=None)


def decoded_payload(admission: bytes) -> bytes:
    return base64.b64decode(json.loads(admission)["payload"])
