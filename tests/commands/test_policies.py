"""The commands for those who edit policies."""

from pathlib import Path

from gate.errors import ExitCode
from gate.policy.load import load_policy
from tests.conftest import Gate


def test_the_shipped_policies_are_linted(gate: Gate) -> None:
    paths = sorted(Path("policies").glob("*.yaml"))

    code, out, _ = gate("policy", "lint", *paths)

    assert code == 0
    assert len(out.splitlines()) == len(paths)
    assert str(len(load_policy(paths[0]).rules)) in out


def test_every_faulty_policy_is_told_and_not_the_first_alone(gate: Gate, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"nmae: {name}\n")

    code, out, err = gate(
        "policy", "lint", tmp_path / "one.yaml", "policies/digits.yaml", tmp_path / "two.yaml"
    )

    assert code == ExitCode.USAGE
    assert out.startswith("policies/digits.yaml: digits v4")
    for name in ("one", "two"):
        assert f"{name}.yaml:1:1: nmae: unknown key; did you mean 'name'?" in err
