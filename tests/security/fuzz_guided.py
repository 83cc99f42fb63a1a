"""Fuzzes one kind of file, led by coverage: what reaches new lines of gate is mutated further.

    pip install atheris
    python -m tests.security.fuzz_guided FILE [-runs=N] [-max_total_time=SECONDS] [-seed=N]

FILE is a name in the table that `fuzz` prints, such as policy.yaml; the rest goes to libFuzzer.
Every other mutation is libFuzzer's own, the others know the format. At a fault, as `fuzz` tells
them, it says what is wrong, leaves the input in a file crash-*, and ends.
"""

import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

LIMITS = ("-timeout=5", "-rss_limit_mb=4096", "-max_len=200000", f"-artifact_prefix={Path.cwd()}/")


def main(file: str, options: list[str]) -> None:
    """Mutate the file until libFuzzer has done what its options say."""
    try:
        import atheris  # no wheel is there for every Python, so it is no extra of gate
    except ImportError:
        sys.exit("fuzz_guided: atheris is not installed; run: pip install atheris")
    with atheris.instrument_imports(include=["gate"]):
        from tests.security import fuzz, fuzz_kinds

    os.chdir(tempfile.mkdtemp(prefix="gate-fuzz-"))
    known = {kind.file: kind for kind in fuzz_kinds.kinds()}
    if file not in known:
        sys.exit(f"fuzz_guided: no kind {file!r}; known: {', '.join(known)}")
    kind = known[file]
    seed = Path(file).read_bytes()
    corpus = Path("corpus")
    corpus.mkdir()
    (corpus / "sound").write_bytes(seed)

    def read(content: bytes) -> None:
        Path(file).write_bytes(content)
        for reader in kind.readers:
            says = fuzz.outcome(reader)
            if says == "read" and kind.signed and content != seed:
                says = "is let through though it was changed"
            if says not in fuzz.OUTCOMES:
                raise AssertionError(f"{file} {says}")

    def mutate(content: bytes, longest: int, number: int) -> bytes:
        random = Random(number)  # noqa: S311  # libFuzzer's, so that its -seed gives the same
        if random.random() < 0.5:
            mutated: Any = atheris.Mutate(content, longest)
            return bytes(mutated)
        return random.choice(kind.mutations)(content, random)[:longest]

    atheris.Setup([sys.argv[0], *LIMITS, *options, str(corpus)], read, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("fuzz_guided: which FILE? python -m tests.security.fuzz_guided policy.yaml")
    main(sys.argv[1], sys.argv[2:])
