"""Features of a split: computed once, kept on disk, read back memory-mapped."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from gate.backbone import Backbone
from gate.data import Split
from gate.errors import BackboneError, GateError
from gate.files import replacing

Advance = Callable[[int], None]


def features(
    folder: Path, backbone: Backbone, split: Split, batch_size: int, advance: Advance
) -> NDArray[np.float32]:
    """Features of all images of a split, from the folder if they are there.

    The file's name is a digest of all that changes a number in it: weights, runtime, output,
    preprocessing, batch size, images. So a stale file is never read.

    Args:
        folder: Where features are kept.
        backbone: Gives them.
        split: N images.
        batch_size: Images per forward pass.
        advance: Called with the number of images that each pass went through.

    Returns:
        ``(N, D)`` float32, memory-mapped, read-only.

    Raises:
        BackboneError: Features that are not finite, or the same for every image.
        DataError: Images that do not decode.
    """
    path = folder / f"{split.name}-{_key(backbone, split, batch_size)}.npy"
    if not path.exists():
        _compute(path, backbone, split, batch_size, advance)
    try:
        kept: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise GateError(
            f"{path}: kept features cannot be read: {fault}; delete the file"
        ) from fault
    return kept


def _compute(
    path: Path, backbone: Backbone, split: Split, batch_size: int, advance: Advance
) -> None:
    side, channels = backbone.preprocessing.size, backbone.preprocessing.channels
    first: NDArray[np.float32] | None = None
    constant = True
    # written as a stream: a full disk is then an error, where a memory map would be killed
    with replacing(path) as partial, partial.open("wb") as file:
        for images in split.batches(batch_size, side, channels):
            batch = backbone.features(images)  # (n, D)
            if first is None:
                first = batch[:1]
                shape = (len(split), batch.shape[1])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                write_array_header_1_0(file, header)
            file.write(batch.astype("<f4").tobytes())
            constant = constant and bool((batch == first).all())
            advance(len(batch))
        if constant and len(split) > 1:
            raise BackboneError(
                f"{backbone.file.path}: features are the same for all {len(split)} images of "
                f"{split.name}; check the preprocessing in the plan and the weights"
            )


def _key(backbone: Backbone, split: Split, batch_size: int) -> str:
    parts = {
        "backbone": backbone.digest,
        "file": backbone.file.model_dump(mode="json", exclude={"onnx", "exported", "weights"}),
        "versions": backbone.versions,
        "batch_size": batch_size,
        "split": split.digest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
