"""From maps and sequences of vectors to one vector an image: an average over places."""

from collections.abc import Sequence

from gate.errors import BackboneError
from gate.plan.backbone import BackbonePlan


def places(plan: BackbonePlan, shape: Sequence[int]) -> tuple[int, ...]:
    """Axes over which features of that shape are averaged; none where they are one vector each.

    Args:
        plan: Says in which layout images, and therefore maps, are.
        shape: ``(N, D)``; of images also ``(N, T, D)`` and maps.

    Raises:
        BackboneError: Features of another shape.
    """
    if plan.preprocessing and len(shape) == 4:
        return (2, 3) if plan.preprocessing.layout == "NCHW" else (1, 2)
    if plan.preprocessing and len(shape) == 3:
        return (1,)
    if len(shape) == 2:
        return ()
    raise BackboneError(
        f"{plan.path}: features of shape {tuple(shape)}, expected (N, D), (N, T, D) or maps; "
        "name another output or layer"
    )
