"""Verdict -> signed in-toto statement, and back.

An admission is an in-toto Statement (test-result predicate) in a DSSE envelope; its subject is the
artefact's SHA-256. It carries the policy, the evidence and the waivers that the verdict rests on,
whole, so that a host that has the artefact, the admission, the policy and a public key can decide
once more. The measurements that rules matched would not do: what is left out of an edited verdict
is left out of them too. Evidence of four probes is about 60 kB, less than any backbone.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import ValidationError

from gate import __version__
from gate.errors import AdmissionError, EvidenceError, PolicyError
from gate.files import digest_of_files
from gate.policy.decide import decide
from gate.policy.rules import Policy
from gate.policy.waivers import Waiver
from gate.values import Day, Evidence, Value, Verdict, digest_of

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
_SCHEMES = ("ed25519", "ecdsa-sha2-nistp256")


class Grounds(NamedTuple):
    """What a verdict rests on, whole."""

    policy: Policy
    evidence: Sequence[Evidence]
    waivers: Sequence[Waiver] = ()


class Admitted(NamedTuple):
    """An artefact that a check let through."""

    files: dict[str, str]
    admission: str
    verdict: Verdict

    def __str__(self) -> str:
        policy, until = self.verdict.policy, self.verdict.valid_until
        return (
            f"admitted under policy {policy.name} v{policy.version}"
            f"{f', until {until}' if until else ''}"
        )


class _Carried(Value, extra="ignore"):
    """What a check reads of a predicate; the rest must follow from it."""

    result: Literal["PASSED"]
    issued: Day
    gate: str
    verdict: Verdict
    policy: Policy
    waivers: tuple[Waiver, ...]
    evidence: tuple[Evidence, ...]


def admit(
    verdict: Verdict,
    grounds: Grounds,
    name: str,
    files: dict[str, str],
    today: date,
    key: bytes | None,
) -> str:
    """Issue an admission for an accepted artefact.

    Args:
        verdict: Must accept; the caller handles a rejection, which is no error.
        grounds: Must give this verdict when it is decided again; the policy also says whether a
            signature may be left out.
        name: What the admission calls the artefact.
        files: Digests of the artefact's files; must be the backbone that was judged.
        today: A verdict that leans on an expired waiver admits nothing.
        key: Private key in PEM (ECDSA P-256 or Ed25519), or None for no signature.

    Returns:
        The envelope as JSON.

    Raises:
        AdmissionError: The verdict does not accept, does not follow, is stale, or is of another
            artefact or policy, or there is no key and the policy wants one.
    """
    digest = digest_of_files(files)
    _require_acceptance(verdict, digest)
    _require_policy(verdict, grounds.policy)
    _require_current(verdict, grounds.waivers, today)
    _require_follows(verdict, grounds, today)
    if key is None and not grounds.policy.allow_unsigned:
        raise AdmissionError(
            f"policy {grounds.policy.name} wants a signature: pass --key, "
            "or set allow_unsigned: true"
        )
    used = {finding.waiver for finding in verdict.findings}
    carried = _Carried(
        result="PASSED",
        issued=today,
        gate=__version__,
        verdict=verdict,
        policy=grounds.policy,
        waivers=tuple(waiver for waiver in grounds.waivers if waiver.id in used),
        evidence=tuple(sorted(grounds.evidence, key=lambda item: item.probe)),
    )
    from securesystemslib.dsse import Envelope

    envelope = Envelope(_payload(carried, name, files), _PAYLOAD_TYPE, {})
    if key is not None:
        envelope.sign(_signer(key))
    return _text(envelope)


def check(
    admission: bytes,
    files: dict[str, str],
    today: date,
    policy: Policy | None = None,
    public_keys: Sequence[bytes] = (),
    max_age: int | None = None,
) -> Admitted:
    """Verify that an admission admits this artefact, today.

    In order, each step its own error:

    1. the envelope is well-formed, and is what `admit` writes, byte for byte;
    2. its signature is by one of the given keys, or it has none and the given policy wants none;
    3. the statement in it is well-formed, and its subject is this artefact;
    4. its verdict accepts, and follows from the evidence, policy and waivers that it carries;
    5. its policy is the given one;
    6. no waiver that it leans on has ended;
    7. it was issued at most ``max_age`` days ago, and not in the future.

    Args:
        admission: The envelope, as `admit` gave it.
        files: Digests of the artefact's files, as of now.
        today: For steps 6 and 7.
        policy: The policy in force; without one, step 5 leaves the policy to the signer.
        public_keys: Whom to trust, in PEM (ECDSA P-256 or Ed25519).
        max_age: In days; without one, an admission does not age.

    Returns:
        What a registry needs to know: the files, the admission's digest, the verdict.

    Raises:
        AdmissionError: At the first step that fails.
    """
    envelope = _envelope(admission)
    _require_signature(envelope, policy, public_keys)
    statement, carried = _read(envelope)
    _require_subject(statement, files)
    verdict = carried.verdict
    _require_acceptance(verdict, digest_of_files(files))
    _require_policy(verdict, carried.policy)
    grounds = Grounds(carried.policy, carried.evidence, carried.waivers)
    _require_follows(verdict, grounds, carried.issued, carried.gate)
    _require_nothing_else(envelope, carried, statement["subject"][0]["name"], files)
    if policy:
        _require_policy(verdict, policy)
    _require_current(verdict, carried.waivers, today)
    _require_age(carried.issued, today, max_age)
    return Admitted(files, "sha256:" + hashlib.sha256(admission).hexdigest(), verdict)


# --- what an admission says ----------------------------------------------------------------------


def _text(envelope: "Envelope") -> str:
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def _payload(carried: _Carried, name: str, files: dict[str, str]) -> bytes:
    # keys stay in their order: the digest of evidence depends on the order of its settings
    return json.dumps(_statement(carried, name, files)).encode()


def _statement(carried: _Carried, name: str, files: dict[str, str]) -> dict[str, Any]:
    verdict = carried.verdict
    warned = {f.rule for f in verdict.findings if f.outcome not in ("pass", "waived")}
    data = sorted({pair for item in carried.evidence for pair in item.data.items()})
    values = json.loads(carried.model_dump_json())
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [_resource(name, digest_of_files(files))],
        "predicateType": _PREDICATE_TYPE,
        "predicate": values
        | {
            "configuration": [
                _resource(f"policy {verdict.policy.name}", verdict.policy.digest),
                _resource("verdict", digest_of(verdict)),
                *(
                    _resource(f"waiver {waiver.id}", digest_of(waiver))
                    for waiver in carried.waivers
                ),
                *(_resource(f"evidence {probe}", of) for probe, of in verdict.evidence.items()),
                *(_resource(f"data {split}", of) for split, of in data),
            ],
            # as in model-signing's predicate, so that the two can be held against each other
            "resources": [
                {"name": file, "digest": digest, "algorithm": "sha256"}
                for file, digest in files.items()
            ],
            "passedTests": sorted({f.rule for f in verdict.findings} - warned),
            "warnedTests": sorted(warned),
        },
    }


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


# --- the steps -----------------------------------------------------------------------------------


def _envelope(admission: bytes) -> "Envelope":
    from securesystemslib.dsse import Envelope

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


def _require_signature(
    envelope: "Envelope", policy: Policy | None, public_keys: Sequence[bytes]
) -> None:
    if not public_keys:
        if policy and policy.allow_unsigned and not envelope.signatures:
            return
        state = "is signed" if envelope.signatures else "is not signed"
        raise AdmissionError(
            f"the admission {state}, and nothing says whom to trust: pass --public-key"
            + ("" if envelope.signatures else ", or a --policy that allows unsigned admissions")
        )
    from securesystemslib.exceptions import VerificationError

    try:
        envelope.verify([_public_key(key) for key in public_keys], threshold=1)
    except (VerificationError, ValueError) as fault:
        raise AdmissionError(
            "the admission carries no valid signature by a given public key; "
            "it was changed, or signed by somebody else"
        ) from fault


def _read(envelope: "Envelope") -> tuple[Any, _Carried]:
    try:
        statement = json.loads(envelope.payload)
        kinds = statement["_type"], statement["predicateType"]
        names = [(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]]
        if not all(isinstance(name, str) for name, _ in names):
            raise TypeError("a name is no text")
        predicate = json.dumps(statement["predicate"])
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise AdmissionError(f"the envelope holds no in-toto statement: {fault!r}") from fault
    if kinds != (_STATEMENT_TYPE, _PREDICATE_TYPE) or len(names) != 1:
        raise AdmissionError(
            f"the statement is {kinds} with {len(names)} subjects; an admission is "
            f"{_STATEMENT_TYPE} and {_PREDICATE_TYPE} with one subject"
        )
    try:
        return statement, _Carried.model_validate_json(predicate)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        says = first["msg"].removeprefix("Value error, ")
        raise AdmissionError(f"what the admission carries is not sound: {place}: {says}") from fault


def _require_subject(statement: Any, files: dict[str, str]) -> None:
    digest = digest_of_files(files)
    subject = f"sha256:{statement['subject'][0]['digest']['sha256']}"
    if subject == digest:
        return
    raise AdmissionError(
        f"the admission is for {subject}, and this artefact is {digest}"
        f"{_differing(statement['predicate'].get('resources'), files)}: it was changed or "
        "swapped after it was admitted; gate it again"
    )


def _differing(resources: Any, files: dict[str, str]) -> str:
    """Which files of a folder make the difference, as far as the statement tells."""
    try:
        admitted = {item["name"]: item["digest"] for item in resources}
        differing = sorted(
            name for name in {*admitted, *files} if admitted.get(name) != files.get(name)
        )
    except (KeyError, TypeError):
        return ""
    if "." in admitted or "." in files:
        return ""
    return f" ({', '.join(differing[:5])}{', ...' if len(differing) > 5 else ''})"


def _require_acceptance(verdict: Verdict, digest: str) -> None:
    if verdict.decision != "accept":
        raise AdmissionError(f"the verdict is {verdict.decision!r}, and only accept admits")
    if verdict.backbone != digest:
        raise AdmissionError(
            f"the verdict is on {verdict.backbone}, and this artefact is {digest}; "
            "give the file that was judged"
        )


def _require_follows(
    verdict: Verdict, grounds: Grounds, day: date, gate: str = __version__
) -> None:
    try:
        again = decide(grounds.policy, grounds.evidence, day, grounds.waivers)
    except (EvidenceError, PolicyError) as fault:
        raise AdmissionError(f"the verdict cannot be decided again: {fault}") from fault
    if again == verdict:
        return
    probes = sorted(
        probe
        for probe in {*again.evidence, *verdict.evidence}
        if again.evidence.get(probe) != verdict.evidence.get(probe)
    )
    unknown = sorted(
        {finding.waiver for finding in verdict.findings if finding.waiver}
        - {waiver.id for waiver in grounds.waivers}
    )
    why = (
        f"it was reached on other evidence of {', '.join(probes)}"
        if probes
        else f"waiver {unknown[0]} is not among the given ones; pass --waivers"
        if unknown
        else f"decided again it is {again.decision!r} with {len(again.findings)} findings, "
        f"where it says {verdict.decision!r} with {len(verdict.findings)}"
    )
    raise AdmissionError(
        f"the verdict does not follow from its evidence: {why}{_by_another_gate(gate)}; "
        "it was edited, or its evidence or waivers were; run decide again"
    )


def _require_nothing_else(
    envelope: "Envelope", carried: _Carried, name: str, files: dict[str, str]
) -> None:
    """All that is listed follows from what is carried, and nothing else is listed."""
    if envelope.payload != _payload(carried, name, files):
        raise AdmissionError(
            "the digests, resources or tests that the admission lists are not those of the verdict "
            f"and evidence that it carries{_by_another_gate(carried.gate)}; issue it with admit"
        )


def _by_another_gate(version: str) -> str:
    if version == __version__:
        return ""
    return f" (it was issued by gate {version}, and this is gate {__version__})"


def _require_policy(verdict: Verdict, policy: Policy) -> None:
    if verdict.policy.digest != digest_of(policy):
        raise AdmissionError(
            f"the verdict was reached under policy {verdict.policy.name} v{verdict.policy.version} "
            f"({verdict.policy.digest}), not under the given {policy.name} v{policy.version} "
            f"({digest_of(policy)}); decide again under the current policy"
        )


def _require_current(verdict: Verdict, waivers: Sequence[Waiver], today: date) -> None:
    needed = {finding.waiver for finding in verdict.findings if finding.severity == "block"}
    for waiver in waivers:
        if waiver.id in needed and not waiver.holds_on(today):
            raise AdmissionError(
                f"the verdict leans on waiver {waiver.id}, which ended on {waiver.expires}, and "
                f"today is {today}; renew the waiver or mend the backbone, and decide again"
            )


def _require_age(issued: date, today: date, max_age: int | None) -> None:
    # the signer's day may be one ahead of ours, on the other side of the world
    if issued > today + timedelta(days=1):
        raise AdmissionError(
            f"the admission was issued on {issued}, and today is {today}; set this machine's clock"
        )
    if max_age is not None and (today - issued).days > max_age:
        raise AdmissionError(
            f"the admission was issued on {issued}, {(today - issued).days} days ago, and at most "
            f"{max_age} are allowed; decide and admit again"
        )


# --- keys ----------------------------------------------------------------------------------------


def _signer(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer import CryptoSigner

    try:
        signer = CryptoSigner(load_pem_private_key(pem, password=None))
    except (ValueError, TypeError, UnsupportedAlgorithmError) as fault:
        raise AdmissionError(
            f"--key is no usable unencrypted private key in PEM: {fault}"
        ) from fault
    _require_scheme("--key", signer.public_key.scheme)
    return signer


def _public_key(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer import SSlibKey

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
