"""Frames measured at some vertices, against the dense Gaussian over all K * V values."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.cortex.space import CorticalSpace
from neuroframes.frames import partial as module
from neuroframes.frames.coupling import coupled, fit_products
from neuroframes.frames.filling import draw_missing, fill_missing
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.partial import Between
from neuroframes.frames.posterior import posterior
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.model import Origin
from neuroframes.recording.segments import Segment, Split

K, V, D = 11, 24, 2
TR = 0.8
TIMES = TR * np.arange(K)
FULL = np.isin(np.arange(K), [0, 2, 6, 7, 10])
SCATTERED = np.random.default_rng(0).random((K, V)) < 0.5
# Half of the vertices are cut off in frames 3 to 5, one in frame 9; frames 1 and 8 are missing.
SLAB = np.zeros((K, V), bool)
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
    assert np.abs(filled - expected.reshape(K, V)[~full]).max() <= 1e-5 * np.abs(expected).max()
    assert filled[entries].tobytes() == frames[~full][entries].tobytes()
    assert np.allclose(stated[~entries], 1.5 * std[~entries], rtol=1e-4)
    assert not stated[entries].any()


def test_a_prior_with_lead_and_lag_fills_partial_frames_as_one_without(prior, dense):
    """Exactly, by its spectra: the dense solve is that of independent latents."""
    generator = np.random.default_rng(13)
    walk = generator.standard_normal((200, D)).cumsum(axis=0)[:, ::-1]
    latents = coupled(prior.latents, fit_products(walk, np.ones(200, bool), prior.latents), 1.0)
    assert np.abs(latents.coupling.lags[0, 0, 1]) > 0.1
    origin = Origin(CorticalSpace.from_parcels(V), TR, np.ones(V, np.float32), Split((), (), 0.0))
    model = GaussianModel(origin, replace(prior, latents=latents))
    values = drawn_from(dense, 14)
    frames = spoilt(values, FULL, SLAB)
    segment = Segment(frames, TIMES, TIMES, FULL, None, "run", partial=SLAB.any(axis=1))
    expected, covariance = conditioned(dense, prior, FULL[:, None] | SLAB, values, None)
    std = np.sqrt(np.maximum(np.diagonal(covariance), 0)).reshape(K, V)[~FULL]
    for n_draws in (0, 3):
        found, lacking = model.fill(segment, draws=n_draws), ~SLAB[~FULL]
        assert np.abs(found.mean - expected.reshape(K, V)[~FULL]).max() <= 1e-5 * np.abs(expected).max()
        for draw in found.draws:
            assert np.array_equal(draw[~lacking], values[~FULL][~lacking])
    assert np.allclose(model.fill(segment).std[lacking], std[lacking], rtol=1e-4)
    assert model.describe(segment).endswith("without lead and lag since some frames are partial")
    assert "lead and lag" not in model.describe(replace(segment, partial=None))


@pytest.mark.parametrize("rest", [1e-3, 1e-6])
def test_where_latents_explain_nearly_everything_entries_still_say_where_they_are(prior, rest):
    """Coefficients that are known to the last digit beside kernels of size 1: nothing may cancel."""
    prior = replace(prior, autoencoder=replace(prior.autoencoder, rest=np.full(V, rest, np.float32)))
    truth = np.random.default_rng(3).standard_normal((K, D)) @ prior.autoencoder.decoder
    frames = spoilt(truth, FULL, SLAB)
    filled, std = fill_missing(prior, frames, FULL, TIMES, entries=SLAB[~FULL])
    half = SLAB[~FULL].any(axis=1)
    assert np.abs(filled - truth[~FULL])[half].max() < 1e-3
    assert 10 * std[half].max() < std[~half].min()


def test_draws_are_those_of_the_posterior_and_agree_with_the_entries(prior, dense):
    n, generator, entries = 2500, np.random.default_rng(4), SLAB[~FULL]
    values = drawn_from(dense, 5)
    frames = spoilt(values, FULL, SLAB)
    latents = prior.encode(frames, FULL)
    expected, covariance = conditioned(dense, prior, FULL[:, None] | SLAB, values, None)
    given = posterior(prior.latents, TIMES, FrameMask(FULL), latents[FULL])
    drawn = np.stack([given.draw(generator) for _ in range(n)])
    mean, _ = fill_missing(prior, frames, FULL, TIMES, entries=entries)
    draws = draw_missing(prior, mean, FULL, TIMES, latents, None, drawn, generator, entries)
    draws = np.stack(list(draws))
    assert np.array_equal(draws[:, entries], np.broadcast_to(values[~FULL][entries], (n, int(entries.sum()))))
    free = (~(FULL[:, None] | SLAB)).ravel()
    covariance, away = covariance[np.ix_(free, free)], draws[:, ~entries] - expected[free]
    variance = np.diagonal(covariance)
    assert np.all(np.abs(away.mean(axis=0)) < 5 * np.sqrt(variance / n) + 1e-4)
    allowed = 5.5 * np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert np.all(np.abs(away.T @ away / n - covariance) < allowed)


def test_of_draws_of_latents_the_deviation_shrinks_alike(prior, dense):
    entries, generator = SLAB[~FULL], np.random.default_rng(6)
    frames = spoilt(drawn_from(dense, 7), FULL, SLAB)
    latents = prior.encode(frames, FULL)
    given = posterior(prior.latents, TIMES, FrameMask(FULL), latents[FULL])
    drawn = np.stack([given.draw(generator) for _ in range(4000)])
    _, closed = fill_missing(prior, frames, FULL, TIMES, entries=entries)
    _, of_draws = fill_missing(prior, frames, FULL, TIMES, latents, None, drawn, entries)
    assert np.allclose(of_draws, closed, rtol=0.06)


def test_of_many_partial_frames_the_near_ones_inform_and_the_deviation_is_never_too_small(
    prior_of, drawn, monkeypatch
):
    prior, times = prior_of(40, 3), 0.8 * np.arange(60)
    generator = np.random.default_rng(8)
    truth, full = drawn(prior, times, generator), np.arange(60) % 10 == 0
    known = generator.random((60, 40)) < 0.5
    known[generator.random(60) < 0.2] = False
    entries, frames = known[~full], spoilt(truth, full, known)
    exact, least = fill_missing(prior, frames, full, times, entries=entries)
    without, most = fill_missing(prior, frames, full, times)
    monkeypatch.setattr(module, "LARGEST", 6 * 16)  # 16 partial frames at once, of some 40
    filled, std = fill_missing(prior, frames, full, times, entries=entries)
    assert filled[entries].tobytes() == exact[entries].tobytes()
    assert np.all(std >= 0.9999 * least) and np.all(std <= 1.0001 * most)
    assert std[~entries].mean() < 1.05 * least[~entries].mean() < 0.8 * most[~entries].mean()
    assert np.square(filled - exact).mean() < 0.1**2 * np.square(without - exact).mean()


def test_far_from_partial_frames_nothing_is_taken_off_the_deviation(prior, drawn):
    times, full = 0.8 * np.arange(200), np.isin(np.arange(200), [20, 150], invert=True)
    entries = np.zeros((2, V), bool)
    entries[1, :8] = True
    frames = drawn(prior, times, np.random.default_rng(9))
    alone, informed = (fill_missing(prior, frames, full, times, entries=e) for e in (None, entries))
    assert informed[1][0].tobytes() == alone[1][0].tobytes()
    assert np.all(informed[1][1, 8:] < alone[1][1, 8:])
    assert np.abs(informed[0][0] - alone[0][0]).max() < 1e-3 < np.abs(informed[0][1] - alone[0][1])[8:].max()


def test_windows_of_a_long_run_share_the_partial_frames_at_their_border(prior_of, drawn):
    """A slab is cut off on either side of a border between windows: both sides are informed by both."""
    prior, n_frames = prior_of(V, D, 1), 1400
    times = 0.8 * np.arange(n_frames)
    full = np.ones(n_frames, bool)
    full[695:705] = False
    known = np.zeros((n_frames, V), bool)
    known[695:705, 8:] = True
    truth = drawn(prior, times, np.random.default_rng(10))
    frames, near = spoilt(truth, full, known), slice(600, 800)
    long = fill_missing(prior, frames, full, times, entries=known[~full])
    short = fill_missing(prior, frames[near], full[near], times[near], entries=known[~full])
    assert np.allclose(long[0], short[0], atol=1e-4) and np.allclose(long[1], short[1], rtol=1e-4)


def test_of_fewer_vertices_than_latents_all_stays_finite(prior_of):
    prior, entries = prior_of(4, 5), SLAB[:, 10:14]
    frames = np.random.default_rng(12).standard_normal((K, 4)).astype(np.float32)
    filled, std = fill_missing(prior, frames, FULL, TIMES, entries=entries[~FULL])
    assert np.isfinite(filled).all() and np.isfinite(std).all() and np.abs(filled).max() < 10


def test_the_rest_keeps_its_variance_and_stays_out_of_the_latents_reach(prior):
    between = Between.of(prior)
    assert np.allclose(between.rest_variance(), np.square(prior.autoencoder.rest), rtol=1e-6)
    draws = between.draw_rest(4000, np.random.default_rng(11))
    assert np.abs(draws @ between.reach).max() < 1e-5
    assert np.allclose(draws.std(axis=0), prior.autoencoder.rest, rtol=5 / np.sqrt(2 * 4000))
