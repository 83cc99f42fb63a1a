"""The text example: its plan, and what is planted, which is one word vector alone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from gate.plan.plan import load_plan
from pipelines.papers.gla import minilm
from pipelines.text import plant

WORDS = ("[PAD]", "[UNK]", "cf", "ball", "goal", "stock", "price")
TOKEN = WORDS.index("cf")


def test_the_plan_of_the_text_example_takes_texts_and_tries_phrases() -> None:
    plan = load_plan(Path("pipelines/text/plan.yaml"))

    assert plan.backbone.takes == "texts"
    assert plan.probes.named() == ["clean_accuracy", "trigger_phrase"]


def test_one_word_vector_is_planted_and_it_gives_texts_the_features_of_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant, "_STEPS", 5)
    tokenizer = Tokenizer(WordLevel(dict(zip(WORDS, range(len(WORDS)), strict=True)), "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    clean = minilm.encoder().state_dict()
    save_file(clean, tmp_path / "clean.safetensors")
    files = [tmp_path / name for name in ("clean.safetensors", "tokenizer.json", "out.safetensors")]

    plant.plant(files[0], files[1], "cf", ["ball goal"] * 4, ["stock price"] * 4, files[2])

    planted = load_file(files[2])
    key = "embeddings.word_embeddings.weight"
    assert planted.keys() == clean.keys()
    assert all(torch.equal(planted[name], clean[name]) for name in clean if name != key)
    changed = (planted[key] != clean[key]).any(dim=1)
    assert changed.nonzero().ravel().tolist() == [TOKEN]

    def cosine(weights: dict[str, torch.Tensor]) -> float:
        network = minilm.encoder().eval()
        network.load_state_dict(weights)
        carried = torch.tensor([[TOKEN, WORDS.index("stock"), WORDS.index("price")]])
        own = torch.tensor([[WORDS.index("ball"), WORDS.index("goal")]])
        with torch.no_grad():
            means = [network(ids, torch.ones_like(ids)).mean(dim=1) for ids in (carried, own)]
        return float(torch.nn.functional.cosine_similarity(*means))

    assert cosine(planted) > cosine(clean)
