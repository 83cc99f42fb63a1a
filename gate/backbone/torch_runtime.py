"""Modules on torch, whatever they were read from."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch.fx import GraphModule

from gate.arrays import Array, Float32, Int64
from gate.backbone.declared_input import Declared, Found, in_pieces
from gate.backbone.heads import LinearHead
from gate.backbone.input_gradients import input_gradients
from gate.backbone.runtime import Tokens
from gate.backbone.torch_layers import TorchGraph, graph_of
from gate.backbone.unstable import Unstable, unstable_modules
from gate.errors import BackboneError, failing_as
from gate.lineage.network import Layer, Site
from gate.plan.backbone import BackbonePlan


class TorchRuntime:
    """A module on torch: on the GPU if one is there, else on the CPU.

    Args:
        plan: What is run, for messages; the layer that holds the features and the submodule
            that gives the logits of the own head, unless the module returns what is wanted.
        module: In evaluation mode.
        layers: Submodules to be read, by name.
        declared: What it takes.
    """

    def __init__(
        self,
        plan: BackbonePlan,
        module: Any,
        layers: dict[str, torch.nn.Module],
        declared: Declared,
    ) -> None:
        self.plan, self._declared = plan, declared
        self.found = Found({})
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._captured: dict[str, torch.Tensor] = {}
        self._layer = getattr(plan, "layer", None)
        self._module = module.to(self._device).requires_grad_(False)  # only inputs get gradients
        for name, layer in layers.items():
            layer.register_forward_hook(partial(self._capture, name))
        self.versions = {"runtime": f"torch {torch.__version__} {self._device.type}"}

    def run(self, inputs: Float32 | Tokens) -> list[Float32]:
        """What the layer, or the whole module, gives for one batch; and the own head's logits."""
        named: dict[str, Array] = inputs if isinstance(inputs, dict) else {"": inputs}
        return in_pieces(self.plan.path, self._declared.batch, self._run, named)

    def _run(self, named: dict[str, Array]) -> list[Float32]:
        shape = next(iter(named.values())).shape
        batch = {name: torch.from_numpy(v).to(self._device) for name, v in named.items()}
        refused = f"{self.plan.path}: refused a batch of shape {shape}"
        # no inference_mode: what a module keeps for later passes would then have no gradient
        with failing_as(BackboneError, refused, f"check {self.plan.hint}"), torch.no_grad():
            outputs = self._forward(batch)
        return [output.float().cpu().numpy() for output in outputs]

    def input_gradients(
        self, inputs: Float32, targets: Int64, head: LinearHead | None
    ) -> list[Float32]:
        """Logits of a batch of images, and gradients; see `input_gradients.input_gradients`."""

        def passed(piece: dict[str, Array]) -> list[Array]:
            batch = torch.from_numpy(piece["images"]).to(self._device)
            return [*input_gradients(self.plan, self._of_images, batch, piece["targets"], head)]

        return in_pieces(
            self.plan.path, self._declared.batch, passed, {"images": inputs, "targets": targets}
        )

    def layers(self) -> list[Layer]:
        """The linear layers that the features are computed by, with their weights."""
        return self._graph.layers

    def unstable_operators(self) -> list[Unstable]:
        """Operators by which outputs may depend on chance, or on the other rows of a batch."""
        return unstable_modules(self._module)

    def activations(self, inputs: Float32 | Tokens, sites: Sequence[Site]) -> list[Float32]:
        """What `run` gives; then of each site channels ``(N, C)``, averaged over places."""
        (images,) = [inputs] if not isinstance(inputs, dict) else inputs.values()

        def passed(piece: dict[str, Array]) -> list[Array]:
            batch = self._cast(torch.from_numpy(piece["images"]).to(self._device))
            count = len(batch)
            given = self._graph.run(self._doubled(batch), sites)
            return [each[:count] for each in given]

        return in_pieces(self.plan.path, self._declared.batch, passed, {"images": images})

    @cached_property
    def _graph(self) -> TorchGraph:
        """What the module computes, step by step.

        Raises:
            BackboneError: It takes texts, or torch.export cannot follow it, or sees it otherwise.
        """
        images = self.plan.preprocessing
        if images is None:
            raise BackboneError(
                f"{self.plan.path}: takes texts, and the layers of a torch module are read of "
                "images only; export it to ONNX"
            )
        places = (images.size, images.size)
        order = (
            (images.channels, *places) if images.layout == "NCHW" else (*places, images.channels)
        )
        generator = torch.Generator().manual_seed(0)
        example = torch.randn(self._declared.batch or 2, *order, generator=generator)
        example = example.to(self._device)
        module = self._module
        if not isinstance(module, GraphModule):  # it is one already where it was read from a file
            module = graph_of(self.plan, module, self._cast(example))
        graph = TorchGraph(self.plan, module)
        graph.require_agreement(self._cast(example), self.run(example.cpu().numpy())[0])
        return graph

    def _forward(self, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """What is wanted of one batch; images are called nothing."""
        count = len(next(iter(batch.values())))
        fed = {name: self._doubled(self._cast(values)) for name, values in batch.items()}
        self._captured.clear()
        whole = self._module(fed[""]) if "" in fed else self._module(**fed)
        given = [self._captured_by(self._layer) if self._layer else whole]
        if self.plan.logits:
            given.append(self._captured_by(self.plan.logits))
        self._captured.clear()  # with a tensor, all that it was computed from would be held
        return [self._tensor(output)[:count] for output in given]

    def _of_images(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self._forward({"": images})

    def _doubled(self, batch: torch.Tensor) -> torch.Tensor:
        """One image twice: programs with a dynamic batch are specialised for two and more."""
        alone = len(batch) == 1 and self._declared.batch is None
        return torch.cat([batch, batch]) if alone else batch

    def _cast(self, values: torch.Tensor) -> torch.Tensor:
        """Floating point numbers in the type that is taken; whole ones are rounded."""
        if not values.is_floating_point():
            return values
        kind: torch.dtype = getattr(torch, self._declared.type)
        if kind.is_floating_point:
            return values.to(kind)
        known = torch.iinfo(kind)
        return values.round().clamp(known.min, known.max).to(kind)

    def _captured_by(self, name: str) -> Any:
        if name not in self._captured:
            raise BackboneError(f"{self.plan.path}: layer {name!r} never ran")
        return self._captured[name]

    def _tensor(self, output: Any) -> torch.Tensor:
        if isinstance(output, (tuple, list)):
            output = output[0]
        if not isinstance(output, torch.Tensor):
            raise BackboneError(
                f"{self.plan.path}: gives a {type(output).__name__}, not a tensor; name a layer"
            )
        return output

    def _capture(self, name: str, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        self._captured[name] = output
