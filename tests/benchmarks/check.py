"""How long `gate check` takes on a small artefact, and on a large one beside plain SHA-256.

``python -m tests.benchmarks.check [GIB]``; the large file is written first, so that both sides read
it from memory, and read it again in turns.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from gate.errors import AdmissionError
from gate.files import digest_of_files, hashed
from gate.policy.decide import decide
from gate.trust.admission import admit
from gate.trust.require import Grounds
from gate.values import Evidence
from tests.builders import evidence, measurement, policy
from tests.gated import PEM, POLICY, PUBLIC

PLAIN = "import hashlib, sys; hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256')"


def ready(folder: Path, artefact: Path) -> list[str]:
    """The command that checks an artefact, whose evidence is as large as the digits example's."""
    files = hashed(artefact, AdmissionError)
    found: Sequence[Evidence] = [
        evidence(
            *(measurement(task=f"task {number}") for number in range(300)),
            backbone=digest_of_files(files),
        )
    ]
    judge, today = policy(), date.today()
    verdict = decide(judge, found, today)
    issued = admit(verdict, Grounds(judge, found), artefact.name, files, today, PEM)
    (folder / "admission.json").write_text(issued)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "public.pem").write_bytes(PUBLIC)
    print(f"admission of {len(found[0].measurements)} measurements: {len(issued) / 1000:.0f} kB")
    return [
        sys.executable, "-m", "gate", "check", str(artefact),
        "--admission", str(folder / "admission.json"), "--policy", str(folder / "policy.yaml"),
        "--public-key", str(folder / "public.pem"),
    ]  # fmt: skip


def seconds(command: list[str]) -> float:
    """Wall time of a process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print a line an artefact."""
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        small = folder / "small.onnx"
        small.write_bytes(bytes(100_000))
        command = ready(folder, small)
        took = sorted(seconds(command) for _ in range(9))
        print(f"gate check, 0.1 MB: {took[4]:.2f} s (median of 9)")

        large = folder / "large.onnx"
        block = bytes(range(256)) * 4096
        with large.open("wb") as file:
            for _ in range(int(gib * 1024)):
                file.write(block)
        command = ready(folder, large)
        pairs = [
            (seconds(command), seconds([sys.executable, "-c", PLAIN, str(large)])) for _ in range(3)
        ]
        ours, plain = (min(times) for times in zip(*pairs, strict=True))
        print(
            f"gate check, {gib:g} GiB: {ours:.2f} s, plain SHA-256 {plain:.2f} s: "
            f"{plain / ours:.2f} x its speed"
        )


if __name__ == "__main__":
    main()
