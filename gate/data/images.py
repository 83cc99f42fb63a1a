"""Images as arrays: decoded, turned, resized, in grey or in colour; and what is odd about them."""

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gate.data.resizing import resized
from gate.plan.backbone import SQUASHED, Resizing

# others have readers of little use and little care; that of EPS starts a program
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION = 0x0112  # the tag of EXIF and TIFF
_WIDE = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes of more than 8 bits
_STEP = 257  # 65,535 / 255


def decode(
    content: object,
    side: int | None = None,
    channels: int | None = None,
    resizing: Resizing = SQUASHED,
    *,
    turns: bool = False,
    scales: bool = False,
) -> NDArray[np.uint8] | None:
    """Pixels ``(H, W, C)`` of an image, or None where it is none.

    Args:
        content: Encoded bytes, or pixels ``(H, W)`` or ``(H, W, C)``.
        side: Height and width that it is resized to, in pixels; its own, unless stated.
        channels: 3 for RGB, 1 for grey; of bytes RGB and of pixels their own, unless stated.
        resizing: How it comes to that side.
        turns: Whether its EXIF orientation is applied, as Hugging Face's datasets does.
        scales: Whether grey of 16 bits is divided by 257; else it is clipped at 255, as Pillow
            does. Transparency is dropped, and palettes and CMYK are converted, as Pillow does.
    """
    if isinstance(content, bytes):
        return _decoded(content, side, channels, resizing, turns, scales)
    if not isinstance(content, np.ndarray):
        return None
    pixels = content if content.ndim == 3 else content[:, :, None]
    is_of_side = side is None or (pixels.shape[:2] == (side, side) and resizing.crop is None)
    if is_of_side and channels in (None, pixels.shape[2]):
        return pixels
    return _decoded(_encoded(pixels), side, channels, resizing, False, False)


def oddities(content: bytes) -> list[str]:
    """What a reader may not expect of an image; of most, the header alone is read.

    Returns:
        Some of "orientation", "16 bits" (grey, with values above 255), "transparency", "palette",
        "CMYK"; nothing for what does not decode.
    """
    from PIL import Image

    found = []
    with contextlib.suppress(Exception), Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        if is_tagged(opened):
            found.append("orientation")
        if opened.mode in _WIDE and float(np.asarray(opened).max()) > 255:
            found.append("16 bits")
        if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
            found.append("transparency")
        if opened.mode in ("P", "PA"):
            found.append("palette")
        if opened.mode == "CMYK":
            found.append("CMYK")
    return found


def is_tagged(opened: "Image.Image") -> bool:
    """Whether an image has an EXIF tag that turns it; Pillow turns a TIFF itself, for everybody."""
    return opened.format != "TIFF" and opened.getexif().get(_ORIENTATION, 1) in range(2, 9)


def format_of(content: object) -> str:
    """What to say of bytes that do not decode: their format, if it is one that is not read.

    Of other formats no reader is started: the first bytes tell.

    >>> format_of(b"%!PS-Adobe-3.0 EPSF-3.0")
    ', of format EPS, where PNG, JPEG, WEBP, TIFF, BMP, GIF are read'
    >>> format_of(b"not an image")
    ''
    """
    from PIL import Image

    if not isinstance(content, bytes):
        return ""
    with contextlib.suppress(Exception), Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        if opened.mode in _WIDE and np.asarray(opened).min() >= 255:
            return (
                ", which is grey of more than 8 bits and would be white all over, since Pillow "
                "clips at 255; say sixteen_bit: scale in the plan, or save it with 8 bits"
            )
    Image.init()
    for name in sorted(Image.OPEN.keys() - set(FORMATS)):
        accepts = Image.OPEN[name][1]
        with contextlib.suppress(Exception):  # some expect more bytes than there may be
            if accepts and accepts(content[:16]) is True:
                return f", of format {name}, where {', '.join(FORMATS)} are read"
    return ""


def _decoded(
    content: bytes,
    side: int | None,
    channels: int | None,
    resizing: Resizing,
    turns: bool,
    scales: bool,
) -> NDArray[np.uint8] | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            turned = ImageOps.exif_transpose(opened) if turns else opened
            if turned.mode in _WIDE:
                turned = _narrowed(turned, opened.format, scales)
            picture = turned.convert("L" if channels == 1 else "RGB")
    except Exception:  # Pillow's readers raise whatever damaged bytes make them raise
        return None
    if side:
        picture = resized(picture, side, resizing)
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _narrowed(picture: "Image.Image", form: str | None, scales: bool) -> "Image.Image":
    """Grey of more than 8 bits as 8 bits; one rule for all versions of Pillow.

    Raises:
        ValueError: Clipping would leave one even white of an image that shows something.
    """
    from PIL import Image

    values = np.asarray(picture)
    # a PNG has no more than 16 bits, whatever mode Pillow gives it
    if scales and (picture.mode.startswith("I;16") or form == "PNG"):
        values = values // _STEP
    elif 255 <= values.min() < values.max():
        raise ValueError("white all over")
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.save(buffer, "PNG")
    return buffer.getvalue()
