"""Backbone: the pretrained feature extractor on trial, one ``features`` call for every runtime.

Weights are data: ONNX, torch.export and safetensors are read, and no pickle ever is. The code of
an architecture comes from the team's own repository and is trusted.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gate.errors import BackboneError
from gate.files import sha256_of
from gate.plan import BackboneFile


class Runtime(Protocol):
    """What runs the weights."""

    versions: dict[str, str]

    def run(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Normalised images to the named output or layer and, if there is one, the own head's."""
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
        self.preprocessing = file.preprocessing
        self.digest = sha256_of(file.path, BackboneError)
        self.images_passed = 0
        self._runtime = _open(file)
        per_channel = (-1, 1, 1) if file.preprocessing.layout == "NCHW" else (-1,)
        std = np.asarray(file.preprocessing.std, np.float32).reshape(per_channel)
        mean = np.asarray(file.preprocessing.mean, np.float32).reshape(per_channel)
        self._scale, self._offset = 1 / (255 * std), -mean / std

    @property
    def versions(self) -> dict[str, str]:
        """Runtime, its version and its device: numbers may differ between them in the last bits."""
        return self._runtime.versions

    def inputs(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images ``(N, H, W, C)`` uint8, normalised and in the layout of the backbone."""
        if self.preprocessing.layout == "NCHW":
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        inputs = np.asarray(images * self._scale, np.float32)
        inputs += self._offset
        return inputs

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pooled features ``(N, D)`` of images ``(N, S, S, C)``; see ``outputs``."""
        return self.outputs(self.inputs(images)).features

    def outputs(self, inputs: NDArray[np.float32]) -> Outputs:
        """One forward pass.

        Args:
            inputs: A batch of N normalised images, as ``inputs`` gives them, S x S pixels, S the
                side of the preprocessing.

        Returns:
            Features ``(N, D)`` float32; maps in the layout of the input (``(N, D, H, W)`` or
            ``(N, H, W, D)``) and token sequences ``(N, T, D)`` are averaged over places. And the
            logits of the own head ``(N, K)``, if the plan names their output.

        Raises:
            BackboneError: The runtime fails, or some feature or logit is not finite.
        """
        given = self._runtime.run(inputs)
        self.images_passed += len(inputs)
        features = _pooled(given[0], self.file)
        logits = given[1] if self.file.logits else None
        if logits is not None and logits.ndim != 2:
            raise BackboneError(
                f"{self.file.path}: logits {self.file.logits!r} have shape {logits.shape}, "
                "expected (N, K); name another output"
            )
        for what, values in (("features", features), ("logits", logits)):
            if values is None:
                continue
            if len(values) != len(inputs):
                raise BackboneError(
                    f"{self.file.path}: {len(inputs)} images gave {len(values)} rows of {what}; "
                    "export it with a dynamic batch axis"
                )
            if not np.isfinite(values).all():
                bad = int((~np.isfinite(values)).any(axis=1).sum())
                raise BackboneError(
                    f"{self.file.path}: {what} of {bad} of {len(inputs)} images are not finite; "
                    "check the preprocessing in the plan and the weights"
                )
        return Outputs(features, logits)


def _pooled(outputs: NDArray[np.float32], file: BackboneFile) -> NDArray[np.float32]:
    if outputs.ndim == 4:
        places = (2, 3) if file.preprocessing.layout == "NCHW" else (1, 2)
        return np.asarray(outputs.mean(axis=places))
    if outputs.ndim == 3:
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

        return OnnxRuntime(file.onnx, file.output, file.logits)
    from gate.backbone.torch_runtime import TorchRuntime

    return TorchRuntime(file)
