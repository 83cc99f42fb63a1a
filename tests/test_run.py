"""The whole flow in one process; broken off half-way, nothing is half old and half new."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate import Verdict
from gate.errors import EvidenceError
from gate.strict_json import read_json

MakePlan = Callable[..., Path]
SMALL = {
    "clean_accuracy": {},
    "trigger_patch": {
        "triggers": [
            {
                "pattern": "square",
                "colour": ["yellow"],
                "size": [0.156],
                "place": ["bottom_right"],
            }
        ]
    },
    "trigger_search": {"steps": 10},
    "spurious_attribute": {"attributes": ["photograph"]},
    "label_prior": {},
}


def command(plan: Path, out: Path, backbone: Path) -> list[str]:
    policy = ["--policy", "policies/digits.yaml"]
    arguments = ["run", str(plan), *policy, "--out", str(out), "--backbone", str(backbone)]
    return [sys.executable, "-m", "gate", *arguments]


def content(folder: Path) -> dict[str, bytes]:
    """All that a run leaves, but for what a clock wrote."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run-info.json"
    }


def verdict(folder: Path) -> Verdict:
    return read_json(folder / "verdict.json", Verdict, EvidenceError)


@pytest.mark.parametrize(
    ("backbone", "code", "blocked_by"),
    [
        ("clean", 0, set()),
        ("trigger", 1, {"trigger_patch"}),
        ("relabelled", 1, {"trigger_patch"}),
        ("shortcut", 1, {"spurious_attribute"}),
    ],
)
def test_each_candidate_comes_out_as_documented_for_the_right_reason(
    example: Path,
    digits_plan: MakePlan,
    tmp_path: Path,
    backbone: str,
    code: int,
    blocked_by: set[str],
) -> None:
    out = tmp_path / "out"
    file = example / "backbones" / f"{backbone}.onnx"
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        f"waivers: [{{id: W, rule: clean_accuracy.accuracy, backbone: 'sha256:{'0' * 64}', "
        "reason: of another, owner: ml-team, expires: 2999-12-31}]\n"
    )

    done = subprocess.run(
        [*command(digits_plan(probes=SMALL), out, file), "--waivers", str(waivers)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == code, done.stderr
    assert {f.probe for f in verdict(out).findings if f.blocks} == blocked_by
    assert {path.split("/")[0] for path in content(out)} == {
        "evidence", "features", "heads", "triggers", "validation.json",
        "verdict.json", "report.md", "report.html", "contact-sheets.json",
    }  # fmt: skip
    assert "label prior, the estimated share q" in (out / "report.html").read_text()
    information = json.loads((out / "run-info.json").read_text())
    embedded, passes = 1144 + 426, information["forward_passes"]["backbone"]
    # at the most, under the triggers that were found, and twice under five that went on from pairs
    searched = 2 * 2 * 250 + (3 + 2) * 426 + 2 * 5 * 200
    # 833 squares on 12 images, some of them on 72 more, three of one class and one of each
    searched += 12 * 833 + 24 * 2 * 64 + 48 * 2 * 20 + 3 * 250 + 426
    # under six other ways of preprocessing, a hundred training images and one look or two
    least, most = 6 * (100 + 100), 6 * (100 + 400)
    # from one look to every image
    assert embedded + 4 * 64 + least <= passes <= embedded + 4 * 426 + searched + most
    lines = [line for line in done.stderr.splitlines() if " left" not in line]  # a busy machine
    assert lines[0] == f"gate: {backbone}.onnx: no GPU here; ONNX Runtime runs on the CPU"
    assert lines[1].startswith("gate: estimate: 3,026 to 26,342 forward passes, ")
    judged = [line for line in lines[2:] if not re.match("gate: (test|task \\w+): ", line)]
    assert judged[0].startswith("gate: warning: waiver W matches nothing: it is for sha256:000000")
    assert len(judged) == (1 if code == 0 else 2)


def test_a_run_killed_half_way_leaves_no_verdict_and_completes_when_run_again(
    example: Path, digits_plan: MakePlan, tmp_path: Path
) -> None:
    plan, file = digits_plan(probes=SMALL), example / "backbones" / "trigger.onnx"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(plan, whole, file), capture_output=True, check=False)
    (broken / "features").mkdir(parents=True)
    (broken / "verdict.json").write_text("an older verdict")

    process = subprocess.Popen(command(plan, broken, file), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((broken / "features").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert not (broken / "verdict.json").exists()
    subprocess.run(command(plan, broken, file), capture_output=True, check=False)
    assert content(broken) == content(whole)


def test_ctrl_c_exits_130_and_leaves_no_verdict(
    example: Path, digits_plan: MakePlan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = command(digits_plan(), out, example / "backbones" / "clean.onnx")
    process = subprocess.Popen(
        arguments,
        stderr=subprocess.PIPE,
        text=True,
        # a job in the background of a shell ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not (out / "evidence" / "clean_accuracy.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "gate: interrupted; run again to complete"
    assert not (out / "verdict.json").exists()
    assert not [path for path in content(out) if path.endswith(".partial")]


def test_a_disk_that_is_full_is_said_in_a_line_and_leaves_no_features(
    example: Path, digits_plan: MakePlan, tmp_path: Path
) -> None:
    import resource

    def small_files_only() -> None:  # what a test can set; the kernel fails the write likewise
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    features, file = tmp_path / "features", example / "backbones" / "clean.onnx"
    arguments = [str(digits_plan()), "--backbone", str(file), "--features", str(features)]

    done = subprocess.run(
        [sys.executable, "-m", "gate", "embed", *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_files_only,  # nothing runs in threads here
    )

    assert done.returncode == 3
    assert "cannot be written: File too large; nothing was changed" in done.stderr
    assert not list(features.iterdir())


def test_data_that_fail_a_check_stop_the_run_before_a_probe(
    example: Path, digits_plan: MakePlan, tmp_path: Path
) -> None:
    import yaml

    splits = yaml.safe_load(digits_plan().read_text())["splits"]
    splits["test"]["minimum_group"] = 60
    out = tmp_path / "out"

    done = subprocess.run(
        command(digits_plan(splits=splits), out, example / "backbones" / "clean.onnx"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "every group has at least 60 images (found 5" in done.stderr
    assert list(content(out)) == ["validation.json"]
