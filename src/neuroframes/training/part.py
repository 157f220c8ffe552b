"""What models are fitted to: the training part of a recording, and where it comes from."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.models.model import Origin
from neuroframes.recording.band_power import check_bands
from neuroframes.recording.segments import Segment, Split, load_segments
from neuroframes.recording.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPart:
    """What every method is fitted to.

    Attributes
    ----------
    origin : Origin
    segments : list of Segment
    positions : array, shape (C, 3), metres, of the electrodes
    own : bool
        The only segment is the very run that is to be filled.
    others : sequence of Segment
        Runs of other people, of the same vertices and TR, each detrended and z-scored by itself.
    """

    origin: Origin
    segments: list[Segment]
    positions: NDArray[np.float64]
    own: bool = False
    others: Sequence[Segment] = ()


def read_training_part(store: Store, split: Split, bands: Mapping[str, tuple[float, float]]) -> TrainingPart:
    """Read the training part of a split.

    Raises
    ------
    InputError
        If one model can't serve all runs: they differ in TR or EEG rate, or the rate is too low for a band.
    """
    # Before anything is read, which takes minutes.
    if store.features:
        bands = {}
    else:
        check_bands(min(run.eeg_rate for run in store.runs), bands)
    for what, values in (
        ("TR", {round(run.tr, 4) for run in store.runs}),
        ("EEG rate", {run.eeg_rate for run in store.runs}),
    ):
        if len(values) > 1:
            raise InputError(
                f"{store.path.name}: runs differ in {what} ({sorted(values)}); "
                "prepare them into stores of their own"
            )
    logger.info("reading %d parts of %s", len(split.train), store.path.name)
    segments, scale = load_segments(store, split.train, bands)
    names = () if store.features else ("rate", "l_freq", "reference")
    settings = {name: store.settings[name] for name in names}
    tr, of_eeg = store.runs[0].tr, (store.channels, settings, bands, store.features)
    origin = Origin(store.space, tr, scale, split, *of_eeg)
    return TrainingPart(origin, segments, store.positions)
