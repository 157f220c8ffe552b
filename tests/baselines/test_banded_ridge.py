from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import neuroframes.baselines.banded_ridge as module
from neuroframes.baselines.banded_ridge import BandedRidge
from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.recording.band_power import BandPower

TR, CHANNELS = 0.8, 3
BAND = np.tile(np.arange(5), CHANNELS)


@pytest.fixture(scope="module")
def one_band(segment_of):
    """Segments of 3 channels whose 20 vertices follow alpha alone, 4 s later, plus noise."""
    generator = np.random.default_rng(4)
    mixing = generator.standard_normal((CHANNELS, 20))

    def draw(n_frames):
        power = generator.standard_normal((n_frames + 1, 5 * CHANNELS)).astype(np.float32)
        alpha = (power[1:, 2::5] + power[:-1, 2::5]) / 2  # at the frames' centres
        frames = np.roll(alpha, 5, axis=0) @ mixing
        frames = frames + 1.5 * generator.standard_normal(frames.shape)
        segment = segment_of(frames, power=BandPower(power, TR * np.arange(n_frames + 1), BAND))
        return segment

    return draw(400), draw(300)


@pytest.fixture(scope="module")
def fitted(one_band):
    return BandedRidge(samples=10).fit([one_band[0]])


def latents_of(model, segment):
    autoencoder = LinearAutoencoder(model.coefficients_, np.zeros(20, np.float32))
    return autoencoder.encode(lambda block: (segment.frames - model.mean_)[:, block])


def test_weights_solve_the_penalised_normal_equations(one_band, fitted):
    train, _ = one_band
    phi, *_ = fitted.design([train])
    targets = latents_of(fitted, train)
    assert fitted.penalties_.shape == (5, 20)
    for latent in range(20):
        # Columns are by lag, then channel, then band; one with an infinite penalty takes no part.
        penalty = np.tile(fitted.penalties_[:, latent], phi.shape[1] // 5)
        kept = np.isfinite(penalty)
        x = phi[:, kept]
        expected = np.zeros(len(penalty))
        expected[kept] = np.linalg.solve(x.T @ x + np.diag(penalty[kept]), x.T @ targets[:, latent])
        np.testing.assert_allclose(fitted.right_[:, latent], expected, atol=1e-4)


def test_with_equal_penalties_it_is_plain_ridge(one_band):
    train, test = one_band
    model = BandedRidge(samples=1).fit([train])
    np.testing.assert_allclose(model.penalties_, np.tile(model.penalties_[:1], (5, 1)), rtol=1e-5)
    phi, at_test = ((model.features(segment) - model.centre_) / model.scale_ for segment in (train, test))
    reference = Ridge(alpha=model.penalties_[0], fit_intercept=False).fit(phi, latents_of(model, train))
    expected = reference.predict(at_test) @ model.coefficients_ + model.mean_
    np.testing.assert_allclose(model.estimate(test.given(np.zeros(300, bool))), expected, atol=1e-3)


def test_where_one_band_tells_something_it_beats_one_penalty_for_all(one_band, fitted):
    train, test = one_band
    nothing = np.zeros(300, bool)
    ridge = RidgeFIR().fit([train])
    banded, equal, plain = (
        np.square(model.estimate(test.given(nothing)) - test.frames).mean()
        for model in (fitted, BandedRidge(samples=1).fit([train]), ridge)
    )
    assert banded < 0.9 * equal < 0.9 * plain
    assert banded < 0.8 * np.square(ridge.left_out_).mean()
    strong = fitted.penalties_[:, :CHANNELS]  # those after them are noise
    assert (strong.argmin(axis=0) == 2).all()


def test_bands_may_have_any_features(one_band):
    train, _ = one_band
    order = np.random.default_rng(0).permutation(5 * CHANNELS)[:-1]  # one is left out
    shuffled = [
        replace(s, power=BandPower(s.power.values[:, order], s.power.times, BAND[order])) for s in one_band
    ]
    model = BandedRidge(samples=10).fit(shuffled[:1])
    assert (model.penalties_[:, :CHANNELS].argmin(axis=0) == 2).all()
    unnamed = replace(train, power=BandPower(train.power.values, train.power.times))
    assert BandedRidge(samples=1).fit([unnamed]).penalties_.shape == (1, 20)


def test_blocks_and_their_margins_are_left_out(one_band, monkeypatch):
    train, _ = one_band
    given = {}

    def solve(kernels, targets, *, cv, **_):
        given.update(cv=cv, kernels=kernels)
        n_targets = targets.shape[1]
        return np.zeros((5, n_targets)), np.zeros_like(targets), None

    monkeypatch.setattr("himalaya.kernel_ridge.solve_multiple_kernel_ridge_random_search", solve)
    model = BandedRidge().fit([train])
    _, margin, blocks = model.design([train])
    assert margin == 25  # 20 s
    assert len(given["cv"]) == len(blocks)
    for (kept, left_out), block in zip(given["cv"], blocks, strict=True):
        np.testing.assert_array_equal(left_out, block)
        near = np.abs(np.subtract.outer(np.arange(400), block)).min(axis=1) <= margin
        np.testing.assert_array_equal(kept, np.flatnonzero(~near))
    # The kernels' mean diagonal is 1, so that `PENALTIES` mean the same as in `Ridge`.
    np.testing.assert_allclose(given["kernels"].diagonal(axis1=1, axis2=2).mean(axis=1), 1, rtol=1e-5)


def test_the_same_seed_gives_the_same_frames(one_band, fitted):
    train, test = one_band
    nothing = np.zeros(300, bool)
    again = BandedRidge(samples=10).fit([train]).estimate(test.given(nothing))
    np.testing.assert_array_equal(again, fitted.estimate(test.given(nothing)))
    assert np.any(BandedRidge(samples=10, seed=1).fit([train]).penalties_ != fitted.penalties_)


def test_it_counts_its_parameters(fitted):
    n_features = 26 * 5 * CHANNELS
    assert fitted.n_parameters == n_features * 20 + 20 * 20 + 20


def test_what_it_cannot_do_without_it_says(one_band, segment_of, monkeypatch):
    train, _ = one_band
    with pytest.raises(InputError, match="needs EEG"):
        BandedRidge().fit([replace(train, power=None)])
    short = segment_of(train.frames[:40], power=train.power)
    with pytest.raises(InputError, match="40 measured frames are too few .* 25 frames on either side"):
        BandedRidge().fit([short])
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs himalaya; pip install"):
        BandedRidge().fit([train])
