"""What a backbone gives for a split: computed once, kept on disk, read back memory-mapped."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from gate.arrays import Array, Images
from gate.backbone.backbone import Backbone, Outputs
from gate.data.split import Split
from gate.errors import BackboneError, GateError
from gate.files import digest_of_json, replacing
from gate.measure.passes import Engine, Pass
from gate.measure.readers import Output, Reader
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
    stem = f"{split.name}-{_key(backbone, split, size)}"
    paths = {"features": folder / f"{stem}.npy"}
    if backbone.plan.logits:
        paths["logits"] = folder / f"{stem}-logits.npy"
    if not all(path.exists() for path in paths.values()):
        _compute(paths, engine, backbone, split, size, advance)
    return Outputs(_read(paths["features"]), _read(paths["logits"]) if "logits" in paths else None)


def pixels(folder: Path, split: Split, side: int, channels: int) -> Images:
    """Decoded images ``(N, side, side, channels)`` of a split, memory-mapped, for training."""
    key = digest_of_json([split.digest, side, channels])[7:39]
    path = folder / f"{split.name}-{key}-pixels.npy"
    if not path.exists():
        with replacing(path) as partial, partial.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False}
            write_array_header_1_0(file, {**header, "shape": (len(split), side, side, channels)})
            for images in split.batches(256, side, channels):
                file.write(images.tobytes())
    return _read(path)


def _read(path: Path) -> Array:
    try:
        values: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise GateError(
            f"{path}: kept features cannot be read: {fault}; delete the file"
        ) from fault
    return values


def _compute(
    paths: dict[str, Path],
    engine: Engine,
    backbone: Backbone,
    split: Split,
    size: int,
    advance: Advance,
) -> None:
    readers: dict[str, Reader] = {"features": Output("features"), "logits": Output("logits")}
    work = Pass(backbone.plan, {name: readers[name] for name in paths})
    constant, first = True, None
    # written as a stream: a full disk is then an error, where a memory map would be killed
    with ExitStack() as stack:
        partial = {name: stack.enter_context(replacing(path)) for name, path in paths.items()}
        opened = {name: stack.enter_context(path.open("wb")) for name, path in partial.items()}
        for part in engine.map(work, split, size, advance):
            for name, file in opened.items():
                (values,) = part.kept[name]
                if first is None:
                    header = {"descr": "<f4", "fortran_order": False}
                    shape = (len(split), values.shape[1])
                    write_array_header_1_0(file, {**header, "shape": shape})
                file.write(values.astype("<f4").tobytes())
            (features,) = part.kept["features"]
            first = features[:1] if first is None else first
            constant = constant and bool((features == first).all())
        if constant and len(split) > 1:
            raise BackboneError(
                f"{backbone.plan.path}: features are the same for all {len(split)} examples of "
                f"{split.name}; check the preprocessing in the plan and the weights"
            )


def _key(backbone: Backbone, split: Split, size: int) -> str:
    parts = {
        "backbone": backbone.digest,
        "file": backbone.plan.settings,
        "versions": backbone.versions,
        "batch_size": size,
        "split": split.digest,
    }
    return digest_of_json(parts)[7:39]
