"""Zero-shot classifiers of a plan: from class embeddings, from prompts, from the own head."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.arrays import unit_rows
from gate.backbone import Backbone
from gate.errors import DataError, PlanError
from gate.files import sha256_of
from gate.label_prior.array_files import read_embeddings
from gate.measure.head import CosineHead, SourceHead, ZeroShotHead
from gate.plan.plan import ZeroShot
from gate.strict_yaml import nearest

if TYPE_CHECKING:
    from gate.measure.trial import Trial

_SAME = 1 - 1e-6  # cosine; a batch's other rows may change the last digits of an embedding


class Made(NamedTuple):
    """A zero-shot classifier, and the digest of what it was made from."""

    head: ZeroShotHead
    digest: str


def made(trial: "Trial", task: str, described: ZeroShot) -> Made:
    """The zero-shot classifier of a task.

    Raises:
        PlanError: It does not fit the task's classes, or the backbone's features or logits.
        DataError: The file of embeddings cannot be read.
        BackboneError: The encoder cannot be loaded.
    """
    test = trial.plan.tasks[task].test
    classes, place = trial.split(test).classes, f"tasks.{task}.zero_shot"
    if described.source:
        _require_same(f"{place}.source", tuple(described.source), classes)
        members = tuple(described.source[name] for name in classes)
        own = trial.outputs(test).logits
        most = max(index for each in members for index in each)
        if own is None or most >= own.shape[1]:
            raise PlanError(
                f"{place}.source: class {most} of the own head, which has "
                f"{0 if own is None else own.shape[1]}; indices begin at 0"
            )
        return Made(SourceHead(members), trial.backbone.digest)
    if described.embeddings:
        embeddings, named = read_embeddings(described.embeddings)
        if named is not None:
            _require_same(str(described.embeddings), named, classes)
            embeddings = embeddings[[named.index(name) for name in classes]]
        digest = sha256_of(described.embeddings, DataError)
    else:
        encoder = Backbone(described.encoder) if described.encoder else trial.backbone
        embeddings, digest = _encoded(encoder, place, described, classes), encoder.digest
    width = trial.outputs(test).features.shape[1]
    if embeddings.shape != (len(classes), width):
        raise PlanError(
            f"{place}: class embeddings {embeddings.shape}; {len(classes)} classes and features of "
            f"{width} dimensions need {(len(classes), width)}"
        )
    weight = np.ascontiguousarray(_directions(place, embeddings, classes).T)
    return Made(CosineHead(weight, described.scale), digest)


def _encoded(
    encoder: Backbone, place: str, described: ZeroShot, classes: tuple[str, ...]
) -> NDArray[np.float32]:
    """Class embeddings ``(K, D)``: of each class, the mean of its prompts' unit embeddings."""
    for name in described.names:
        if name not in classes:
            raise PlanError(f"{place}.names: unknown class {name!r}; {nearest(name, classes)}")
    called = [described.names.get(name, name) for name in classes]
    each = []
    for prompt in described.prompts:
        tokens = encoder.tokens([prompt.replace("{}", name) for name in called])
        each.append(unit_rows(encoder.outputs(tokens).features))
    return np.asarray(np.mean(each, axis=0))


def _directions(
    place: str, embeddings: NDArray[np.float32], classes: tuple[str, ...]
) -> NDArray[np.float32]:
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
