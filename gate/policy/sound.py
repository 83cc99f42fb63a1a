"""What may be judged or compared: evidence of one backbone, all of it what probes measure."""

from collections.abc import Sequence

from gate import values
from gate.errors import EvidenceError
from gate.policy.catalogue import needs_reference, require_known
from gate.values import Evidence


def require_sound(who: str, evidence: Sequence[Evidence]) -> str:
    """The digest of the backbone that all evidence is of, one value a probe.

    Args:
        who: Who asks for it, for the message.
        evidence: What was measured.

    Raises:
        EvidenceError: There is none, it is of several backbones, a probe stands twice, or it says
            what no probe measures: another unit, other labels, a difference to no reference.
    """
    backbones = sorted({item.backbone for item in evidence})
    if len(backbones) != 1:
        several = f"evidence of {len(backbones)} backbones" if backbones else "no evidence"
        raise EvidenceError(
            f"{who}: {several} ({', '.join(backbones)}), where exactly one backbone is wanted; "
            "give the evidence of one"
        )
    for twice in values.repeated(item.probe for item in evidence):
        raise EvidenceError(f"{who}: evidence of probe {twice} stands twice; give one file a probe")
    for item in evidence:
        _require_measured(who, item)
    return backbones[0]


def _require_measured(who: str, evidence: Evidence) -> None:
    """Refuse what no probe measures, which would slip past rules or pass for a good number."""
    try:
        for measurement in evidence.measurements:
            require_known(evidence.probe, measurement)
    except ValueError as fault:
        raise EvidenceError(
            f"{who}: evidence of probe {evidence.probe}: {fault}; run the probe again"
        ) from fault
    metrics = (m.metric for m in evidence.measurements)
    compared = next((m for m in metrics if needs_reference(evidence.probe, m)), None)
    if compared and evidence.reference is None:
        raise EvidenceError(
            f"{who}: evidence of probe {evidence.probe} holds {compared} and names no reference "
            "that it was measured against; give the plan a reference and run the probe again"
        )
    if compared and evidence.reference == evidence.backbone:
        raise EvidenceError(
            f"{who}: evidence of probe {evidence.probe} holds {compared}, and its reference is "
            f"its own backbone ({evidence.backbone}), from which nothing differs; "
            "give the plan another reference or none, and run the probe again"
        )
