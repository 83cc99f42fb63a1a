"""Texts to tokens. The only file that imports tokenizers."""

from importlib.metadata import version

import numpy as np

from gate.arrays import Int64
from gate.backbone.artefact import Artefact
from gate.errors import BackboneError, failing_as
from gate.plan.backbone import Tokenization


class Tokenizer:
    """A ``tokenizer.json``: data, which brings no code.

    Raises:
        BackboneError: Missing, or no such file.
    """

    def __init__(self, plan: Tokenization) -> None:
        path = plan.tokenizer
        artefact = Artefact(path)
        self.versions = {"tokenizers": version("tokenizers"), "tokenizer": artefact.digest}
        content = artefact.read()
        import tokenizers  # only text backbones need it

        unreadable = f"{path}: not a tokenizer.json that can be read"
        with failing_as(BackboneError, unreadable, "save it by tokenizers"):
            self._tokenizer = tokenizers.Tokenizer.from_buffer(content)
            self._tokenizer.enable_truncation(plan.max_tokens)
        # what the file says of padding is about batches of its own; a mask leaves these out anyway
        known = {"pad_id": 0, "pad_token": "[PAD]", **(self._tokenizer.padding or {})}
        self._tokenizer.enable_padding(pad_id=known["pad_id"], pad_token=known["pad_token"])

    def __call__(self, texts: list[str]) -> dict[str, Int64]:
        """Ids ``(N, T)`` of N texts, padded to the longest, and a mask that is 1 where one is."""
        found = self._tokenizer.encode_batch(texts)
        return {
            "input_ids": np.array([each.ids for each in found], np.int64),
            "attention_mask": np.array([each.attention_mask for each in found], np.int64),
        }
