"""Operators by which an output depends on chance, or on the other rows of a batch."""

from typing import Any, Literal, NamedTuple

_DRAWING = ("rand", "bernoulli", "multinomial", "normal_functional", "rrelu")
_NORMS = ("batch_norm.default", "native_batch_norm", "batch_norm_with_update")


class Unstable(NamedTuple):
    """An operator, as people may find it in their graph.

    Args:
        by: What it brings in: chance, or the other rows of a batch.
        name: What it is, and where it stands.
    """

    by: Literal["chance", "batch"]
    name: str


def unstable_modules(module: Any) -> list[Unstable]:
    """Those of a torch module: nodes of a graph, or submodules that stay in training mode.

    Args:
        module: A ``torch.nn.Module``, or the ``GraphModule`` of an exported program.
    """
    if (graph := getattr(module, "graph", None)) is not None:
        return [found for node in graph.nodes if (found := _of_node(node))]
    return [
        Unstable(
            "batch" if any("Norm" in base.__name__ for base in type(each).__mro__) else "chance",
            f"{type(each).__name__} {name!r} in training mode",
        )
        for name, each in module.named_modules()
        if name and each.training and not list(each.children())
    ]


def _of_node(node: Any) -> Unstable | None:
    """What one node of a graph of aten operators brings in, if anything."""
    target = str(node.target)
    if "dropout" in target:
        # (input, p, train); a native one may leave train out, which means that it is on
        rest = node.args[1:3]
        if len(rest) < 2 or (rest[0] and rest[1] is not False):
            return Unstable("chance", f"{target} {node.name!r} in training mode")
    if any(name in target for name in _NORMS) and True in node.args[3:6]:
        return Unstable("batch", f"{target} {node.name!r} in training mode")
    if any(name in target for name in _DRAWING):
        return Unstable("chance", f"{target} {node.name!r}")
    over = node.args[1] if len(node.args) > 1 else None
    reduces = any(name in target for name in ("aten.mean", "aten.sum", "aten.softmax", "aten.var"))
    if reduces and (over == 0 or (isinstance(over, (list, tuple)) and 0 in over)):
        return Unstable("batch", f"{target} {node.name!r} over the first axis")
    return None
