"""From images to the cells of a contact sheet."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from gate.arrays import Images, Int64
from gate.contact_sheets import LARGEST_SIDE, MOST_EXAMPLES, Cell, Example
from gate.data.split import Split
from gate.plan.backbone import Preprocessing

_EXACT_SIDE = 48  # up to which every pixel is shown as it is


def spread(wanted: NDArray[np.bool_]) -> Int64:
    """Places of a few of the examples that are wanted ``(N,)``, spread evenly over them.

    >>> spread(np.arange(30) % 3 == 0)
    array([ 0,  3,  6,  9, 15, 18, 21, 24])
    """
    places = np.flatnonzero(wanted)
    few = min(MOST_EXAMPLES, len(places))
    chosen: Int64 = places[np.arange(few) * len(places) // max(few, 1)]
    return chosen


def images_of(split: Split, rows: Int64, wanted: Preprocessing) -> Images:
    """Images ``(n, S, S, C)`` uint8 as a backbone takes them, before they are normalised.

    Args:
        split: N images.
        rows: Places ``(n,)`` in it, ascending.
        wanted: Their side and channels.
    """
    some = split.only(rows)
    blocks = some.batches(len(some), wanted.size, wanted.channels, wanted.resizing)
    return np.concatenate(list(blocks))


def examples_of(
    labels: Sequence[str], columns: Sequence[tuple[Images, Sequence[str] | None]]
) -> tuple[Example, ...]:
    """Rows of a sheet.

    Args:
        labels: Of the n examples.
        columns: Of each column its images ``(n, S, S, C)`` and what is predicted for them, if
            anything is.
    """
    return tuple(
        Example(
            label=label,
            cells=tuple(
                Cell(image=_uri(images[row]), prediction=said[row] if said else None)
                for images, said in columns
            ),
        )
        for row, label in enumerate(labels)
    )


def _uri(pixels: Images) -> str:
    """An image ``(S, S, C)`` as it is where it is small, else smaller and as JPEG."""
    from PIL import Image

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    file = BytesIO()
    if max(picture.size) <= _EXACT_SIDE:
        picture.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        picture.save(file, "JPEG", quality=75)
        kind = "jpeg"
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
