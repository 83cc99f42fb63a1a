"""Safetensors with the factory of their architecture, run on torch."""

import contextlib
import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load

from gate.backbone.artefact import Artefact
from gate.backbone.declared_input import Declared, Found
from gate.backbone.torch_runtime import TorchRuntime
from gate.errors import BackboneError, failing_as, first_line
from gate.plan.backbone import WeightsBackbone
from gate.strict_yaml import nearest

_LIBRARIES = ("timm", "torchvision", "transformers", "open_clip")
_NONE: Mapping[str, Any] = MappingProxyType({})


def open_runtime(plan: WeightsBackbone, artefact: Artefact) -> TorchRuntime:
    """The architecture with its weights.

    Raises:
        BackboneError: A pickle, truncated, or weights that do not fit the architecture.
    """
    plan = plan.settled({})
    module = with_weights(plan, artefact).eval()
    names = filter(None, (plan.layer, plan.logits))
    layers = {name: layer_of(module, plan, name) for name in names}
    runtime = TorchRuntime(plan, module, layers, _declared(module))
    home = plan.arch.split(":")[0].split(".")[0]
    with contextlib.suppress(PackageNotFoundError):  # of a library, or else the team's own module
        runtime.versions[home] = version(home)
    if not plan.layer:
        said = f"no layer is named in the plan: features are what {plan.arch} returns"
        runtime.found = Found({}, (said,))
    return runtime


def _declared(module: torch.nn.Module) -> Declared:
    """What a module takes: numbers of the one type that its parameters are of, or float32."""
    kinds = {each.dtype for each in module.parameters() if each.is_floating_point()}
    kind = str(next(iter(kinds))).removeprefix("torch.") if len(kinds) == 1 else "float32"
    return Declared("images", kind, None)


def with_weights(plan: WeightsBackbone, artefact: Artefact) -> torch.nn.Module:
    """The architecture with the weights of the file.

    Raises:
        BackboneError: A pickle, truncated, or weights that do not fit the architecture.
    """
    content = artefact.read()
    do = "a pickle is never loaded: convert it to safetensors"
    with failing_as(BackboneError, f"{plan.weights}: not safetensors, or truncated", do):
        weights = load(content)
    module = without_weights(plan.arch, plan.arch_args)
    expected = module.state_dict()
    weights = {
        name: tensor.to(expected[name].dtype) if name in expected else tensor
        for name, tensor in weights.items()
    }
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except Exception as fault:  # RuntimeError, and whatever the architecture's own code raises
        raise BackboneError(f"{plan.weights}: does not fit {plan.arch}: {fault}") from fault
    # how many batches were seen in training plays no part in inference, and is often left out
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise BackboneError(
            f"{plan.weights}: does not fit {plan.arch}: {len(missing)} tensors are missing "
            f"{missing[:3]}, {len(unexpected)} are unknown {unexpected[:3]}"
            + _of_a_wrapper(missing, unexpected)
        )
    return module


def _of_a_wrapper(missing: list[str], unexpected: list[str]) -> str:
    """What to do where all names begin alike, as those of what wraps a module.

    >>> _of_a_wrapper(["fc.weight"], ["module.fc.weight"])
    "; names begin with 'module.', as where something wraps the module: save what it wraps"
    """
    prefixes = {name.partition(".")[0] + "." for name in unexpected}
    if len(prefixes) != 1:
        return ""
    (prefix,) = prefixes
    if not {name.removeprefix(prefix) for name in unexpected} & set(missing):
        return ""
    return f"; names begin with {prefix!r}, as where something wraps the module: save what it wraps"


def without_weights(arch: str, arguments: Mapping[str, Any] = _NONE) -> torch.nn.Module:
    """The architecture as its factory gives it.

    Raises:
        BackboneError: It cannot be imported, raises something, or gives no module.
    """
    home, _, name = arch.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # the team's own repository, where gate is run
    try:
        factory = getattr(importlib.import_module(home), name)
    # whatever runs when a module is imported; sys.exit(0) would be read as ACCEPT
    except (Exception, SystemExit) as fault:
        missing = getattr(fault, "name", None)
        do = "run gate from the repository that has it"
        if missing in _LIBRARIES:
            do = f"it is no part of gate: pip install {missing}"
        raise BackboneError(f"arch {arch!r} cannot be imported: {fault}; {do}") from fault
    try:
        made: Any = factory(**arguments)
    except (Exception, SystemExit) as fault:  # whatever a factory raises
        raise BackboneError(
            f"arch {arch!r}: called {_written(arguments)}, it raised {type(fault).__name__}: "
            f"{first_line(fault)}; say in arch_args what it needs, or name a factory that needs "
            "none and gives an nn.Module"
        ) from fault
    if not isinstance(made, torch.nn.Module):
        raise BackboneError(f"{arch}: gives {type(made).__name__}, expected an nn.Module")
    return made


def _written(arguments: Mapping[str, Any]) -> str:
    """Arguments of a factory, for messages."""
    told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"with {told}" if told else "without arguments"


def layer_of(module: torch.nn.Module, plan: WeightsBackbone, name: str) -> torch.nn.Module:
    """A submodule by its name.

    Raises:
        BackboneError: There is none of that name; says which is nearest.
    """
    layers: dict[str, torch.nn.Module] = dict(module.named_modules())
    if name not in layers:
        raise BackboneError(f"{plan.arch}: no layer {name!r}; {nearest(name, layers)}")
    return layers[name]
