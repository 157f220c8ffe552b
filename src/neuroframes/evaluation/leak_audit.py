"""What the usual split is worth: windows that overlap, dealt at random to a training and a test part.

Frames of a test window then stand in training windows too, and the others have neighbours there that are
nearly equal. The same method, fitted under that split and under the one with a gap, shows by the
difference how much of a published r is leak. Nothing else in this package can be asked for such a split.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.recording.segments import Segment

Mask = NDArray[np.bool_]

WINDOW = 10  # frames, those of Qu et al. (2026)
HOP = 5  # frames between windows
TEST_SHARE = 0.2


def random_windows(n_frames: int, generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Frames of training windows and of test windows, each of shape (K,); most frames are in both kinds.

    Parameters
    ----------
    n_frames : int, K
    generator : numpy.random.Generator
    """
    starts = np.arange(0, n_frames - WINDOW + 1, HOP)
    test = generator.random(len(starts)) < TEST_SHARE
    masks = np.zeros((2, n_frames), bool)
    for start, is_test in zip(starts, test, strict=True):
        masks[int(is_test), start : start + WINDOW] = True
    return masks[0], masks[1]


def leaking_split(
    segments: Sequence[Segment], generator: np.random.Generator
) -> tuple[list[Segment], list[Segment]]:
    """The same segments twice: measured in training windows, and measured in test windows."""
    masks = [random_windows(len(segment.times), generator) for segment in segments]
    train, test = (
        [replace(s, measured=s.measured & mask[of]) for s, mask in zip(segments, masks, strict=True)]
        for of in (0, 1)
    )
    return train, test
