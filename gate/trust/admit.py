"""Verdict -> admission: a signed in-toto statement that carries all that the verdict rests on."""

from datetime import date

from gate import __version__
from gate.errors import AdmissionError
from gate.files import digest_of_files
from gate.trust import require
from gate.trust.envelope import sealed
from gate.trust.statement import Carried, Grounds, written
from gate.values import Verdict


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
