"""EEG less the scanner's gradient artefact, by MNE's average artefact subtraction.

    artefact of volume n = mean of the 8 volumes around it, each less its own mean and slope

as in Allen et al. (2000), NeuroImage 12, 230-239. MNE subtracts the volume's own mean and slope too, which
weakens what is slower than one cycle a TR. A recording at 5 kHz isn't held whole: the volumes that a block
needs are read with it.
"""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError

logger = logging.getLogger(__name__)

NEIGHBOURS = 8  # volumes in a template, MNE's default


class WithoutGradient:
    """An MNE recording less the gradient artefact, as far as `recording.resampling` reads one.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    triggers : array, shape (n,), seconds
        Start of each volume, from the first sample.
    file : str
        The file's name, for messages.

    Raises
    ------
    InputError
        If this MNE can't remove the artefact, there are fewer than 9 volumes, or they aren't evenly spaced to
        the sample.
    """

    def __init__(self, raw: Any, triggers: NDArray[np.float64], file: str) -> None:
        import mne

        if not hasattr(mne.preprocessing, "GradientRemover"):
            raise InputError(
                f"--gradient needs MNE 1.13 or later, not {mne.__version__}; pip install --upgrade mne, or "
                "remove the gradient artefact with another program"
            )
        if len(triggers) <= NEIGHBOURS:
            raise InputError(
                f"{file}: {len(triggers)} volume triggers; --gradient needs one for each volume and at least "
                f"{NEIGHBOURS + 1}: say which events they are (--trigger), or leave --gradient out"
            )
        self.raw, self.info, self.ch_names, self.n_times = raw, raw.info, raw.ch_names, raw.n_times
        starts = np.round(triggers * raw.info["sfreq"]).astype(int)
        intervals = np.diff(starts)
        self.length = int(np.median(intervals))
        # An interval that is no whole number of samples is rounded up or down.
        if (far := np.abs(intervals - self.length).max()) > 1:
            raise InputError(
                f"{file}: volume triggers are {self.length} samples apart, some up to {far} more or less; "
                "--gradient needs even spacing, by a clock that EEG and scanner share: remove the artefact "
                "with a program that aligns volumes, and leave --gradient out"
            )
        self.starts = starts[starts + self.length <= raw.n_times]
        if len(self.starts) < len(starts):
            logger.warning("%s: the EEG ends within a volume, whose gradient artefact stays", file)

    def get_data(self, picks: list[int], start: int, stop: int) -> NDArray[np.float64]:
        """Samples `start` to `stop` (excluded) of these channels, shape (C, n), volts."""
        from mne.preprocessing import GradientRemover

        first = int(np.searchsorted(self.starts, start - self.length, "right"))
        last = int(np.searchsorted(self.starts, stop))
        if first >= last:
            return np.asarray(self.raw.get_data(picks=picks, start=start, stop=stop))
        n_volumes = len(self.starts)
        near = slice(max(0, min(first - NEIGHBOURS, n_volumes)), min(n_volumes, last + NEIGHBOURS))
        starts = self.starts[near]
        begin, end = min(start, int(starts[0])), max(stop, int(starts[-1]) + self.length)
        data = np.asarray(self.raw.get_data(picks=picks, start=begin, stop=end))
        corrected = data.copy()
        for n in range(first, last):
            # In the middle as many before as after; at the ends of the run the rest comes from one side.
            before = min(max(NEIGHBOURS // 2, n + 1 + NEIGHBOURS - n_volumes), n)
            window = (before, NEIGHBOURS - before)
            remover = GradientRemover(data, starts - begin, window=window, tr_tol=1)
            volume = remover.get_tr_corrected(n - near.start)
            at = int(self.starts[n]) - begin
            corrected[:, at : at + volume.shape[1]] = volume
        return corrected[:, start - begin : stop - begin]
