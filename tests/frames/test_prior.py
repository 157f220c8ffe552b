"""Fitting the prior of frames: what it reads, what it recovers, how runs are cut."""

import numpy as np
import pytest

from neuroframes.frames.autoencoder import fit_autoencoder
from neuroframes.frames.prior import (
    CONTEXT,
    LONGEST_WINDOW,
    default_latents,
    fit_frame_prior,
    folds_for,
    windows_in_context,
)

TR = 0.8


def fit(frames, runs, n_latents, folds=1, seed=0):
    generator = np.random.default_rng(seed)
    return fit_frame_prior(
        lambda block: frames[:, block], frames.shape[1], runs, TR, n_latents, generator, folds
    )


@pytest.fixture(scope="module")
def truth(prior_of):
    return prior_of(60, 4, 1)


@pytest.fixture(scope="module")
def frames(truth, drawn):
    """Two runs of 300 and 200 frames, one after the other."""
    generator = np.random.default_rng(1)
    return np.concatenate([drawn(truth, TR * np.arange(n), generator) for n in (300, 200)])


MEASURED = np.random.default_rng(2).random(500) > 0.2
RUNS = [(slice(0, 300), MEASURED[:300]), (slice(300, 500), MEASURED[300:])]


@pytest.mark.parametrize("folds", [1, 3])
def test_missing_frames_are_not_read(frames, folds):
    fitted = []
    for value in (np.nan, 1e30):
        broken = np.where(MEASURED[:, None], frames, np.float32(value))
        prior = fit(broken, RUNS, 4, folds)
        fitted.append(
            [prior.autoencoder.decoder, prior.autoencoder.rest, prior.latents.power, prior.rest.power]
        )
    for first, second in zip(*fitted, strict=True):
        assert np.all(np.isfinite(first))
        assert np.array_equal(first, second)


def test_recovers_the_prior_that_made_the_frames(truth, frames):
    prior = fit(frames, [(rows, np.ones_like(mask)) for rows, mask in RUNS], 4)
    lags = TR * np.arange(8)
    expected = sum(
        v * np.outer(truth.latents.kernel(0, lags, lags[:1])[:, 0], row**2)
        for v, row in zip(truth.latents.variance, truth.autoencoder.decoder, strict=True)
    )
    got = prior.latents.kernel(0, lags, lags[:1]) * (
        prior.latents.variance @ np.square(prior.autoencoder.decoder)
    )
    # 400 s of a process that remembers some 5 s: 80 independent values.
    assert np.abs(got / expected[0] - expected / expected[0]).mean() < 3 / np.sqrt(80)
    ratio = prior.autoencoder.rest / truth.autoencoder.rest
    assert np.abs(ratio - 1).mean() < 1 / np.sqrt(2 * 80)
    rest, expected = (p.rest.kernel(0, lags, lags[:1])[:, 0] for p in (prior, truth))
    assert np.abs(rest - expected).max() < 0.06


def test_with_folds_the_rest_is_that_of_frames_left_out(frames):
    everything = np.ones(500, bool)
    runs = [(slice(0, 500), everything)]
    folded, plain = fit(frames, runs, 20, folds=2), fit(frames, runs, 20)
    power = np.zeros(frames.shape[1])
    for held in (slice(0, 249), slice(249, 500)):
        others = np.delete(frames, held, axis=0)
        here, _ = fit_autoencoder(lambda b, x=others: x[:, b], 60, 20, np.random.default_rng(3))
        x = frames[held]
        power += np.square(x - here.decode(here.encode(lambda b, x=x: x[:, b]))).sum(axis=0)
    assert np.allclose(folded.autoencoder.rest, np.sqrt(power / 500), rtol=0.02)
    assert folded.autoencoder.rest.mean() > 1.05 * plain.autoencoder.rest.mean()


def test_folds_hold_measured_frames_wherever_these_are(frames):
    measured = np.arange(500) >= 400  # equal lengths would leave a fold with nothing to fit on
    prior = fit(frames, [(slice(0, 500), measured)], 4, folds=3)
    assert np.all(np.isfinite(prior.latents.power)) and np.all(prior.autoencoder.rest > 0)


def test_a_fold_of_lower_rank_is_no_obstacle():
    generator = np.random.default_rng(4)
    frames = np.zeros((200, 30), np.float32)
    frames[:, :5] = generator.standard_normal((200, 5))
    frames[150:, 5:10] = generator.standard_normal((50, 5))
    prior = fit(frames, [(slice(0, 200), np.ones(200, bool))], 10, folds=4)
    assert prior.autoencoder.n_latents == len(prior.latents.group) == 10
    assert np.all(np.isfinite(prior.latents.variance))


def test_latents_that_explain_everything_leave_a_usable_rest():
    generator = np.random.default_rng(5)
    frames = (generator.standard_normal((120, 3)) @ generator.standard_normal((3, 20))).astype(np.float32)
    prior = fit(frames, [(slice(0, 120), np.ones(120, bool))], 5)
    assert prior.autoencoder.n_latents == 3
    assert prior.autoencoder.rest.max() < 1e-3
    assert np.isfinite(prior.rest.kernel(0, TR * np.arange(10))).all()


@pytest.mark.parametrize(("n_measured", "expected"), [(3, 1), (80, 10), (5000, 128)])
def test_default_latents(n_measured, expected):
    assert default_latents(n_measured) == expected


@pytest.mark.parametrize(("n_measured", "expected"), [(20, 1), (130, 2), (5000, 4)])
def test_folds_for(n_measured, expected):
    assert folds_for(n_measured) == expected


@pytest.mark.parametrize("n_frames", [1, 1000, LONGEST_WINDOW + CONTEXT, 1281, 2600, 27_000])
def test_windows_tile_the_run_and_know_their_surroundings(n_frames):
    windows = list(windows_in_context(n_frames))
    cores = np.concatenate([np.arange(n_frames)[core] for core, _ in windows])
    assert np.array_equal(cores, np.arange(n_frames))
    for core, context in windows:
        assert context.start == max(0, core.start - CONTEXT)
        assert context.stop == min(n_frames, core.stop + CONTEXT)
        assert core.stop - core.start <= LONGEST_WINDOW + CONTEXT
