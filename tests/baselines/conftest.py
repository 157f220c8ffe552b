from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.ndimage import gaussian_filter1d

from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

TR = 0.8


def make_segment(
    frames: np.ndarray, *, power: BandPower | None = None, censored: tuple[int, ...] = ()
) -> Segment:
    times = TR * np.arange(len(frames)) + TR / 2
    measured = np.ones(len(frames), bool)
    measured[list(censored)] = False
    return Segment(frames.astype(np.float32), times, times - TR / 2, measured, power, "sub-01_task-test")


@pytest.fixture(scope="session")
def segment_of() -> Callable[..., Segment]:
    """Make a Segment of frames (K, V) at a TR of 0.8 s."""
    return make_segment


@pytest.fixture(scope="session")
def smooth() -> tuple[Segment, Segment]:
    """Training and test segments from a Gaussian process: exp(-tau / 6 s) + 0.1 white, 40 vertices."""
    generator = np.random.default_rng(0)

    def draw(n_frames: int) -> Segment:
        covariance = toeplitz(np.exp(-TR * np.arange(n_frames) / 6)) + 0.1 * np.eye(n_frames)
        return make_segment(np.linalg.cholesky(covariance) @ generator.standard_normal((n_frames, 40)))

    return draw(600), draw(300)


@pytest.fixture(scope="session")
def coupled() -> tuple[Segment, Segment]:
    """Training and test segments whose 30 vertices follow band power 4 s before, plus as much noise.

    5 features of independent band power, 0.8 s apart; the two segments come from different runs.
    """
    generator = np.random.default_rng(1)
    mixing = generator.standard_normal((5, 30))

    def draw(n_frames: int) -> Segment:
        times = TR * np.arange(n_frames + 1)
        power = BandPower(generator.standard_normal((n_frames + 1, 5)).astype(np.float32), times)
        halfway = (power.values[1:] + power.values[:-1]) / 2  # band power at the frames' centres
        frames = np.roll(halfway, 5, axis=0) @ mixing
        return make_segment(frames + frames.std() * generator.standard_normal(frames.shape), power=power)

    return draw(500), draw(300)


@pytest.fixture(scope="session")
def with_eeg() -> tuple[Segment, Segment]:
    """Training and test segments with EEG, 6 channels at 100 Hz; 20 vertices follow it 4 s later, plus noise.

    A slow potential, which is linear in the EEG, and the log amplitudes of 10 Hz in channels 0 to 2 and of
    20 Hz in channels 3 to 5 drive the frames in equal parts.
    """
    generator = np.random.default_rng(2)
    rate, mixing = 100.0, generator.standard_normal((3, 20))

    def draw(n_frames: int) -> Segment:
        segment = make_segment(np.zeros((n_frames, 20)))
        n_samples = round((segment.times[-1] + TR) * rate)
        drivers = gaussian_filter1d(generator.standard_normal((3, n_samples)), 1.5 * rate, mode="wrap")
        drivers /= drivers.std(axis=1, keepdims=True)
        at = np.arange(n_samples) / rate
        carrier = np.sin(2 * np.pi * np.outer([10, 20], at)) * np.exp(drivers[1:])
        data = np.repeat(carrier, 3, axis=0) + np.outer([1, -1] * 3, drivers[0])
        data += 0.5 * generator.standard_normal(data.shape)
        lagged = np.array([np.interp(segment.times - 4, at, driver) for driver in drivers])
        frames = lagged.T @ mixing + 0.7 * generator.standard_normal((n_frames, 20))
        signal = Signal(1e-5 * data.astype(np.float32), rate, tuple(f"E{n}" for n in range(6)))
        return replace(segment, frames=frames.astype(np.float32), eeg=signal)

    return draw(400), draw(200)
