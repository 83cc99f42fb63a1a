"""What gives one example several answers is refused, before any number is given."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from gate.backbone.backbone import Backbone
from gate.errors import BackboneError, ExitCode
from gate.measure import embed
from gate.measure.bench import Bench
from gate.measure.stability import require_stable
from gate.measure.trial import Trial
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import Plan
from tests import tiny, tiny_text
from tests.conftest import SHARED, Gate, needs_shared

SIDE, WIDTH = 8, 6
WEIGHT = np.random.default_rng(5).normal(size=(3 * SIDE * SIDE, WIDTH)).astype(np.float32)
ONES = np.ones(WIDTH, np.float32)
node = helper.make_node


def model(
    last: Iterable[onnx.NodeProto],
    opset: int = 17,
    batch: Any = "N",
    **constants: Any,
) -> onnx.ModelProto:
    """Images, flattened, times a matrix: ``plain``; then what is given, which ends in ``out``."""
    value = helper.make_tensor_value_info
    first = [node("Flatten", ["images"], ["flat"]), node("MatMul", ["flat", "weight"], ["plain"])]
    graph = helper.make_graph(
        [*first, *last],
        "tiny",
        [value("images", onnx.TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [value("out", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, n) for n, a in {"weight": WEIGHT, **constants}.items()],
    )
    domains = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def backbone(folder: Path, made: onnx.ModelProto, **changes: Any) -> Backbone:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    content = {"onnx": path, "output": "out", "preprocessing": {"size": SIDE}, **changes}
    return Backbone(BackbonePlan.model_validate(content))


def images(n: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


NORMED: dict[str, Any] = {"scale": ONES, "bias": 0 * ONES, "mean": 0 * ONES, "var": ONES}
UNSTABLE: dict[str, tuple[onnx.ModelProto, str]] = {
    "dropout": (
        model(
            [node("Dropout", ["plain", "ratio", "on"], ["out"], name="drop")],
            ratio=np.float32(0.1),
            on=np.bool_(True),
        ),
        r"passed twice.* \(Dropout 'drop' in training mode\); export it in evaluation mode",
    ),
    "dropout with a switch that is computed": (
        model(
            [
                node("ReduceMax", ["plain"], ["most"], keepdims=0),
                node("Greater", ["most", "low"], ["on"]),
                node("Dropout", ["plain", "", "on"], ["out"]),
            ],
            low=np.float32(-1e9),
        ),
        "passed twice.*Dropout 'out' in training mode",
    ),
    "noise of a millionth": (
        model(
            [
                node("RandomNormalLike", ["plain"], ["noise"], scale=1e-6),
                node("Add", ["plain", "noise"], ["out"]),
            ]
        ),
        "passed twice.*RandomNormalLike 'noise'",
    ),
    "batch norm": (
        model(
            [
                node(
                    "BatchNormalization", ["plain", *NORMED], ["out", "new_mean", "new_var"],
                    training_mode=1, name="bn",
                )
            ],
            **NORMED,
        ),
        r"passed twice.* \(BatchNormalization 'bn' in training mode\); export it in evaluation",
    ),
    "the batch's mean taken off": (
        model(
            [
                node("ReduceMean", ["plain"], ["mean"], axes=[0], name="mean_of_rows"),
                node("Sub", ["plain", "mean"], ["out"]),
            ]
        ),
        r"rows depend on each other \(ReduceMean 'mean_of_rows' over the first axis\)",
    ),
    "softmax along the batch": (
        model(
            [
                node("Softmax", ["plain"], ["share"], axis=0),
                node("Mul", ["plain", "share"], ["out"]),
            ]
        ),
        "rows depend on each other.*Softmax 'share' over the first axis",
    ),
    "normalised over batch and places": (
        model(
            [
                node("Unsqueeze", ["plain", "axes"], ["maps"]),
                node("MeanVarianceNormalization", ["maps"], ["out"]),
            ],
            axes=np.array([2, 3]),
        ),
        "rows depend on each other.*MeanVarianceNormalization 'out'",
    ),
    "ranges of the whole batch": (
        model(
            [
                node("DynamicQuantizeLinear", ["plain"], ["q", "step", "zero"]),
                node("DequantizeLinear", ["q", "step", "zero"], ["out"]),
            ]
        ),
        "rows depend on each other.*DynamicQuantizeLinear.*say batch_size: 1 in the plan",
    ),
    "a number for each place in the batch": (
        model([node("Add", ["plain", "places"], ["out"])], batch=16,
              places=np.arange(16, dtype=np.float32)[:, None]),
        "in a batch of 16 and in the same batch in another order differ, .*rows depend on each",
    ),
    "each row's neighbour mixed in": (
        model(
            [
                node("Concat", ["plain", "plain"], ["both"], axis=0),
                node("Shape", ["plain"], ["shape"]),
                node("Gather", ["shape", "zero"], ["n"]),
                node("Add", ["n", "one"], ["end"]),
                node("Slice", ["both", "one", "end", "zero"], ["neighbours"]),
                node("Add", ["plain", "neighbours"], ["out"]),
            ],
            zero=np.array([0]),
            one=np.array([1]),
        ),
        "in another order differ, .*rows depend on each other; export",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSTABLE)
def test_a_graph_that_gives_an_image_several_answers_is_refused_and_the_operator_named(
    tmp_path: Path, kind: str
) -> None:
    made, says = UNSTABLE[kind]

    with pytest.raises(BackboneError, match=says):
        require_stable(backbone(tmp_path, made), images())


STABLE = {
    "plain": model([node("Relu", ["plain"], ["out"])]),
    "dropout that is off": model(
        [node("Dropout", ["plain", "ratio", "on"], ["out"])],
        ratio=np.float32(0.5), on=np.bool_(False),
    ),
    "dropout without ratio": model(
        [node("Dropout", ["plain", "ratio", "on"], ["out"])],
        ratio=np.float32(0), on=np.bool_(True),
    ),
    "dropout of an older operator set": model(
        [node("Dropout", ["plain"], ["out"], ratio=0.5)], opset=11
    ),
    "batch norm in evaluation": model(
        [node("BatchNormalization", ["plain", *NORMED], ["out"])], **NORMED
    ),
    "noise that reaches no output": model(
        [node("RandomNormalLike", ["plain"], ["noise"]), node("Relu", ["plain"], ["out"])]
    ),
    "features of one value": model([node("Mul", ["plain", "nothing"], ["out"])],
                                   nothing=np.float32(0)),
}  # fmt: skip


@pytest.mark.parametrize("kind", STABLE)
def test_a_graph_that_gives_one_answer_passes(tmp_path: Path, kind: str) -> None:
    require_stable(backbone(tmp_path, STABLE[kind]), images())


def test_images_that_are_all_the_same_pass(tmp_path: Path) -> None:
    same = np.repeat(images(1), 16, axis=0)

    require_stable(backbone(tmp_path, STABLE["batch norm in evaluation"]), same)


def mixed(folder: Path, strength: float, nodes: list[onnx.NodeProto], **more: Any) -> Backbone:
    """``others``, as the nodes make them, added to each row at a strength."""
    added = [
        node("Mul", ["others", "strength"], ["little"]),
        node("Add", ["plain", "little"], ["out"]),
    ]
    return backbone(folder, model([*nodes, *added], strength=np.float32(strength), **more))


def test_rounding_of_low_precision_passes_and_more_does_not(tmp_path: Path) -> None:
    others = [node("Gather", ["plain", "reverse"], ["others"], axis=0)]
    some = {"reverse": np.arange(16)[::-1].copy()}

    require_stable(mixed(tmp_path, 5e-3, others, **some), images())
    with pytest.raises(BackboneError, match=r"differ, by 0\.\d+ of what images differ by"):
        require_stable(mixed(tmp_path, 5e-2, others, **some), images())


def test_beside_an_operator_that_puts_rows_together_rounding_alone_passes(tmp_path: Path) -> None:
    most = [node("ReduceMax", ["plain"], ["others"], axes=[0])]

    require_stable(mixed(tmp_path, 1e-6, most), images())
    with pytest.raises(BackboneError, match=r"alone and in a batch of 16 differ, by 0\.0"):
        require_stable(mixed(tmp_path, 1e-2, most), images())


def test_a_feature_that_hardly_moves_is_not_looked_at_by_itself(tmp_path: Path) -> None:
    """Beside six others it is 1000, and a millionth of it is the neighbour's."""
    nodes = [
        node("Gather", ["plain", "reverse"], ["others"], axis=0),
        node("Gather", ["others", "one"], ["first"], axis=1),
        node("Mul", ["first", "little"], ["tiny"]),
        node("Add", ["tiny", "much"], ["column"]),
        node("Concat", ["plain", "column"], ["out"], axis=1),
    ]
    made = model(
        nodes,
        reverse=np.arange(16)[::-1].copy(),
        one=np.array([0]),
        little=np.float32(1e-4),
        much=np.float32(1000),
    )

    require_stable(backbone(tmp_path, made), images())


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("dropout that is off", []),
        ("dropout without ratio", []),
        ("dropout of an older operator set", []),
        ("batch norm in evaluation", []),
        ("noise that reaches no output", ["RandomNormalLike 'noise'"]),
    ],
)
def test_operators_are_named_only_where_they_do_something(
    tmp_path: Path, kind: str, names: list[str]
) -> None:
    found = backbone(tmp_path, STABLE[kind]).unstable_operators()

    assert [each.name for each in found] == names


def test_the_own_heads_logits_are_tried_too(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["plain"], ["out"]),
        node("ReduceMean", ["plain"], ["mean"], axes=[0]),
        node("Sub", ["plain", "mean"], ["logits"]),
    ]
    tried = backbone(tmp_path, model(nodes), logits="logits")

    with pytest.raises(BackboneError, match="logits of one image alone"):
        require_stable(tried, images())


def test_with_one_example_a_pass_ranges_of_a_batch_are_its_own(tmp_path: Path) -> None:
    made, _ = UNSTABLE["ranges of the whole batch"]

    require_stable(backbone(tmp_path, made), images(1))


def test_a_graph_of_one_batch_size_is_tried_by_copies(tmp_path: Path) -> None:
    fine = model([node("Reshape", ["plain", "shape"], ["out"])], shape=np.array([16, WIDTH]))
    nodes = [
        node("Reshape", ["plain", "shape"], ["rows"]),
        node("Softmax", ["rows"], ["share"], axis=0),
        node("Mul", ["rows", "share"], ["out"]),
    ]
    unsound = model(nodes, batch=16, shape=np.array([16, WIDTH]))

    require_stable(backbone(tmp_path, fine), images())
    with pytest.raises(BackboneError, match="rows depend on each other"):
        require_stable(backbone(tmp_path, unsound), images())


# --- torch ----------------------------------------------------------------------------------------


class Drawn(nn.Module):
    """Dropout by a function, which `eval()` does not turn off."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.dropout(self.conv(pixels).mean(dim=(2, 3)), 0.2)


class Stuck(nn.Module):
    """BatchNorm that stays in training mode whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), _Stuck(4)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.as_tensor(self.norm(self.conv(pixels)).mean(dim=(2, 3)))


class _Stuck(nn.BatchNorm2d):
    def train(self, _mode: bool = True) -> "_Stuck":
        return super().train(True)


class Trained(nn.Module):
    """BatchNorm and Dropout, as most networks have them."""

    def __init__(self, rate: float = 0.2) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(rate)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.as_tensor(self.drop(self.norm(self.conv(pixels)).mean(dim=(2, 3))))


def drawn() -> nn.Module:
    return Drawn()


def stuck() -> nn.Module:
    return Stuck()


def trained() -> nn.Module:
    return Trained().train()


def weights(folder: Path, factory: str) -> Backbone:
    path = folder / f"{factory}.safetensors"
    save_file(globals()[factory]().state_dict(), path)
    arch = f"tests.measure.test_stability:{factory}"
    content = {"weights": path, "arch": arch, "preprocessing": {"size": SIDE}}
    return Backbone(BackbonePlan.model_validate(content))


def test_an_architecture_that_draws_or_keeps_to_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="one batch, passed twice, gives two answers: features"):
        require_stable(weights(tmp_path, "drawn"), images())
    with pytest.raises(BackboneError, match=r"depend on each other \(_Stuck 'norm' in training"):
        require_stable(weights(tmp_path, "stuck"), images())


def test_a_factory_that_leaves_its_module_in_training_mode_is_put_into_evaluation(
    tmp_path: Path,
) -> None:
    require_stable(weights(tmp_path, "trained"), images())


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Trained(), r"passed twice.*aten.dropout.default 'dropout' in training mode"),
        (Trained(0.0), r"rows depend on each other.*batch_norm.default 'batch_norm' in training"),
        (Drawn(), r"passed twice.*dropout"),
    ],
)
def test_a_program_exported_in_training_mode_is_refused(
    tmp_path: Path, module: nn.Module, says: str
) -> None:
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    made = torch.export.export(module, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=shapes)
    torch.export.save(made, tmp_path / "model.pt2")
    content = {"exported": tmp_path / "model.pt2", "preprocessing": {"size": SIDE}}

    with pytest.raises(BackboneError, match=says):
        require_stable(Backbone(BackbonePlan.model_validate(content)), images())


# --- texts ----------------------------------------------------------------------------------------


def test_texts_whose_padding_counts_are_refused(tmp_path: Path) -> None:
    """The mean over places is taken inside, where nothing says which are padding."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Gather", ["vectors", "input_ids"], ["tokens"]),
            node("ReduceMean", ["tokens"], ["pooled"], axes=[1], keepdims=0),
        ],
        "words",
        [value("input_ids", onnx.TensorProto.INT64, ["N", "T"])],
        [value("pooled", onnx.TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(tiny_text.VECTORS, "vectors")],
    )
    domains = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=domains, ir_version=8)
    text = {"tokenizer": tiny_text.write_tokenizer(tmp_path)}
    path = tmp_path / "words.onnx"
    path.write_bytes(made.SerializeToString())
    content = {"onnx": path, "text": text}

    with pytest.raises(BackboneError, match=r"of one text alone .*attention_mask among its inputs"):
        require_stable(
            Backbone(BackbonePlan.model_validate(content)),
            ["the ball", "stock price of the news today", "goal"],
        )
    tiny_text.write_onnx(tmp_path)
    require_stable(Backbone(BackbonePlan.model_validate(content)), ["the ball", "of the news"])


# --- where it is tried ----------------------------------------------------------------------------


@pytest.fixture
def sorted_plan(tmp_path: Path) -> dict[str, Any]:
    """Dark images and then bright ones; the backbone takes the mean of each batch off."""
    for name, seed in (("train", 0), ("test", 1)):
        labels = np.repeat([0, 1], 60)
        pixels = images(120, seed) // 2 + (labels * 100).astype(np.uint8)[:, None, None, None]
        np.savez(tmp_path / f"{name}.npz", image=pixels, label=labels)
    made, _ = UNSTABLE["the batch's mean taken off"]
    (tmp_path / "unsound.onnx").write_bytes(made.SerializeToString())
    (tmp_path / "sound.onnx").write_bytes(STABLE["plain"].SerializeToString())
    return {
        "name": "sorted",
        "batch_size": 40,
        "backbone": described(tmp_path, "unsound"),
        "splits": {
            name: {"path": str(tmp_path / f"{name}.npz"), "classes": ["dark", "bright"]}
            for name in ("train", "test")
        },
        "tasks": {"t": {"train": "train", "test": "test"}},
        "probes": {"clean_accuracy": {}},
    }


def described(folder: Path, name: str) -> dict[str, Any]:
    return {"onnx": str(folder / f"{name}.onnx"), "preprocessing": {"size": SIDE}}


REFUSED = "rows depend on each other (ReduceMean 'mean_of_rows' over the first axis)"


def test_every_command_that_passes_examples_refuses_it(
    gate: Gate, tmp_path: Path, sorted_plan: dict[str, Any]
) -> None:
    plan, row = tmp_path / "plan.yaml", tmp_path / "row"
    plan.write_text(yaml.safe_dump(sorted_plan))
    row.mkdir()
    for name in ("a", "b"):
        (row / f"{name}.onnx").write_bytes((tmp_path / "unsound.onnx").read_bytes() + b"")
    out = tmp_path / "out"
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "name: p\nversion: 1\nrules: [{probe: clean_accuracy, metric: accuracy, at_least: 0.1, "
        "why: test}]\n"
    )
    for command in (
        ("run", plan, "--policy", policy, "--out", out / "run"),
        ("estimate", plan),
        ("embed", plan, "--features", out / "features"),
        ("probe", "clean_accuracy", "--plan", plan, "--out", out / "evidence.json"),
        ("calibrate", plan, "--out", out / "heads"),
        ("checkpoints", row, "--plan", plan),
    ):
        code, _, err = gate(*command)

        assert (code, REFUSED in err) == (ExitCode.ERROR, True), (command, err)
    assert not list(out.rglob("*.json"))


@pytest.mark.parametrize("other", ["reference", "ancestor"])
def test_a_reference_or_an_ancestor_is_tried_too(
    tmp_path: Path, sorted_plan: dict[str, Any], other: str
) -> None:
    changed = {"backbone": described(tmp_path, "sound"), other: described(tmp_path, "unsound")}
    trial = Trial(Bench(Plan.model_validate(sorted_plan | changed), tmp_path / "features"))

    trial.features("test")
    with pytest.raises(BackboneError, match=r"unsound\.onnx.*rows depend on each other"):
        trial.features("test", getattr(trial, other))


def test_features_that_an_earlier_run_left_do_not_hide_it(
    tmp_path: Path, sorted_plan: dict[str, Any]
) -> None:
    bench = Bench(Plan.model_validate(sorted_plan), tmp_path / "features")
    split = bench.split("test")
    embed.outputs(bench.folder, bench.engine, bench.backbone, split, 40, lambda _: None)
    assert embed.kept(bench.folder, bench.backbone, split, 40)

    with pytest.raises(BackboneError, match="rows depend on each other"):
        bench.features("test")


def test_real_examples_are_tried_and_not_random_pixels_alone(
    tmp_path: Path, sorted_plan: dict[str, Any]
) -> None:
    """No random image is as bright as what adds a number to its batch; real ones are."""
    nodes = [
        node("ReduceMean", ["images"], ["brightness"], axes=[1, 2, 3], keepdims=0),
        node("ReduceMax", ["brightness"], ["most"], axes=[0], keepdims=1),
        node("Greater", ["most", "bound"], ["is_bright"]),
        node("Cast", ["is_bright"], ["number"], to=onnx.TensorProto.FLOAT),
        node("Add", ["plain", "number"], ["out"]),
    ]
    made = model(nodes, bound=np.float32(0.6))
    (tmp_path / "unsound.onnx").write_bytes(made.SerializeToString())
    path = tmp_path / "train.npz"
    pixels = np.array([[40], [220]] * 40, np.uint8)[..., None, None] * np.ones(
        (1, SIDE, SIDE, 3), np.uint8
    )
    noise = images(80) // 10
    np.savez(path, image=pixels + noise, label=np.arange(80) % 2)
    bench = Bench(Plan.model_validate(sorted_plan), tmp_path / "features")

    require_stable(bench.backbone, images())
    with pytest.raises(BackboneError, match="rows depend on each other"):
        bench.require_stable(bench.backbone)


@needs_shared
@pytest.mark.parametrize("name", ["resnet20_cifar10_clean", "badnet_cifar10_verazuo_backdoored"])
def test_real_backbones_pass(name: str) -> None:
    content = {"onnx": SHARED / "models" / f"{name}.onnx", "preprocessing": {"size": 32}}
    pixels = np.load(SHARED / "images" / "cifar10_dev.npz")["x_test"][:64]

    require_stable(Backbone(BackbonePlan.model_validate(content)), pixels)


def test_the_tiny_backbone_of_every_test_passes(tmp_path: Path) -> None:
    content = {
        "onnx": tiny.write_onnx(tmp_path / "tiny.onnx"),
        "preprocessing": tiny.PREPROCESSING,
    }

    require_stable(Backbone(BackbonePlan.model_validate(content)), images())
