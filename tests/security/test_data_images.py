"""Hostile images: none starts a program, and none is more than an image that does not decode."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from gate.data.images import FORMATS, decode
from gate.errors import DataError
from tests.security.test_data_tables import RED, colours, stored, write_parquet

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(run) print
showpage
%%EOF
"""
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def encoded(form: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, form)
    return buffer.getvalue()


def test_postscript_starts_no_program_and_is_refused_by_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", stored(RED, EPS))
    program = (
        "import sys\n"
        "started = []\n"
        "sys.addaudithook(lambda name, told: started.append(told) if name in "
        "('subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn') else None)\n"
        "from tests.security.test_data_tables import *\n"
        "try: colours(Path(sys.argv[1]))\n"
        "except DataError as fault: print(fault)\n"
        "print(started)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )

    says, started = done.stdout.splitlines()
    assert "1 of 2 images do not decode, the first is row 1, of format EPS, where PNG, JPEG" in says
    assert started == "[]"


@pytest.mark.parametrize(
    "form", ["DDS", "AVIF", "ICO", "SGI", "JPEG2000", "PPM", "ICNS", "PCX", "PDF", "TGA", "BLP"]
)
def test_a_format_that_is_not_read_is_refused(form: str, tmp_path: Path) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    mode = {"BLP": "P"}.get(form, "RGB")
    path = write_parquet(tmp_path / "t.parquet", stored(RED, encoded(form, mode)))

    with pytest.raises(DataError, match="1 of 2 images do not decode, the first is row 1") as fault:
        colours(path)

    if form not in ("PDF", "TGA"):  # Pillow reads none, and knows no first bytes
        assert f"of format {form}" in str(fault.value)


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_that_is_read_gives_the_first_frame(form: str) -> None:
    pixels = decode(encoded(form))

    assert pixels is not None
    assert pixels.shape == (16, 16, 3)
    if form in ("GIF", "TIFF", "WEBP"):
        frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
        buffer = io.BytesIO()
        options = {"lossless": True} if form == "WEBP" else {}
        frames[0].save(buffer, form, save_all=True, append_images=frames[1:], **options)
        first = decode(buffer.getvalue())
        assert first is not None
        np.testing.assert_array_equal(first, pixels if form == "GIF" else PIXELS)


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_bytes_are_an_image_or_none_and_never_raise(form: str) -> None:
    rng = np.random.default_rng(7)
    whole = encoded(form)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 8)):
            damaged[place] = rng.integers(256)
        decode(bytes(damaged[: rng.integers(1, len(damaged) + 1)]), 8, 3)


def test_an_image_of_more_pixels_than_memory_is_none() -> None:
    header = bytearray(encoded("BMP"))
    header[18:26] = (60_000).to_bytes(4, "little") * 2

    assert decode(bytes(header)) is None
