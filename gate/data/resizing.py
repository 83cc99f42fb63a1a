"""From an image of any size to a square, as torchvision's Resize and CenterCrop do it."""

from typing import TYPE_CHECKING

from gate.plan.backbone import Resizing

if TYPE_CHECKING:
    from PIL import Image


def resized(picture: "Image.Image", side: int, resizing: Resizing) -> "Image.Image":
    """A picture of ``side`` x ``side`` pixels.

    Source:
        ``torchvision.transforms.functional``: ``_compute_resized_output_size`` and ``center_crop``.
    """
    from PIL import Image

    width, height = picture.size
    to = resizing.crop or side
    wanted = to, to
    if resizing.resize == "shorter":
        shorter = min(width, height)
        wanted = int(to * width / shorter), int(to * height / shorter)
    if wanted != picture.size:
        picture = picture.resize(wanted, Image.Resampling[resizing.interpolation.upper()])
    left, top = (round((length - side) / 2) for length in wanted)
    if wanted != (side, side):
        picture = picture.crop((left, top, left + side, top + side))
    return picture
