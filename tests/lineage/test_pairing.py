"""Layers are paired by order or by name, or it is said why they are not."""

import numpy as np
import pytest

from gate.lineage.network import Layer, Site
from gate.lineage.pairing import paired, relative_distance


def layer(name: str, *shape: int, seed: int = 0, readers: tuple[int, ...] = ()) -> Layer:
    weight = np.random.default_rng(seed).normal(size=shape)
    return Layer(name, weight, None, Site("x", 1), readers)


def test_order_comes_before_names() -> None:
    ours = [layer("a", 4, 3, 9), layer("b", 4, 3, 9)]
    theirs = [layer("b", 4, 3, 9), layer("a", 4, 3, 9)]

    assert [pair.ancestor.name for pair in paired(ours, theirs)] == ["b", "a"]


def test_names_pair_what_stands_in_another_order() -> None:
    ours = [layer("a", 4, 3, 9, readers=(1,)), layer("b", 5, 4, 9), layer("c", 2, 3, 1)]
    theirs = [layer("c", 2, 3, 1), layer("a", 4, 3, 9, readers=(2,)), layer("b", 5, 4, 9)]

    pairs = paired(ours, theirs)

    assert [pair.ancestor.name for pair in pairs] == ["a", "b", "c"]
    assert pairs[0].ancestor.readers == pairs[0].candidate.readers == (1,)


def test_a_shallower_network_is_another_architecture_though_its_names_are_there() -> None:
    deep = [layer(name, 4, 4, 9) for name in "abc"]

    with pytest.raises(ValueError, match="it has 2 layers, and the ancestor 3"):
        paired(deep[:2], deep)
    with pytest.raises(ValueError, match="it has 3 layers, and the ancestor 2"):
        paired(deep, deep[:2])


def test_the_first_layer_of_another_shape_is_named() -> None:
    ours = [layer("a", 4, 3, 9), layer("b", 8, 4, 9)]
    theirs = [layer("a", 4, 3, 9), layer("c", 6, 4, 9)]

    with pytest.raises(ValueError, match=r"layer 2 is \(8, 4, 9\) .*the ancestor's \(6, 4, 9\)"):
        paired(ours, theirs)


def test_the_distance_agrees_with_a_calculation_by_hand() -> None:
    ours = [layer("a", 2, 1, 1)._replace(weight=np.array([[[3.0]], [[0.0]]]))]
    theirs = [layer("a", 2, 1, 1)._replace(weight=np.array([[[0.0]], [[4.0]]]))]

    assert relative_distance(paired(ours, theirs)) == pytest.approx(1.0)
    assert relative_distance(paired(ours, ours)) == 0
    doubled = [ours[0]._replace(weight=2 * ours[0].weight)]
    assert relative_distance(paired(doubled, ours)) == pytest.approx(1 / np.sqrt(5))


def test_weights_that_are_all_zero_have_no_distance() -> None:
    nothing = [layer("a", 2, 1, 1)._replace(weight=np.zeros((2, 1, 1)))]

    with pytest.raises(ValueError, match="all weights of both are zero"):
        relative_distance(paired(nothing, nothing))
