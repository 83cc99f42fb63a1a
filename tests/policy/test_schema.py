"""The JSON Schema that editors complete policies by."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gate import load_policy
from gate.errors import GateError
from tests.conftest import Gate

SCHEMA = json.loads(Path("policies/schema.json").read_text())
GOOD = {
    "name": "test",
    "version": 1,
    "rules": [{"probe": "clean_accuracy", "metric": "accuracy", "at_least": 0.8, "why": "because"}],
}
SHIPPED = [*Path("policies").glob("*.yaml"), Path("gate/starter/policy.yaml")]
CASES = list(Path("tests/conformance").glob("*/*.yaml"))


def test_the_schema_in_the_repository_is_the_one_that_is_printed(gate: Gate) -> None:
    code, out, _ = gate("policy", "schema")

    assert code == 0
    assert json.loads(out) == SCHEMA, "stale: gate policy schema > policies/schema.json"
    assert out == Path("policies/schema.json").read_text()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_whatever_loads_is_valid_to_an_editor() -> None:
    loaded = 0
    for path in [*SHIPPED, *CASES]:
        if path.name == "waivers.yaml":
            continue
        try:
            load_policy(path)
        except GateError:
            continue
        jsonschema.validate(yaml.safe_load(path.read_text()), SCHEMA)
        loaded += 1
    assert loaded > 40


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("nmae", "x"), ("name", None), ("name", ""), ("version", "1"), ("version", 0),
        ("rules", []), ("extends", 5), ("allow_unsigned", "yes"), ("waivers", {"days": 3}),
        ("waivers", {"longest_days": 0}), ("rules.0.probe", "clean_acuracy"),
        ("rules.0.metric", "attack_success_rate"), ("rules.0.at_lest", 0.1),
        ("rules.0.at_least", "0.8"), ("rules.0.severity", "fatal"), ("rules.0.min_n", 0),
        ("rules.0.decide_on", "points"), ("rules.0.on_inconclusive", True), ("rules.0.why", ""),
        ("rules.0.where", {"task": 5}), ("rules.0.loosen", {"reason": "x"}),
        ("rules.0.relative", "no"),
    ],
)  # fmt: skip
def test_an_editor_underlines_what_would_not_load(place: str, value: Any, tmp_path: Path) -> None:
    content = json.loads(json.dumps(GOOD))
    jsonschema.validate(content, SCHEMA)
    *outer, key = place.split(".")
    node = content
    for part in outer:
        node = node[int(part) if part.isdigit() else part]
    node[key] = value
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(content))

    with pytest.raises(GateError):
        load_policy(tmp_path / "policy.yaml")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


def test_an_editor_offers_the_metrics_of_the_probe_and_says_what_a_key_is_for() -> None:
    rule = SCHEMA["$defs"]["Rule"]

    assert "trigger_patch" in rule["properties"]["probe"]["enum"]
    assert {"metric": {"enum": ["accuracy", "class_accuracy"]}} in [
        branch["then"]["properties"] for branch in rule["allOf"]
    ]
    for key in ("at_most", "min_n", "decide_on", "on_inconclusive", "severity", "why", "loosen"):
        assert rule["properties"][key]["description"]
