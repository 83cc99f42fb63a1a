"""Weights between two networks of one architecture, or with a module of another; BatchNorm anew.

Weights are values here, tensors by name: nothing is trained, and no file is written.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gate.arrays import Array, Float32
from gate.backbone.artefact import Artefact, HeldWeights
from gate.backbone.runtime import Tokens
from gate.backbone.weights_runtime import with_weights, without_weights
from gate.errors import BackboneError, PlanError, failing_as
from gate.plan.backbone import BackbonePlan, WeightsBackbone

Weights = dict[str, Tensor]
Inputs = Float32 | Tokens


def weights_backbone(plan: BackbonePlan, who: str) -> WeightsBackbone:
    """A description, of weights with an architecture.

    Args:
        plan: The description.
        who: What the plan calls it.

    Raises:
        PlanError: It is of a file with a program of its own.
    """
    if not isinstance(plan, WeightsBackbone):
        raise PlanError(
            f"{who}: {plan.path} is given as {plan.format}, and weights are altered only of one "
            "given as weights with an arch; give safetensors with the factory of their architecture"
        )
    return plan


def weights_of(plan: WeightsBackbone, artefact: Artefact) -> Weights:
    """All parameters and buffers of a network, by name, in the types of its architecture.

    Raises:
        BackboneError: They do not fit the architecture, or some are not finite.
    """
    weights = with_weights(plan, artefact).state_dict()
    for name, tensor in weights.items():
        if bad := int((~torch.isfinite(tensor)).sum()):
            raise BackboneError(
                f"{plan.weights}: {bad} of {tensor.numel()} numbers of {name} are not finite, so "
                "nothing can be made of these weights; repair the file"
            )
    return weights


def initial_weights(plan: WeightsBackbone, seed: int) -> Weights:
    """The weights that the factory draws under a seed, those that training from scratch begins at.

    Raises:
        BackboneError: The factory cannot be called.
    """
    # factories draw from torch's own generator; it is put back as it was
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return without_weights(plan.arch, plan.arch_args).state_dict()


def unlike(first: Weights, second: Weights) -> list[str]:
    """Names of tensors that one of both lacks, or that differ in shape.

    >>> unlike({"w": torch.zeros(2), "b": torch.zeros(1)}, {"w": torch.zeros(3)})
    ['b', 'w']
    """
    return sorted(
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or first[name].shape != second[name].shape
    )


def interpolated(first: Weights, second: Weights, share: float) -> Weights:
    """``(1 - share) * first + share * second``; what is no floating point number is the first's.

    Those tensors that are unlike are the first's, too.

    >>> ends = {"w": torch.tensor([1.0]), "n": torch.tensor([4])}, {"w": torch.tensor([3.0])}
    >>> interpolated(*ends, 0.25)
    {'w': tensor([1.5000]), 'n': tensor([4])}
    """
    apart = set(unlike(first, second))
    return {
        name: tensor
        if name in apart or not tensor.is_floating_point()
        # in double precision, since half of it may overflow on the way
        else torch.lerp(tensor.double(), second[name].double(), share).to(tensor.dtype)
        for name, tensor in first.items()
    }


def is_of(name: str, module: str) -> bool:
    """Whether a tensor belongs to a module.

    >>> is_of("layer1.0.weight", "layer1"), is_of("layer10.weight", "layer1")
    (True, False)
    """
    return name == module or name.startswith(f"{module}.")


def rewound(weights: Weights, others: Weights, module: str) -> Weights:
    """Weights, with those of one module, its buffers among them, from others."""
    return {
        name: others[name] if is_of(name, module) else tensor for name, tensor in weights.items()
    }


def norm(tensors: Weights) -> float:
    """Euclidean norm of all numbers of tensors.

    >>> norm({"w": torch.tensor([3.0]), "b": torch.tensor([[4.0]])})
    5.0
    """
    return math.sqrt(sum(float((tensor.double() ** 2).sum()) for tensor in tensors.values()))


def standard_noise(weights: Weights, names: Sequence[str], seed: Sequence[int]) -> Weights:
    """Normal noise of standard deviation 1 in the shapes of some tensors."""
    rng = np.random.default_rng(seed)
    return {name: torch.from_numpy(rng.standard_normal(weights[name].shape)) for name in names}


def shifted(weights: Weights, noise: Weights, scale: float) -> Weights:
    """Weights with noise added to the tensors that it is for, times a scale."""
    moved = {
        name: (weights[name].double() + scale * each).to(weights[name].dtype)
        for name, each in noise.items()
    }
    return {**weights, **moved}


def as_bytes(weights: Weights) -> bytes:
    """Weights as safetensors."""
    # cloned, since tensors that share memory are not saved, nor are those that lie otherwise
    return save({name: of.detach().cpu().clone().contiguous() for name, of in weights.items()})


class Architecture:
    """What a factory says of a network before any weights are read.

    Args:
        plan: Names the factory.

    Raises:
        BackboneError: The factory cannot be called.
    """

    def __init__(self, plan: WeightsBackbone) -> None:
        self._plan, self._network = plan, without_weights(plan.arch, plan.arch_args)
        self.weights: Weights = self._network.state_dict()  # of which shapes alone count
        self.has_batch_norm = bool(_norms(self._network))

    @property
    def modules(self) -> list[str]:
        """The parts that have parameters: children of the network, and parameters of its own.

        Of a network that wraps a single child, they are the child's.
        """
        network, prefix = self._network, ""
        while True:
            own = [name for name, _ in network.named_parameters(recurse=False)]
            children = {
                name: child
                for name, child in network.named_children()
                if next(child.parameters(), None) is not None
            }
            (only, *others) = children.values() or [None]
            if own or others or only is None or not any(only.children()):
                return [prefix + name for name in (*own, *children)]
            prefix += f"{next(iter(children))}."
            network = only

    def has(self, module: str) -> bool:
        """Whether it has a module, or a parameter, of that name."""
        return any(module == name for name, _ in self._network.named_modules()) or any(
            module == name for name, _ in self._network.named_parameters()
        )

    @property
    def names(self) -> list[str]:
        """Names of all modules."""
        return [name for name, _ in self._network.named_modules() if name]

    def parameters_of(self, module: str) -> list[str]:
        """Names of the parameters that belong to a module."""
        return [name for name, _ in self._network.named_parameters() if is_of(name, module)]

    def in_forward_order(self, modules: Sequence[str], inputs: Inputs) -> list[str]:
        """Modules in the order in which a batch first reaches them.

        Those that are not called by themselves, such as parameters, come first.

        Raises:
            BackboneError: The network refuses the batch.
        """
        reached: list[str] = []
        layers = dict(self._network.named_modules())
        hooks = [
            layers[name].register_forward_pre_hook(lambda *_, name=name: reached.append(name))
            for name in modules
            if name in layers
        ]
        with failing_as(BackboneError, f"{self._plan.path}: refused a batch", self._plan.hint):
            self._network.eval()
            with torch.no_grad():
                _fed(self._network, inputs, torch.device("cpu"))
        for hook in hooks:
            hook.remove()
        order = {name: place for place, name in enumerate(dict.fromkeys(reached))}
        return sorted(modules, key=lambda name: order.get(name, -1))


def recalibrated(
    plan: WeightsBackbone, weights: bytes, batches: Sequence[Inputs], advance: Callable[[int], None]
) -> bytes:
    """Weights, with BatchNorm statistics that are the mean of those of batches.

    Every other layer is as in inference: nothing is dropped out.

    Args:
        plan: Names the architecture.
        weights: As safetensors.
        batches: Inputs, of two images or more each; batches count alike.
        advance: Called with the number of images of each.

    Raises:
        BackboneError: The network refuses a batch.

    Source:
        Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization";
        as ``torch.optim.swa_utils.update_bn``.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = with_weights(plan, HeldWeights(plan.path, weights)).eval().to(device)
    for norm in _norms(network):
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches, and not one that forgets
        norm.train()
    with failing_as(BackboneError, f"{plan.path}: BatchNorm cannot be recalibrated", plan.hint):
        for batch in batches:
            with torch.no_grad():
                _fed(network, batch, device)
            advance(len(next(iter(batch.values())) if isinstance(batch, dict) else batch))
    return as_bytes(network.state_dict())


def _norms(network: nn.Module) -> list[_BatchNorm]:
    """Layers that keep statistics of batches."""
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]


def _fed(network: nn.Module, inputs: Inputs, device: torch.device) -> None:
    named: dict[str, Array] = inputs if isinstance(inputs, dict) else {"": inputs}
    batch = {name: torch.from_numpy(values).to(device) for name, values in named.items()}
    if "" in batch:
        network(batch[""])
    else:
        network(**batch)
