"""Evidence of one side of a comparison: of files, of an admission, or of what was promoted."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from gate import files
from gate.errors import AdmissionError, EvidenceError
from gate.strict_json import read_evidence
from gate.trust import gto, mlflow
from gate.trust.admission import read
from gate.trust.envelope import opened, require_signature
from gate.values import Evidence

log = logging.getLogger("gate")
_REGISTRIES = {"gto": (gto.admission_of, "STAGE"), "mlflow": (mlflow.admission_of, "ALIAS")}


def path_of(source: str) -> Path | None:
    """The file or folder that a source is, if it is no name of a registry.

    >>> path_of("out/evidence"), path_of("gto:resnet@prod")
    (PosixPath('out/evidence'), None)
    """
    return None if source.partition(":")[0] in _REGISTRIES else Path(source)


def evidence_of(source: str, public_keys: Sequence[bytes] = ()) -> list[Evidence]:
    """Read the evidence of one backbone.

    Args:
        source: A folder of evidence, a folder that `gate run` wrote, a file of evidence, an
            admission, or the name of what was promoted: gto:NAME@STAGE, mlflow:NAME@ALIAS.
        public_keys: Who must have signed it, in PEM. Without any, a line says that nobody looked
            at the signature of an admission.

    Raises:
        EvidenceError: It is none of these.
        AdmissionError: The admission is none, or is not signed by one of the keys.
        PromotionError: The registry does not say on which admission it was promoted.
    """
    admission = _admission(source)
    if admission is None:
        if public_keys:
            raise AdmissionError(
                f"{source} is evidence, which nobody signs, and a signature is wanted; "
                "give the admission, or leave out the public key"
            )
        path = Path(source)
        return read_evidence(path / "evidence" if (path / "evidence").is_dir() else path)
    envelope = opened(admission)
    if public_keys:
        require_signature(envelope, public_keys, allow_unsigned=False)
    else:
        log.warning(
            "%s: the admission's signature was not checked; no public key says whose", source
        )
    statement = read(envelope.payload)
    if any(item.backbone != statement.digest for item in statement.carried.evidence):
        raise AdmissionError(
            f"{source}: the admission is for {statement.digest}, and carries evidence of another "
            "backbone; issue it with admit"
        )
    return list(statement.carried.evidence)


def _admission(source: str) -> bytes | None:
    """The admission that a source names, or is; None for evidence."""
    registry, _, name = source.partition(":")
    if registry in _REGISTRIES:
        find, wanted = _REGISTRIES[registry]
        model, _, place = name.rpartition("@")
        if not (model and place):
            raise EvidenceError(
                f"{source}: write {registry}:NAME@{wanted}, what was promoted where"
            )
        return find(model, place)
    if Path(source).is_dir():
        return None
    content = files.read(Path(source), EvidenceError)
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None  # whoever reads it as evidence says what is wrong
    return content if isinstance(fields, dict) and "payloadType" in fields else None
