"""What reads each format in its own ecosystem, as functions that raise on what they would refuse.

Each returns what a reader gets to see, so that tests can compare it with the verdict.
"""

import csv
import json
import re
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

SCHEMAS = Path(__file__).parent / "schemas"
SVG = "{http://www.w3.org/2000/svg}"
# docs.gitlab.com, Code Quality report format: GitLab has no schema of it, these are its words
_GITLAB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^(?!\\./).+$"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}


@cache
def _schema_of_jenkins() -> Any:
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema is not installed")
    return xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")


def junit(text: str) -> ElementTree.Element:
    """The suite, valid for Jenkins, and counted as it says."""
    _schema_of_jenkins().validate(text)
    root = ElementTree.fromstring(text)  # noqa: S314  # our own
    (suite,) = root
    for name, path in {"tests": ".", "failures": "failure", "skipped": "skipped"}.items():
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{path}"))
    return suite


@cache
def _validator_of_sarif() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_bytes())
    return jsonschema.Draft4Validator(
        schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER
    )


def sarif(text: str) -> Any:
    """The run, valid for the schema of OASIS, and with what GitHub asks for beyond it."""
    content = json.loads(text)
    _validator_of_sarif().validate(content)
    (run,) = content["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    marks = []
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        # between {{ and }}, which stand for braces, no { is left that a reader would fill in
        assert not re.search(r"[{}]", re.sub(r"\{\{|\}\}", "", result["message"]["text"]))
        assert "](" not in result["message"]["text"]
        marks.append(result["partialFingerprints"]["primaryLocationLineHash"])
    assert len(set(marks)) == len(marks)
    return run


def github(text: str) -> list[tuple[str, dict[str, str], str]]:
    """The commands as GitHub's runner reads them: ActionCommand.TryParseV2 of actions/runner."""
    commands = []
    for line in text.splitlines():
        told = re.fullmatch(r"::(\S+?)(?: (.*?))?::(.*)", line)
        assert told, line
        name, listed, message = told.groups()
        pairs = (pair.split("=", 1) for pair in (listed or "").split(","))
        properties = {key: _unescaped(value) for key, value in pairs}
        assert not re.search(r"##\[", line)
        commands.append((name, properties, _unescaped(message)))
    assert all(sum(c[0] == kind for c in commands) <= 10 for kind in ("error", "warning", "notice"))
    assert {name for name, _, _ in commands} <= {"error", "warning", "notice"}
    return commands


def _unescaped(text: str) -> str:
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def gitlab(text: str) -> Any:
    """The issues, of which no two are taken for one."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    issues = json.loads(text)
    jsonschema.validate(issues, _GITLAB)
    marks = [issue["fingerprint"] for issue in issues]
    assert len(set(marks)) == len(marks)
    return issues


@cache
def _validator_of_cyclonedx() -> Any:
    why = "cyclonedx-python-lib is not installed"
    validation = pytest.importorskip("cyclonedx.validation.json", reason=why)
    schema = pytest.importorskip("cyclonedx.schema", reason=why)
    return validation.JsonStrictValidator(schema.SchemaVersion.V1_6)


def cyclonedx(text: str) -> Any:
    """The bill of materials, valid for the strict schema, whose references lead somewhere."""
    assert _validator_of_cyclonedx().validate_str(text) is None
    bom = json.loads(text)
    model = bom["metadata"]["component"]
    refs = [part["bom-ref"] for part in bom["components"]]
    assert refs == [data["ref"] for data in model["modelCard"]["modelParameters"]["datasets"]]
    assert len({*refs, model["bom-ref"]}) == len(refs) + 1
    return bom


def model_card(text: str) -> Any:
    """The card as huggingface_hub reads it."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    return hub.ModelCard(text, ignore_metadata_errors=False)


def spreadsheet(text: str) -> list[dict[str, Any]]:
    """The rows as a spreadsheet reads them; none has a formula, and each has all columns."""
    rows = list(csv.DictReader(StringIO(text), quoting=csv.QUOTE_NONNUMERIC, strict=True))
    assert len(text.splitlines()) == len(rows) + 1
    for row in rows:
        assert None not in row
        for cell in row.values():
            assert isinstance(cell, float) or not cell.lstrip().startswith(("=", "+", "-", "@"))
    return rows


def badge(text: str) -> ElementTree.Element:
    """The picture: well-formed, told to those who do not see it, and nothing in it that loads."""
    root = ElementTree.fromstring(text)  # noqa: S314  # our own
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{SVG}title") == root.attrib["aria-label"]
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {"svg", "title", "rect", "path", "g", "text"}
        assert not {name for name in element.attrib if "href" in name or name.startswith("on")}
        assert not any("url(" in value for name, value in element.items() if name != "aria-label")
    return root


def markdown(text: str) -> str:
    """The part that shows without a click; no name has become markup in any part."""
    parser = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    tokens = parser.MarkdownIt("commonmark").enable("table").parse(text)
    inner = [token for block in tokens for token in block.children or ()]
    kinds = {token.type for token in inner}
    written = {"text", "softbreak", "code_inline", "strong_open", "strong_close", "text_special"}
    assert kinds <= written, kinds - written
    # ours are ** around an outcome or a decision; a name would add to them
    blocks = [token.content.strip() for token in tokens if token.type == "html_block"]
    for block in blocks:
        assert re.fullmatch(r"<details><summary>[^<]*</summary>|</details>", block), block
    return re.sub(r"(?s)(<details><summary>.*?</summary>).*?</details>", r"\1", text)
