"""`gate check` from the command line: whatever is in doubt is not 0, and is said in a line."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import decide, files, strict_json
from gate.errors import AdmissionError, EvidenceError, ExitCode, PolicyError
from gate.policy.load import load_policy
from gate.policy.waivers import Waiver, load_waivers
from gate.trust.admission import admit
from gate.trust.check import check
from gate.trust.require import Grounds
from gate.values import Evidence, Verdict
from tests.builders import evidence, measurement
from tests.conftest import Gate
from tests.gated import PEM, POLICY, PUBLIC, issue, today_in_utc

Edit = Callable[[Path], None]


def command(folder: Path, artefact: str = "model.bin") -> list[str]:
    return [
        "check", str(folder / artefact), "--admission", str(folder / "admission.json"),
        "--policy", str(folder / "policy.yaml"), "--public-key", str(folder / "public.pem"),
        "--max-age", "30",
    ]  # fmt: skip


def absent(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


def linked(name: str, target: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return edit


def a_folder(name: str, **inside: bytes) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()
        for file, content in inside.items():
            (folder / name / file).write_bytes(content)

    return edit


def a_pipe(folder: Path) -> None:
    (folder / "model.bin").unlink()
    os.mkfifo(folder / "model.bin")


def holding(name: str, content: bytes) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return edit


def on(days: int) -> Edit:
    def edit(folder: Path) -> None:
        issue(folder, day=today_in_utc() + timedelta(days=days))

    return edit


def rewritten(change: Callable[[str], str]) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "admission.json"
        path.write_text(change(path.read_text()))

    return edit


A, M, P, K = "admission.json", "model.bin", "policy.yaml", "public.pem"
NO_ENVELOPE = "not a DSSE envelope"
DOUBTS: dict[str, tuple[Edit, str]] = {
    "no admission": (absent(A), "admission.json: cannot be read"),
    "a folder for an admission": (a_folder(A), "cannot be read: Is a directory"),
    "a link to nothing": (linked(A, "nothing"), "cannot be read: No such file"),
    "a link to itself": (linked(A, A), "cannot be read: Too many levels of symbolic links"),
    "an admission without end": (linked(A, "/dev/zero"), "longer than 64 MiB"),
    "an empty admission": (holding(A, b""), NO_ENVELOPE),
    "half an admission": (rewritten(lambda text: text[: len(text) // 2]), NO_ENVELOPE),
    "two admissions": (rewritten(lambda text: text + text), NO_ENVELOPE),
    "a key twice": (
        rewritten(lambda text: text.replace("{", '{"payload": "", ', 1)),
        "not written as admit writes it",
    ),
    "a list of admissions": (rewritten(lambda text: f"[{text}]"), NO_ENVELOPE),
    "nested without end": (holding(A, b'{"payload":' * 100_000), NO_ENVELOPE),
    "no text": (holding(A, b"\xff\xfe" + bytes(99)), NO_ENVELOPE),
    "a verdict for an admission": (holding(A, b'{"schema": "gate.verdict/v1"}'), NO_ENVELOPE),
    "no artefact": (absent(M), "model.bin: cannot be read"),
    "an empty artefact": (holding(M, b""), "changed or swapped"),
    "an empty folder": (a_folder(M), "an empty folder is no artefact"),
    "a folder with the artefact in it": (a_folder(M, model=b"weights"), "changed or swapped"),
    "a device": (linked(M, "/dev/zero"), "neither file nor folder"),
    "a pipe": (a_pipe, "neither file nor folder"),
    "no policy": (absent(P), "policy.yaml: no such file"),
    "a broken policy": (holding(P, b"name: ["), "not valid YAML"),
    "another policy": (
        holding(P, POLICY.replace("0.8", "0.81").encode()),
        "not under the given",
    ),
    "no key": (absent(K), "public.pem: cannot be read"),
    "an empty key": (holding(K, b""), "no usable public key"),
    "the private key": (holding(K, PEM), "no usable public key"),
    "an old admission": (on(-31), "31 days ago, and at most 30 are allowed"),
    "an admission from the future": (on(2), "set this machine's clock"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_whatever_is_in_doubt_is_refused_in_a_line(gate: Gate, tmp_path: Path, name: str) -> None:
    folder = issue(tmp_path)
    assert gate(*command(folder))[0] == 0
    edit, says = DOUBTS[name]
    edit(folder)

    code, out, err = gate(*command(folder))

    assert code in (ExitCode.ERROR, ExitCode.USAGE)
    assert out == ""
    (line,) = err.splitlines()
    assert says in line
    assert "unexpected" not in line


# root may read all; this takes CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH out of its bounding set
LIKE_ANYBODY = (
    "import ctypes, os, sys; libc = ctypes.CDLL(None)\n"
    "for capability in (1, 2): libc.prctl(24, capability, 0, 0, 0)\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'gate', *sys.argv[1:]])\n"
)


@pytest.mark.parametrize("name", ["", "model.bin", "admission.json", "policy.yaml", "public.pem"])
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, name: str) -> None:
    folder = issue(tmp_path)
    if name:
        (folder / name).chmod(0)

    done = subprocess.run(
        [sys.executable, "-c", LIKE_ANYBODY, *command(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    if not name:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode in (ExitCode.ERROR, ExitCode.USAGE)
    assert f"{name}' is not readable" in done.stderr


@pytest.mark.parametrize("mode", [0o311, 0o000])  # the first still gives what one knows the name of
def test_a_folder_in_an_artefact_that_may_not_be_listed_is_refused(
    tmp_path: Path, mode: int
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_text("weights")
    folder = issue(tmp_path, "model")
    unjudged = folder / "model" / "custom"
    unjudged.mkdir()
    (unjudged / "loader.py").write_text("print('code that nobody judged')")
    unjudged.chmod(mode)

    done = subprocess.run(
        [sys.executable, "-c", LIKE_ANYBODY, *command(folder, "model")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    unjudged.chmod(0o755)

    assert (done.returncode, done.stdout) == (ExitCode.ERROR, "")
    assert f"{unjudged}: cannot be read: Permission denied" in done.stderr


def test_an_admission_may_come_through_a_pipe(tmp_path: Path) -> None:
    folder = issue(tmp_path)
    words = command(folder)
    words[words.index("--admission") + 1] = "/dev/stdin"

    done = subprocess.run(
        [sys.executable, "-m", "gate", *words],
        input=(folder / "admission.json").read_bytes(), capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


# --- one changed byte -----------------------------------------------------------------------------

TODAY = date(2026, 11, 21)
_byte = st.tuples(st.integers(0), st.integers(1, 255))


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact of two files, admitted, and admitted because of a waiver."""
    folder = tmp_path_factory.mktemp("issued")
    (folder / "model").mkdir()
    for name in ("config.json", "weights.bin"):
        (folder / "model" / name).write_text(f"{name}, whole")
    digest = files.sha256_of(folder / "model", AdmissionError)
    (folder / "waivers.yaml").write_text(
        f"waivers:\n  - {{id: W, rule: clean_accuracy.accuracy, backbone: '{digest}', "
        "reason: known, owner: ml-team, expires: 2026-12-31}\n"
    )
    return issue(folder, "model", TODAY, 0.5, load_waivers(folder / "waivers.yaml"))


def flipped(path: Path, byte: tuple[int, int]) -> bytes:
    place, flip = byte
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= flip
    return bytes(content)


def checked(folder: Path, policy: Path | None = None) -> str:
    return str(
        check(
            (folder / "admission.json").read_bytes(),
            files.hashed(folder / "model", AdmissionError),
            TODAY,
            load_policy(policy or folder / "policy.yaml"),
            [PUBLIC],
        )
    )


@given(byte=_byte, name=st.sampled_from(["config.json", "weights.bin"]))
def test_a_changed_byte_of_an_artefact_is_refused(
    issued: Path, byte: tuple[int, int], name: str
) -> None:
    path = issued / "model" / name
    whole = path.read_bytes()
    assert checked(issued) == "admitted under policy test v1, until 2026-12-31"
    path.write_bytes(flipped(path, byte))
    try:
        with pytest.raises(AdmissionError, match=rf"\({name}\)"):
            checked(issued)
    finally:
        path.write_bytes(whole)


@given(byte=_byte)
def test_a_changed_byte_of_the_policy_is_refused_unless_it_says_the_same(
    issued: Path, byte: tuple[int, int]
) -> None:
    changed = issued / "changed.yaml"
    changed.write_bytes(flipped(issued / "policy.yaml", byte))
    try:
        checked(issued, changed)
    except (AdmissionError, PolicyError):
        return
    assert load_policy(changed) == load_policy(issued / "policy.yaml")  # a blank for a line's end


@given(byte=_byte)
def test_a_changed_byte_of_a_waiver_file_admits_nothing_unless_it_says_the_same(
    issued: Path, byte: tuple[int, int]
) -> None:
    changed = issued / "changed.yaml"
    changed.write_bytes(flipped(issued / "waivers.yaml", byte))
    true = load_waivers(issued / "waivers.yaml")
    try:
        waivers = load_waivers(changed)
        admit_again(issued, decided(issued, true), waivers)
    except (AdmissionError, PolicyError):
        return
    assert waivers == true


@given(byte=_byte)
def test_a_changed_byte_of_a_verdict_admits_nothing_unless_it_says_the_same(
    issued: Path, byte: tuple[int, int]
) -> None:
    waivers = load_waivers(issued / "waivers.yaml")
    true, path = decided(issued, waivers), issued / "verdict.json"
    files.write(path, true.to_json())
    path.write_bytes(flipped(path, byte))
    try:
        found = strict_json.read_json(path, Verdict, EvidenceError)
        admit_again(issued, found, waivers)
    except (AdmissionError, EvidenceError):
        return
    assert found == true


def decided(folder: Path, waivers: tuple[Waiver, ...]) -> Verdict:
    return decide(load_policy(folder / "policy.yaml"), found_in(folder), TODAY, waivers)


def found_in(folder: Path) -> list[Evidence]:
    return [evidence(measurement(0.5), backbone=files.sha256_of(folder / "model", AdmissionError))]


def admit_again(folder: Path, verdict: Verdict, waivers: tuple[Waiver, ...]) -> None:
    grounds = Grounds(load_policy(folder / "policy.yaml"), found_in(folder), waivers)
    admit(verdict, grounds, "model", files.hashed(folder / "model", AdmissionError), TODAY, PEM)
