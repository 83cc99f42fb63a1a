"""Each step of a check, and the attack that it stops."""

import base64
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from gate import decide
from gate.admission import admit, check
from gate.errors import AdmissionError
from gate.policy import Policy, Waiver
from gate.values import Verdict
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy, rule

TODAY = date(2026, 11, 21)
STRICT = policy()
LAX = policy(allow_unsigned=True)


def key_pair(private: Any) -> tuple[bytes, bytes]:
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


KEY, PUBLIC = key_pair(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def verdict(judge: Policy = STRICT, low: float = 0.85, waivers: tuple[Waiver, ...] = ()) -> Verdict:
    return decide(judge, [evidence(measurement(low))], TODAY, waivers)


def issued(judge: Policy = STRICT, key: bytes | None = KEY) -> bytes:
    return admit(verdict(judge), judge, Path("model.onnx"), BACKBONE, TODAY, key).encode()


def edited(admission: bytes, edit: Callable[[Any], Any]) -> bytes:
    """Change the statement inside an envelope, and leave its signatures."""
    envelope = json.loads(admission)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    edit(statement)
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(envelope).encode()


def decoded(admission: bytes) -> tuple[bytes, str, str, bytes]:
    """What an envelope says: the signed bytes and their type, the key and its signature."""
    envelope = json.loads(admission)
    (signature,) = envelope["signatures"]
    return (
        base64.b64decode(envelope["payload"]),
        envelope["payloadType"],
        signature["keyid"],
        base64.b64decode(signature["sig"]),
    )


@pytest.mark.parametrize(
    "private", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())]
)
def test_what_was_admitted_is_let_through(private: Any) -> None:
    key, public = key_pair(private)

    found = check(issued(key=key), BACKBONE, TODAY, STRICT, public)

    assert found == verdict()
    assert check(issued(key=key), BACKBONE, TODAY, None, public) == found


def test_an_admission_names_its_artefact_its_policy_and_its_evidence() -> None:
    statement = json.loads(decoded(issued())[0])
    hexadecimal = {name: of.removeprefix("sha256:") for name, of in verdict().evidence.items()}

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "model.onnx", "digest": {"sha256": "ab" * 32}}]
    predicate = statement["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == ["clean_accuracy.accuracy"]
    assert predicate["configuration"] == [
        {
            "name": "policy test",
            "digest": {"sha256": STRICT.identity.digest.removeprefix("sha256:")},
        },
        {
            "name": "evidence clean_accuracy",
            "digest": {"sha256": hexadecimal["clean_accuracy"]},
        },
    ]


def test_the_signature_is_over_the_pre_authentication_encoding_of_dsse() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    payload, kind, _, signature = decoded(issued())
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)

    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().verify(
        signature, signed
    )


# a rule that failed and only warns is no passed test; in-toto has warnedTests: gate/admission.py
def test_a_failed_warning_is_not_listed_as_passed() -> None:
    judged = policy(rule(), rule(at_least=0.99, severity="warn", name="warns"))

    statement = json.loads(decoded(issued(judged))[0])

    assert statement["predicate"]["passedTests"] == ["clean_accuracy.accuracy"]


def test_an_unsigned_admission_is_let_through_only_where_the_policy_allows_it() -> None:
    unsigned = issued(LAX, key=None)

    assert check(unsigned, BACKBONE, TODAY, LAX, None).decision == "accept"
    with pytest.raises(AdmissionError, match="not signed, and nothing says whom to trust"):
        check(unsigned, BACKBONE, TODAY, None, None)
    with pytest.raises(AdmissionError, match="no valid signature"):
        check(unsigned, BACKBONE, TODAY, LAX, PUBLIC)
    with pytest.raises(AdmissionError, match="wants a signature: pass --key"):
        issued(STRICT, key=None)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"payload": 1, "payloadType": "x", "signatures": []}', b"\xff"]
)
def test_1_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(AdmissionError, match="not a DSSE envelope"):
        check(content, BACKBONE, TODAY, LAX, None)


def test_1_an_envelope_of_another_payload_type_is_refused() -> None:
    envelope = {**json.loads(issued(LAX, None)), "payloadType": "application/json"}

    with pytest.raises(AdmissionError, match="the envelope holds 'application/json'"):
        check(json.dumps(envelope).encode(), BACKBONE, TODAY, LAX, None)


# a statement by another tool of the same key, or one that is unsigned: gate/admission.py, check
def test_1_a_digest_that_is_no_text_is_refused() -> None:
    forged = edited(issued(LAX, None), lambda s: s["subject"][0]["digest"].update(sha256=5))

    with pytest.raises(AdmissionError, match="statement"):
        check(forged, BACKBONE, TODAY, LAX, None)


# json.loads raises RecursionError, which is no ValueError: gate/admission.py, _envelope
def test_1_json_nested_without_end_is_no_envelope() -> None:
    with pytest.raises(AdmissionError, match="not a DSSE envelope"):
        check(b"[" * 100_000, BACKBONE, TODAY, LAX, None)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s: s.pop("subject"), "no in-toto statement"),
        (lambda s: s["subject"].append(s["subject"][0]), "2 subjects"),
        (lambda s: s["predicate"].update(result="FAILED"), "result 'FAILED'"),
        (lambda s: s.update(predicateType="https://other"), "https://other"),
        (lambda s: s.update(_type="https://other"), "https://other"),
        (lambda s: s["subject"].clear(), "0 subjects"),
        (lambda s: s["predicate"].pop("verdict"), "no in-toto statement"),
        (lambda s: s["predicate"].pop("result"), "no in-toto statement"),
        (lambda s: s.update(predicate=[]), "no in-toto statement"),
    ],
)
def test_1_what_is_no_admission_statement_is_refused(edit: Any, says: str) -> None:
    with pytest.raises(AdmissionError, match=says):
        check(edited(issued(LAX, None), edit), BACKBONE, TODAY, LAX, None)


def test_2_a_signature_by_another_key_is_refused() -> None:
    _, stranger = key_pair(ed25519.Ed25519PrivateKey.generate())

    with pytest.raises(AdmissionError, match="no valid signature by the given public key"):
        check(issued(), BACKBONE, TODAY, STRICT, stranger)


def test_2_a_changed_statement_is_refused() -> None:
    forged = edited(issued(), lambda s: s["predicate"].update(note="harmless"))

    with pytest.raises(AdmissionError, match="it was changed, or signed by somebody else"):
        check(forged, BACKBONE, TODAY, STRICT, PUBLIC)


def test_2_a_signature_taken_off_is_refused() -> None:
    stripped = json.dumps({**json.loads(issued()), "signatures": []}).encode()

    with pytest.raises(AdmissionError, match="no valid signature by the given public key"):
        check(stripped, BACKBONE, TODAY, STRICT, PUBLIC)
    with pytest.raises(AdmissionError, match="is not signed, and nothing says whom to trust"):
        check(stripped, BACKBONE, TODAY, STRICT, None)


def test_2_a_signature_of_another_statement_is_refused() -> None:
    other = json.loads(issued(policy(rule(at_least=0.5))))
    mixed = {**json.loads(issued()), "signatures": other["signatures"]}

    with pytest.raises(AdmissionError, match="no valid signature by the given public key"):
        check(json.dumps(mixed).encode(), BACKBONE, TODAY, STRICT, PUBLIC)


def test_2_a_stranger_who_takes_the_key_id_of_another_is_refused() -> None:
    private, _ = key_pair(ed25519.Ed25519PrivateKey.generate())
    forged = json.loads(issued(key=private))
    forged["signatures"][0]["keyid"] = decoded(issued())[2]

    with pytest.raises(AdmissionError, match="no valid signature by the given public key"):
        check(json.dumps(forged).encode(), BACKBONE, TODAY, STRICT, PUBLIC)


def test_2_the_signature_is_judged_before_anything_in_the_statement() -> None:
    forged = edited(issued(), lambda s: s.clear())

    with pytest.raises(AdmissionError, match="no valid signature"):
        check(forged, OTHER_BACKBONE, TODAY, STRICT, PUBLIC)


def test_2_a_signed_admission_without_a_key_to_trust_is_refused() -> None:
    with pytest.raises(AdmissionError, match="is signed, and nothing says whom to trust"):
        check(issued(LAX), BACKBONE, TODAY, LAX, None)


def test_3_another_artefact_is_refused() -> None:
    with pytest.raises(AdmissionError, match="changed or swapped after it was admitted"):
        check(issued(), OTHER_BACKBONE, TODAY, STRICT, PUBLIC)


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
        check(forged, BACKBONE, TODAY, LAX, None)


def test_4_a_verdict_on_another_backbone_is_refused() -> None:
    forged = edited(
        issued(LAX, None), lambda s: s["predicate"]["verdict"].update(backbone=OTHER_BACKBONE)
    )

    with pytest.raises(AdmissionError, match="give the file that was judged"):
        check(forged, BACKBONE, TODAY, LAX, None)
    with pytest.raises(AdmissionError, match="give the file that was judged"):
        admit(verdict(), STRICT, Path("model.onnx"), OTHER_BACKBONE, TODAY, KEY)


def test_4_an_inconclusive_verdict_is_never_admitted() -> None:
    with pytest.raises(AdmissionError, match="'inconclusive', and only accept admits"):
        admit(verdict(low=0.5), STRICT, Path("model.onnx"), BACKBONE, TODAY, KEY)


def test_4_a_rejection_is_never_admitted() -> None:
    rejected = decide(LAX, [evidence(measurement(0.1, 0.2, 0.3))], TODAY)

    with pytest.raises(AdmissionError, match="'reject', and only accept admits"):
        admit(rejected, LAX, Path("model.onnx"), BACKBONE, TODAY, None)
    forged = edited(
        issued(LAX, None),
        lambda s: s["predicate"].update(verdict=json.loads(rejected.model_dump_json())),
    )
    with pytest.raises(AdmissionError, match="'reject', and only accept admits"):
        check(forged, BACKBONE, TODAY, LAX, None)


def test_5_an_older_policy_is_refused() -> None:
    tightened = policy(rule(at_least=0.81))

    with pytest.raises(AdmissionError, match="decide again under the current policy"):
        check(issued(), BACKBONE, TODAY, tightened, PUBLIC)
    with pytest.raises(AdmissionError, match="decide again under the current policy"):
        admit(verdict(), tightened, Path("model.onnx"), BACKBONE, TODAY, KEY)


def test_5_a_policy_that_differs_in_a_word_is_another() -> None:
    with pytest.raises(AdmissionError, match="not under the given test v2"):
        check(issued(), BACKBONE, TODAY, policy(version=2), PUBLIC)


def test_6_an_admission_ends_with_the_waiver_that_it_leans_on() -> None:
    waiver = Waiver(
        id="W",
        rule="clean_accuracy.accuracy",
        backbone=BACKBONE,
        reason="known",
        owner="ml-team",
        expires=date(2026, 12, 31),
    )
    waived = verdict(low=0.5, waivers=(waiver,))
    admission = admit(waived, STRICT, Path("m"), BACKBONE, TODAY, KEY).encode()

    assert check(admission, BACKBONE, date(2026, 12, 31), STRICT, PUBLIC) == waived
    with pytest.raises(AdmissionError, match="leans on a waiver that ended on 2026-12-31"):
        check(admission, BACKBONE, date(2027, 1, 1), STRICT, PUBLIC)
    with pytest.raises(AdmissionError, match="leans on a waiver"):
        admit(waived, STRICT, Path("m"), BACKBONE, date(2027, 1, 1), KEY)


SIGNED = json.dumps(json.loads(issued())).encode()


@given(st.integers(0), st.integers(1, 255), st.sampled_from(["payload", "sig"]))
def test_every_changed_byte_of_the_statement_or_its_signature_is_refused(
    place: int, flip: int, part: str
) -> None:
    envelope = json.loads(SIGNED)
    holder = envelope if part == "payload" else envelope["signatures"][0]
    content = bytearray(base64.b64decode(holder[part]))
    content[place % len(content)] ^= flip
    holder[part] = base64.b64encode(content).decode()

    with pytest.raises(AdmissionError, match="no valid signature"):
        check(json.dumps(envelope).encode(), BACKBONE, TODAY, STRICT, PUBLIC)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_every_other_artefact_digest_is_refused(place: int, letter: str) -> None:
    letters = list(BACKBONE.removeprefix("sha256:"))
    letters[place] = letter
    digest = "sha256:" + "".join(letters)
    assume(digest != BACKBONE)

    with pytest.raises(AdmissionError, match="changed or swapped after it was admitted"):
        check(SIGNED, digest, TODAY, STRICT, PUBLIC)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_an_admission_with_one_changed_byte_admits_nothing_else(place: int, flip: int) -> None:
    changed = bytearray(SIGNED)
    changed[place] ^= flip
    try:
        found = check(bytes(changed), BACKBONE, TODAY, STRICT, PUBLIC)
    except AdmissionError:
        return
    # the last letter of base64 has bits that say nothing; the bytes that were signed are the same
    assert found == verdict()
    assert decoded(bytes(changed)) == decoded(SIGNED)


@pytest.mark.parametrize("key", [b"", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    with pytest.raises(AdmissionError, match="--key is no usable"):
        issued(key=key)
    with pytest.raises(AdmissionError, match="--public-key is no usable"):
        check(issued(), BACKBONE, TODAY, STRICT, key)
