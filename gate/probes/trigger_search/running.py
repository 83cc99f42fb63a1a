"""A search as it runs: shown, ended by the clock, and taken up again where it was left."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import load, save

from gate import __version__, files
from gate.arrays import Array, Float32, Int64
from gate.measure.transfer import PASSES_OF_TRAINING, Classifier
from gate.measure.trial import Trial
from gate.triggers.search import Differentiable, Search, State

_KEPT_EVERY = 20  # steps
_LOOKED_EVERY = 10  # steps: whether there is time left, where nothing is kept
_BY_GOAL = ("goals", "weight", "average", "smallest")
_BY_NAME = ("values", "first", "second", "best")

_Step = TypeVar("_Step")


class NotSearchedError(Exception):
    """Why something is not searched for, and what to do: there is a remark, and no measurement."""


def require_time(trial: Trial, passes: int) -> None:
    """Of what is found by passes alone, and not taken up again where it was left.

    Raises:
        NotSearchedError: There is too little time for so many passes.
    """
    if not trial.bench.progress.has_time_for(passes):
        raise NotSearchedError(
            f"out of time (--max-minutes) before the {passes:,} passes that they take at the most; "
            "allow more"
        )


def differentiable(classifier: Classifier, batch: int) -> Differentiable:
    """A classifier as a function of pixels in 0 .. 1, and its gradient by these.

    Args:
        classifier: Takes images ``(N, H, W, C)``.
        batch: Images per forward and backward pass.

    Raises:
        BackboneError: When it is called: there is no gradient, or it is not finite.
    """
    backbone = classifier.backbone

    def of(pixels: Float32, targets: Int64) -> tuple[Float32, Float32]:
        logits, gradients = [], []
        for start in range(0, len(pixels), batch):
            span = slice(start, start + batch)
            inputs = backbone.inputs(255 * pixels[span])
            found = backbone.input_gradients(inputs, targets[span], classifier.head)
            logits.append(found.logits)
            gradients.append(backbone.to_pixels(found.inputs))
        return np.concatenate(logits), np.concatenate(gradients)

    return of


@dataclass(frozen=True)
class Runs:
    """Runs searches on a trial's classifier of a task.

    Args:
        trial: Whose folder keeps what a search has come to.
        task: Its name, for people.
        classifier: What is searched.
    """

    trial: Trial
    task: str
    classifier: Classifier

    def last(self, what: str, search: Search) -> State:
        """What a search comes to.

        Args:
            what: Names it where progress is shown.
            search: On the classifier; see `differentiable`.

        Raises:
            NotSearchedError: There is too little time; a later run goes on from near there.
            BackboneError: There is no gradient.
            GateError: What was kept in the folder is not what was written there.
        """
        path = self.trial.bench.folder / f"search-{self._digest(search)}.safetensors"
        state = before = _read(files.kept(path)) if files.exists(path) else search.start
        progress, digest = self.trial.bench.progress, self.classifier.backbone.digest
        step = f"search for {what} of {self.task}"
        left = search.gradients(before.step)
        with progress(step, left, PASSES_OF_TRAINING, digest) as advance:
            for state in search.states(before):
                advance(search.batch * search.goals_left(state.step - 1))
                if state.step % _KEPT_EVERY == 0 and state.step < search.steps:
                    files.keep(path, _written(state))
                    if not progress.has_time_for(0):
                        raise NotSearchedError(
                            f"out of time (--max-minutes) after step {state.step} of "
                            f"{search.steps} of the {step}; allow more, and it goes on from there "
                            "where the features folder is the same"
                        )
        path.unlink(missing_ok=True)
        return state

    def shown(self, what: str, gradients: Sequence[int], steps: Iterable[_Step]) -> Iterator[_Step]:
        """What each step of a search has come to, that is not taken up again where it was left.

        Args:
            what: Names it where progress is shown.
            gradients: Of single images, that each step takes.
            steps: As many.

        Raises:
            NotSearchedError: There is too little time.
            BackboneError: There is no gradient.
        """
        progress, digest = self.trial.bench.progress, self.classifier.backbone.digest
        step = f"search for {what} of {self.task}"
        with progress(step, sum(gradients), PASSES_OF_TRAINING, digest) as advance:
            for done, (taken, found) in enumerate(zip(gradients, steps, strict=True)):
                advance(taken)
                yield found
                if done % _LOOKED_EVERY == 0 and not progress.has_time_for(0):
                    raise NotSearchedError(f"out of time (--max-minutes) in the {step}; allow more")

    def _digest(self, search: Search) -> str:
        """Of all that a search depends on."""
        backbone, head = self.classifier.backbone, self.classifier.head
        arrays: list[Array] = [search.images, search.targets]
        arrays += [head.weight, head.bias] if head else []
        arrays += [of for of in vars(search.kind).values() if isinstance(of, np.ndarray)]
        content = {
            "backbone": backbone.digest,
            "file": backbone.plan.settings,
            "versions": {"gate": __version__, "numpy": np.__version__, **backbone.versions},
            "batch_size": self.trial.plan.batch_size,
            "kind": type(search.kind).__name__,
            "arrays": [sha256(of.tobytes()).hexdigest() for of in arrays],
            "steps": search.steps,
            "batch": search.batch,
            "limits": search.limits,
            "seed": search.seed,
        }
        return files.digest_of_json(content)[7:39]


def _written(state: State) -> bytes:
    """A state as a safetensors file."""
    named = {
        f"{name}.{of}": array for name in _BY_NAME for of, array in getattr(state, name).items()
    }
    for name in _BY_GOAL:
        named[name] = getattr(state, name)
    return save({"step": np.array([state.step]), **named})


def _read(content: bytes) -> State:
    """The state of a file."""
    arrays: dict[str, Any] = load(content)
    values: dict[str, Any] = {
        name: {of.partition(".")[2]: a for of, a in arrays.items() if of.startswith(f"{name}.")}
        for name in _BY_NAME
    }
    by_goal = {name: arrays[name] for name in _BY_GOAL}
    return State(step=int(arrays["step"][0]), **values, **by_goal)
