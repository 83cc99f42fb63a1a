"""Writes the dependencies of pyproject.toml at their lowest versions, for `make lowest`."""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest() -> list[str]:
    """Requirements in which each lower bound is the version."""
    dependencies = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    return [line.replace(">=", "==", 1) for line in dependencies]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest()) + "\n")
