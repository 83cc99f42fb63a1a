"""Waves over the whole image: each frequency and direction, in two phases.

Source: Barni et al. 2019, "A new backdoor attack in CNNs by training set corruption without label
poisoning", arXiv 1902.11237 (a wave as a trigger).
"""

from itertools import product

import numpy as np

from gate.triggers.drawing import added
from gate.triggers.stamp import Stamp

AMPLITUDE = 0.1  # of the range of pixels, as the default bank's
_MOST_CYCLES = 12  # over the image, in the direction of the wave
_FINEST = 3 / 8  # cycles a pixel: under finer ones, which pooling folds, clean backbones differ


def waves(side: int, channels: int) -> list[Stamp]:
    """Grey waves ``(side, side)`` of whole cycles over rows and columns, each frequency once.

    A sine and a cosine of each, so that none is more than an eighth of a cycle from one or the
    opposite of one.

    >>> [wave.name for wave in waves(8, 3)][:3]
    ['wave of 0 by 1 cycles', 'wave of 0 by 1 cycles, shifted', 'wave of 0 by 2 cycles']
    """
    most = min(_MOST_CYCLES, _FINEST * side)
    whole = range(-int(most), int(most) + 1)
    rows, columns = np.indices((side, side)) / side
    stamps = []
    for down, along in product(whole, whole):
        # the opposite of a frequency is the same wave
        if (down, along) <= (0, 0) or np.hypot(down, along) > most:
            continue
        turns = 2 * np.pi * (down * rows + along * columns)
        name = f"wave of {down} by {along} cycles"
        for called, wave in ((name, np.sin(turns)), (f"{name}, shifted", np.cos(turns))):
            values = np.rint(255 * AMPLITUDE * wave)[:, :, None].repeat(channels, axis=2)
            stamps.append(Stamp(called, *added(values), 0, 0))
    return stamps
