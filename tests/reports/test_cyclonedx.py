"""The ML-BOM, valid for cyclonedx-python-lib's strict schema."""

import json

from gate import Evidence, Verdict
from gate.reports import cyclonedx
from gate.reports.attachments import Attachments
from gate.values import digest_of
from tests.builders import BACKBONE
from tests.reports import validators


def test_the_model_has_its_digest_its_numbers_with_intervals_and_its_data(
    everything: Verdict, found: Evidence, beside: Attachments
) -> None:
    bom = validators.cyclonedx(cyclonedx.render(everything, [found], beside))

    model = bom["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "resnet 50")
    assert model["hashes"] == [{"alg": "SHA-256", "content": BACKBONE.removeprefix("sha256:")}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {
        "type": "clean_accuracy.accuracy",
        "value": "0.2",
        "slice": "task bad",
        "confidenceInterval": {"lowerBound": "0.1", "upperBound": "0.3"},
    }
    assert len(metrics) == len(found.measurements)
    (data,) = bom["components"]
    assert (data["type"], data["name"]) == ("data", "test")
    assert data["hashes"][0]["content"] == "01" * 32


def test_the_policy_the_decision_and_the_evidence_are_properties(
    everything: Verdict, found: Evidence, beside: Attachments
) -> None:
    bom = validators.cyclonedx(cyclonedx.render(everything, [found], beside))

    properties = [
        (each["name"], each["value"]) for each in bom["metadata"]["component"]["properties"]
    ]
    for expected in (
        ("gate:decision", "reject"),
        ("gate:day", "2026-01-02"),
        ("gate:verdict", digest_of(everything)),
        ("gate:policy", "test v1"),
        ("gate:policy:digest", everything.policy.digest),
        ("gate:evidence:clean_accuracy", digest_of(found)),
    ):
        assert expected in properties
    assert sum(name.startswith("gate:finding:") for name, _ in properties) == 6


def test_an_admission_is_an_attestation_with_its_digest(
    everything: Verdict, beside: Attachments
) -> None:
    bom = validators.cyclonedx(cyclonedx.render(everything, (), beside))

    (reference,) = bom["metadata"]["component"]["externalReferences"]
    assert (reference["type"], reference["url"]) == ("attestation", "gating/admission.json")
    assert reference["hashes"] == [{"alg": "SHA-256", "content": "12" * 32}]
    without = validators.cyclonedx(cyclonedx.render(everything))
    assert "externalReferences" not in without["metadata"]["component"]


def test_the_serial_number_follows_from_the_verdict(everything: Verdict, verdict: Verdict) -> None:
    def serial(of: Verdict) -> str:
        return str(json.loads(cyclonedx.render(of))["serialNumber"])

    assert serial(everything) == serial(Verdict.model_validate_json(everything.to_json()))
    assert serial(everything) != serial(verdict)
