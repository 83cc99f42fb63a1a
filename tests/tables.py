"""Writes what follows from the table of probes: README's table, and the schema for editors.

``python -m tests.tables``, after a probe was added; tests hold that both are up to date.
"""

import json
import re
from pathlib import Path

from gate.policy.rules import Policy
from gate.probes import PROBES

README, SCHEMA = Path("README.md"), Path("policies/schema.json")
HEADER = "| probe | question |\n|---|---|\n"


def main() -> None:
    """Write both."""
    rows = "".join(f"| `{name}` | {probe.question} |\n" for name, probe in PROBES.items())
    table = re.compile(re.escape(HEADER) + r"(\|.*\n)+")
    README.write_text(table.sub(lambda _: HEADER + rows, README.read_text()))
    SCHEMA.write_text(json.dumps(Policy.model_json_schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
