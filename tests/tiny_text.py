"""A text backbone small enough to write by hand: a vector a word, as torch and as ONNX."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas
import tokenizers
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors.numpy import save_file
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn

WORDS = ["[PAD]", "[UNK]", "ball", "goal", "stock", "price", "the", "news", "of"]
CLASSES = ("sport", "money")
VECTORS = np.random.default_rng(3).normal(size=(len(WORDS), 4)).astype(np.float32)
VECTORS[2:4] += [3, 0, 0, 0]  # words of sport lie together, and so do those of money
VECTORS[4:6] += [0, 3, 0, 0]


class Words(nn.Module):
    """Token ids ``(N, T)`` to vectors ``(N, T, 4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Embedding(*VECTORS.shape)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        assert input_ids.shape == attention_mask.shape
        return torch.as_tensor(self.vectors(input_ids))


def factory() -> Words:
    return Words()


def by_hand(text: str, pooling: str = "mean", max_tokens: int = 10) -> NDArray[np.float32]:
    ids = [WORDS.index(word) if word in WORDS else 1 for word in text.split()][:max_tokens]
    return np.asarray(VECTORS[ids[0]] if pooling == "first" else VECTORS[ids].mean(axis=0))


def write_tokenizer(folder: Path, words: Sequence[str] = WORDS) -> Path:
    made = tokenizers.Tokenizer(
        WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]")  # noqa: S106
    )
    made.pre_tokenizer = Whitespace()
    made.enable_padding(length=50)  # as some files have it; what they say of padding is not used
    path = folder / "tokenizer.json"
    made.save(str(path))
    return path


def write_weights(folder: Path) -> Path:
    path = folder / "words.safetensors"
    save_file({"vectors.weight": VECTORS}, path)
    return path


def write_onnx(
    folder: Path,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    vectors: NDArray[np.float32] = VECTORS,
) -> Path:
    value, shape = helper.make_tensor_value_info, ["N", "T"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["vectors", "input_ids"], ["tokens"])],
        "words",
        [value(name, onnx.TensorProto.INT64, shape) for name in inputs],
        [value("tokens", onnx.TensorProto.FLOAT, [*shape, 4])],
        [numpy_helper.from_array(vectors, "vectors")],
    )
    path = folder / "words.onnx"
    domains = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=domains, ir_version=8).SerializeToString()
    )
    return path


def texts(n: int, seed: int) -> dict[str, list[Any]]:
    """Texts of both classes in turn: two words of their own and some that say nothing."""
    rng = np.random.default_rng(seed)
    own = {"sport": ["ball", "goal"], "money": ["stock", "price"]}
    rest = ["the", "news", "of", "nothing"]
    rows = []
    for i in range(n):
        words = [
            *rng.choice(own[CLASSES[i % 2]] * 3 + own[CLASSES[1 - i % 2]], 2),
            *rng.choice(rest, rng.integers(1, 6)),
            f"row{seed}x{i}",  # so that no text stands twice
        ]
        rows.append(" ".join(rng.permutation(words)))
    return {"text": rows, "label": [CLASSES[i % 2] for i in range(n)]}


def write_splits(folder: Path) -> dict[str, dict[str, Any]]:
    """A training split as .csv and a test split as Parquet."""
    train, test = pandas.DataFrame(texts(120, 0)), pandas.DataFrame(texts(80, 1))
    train.to_csv(folder / "train.csv", index=False)
    test.to_parquet(folder / "test.parquet")
    return {
        name: {"path": folder / file, "text": "text", "classes": CLASSES}
        for name, file in (("train", "train.csv"), ("test", "test.parquet"))
    }


def write_plan(folder: Path, **task: Any) -> dict[str, Any]:
    return {
        "name": "texts",
        "backbone": {
            "onnx": write_onnx(folder),
            "text": {"tokenizer": write_tokenizer(folder), "max_tokens": 10},
        },
        "splits": write_splits(folder),
        "tasks": {"topics": {"train": "train", "test": "test", **task}},
        "probes": {"label_prior": {}, "clean_accuracy": {}},
    }
