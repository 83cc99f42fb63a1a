"""Texts to tokens. The only file that imports tokenizers."""

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from gate.arrays import Int64
from gate.backbone.artefact import Artefact
from gate.errors import BackboneError, failing_as
from gate.plan.backbone import Tokenization

if TYPE_CHECKING:
    import tokenizers


_MANY = 0.2  # of all tokens, that are unknown


@dataclass(frozen=True)
class TokenCounts:
    """What a tokenizer makes of texts.

    Args:
        texts: How many there are.
        cut: Those that are longer than ``max_tokens``.
        tokens: Of all texts, whole, without what begins and ends each.
        unknown: Those of them that stand for what the tokenizer does not know.
        max_tokens: That a text may have.
    """

    texts: int = 0
    cut: int = 0
    tokens: int = 0
    unknown: int = 0
    max_tokens: int = 0

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        """Of these texts and of others, by the same tokenizer."""
        return TokenCounts(
            self.texts + other.texts,
            self.cut + other.cut,
            self.tokens + other.tokens,
            self.unknown + other.unknown,
            max(self.max_tokens, other.max_tokens),
        )

    def remarks(self, split: str) -> list[str]:
        """What a reader of numbers on these texts must know, in sentences."""
        said = []
        if self.cut:
            said.append(
                f"{split}: {self.cut} of {self.texts} texts are longer than max_tokens "
                f"{self.max_tokens} and were cut: what follows was not read; raise max_tokens, if "
                "the backbone takes more"
            )
        if self.unknown > _MANY * self.tokens:
            said.append(
                f"{split}: {self.unknown} of {self.tokens} tokens are unknown to the tokenizer, "
                "and look all alike to the backbone; check that it is the one that the backbone "
                "was trained with, and the language"
            )
        return said


class Tokenizer:
    """A ``tokenizer.json``: data, which brings no code.

    Raises:
        BackboneError: Missing, or no such file.
    """

    def __init__(self, plan: Tokenization) -> None:
        path = self._path = plan.tokenizer
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
        self._tokenizer.enable_padding(
            pad_id=known["pad_id"], pad_token=known["pad_token"], length=plan.length
        )
        self._max_tokens = plan.max_tokens

    def __call__(self, texts: list[str]) -> dict[str, Int64]:
        """Ids ``(N, T)`` of N texts, and a mask that is 1 where there is a token.

        They are padded to the longest text, or to the length that the plan states.

        Raises:
            BackboneError: The file lacks what its own model needs.
        """
        unable = f"{self._path}: cannot turn texts into tokens"
        with failing_as(BackboneError, unable, "save it with all that its model names"):
            found = self._tokenizer.encode_batch(texts)
        return {
            "input_ids": np.array([each.ids for each in found], np.int64),
            "attention_mask": np.array([each.attention_mask for each in found], np.int64),
        }

    def count(self, texts: list[str]) -> TokenCounts:
        """How many of N texts are cut, and how many of their tokens are unknown."""
        cut = tokens = unknown = 0
        for each in self._whole.encode_batch(texts):
            cut += len(each.ids) > self._max_tokens
            own = [i for i, s in zip(each.ids, each.special_tokens_mask, strict=True) if not s]
            tokens += len(own)
            unknown += own.count(self._unknown)
        return TokenCounts(len(texts), cut, tokens, unknown, self._max_tokens)

    @cached_property
    def _unknown(self) -> int:
        """The id of what the tokenizer does not know; -1 where it knows all."""
        model = json.loads(self._tokenizer.to_str())["model"]
        token = model.get("unk_token")
        known = self._tokenizer.token_to_id(token) if token else model.get("unk_id")
        return -1 if known is None else int(known)

    @cached_property
    def _whole(self) -> "tokenizers.Tokenizer":
        """The same tokenizer, by which no text is cut off; most backbones do without it."""
        import tokenizers

        whole = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        whole.no_truncation()
        whole.no_padding()
        return whole

    def with_room_for(self, phrase: str, texts: list[str]) -> list[str]:
        """Texts whose last words are left out as far as a phrase needs their room.

        What is put into such a text is not cut off with the end of a long one. Where no space
        parts its tokens, a text ends behind a token.

        Raises:
            BackboneError: The phrase alone leaves a text no room; says how many tokens it has.
        """
        alone = (self._whole.encode(each, add_special_tokens=False) for each in _placed(phrase))
        needed = max(len(encoded.ids) for encoded in alone)
        shortened = []
        for text, encoded in zip(texts, self._whole.encode_batch(texts), strict=True):
            special = encoded.special_tokens_mask
            ends = [end for (_, end), s in zip(encoded.offsets, special, strict=True) if not s]
            room = self._max_tokens - sum(special) - needed
            if room < 1:
                raise BackboneError(
                    f"{self._path}: {phrase!a} has {needed} tokens, which leave a text no room in "
                    f"the {self._max_tokens} of max_tokens; shorten it, or raise max_tokens"
                )
            if len(ends) > room:
                whole_words = [end for end in ends[:room] if text[end : end + 1].isspace()]
                text = text[: (whole_words or ends[:room])[-1]]
            shortened.append(text)
        return shortened


def _placed(phrase: str) -> tuple[str, str]:
    """A phrase at the start of a text, and further on: some tokenizers count the space before."""
    return phrase, f" {phrase}"
