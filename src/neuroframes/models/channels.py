"""EEG with channels missing: estimated from the others by how channels vary together.

x (C) are all channels in the reference of the training EEG, of covariance Sigma. A recording that has only
some of them has y = R S x: S picks them, and R re-refers them, since their average isn't that of all C
(R = I - 1 1' / c for the average reference, otherwise R = I). Then

    E[x | y] = W y,    W = Sigma (R S)' (R S Sigma (R S)')^+.

A conditional mean has less power than what it estimates. With Sigma_b the covariance within band b, a
spatial filter f finds f' G Sigma_b G' f of f' Sigma_b f, G = W R S: the ratio is put back, as a constant in
log band power.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft, rfftfreq
from scipy.signal.windows import hann

from neuroframes.recording.band_power import WINDOW

Float = NDArray[np.float64]

CUTOFF = 1e-6  # of the largest eigenvalue: a microvolt where the strongest activity has a millivolt
WINDOWS = 64  # worked on at once


@dataclass(frozen=True)
class ChannelCovariance:
    """How the channels of the training EEG vary together.

    Attributes
    ----------
    channels : tuple of str, length C
    covariances : array, shape (bands, C, C), within each band, V^2 or of any one scale
    average : bool
        Whether the EEG has the average reference: then any subset of it is referred to its own average.
    """

    channels: tuple[str, ...]
    covariances: Float
    average: bool

    @classmethod
    def fit(
        cls,
        recordings: Iterable[tuple[NDArray[np.floating], float]],
        channels: Sequence[str],
        bands: Mapping[str, tuple[float, float]],
        *,
        average: bool,
    ) -> Self:
        """From recordings, read one at a time: pairs of EEG (C, N), volts, and its rate, Hz.

        `bands` in Hz. Spectra are those of `log_band_power`: Hann windows of 2 s, half overlapping.
        """
        total = np.zeros((len(bands), len(channels), len(channels)))
        n_windows = 0
        for eeg, rate in recordings:
            length = round(WINDOW * rate)
            window, frequency = hann(length, sym=False), rfftfreq(length, 1 / rate)
            windows = sliding_window_view(eeg, length, axis=1)[:, :: length // 2]
            n_windows += windows.shape[1]
            for start in range(0, windows.shape[1], WINDOWS):
                spectra = rfft(windows[:, start : start + WINDOWS] * window)
                spectra *= np.sqrt(2 / (length * np.square(window).sum()))
                for covariance, (low, high) in zip(total, bands.values(), strict=True):
                    inside = (frequency >= low) & (frequency < high)
                    x = spectra[:, :, inside].reshape(len(channels), -1)
                    covariance += (x @ x.conj().T).real
        return cls(tuple(channels), total / n_windows, average)

    @property
    def total(self) -> Float:
        """Sigma, the covariance over all bands, shape (C, C), V^2."""
        return np.asarray(self.covariances.sum(axis=0))

    def fill(self, eeg: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
        """All channels in the training EEG's reference, shape (C, N), from EEG (c, N) of those in `names`.

        With the average reference any other that the subset has gives the same.
        """
        return self._weights(self._taken(names)).astype(np.float32) @ eeg

    def power_offset(self, names: Sequence[str], filters: Float) -> Float:
        """What is to be added to the log band power of `fill(eeg, names)`.

        Parameters
        ----------
        names : sequence of str, the channels that are there
        filters : array, shape (F, C)
            Spatial filters whose output has that power.

        Returns
        -------
        array, shape (F, bands)
            0 where the filled channels have no power at all.
        """
        taken = self._taken(names)
        through = filters @ self._weights(taken) @ taken
        true, found = (
            np.einsum("fc,bcd,fd->fb", f, self.covariances, f, optimize=True) for f in (filters, through)
        )
        there = found > 1e-12 * true
        return np.log(np.divide(true, found, out=np.ones_like(found), where=there))

    def _taken(self, names: Sequence[str]) -> Float:
        """R S, shape (c, C)."""
        taken = np.zeros((len(names), len(self.channels)))
        taken[np.arange(len(names)), [self.channels.index(name) for name in names]] = 1
        return taken - taken.mean(axis=0) if self.average else taken

    def _weights(self, taken: Float) -> Float:
        """W, shape (C, c). It maps constants to 0 under the average reference, so R needs no second turn."""
        across = self.total @ taken.T
        return np.asarray(across @ np.linalg.pinv(taken @ across, rcond=CUTOFF, hermitian=True))
