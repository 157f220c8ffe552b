"""Frames measured at some vertices, against the dense Gaussian over all K * V values."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.frames import partial as module
from neuroframes.frames.filling import draw_missing, fill_missing
from neuroframes.frames.partial import Between, PartialFrames

K, V, D = 11, 24, 2
TIMES = 0.8 * np.arange(K)
FULL = np.isin(np.arange(K), [0, 2, 6, 7, 10])
SCATTERED = np.random.default_rng(0).random((K, V)) < 0.5
SLAB = np.zeros((K, V), bool)  # of frames 3 to 5 the first half is cut off, of frame 9 one entry; 1 and 8 missing
SLAB[3:6, 12:], SLAB[9], SLAB[9, 4] = True, True, False
FEW = np.zeros((K, V), bool)  # fewer entries than latents
FEW[4, 7] = True
ENTRIES = {"scattered": SCATTERED & ~FULL[:, None], "slab": SLAB, "one entry": FEW}
WITHOUT = np.zeros(K, bool)


@pytest.fixture(scope="module")
def prior(prior_of):
    return prior_of(V, D)


@pytest.fixture(scope="module")
def dense(prior, outside):
    """C, from the noise that gave the fixture's rest its standard deviation."""
    noise = np.random.default_rng(0)
    noise.standard_normal((D, V))
    rest = outside(prior.autoencoder.decoder) * noise.uniform(0.2, 1, V) @ outside(prior.autoencoder.decoder)
    covariance = np.kron(prior.rest.kernel(0, TIMES), rest)
    for j, row in enumerate(prior.autoencoder.decoder.astype(np.float64)):
        kernel = prior.latents.kernel(prior.latents.group[j], TIMES)
        covariance += prior.latents.variance[j] * np.kron(kernel, np.outer(row, row))
    return covariance


def conditioned(dense, prior, known, values, mean):
    """Mean and covariance (K V) given the known of values, both of shape (K, V)."""
    centre = np.zeros(K * V) if mean is None else (mean @ prior.autoencoder.decoder).ravel()
    a = np.eye(K * V)[known.ravel()]
    gain = dense @ a.T @ np.linalg.inv(a @ dense @ a.T)
    return centre + gain @ (values[known] - a @ centre), dense - gain @ a @ dense


def spoilt(values, full, entries):
    return np.where(full[:, None] | entries, values, np.nan).astype(np.float32)


def drawn_from(dense, seed):
    factor = np.linalg.cholesky(dense + 1e-9 * np.eye(len(dense)))
    return (factor @ np.random.default_rng(seed).standard_normal(len(dense))).reshape(K, V).astype(np.float32)


@pytest.mark.parametrize("full", [FULL, WITHOUT], ids=["beside full frames", "no full frame"])
@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("with_mean", [False, True], ids=["centred", "prior mean"])
def test_mean_and_deviation_are_those_of_a_dense_solve(prior, dense, full, name, with_mean):
    entries = ENTRIES[name]
    mean = np.random.default_rng(1).standard_normal((K, D)) if with_mean else None
    values = drawn_from(dense, 2)
    expected, covariance = conditioned(dense, prior, full[:, None] | entries, values, mean)
    std = np.sqrt(np.maximum(np.diagonal(covariance), 0)).reshape(K, V)[~full]
    prior, entries = replace(prior, spread=1.5), entries[~full]
    frames = spoilt(values, full, ENTRIES[name])
    filled, stated = fill_missing(prior, frames, full, TIMES, mean=mean, entries=entries)
    print(np.abs(filled - expected.reshape(K, V)[~full]).max(), np.abs(stated / 1.5 / np.where(entries, 1, std) - 1)[~entries].max())
    assert np.abs(filled - expected.reshape(K, V)[~full]).max() <= 1e-5 * np.abs(expected).max()
    assert filled[entries].tobytes() == frames[~full][entries].tobytes()
    assert np.allclose(stated[~entries], 1.5 * std[~entries], rtol=1e-4)
    assert not stated[entries].any()
