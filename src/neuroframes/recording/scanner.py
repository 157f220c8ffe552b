"""What the scanner leaves in EEG: residue of its gradients, the heartbeat in its field, its clock's drift.

gradient    power at whole multiples of 1/TR, of which the slice frequency is one, less the power beside them,
            as a share of a band's power
heartbeat   x = m + r around each R peak, m the mean over n beats: (var m - var r / n) / var x
drift       interval of the volume triggers / TR - 1, by least squares

Both artefacts follow head movement and heart rate, as BOLD does: a model may rest on them in place of brain
activity. An artefact of constant size that makes up a share s of a band's power takes s of what the logarithm
varies by.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.signal.windows import hann

from neuroframes.errors import counted
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.timeline import trs_between

logger = logging.getLogger(__name__)

Float = NDArray[np.floating[Any]]

SPECTRUM = 30.0  # seconds, and at least FEWEST_CYCLES volumes: lines are 1/30 Hz apart
FEWEST_CYCLES = 16
FEWEST_SPECTRA = 4
LOBE, FLOOR = 2, 6  # lines from a multiple of 1/TR: a peak's own, and those beside it
HIGHEST = 45.0  # Hz; the mains' 50 and 60 Hz are multiples of 1/TR for many a TR
PULSE = (0.1, 0.6)  # seconds before and after an R peak; the artefact comes 0.15 to 0.5 s after it
FEWEST_BEATS = 50
HEART_RATE = (35.0, 160.0)  # beats a minute
STEADY = 0.35  # quartiles of R-R intervals apart, of their median; 0.05 to 0.15 at rest
# Chosen on simulated EEG without artefacts (64 channels, 5 and 20 minutes, TR 0.8 to 2.1 s, alpha rhythm,
# line noise, movement): the largest share of any band and channel was .08, of heartbeats .01.
MOST_GRADIENT = 0.10
MOST_HEARTBEAT = 0.05
LARGEST_DRIFT = 500.0  # ppm; quartz keeps within 100, so more is another TR than the one that is stated


@dataclass(frozen=True)
class ScannerTraces:
    """What the scanner left in a recording; None where it can't be told.

    Attributes
    ----------
    gradient : float
        Share of a band's power that follows the volumes, of the median channel.
    band : str
        The band in which that share is above 0.10 in most channels; of equals, that of the largest share.
    gradient_channels : int
        How many channels these are.
    line : float, Hz
        Where the residue is strongest: a multiple of 1/TR, often of the slice frequency.
    heartbeat : float
        Share of the variance around R peaks that follows them, of the median channel.
    heartbeat_channels : int
        Channels in which it is above 0.05.
    heart_rate : float, beats a minute
    drift : float, parts per million
        How much slower the scanner's clock is than the EEG's: by frame k it is off by k TR drift / 10^6.
    """

    gradient: float | None = None
    band: str | None = None
    gradient_channels: int | None = None
    line: float | None = None
    heartbeat: float | None = None
    heartbeat_channels: int | None = None
    heart_rate: float | None = None
    drift: float | None = None

    @property
    def warnings(self) -> list[str]:
        """What is wrong, what it means and what to do, in plain words."""
        said = []
        if self.gradient_channels:
            said.append(
                f"the gradient artefact is still there: above {MOST_GRADIENT:.0%} of the {self.band} power "
                f"in {counted(self.gradient_channels, 'channel')}, {self.gradient:.0%} in the median one, "
                f"strongest at {self.line:.1f} Hz. Its power follows head movement, as BOLD does; remove it "
                "(prepare --gradient, of EEG as it was recorded), or leave bands out (train --bands)"
            )
        if self.heartbeat_channels:
            said.append(
                f"the pulse artefact is still there: above {MOST_HEARTBEAT:.0%} of the variance in "
                f"{counted(self.heartbeat_channels, 'channel')}, {self.heartbeat:.0%} in the median one, at "
                f"{self.heart_rate:.0f} beats a minute. Its power follows the heart rate, as BOLD does; "
                "remove it (mne.preprocessing.apply_pca_obs, or ICA)"
            )
        if self.drift is not None and abs(self.drift) > LARGEST_DRIFT:
            said.append(
                f"volume triggers are {self.drift:+.0f} ppm further apart than the TR, more than clocks "
                "differ: the TR that the BOLD states is rounded or wrong; correct it"
            )
        return said


def scanner_traces(
    data: Float, rate: float, triggers: NDArray[np.float64], tr: float, *, ecg: Float | None = None
) -> ScannerTraces:
    """Look for what the scanner left in EEG.

    Parameters
    ----------
    data : array, shape (C, N), volts
    rate : float, Hz
    triggers : array, shape (n,), seconds
        Volume triggers. Where they aren't one every TR, volumes are taken to follow each other from the first
        sample on.
    tr : float, seconds
    ecg : array, shape (N,), volts, optional
        The electrocardiogram.
    """
    ppm = drift(triggers, tr)
    starts = np.arange(0, data.shape[1] / rate, tr) if ppm is None else triggers
    interval = tr if ppm is None else tr * (1 + ppm / 1e6)
    data = data[np.ptp(data, axis=1) > 0]
    if not len(data):
        return ScannerTraces(drift=ppm)
    return ScannerTraces(*_gradient(data, rate, starts, interval), *_heartbeat(data, rate, ecg), ppm)


def drift(triggers: NDArray[np.float64], tr: float) -> float | None:
    """By how many ppm more than the TR lies between volume triggers (n,), by a line through them.

    None where these aren't one every TR, but for pauses of whole TRs.
    """
    steps = trs_between(triggers, tr)
    if not steps.size or not steps.all():
        return None
    return float(1e6 * (np.polyfit(np.append(0, steps.cumsum()), triggers, 1)[0] / tr - 1))


def log_traces(traces: ScannerTraces, file: str) -> None:
    """Log what was found; `file` is the EEG's name."""
    for text in traces.warnings:
        logger.warning("%s: %s", file, text)
    shares = {"gradient residue": traces.gradient, "heartbeat": traces.heartbeat}
    said = [f"{name} {share:.1%}" for name, share in shares.items() if share is not None]
    if traces.drift is not None:
        said.append(f"clock drift {traces.drift:+.1f} ppm, which frame times follow")
    if said:
        logger.info("%s: %s", file, ", ".join(said))


def _gradient(
    data: Float, rate: float, starts: Float, interval: float
) -> tuple[float | None, str | None, int | None, float | None]:
    """Share in the median channel, band, channels above the limit, and the strongest line (Hz)."""
    cycles = max(FEWEST_CYCLES, round(SPECTRUM / interval))
    length = round(cycles * interval * rate)
    # Each begins with a volume, so that drift and pauses don't smear the lines.
    begins = np.round(starts[:: cycles // 2] * rate).astype(int)
    first = [int(at) for at in begins if at >= 0 and at + length <= data.shape[1]]
    n_multiples = int(min(HIGHEST * interval, rate * interval / 2 - 1))
    if len(first) < FEWEST_SPECTRA or n_multiples < 1:
        return None, None, None, None
    window = hann(length, sym=False)
    power = np.zeros((len(data), length // 2 + 1))
    for start in first:
        part = data[:, start : start + length]
        power += np.square(np.abs(rfft((part - part.mean(axis=1, keepdims=True)) * window)))
    # Row k holds the lines around the multiple k + 1.
    begin = cycles - cycles // 2
    lines = power[:, begin : begin + n_multiples * cycles].reshape(len(data), n_multiples, cycles)
    away = np.abs(np.arange(cycles) - cycles // 2)
    beside = lines[:, :, (away > LOBE) & (away <= FLOOR)].mean(axis=2, keepdims=True)
    excess = (lines[:, :, away <= LOBE] - beside).sum(axis=2)
    frequency = np.arange(1, n_multiples + 1) / interval
    total, shares = lines.sum(axis=2), {}
    for name, (low, high) in BANDS.items():
        inside = (frequency >= low) & (frequency < high)
        if inside.any():
            shares[name] = excess[:, inside].sum(axis=1) / total[:, inside].sum(axis=1)
    # Most channels first: the median one says nothing of residue in a few.
    many = {name: int((share > MOST_GRADIENT).sum()) for name, share in shares.items()}
    band = max(shares, key=lambda name: (many[name], float(np.median(shares[name]))))
    share, (low, high) = shares[band], BANDS[band]
    of_band = np.flatnonzero((frequency >= low) & (frequency < high))
    strongest = of_band[excess[:, of_band].sum(axis=0).argmax()]
    return max(float(np.median(share)), 0.0), band, many[band], float(frequency[strongest])


def _heartbeat(data: Float, rate: float, ecg: Float | None) -> tuple[float | None, int | None, float | None]:
    """Share in the median channel, channels above the limit, beats a minute."""
    import mne

    # MNE filters it from 5 to 35 Hz, with a filter of 10 s; a flat one has no beats.
    if ecg is None or rate <= 80 or len(ecg) < 30 * rate or not np.ptp(ecg) > 0:
        return None, None, None
    raw = mne.io.RawArray(ecg[None].astype(float), mne.create_info(["ECG"], rate, "ecg"), verbose="ERROR")
    peaks = mne.preprocessing.find_ecg_events(raw, ch_name="ECG", verbose="ERROR")[0][:, 0]
    around = np.arange(-round(PULSE[0] * rate), round(PULSE[1] * rate))
    peaks = peaks[(peaks + around[0] >= 0) & (peaks + around[-1] < data.shape[1])]
    if len(peaks) < FEWEST_BEATS:
        return None, None, None
    early, middle, late = np.percentile(np.diff(peaks), [25, 50, 75])
    heart_rate = float(60 * rate / middle)
    # Noise has peaks too, but at no steady rate.
    if not HEART_RATE[0] <= heart_rate <= HEART_RATE[1] or late - early > STEADY * middle:
        return None, None, None
    mean, square = np.zeros((2, len(data), len(around)))
    for peak in peaks:
        beat = data[:, peak + around]
        mean += beat / len(peaks)
        square += beat.astype(float) ** 2 / len(peaks)
    offset = data.mean(axis=1, keepdims=True)
    locked = np.square(mean - offset).mean(axis=1)
    every = (square - 2 * offset * mean + offset**2).mean(axis=1)
    share = (locked - (every - locked) / (len(peaks) - 1)) / every
    return max(float(np.median(share)), 0.0), int((share > MOST_HEARTBEAT).sum()), heart_rate
