"""The encoder of all-MiniLM-L6-v2, by the names of its weights: a BERT of six layers.

Source: Devlin et al. 2019; Wang et al. 2020, "MiniLM"; weights by Reimers and Gurevych.
"""

import torch
from torch import Tensor, nn

WIDTH, HEADS, INNER, LAYERS = 384, 12, 1536, 6
WORDS, PLACES, KINDS = 30_522, 512, 2
_EPSILON = 1e-12


class _Embeddings(nn.Module):
    position_ids: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH)
        self.position_embeddings = nn.Embedding(PLACES, WIDTH)
        self.token_type_embeddings = nn.Embedding(KINDS, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.register_buffer("position_ids", torch.arange(PLACES)[None])

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.word_embeddings(ids)
        vectors = vectors + self.position_embeddings(self.position_ids[:, : ids.shape[1]])
        return self.LayerNorm(vectors + self.token_type_embeddings.weight[0])  # type: ignore[no-any-return]


class _Added(nn.Module):
    """A layer whose output is added to what it was given, normalised."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inner, WIDTH), nn.LayerNorm(WIDTH, eps=_EPSILON)

    def forward(self, vectors: Tensor, given: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(vectors) + given)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        own = {name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(own), "output": _Added(WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = _Added(INNER)

    def forward(self, given: Tensor, mask: Tensor) -> Tensor:
        parts = self.attention["self"]
        q, k, v = (  # (N, heads, T, WIDTH / heads)
            parts[name](given).unflatten(2, (HEADS, -1)).transpose(1, 2)  # type: ignore[index]
            for name in ("query", "key", "value")
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended = self.attention["output"](mixed.transpose(1, 2).flatten(2), given)
        inner = nn.functional.gelu(self.intermediate["dense"](attended))
        return self.output(inner, attended)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Token ids and mask ``(N, T)`` to a vector a token ``(N, T, 384)``."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = _Embeddings()
        self.layers = [_Layer() for _ in range(LAYERS)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(self.layers)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH)})  # in the file, not in use

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors: Tensor = self.embeddings(input_ids)
        for layer in self.layers:
            vectors = layer(vectors, attention_mask[:, None, None, :].bool())
        return vectors


def encoder() -> nn.Module:
    """Without weights."""
    return Encoder()
