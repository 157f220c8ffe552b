"""Against SciPy's periodogram and frequency-by-frequency least squares."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lombscargle

from neuroframes.baselines import LombScargle
from neuroframes.baselines import lomb_scargle as module
from neuroframes.baselines.lomb_scargle import sinusoids


@pytest.fixture
def measured() -> np.ndarray:
    mask = np.random.default_rng(3).random(300) < 0.4
    mask[[0, 1, -1]] = False
    return mask


def frequencies(known: np.ndarray) -> np.ndarray:
    """4 times oversampled, below the mean Nyquist frequency."""
    n, span = len(known), np.ptp(known)
    grid = np.arange(1, 4 * n) / (4 * span)
    return grid[grid < (1 - 1e-9) * (n - 1) / (2 * span)]


def test_power_of_the_fits_is_scipy_s(smooth, measured):
    known = smooth[1].times[measured]
    y = smooth[1].frames[measured, 0].astype(float)
    waves = sinusoids(known, known, frequencies(known))
    cosine, sine = np.split((waves @ y) ** 2 / np.sum(waves**2, axis=1), 2)
    expected = lombscargle(known, y, 2 * np.pi * frequencies(known))
    np.testing.assert_allclose((cosine + sine) / 2, expected, rtol=1e-6)


@pytest.mark.parametrize("block", [7, 1024])
def test_it_is_the_sum_of_single_frequency_fits(smooth, measured, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    train, test = smooth
    given = test.frames[measured].astype(float)
    known, centred = test.times[measured], given - given.mean(axis=0)
    series = np.zeros(test.frames.shape)
    for frequency in frequencies(known):
        here, there = (
            np.stack([np.cos(2 * np.pi * frequency * t), np.sin(2 * np.pi * frequency * t)], axis=1)
            for t in (known, test.times)
        )
        series += there @ np.linalg.lstsq(here, centred, rcond=None)[0]
    expected = given.mean(axis=0) + series * given.std(axis=0) / series.std(axis=0)
    frames = LombScargle().fit([train]).estimate(test.given(measured))
    np.testing.assert_allclose(frames, expected[~measured], atol=1e-4)


def test_scale_and_offset_of_a_vertex_pass_through(smooth, measured):
    train, test = smooth
    model = LombScargle().fit([train])
    scale, offset = np.linspace(1, 9, 40), np.linspace(-5, 5, 40)
    moved = replace(test, frames=(test.frames * scale + offset).astype(np.float32))
    expected = model.estimate(test.given(measured)) * scale + offset
    np.testing.assert_allclose(model.estimate(moved.given(measured)), expected, atol=1e-4)


def test_a_constant_and_a_single_frame_are_held(smooth, measured):
    train, test = smooth
    model = LombScargle().fit([train])
    flat = replace(test, frames=np.full_like(test.frames, 7))
    np.testing.assert_allclose(model.estimate(flat.given(measured)), 7, rtol=1e-6)
    one = np.arange(300) == 100
    np.testing.assert_array_equal(model.estimate(test.given(one)), np.tile(test.frames[100], (299, 1)))
