"""DSSE envelopes and the keys that sign them. The only file that imports securesystemslib."""

import json
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnsupportedAlgorithmError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from gate.errors import AdmissionError

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SCHEMES = ("ed25519", "ecdsa-sha2-nistp256")


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
        envelope.sign(_signer(key))
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
        envelope.verify([_public_key(key) for key in public_keys], threshold=1)
    except (VerificationError, ValueError) as fault:
        raise AdmissionError(
            "the admission carries no valid signature by a given public key; "
            "it was changed, or signed by somebody else"
        ) from fault


def _text(envelope: Envelope) -> str:
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def _signer(pem: bytes) -> CryptoSigner:
    try:
        signer = CryptoSigner(load_pem_private_key(pem, password=None))
    except (ValueError, TypeError, UnsupportedAlgorithmError) as fault:
        raise AdmissionError(
            f"--key is no usable unencrypted private key in PEM: {fault}"
        ) from fault
    _require_scheme("--key", signer.public_key.scheme)
    return signer


def _public_key(pem: bytes) -> SSlibKey:
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithmError) as fault:
        raise AdmissionError(f"--public-key is no usable public key in PEM: {fault}") from fault
    _require_scheme("--public-key", key.scheme)
    return key


def _require_scheme(flag: str, scheme: str) -> None:
    if scheme not in _SCHEMES:
        raise AdmissionError(
            f"{flag} is of {scheme}; give an Ed25519 or ECDSA P-256 key "
            "(openssl genpkey -algorithm ed25519)"
        )
