"""Lineage: finds a descendant, clears an unrelated network, and says what it cannot compare."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml

from gate import decide, load_policy
from gate.errors import EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.passes import InProcess
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.policy.catalogue import CATALOGUE
from gate.probes.estimate import Range, estimate
from gate.probes.evidence import run_probe
from gate.values import Evidence, Measurement
from pipelines.lineage.copies import permuted_and_rescaled, pruned, quantised
from tests import related
from tests.builders import of_the_probe
from tests.conftest import needs_shared

Describe = dict[str, Any]
Compare = Callable[..., Evidence]
WEIGHTS_ALONE = {
    "independence_p_value",
    "weight_alignment",
    "layer_weight_alignment",
    "relative_parameter_distance",
}


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    """A plan on 200 images with a candidate, an ancestor, and settings of the probe."""

    def make(
        candidate: Describe, ancestor: Describe | None, images: int = 200, **settings: Any
    ) -> Plan:
        rng = np.random.default_rng(3)
        coarse = rng.integers(0, 256, (images, 2, 2, 3)).repeat(4, axis=1).repeat(4, axis=2)
        pixels = (coarse + rng.integers(0, 256, (images, 8, 8, 3))) // 2
        path = tmp_path / f"{images}.npz"
        np.savez(path, image=pixels.astype(np.uint8), label=np.arange(images) % 2)
        split = {"path": str(path), "classes": ["a", "b"]}
        return Plan.model_validate(
            {
                "name": "tiny",
                "backbone": candidate,
                "ancestor": ancestor,
                "splits": {"train": split, "test": split},
                "tasks": {"task": {"train": "train", "test": "test"}},
                "probes": {"lineage": {"permutations": 999, **settings}},
            }
        )

    return make


@pytest.fixture
def compare(plan: Callable[..., Plan], tmp_path: Path) -> Compare:
    """The evidence on a candidate and an ancestor."""

    def run(*arguments: Any, **settings: Any) -> Evidence:
        bench = Bench(plan(*arguments, **settings), tmp_path / "features")
        return run_probe("lineage", Trial(bench))

    return run


@pytest.fixture
def parent(tmp_path: Path) -> Describe:
    return related.write(tmp_path / "parent.safetensors", related.random(0))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[related.Weights], Describe]:
    return lambda weights: related.write(tmp_path / "candidate.safetensors", weights)


def value(evidence: Evidence, metric: str) -> Measurement:
    (found,) = (m for m in evidence.measurements if m.metric == metric)
    return found


def metrics(evidence: Evidence) -> set[str]:
    return {m.metric for m in evidence.measurements}


Write = Callable[[related.Weights], Describe]


def test_a_child_is_near_its_parent_by_every_metric(
    compare: Compare, parent: Describe, write: Write
) -> None:
    found = compare(write(related.noised(related.random(0), 0.3)), parent)

    assert value(found, "independence_p_value").high < 0.01
    assert value(found, "weight_alignment").low > 0.9
    assert value(found, "aligned_weight_alignment").low > 0.8
    assert value(found, "relative_parameter_distance").high < 0.4
    assert value(found, "feature_similarity").low > 0.5
    assert metrics(found) == set(CATALOGUE["lineage"]) - {"interpolation_barrier"}
    assert {m.about["ancestor"] for m in found.measurements} == {related.opened(parent).digest}
    layers = [m.about["layer"] for m in found.measurements if m.metric == "layer_weight_alignment"]
    assert layers == ["stem", "conv1", "conv2", "last", "hidden"]


def test_an_unrelated_network_is_far_by_every_metric_but_features(
    compare: Compare, parent: Describe, write: Write
) -> None:
    found = compare(write(related.random(1)), parent)

    assert value(found, "independence_p_value").low > 0.001
    assert value(found, "weight_alignment").high < 0.1
    assert value(found, "aligned_weight_alignment").high < 0.4
    assert 0.9 < value(found, "relative_parameter_distance").value < 1.1


def test_permuted_and_rescaled_channels_hide_a_parent_from_weights_and_not_once_matched(
    compare: Compare, parent: Describe, write: Write
) -> None:
    weights = related.random(0)
    hidden = permuted_and_rescaled(weights, related.HIDDEN, torch.Generator().manual_seed(1))
    same = related.opened(write(hidden)), related.opened(parent)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    features = [backbone.features(pixels) for backbone in same]
    # it preserves the function
    np.testing.assert_allclose(features[0], features[1], rtol=1e-3, atol=1e-4)

    found = compare(write(hidden), parent)

    kernels = {
        m.about["layer"]: m.value
        for m in found.measurements
        if m.metric in ("layer_weight_alignment", "layer_aligned_weight_alignment")
    }  # the aligned ones come last
    assert value(found, "weight_alignment").value < 0.8
    assert value(found, "aligned_weight_alignment").low > 0.99
    assert min(kernels.values()) > 0.99
    layer = next(
        m for m in found.measurements
        if m.metric == "layer_weight_alignment" and m.about["layer"] == "conv1"
    )  # fmt: skip
    assert layer.high < 0.5


def test_a_permuted_residual_stream_hides_no_parent_either(
    compare: Compare, parent: Describe, write: Write
) -> None:
    weights = related.random(0)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for name, tensor in weights.items():
        if name.split(".")[0] in ("stem", "norm", "conv2", "bn2") and tensor.dim():
            weights[name] = tensor[order]
        elif name in ("conv1.weight", "last.weight"):
            weights[name] = tensor[:, order]

    found = compare(write(weights), parent)

    assert value(found, "feature_similarity").value == pytest.approx(1)
    assert value(found, "weight_alignment").value < 0.5
    assert value(found, "aligned_weight_alignment").low > 0.9


def test_pruned_and_quantised_copies_are_found(
    compare: Compare, parent: Describe, write: Write
) -> None:
    weights = related.random(0)
    for copy in (pruned(weights, 0.5), quantised(weights, 8)):
        found = compare(write(copy), parent)

        assert value(found, "independence_p_value").high < 0.01
        assert value(found, "weight_alignment").low > 0.8
        assert value(found, "aligned_weight_alignment").low > 0.6


def test_the_candidate_itself_is_as_near_as_can_be(compare: Compare, parent: Describe) -> None:
    found = compare(parent, parent)

    assert value(found, "independence_p_value").value == 0.001
    assert value(found, "relative_parameter_distance").value == 0
    for metric in ("weight_alignment", "aligned_weight_alignment", "feature_similarity"):
        assert value(found, metric).value == pytest.approx(1)
    assert of_the_probe(found) == ("the ancestor is the candidate itself, byte for byte",)
    assert found.data["backbone of ancestor"] == found.backbone


@pytest.mark.filterwarnings("ignore")  # torch's own, on pytree
def test_formats_may_be_mixed(compare: Compare, parent: Describe, tmp_path: Path) -> None:
    child = related.noised(related.random(0), 0.3)
    in_torch = compare(related.write(tmp_path / "child.safetensors", child), parent)
    as_onnx = related.write_onnx(tmp_path / "child.onnx", child)
    parent_onnx = related.write_onnx(tmp_path / "parent.onnx", related.random(0))
    exported = related.write_exported(tmp_path / "child.pt2", child)

    for candidate, ancestor in ((as_onnx, parent), (as_onnx, parent_onnx), (exported, parent)):
        found = compare(candidate, ancestor)

        assert metrics(found) == set(CATALOGUE["lineage"]) - {"interpolation_barrier"}
        assert not of_the_probe(found)
        assert {"runtime", "runtime of ancestor"} <= found.versions.keys()
        for metric in metrics(found) - {m for m in metrics(found) if m.startswith("layer_")}:
            ours, theirs = value(found, metric), value(in_torch, metric)
            assert ours.value == pytest.approx(theirs.value, abs=1e-3), metric


def test_an_ancestor_of_another_architecture_leaves_features_and_says_why(
    compare: Compare, parent: Describe, tmp_path: Path
) -> None:
    other = {**related.write_onnx(tmp_path / "m.onnx", related.random(0)), "output": "x2"}

    found = compare(other, parent)

    assert metrics(found) == {"feature_similarity"}
    assert "m.onnx is of another architecture than the ancestor" in found.remarks[0]
    assert (
        "it has 4 layers, and the ancestor 5; name an ancestor of the same one"
        in (found.remarks[0])
    )


def test_a_module_that_cannot_be_followed_leaves_features_and_says_why(
    compare: Compare, parent: Describe, tmp_path: Path
) -> None:
    path = tmp_path / "branching.safetensors"

    found = compare(related.write(path, related.random(0), "branching"), parent)

    assert metrics(found) == {"feature_similarity"}
    assert "torch.export cannot follow" in found.remarks[0]


def test_weights_that_are_not_finite_leave_features_and_are_named(
    compare: Compare, parent: Describe, tmp_path: Path
) -> None:
    described = related.write_onnx(tmp_path / "m.onnx", related.random(0))
    model = onnx.load(described["onnx"])
    # one place of a kernel, behind which Clip takes infinity out again: features are finite
    (tensor,) = (each for each in model.graph.initializer if each.name == "onnx::stem")
    weights = np.array(onnx.numpy_helper.to_array(tensor))
    weights[0, 0, 1, 1] = np.inf
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
    (relu,) = (node for node in model.graph.node if node.output[0] == "x0")
    relu.op_type = "Clip"
    relu.input.extend(["least", "most"])
    for name, number in (("least", 0.0), ("most", 6.0)):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.array(number, np.float32), name)
        )
    onnx.save(model, described["onnx"])

    found = compare(described, parent)

    assert metrics(found) == {"feature_similarity"}
    assert "1 of 324 weights of layer /stem are not finite" in found.remarks[0]


def test_channels_that_all_never_change_leave_the_other_metrics(
    compare: Compare, parent: Describe, write: Write
) -> None:
    weights = related.random(0)
    weights["bn1.weight"].zero_()  # and with it all of what conv2 reads

    found = compare(write(weights), parent)

    assert "aligned_weight_alignment" not in metrics(found)
    assert metrics(found) >= WEIGHTS_ALONE
    remark = next(each for each in found.remarks if each.startswith("aligned_weight_alignment"))
    assert "conv1: all of 16 channels are the same for all 200 images" in remark


def test_features_that_never_change_are_refused(
    compare: Compare, parent: Describe, write: Write
) -> None:
    weights = related.random(0)
    weights["hidden.weight"].zero_()

    with pytest.raises(
        EvidenceError, match=r"lineage: features on test: all of 14 channels.*check"
    ):
        compare(write(weights), parent)


def test_fewer_than_a_hundred_images_are_refused(compare: Compare, parent: Describe) -> None:
    with pytest.raises(EvidenceError, match="test has 99 images, and channels are matched on 100"):
        compare(parent, parent, 99)


def test_a_plan_without_an_ancestor_is_refused(
    compare: Compare, plan: Callable[..., Plan], parent: Describe, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=r"names no ancestor .* drop probes\.lineage"):
        compare(parent, None)
    with pytest.raises(PlanError, match="names no ancestor"):
        estimate(Bench(plan(parent, None), tmp_path / "f"), ["lineage"], calibrates=False)


def test_passes_are_those_that_were_counted(
    plan: Callable[..., Plan], parent: Describe, write: Write, tmp_path: Path
) -> None:
    child = write(related.noised(related.random(0), 0.3))
    for ancestor, images in ((parent, 150), (child, 150), (parent, 600)):
        bench = Bench(plan(child, ancestor, images=images), tmp_path / "features")

        expected = estimate(bench, ["lineage"], calibrates=False)
        run_probe("lineage", Trial(bench))

        assert isinstance(bench.engine, InProcess)
        passes = bench.engine.passes.total()
        assert expected.total("passes") == Range(passes, passes)
        assert passes == 2 * min(images, 600)


def test_the_same_plan_gives_the_same_bytes(
    compare: Compare, parent: Describe, write: Write
) -> None:
    child = write(related.noised(related.random(0), 0.3))

    assert compare(child, parent).to_json() == compare(child, parent).to_json()


@pytest.mark.parametrize(
    ("share", "hides", "claim", "recall"),
    [(0.3, False, "accept", "reject"), (None, False, "reject", "accept"),
     (0.3, True, "reject", "reject")],
)  # fmt: skip
def test_the_shipped_policies_tell_descendants_from_others(
    compare: Compare, write: Write, tmp_path: Path,
    share: float | None, hides: bool, claim: str, recall: str,
) -> None:  # fmt: skip
    parent = related.random(0)
    child = related.random(1) if share is None else related.noised(parent, share)
    if hides:
        child = permuted_and_rescaled(child, related.HIDDEN, torch.Generator().manual_seed(1))
    ancestor = related.write(tmp_path / "parent.safetensors", parent)

    found = compare(write(child), ancestor, permutations=9999)

    for policy, decision in (("claims_ancestor", claim), ("not_descended", recall)):
        judged = load_policy(Path(f"policies/{policy}.yaml"))
        assert decide(judged, [found], date(2026, 1, 1)).decision == decision, policy


def card(name: str) -> Describe:
    content: Describe = yaml.safe_load(Path(f"pipelines/cifar/{name}.yaml").read_text())
    return content


@pytest.fixture
def real(tmp_path: Path) -> Callable[[str, str], Evidence]:
    def run(candidate: str, ancestor: str) -> Evidence:
        content = yaml.safe_load(Path("pipelines/cifar/plan.yaml").read_text())
        content |= {"backbone": card(candidate), "ancestor": card(ancestor), "reference": None}
        content["probes"] = {"lineage": {"tasks": ["own_head"], "images": 200}}
        return run_probe("lineage", Trial(Bench(Plan.model_validate(content), tmp_path)))

    return run


@needs_shared
def test_a_cleansed_backbone_keeps_the_order_of_its_ancestors_channels(
    real: Callable[[str, str], Evidence],
) -> None:
    found = real("wrn16", "wrn16_teacher")

    assert value(found, "independence_p_value").high < 0.001
    assert 0.1 < value(found, "weight_alignment").low < 0.3  # it was retrained for long
    assert value(found, "aligned_weight_alignment").high < 0.3


@needs_shared
def test_the_same_weights_on_onnx_and_on_torch_are_one_network(
    real: Callable[[str, str], Evidence],
) -> None:
    for name in ("wrn16", "resnet20"):
        found = real(name, f"{name}_safetensors")

        assert value(found, "aligned_weight_alignment").low > 0.999
        assert value(found, "relative_parameter_distance").value < 1e-6


@needs_shared
def test_resnets_of_two_depths_are_compared_by_features(
    real: Callable[[str, str], Evidence],
) -> None:
    found = real("resnet20", "resnet32")

    assert metrics(found) == {"feature_similarity"}
    assert 0.5 < value(found, "feature_similarity").value < 0.95
    assert "it has 19 layers, and the ancestor 31" in found.remarks[0]
