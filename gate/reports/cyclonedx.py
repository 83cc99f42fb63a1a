"""The verdict as a CycloneDX 1.6 ML-BOM: the backbone as a machine-learning model.

What was measured is the model card's quantitative analysis, each number with its interval; data are
components, the decision and the policy are properties, and an admission is an attestation.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gate import __version__, files
from gate.reports.attachments import NONE, Attachments
from gate.reports.error_rates import summary
from gate.reports.findings import LIMITS
from gate.reports.issues import uri
from gate.values import Evidence, Measurement, Verdict, digest_of, in_words

_Json = dict[str, Any]


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    attachments: Attachments = NONE,
) -> str:
    """The bill of materials as JSON; its serial number follows from the verdict."""
    data = sorted({pair for item in evidence for pair in item.data.items()})
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid5(NAMESPACE_URL, digest_of(verdict)).urn,
        "version": 1,
        "metadata": {
            "tools": {
                "components": [{"type": "application", "name": "gate", "version": __version__}]
            },
            "component": _model(verdict, evidence, attachments, len(data)),
        },
        "components": [
            {"type": "data", "bom-ref": f"data-{at}", "name": split, "hashes": _hashes(digest)}
            for at, (split, digest) in enumerate(data)
        ],
    }
    return files.json_of(bom)


def _model(
    verdict: Verdict, evidence: Sequence[Evidence], attachments: Attachments, splits: int
) -> _Json:
    model: _Json = {
        "type": "machine-learning-model",
        "bom-ref": "backbone",
        "name": attachments.candidate or "backbone",
        "version": verdict.backbone,
        "hashes": _hashes(verdict.backbone),
    }
    if attachments.admission and attachments.admission_digest:
        model["externalReferences"] = [
            {
                "type": "attestation",
                "url": uri(attachments.admission),
                "comment": "in-toto statement of what was judged, in a DSSE envelope",
                "hashes": _hashes(attachments.admission_digest),
            }
        ]
    model["modelCard"] = {
        "modelParameters": {"datasets": [{"ref": f"data-{at}"} for at in range(splits)]},
        "quantitativeAnalysis": {
            "performanceMetrics": [
                _metric(item.probe, m) for item in evidence for m in item.measurements
            ]
        },
        "considerations": {"technicalLimitations": [LIMITS]},
    }
    named = [*_properties(verdict, attachments)]
    model["properties"] = [{"name": f"gate:{name}", "value": value} for name, value in named]
    return model


def _properties(verdict: Verdict, attachments: Attachments) -> Iterator[tuple[str, str]]:
    yield "decision", verdict.decision
    if verdict.valid_until:
        yield "valid_until", f"{verdict.valid_until}"
    if attachments.day:
        yield "day", f"{attachments.day}"
    yield "verdict", digest_of(verdict)
    yield "policy", f"{verdict.policy.name} v{verdict.policy.version}"
    yield "policy:digest", verdict.policy.digest
    if verdict.error_rates:
        yield "error_rates", summary(verdict.error_rates)
    for sentence in verdict.unlike:
        yield "unlike", sentence
    for probe, digest in verdict.evidence.items():
        yield f"evidence:{probe}", digest
    for finding in verdict.findings:
        yield f"finding:{finding.outcome}", f"{finding.rule}: {finding.says}"


def _metric(probe: str, m: Measurement) -> _Json:
    return {
        "type": f"{probe}.{m.metric}",
        "value": repr(m.value),
        "slice": in_words(m.about),
        "confidenceInterval": {"lowerBound": repr(m.low), "upperBound": repr(m.high)},
    }


def _hashes(digest: str) -> list[_Json]:
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
