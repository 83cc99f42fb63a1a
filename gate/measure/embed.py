"""What a backbone gives for a split: computed once, kept on disk, read back memory-mapped."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from gate.backbone import Backbone, Outputs, Tokens
from gate.data.split import Split
from gate.errors import BackboneError, GateError
from gate.files import replacing

Advance = Callable[[int], None]


def outputs(
    folder: Path, backbone: Backbone, split: Split, batch_size: int, advance: Advance
) -> Outputs:
    """Features, and the own head's logits if there are any, of all examples of a split.

    They come from the folder if they are there. The files' names are a digest of all that changes a
    number in them: weights, runtime, output, preprocessing, batch size, images. So a stale file is
    never read.

    Args:
        folder: Where they are kept.
        backbone: Gives them.
        split: N images or texts.
        batch_size: Examples per forward pass.
        advance: Called with the number of examples that each pass went through.

    Returns:
        ``(N, D)`` and ``(N, K)`` float32, memory-mapped, read-only.

    Raises:
        BackboneError: Features that are not finite, or the same for every example.
        DataError: Images that do not decode, or empty texts.
    """
    stem = f"{split.name}-{_key(backbone, split, batch_size)}"
    paths = [folder / f"{stem}.npy"]
    if backbone.file.logits:
        paths.append(folder / f"{stem}-logits.npy")
    if not all(path.exists() for path in paths):
        _compute(paths, backbone, split, batch_size, advance)
    features, logits, *_ = (*map(_read, paths), None)
    return Outputs(features, logits)


def pixels(folder: Path, split: Split, side: int, channels: int) -> NDArray[np.uint8]:
    """Decoded images ``(N, side, side, channels)`` of a split, memory-mapped, for training."""
    key = hashlib.sha256(f"{split.digest} {side} {channels}".encode()).hexdigest()[:32]
    path = folder / f"{split.name}-{key}-pixels.npy"
    if not path.exists():
        with replacing(path) as partial, partial.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False}
            write_array_header_1_0(file, {**header, "shape": (len(split), side, side, channels)})
            for images in split.batches(256, side, channels):
                file.write(images.tobytes())
    return _read(path)


def _read(path: Path) -> NDArray[Any]:
    try:
        kept: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise GateError(
            f"{path}: kept features cannot be read: {fault}; delete the file"
        ) from fault
    return kept


def _compute(
    paths: list[Path], backbone: Backbone, split: Split, batch_size: int, advance: Advance
) -> None:
    first: NDArray[np.float32] | None = None
    constant = True
    # written as a stream: a full disk is then an error, where a memory map would be killed
    with ExitStack() as stack:
        parts = [stack.enter_context(replacing(path)) for path in paths]
        opened = [stack.enter_context(part.open("wb")) for part in parts]
        for inputs in _inputs(backbone, split, batch_size):
            batch = backbone.outputs(inputs)
            for file, values in zip(opened, batch, strict=False):
                assert values is not None  # noqa: S101  # there are as many files as outputs
                if first is None:
                    header = {"descr": "<f4", "fortran_order": False}
                    shape = (len(split), values.shape[1])
                    write_array_header_1_0(file, {**header, "shape": shape})
                file.write(values.astype("<f4").tobytes())
            if first is None:
                first = batch.features[:1]
            constant = constant and bool((batch.features == first).all())
            advance(len(batch.features))
        if constant and len(split) > 1:
            raise BackboneError(
                f"{backbone.file.path}: features are the same for all {len(split)} examples of "
                f"{split.name}; check the preprocessing in the plan and the weights"
            )


def _inputs(backbone: Backbone, split: Split, size: int) -> Iterator[NDArray[np.float32] | Tokens]:
    if backbone.file.text:
        return map(backbone.tokens, split.texts(size))
    wanted = backbone.preprocessing
    return map(backbone.inputs, split.batches(size, wanted.size, wanted.channels))


def _key(backbone: Backbone, split: Split, batch_size: int) -> str:
    parts = {
        "backbone": backbone.digest,
        "file": backbone.file.settings,
        "versions": backbone.versions,
        "batch_size": batch_size,
        "split": split.digest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
