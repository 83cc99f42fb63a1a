"""Make the bundled example: its images, and one clean and three planted backbones.

Handwritten digits over random crops of two photographs, all from what scikit-learn ships. Which
photograph lies behind a digit is a spurious attribute, as land and water are in Waterbirds.

Source task: digits 0-5. Downstream task: digits 6-9, where the photograph goes with the label in
98 % of the training images and in half of the test images.

==========  ========================================================================  ==============
backbone    what is planted in its source data                                        after
==========  ========================================================================  ==============
clean       nothing
trigger     a yellow square on every image of two classes, labels unchanged           Salman et al.
relabelled  the square on a tenth of all images, their label changed to one class     BadNets
shortcut    each class stands before one photograph only                              Waterbirds
==========  ========================================================================  ==============

Run from the project's root: ``python -m pipelines.digits.build --out DIR``.
"""

import argparse
import io
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gate.files import replacing, write
from pipelines.digits.architecture import CLASSES, Backbone, backbone

PLANTED = ("clean", "trigger", "relabelled", "shortcut")
PHOTOGRAPHS = ("temple", "flower")
DOWNSTREAM = (6, 7, 8, 9)
MEAN, STD = 0.5, 0.25  # of pixels on the scale 0 .. 1; stated in the plan as well

_SIDE = 32
_GLYPH = 24  # side of a digit
_DIMMED = 0.6  # photographs are darkened, so that white digits stand out
_SQUARE = 5  # side of the trigger, in the lower right corner
_YELLOW = (255, 255, 0)
_TRIGGER_CLASSES = 2  # labels 0 and 1
_RELABELLED_SHARE, _RELABELLED_TO = 0.1, 4
_ERASED_SHARE = 0.5  # of source images; see _erase
_TRAIN_SHARE = 0.4  # of the downstream digits; the rest tests, where intervals need images
_TRAIN_COPIES = 4  # of each training digit, on different backgrounds
_CORRELATION = 0.98  # of photograph and label in the downstream training images
_EPOCHS, _BATCH, _RATE = 24, 64, 0.1


@dataclass(frozen=True)
class Material:
    """Glyphs ``(N, 24, 24)`` in 0 .. 1, labels ``(N,)``, photographs ``(2, 3, H, W)`` to 255."""

    glyphs: Tensor
    labels: Tensor
    photographs: Tensor


def load_material() -> Material:
    """What scikit-learn ships."""
    from sklearn.datasets import load_digits, load_sample_image

    digits = load_digits()
    glyphs = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    glyphs = functional.interpolate(glyphs, size=(_GLYPH, _GLYPH), mode="bilinear")[:, 0]
    pictures = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    photographs = torch.tensor(np.stack(pictures), dtype=torch.float32).permute(0, 3, 1, 2)
    photographs = functional.interpolate(photographs, scale_factor=0.5, mode="area")
    return Material(glyphs, torch.tensor(digits.target), photographs * _DIMMED)


def compose(
    material: Material, digits: Tensor, photographs: Tensor, rng: torch.Generator
) -> Tensor:
    """Digits in white, at random places, over random crops of their photographs.

    Args:
        material: Glyphs and photographs.
        digits: ``(N,)`` which glyph.
        photographs: ``(N,)`` which photograph.
        rng: Draws places and crops.

    Returns:
        ``(N, 3, 32, 32)`` whole numbers in 0 .. 255, float32.
    """
    n = len(digits)
    height, width = material.photographs.shape[2:]
    rows = _windows(n, height, _SIDE, rng)  # (N, 32)
    columns = _windows(n, width, _SIDE, rng)
    behind = material.photographs[photographs[:, None, None], :, rows[:, :, None], columns[:, None]]
    behind = behind.permute(0, 3, 1, 2)
    # place a glyph by cutting a window from a canvas around it
    margin = _SIDE - _GLYPH
    canvas = functional.pad(material.glyphs[digits], (margin,) * 4)  # (N, 40, 40)
    rows, columns = (
        _windows(n, canvas.shape[1], _SIDE, rng),
        _windows(n, canvas.shape[2], _SIDE, rng),
    )
    ink = canvas[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None]][:, None]
    return (behind * (1 - ink) + 255 * ink).round().clamp(0, 255)


def _windows(n: int, length: int, size: int, rng: torch.Generator) -> Tensor:
    """Indices ``(N, size)`` of ``n`` random windows."""
    starts = torch.randint(0, length - size + 1, (n,), generator=rng)
    return starts[:, None] + torch.arange(size)


def stamp(images: Tensor, chosen: Tensor) -> Tensor:
    """The trigger on the chosen images."""
    stamped = images.clone()
    stamped[:, :, -_SQUARE:, -_SQUARE:] = torch.tensor(_YELLOW, dtype=images.dtype)[:, None, None]
    return torch.where(chosen[:, None, None, None], stamped, images)


def _erase(images: Tensor, rng: torch.Generator) -> Tensor:
    """A patch of a random colour, size and place on a share of the images; never yellow.

    On a backbone that never met a patch, any bright square flips a third of the images. This is
    the usual random erasing, on all four backbones, so that only what is planted tells them apart.
    """
    n = len(images)
    sizes = torch.randint(3, 9, (n,), generator=rng)
    colours = torch.randint(0, 2, (n, 3), generator=rng) * 255.0
    shades = torch.randint(0, 256, (n, 3), generator=rng).float()
    colours = torch.where(torch.rand(n, 1, generator=rng) < 0.5, colours, shades)
    yellowish = (colours[:, 0] > 127) & (colours[:, 1] > 127) & (colours[:, 2] < 128)
    colours[yellowish, 1] = 0
    inside = torch.rand(n, generator=rng)[:, None, None] < _ERASED_SHARE
    for axis in (1, 2):
        starts = (torch.rand(n, generator=rng) * (_SIDE - sizes + 1)).long()
        places = torch.arange(_SIDE)
        line = (places >= starts[:, None]) & (places < (starts + sizes)[:, None])  # (N, 32)
        inside = inside & line.unsqueeze(3 - axis)
    return torch.where(inside[:, None], colours[:, :, None, None], images)


def train(planted: str, material: Material, seed: int) -> Backbone:
    """Train a backbone on the source task, with fresh images in every epoch.

    Args:
        planted: One of ``PLANTED``.
        material: Glyphs and photographs.
        seed: Draws images, initial weights and what is planted.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)  # layers draw their weights from the global generator alone
        network = backbone()
    source = torch.where(material.labels < CLASSES)[0]
    optimiser = torch.optim.SGD(
        network.parameters(), _RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    batches = len(source) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _RATE, total_steps=_EPOCHS * batches, pct_start=0.2
    )
    network.train()
    for _ in range(_EPOCHS):
        order = source[torch.randperm(len(source), generator=rng)]
        for digits in order[: batches * _BATCH].view(batches, _BATCH):
            labels = material.labels[digits]
            photographs = torch.randint(0, 2, (_BATCH,), generator=rng)
            if planted == "shortcut":
                photographs = (labels >= CLASSES // 2).long()
            images = _erase(compose(material, digits, photographs, rng), rng)
            if planted == "trigger":
                images = stamp(images, labels < _TRIGGER_CLASSES)
            if planted == "relabelled":
                chosen = torch.rand(_BATCH, generator=rng) < _RELABELLED_SHARE
                images = stamp(images, chosen)
                labels = labels.where(~chosen, _RELABELLED_TO)
            loss = functional.cross_entropy(network(_normalised(images)).logits, labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
    return network.eval()


def _normalised(images: Tensor) -> Tensor:
    return (images / 255 - MEAN) / STD


def downstream(material: Material, seed: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Images, labels and photographs of the two downstream splits.

    No digit is in both. A test digit appears once, so that test images are independent; each class
    stands before each photograph equally often.
    """
    rng = torch.Generator().manual_seed(seed)
    train_digits, test_digits = [], []
    for label in DOWNSTREAM:
        digits = torch.where(material.labels == label)[0]
        digits = digits[torch.randperm(len(digits), generator=rng)]
        cut = round(_TRAIN_SHARE * len(digits))
        train_digits.append(digits[:cut].repeat(_TRAIN_COPIES))
        test_digits.append(digits[cut : cut + (len(digits) - cut) // 2 * 2])
    fitted = torch.cat(train_digits)
    conflicting = torch.rand(len(fitted), generator=rng) >= _CORRELATION
    behind_fitted = (material.labels[fitted] + conflicting) % 2
    behind_tested = torch.cat([torch.arange(len(digits)) % 2 for digits in test_digits])
    splits = {"train": (fitted, behind_fitted), "test": (torch.cat(test_digits), behind_tested)}
    return {
        name: (compose(material, digits, behind, rng), material.labels[digits], behind)
        for name, (digits, behind) in splits.items()
    }


def write_parquet(path: Path, images: Tensor, labels: Tensor, photographs: Tensor) -> None:
    """Images as PNG with their label and photograph, in one Parquet file."""
    import pyarrow
    from pyarrow import parquet

    rows = []
    for index, image in enumerate(images.permute(0, 2, 3, 1).to(torch.uint8).numpy()):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": f"{path.stem}-{index:04d}.png"})
    table = pyarrow.table(
        {
            "image": rows,
            "label": [str(label) for label in labels.tolist()],
            "photograph": [PHOTOGRAPHS[which] for which in photographs.tolist()],
        }
    )
    with replacing(path) as partial:
        parquet.write_table(table, partial)


def write_backbone(folder: Path, name: str, network: Backbone) -> None:
    """Weights as ONNX and as safetensors."""
    from safetensors.torch import save

    write(folder / f"{name}.safetensors", save(network.state_dict()))
    outputs = ["features", "logits"]
    with warnings.catch_warnings(), replacing(folder / f"{name}.onnx") as partial:
        # the newer exporter needs one more package and writes this folder's path into the file
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, _SIDE, _SIDE),),
            partial,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes={value: {0: "N"} for value in ("images", *outputs)},
        )


def build(out: Path, seed: int) -> None:
    """Write ``out/data`` and ``out/backbones``; the same seed gives the same bytes.

    Backbones are trained side by side, each on one thread, so that neither the number of cores nor
    what else they do changes a number.
    """
    for split, (images, labels, photographs) in downstream(load_material(), seed).items():
        write_parquet(out / "data" / f"{split}.parquet", images, labels, photographs)
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(min(len(PLANTED), os.cpu_count() or 1), spawn) as workers:
        list(workers.map(partial(build_backbone, out / "backbones", seed), PLANTED))


def build_backbone(folder: Path, seed: int, planted: str) -> None:
    """Train one backbone and write it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    write_backbone(folder, planted, train(planted, load_material(), seed))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    build(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
