"""Keys and signatures: one admission has one digest, and a key is one that only its owner has."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from gate.errors import AdmissionError
from tests.trust.admissions import (
    FILES,
    KEY,
    PUBLIC,
    STRICT,
    TODAY,
    decoded,
    issued,
    key_pair,
    let_through,
    written,
)

ECDSA_KEY, ECDSA_PUBLIC = key_pair(ec.generate_private_key(ec.SECP256R1()))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P = 2**255 - 19


def resigned(admission: bytes, signature: bytes) -> bytes:
    envelope = json.loads(admission)
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    return written(envelope)


def test_an_ecdsa_signature_with_the_other_s_is_refused() -> None:
    """Anybody can make it, without the key, and it would give the admission another digest."""
    admission = issued(key=ECDSA_KEY)
    *_, signature = decoded(admission)
    r, s = decode_dss_signature(signature)
    twin = resigned(admission, encode_dss_signature(r, ORDER - s))

    assert let_through(admission, key=ECDSA_PUBLIC).verdict.decision == "accept"
    with pytest.raises(AdmissionError, match="has a twin with a lower s, which is the one that"):
        let_through(twin, key=ECDSA_PUBLIC)


def test_an_ecdsa_signature_in_a_longer_encoding_is_refused() -> None:
    admission = issued(key=ECDSA_KEY)
    *_, signature = decoded(admission)
    r, s = decode_dss_signature(signature)
    parts = [number.to_bytes(33, "big") for number in (r, s)]
    parts = [b"\x02\x22\x00" + part for part in parts]
    longer = b"\x30" + bytes([sum(map(len, parts))]) + b"".join(parts)

    for rewritten in (longer, signature + b"\x00"):
        with pytest.raises(AdmissionError, match=r"no valid signature|has a twin"):
            let_through(resigned(admission, rewritten), key=ECDSA_PUBLIC)


def test_every_ecdsa_signature_is_issued_with_the_lower_s() -> None:
    for _ in range(20):  # else half of them would not be
        *_, signature = decoded(issued(key=ECDSA_KEY))
        assert decode_dss_signature(signature)[1] <= ORDER // 2


def test_an_ed25519_signature_with_the_order_added_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    *_, signature = decoded(issued())
    s = int.from_bytes(signature[32:], "little") + order
    twin = signature[:32] + s.to_bytes(32, "little")

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        let_through(resigned(issued(), twin))


def small_order_points() -> list[bytes]:
    """All encodings of points whose order divides 8, also those beyond the prime."""
    d = -121665 * pow(121666, -1, P) % P
    # twice a point of order 8 has y = 0: x^2 = -y^2, so that d y^4 + 2 y^2 = 1
    root = pow(1 + d, (P + 3) // 8, P)
    roots = [root, root * pow(2, (P - 1) // 4, P) % P]
    (of_one_plus_d,) = [r for r in roots if r * r % P == (1 + d) % P]
    found = {0, 1, P - 1}
    for sign in (1, -1):
        square = (sign * of_one_plus_d - 1) * pow(d, -1, P) % P
        y = pow(square, (P + 3) // 8, P)
        for candidate in (y, y * pow(2, (P - 1) // 4, P) % P):
            if candidate * candidate % P == square:
                found |= {candidate, P - candidate}
    assert len(found) == 5
    values = [*found, *(y + P for y in found if y + P < 2**255)]
    return [(y + (sign << 255)).to_bytes(32, "little") for y in values for sign in (0, 1)]


def test_an_ed25519_key_of_small_order_is_refused() -> None:
    points = small_order_points()
    assert len(points) == 14
    for point in points:
        der = bytes.fromhex("302a300506032b6570032100") + point
        body = base64.b64encode(der).decode()
        pem = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()

        with pytest.raises(AdmissionError, match=r"--public-key is (an Ed25519 point of small|no)"):
            let_through(issued(), FILES, TODAY, STRICT, pem)


def test_a_file_with_two_keys_is_refused() -> None:
    private, public = key_pair(ed25519.Ed25519PrivateKey.generate())

    with pytest.raises(AdmissionError, match="--key holds 2 keys or certificates in one PEM file"):
        issued(key=KEY + private)
    for both in (PUBLIC + public, public + PUBLIC):
        with pytest.raises(AdmissionError, match="--public-key holds 2 keys or certificates"):
            let_through(issued(), key=both)


def test_a_key_behind_the_name_of_its_curve_is_one_key(tmp_path: Path) -> None:
    """As `openssl ecparam -genkey` writes it."""
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    for command in (
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", str(key)],
        ["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    assert key.read_bytes().count(b"-----BEGIN") == 2

    admission = issued(key=key.read_bytes())

    assert let_through(admission, key=public.read_bytes()).verdict.decision == "accept"


def test_a_key_of_a_kind_that_nobody_knows_is_refused() -> None:
    def unknown(pem: bytes) -> bytes:
        first, *lines, last = pem.split(b"\n")[:-1]
        content = base64.b64decode(b"".join(lines)).replace(b"\x2b\x65\x70", b"\x2b\x65\x44")
        return b"\n".join((first, base64.b64encode(content), last)) + b"\n"

    with pytest.raises(AdmissionError, match="--key is no usable unencrypted private key in PEM"):
        issued(key=unknown(KEY))
    with pytest.raises(AdmissionError, match="--public-key is no usable public key in PEM"):
        let_through(issued(), key=unknown(PUBLIC))
