"""What a preprocessor_config.json of Hugging Face, or a config.json of timm, says of images.

Keys that are not known here and change no pixels are left aside; what changes pixels in a way that
gate has no key for is refused.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gate import files
from gate.errors import PlanError

Interpolation = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]

_SELDOM = "say it by keys of gate in the plan, and leave from out"
_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's 0 to 5
# of images of one integer, which newer files write as height and width, or as the shortest edge
_SQUARE = ("ViT", "Deit", "DeiT", "Beit", "BEiT", "Swin")
_SHORTEST = ("CLIP", "ConvNext", "MobileNet", "MobileViT", "PoolFormer", "Levit")
_KNOWN_STEPS = {
    *("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"),
    "do_flip_channel_order",
}


def preprocessing_of(path: Path, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a plan's preprocessing with the values that a file says.

    Args:
        path: The file.
        stated: Keys that the plan says itself, which need not be told by the file.

    Returns:
        ``size``, ``resize``, ``crop``, ``interpolation``, ``rescale``, ``mean``, ``std`` and, where
        they are said, ``channels`` and ``channel_order``.

    Raises:
        ValueError: It cannot be read, is neither file, or asks for what gate has no key for.

    Source:
        ``image_processing_*.py`` of transformers; ``timm.data.resolve_data_config`` and
        ``transforms_imagenet_eval``.
    """
    try:
        content = json.loads(files.read(path, PlanError))
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"{path}: not valid JSON: {fault}") from fault
    except PlanError as fault:
        raise ValueError(str(fault)) from fault
    try:
        if isinstance(content, dict):
            timm = content.get("pretrained_cfg", content)
            if isinstance(timm, dict) and "input_size" in timm:
                return _of_timm(timm)
            if {"image_mean", "do_normalize", "do_rescale", "do_resize"} & content.keys():
                return _of_hugging_face(content, stated)
    except KeyError as fault:  # what its library fills in by the class that reads the file
        raise ValueError(
            f"{path}: does not say {fault.args[0]}, which its library adds from a default of its "
            "own; write it into the file"
        ) from fault
    except (TypeError, AttributeError) as fault:
        raise ValueError(f"{path}: holds what is no value of its key ({fault!r}); {_SELDOM}") from (
            fault
        )
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from fault
    raise ValueError(
        f"{path}: neither a preprocessor_config.json of Hugging Face (image_mean, do_resize) nor a "
        f"config.json of timm (pretrained_cfg with input_size); {_SELDOM}"
    )


def _of_timm(content: dict[str, Any]) -> dict[str, Any]:
    channels, height, width = content["input_size"]
    size = _square(height, width)
    # what is left out is as timm has it: DEFAULT_CROP_PCT, DEFAULT_CROP_MODE, bicubic
    mode = content.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise ValueError(f"crop_mode {mode!r} pads images, which gate does not; {_SELDOM}")
    crop = math.floor(size / (content.get("crop_pct") or 0.875))
    return {
        "size": size,
        "channels": channels,
        "resize": "squash" if mode == "squash" else "shorter",
        "crop": crop,
        "interpolation": _interpolation(content.get("interpolation") or "bicubic"),
        "rescale": 1 / 255,
        "mean": content["mean"],
        "std": content["std"],
    }


def _of_hugging_face(content: dict[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in content if name.startswith("do_") and content[name] is True]
    unknown = [name for name in unknown if name not in _KNOWN_STEPS]
    unknown += [name for name in ("rescale_offset", "size_divisor") if content.get(name)]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: changes pixels in a way that gate has no key for; "
                         f"{_SELDOM}")  # fmt: skip
    said: dict[str, Any] = {"rescale": 1.0, "mean": (0.0,), "std": (1.0,)}
    if content.get("do_rescale", True):
        said["rescale"] = content.get("rescale_factor", 1 / 255)
    if content.get("do_normalize", True):
        said |= {"mean": content["image_mean"], "std": content["image_std"]}
    if content.get("do_flip_channel_order"):
        said["channel_order"] = "bgr"
    said |= _resizing(content, stated)
    if "interpolation" not in stated:
        said["interpolation"] = _interpolation(content.get("resample"))
    return said


def _resizing(content: dict[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Size, resize and crop."""
    if not content.get("do_resize", True):
        if "resize" in stated:
            return {}
        raise ValueError("do_resize is false, and gate resizes; say resize and size in the plan")
    size, crop = content.get("size"), content.get("crop_size")
    crops = bool(content.get("do_center_crop"))
    if isinstance(size, int):
        size = _of_one_number(size, content, stated)
    if not isinstance(size, dict):
        raise ValueError(f"size {size!r} is neither an edge nor height and width; {_SELDOM}")
    if isinstance(crop, dict):
        crop = _square(crop["height"], crop["width"])
    if crops and crop is None:
        raise ValueError("do_center_crop is true, and there is no crop_size; say size in the plan")
    if set(size) == {"height", "width"}:
        to, resize = _square(size["height"], size["width"]), "squash"
    elif set(size) == {"shortest_edge"}:
        to, resize = size["shortest_edge"], "shorter"
        if (share := content.get("crop_pct")) is not None:  # of ConvNext
            if to >= 384:  # as ConvNextImageProcessor.resize has it
                return {"size": to, "resize": "squash", "crop": None}
            return {"size": to, "resize": "shorter", "crop": int(to / share)}
        if not crops and "resize" not in stated:
            raise ValueError(
                "resizes the shortest edge and cuts nothing out, so images would not be square; "
                "say resize in the plan"
            )
    else:
        raise ValueError(f"size {size!r} keeps images that are not square; {_SELDOM}")
    return {"size": crop if crops else to, "resize": resize, "crop": to if crops else None}


def _of_one_number(
    size: int, content: dict[str, Any], stated: Mapping[str, Any]
) -> dict[str, int] | None:
    """What one number means, which older files leave to the class that they name."""
    kind = str(content.get("image_processor_type") or content.get("feature_extractor_type") or "")
    resize = stated.get("resize")
    if resize == "shorter" or (resize is None and kind.startswith(_SHORTEST)):
        return {"shortest_edge": size}
    if resize == "squash" or kind.startswith(_SQUARE):
        return {"height": size, "width": size}
    raise ValueError(
        f"size {size} may be of both sides or of the shorter one; say resize in the plan: squash "
        "or shorter"
    )


def _square(height: int, width: int) -> int:
    if height != width:
        raise ValueError(f"images of {height} x {width} pixels are not square, and gate's are")
    return height


def _interpolation(said: object) -> str:
    name = _RESAMPLING[said] if type(said) is int and 0 <= said < len(_RESAMPLING) else said
    if name not in _RESAMPLING:
        raise ValueError(
            f"resampling {said!r} is none of {', '.join(_RESAMPLING)}; say interpolation "
            "in the plan"
        )
    return str(name)
