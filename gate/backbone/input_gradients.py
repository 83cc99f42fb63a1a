"""Gradients with respect to images, by torch, whatever computes the features."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gate.arrays import Float32, Int64
from gate.backbone.heads import LinearHead
from gate.backbone.pooling import pooled
from gate.errors import BackboneError, failing_as
from gate.plan.backbone import BackbonePlan


def input_gradients(
    plan: BackbonePlan,
    forward: Callable[[Tensor], list[Tensor]],
    inputs: Tensor,
    targets: Int64,
    head: LinearHead | None,
) -> list[Float32]:
    """Logits of N images, and the gradient of each one's cross entropy with respect to it.

    Args:
        plan: How features are pooled, and its file, for messages.
        forward: From a batch to features and, if the plan names them, the own head's logits.
        inputs: N normalised images, on the device that computes.
        targets: ``(N,)``, the class of which the cross entropy is taken.
        head: A head on the pooled features; None for the own head's logits.

    Returns:
        Logits ``(N, K)``, and gradients of the shape of the inputs.

    Raises:
        BackboneError: It cannot be computed; the logits do not depend on the inputs by operations
            that have a gradient; or there are no such classes.
    """
    leaf = inputs.detach().requires_grad_()
    refused = f"{plan.path}: its gradient cannot be computed on a batch of {tuple(inputs.shape)}"
    do = "export it in float32, by operations that have a gradient"
    with failing_as(BackboneError, refused, do), torch.enable_grad():
        # a copy: what a module writes into its input would else be written into the leaf
        features, *own = forward(leaf.clone())
        logits = own[0].float() if head is None else _logits(plan, features.float(), head)
        _require_classes(plan, logits, targets)
        aims = torch.from_numpy(targets).to(logits.device)
        loss = torch.nn.functional.cross_entropy(logits, aims, reduction="sum")
        found = None
        if loss.requires_grad:
            (found,) = torch.autograd.grad(loss, leaf, allow_unused=True)
    if found is None:
        raise BackboneError(
            f"{plan.path}: has no gradient with respect to its input, so no trigger can be "
            "searched for; export it without operations that cut the gradient off (detach, "
            "no_grad, conversion to integers)"
        )
    return [each.detach().float().cpu().numpy() for each in (logits, found)]


def _logits(plan: BackbonePlan, features: Tensor, head: LinearHead) -> Tensor:
    features = pooled(plan, features)
    if features.shape[1] != len(head.weight):
        raise BackboneError(
            f"{plan.path}: gives {features.shape[1]} features, and the head was fitted on "
            f"{len(head.weight)}; fit it on this backbone"
        )
    weight, bias = (
        torch.from_numpy(np.array(each, np.float32)).to(features.device)
        for each in (head.weight, head.bias)
    )
    return features @ weight + bias


def _require_classes(plan: BackbonePlan, logits: Tensor, targets: Int64) -> None:
    if logits.ndim != 2:
        raise BackboneError(
            f"{plan.path}: logits {plan.logits!r} have shape {tuple(logits.shape)}, expected "
            "(N, K); name another output"
        )
    count, classes = logits.shape
    if count != len(targets):
        raise BackboneError(
            f"{plan.path}: {len(targets)} images gave {count} rows of logits; export it with a "
            "dynamic batch axis"
        )
    if not (targets.min() >= 0 and targets.max() < classes):
        raise BackboneError(
            f"{plan.path}: target classes {targets.min()} to {targets.max()}, and there are "
            f"logits of {classes} classes; aim at one of 0 to {classes - 1}"
        )
