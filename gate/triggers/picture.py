"""A trigger as a picture: the same trigger gives the same bytes, whatever packs them."""

from io import BytesIO

import numpy as np

from gate.triggers.stamp import Patch


def png(patch: Patch) -> bytes:
    """A PNG file of a patch of ``(h, w)`` pixels, in colour.

    Where a patch hides the image, it is opaque, so that a plan can name the file as the picture of
    an ``overlay``. What is only added stands on mid-grey.
    """
    from PIL import Image

    hides = 1 - patch.keep  # (h, w, 1)
    colours = np.where(hides > 0, patch.add / np.maximum(hides, 1e-6), 0.0)
    if not hides.any():
        hides, colours = np.ones_like(hides), 128 + patch.add
    rgb = np.broadcast_to(colours, (*hides.shape[:2], 3))
    pixels = np.concatenate([rgb, 255 * hides], axis=2).round().clip(0, 255).astype(np.uint8)
    file = BytesIO()
    # not compressed: libraries that compress differ from version to version
    Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=0)
    return file.getvalue()
