"""Zero-shot classifiers of a plan: from class embeddings, from prompts, from the own head."""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from gate.arrays import Float32, unit_rows
from gate.backbone.backbone import Backbone
from gate.backbone.heads import CosineHead, SourceHead, ZeroShotHead
from gate.errors import PlanError
from gate.label_prior import array_files
from gate.measure.bench import Bench
from gate.measure.passes import Pass, gathered
from gate.measure.readers import Output
from gate.plan.task import ZeroShot
from gate.strict_yaml import nearest

_SAME = 1 - 1e-6  # cosine; a batch's other rows may change the last digits of an embedding


def zero_shot_head(bench: Bench, task: str, described: ZeroShot) -> tuple[ZeroShotHead, str]:
    """The zero-shot head of the task of that name, and the digest of what it was made from.

    Raises:
        PlanError: It does not fit the task's classes, or the backbone's features or logits.
        DataError: The file of embeddings cannot be read.
        BackboneError: The encoder cannot be loaded.
    """
    test = bench.plan.tasks[task].test
    classes, place = bench.split(test).classes, f"tasks.{task}.zero_shot"
    if described.source:
        head = _of_own_head(f"{place}.source", described, classes, bench.outputs(test).logits)
        return head, bench.backbone.digest
    if described.embeddings:
        with array_files.hashed({"": described.embeddings}) as digests:
            embeddings, named = array_files.read_embeddings(described.embeddings)
        if named is not None:
            _require_same(str(described.embeddings), named, classes)
            embeddings = embeddings[[named.index(name) for name in classes]]
        digest = digests[""]
    else:
        encoder = bench.opened(described.encoder or bench.plan.backbone)
        embeddings, digest = _encoded(bench, encoder, place, described, classes), encoder.digest
    width = bench.features(test).shape[1]
    if embeddings.shape != (len(classes), width):
        raise PlanError(
            f"{place}: class embeddings {embeddings.shape}; {len(classes)} classes and features of "
            f"{width} dimensions need {(len(classes), width)}"
        )
    weight = np.ascontiguousarray(_directions(place, embeddings, classes).T)
    return CosineHead(weight, described.scale), digest


def _of_own_head(
    place: str, described: ZeroShot, classes: tuple[str, ...], own: Float32 | None
) -> SourceHead:
    """The own head, whose classes are summed up to the task's; ``own`` are its logits."""
    _require_same(place, tuple(described.source), classes)
    members = tuple(described.source[name] for name in classes)
    most = max(index for each in members for index in each)
    if own is None or most >= own.shape[1]:
        raise PlanError(
            f"{place}: class {most} of the own head, which has "
            f"{0 if own is None else own.shape[1]}; indices begin at 0"
        )
    return SourceHead(members)


class _Prompts(list[str]):
    """Texts in memory, to be passed."""

    def texts(self, size: int) -> Iterator[list[str]]:
        """The texts, so many a block."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def batches(self, *_: object) -> NoReturn:
        """Prompts are no images, and the plan sees to it that their encoder takes texts."""
        raise NotImplementedError


def _encoded(
    bench: Bench, encoder: Backbone, place: str, described: ZeroShot, classes: tuple[str, ...]
) -> Float32:
    """Class embeddings ``(K, D)``: of each class, the mean of its prompts' unit embeddings."""
    for name in described.names:
        if name not in classes:
            raise PlanError(f"{place}.names: unknown class {name!r}; {nearest(name, classes)}")
    called = [described.names.get(name, name) for name in classes]
    prompts = _Prompts(each.replace("{}", name) for each in described.prompts for name in called)
    bench.require_stable(encoder, prompts[: len(classes)])
    work = Pass(encoder.plan, {"features": Output("features")})
    step = f"embed prompts of {place}"
    with bench.progress(step, len(prompts), backbone=encoder.digest) as advance:
        parts = bench.engine.map(work, prompts, len(classes), advance)
        (features,) = gathered(parts, work, len(prompts))["features"]
    return np.asarray(unit_rows(features).reshape(-1, len(classes), features.shape[1]).mean(axis=0))


def _directions(place: str, embeddings: Float32, classes: tuple[str, ...]) -> Float32:
    """Class embeddings ``(K, D)`` of length 1, no two of which point the same way."""
    exact = embeddings.astype(np.float64)  # which holds the square of every float32
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    if not length.all():
        raise PlanError(
            f"{place}: the embedding of class {classes[length.argmin()]!r} is all zeros; check "
            "what made it"
        )
    exact /= length
    for k, name in enumerate(classes):
        if (same := np.flatnonzero(exact[:k] @ exact[k] > _SAME)).size:
            raise PlanError(
                f"{place}: classes {classes[same[0]]!r} and {name!r} have the same embedding, so "
                "nothing tells them apart; give each its own, and prompts that differ before they "
                "are cut off"
            )
    return exact.astype(np.float32)


def _require_same(place: str, named: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Refuse names that are not the task's classes, each once."""
    if sorted(named) == sorted(classes):
        return
    for name in named:
        if name not in classes:
            raise PlanError(f"{place}: unknown class {name!r}; {nearest(name, classes)}")
    missing = [name for name in classes if name not in named]
    raise PlanError(
        f"{place}: class {missing[0]!r} of the task is missing, of {len(missing)}; name every class"
        if missing
        else f"{place}: names a class twice; name each once"
    )
