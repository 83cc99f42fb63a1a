"""Test images or texts that are nearly one of the training split: saved again, resized, retyped.

Equal digests find equal examples; a JPEG of the same image has another one. So each image leaves a
thumbnail of 64 bytes, and each text its letters and digits, from the pass that makes the digests.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from gate.arrays import Float32, Float64, Images, Int64

_SIDE = 8  # of a thumbnail, in pixels
_FLAT = 1.0  # grey levels: what varies by less shows nothing that could be compared
_NEAREST = 0.3  # distance of thumbnails of contrast 1; 2 at the most
# how much nearer than the fifth nearest: up to four copies in the training split hide none, and
# what all looks alike (one camera, digits) is not taken for copies of each other
_CROWD, _SHARE_OF_CROWD = 5, 1 / 3


class Pair(NamedTuple):
    """Places of a test example and of the training example that it nearly is."""

    test: int
    train: int


def sketch_of_image(pixels: Images) -> bytes:
    """A grey thumbnail of an image ``(H, W, C)``, whatever its size: 8 x 8 bytes.

    >>> sketch_of_image(np.full((20, 30, 3), 7, np.uint8)) == bytes([7] * 64)
    True
    """
    from PIL import Image

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("L")
    return picture.resize((_SIDE, _SIDE), Image.Resampling.BOX).tobytes()


def sketch_of_text(text: str) -> bytes:
    """A digest of what is left of a text without case, blanks and punctuation.

    >>> sketch_of_text("It's  fine.") == sketch_of_text("its fine") != sketch_of_text("it is fine")
    True
    """
    letters = re.sub(r"[\W_]+", "", text.casefold())
    return hashlib.sha256((letters or text).encode()).digest()  # a text may be all smileys


def near_duplicates(
    kind: Literal["image", "text"], train: Sequence[bytes], test: Sequence[bytes]
) -> list[Pair]:
    """Test examples that nearly are a training example, in their order, by sketches of both.

    Texts are if their sketches are equal. Images are if thumbnails, less their mean and divided by
    their length, lie within 0.3 of each other, and a third as far as the fifth nearest one does.

    Args:
        kind: Of what the sketches are.
        train: One sketch a training example.
        test: One sketch a test example.
    """
    if kind == "text":
        places = {sketch: place for place, sketch in reversed(list(enumerate(train)))}
        return [Pair(place, places[each]) for place, each in enumerate(test) if each in places]
    (train_rows, of_train), (test_rows, of_test) = _contrasts(train), _contrasts(test)
    if not len(train_rows) or not len(test_rows):  # all are flat
        return []
    distances, neighbours = _neighbours(of_train, of_test)
    near = distances[:, 0] <= _NEAREST
    if len(train_rows) >= _CROWD:
        near &= distances[:, 0] < _SHARE_OF_CROWD * distances[:, -1]
    return [
        Pair(int(test_rows[row]), int(train_rows[neighbours[row, 0]]))
        for row in np.flatnonzero(near)
    ]


def _contrasts(sketches: Sequence[bytes]) -> tuple[Int64, Float32]:
    """Rows that are not flat, and their thumbnails with mean 0 and length 1."""
    flat = np.frombuffer(b"".join(sketches), np.uint8)
    thumbnails = flat.reshape(len(sketches), -1).astype(np.float32)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    rows = np.flatnonzero(thumbnails.std(axis=1) >= _FLAT)
    shown = thumbnails[rows]
    return rows, shown / np.linalg.norm(shown, axis=1, keepdims=True)


def _neighbours(train: Float32, test: Float32) -> tuple[Float64, Int64]:
    """Distances of the nearest training thumbnails of each test thumbnail, and their places."""
    from sklearn.neighbors import NearestNeighbors

    count = min(_CROWD, len(train))
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(train)
    distances, places = search.kneighbors(test)
    return distances, places
