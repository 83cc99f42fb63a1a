"""Factories that take arguments, such as those of timm and torchvision."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from gate.backbone.backbone import Backbone
from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan
from tests import tiny

HERE = "tests.backbone.test_arch_args"


def create(name: str, width: int = 5, pretrained: bool = False) -> torch.nn.Module:
    """As ``timm.create_model`` is called."""
    assert name == "tiny"
    assert not pretrained
    module = tiny.Tiny()
    module.conv = torch.nn.Conv2d(3, width, 3, bias=False)
    return module


def opened(folder: Path, arch: str = f"{HERE}:create", **arguments: Any) -> Backbone:
    path = folder / "m.safetensors"
    save_file(tiny.loaded().state_dict(), path)
    return Backbone(described(path, arch, **arguments))


def described(path: Path, arch: str = f"{HERE}:create", **arguments: Any) -> BackbonePlan:
    plan = {"weights": path, "arch": arch, "arch_args": arguments}
    return BackbonePlan.model_validate({**plan, "preprocessing": tiny.PREPROCESSING})


def test_a_factory_is_called_with_the_arguments_of_the_plan(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)

    backbone = opened(tmp_path, name="tiny", width=5, pretrained=False)

    np.testing.assert_allclose(backbone.features(images), tiny.by_hand(images), rtol=1e-5)
    assert backbone.plan.settings["arch_args"] == {"name": "tiny", "pretrained": False, "width": 5}
    assert any("features are what" in each for each in backbone.remarks)


def test_plans_that_differ_in_an_argument_differ(tmp_path: Path) -> None:
    plans = {described(tmp_path, name="tiny", width=width) for width in (5, 5, 6)}
    assert len(plans) == 2


def test_weights_that_do_not_fit_the_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"size mismatch for conv.weight"):
        opened(tmp_path, name="tiny", width=6)


def test_arguments_that_a_factory_refuses_are_named(tmp_path: Path) -> None:
    says = r"called with name='tiny', depth=3, it raised TypeError: .*'depth'.*; say in arch_args"
    with pytest.raises(BackboneError, match=says):
        opened(tmp_path, name="tiny", depth=3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pretrained": True}, "arch_args.pretrained: weights come from the file that is judged"),
        ({"weights": "DEFAULT"}, "arch_args.weights: weights come from the file"),
        ({"checkpoint_path": "a.pth"}, "arch_args.checkpoint_path: weights come from the file"),
        ({"model_name": "hf-hub:a/b"}, "'hf-hub:a/b' is fetched from elsewhere"),
    ],
)
def test_arguments_that_bring_weights_or_code_from_elsewhere_are_refused(
    arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        described(Path("m.safetensors"), **arguments)


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(tmp_path: Path) -> None:
    if find_spec("timm"):
        pytest.skip("timm is installed here")

    with pytest.raises(BackboneError, match="timm is not installed here; pip install timm"):
        opened(tmp_path, "timm:create_model", model_name="resnet18")


def test_arguments_go_with_an_architecture_alone() -> None:
    plan = {"onnx": "m.onnx", "arch_args": {"a": 1}, "preprocessing": {"size": 8}}
    with pytest.raises(ValidationError, match="weights and arch go together"):
        BackbonePlan.model_validate(plan)
