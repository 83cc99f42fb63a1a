"""Images of odd kinds are decoded as their ecosystem's loader does, and that is said."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from gate.data.images import decode
from gate.errors import DataError
from tests.data.test_layouts import tar, write
from tests.data.test_split import opened, read

COLOURS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
WIDE = np.array([[0, 100, 255, 256], [1000, 30_000, 65_279, 65_535]], np.uint16).repeat(4, 0)


def encoded(picture: Image.Image, form: str = "PNG", orientation: int | None = None) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    picture.save(buffer, form, **({"exif": exif} if orientation else {}))
    return buffer.getvalue()


def folder(path: Path, contents: list[bytes], listed: bool) -> Path:
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        write(path / name, content)
    if listed:
        rows = [f"{name},{name[0]}\n" for name in names]
        write(path / "metadata.csv", "".join(["file_name,label\n", *rows]))
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_by_its_tag_as_hugging_face_does_or_left_as_torchvision_does(
    orientation: int,
) -> None:
    content = encoded(Image.fromarray(COLOURS), "PNG", orientation)
    with Image.open(io.BytesIO(content)) as picture:
        theirs = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))

    turned, stored = decode(content, turns=True), decode(content)

    assert turned is not None
    assert stored is not None
    np.testing.assert_array_equal(turned, theirs)
    np.testing.assert_array_equal(stored, COLOURS)


def test_each_layout_turns_images_as_its_loader_does_and_says_so(tmp_path: Path) -> None:
    upright = encoded(Image.fromarray(COLOURS))
    sideways = encoded(Image.fromarray(np.rot90(COLOURS)), "PNG", 6)  # to be turned clockwise
    contents = [sideways, upright]
    theirs = folder(tmp_path / "metadata", contents, listed=True)
    classes = folder(tmp_path / "classes", contents, listed=False)
    shard = tar(
        tmp_path / "x.tar",
        {"a.png": sideways, "a.cls": b"a", "b.png": upright, "b.cls": b"b"},
    )
    cases: list[tuple[dict[str, Any], bool, str]] = [
        (
            {"path": theirs},
            True,
            "turned by it, as Hugging Face's datasets does; say orientation: s",
        ),
        (
            {"path": classes},
            False,
            "left as they are stored, as torchvision does; say orientation: e",
        ),
        ({"path": shard}, False, "left as they are stored, as webdataset does"),
        (
            {"path": theirs, "orientation": "stored"},
            False,
            "left as they are stored, as the plan sa",
        ),
        ({"path": classes, "orientation": "exif"}, True, "turned by it, as the plan says"),
    ]
    for plan, is_turned, says in cases:
        split = opened(**plan, attributes=[])

        np.testing.assert_array_equal(read(split)[1], COLOURS)
        assert np.array_equal(read(split)[0], COLOURS) == is_turned
        assert len(split.remarks) == 1
        assert split.remarks[0].startswith(
            "test: 1 of 2 images have an EXIF orientation tag, and we"
        )
        assert says in split.remarks[0]


def test_orientation_is_part_of_the_digest(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", [encoded(Image.fromarray(COLOURS))] * 2, listed=True)
    digests = {opened(path=path, attributes=[], orientation=o).digest for o in ("exif", "stored")}

    assert len(digests) == 2


def test_grey_of_16_bits_is_clipped_as_pillow_does_and_said_or_scaled(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(WIDE))
    path = folder(tmp_path / "x", [content, encoded(Image.fromarray(COLOURS))], listed=False)

    clipped = opened(path=path, attributes=[])
    scaled = opened(path=path, attributes=[], sixteen_bit="scale")

    with Image.open(io.BytesIO(content)) as picture:
        pillows = np.asarray(picture.convert("RGB"))
    first = decode(content)
    assert first is not None
    np.testing.assert_array_equal(first, pillows)
    exact = decode(content, scales=True)
    assert exact is not None
    np.testing.assert_array_equal(exact[..., 0], WIDE // 257)
    assert (
        "1 of 2 images are grey of more than 8 bits, and all above 255 became white"
        in (clipped.remarks[0])
    )
    assert "were divided by 257" in scaled.remarks[0]


def test_an_image_that_clipping_would_make_white_all_over_is_refused(tmp_path: Path) -> None:
    wide = Image.fromarray(np.maximum(WIDE, 300))
    contents = [encoded(wide), encoded(Image.fromarray(COLOURS))]
    path = folder(tmp_path / "x", contents, listed=False)

    with pytest.raises(DataError, match=r"white all over, .*; say sixteen_bit: scale"):
        read(opened(path=path, attributes=[]))
    assert len(read(opened(path=path, attributes=[], sixteen_bit="scale"))) == 2


@pytest.mark.parametrize(
    ("mode", "form", "says"),
    [
        ("RGBA", "PNG", "transparency, which was dropped"),
        ("LA", "PNG", "transparency, which was dropped"),
        ("P", "PNG", "a palette, and were converted"),
        ("CMYK", "JPEG", "CMYK, and were converted to RGB without a colour profile"),
    ],
)
def test_other_modes_are_converted_as_pillow_does_and_counted(
    mode: str, form: str, says: str, tmp_path: Path
) -> None:
    content = encoded(Image.fromarray(COLOURS).convert(mode), form)
    path = folder(tmp_path / "x", [content, encoded(Image.fromarray(COLOURS))], listed=False)
    with Image.open(io.BytesIO(content)) as picture:
        theirs = np.asarray(picture.convert("RGB"))

    split = opened(path=path, attributes=[])

    np.testing.assert_array_equal(read(split)[0], theirs)
    assert split.remarks[0].startswith(
        f"test: 1 of 2 images {'are' if mode == 'CMYK' else 'have'} "
    )
    assert says in split.remarks[0]


def test_plain_images_leave_no_remark(tmp_path: Path) -> None:
    contents = [encoded(Image.fromarray(COLOURS), form) for form in ("PNG", "JPEG")]

    assert opened(path=folder(tmp_path / "x", contents, listed=True), attributes=[]).remarks == ()
