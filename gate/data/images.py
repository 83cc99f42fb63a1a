"""Images as arrays: decoded, resized, in grey or in colour."""

import contextlib
import io

import numpy as np
from numpy.typing import NDArray

from gate.data.resizing import resized
from gate.plan.backbone import SQUASHED, Resizing

# others have readers of little use and little care; that of EPS starts a program
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")


def decode(
    content: object,
    side: int | None = None,
    channels: int | None = None,
    resizing: Resizing = SQUASHED,
) -> NDArray[np.uint8] | None:
    """Pixels ``(H, W, C)`` of an image, or None where it is none.

    Args:
        content: Encoded bytes, or pixels ``(H, W)`` or ``(H, W, C)``.
        side: Height and width that it is resized to, in pixels; its own, unless stated.
        channels: 3 for RGB, 1 for grey; of bytes RGB and of pixels their own, unless stated.
        resizing: How it comes to that side.
    """
    if isinstance(content, bytes):
        return _decoded(content, side, channels, resizing)
    if not isinstance(content, np.ndarray):
        return None
    pixels = content if content.ndim == 3 else content[:, :, None]
    is_of_side = side is None or (pixels.shape[:2] == (side, side) and resizing.crop is None)
    if is_of_side and channels in (None, pixels.shape[2]):
        return pixels
    return _decoded(_encoded(pixels), side, channels, resizing)


def format_of(content: object) -> str:
    """What to say of bytes that do not decode: their format, if it is one that is not read.

    No reader is started: the first bytes tell.

    >>> format_of(b"%!PS-Adobe-3.0 EPSF-3.0")
    ', of format EPS, where PNG, JPEG, WEBP, TIFF, BMP, GIF are read'
    >>> format_of(b"not an image")
    ''
    """
    from PIL import Image

    if not isinstance(content, bytes):
        return ""
    Image.init()
    for name in sorted(Image.OPEN.keys() - set(FORMATS)):
        accepts = Image.OPEN[name][1]
        with contextlib.suppress(Exception):  # some expect more bytes than there may be
            if accepts and accepts(content[:16]) is True:
                return f", of format {name}, where {', '.join(FORMATS)} are read"
    return ""


def _decoded(
    content: bytes, side: int | None, channels: int | None, resizing: Resizing
) -> NDArray[np.uint8] | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
    except Exception:  # Pillow's readers raise whatever damaged bytes make them raise
        return None
    if side:
        picture = resized(picture, side, resizing)
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.save(buffer, "PNG")
    return buffer.getvalue()
