"""Admission -> what may be deployed. The steps of `check` are read in their order."""

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from gate.errors import AdmissionError
from gate.files import digest_of_files
from gate.policy.rules import Policy
from gate.trust import require
from gate.trust.admission import Statement, read, written
from gate.trust.envelope import opened, require_signature
from gate.values import Verdict


class Admitted(NamedTuple):
    """An artefact that a check let through."""

    files: dict[str, str]
    envelope: bytes
    verdict: Verdict

    @property
    def admission(self) -> str:
        """The admission's digest."""
        return "sha256:" + hashlib.sha256(self.envelope).hexdigest()

    def __str__(self) -> str:
        policy, until = self.verdict.policy, self.verdict.valid_until
        return (
            f"admitted under policy {policy.name} v{policy.version}"
            f"{f', until {until}' if until else ''}"
        )


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
        What a registry needs to know: the files, the admission itself, the verdict.

    Raises:
        AdmissionError: At the first step that fails.
    """
    envelope = opened(admission)
    require_signature(envelope, public_keys, policy is not None and policy.allow_unsigned)
    statement = read(envelope.payload)
    _require_subject(statement, files)
    carried, verdict = statement.carried, statement.carried.verdict
    require.acceptance(verdict, digest_of_files(files))
    require.policy(verdict, carried.policy)
    grounds = require.Grounds(carried.policy, carried.evidence, carried.waivers)
    require.follows(verdict, grounds, carried.issued, carried.gate)
    _require_nothing_else(envelope.payload, statement, files)
    if policy:
        require.policy(verdict, policy)
    require.current(verdict, carried.waivers, today)
    _require_age(carried.issued, today, max_age)
    return Admitted(files, admission, verdict)


def _require_subject(statement: Statement, files: dict[str, str]) -> None:
    digest = digest_of_files(files)
    if statement.digest != digest:
        raise AdmissionError(
            f"the admission is for {statement.digest}, and this artefact is {digest}"
            f"{_differing(statement.resources, files)}: it was changed or swapped after it was "
            "admitted; gate it again"
        )


def _differing(resources: Any, files: dict[str, str]) -> str:
    """Which files of a folder make the difference, as far as the statement tells."""
    try:
        admitted = {item["name"]: item["digest"] for item in resources}
        differing = require.differing(admitted, files)
    except (KeyError, TypeError):
        return ""
    if "." in admitted or "." in files:
        return ""
    return f" ({', '.join(differing[:5])}{', ...' if len(differing) > 5 else ''})"


def _require_nothing_else(payload: bytes, statement: Statement, files: dict[str, str]) -> None:
    """All that is listed follows from what is carried, and nothing else is listed."""
    if payload != written(statement.carried, statement.name, files):
        raise AdmissionError(
            "the digests, resources or tests that the admission lists are not those of the verdict "
            f"and evidence that it carries{require.by_another_gate(statement.carried.gate)}; "
            "issue it with admit"
        )


def _require_age(issued: date, today: date, max_age: int | None) -> None:
    # days are in UTC, and clocks may lie on two sides of midnight
    if issued > today + timedelta(days=1):
        raise AdmissionError(
            f"the admission was issued on {issued}, and today is {today}; set this machine's clock"
        )
    if max_age is not None and (today - issued).days > max_age:
        raise AdmissionError(
            f"the admission was issued on {issued}, {(today - issued).days} days ago, and at most "
            f"{max_age} are allowed; decide and admit again"
        )
