"""Verdict -> signed in-toto statement, and back.

An admission is an in-toto Statement (test-result predicate) in a DSSE envelope: its subject is the
artefact's SHA-256, and it carries the whole verdict, so that a check needs no other file.
"""

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gate.errors import AdmissionError
from gate.policy import Policy
from gate.values import Verdict, digest_of

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"


def admit(
    verdict: Verdict, policy: Policy, artefact: Path, digest: str, today: date, key: bytes | None
) -> str:
    """Issue an admission for an accepted artefact.

    Args:
        verdict: Must accept; the caller handles a rejection, which is no error.
        policy: The policy that judged; it says whether a signature may be left out.
        artefact: Named in the admission.
        digest: SHA-256 of the artefact; must be the backbone that was judged.
        today: A verdict that leans on an expired waiver admits nothing.
        key: Private key in PEM (ECDSA P-256, Ed25519 or RSA), or None for no signature.

    Returns:
        The envelope as JSON.

    Raises:
        AdmissionError: The verdict does not accept or is stale, is of another artefact or policy,
            or there is no key and the policy wants one.
    """
    _require_current(verdict, policy, digest, today)
    if key is None and not policy.allow_unsigned:
        raise AdmissionError(
            f"policy {policy.name} wants a signature: pass --key, or set allow_unsigned: true"
        )
    warned = {f.rule for f in verdict.findings if f.outcome not in ("pass", "waived")}
    statement = {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": artefact.name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "result": "PASSED",
            "configuration": [
                _resource(f"policy {verdict.policy.name}", verdict.policy.digest),
                *(_resource(f"evidence {name}", of) for name, of in verdict.evidence.items()),
            ],
            "passedTests": sorted({f.rule for f in verdict.findings} - warned),
            "warnedTests": sorted(warned),
            "verdict": json.loads(verdict.model_dump_json()),
        },
    }
    from securesystemslib.dsse import Envelope

    envelope = Envelope(json.dumps(statement, sort_keys=True).encode(), _PAYLOAD_TYPE, {})
    if key is not None:
        envelope.sign(_signer(key))
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def check(
    admission: bytes, digest: str, today: date, policy: Policy | None, public_key: bytes | None
) -> Verdict:
    """Verify that an admission admits this artefact, today.

    In order, each step its own error:

    1. the envelope and the statement in it are well-formed;
    2. its signature is by the given key, or it has none and the given policy does not want one;
    3. its subject is this artefact;
    4. its verdict follows from its findings and accepts;
    5. its policy is the given one;
    6. no waiver that it leans on has expired.

    Returns:
        The verdict that it carries.

    Raises:
        AdmissionError: At the first step that fails.
    """
    envelope = _envelope(admission)
    _require_signature(envelope, policy, public_key)
    statement = _statement(envelope)
    subject = f"sha256:{statement['subject'][0]['digest']['sha256']}"
    if subject != digest:
        raise AdmissionError(
            f"the admission is for {subject}, and this artefact is {digest}: it was changed or "
            "swapped after it was admitted; gate it again"
        )
    try:
        verdict = Verdict.model_validate(statement["predicate"]["verdict"], strict=False)
    except ValidationError as fault:
        says = fault.errors()[0]["msg"].removeprefix("Value error, ")
        raise AdmissionError(f"the verdict inside the admission is not sound: {says}") from fault
    _require_current(verdict, policy, digest, today)
    return verdict


def _require_current(verdict: Verdict, policy: Policy | None, digest: str, today: date) -> None:
    if verdict.decision != "accept":
        raise AdmissionError(f"the verdict is {verdict.decision!r}, and only accept admits")
    if verdict.backbone != digest:
        raise AdmissionError(
            f"the verdict is on {verdict.backbone}, and this artefact is {digest}; "
            "give the file that was judged"
        )
    if policy and verdict.policy.digest != digest_of(policy):
        raise AdmissionError(
            f"the verdict was reached under policy {verdict.policy.name} v{verdict.policy.version} "
            f"({verdict.policy.digest}), not under the given {policy.name} v{policy.version} "
            f"({digest_of(policy)}); decide again under the current policy"
        )
    if verdict.valid_until and today > verdict.valid_until:
        raise AdmissionError(
            f"the verdict leans on a waiver that ended on {verdict.valid_until}, and today is "
            f"{today}; renew the waiver or mend the backbone, and decide again"
        )


def _require_signature(
    envelope: "Envelope", policy: Policy | None, public_key: bytes | None
) -> None:
    if public_key is None:
        if policy and policy.allow_unsigned and not envelope.signatures:
            return
        state = "is signed" if envelope.signatures else "is not signed"
        raise AdmissionError(
            f"the admission {state}, and nothing says whom to trust: pass --public-key"
            + ("" if envelope.signatures else ", or a --policy that allows unsigned admissions")
        )
    from securesystemslib.exceptions import VerificationError

    try:
        envelope.verify([_public_key(public_key)], threshold=1)
    except (VerificationError, ValueError) as fault:
        raise AdmissionError(
            "the admission carries no valid signature by the given public key; "
            "it was changed, or signed by somebody else"
        ) from fault


def _envelope(admission: bytes) -> "Envelope":
    from securesystemslib.dsse import Envelope

    try:
        envelope = Envelope.from_dict(json.loads(admission))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise AdmissionError("the admission is not a DSSE envelope; issue it with admit") from fault
    if envelope.payload_type != _PAYLOAD_TYPE:
        raise AdmissionError(f"the envelope holds {envelope.payload_type!r}, not {_PAYLOAD_TYPE!r}")
    return envelope


def _statement(envelope: "Envelope") -> Any:
    try:
        statement = json.loads(envelope.payload)
        kinds = statement["_type"], statement["predicateType"]
        # refuse now what the caller will read
        digests = [subject["digest"]["sha256"] for subject in statement["subject"]]
        result, _ = statement["predicate"]["result"], statement["predicate"]["verdict"]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise AdmissionError(f"the envelope holds no in-toto statement: {fault!r}") from fault
    one_text = [type(digest) for digest in digests] == [str]
    if kinds != (_STATEMENT_TYPE, _PREDICATE_TYPE) or not one_text or result != "PASSED":
        raise AdmissionError(
            f"the statement is {kinds} with {len(digests)} subjects {digests} and result "
            f"{result!r}; an admission has one subject, its digest as text, and result 'PASSED'"
        )
    return statement


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


def _signer(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer._crypto_signer import CryptoSigner

    try:
        return CryptoSigner(load_pem_private_key(pem, password=None))
    except (ValueError, TypeError, UnsupportedAlgorithmError) as fault:
        raise AdmissionError(
            f"--key is no usable unencrypted private key in PEM: {fault}"
        ) from fault


def _public_key(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer._key import SSlibKey

    try:
        return SSlibKey.from_crypto(load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithmError) as fault:
        raise AdmissionError(f"--public-key is no usable public key in PEM: {fault}") from fault
