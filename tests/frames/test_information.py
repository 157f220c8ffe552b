"""Effective frames: the double sum itself, autoregressions, and the spread of correlations."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroframes.frames.information import effective_frames


def autoregression(n_frames: int, n_vertices: int, phi: float, seed: int = 0) -> np.ndarray:
    """Columns of unit variance whose autocorrelation is phi^lag."""
    noise = np.random.default_rng(seed).standard_normal((n_frames + 200, n_vertices))
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=0)[200:]


def masks(n_frames: int) -> dict[str, np.ndarray]:
    at = np.arange(n_frames)
    return {
        "all": at >= 0,
        "every second": at % 2 == 0,
        "first half": at < n_frames // 2,
        "at random": np.random.default_rng(1).random(n_frames) > 0.4,
    }


@pytest.mark.parametrize("name", masks(1))
def test_is_the_double_sum_over_measured_frames(name):
    n_frames, mask = 60, masks(60)[name]
    frames = autoregression(n_frames, 5, 0.7)
    z = frames / np.sqrt(np.mean(frames[mask] ** 2, axis=0))
    products = {}
    for s in np.flatnonzero(mask):
        for t in np.flatnonzero(mask):
            products.setdefault(abs(s - t), []).append(np.mean(z[s] * z[t]))
    width = 2 * np.sqrt(n_frames)
    total = 0.0
    for lag, values in products.items():
        if lag < width:
            rho = np.clip(np.mean(values), -1, 1) * (1 + np.cos(np.pi * lag / width)) / 2
            total += len(values) * rho**2
    frames[~mask] = np.nan  # what stands there isn't read
    assert effective_frames(frames, mask) == pytest.approx(mask.sum() ** 2 / total, rel=1e-9)


@pytest.mark.parametrize("name", masks(1))
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_of_autoregressions_is_what_their_known_correlations_give(name, phi):
    n_frames, mask = 800, masks(800)[name]
    at = np.flatnonzero(mask)
    expected = len(at) ** 2 / np.sum(phi ** (2.0 * np.abs(np.subtract.outer(at, at))))
    got = effective_frames(autoregression(n_frames, 300, phi), mask)
    assert got == pytest.approx(expected, rel=0.06)
    if name == "all" and phi == 0.5:  # in closed form: N (1 - phi^2) / (1 + phi^2)
        assert expected == pytest.approx(800 * 0.75 / 1.25, rel=0.01)


@pytest.mark.parametrize("name", masks(1))
def test_correlations_of_independent_vertices_spread_as_over_so_many_frames(name):
    mask = masks(300)[name]
    a, b = (autoregression(300, 3000, 0.8, seed)[mask] for seed in (1, 2))
    r = np.sum(a * b, axis=0) / np.sqrt(np.sum(a**2, axis=0) * np.sum(b**2, axis=0))
    effective = effective_frames(autoregression(300, 300, 0.8, 3), mask)
    assert 1 / np.mean(r**2) == pytest.approx(effective, rel=0.15)


def test_lies_between_one_and_the_number_of_measured_frames():
    mask = masks(200)["at random"]
    slow = np.cos(np.linspace(0, np.pi, 200))[:, None] * np.ones(4)
    for frames in (slow, autoregression(200, 4, 0), autoregression(200, 4, 0.95)):
        assert 1 <= effective_frames(frames, mask) <= mask.sum()
    assert effective_frames(np.ones((3, 2)), np.array([False, True, False])) == 1


def test_fewer_frames_hold_less_and_frames_apart_more_than_neighbours():
    frames, at = autoregression(600, 100, 0.8), np.arange(600)
    values = [effective_frames(frames, at < n) for n in (100, 200, 400, 600)]
    assert values == sorted(values)
    assert effective_frames(frames, at % 6 == 0) > 2 * effective_frames(frames, at < 100)
