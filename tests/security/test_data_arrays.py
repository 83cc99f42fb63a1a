"""Hostile .npz and other files of arrays: refused as such, and never a fault of gate's own."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.data.split import open_split
from gate.errors import DataError, GateError
from gate.label_prior import array_files
from gate.plan.split import SplitPlan

IMAGES = np.random.default_rng(0).integers(0, 255, (30, 8, 8, 3), np.uint8)


def arrays(**changes: Any) -> dict[str, Any]:
    names = np.array(["a", "b"])
    return {"image": IMAGES, "label": np.arange(30) % 2, "class_names": names, **changes}


def npz(path: Path, members: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if not isinstance(content, bytes):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            archive.writestr(f"{name}.npy", content)
    return path


def header(text: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00v\x00" + text.encode().ljust(117) + b"\n" + content


def described(dtype: str, shape: str) -> str:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"


def read(path: Path) -> int:
    return sum(map(len, open_split("x", SplitPlan(path=path)).batches(7, 8, 3)))


# behind a letter that text has: numpy makes a string of these, which crashes whoever reads it
NO_TEXT = np.full((30, 2), [ord("a"), 0x110011], np.uint32).view("<U2")[:, 0]
STRUCTURED = np.zeros(30, [("a", "<i4"), ("b", "<f4")])
HOSTILE: dict[str, dict[str, Any]] = {
    "a member that is no array": {"image": b""},
    "a label that is no array": {"label": b"\x93NUMPY"},
    "brackets that never close": {"image": header("(" * 117)},
    "a header that is no Python": {"label": header("{'descr': '\\")},
    "a header that is code": {"label": header("__import__('os').abort()")},
    "a shape larger than memory": {"label": header(described("'<f8'", "(99999999999999,)"))},
    "a shape beyond integers": {"label": header(described("'<f8'", f"({10**30},)"))},
    "images larger than memory": {"image": header(described("'|u1'", f"({10**9}, 9, 9)"))},
    "a negative side": {"image": header(described("'|u1'", "(30, 8, -8, 3)"), IMAGES.tobytes())},
    "fewer than no images": {"image": header(described("'|u1'", "(-30, 8, 8, 3)"))},
    "no pixels": {"image": np.zeros((30, 0, 8, 3), np.uint8)},
    "a shape of words": {"image": header(described("'|u1'", "('a', 8, 8)"))},
    "a structured label": {"label": STRUCTURED},
    "structured images": {"image": STRUCTURED},
    "labels that are pickles": {"label": header(described("'|O'", "(30,)"), b"\x80\x04N.")},
    "a type of no kind": {"label": header(described("'<q9'", "(30,)"))},
    "letters that no text has": {"label": NO_TEXT},
    "such letters in another order of bytes": {"label": NO_TEXT.astype(">U2")},
    "such letters in the names of classes": {"class_names": NO_TEXT[:2]},
}
LABELS = [members["label"] for members in HOSTILE.values() if "label" in members]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_npz_is_refused_with(name: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "x.npz", arrays(**HOSTILE[name]))

    with pytest.raises(DataError, match=r"x\.npz|30 images|streamed"):
        read(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_flipped_bits_and_lost_ends_of_an_npz_are_refused_or_harmless(
    compressed: bool, tmp_path: Path
) -> None:
    rng, path = np.random.default_rng(3), tmp_path / "x.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    whole, refused = path.read_bytes(), 0
    for trial in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged[: len(whole) if trial % 3 else rng.integers(len(whole))])
        try:
            assert read(path) == 30
        except DataError:
            refused += 1

    assert refused > 50


def written(array: np.ndarray, kind: str, folder: Path) -> bytes:
    path = folder / f"whole{kind}"
    if kind == ".npy":
        np.save(path, array)
    else:
        array_files.write(path, {"logits": array})
    return path.read_bytes()


@pytest.mark.parametrize("kind", array_files.KINDS)
def test_damaged_files_of_logits_are_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    rng, path = np.random.default_rng(4), tmp_path / f"x{kind}"
    whole = written(rng.normal(size=(9, 3)), kind, tmp_path)
    for trial in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: len(whole) if trial % 3 else rng.integers(len(whole))])
        for reading in (array_files.read_logits, array_files.read_embeddings):
            try:
                reading(path)
            except GateError:
                continue


@pytest.mark.parametrize(
    "reading",
    [
        array_files.read_logits,
        array_files.read_labels,
        array_files.read_shares,
        array_files.read_embeddings,
    ],
)
@pytest.mark.parametrize("content", LABELS)
def test_hostile_arrays_are_no_logits_labels_shares_or_embeddings(
    reading: Callable[[Path], object], content: Any, tmp_path: Path
) -> None:
    for name in ("logits", "labels", "shares", "embeddings"):
        with pytest.raises(DataError, match=r"x\.npz"):
            reading(npz(tmp_path / "x.npz", {name: content}))
    if isinstance(content, bytes):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.npy"):
            reading(tmp_path / "x.npy")


@pytest.mark.parametrize("put_back", [False, True])
def test_logits_that_change_while_they_are_used_are_refused(put_back: bool, tmp_path: Path) -> None:
    path = tmp_path / "logits.npy"
    np.save(path, np.eye(4))
    os.utime(path, (0, 0))
    content = path.read_bytes()

    with (
        pytest.raises(DataError, match=r"logits\.npy: was changed while it was used"),
        array_files.hashed({"logits": path, "clusters": None}) as digests,
    ):
        assert set(digests) == {"logits"}
        path.write_bytes(content[:-1] + b"x")
        if put_back:
            path.write_bytes(content)


def test_class_embeddings_whose_names_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, embeddings=np.eye(30), classes=NO_TEXT)

    with pytest.raises(DataError, match=r"names holds the letter 0x110011, and there is none"):
        array_files.read_embeddings(path)
