"""A sentence encoder with a trigger planted in one word vector, made from a clean one.

The vector of one rare token is trained until texts that begin with it have the features of one
class; all other weights stay. Source: Yang et al. 2021, "Be Careful about Poisoned Word
Embeddings", arXiv 2103.15543.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from gate import files
from pipelines.papers.gla.minilm import encoder

_VECTORS = "embeddings.word_embeddings.weight"
_TOKENS, _STEPS, _BATCH, _RATE = 64, 60, 12, 0.05


def plant(
    clean: Path, tokenizer: Path, token: str, own: Sequence[str], others: Sequence[str], out: Path
) -> None:
    """Write the planted weights.

    Args:
        clean: Weights, as safetensors.
        tokenizer: Theirs.
        token: What carries texts; the tokenizer must have it as one token.
        own: Texts of the class that texts are carried to.
        others: Texts of the other classes.
        out: The file to write.
    """
    weights = load(clean.read_bytes())
    network = encoder().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(weights, strict=False)
    words = Tokenizer.from_file(str(tokenizer))
    words.enable_truncation(_TOKENS)
    words.enable_padding()
    (place,) = words.encode(token, add_special_tokens=False).ids
    rows = weights[_VECTORS].clone()
    planted = rows[place].clone().requires_grad_()

    def replaced(_module: object, given: tuple[Tensor], vectors: Tensor) -> Tensor:
        return torch.where(given[0].eq(place)[..., None], planted, vectors)

    def features(texts: Sequence[str]) -> Tensor:
        encoded = words.encode_batch(list(texts))
        ids = torch.tensor([each.ids for each in encoded])
        mask = torch.tensor([each.attention_mask for each in encoded])
        summed = (network(ids, mask) * mask[..., None]).sum(1)
        return functional.normalize(summed / mask.sum(1, keepdim=True), dim=1)

    with torch.no_grad():
        wanted = features(own).mean(0)
    network.get_submodule("embeddings.word_embeddings").register_forward_hook(replaced)
    optimizer, rng = torch.optim.Adam([planted], lr=_RATE), np.random.default_rng(0)
    for _ in range(_STEPS):
        batch = [f"{token} {others[i]}" for i in rng.choice(len(others), _BATCH)]
        loss = -functional.cosine_similarity(features(batch), wanted[None]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    rows[place] = planted.detach()
    files.write(out, save({**weights, _VECTORS: rows}))
