"""What a backbone gives for a split: computed once, kept on disk, read back memory-mapped.

A file is ``.npy``, and behind its numbers stands the SHA-256 of its name and of all before. It is
checked whenever the file is opened, which takes one to two seconds a GiB.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_magic, write_array_header_1_0

from gate.arrays import Array, Images
from gate.backbone.backbone import Backbone, Outputs
from gate.backbone.tokens import TokenCounts
from gate.data.split import Split
from gate.errors import BackboneError, GateError
from gate.files import digest_of_json, exists, replacing
from gate.measure.passes import Engine, Part, Pass
from gate.measure.readers import Output, OutputName
from gate.measure.shuffle import Shuffle
from gate.plan.backbone import Preprocessing
from gate.progress import Advance


def outputs(
    folder: Path,
    engine: Engine,
    backbone: Backbone,
    split: Split,
    size: int,
    advance: Advance,
    shuffle: Shuffle | None = None,
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
        shuffle: What images go through before.

    Returns:
        ``(N, D)`` and ``(N, K)`` float32, memory-mapped, read-only.

    Raises:
        BackboneError: Features that are not finite, or the same for every example.
        DataError: Images that do not decode, or empty texts.
        GateError: A file in the folder is not what was written there.
    """
    paths = _paths(folder, backbone, split, size, shuffle)
    if not kept(folder, backbone, split, size, shuffle):
        work = Pass(backbone.plan, {name: Output(name) for name in paths}, (shuffle,))
        _write(paths, engine.map(work, split, size, advance), split, backbone)
    read = {name: _read(path, "<f4") for name, path in paths.items()}
    return Outputs(read["features"], read.get("logits"))


def kept(
    folder: Path, backbone: Backbone, split: Split, size: int, shuffle: Shuffle | None = None
) -> bool:
    """Whether the folder has what a backbone gives for a split, so that nothing is passed."""
    return all(map(exists, _paths(folder, backbone, split, size, shuffle).values()))


def _paths(
    folder: Path, backbone: Backbone, split: Split, size: int, shuffle: Shuffle | None
) -> dict[OutputName, Path]:
    """The files of what a backbone gives for a split; their names say all that it depends on."""
    parts = {
        "backbone": backbone.digest,
        "file": backbone.plan.settings,
        "versions": backbone.versions,
        "batch_size": size,
        "split": split.digest,
        "file_ends_with": "sha256",  # files of before it did are not met
        **({"shuffle": shuffle.settings} if shuffle else {}),
    }
    stem = f"{split.name}-{digest_of_json(parts)[7:39]}"
    paths: dict[OutputName, Path] = {"features": folder / f"{stem}.npy"}
    if backbone.plan.logits:
        paths["logits"] = folder / f"{stem}-logits.npy"
    return paths


def pixels(folder: Path, split: Split, wanted: Preprocessing) -> Images:
    """Decoded images ``(N, S, S, C)`` of a split as a backbone takes them, memory-mapped."""
    path, side, channels = pixels_path(folder, split, wanted), wanted.size, wanted.channels
    if not exists(path):
        with _written(path) as write:
            write(_header("|u1", len(split), side, side, channels))
            for images in split.batches(256, side, channels, wanted.resizing):
                write(images.tobytes())
    return _read(path, "|u1")


def pixels_path(folder: Path, split: Split, wanted: Preprocessing) -> Path:
    """The file of a split's decoded images as a backbone takes them."""
    content = [split.digest, wanted.size, wanted.channels, *wanted.resizing]
    key = digest_of_json(content)[7:39]
    return folder / f"{split.name}-{key}-pixels.npy"


@contextmanager
def _written(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A file of numbers as it is written, piece by piece; its digest ends it."""
    digest = hashlib.sha256(path.name.encode())
    # written as a stream: a full disk is then an error, where a memory map would be killed
    with replacing(path) as partial, partial.open("xb") as file:

        def write(content: bytes) -> None:
            digest.update(content)
            file.write(content)

        yield write
        file.write(digest.digest())


def _header(kind: str, *shape: int) -> bytes:
    """What stands before the numbers of a ``.npy`` file."""
    header = BytesIO()
    write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _read(path: Path, kind: str) -> Array:
    """The numbers of a file, memory-mapped, once its digest is checked."""
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise ValueError("it is no file")
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size - hashlib.sha256().digest_size
            if _digest(path.name, file, length) != file.read():
                raise ValueError("its content is not what was written, by its digest")
            file.seek(0)
            read_magic(file)
            shape, _, written = read_array_header_1_0(file)
            if written.str != kind:
                raise ValueError(f"it holds {written.str} and not {kind}")
            return np.memmap(file, kind, "r", file.tell(), shape)
    except Exception as fault:  # numpy's reader of headers raises whatever Python's parser does
        raise GateError(
            f"{path}: kept features cannot be read: {fault}; delete the file"
        ) from fault


def _digest(name: str, file: BinaryIO, length: int) -> bytes:
    """Digest of a name and of so many bytes of its file."""
    digest = hashlib.sha256(name.encode())
    for start in range(0, length, 1 << 20):
        digest.update(file.read(min(1 << 20, length - start)))
    return digest.digest()


def tokens_of(backbone: Backbone, split: Split) -> TokenCounts:
    """What a backbone's tokenizer makes of all texts of a split, counted."""
    counts = (backbone.count_tokens(texts) for texts in split.texts(1024))
    return sum(counts, TokenCounts())


def _write(
    paths: dict[OutputName, Path], parts: Iterator[Part], split: Split, backbone: Backbone
) -> None:
    constant, first = True, None
    with ExitStack() as stack:
        files = {name: stack.enter_context(_written(path)) for name, path in paths.items()}
        for part in parts:
            for name, write in files.items():
                (values,) = part.kept[name]
                if first is None:
                    write(_header("<f4", len(split), values.shape[1]))
                write(values.astype("<f4").tobytes())
            (features,) = part.kept["features"]
            first = features[:1] if first is None else first
            constant = constant and bool((features == first).all())
        if constant and len(split) > 1:
            raise BackboneError(
                f"{backbone.plan.path}: features are the same for all {len(split)} examples of "
                f"{split.name}; {_why_constant(backbone, split)}"
            )


def _why_constant(backbone: Backbone, split: Split) -> str:
    """What to do where a backbone gives the same for all examples of a split."""
    if not backbone.plan.text:
        return "check the preprocessing in the plan and the weights"
    read = tokens_of(backbone, split)
    if read.unknown == read.tokens:
        return (
            f"the tokenizer knows none of their {read.tokens} tokens: give the one that the "
            "backbone was trained with, or texts in its language"
        )
    return "check the tokenizer, max_tokens and pooling in the plan, and the weights"
