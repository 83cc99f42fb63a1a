"""DSSE envelopes and the keys that sign them. The only file that imports securesystemslib."""

import json
import re
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from gate.errors import AdmissionError, failing_as

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_ECDSA = "ecdsa-sha2-nistp256"
_SCHEMES = ("ed25519", _ECDSA)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SP 800-186
_ED25519_PRIME = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
# y of the points whose order divides 8: for such a key, signatures exist that nobody made
_SMALL_ORDER = {0, 1, _ED25519_PRIME - 1, _ORDER_8, _ED25519_PRIME - _ORDER_8}


def sealed(payload: bytes, key: bytes | None) -> str:
    """A statement in an envelope, as JSON.

    Args:
        payload: The statement.
        key: Private key in PEM (ECDSA P-256 or Ed25519), or None for no signature.

    Raises:
        AdmissionError: The key is none of these.
    """
    envelope = Envelope(payload, _PAYLOAD_TYPE, {})
    if key is not None:
        signer = _signer(key)
        signature = envelope.sign(signer)
        signature.signature = _lower(signature.signature, signer.public_key.scheme)
    return _text(envelope)


def opened(admission: bytes) -> Envelope:
    """Read an envelope; nothing in it is verified yet.

    Raises:
        AdmissionError: It is not what `sealed` writes, byte for byte.
    """
    try:
        envelope = Envelope.from_dict(json.loads(admission))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise AdmissionError("the admission is not a DSSE envelope; issue it with admit") from fault
    if envelope.payload_type != _PAYLOAD_TYPE:
        raise AdmissionError(f"the envelope holds {envelope.payload_type!r}, not {_PAYLOAD_TYPE!r}")
    if len(envelope.signatures) > 1:
        raise AdmissionError(
            f"the envelope has {len(envelope.signatures)} signatures; admit gives it at most one"
        )
    # else readers could differ on keys that stand twice, on unknown ones, on base64's spare bits
    foreign = any(signature.unrecognized_fields for signature in envelope.signatures.values())
    if foreign or _text(envelope).encode() != admission:
        raise AdmissionError(
            "the envelope is not written as admit writes it: it was edited, or laid out anew; "
            "take the file that admit gave"
        )
    return envelope


def require_signature(
    envelope: Envelope, public_keys: Sequence[bytes], allow_unsigned: bool
) -> None:
    """Let through what one of the keys signed.

    Args:
        envelope: As `opened` gives it.
        public_keys: Whom to trust, in PEM (ECDSA P-256 or Ed25519).
        allow_unsigned: Whether, without any key, an envelope without a signature will do.

    Raises:
        AdmissionError: It does not bear such a signature, or a key is none.
    """
    if not public_keys:
        if allow_unsigned and not envelope.signatures:
            return
        state = "is signed" if envelope.signatures else "is not signed"
        raise AdmissionError(
            f"the admission {state}, and nothing says whom to trust: pass --public-key"
            + ("" if envelope.signatures else ", or a --policy that allows unsigned admissions")
        )
    try:
        accepted = envelope.verify([_public_key(key) for key in public_keys], threshold=1)
    except (VerificationError, ValueError) as fault:
        raise AdmissionError(
            "the admission carries no valid signature by a given public key; "
            "it was changed, or signed by somebody else"
        ) from fault
    for keyid, key in accepted.items():
        signature = envelope.signatures[keyid].signature
        if signature != _lower(signature, key.scheme):
            raise AdmissionError(
                "the admission's ECDSA signature has a twin with a lower s, which is the one that "
                "admit writes: it was rewritten, or is by an older gate; issue it anew with admit"
            )


def _lower(signature: str, scheme: str) -> str:
    """The one form of a signature, in hexadecimal: of ECDSA's (r, s) and (r, -s), the lower s.

    Else whoever holds an admission could make another one, with another digest.
    """
    if scheme != _ECDSA:
        return signature
    r, s = decode_dss_signature(bytes.fromhex(signature))
    return encode_dss_signature(r, min(s, _P256_ORDER - s)).hex()


def _text(envelope: Envelope) -> str:
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def _signer(pem: bytes) -> CryptoSigner:
    _require_one_key("--key", pem)
    with failing_as(AdmissionError, "--key is no usable unencrypted private key in PEM"):
        signer = CryptoSigner(load_pem_private_key(pem, password=None))
    _require_scheme("--key", signer.public_key.scheme)
    return signer


def _public_key(pem: bytes) -> SSlibKey:
    _require_one_key("--public-key", pem)
    with failing_as(AdmissionError, "--public-key is no usable public key in PEM"):
        public = load_pem_public_key(pem)
        key = SSlibKey.from_crypto(public)
    _require_scheme("--public-key", key.scheme)
    if isinstance(public, Ed25519PublicKey):
        _require_large_order(public)
    return key


def _require_one_key(flag: str, pem: bytes) -> None:
    # `openssl ecparam -genkey` writes the curve before the key
    blocks = re.findall(rb"-----BEGIN (?!EC PARAMETERS-)", pem)
    if len(blocks) > 1:
        raise AdmissionError(
            f"{flag} holds {len(blocks)} keys or certificates in one PEM file, and only the first "
            "would be read; give a file with one key"
        )


def _require_large_order(key: Ed25519PublicKey) -> None:
    y = int.from_bytes(key.public_bytes_raw(), "little") & (2**255 - 1)  # the top bit is x's sign
    if y >= _ED25519_PRIME or y in _SMALL_ORDER:
        raise AdmissionError(
            "--public-key is an Ed25519 point of small order, or is not in its one form: "
            "signatures by it prove nothing; give one that openssl genpkey made"
        )


def _require_scheme(flag: str, scheme: str) -> None:
    if scheme not in _SCHEMES:
        raise AdmissionError(
            f"{flag} is of {scheme}; give an Ed25519 or ECDSA P-256 key "
            "(openssl genpkey -algorithm ed25519)"
        )
