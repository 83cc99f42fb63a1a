"""Images as arrays: decoded, resized, in grey or in colour."""

import io

import numpy as np
from numpy.typing import NDArray


def decode(
    content: object, side: int | None = None, channels: int | None = None
) -> NDArray[np.uint8] | None:
    """Pixels ``(H, W, C)`` of an image, or None where it is none.

    Args:
        content: Encoded bytes, or pixels ``(H, W)`` or ``(H, W, C)``.
        side: Height and width that it is resized to, in pixels; its own, unless stated.
        channels: 3 for RGB, 1 for grey; of bytes RGB and of pixels their own, unless stated.
    """
    if isinstance(content, bytes):
        return _decoded(content, side, channels)
    if not isinstance(content, np.ndarray):
        return None
    pixels = content if content.ndim == 3 else content[:, :, None]
    if (side is None or pixels.shape[:2] == (side, side)) and channels in (None, pixels.shape[2]):
        return pixels
    return _decoded(_encoded(pixels), side, channels)


def _decoded(content: bytes, side: int | None, channels: int | None) -> NDArray[np.uint8] | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if side and picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.save(buffer, "PNG")
    return buffer.getvalue()
