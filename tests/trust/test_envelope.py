"""Steps 1 and 2 of a check: the bytes of an envelope, its signature and the keys."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import assume, given
from hypothesis import strategies as st

from gate.errors import AdmissionError
from gate.trust.check import check
from tests.builders import policy, rule
from tests.trust.admissions import (
    FILES,
    LAX,
    OTHER_FILES,
    PUBLIC,
    SIGNED,
    STRICT,
    TODAY,
    decoded,
    edited,
    issued,
    key_pair,
    let_through,
    verdict,
    written,
)


def test_one_of_several_keys_is_enough() -> None:
    _, stranger = key_pair(ed25519.Ed25519PrivateKey.generate())

    assert check(issued(), FILES, TODAY, STRICT, [stranger, PUBLIC]).verdict == verdict()


@pytest.mark.parametrize(
    "private", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
)
def test_a_key_of_another_kind_is_refused(private: Any) -> None:
    key, public = key_pair(private)

    with pytest.raises(AdmissionError, match=r"--key is of .*; give an Ed25519 or ECDSA P-256 key"):
        issued(key=key)
    with pytest.raises(AdmissionError, match="--public-key is of "):
        let_through(issued(), key=public)


def test_the_signature_is_over_the_pre_authentication_encoding_of_dsse() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    payload, kind, _, signature = decoded(issued())
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)

    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().verify(
        signature, signed
    )


def test_an_unsigned_admission_is_let_through_only_where_the_policy_allows_it() -> None:
    unsigned = issued(LAX, key=None)

    assert let_through(unsigned, FILES, TODAY, LAX, None).verdict.decision == "accept"
    with pytest.raises(AdmissionError, match="not signed, and nothing says whom to trust"):
        let_through(unsigned, FILES, TODAY, None, None)
    with pytest.raises(AdmissionError, match="no valid signature"):
        let_through(unsigned, FILES, TODAY, LAX, PUBLIC)
    with pytest.raises(AdmissionError, match="wants a signature: pass --key"):
        issued(STRICT, key=None)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"payload": 1, "payloadType": "x", "signatures": []}', b"\xff"]
)
def test_1_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(AdmissionError, match="not a DSSE envelope"):
        let_through(content, FILES, TODAY, LAX, None)


def test_1_an_envelope_of_another_payload_type_is_refused() -> None:
    envelope = {**json.loads(issued(LAX, None)), "payloadType": "application/json"}

    with pytest.raises(AdmissionError, match="the envelope holds 'application/json'"):
        let_through(written(envelope), FILES, TODAY, LAX, None)


def test_1_a_second_signature_is_refused() -> None:
    private, public = key_pair(ed25519.Ed25519PrivateKey.generate())
    both = json.loads(issued())
    both["signatures"] += json.loads(issued(key=private))["signatures"]

    for keys in ([PUBLIC], [public, PUBLIC]):
        with pytest.raises(AdmissionError, match="has 2 signatures; admit gives it at most one"):
            check(written(both), FILES, TODAY, STRICT, keys)


REWRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "laid out anew": lambda a: json.dumps(json.loads(a)).encode(),
    "a key twice": lambda a: a.replace(b"{", b'{"payload": "",', 1),
    "an unknown key": lambda a: written({**json.loads(a), "note": 1}),
    "an unknown key of the signature": lambda a: a.replace(
        b'"\n    }\n  ]', b'",\n      "note": 1\n    }\n  ]'
    ),
    "bits that base64 spares": lambda a: a.replace(
        sig := json.loads(a)["signatures"][0]["sig"].encode(),
        sig[:-3] + bytes([sig[-3] + 1]) + b"==",
    ),
    "a blank within base64": lambda a: a.replace(b'"payload": "', b'"payload": " '),
    "a byte behind it": lambda a: a + b"\n",
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_1_what_says_the_same_and_is_written_otherwise_is_refused(name: str) -> None:
    changed = REWRITTEN[name](issued())
    assert changed != issued()

    with pytest.raises(AdmissionError, match=r"not written as admit writes it|not a DSSE envelope"):
        let_through(changed)


# json.loads raises RecursionError, which is no ValueError: gate/trust/envelope.py
def test_1_json_nested_without_end_is_no_envelope() -> None:
    with pytest.raises(AdmissionError, match="not a DSSE envelope"):
        let_through(b"[" * 100_000, FILES, TODAY, LAX, None)


def test_2_a_signature_by_another_key_is_refused() -> None:
    _, stranger = key_pair(ed25519.Ed25519PrivateKey.generate())

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(issued(), FILES, TODAY, STRICT, stranger)


def test_2_a_changed_statement_is_refused() -> None:
    forged = edited(issued(), lambda s: s["predicate"].update(note="harmless"))

    with pytest.raises(AdmissionError, match="it was changed, or signed by somebody else"):
        let_through(forged, FILES, TODAY, STRICT, PUBLIC)


def test_2_a_signature_taken_off_is_refused() -> None:
    stripped = written({**json.loads(issued()), "signatures": []})

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(stripped, FILES, TODAY, STRICT, PUBLIC)
    with pytest.raises(AdmissionError, match="is not signed, and nothing says whom to trust"):
        let_through(stripped, FILES, TODAY, STRICT, None)


def test_2_a_signature_of_another_statement_is_refused() -> None:
    other = json.loads(issued(policy(rule(at_least=0.5))))
    mixed = {**json.loads(issued()), "signatures": other["signatures"]}

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(written(mixed), FILES, TODAY, STRICT, PUBLIC)


def test_2_a_stranger_who_takes_the_key_id_of_another_is_refused() -> None:
    private, _ = key_pair(ed25519.Ed25519PrivateKey.generate())
    forged = json.loads(issued(key=private))
    forged["signatures"][0]["keyid"] = decoded(issued())[2]

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(written(forged), FILES, TODAY, STRICT, PUBLIC)


def test_2_the_signature_is_judged_before_anything_in_the_statement() -> None:
    forged = edited(issued(), lambda s: s.clear())

    with pytest.raises(AdmissionError, match="no valid signature"):
        let_through(forged, OTHER_FILES, TODAY, STRICT, PUBLIC)


def test_2_a_signed_admission_without_a_key_to_trust_is_refused() -> None:
    with pytest.raises(AdmissionError, match="is signed, and nothing says whom to trust"):
        let_through(issued(LAX), FILES, TODAY, LAX, None)


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
        let_through(written(envelope), FILES, TODAY, STRICT, PUBLIC)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_an_admission_with_one_changed_byte_is_refused(place: int, flip: int) -> None:
    changed = bytearray(SIGNED)
    changed[place] ^= flip

    with pytest.raises(AdmissionError):
        let_through(bytes(changed), FILES, TODAY, STRICT, PUBLIC)


@given(st.integers(0, len(SIGNED)), st.binary(min_size=1, max_size=3))
def test_an_admission_with_bytes_put_in_or_taken_out_is_refused(place: int, put: bytes) -> None:
    for changed in (
        SIGNED[:place] + put + SIGNED[place:],
        SIGNED[:place] + SIGNED[place + len(put) :],
    ):
        assume(changed != SIGNED)
        with pytest.raises(AdmissionError):
            let_through(changed, FILES, TODAY, STRICT, PUBLIC)


@pytest.mark.parametrize("key", [b"", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    with pytest.raises(AdmissionError, match="--key is no usable"):
        issued(key=key)
    with pytest.raises(AdmissionError, match="--public-key is no usable"):
        let_through(issued(), FILES, TODAY, STRICT, key)
