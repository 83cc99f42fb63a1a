"""torch: exported programs, and safetensors with the factory of their architecture."""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from gate.backbone.exported import vetted_copy
from gate.errors import BackboneError, first_line
from gate.plan.plan import BackboneFile
from gate.strict_yaml import nearest


class TorchRuntime:
    """Weights on torch: on the GPU if one is there, else on the CPU.

    Raises:
        BackboneError: A pickle, truncated, or weights that do not fit the architecture.
    """

    def __init__(self, file: BackboneFile) -> None:
        self._file = file
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._captured: dict[str, torch.Tensor] = {}
        if file.exported:
            self._module: Any = _exported(file.exported).to(self._device)
        else:
            module = with_weights(file).to(self._device).eval()
            for name in filter(None, (file.layer, file.logits)):
                layer(module, file, name).register_forward_hook(partial(self._capture, name))
            self._module = module
        self.versions = {"runtime": f"torch {torch.__version__} {self._device.type}"}

    def run(
        self, inputs: NDArray[np.float32] | dict[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """What the layer, or the whole module, gives for one batch; and the own head's logits."""
        named: dict[str, NDArray[Any]] = inputs if isinstance(inputs, dict) else {"": inputs}
        count, *rest = next(iter(named.values())).shape
        # exported programs with a dynamic batch are specialised for two images and more
        batch = {
            name: torch.from_numpy(v if count > 1 else np.repeat(v, 2, axis=0)).to(self._device)
            for name, v in named.items()
        }
        self._captured.clear()
        try:
            with torch.inference_mode():
                whole = self._module(batch[""]) if "" in batch else self._module(**batch)
        except Exception as fault:  # whatever the architecture's own code raises
            raise BackboneError(
                f"{self._file.path}: refused a batch of shape {(count, *rest)}: "
                f"{first_line(fault)}; check "
                f"{self._file.hint}"
            ) from fault
        given = [self._captured_by(self._file.layer) if self._file.layer else whole]
        if self._file.logits:
            given.append(self._captured_by(self._file.logits))
        return [self._array(output)[:count] for output in given]

    def _captured_by(self, name: str) -> Any:
        if name not in self._captured:
            raise BackboneError(f"{self._file.path}: layer {name!r} never ran")
        return self._captured[name]

    def _array(self, output: Any) -> NDArray[np.float32]:
        if isinstance(output, (tuple, list)):
            output = output[0]
        if not isinstance(output, torch.Tensor):
            raise BackboneError(
                f"{self._file.path}: gives a {type(output).__name__}, not a tensor; name a layer"
            )
        return output.float().cpu().numpy()

    def _capture(self, name: str, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        self._captured[name] = output


def _exported(path: Path) -> torch.nn.Module:
    copy = vetted_copy(path)
    try:
        module: torch.nn.Module = torch.export.load(copy).module()
    except Exception as fault:  # the loader raises whatever its parts raise
        raise BackboneError(f"{path}: torch.export cannot load it: {first_line(fault)}") from fault
    return module


def with_weights(file: BackboneFile) -> torch.nn.Module:
    """The architecture with the weights of the file.

    Raises:
        BackboneError: A pickle, truncated, or weights that do not fit the architecture.
    """
    assert file.weights is not None and file.arch is not None  # noqa: S101  # the plan holds it
    try:
        weights = load_file(file.weights)
    except OSError as fault:
        raise BackboneError(f"{file.weights}: cannot be read: {fault}") from fault
    except SafetensorError as fault:
        raise BackboneError(
            f"{file.weights}: not safetensors, or truncated: {fault}; a pickle is never loaded: "
            "convert it to safetensors"
        ) from fault
    module = without_weights(file.arch)
    expected = module.state_dict()
    weights = {
        name: tensor.to(expected[name].dtype) if name in expected else tensor
        for name, tensor in weights.items()
    }
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as fault:
        raise BackboneError(f"{file.weights}: does not fit {file.arch}: {fault}") from fault
    # how many batches were seen in training plays no part in inference, and is often left out
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise BackboneError(
            f"{file.weights}: does not fit {file.arch}: {len(missing)} tensors are missing "
            f"{missing[:3]}, {len(unexpected)} are unknown {unexpected[:3]}"
        )
    return module


def without_weights(arch: str) -> torch.nn.Module:
    """The architecture as its factory gives it.

    Raises:
        BackboneError: It cannot be imported, or gives no module.
    """
    home, _, name = arch.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # the team's own repository, where gate is run
    try:
        made: Any = getattr(importlib.import_module(home), name)()
    except (ImportError, AttributeError) as fault:
        raise BackboneError(
            f"arch {arch!r} cannot be imported: {fault}; run gate from the repository that has it"
        ) from fault
    if not isinstance(made, torch.nn.Module):
        raise BackboneError(f"{arch}: gives {type(made).__name__}, expected an nn.Module")
    return made


def layer(module: torch.nn.Module, file: BackboneFile, name: str) -> torch.nn.Module:
    """A submodule by its name.

    Raises:
        BackboneError: There is none of that name; says which is nearest.
    """
    layers: dict[str, torch.nn.Module] = dict(module.named_modules())
    if name not in layers:
        raise BackboneError(f"{file.arch}: no layer {name!r}; {nearest(name, layers)}")
    return layers[name]
