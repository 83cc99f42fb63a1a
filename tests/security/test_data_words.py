"""Words that a file can write and no file can hold, and names that no file can have."""

from pathlib import Path

import pytest

from gate.errors import EvidenceError, ExitCode, PolicyError
from gate.policy.load import load_policy
from gate.strict_json import read_evidence
from tests.gated import POLICY


@pytest.mark.parametrize("word", [r"\ud800", r"a\udfffb", r"\ud83d\ude00"])
def test_half_a_character_in_a_policy_is_refused_with_its_place(word: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for where, text in (
        (r"p\.yaml:1:7: ", f'name: "{word}"\n' + POLICY.split("\n", 1)[1]),
        (r"p\.yaml:1:1: ", f'"{word}": 1\n{POLICY}'),
    ):
        path.write_text(text)

        with pytest.raises(PolicyError, match=where + r".*half a character.* is refused"):
            load_policy(path)


def test_half_a_character_in_evidence_is_refused_and_the_file_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text('{"probe": "\\ud800", "secret": 1}')

    with pytest.raises(EvidenceError, match=r"e\.json: Invalid JSON: .*surrogate.*|hex") as fault:
        read_evidence(tmp_path)

    assert "secret" not in str(fault.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 5000, "no policy file"),
        ("x/" * 5000, "no policy file"),
        (r"a\0b", "which does not show as text"),
    ],
)
def test_a_policy_that_extends_what_no_file_is_called_is_a_fault_of_usage(
    name: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(f'extends: "{name}"\n{POLICY}')

    with pytest.raises(PolicyError, match=says) as fault:
        load_policy(tmp_path / "p.yaml")

    assert fault.value.exit_code == ExitCode.USAGE


def test_a_file_of_5000_characters_is_no_policy_and_no_evidence() -> None:
    with pytest.raises(PolicyError, match="File name too long"):
        load_policy("x" * 5000)
    with pytest.raises(EvidenceError, match="File name too long"):
        read_evidence(Path("x" * 5000))
