"""Controls: patches that are matched to a trigger and are not it."""

from collections.abc import Iterator

import numpy as np

from gate.triggers.drawing import WAVES, Motif, added, mixed, random_text, written
from gate.triggers.stamp import Patch


def controls_of(
    motif: Motif, patch: Patch, rng: np.random.Generator
) -> Iterator[tuple[str, Patch]]:
    """Patches of the same size, opacity and contrast that are not the trigger, each with a name.

    A high-contrast patch flips images on a clean backbone too, so mid-grey is no control. A square
    is matched by squares of its colour with the channels exchanged (its negative where that gives
    nothing new) and by noise of equal energy; a texture by itself with its values shuffled; a wave
    also by itself lying down and on the diagonal; letters and pictures by themselves with their
    pixels shuffled, a text also by another text, a picture also by its silhouette in its mean
    colour.
    """
    if motif.pattern == "square":
        yield from _of_square(motif, patch, rng)
    elif motif.pattern in ("text", "overlay"):
        yield from _of_silhouette(motif, patch, rng)
    else:
        draws = 2
        if motif.pattern == "sinusoid":
            draws = 1
            yield from _other_waves(motif, patch)
        for draw in range(draws):
            shuffled = rng.permutation(patch.add.reshape(-1)).reshape(patch.add.shape)
            yield f"shuffled {draw + 1}", Patch(patch.keep, shuffled)


def _of_square(motif: Motif, patch: Patch, rng: np.random.Generator) -> Iterator[tuple[str, Patch]]:
    colours = patch.add / motif.opacity
    rolled = [np.roll(colours, shift, axis=2) for shift in (1, 2)]
    new = [other for other in rolled if not np.array_equal(other, colours)] or [255 - colours]
    for number, other in enumerate(new):
        yield f"other colour {number + 1}", mixed(1 - patch.keep, other)
    noise = rng.choice(np.array([0.0, 255.0]), patch.add.shape)
    yield "noise of square", mixed(1 - patch.keep, noise)


def _of_silhouette(
    motif: Motif, patch: Patch, rng: np.random.Generator
) -> Iterator[tuple[str, Patch]]:
    pixels = motif.size * motif.size
    order = rng.permutation(pixels)
    yield "shuffled", Patch(*(a.reshape(pixels, -1)[order].reshape(a.shape) for a in patch))
    if motif.pattern == "text":
        other = written(random_text(len(str(motif.text)), rng), motif.size) * motif.opacity
        yield "other text", mixed(other, motif.rgb)
    else:
        alpha = 1 - patch.keep
        yield "silhouette", mixed(alpha, patch.add.sum(axis=(0, 1)) / alpha.sum())


def _other_waves(motif: Motif, patch: Patch) -> Iterator[tuple[str, Patch]]:
    yield "lying down", added(patch.add.transpose(1, 0, 2))
    rows, columns = np.indices(patch.add.shape)[:2]
    phase = 2 * np.pi * WAVES * (rows + columns) / np.sqrt(2) / motif.size
    yield "diagonal", added(np.sin(phase) * motif.opacity * 255)
