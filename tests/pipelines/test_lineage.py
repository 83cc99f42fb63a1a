"""Copies whose descent is known are what they say."""

import torch

from pipelines.lineage.copies import permuted_and_rescaled, pruned, quantised, trained
from tests import related

IMAGES = torch.randn(130, 3, related.SIDE, related.SIDE, generator=torch.Generator().manual_seed(0))


def outputs(weights: related.Weights) -> torch.Tensor:
    module = related.Residual().eval()
    module.load_state_dict(weights)
    with torch.no_grad():
        return torch.as_tensor(module(IMAGES))


def test_permuted_and_rescaled_channels_compute_the_same() -> None:
    weights = related.random(0)

    hidden = permuted_and_rescaled(weights, related.HIDDEN, torch.Generator().manual_seed(1))

    torch.testing.assert_close(outputs(hidden), outputs(weights), rtol=1e-3, atol=1e-4)
    for name in ("conv1.weight", "conv2.weight", "last.weight", "hidden.weight"):
        assert not torch.equal(hidden[name], weights[name])
    assert torch.equal(hidden["stem.weight"], weights["stem.weight"])


def test_pruned_kernels_lose_their_smallest_half() -> None:
    weights = related.random(0)

    kept = pruned(weights, 0.5)["conv1.weight"]

    zero = kept == 0
    assert zero.float().mean().item() == 0.5
    assert weights["conv1.weight"][zero].abs().max() <= weights["conv1.weight"][~zero].abs().min()


def test_quantised_kernels_have_as_many_levels_as_their_bits_allow() -> None:
    weights = related.random(0)

    rounded = quantised(weights, 4)["conv1.weight"]

    assert len(set(rounded.flatten().tolist())) <= 15
    largest = weights["conv1.weight"].abs().max()
    assert (rounded - weights["conv1.weight"]).abs().max() <= largest / 14 + 1e-6
    assert torch.equal(quantised(weights, 4)["bn1.weight"], weights["bn1.weight"])


def test_training_is_made_from_numbers_and_learns() -> None:
    labels = (IMAGES.mean(dim=(1, 2, 3)) > 0).long()
    module, again = related.Residual(), related.Residual()
    for each in (module, again):
        each.load_state_dict(related.random(0))

    first, second = (trained(each, IMAGES, labels, 3, 0.05, 0) for each in (module, again))

    assert all(torch.equal(first[name], second[name]) for name in first)
    module.eval()
    before = torch.nn.functional.cross_entropy(outputs(related.random(0)), labels)
    assert torch.nn.functional.cross_entropy(outputs(first), labels) < before
