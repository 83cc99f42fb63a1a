"""What a backbone gives for a split: computed once, kept on disk, read back memory-mapped."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.format import write_array_header_1_0

from gate.arrays import Array, Images
from gate.backbone.backbone import Backbone, Outputs
from gate.data.split import Split
from gate.errors import BackboneError, GateError
from gate.files import digest_of_json, replacing
from gate.measure.passes import Engine, Part, Pass
from gate.measure.readers import Output, OutputName
from gate.plan.backbone import Preprocessing
from gate.progress import Advance


def outputs(
    folder: Path, engine: Engine, backbone: Backbone, split: Split, size: int, advance: Advance
) -> Outputs:
    """Features, and the own head's logits if there are any, of all examples of a split.

    They come from the folder if they are there. The files' names are a digest of all that changes a
    number in them: weights, runtime, output, preprocessing, batch size, images. So a stale file is
    never read.

    Args:
        folder: Where they are kept.
        engine: Passes the examples.
        backbone: Gives them.
        split: N images or texts.
        size: Examples per forward pass.
        advance: Called with the number of examples that each pass went through.

    Returns:
        ``(N, D)`` and ``(N, K)`` float32, memory-mapped, read-only.

    Raises:
        BackboneError: Features that are not finite, or the same for every example.
        DataError: Images that do not decode, or empty texts.
    """
    parts = {
        "backbone": backbone.digest,
        "file": backbone.plan.settings,
        "versions": backbone.versions,
        "batch_size": size,
        "split": split.digest,
    }
    stem = f"{split.name}-{digest_of_json(parts)[7:39]}"
    paths: dict[OutputName, Path] = {"features": folder / f"{stem}.npy"}
    if backbone.plan.logits:
        paths["logits"] = folder / f"{stem}-logits.npy"
    if not all(path.exists() for path in paths.values()):
        work = Pass(backbone.plan, {name: Output(name) for name in paths})
        _write(paths, engine.map(work, split, size, advance), split, backbone.plan.path)
    return Outputs(_read(paths["features"]), _read(paths["logits"]) if "logits" in paths else None)


def pixels(folder: Path, split: Split, wanted: Preprocessing) -> Images:
    """Decoded images ``(N, S, S, C)`` of a split as a backbone takes them, memory-mapped."""
    side, channels = wanted.size, wanted.channels
    key = digest_of_json([split.digest, side, channels])[7:39]
    path = folder / f"{split.name}-{key}-pixels.npy"
    if not path.exists():
        with replacing(path) as partial, partial.open("wb") as file:
            _begin(file, "|u1", len(split), side, side, channels)
            for images in split.batches(256, side, channels):
                file.write(images.tobytes())
    return _read(path)


def _begin(file: BinaryIO, kind: str, *shape: int) -> None:
    """Write what stands before the numbers of a ``.npy`` file."""
    write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})


def _read(path: Path) -> Array:
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as fault:
        raise GateError(
            f"{path}: kept features cannot be read: {fault}; delete the file"
        ) from fault


def _write(
    paths: dict[OutputName, Path], parts: Iterator[Part], split: Split, weights: Path
) -> None:
    constant, first = True, None
    # written as a stream: a full disk is then an error, where a memory map would be killed
    with ExitStack() as stack:
        partial = {name: stack.enter_context(replacing(path)) for name, path in paths.items()}
        opened = {name: stack.enter_context(path.open("wb")) for name, path in partial.items()}
        for part in parts:
            for name, file in opened.items():
                (values,) = part.kept[name]
                if first is None:
                    _begin(file, "<f4", len(split), values.shape[1])
                file.write(values.astype("<f4").tobytes())
            (features,) = part.kept["features"]
            first = features[:1] if first is None else first
            constant = constant and bool((features == first).all())
        if constant and len(split) > 1:
            raise BackboneError(
                f"{weights}: features are the same for all {len(split)} examples of "
                f"{split.name}; check the preprocessing in the plan and the weights"
            )
