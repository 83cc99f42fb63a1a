"""Backbone: the pretrained feature extractor on trial, one ``outputs`` call for every runtime.

Weights are data: ONNX, torch.export and safetensors are read, and no pickle ever is. The code of
an architecture comes from the team's own repository and is trusted.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from gate.arrays import Array, Float32, Floats, Images, Int64, sum_of_probabilities
from gate.backbone.artefact import Artefact, HeldWeights
from gate.backbone.child import Child
from gate.backbone.heads import JoinedHead, LinearHead
from gate.backbone.pooling import pooled
from gate.backbone.runtime import Runtime, Tokens
from gate.backbone.tokens import TokenCounts, Tokenizer
from gate.backbone.unstable import Unstable
from gate.errors import BackboneError, PlanError, failing_as
from gate.limits import Limits
from gate.lineage.network import Layer, Site
from gate.plan.backbone import BackbonePlan, Preprocessing
from gate.printable import escaped

_NOWHERE: Mapping[Site, Float32] = MappingProxyType({})
_NO_LOSS = 1e-3  # nats: where the target class has nearly all, a gradient may round to zero


class Outputs(NamedTuple):
    """One forward pass: features ``(N, D)`` and the own head's logits ``(N, K)``, if it has one.

    And, of the sites inside that were asked for, channels ``(N, C)``, averaged over places.
    """

    features: Float32
    logits: Float32 | None
    sites: Mapping[Site, Float32] = _NOWHERE


class Gradients(NamedTuple):
    """Logits, and the gradient of each image's cross entropy to its target class."""

    logits: Float32  # (N, K)
    inputs: Float32  # like the inputs


class Backbone:
    """Weights, their runtime (``gate/backbone/FORMAT_runtime.py``) and their preprocessing.

    Args:
        plan: Where the weights lie, and their preprocessing. ``described`` is that; as an
            attribute, ``plan`` is settled by what the file says where it leaves something open.
        limits: Of a file that holds a program of its own, and is run in a child process.
        artefact: In the place of what lies there.

    ``remarks`` are sentences that a reader of its numbers must know: what was chosen where the plan
    says nothing. They are a function of plan and file alone.

    Raises:
        BackboneError: Missing, truncated, a pickle, or of a kind that is refused.
    """

    def __init__(
        self, plan: BackbonePlan, limits: Limits | None = None, artefact: Artefact | None = None
    ) -> None:
        self.described, self.limits = plan, limits or Limits()
        self.artefact = artefact or Artefact(plan.path)
        self.digest = self.artefact.digest
        self._runtime: Runtime
        if plan.holds_program:
            self._runtime = Child(plan, self.artefact, self.limits)
        else:
            # torch takes seconds to import, and an ONNX backbone does without it
            home = import_module(f"gate.backbone.{plan.format}_runtime")
            self._runtime = home.open_runtime(plan, self.artefact)
        settings, remarks = self._runtime.found
        with failing_as(BackboneError, f"{plan.path}: says of itself what is no setting"):
            self.plan = plan.settled(settings)
        self.remarks = (*remarks, *_unsaid(self.plan))

    def with_weights(self, content: bytes) -> "Backbone":
        """The same architecture and preprocessing under other weights, as safetensors.

        Raises:
            PlanError: It was not given as weights with an architecture.
            BackboneError: The weights do not fit the architecture.
        """
        if self.plan.holds_program:
            raise PlanError(
                f"{self.plan.path}: holds a program of its own, and gate alters weights only of "
                "backbones given as weights with an arch; give safetensors with their factory"
            )
        return Backbone(self.plan, self.limits, HeldWeights(self.plan.path, content))

    @property
    def preprocessing(self) -> Preprocessing:
        """How pixels become inputs.

        Raises:
            PlanError: The backbone takes texts.
        """
        if self.plan.preprocessing is None:
            raise PlanError(
                f"{self.plan.path}: takes texts, and images were to be passed through it; use "
                "splits with a text column"
            )
        return self.plan.preprocessing

    @property
    def versions(self) -> dict[str, str]:
        """Runtime, its version and its device: numbers may differ between them in the last bits.

        And those of the tokenizer, with its digest.
        """
        return {**self._runtime.versions, **(self._tokenizer.versions if self.plan.text else {})}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        if self.plan.text is None:
            raise PlanError(
                f"{self.plan.path}: takes images, and texts were to be passed through it; say "
                "under text which tokenizer it was trained with"
            )
        return Tokenizer(self.plan.text)

    @cached_property
    def _normalise(self) -> tuple[Floats, Floats]:
        """What pixels are multiplied by, and what is then added."""
        per_channel = (-1, 1, 1) if self.preprocessing.layout == "NCHW" else (-1,)
        std = np.asarray(self.preprocessing.std or (1,), np.float32).reshape(per_channel)
        mean = np.asarray(self.preprocessing.mean or (0,), np.float32).reshape(per_channel)
        return 1 / (np.float32(1 / self._rescale) * std), -mean / std

    @property
    def _rescale(self) -> float:
        return self.preprocessing.rescale or 1 / 255

    def tokens(self, texts: list[str]) -> Tokens:
        """Texts as token ids ``(N, T)``, padded to the longest, and which of them count."""
        return self._tokenizer(texts)

    def count_tokens(self, texts: list[str]) -> TokenCounts:
        """How many tokens of texts are unknown, and how many texts are cut; see ``Tokenizer``."""
        return self._tokenizer.count(texts)

    def with_room_for(self, phrase: str, texts: list[str]) -> list[str]:
        """Texts whose last words are left out where a phrase would not fit; see ``Tokenizer``."""
        return self._tokenizer.with_room_for(phrase, texts)

    def inputs(self, images: Images | Float32) -> Float32:
        """Images ``(N, H, W, C)`` in 0 .. 255, normalised and in the layout of the backbone."""
        pixels: Array = images
        if self.preprocessing.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        if self.preprocessing.layout == "NCHW":
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        scale, offset = self._normalise
        inputs = np.asarray(pixels * scale, np.float32)
        inputs += offset
        return inputs

    def to_pixels(self, gradients: Float32) -> Float32:
        """Gradients with respect to inputs, as those with respect to pixels in 0 .. 1.

        Args:
            gradients: In the shape of what `inputs` gives.

        Returns:
            ``(N, H, W, C)``, with channels in the order of images.
        """
        per_image = gradients
        if self.preprocessing.layout == "NCHW":
            per_image = gradients.transpose(0, 2, 3, 1)
        std = np.asarray(self.preprocessing.std or (1,), np.float32)
        # an input is (rescale * 255 * pixel - mean) / std
        found = per_image * np.float32(255 * self._rescale) / std
        return found[..., ::-1] if self.preprocessing.channel_order == "bgr" else found

    def features(self, images: Images) -> Float32:
        """Pooled features ``(N, D)`` of images ``(N, S, S, C)``; see ``outputs``."""
        return self.outputs(self.inputs(images)).features

    @cached_property
    def layers(self) -> list[Layer]:
        """The linear layers that the features are computed by, in their order, with their weights.

        Raises:
            BackboneError: They cannot be read of its file, or some weight is not finite.
        """
        with failing_as(BackboneError, f"{self.plan.path}: its layers cannot be read"):
            layers = self._runtime.layers()
            for place, (_, weight, _, _, readers) in enumerate(layers):
                sound = weight.ndim == 3 and weight.size and weight.dtype == np.float64
                if not sound or not all(place < reader < len(layers) for reader in readers):
                    raise ValueError(f"layer {place + 1} is not one")
        for layer in layers:
            if bad := int((~np.isfinite(layer.weight)).sum()):
                raise BackboneError(
                    f"{self.plan.path}: {bad} of {layer.weight.size} weights of layer "
                    f"{escaped(layer.name)} are not finite, and none may be; export it again"
                )
        return layers

    def outputs(self, inputs: Float32 | Tokens, sites: Sequence[Site] = ()) -> Outputs:
        """One forward pass.

        Args:
            inputs: A batch of N normalised images, as ``inputs`` gives them, S x S pixels, S the
                side of the preprocessing; or of N texts, as ``tokens`` gives them.
            sites: Values inside, as its layers name them, of which channels are wanted, too.

        Returns:
            Features ``(N, D)`` float32; maps in the layout of the input (``(N, D, H, W)`` or
            ``(N, H, W, D)``) and token sequences ``(N, T, D)`` are averaged over places, those of
            texts without padding. And the logits of the own head ``(N, K)``, if the plan names
            their output.

        Raises:
            BackboneError: The runtime fails, or some feature, logit or channel is not finite.
        """
        values = self._runtime.activations(inputs, sites) if sites else self._runtime.run(inputs)
        mask = inputs["attention_mask"] if isinstance(inputs, dict) else None
        count = len(inputs if mask is None else mask)
        features = _pooled(values[0], self.plan, mask)
        self._require_sound("features", features, count)
        inner = dict(zip(sites, values[len(values) - len(sites) :], strict=True))
        for site, channels in inner.items():
            self._require_sound(f"channels of {escaped(site.value)}", channels, count)
        if not self.plan.logits:
            return Outputs(features, None, inner)
        logits = values[1]
        if logits.ndim != 2:
            raise BackboneError(
                f"{self.plan.path}: logits {self.plan.logits!r} have shape {logits.shape}, "
                "expected (N, K); name another output"
            )
        self._require_sound("logits", logits, count)
        if total := sum_of_probabilities(logits):
            raise BackboneError(
                f"{self.plan.path}: logits {self.plan.logits!r} are probabilities: every row has "
                f"nothing below 0 and sums to {total}; name the output before the softmax, or "
                "export the model without it"
            )
        return Outputs(features, logits, inner)

    def unstable_operators(self) -> list[Unstable]:
        """Operators by which outputs may depend on chance, or on the other rows of a batch."""
        return self._runtime.unstable_operators()

    def input_gradients(
        self, inputs: Float32, targets: Int64, head: LinearHead | None
    ) -> Gradients:
        """How the loss of each image changes with its pixels: one forward and one backward pass.

        Args:
            inputs: A batch of N normalised images, as ``inputs`` gives them.
            targets: ``(N,)``, the class whose cross entropy is taken of each.
            head: A head on the features, pooled as in ``outputs``; None for the own head.

        Returns:
            Logits ``(N, K)`` and, in the shape of the inputs, the gradient of each image's cross
            entropy in nats with respect to its normalised input.

        Raises:
            PlanError: The backbone takes texts, or has no own head that the plan names.
            BackboneError: The runtime fails; it has no gradient, or one that is zero at every image
                whose loss is not; or some logit or gradient is not finite.
        """
        if self.plan.text:
            raise PlanError(
                f"{self.plan.path}: takes texts, which have no gradient, and triggers are searched "
                "for on images; leave the search out of the plan"
            )
        if head is None and not self.plan.logits:
            raise PlanError(
                f"{self.plan.path}: no output is named that gives its own head's logits; say "
                "logits in the plan, or train a head"
            )
        if not len(inputs) == len(targets) > 0:
            raise ValueError(f"{len(inputs)} images with {len(targets)} target classes")
        logits, gradients = self._runtime.input_gradients(inputs, targets, head)
        self._require_sound("logits", logits, len(inputs))
        if gradients.shape != inputs.shape:
            raise BackboneError(
                f"{self.plan.path}: gradients of shape {gradients.shape} of images of shape "
                f"{inputs.shape}; report it"
            )
        self._require_sound("gradients", gradients, len(inputs))
        self._require_slopes(logits, gradients, targets)
        return Gradients(logits, gradients)

    def _require_slopes(self, logits: Float32, gradients: Float32, targets: Int64) -> None:
        """Refuse gradients that say nothing: zero at every image whose loss could be less."""
        scores = logits.astype(np.float64)
        losses = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(targets)), targets]
        lossy = losses > _NO_LOSS
        if lossy.any() and not gradients[lossy].any():
            raise BackboneError(
                f"{self.plan.path}: the gradient with respect to its input is zero at each of "
                f"{lossy.sum()} images with a loss above {_NO_LOSS:g} nats, so no trigger can be "
                "searched for; export it without rounding or other steps that have no slope"
            )

    def with_head(self, head: JoinedHead, metadata: dict[str, str]) -> bytes:
        """One ONNX file of an ONNX backbone and a head; see `onnx_heads.with_head`."""
        if not isinstance(self._runtime, Child):
            raise BackboneError(f"{self.plan.path}: {self.plan.format}, and no ONNX file")
        answer = self._runtime.ask("with_head", self.plan, self.artefact, head, metadata)
        return answer.arrays[0].tobytes()

    def _require_sound(self, what: str, values: Float32, count: int) -> None:
        if len(values) != count:
            raise BackboneError(
                f"{self.plan.path}: {count} {self.plan.takes} gave {len(values)} rows of "
                f"{what}; export it with a dynamic batch axis"
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values.reshape(count, -1))).any(axis=1).sum())
            raise BackboneError(
                f"{self.plan.path}: {what} of {bad} of {count} {self.plan.takes} are not "
                "finite; check the preprocessing in the plan and the weights"
            )


def _pooled(outputs: Float32, plan: BackbonePlan, mask: Int64 | None) -> Float32:
    if plan.text and mask is not None and outputs.ndim == 3 and outputs.shape[:2] == mask.shape:
        if plan.text.pooling == "first":
            return outputs[:, 0]
        weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
        return np.asarray(np.einsum("ntd,nt->nd", outputs, weights))
    return np.asarray(pooled(plan, outputs))


def _unsaid(plan: BackbonePlan) -> tuple[str, ...]:
    """What a plan leaves out that most backbones were trained with."""
    images = plan.preprocessing
    if images is None or (images.rescale == 1 and not images.mean and not images.std):
        return ()
    absent = [name for name, numbers in (("mean", images.mean), ("std", images.std)) if not numbers]
    if not absent:
        return ()
    if len(absent) == 1:
        stands_for = {"mean": "mean 0", "std": "std 1"}[absent[0]]
        return (f"{absent[0]} is not in the plan: it is taken for {stands_for}",)
    highest = 255 * (images.rescale or 1 / 255)
    return (f"mean and std are not in the plan: pixels go in as 0 .. {highest:g}",)
