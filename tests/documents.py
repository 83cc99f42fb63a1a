"""The README and the pages of docs/: blocks, links, headings, and a folder to try them in."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas
import yaml
from onnx import helper, numpy_helper
from PIL import Image

from tests import tiny_text
from tests.conftest import ROOT
from tests.planted import planted

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
# a digest and a day that a page may name, and what they are in the folder
_BACKBONE, _DAY = re.compile(r"sha256:0{64}"), re.compile(r"(?<=expires: )\d{4}-\d\d-\d\d")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def lines(page: str) -> list[str]:
    """The commands of a page, one line each, with their comments."""
    joined = "".join(blocks(page, "console")).replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line.removeprefix("$ ")) for line in joined.splitlines()]


def prose(page: str) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """What links may name on a page: its headings, as forges and Sphinx call them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[str]:
    """Where the links of a page lead, but for those into the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if "://" not in target]


def files_of(page: str) -> Iterator[tuple[str, str]]:
    """The YAML blocks of a page whose first line is the name of a file, with that name."""
    for block in blocks(page, "yaml"):
        if named := re.match(r"# (\S+\.yaml)\n", block):
            yield named[1], block


def write_folder(folder: Path, backbone: str, day: str) -> None:
    """Put all that the pages name into a folder: plans and policies as they stand there.

    Args:
        folder: It is there, and empty but for ``model.onnx``.
        backbone: Digest of that model, which waivers are for.
        day: On which waivers end.
    """
    shutil.copytree(ROOT / "policies", folder / "policies")
    for page in PAGES:
        for name, block in files_of(page):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_DAY.sub(day, _BACKBONE.sub(backbone, block)))
    write_model(folder / "other.onnx", scale=1.5)
    settings = {
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "resample": 3,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    (folder / "checkpoints").mkdir()
    for step in (1, 2, 3):
        write_model(folder / "checkpoints" / f"step{step}.onnx", scale=float(step))
    _write_images(folder / "data")
    _write_texts(folder)
    _write_logits(folder)


def write_model(path: Path, scale: float = 1.0) -> Path:
    """A backbone that takes images of any size: a convolution, and a mean over places."""
    weight = np.random.default_rng(7).normal(size=(8, 3, 16, 16)).astype(np.float32) * scale
    value, images = helper.make_tensor_value_info, ("N", 3, "H", "W")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "weight"], ["map"], strides=[16, 16]),
            helper.make_node("ReduceMean", ["map"], ["features"], axes=[2, 3], keepdims=0),
        ],
        "small",
        [value("images", onnx.TensorProto.FLOAT, images)],
        [value("features", onnx.TensorProto.FLOAT, ("N", 8))],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    path.write_bytes(model)
    return path


def _write_images(data: Path) -> None:
    """Red and blue images over two backgrounds that say nothing of the class, as two splits."""
    for seed, n in enumerate((80, 120)):
        rng, rows = np.random.default_rng(seed), []
        images = data / ("train", "images-of-test")[seed]
        images.mkdir(parents=True)
        for index in range(n):
            pixels = rng.integers(0, 30, (16, 16, 3))
            pixels[:, :, 2 * (index % 2)] += 180
            pixels[12:] += 40 * (index // 2 % 2)
            name = f"{index}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(images / name)
            names = ("crow", "finch")[index % 2], ("land", "sea")[index // 2 % 2]
            rows.append((name, *names))
            if seed == 0:  # the same as class folders
                of_class = data.parent / "images" / names[0]
                of_class.mkdir(parents=True, exist_ok=True)
                shutil.copy(images / name, of_class)
        table = pandas.DataFrame(rows, columns=["file_name", "label", "background"])
        if seed == 0:
            table.to_csv(images / "metadata.csv", index=False)
        else:
            table["image"] = [(images / name).read_bytes() for name in table.pop("file_name")]
            table.to_parquet(data / "test.parquet")


def _write_texts(folder: Path) -> None:
    """A text backbone with words for both classes, and the tables of the plan on topics."""
    words = [*tiny_text.WORDS, *tiny_text.CLASSES]
    vectors = np.vstack([tiny_text.VECTORS, tiny_text.VECTORS[[2, 4]]]).astype(np.float32)
    tiny_text.write_tokenizer(folder, words)
    tiny_text.write_onnx(folder, vectors=vectors).rename(folder / "encoder.onnx")
    for seed, name in enumerate(("train.parquet", "known.parquet", "test.csv", "tweets.csv")):
        table = pandas.DataFrame(tiny_text.texts(400 if seed == 0 else 100, seed))
        if name.endswith(".csv"):
            table.to_csv(folder / name, index=False)
        else:
            table.to_parquet(folder / name)


def _write_logits(folder: Path) -> None:
    """Logits of two classifiers on two sets of samples, and labels."""
    for seed, name in enumerate(("val", "test")):
        one, other = planted(3, 60, seed), planted(3, 60, seed, ratio=5)
        np.save(folder / f"{name}_zero_shot.npy", one.logits)
        np.save(folder / f"{name}_fine_tuned.npy", other.logits)
        np.save(folder / f"{name}_labels.npy", one.labels)
    np.save(folder / "train_labels.npy", np.repeat([0, 1, 2], [50, 20, 10]))


_IMAGES = """
name: whole
backbone: {onnx: model.onnx, logits: logits, preprocessing: {size: 224}}
splits:
  train: {path: data/train, attributes: [background]}
  test: {path: data/test.parquet, attributes: [background]}
  source_test: {path: data/source.parquet}
  pool: {path: data/pool.parquet, attributes: [background]}
tasks:
  birds: {train: train, test: test}
probes:
  clean_accuracy: {}
"""
_TEXTS = """
name: whole
backbone: {onnx: encoder.onnx, text: {tokenizer: tokenizer.json}}
splits:
  train: {path: train.parquet, text: text}
  test: {path: test.csv, text: text}
tasks:
  topics: {train: train, test: test}
probes:
  clean_accuracy: {}
"""


def whole_plan(part: dict[str, Any]) -> dict[str, Any]:
    """A plan that a part of one stands in; what the part leaves out is of images, or of texts."""
    texts = "text" in part.get("backbone", {}) or "trigger_phrase" in part.get("probes", {})
    base = yaml.safe_load(_TEXTS if texts else _IMAGES)
    return {**base, **part, "splits": {**base["splits"], **part.get("splits", {})}}
