"""Verdict -> admission: a signed in-toto Statement (test-result) on an artefact's SHA-256.

It carries the policy, the evidence and the waivers that the verdict rests on, whole, so that a host
that has the artefact, the admission, the policy and a public key can decide once more. The
measurements that rules matched would not do: what is left out of an edited verdict is left out of
them too. Evidence of four probes is about 60 kB, less than any backbone.
"""

import json
from datetime import date
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from gate import __version__
from gate.errors import AdmissionError
from gate.files import digest_of_files
from gate.policy.rules import Policy
from gate.policy.waivers import Waiver
from gate.trust import require
from gate.trust.envelope import opened, sealed
from gate.values import Day, Evidence, Value, Verdict, digest_of

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"


class Carried(Value, extra="ignore"):
    """What a check reads of a predicate; the rest must follow from it."""

    result: Literal["PASSED"]
    issued: Day
    gate: str
    verdict: Verdict
    policy: Policy
    waivers: tuple[Waiver, ...]
    evidence: tuple[Evidence, ...]


class Statement(NamedTuple):
    """A statement as it was read; only what it carries is known to be sound in itself."""

    name: str
    digest: str
    resources: Any
    carried: Carried


def admit(
    verdict: Verdict,
    grounds: require.Grounds,
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
    policy, evidence, waivers = grounds
    require.acceptance(verdict, digest_of_files(files))
    require.policy(verdict, policy)
    require.current(verdict, waivers, today)
    require.follows(verdict, grounds, today)
    if key is None and not policy.allow_unsigned:
        raise AdmissionError(
            f"policy {policy.name} wants a signature: pass --key, or set allow_unsigned: true"
        )
    used = {finding.waiver for finding in verdict.findings}
    carried = Carried(
        result="PASSED",
        issued=today,
        gate=__version__,
        verdict=verdict,
        policy=policy,
        waivers=tuple(waiver for waiver in waivers if waiver.id in used),
        evidence=tuple(sorted(evidence, key=lambda item: item.probe)),
    )
    return sealed(written(carried, name, files), key)


def written(carried: Carried, name: str, files: dict[str, str]) -> bytes:
    """The statement as JSON, which follows from what it carries and from the artefact.

    Args:
        carried: The verdict and what it rests on.
        name: What the admission calls the artefact.
        files: Digests of the artefact's files.
    """
    verdict = carried.verdict
    warned = {f.rule for f in verdict.findings if f.outcome not in ("pass", "waived")}
    data = sorted({pair for item in carried.evidence for pair in item.data.items()})
    configuration = [
        (f"policy {verdict.policy.name}", verdict.policy.digest),
        ("verdict", digest_of(verdict)),
        *((f"waiver {waiver.id}", digest_of(waiver)) for waiver in carried.waivers),
        *((f"evidence {probe}", digest) for probe, digest in verdict.evidence.items()),
        *((f"data {split}", digest) for split, digest in data),
    ]
    statement = {
        "_type": _STATEMENT_TYPE,
        "subject": [_resource(name, digest_of_files(files))],
        "predicateType": _PREDICATE_TYPE,
        "predicate": json.loads(carried.model_dump_json())
        | {
            "configuration": [_resource(*item) for item in configuration],
            # as in model-signing's predicate, so that the two can be held against each other
            "resources": [
                {"name": file, "digest": digest, "algorithm": "sha256"}
                for file, digest in files.items()
            ],
            "passedTests": sorted({f.rule for f in verdict.findings} - warned),
            "warnedTests": sorted(warned),
        },
    }
    # keys stay in their order: the digest of evidence depends on the order of its settings
    return json.dumps(statement).encode()


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


def require_of(verdict: Verdict, admission: bytes) -> None:
    """Refuse an admission that carries another verdict. Whether it holds, only a check says.

    Raises:
        AdmissionError: It does, or is no admission.
    """
    carried = read(opened(admission).payload).carried.verdict
    if carried != verdict:
        raise AdmissionError(
            f"the admission carries verdict {digest_of(carried)}, and this one is "
            f"{digest_of(verdict)}; give the admission that this verdict led to"
        )


def read(payload: bytes) -> Statement:
    """The statement that an envelope holds.

    Raises:
        AdmissionError: It is no statement with this predicate on one subject, or what it carries
            is not sound, such as a verdict that does not follow from its findings.
    """
    try:
        statement = json.loads(payload)
        kinds = statement["_type"], statement["predicateType"]
        subjects = [(item["name"], item["digest"]["sha256"]) for item in statement["subject"]]
        if not all(isinstance(name, str) for name, _ in subjects):
            raise TypeError("a name is no text")
        predicate = json.dumps(statement["predicate"])
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise AdmissionError(f"the envelope holds no in-toto statement: {fault!r}") from fault
    if kinds != (_STATEMENT_TYPE, _PREDICATE_TYPE) or len(subjects) != 1:
        raise AdmissionError(
            f"the statement is {kinds} with {len(subjects)} subjects; an admission is "
            f"{_STATEMENT_TYPE} and {_PREDICATE_TYPE} with one subject"
        )
    try:
        carried = Carried.model_validate_json(predicate)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"]))
        says = first["msg"].removeprefix("Value error, ")
        raise AdmissionError(f"what the admission carries is not sound: {place}: {says}") from fault
    ((name, digest),) = subjects
    return Statement(name, f"sha256:{digest}", statement["predicate"].get("resources"), carried)
