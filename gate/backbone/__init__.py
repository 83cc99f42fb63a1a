"""Backbone: the pretrained feature extractor on trial, one ``outputs`` call for every runtime.

Weights are data: ONNX, torch.export and safetensors are read, and no pickle ever is. The code of
an architecture comes from the team's own repository and is trusted.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gate.errors import BackboneError, PlanError
from gate.files import sha256_of
from gate.plan.plan import BackboneFile, Preprocessing

if TYPE_CHECKING:
    from gate.backbone.tokens import Tokenizer

Tokens = dict[str, NDArray[np.int64]]  # input_ids and attention_mask, (N, T) each


class Runtime(Protocol):
    """What runs the weights."""

    versions: dict[str, str]

    def run(self, inputs: NDArray[np.float32] | Tokens) -> list[NDArray[np.float32]]:
        """Inputs to the named output or layer and, if there is one, the own head's logits."""
        ...


class Outputs(NamedTuple):
    """One forward pass: features ``(N, D)`` and the own head's logits ``(N, K)``, if it has one."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32] | None


class Backbone:
    """Weights, their runtime and their preprocessing.

    Args:
        file: Where the weights lie, and their preprocessing.

    Raises:
        BackboneError: Missing, truncated, a pickle, or of a kind that is refused.
    """

    def __init__(self, file: BackboneFile) -> None:
        self.file = file
        self.digest = sha256_of(file.path, BackboneError)
        self.images_passed = 0
        self._runtime = _open(file)

    @property
    def preprocessing(self) -> Preprocessing:
        """Of images.

        Raises:
            PlanError: The backbone takes texts.
        """
        if self.file.preprocessing is None:
            raise PlanError(
                f"{self.file.path}: takes texts, and images were to be passed through it; use "
                "splits with a text column"
            )
        return self.file.preprocessing

    @property
    def versions(self) -> dict[str, str]:
        """Runtime, its version and its device: numbers may differ between them in the last bits.

        And those of the tokenizer, with its digest.
        """
        return {**self._runtime.versions, **(self._tokenizer.versions if self.file.text else {})}

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        # one file imports tokenizers, and only text backbones need it
        from gate.backbone.tokens import Tokenizer

        if self.file.text is None:
            raise PlanError(
                f"{self.file.path}: takes images, and texts were to be passed through it; say "
                "under text which tokenizer it was trained with"
            )
        return Tokenizer(self.file.text)

    @cached_property
    def _normalise(self) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        """What pixels are multiplied by, and what is then added."""
        per_channel = (-1, 1, 1) if self.preprocessing.layout == "NCHW" else (-1,)
        std = np.asarray(self.preprocessing.std, np.float32).reshape(per_channel)
        mean = np.asarray(self.preprocessing.mean, np.float32).reshape(per_channel)
        return 1 / (255 * std), -mean / std

    def tokens(self, texts: list[str]) -> Tokens:
        """Texts as token ids ``(N, T)``, padded to the longest, and which of them count."""
        return self._tokenizer(texts)

    def inputs(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images ``(N, H, W, C)`` uint8, normalised and in the layout of the backbone."""
        if self.preprocessing.layout == "NCHW":
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        scale, offset = self._normalise
        inputs = np.asarray(images * scale, np.float32)
        inputs += offset
        return inputs

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pooled features ``(N, D)`` of images ``(N, S, S, C)``; see ``outputs``."""
        return self.outputs(self.inputs(images)).features

    def outputs(self, inputs: NDArray[np.float32] | Tokens) -> Outputs:
        """One forward pass.

        Args:
            inputs: A batch of N normalised images, as ``inputs`` gives them, S x S pixels, S the
                side of the preprocessing; or of N texts, as ``tokens`` gives them.

        Returns:
            Features ``(N, D)`` float32; maps in the layout of the input (``(N, D, H, W)`` or
            ``(N, H, W, D)``) and token sequences ``(N, T, D)`` are averaged over places, those of
            texts without padding. And the logits of the own head ``(N, K)``, if the plan names
            their output.

        Raises:
            BackboneError: The runtime fails, or some feature or logit is not finite.
        """
        given = self._runtime.run(inputs)
        mask = inputs["attention_mask"] if isinstance(inputs, dict) else None
        count = len(inputs if mask is None else mask)
        self.images_passed += count
        features = _pooled(given[0], self.file, mask)
        logits = given[1] if self.file.logits else None
        if logits is not None and logits.ndim != 2:
            raise BackboneError(
                f"{self.file.path}: logits {self.file.logits!r} have shape {logits.shape}, "
                "expected (N, K); name another output"
            )
        for what, values in (("features", features), ("logits", logits)):
            if values is None:
                continue
            if len(values) != count:
                raise BackboneError(
                    f"{self.file.path}: {count} {self.file.takes} gave {len(values)} rows of "
                    f"{what}; export it with a dynamic batch axis"
                )
            if not np.isfinite(values).all():
                bad = int((~np.isfinite(values)).any(axis=1).sum())
                raise BackboneError(
                    f"{self.file.path}: {what} of {bad} of {count} {self.file.takes} are not "
                    "finite; check the preprocessing in the plan and the weights"
                )
        return Outputs(features, logits)


def _pooled(
    outputs: NDArray[np.float32], file: BackboneFile, mask: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    if file.text and mask is not None and outputs.ndim == 3 and outputs.shape[:2] == mask.shape:
        if file.text.pooling == "first":
            return outputs[:, 0]
        weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
        return np.asarray(np.einsum("ntd,nt->nd", outputs, weights))
    if file.preprocessing and outputs.ndim == 4:
        places = (2, 3) if file.preprocessing.layout == "NCHW" else (1, 2)
        return np.asarray(outputs.mean(axis=places))
    if file.preprocessing and outputs.ndim == 3:
        return np.asarray(outputs.mean(axis=1))
    if outputs.ndim == 2:
        return outputs
    raise BackboneError(
        f"{file.path}: features of shape {outputs.shape}, expected (N, D), (N, T, D) or maps; "
        "name another output or layer"
    )


def _open(file: BackboneFile) -> Runtime:
    if file.onnx:
        from gate.backbone.onnx_runtime import OnnxRuntime

        return OnnxRuntime(file)
    from gate.backbone.torch_runtime import TorchRuntime

    return TorchRuntime(file)
