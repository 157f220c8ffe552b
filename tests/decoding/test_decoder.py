import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuroframes.decoding.decoder import (
    FIRST,
    LAST,
    MOST_TARGETS,
    Decoder,
    _folds,
    _solve,
    fit_decoder,
    window_mean,
    windows,
)
from neuroframes.errors import InputError
from neuroframes.models.ridge import PENALTIES

pytest.importorskip("himalaya")
TR, K, V = 2.0, 240, 12


def responding(lag, *, n=K, noise=0.5, seed=0, n_features=1):
    """Frames (K, V) that show features (K, F) `lag` frames later."""
    rng = np.random.default_rng(seed)
    shown = rng.standard_normal((n, n_features))
    maps = np.random.default_rng(99).standard_normal((n_features, V))
    later = np.zeros_like(shown)
    later[lag:] = shown[: n - lag]
    frames = later @ maps + noise * rng.standard_normal((n, V))
    return frames.astype(np.float32), shown


def r_of(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("tr", [0.5, 0.72, 0.8, 1.0, 1.4, 2.0, 2.1, 3.0, 10.0, 25.0])
def test_windows_hold_every_lag_once_in_order(tr):
    lags = np.concatenate(windows(tr))

    assert np.array_equal(lags, np.arange(lags[0], lags[-1] + 1))
    assert FIRST - tr <= lags[0] * tr <= FIRST + tr
    assert LAST - max(2, tr) - tr <= lags[-1] * tr < LAST + tr
    assert all(len(window) for window in windows(tr))


@pytest.mark.parametrize("lags", [[0], [-2, -1], [3, 4, 5], [300], [-300, 1]])
def test_window_mean_equals_a_slow_loop(lags):
    values = np.random.default_rng(0).standard_normal((20, 3))
    expected = [np.mean([values[min(max(k + lag, 0), 19)] for lag in lags], axis=0) for k in range(20)]

    assert np.allclose(window_mean(values, np.array(lags)), expected)


@pytest.mark.parametrize("lag", [0, 2, 3])
def test_the_delay_of_the_response_is_learned(lag):
    frames, shown = responding(lag)
    decoder = fit_decoder([frames], [shown], ["level"], TR)

    assert decoder.delay == pytest.approx(lag * TR, abs=0.4)
    new, of_new = responding(lag, seed=1)
    assert r_of(decoder.decode(new)[: K - lag], of_new[: K - lag]) > 0.95


def test_the_delay_is_that_of_what_is_decoded():
    frames, shown = responding(2)
    constant = np.column_stack([shown, np.ones((K, 3))])
    alone = fit_decoder([frames], [shown], ["level"], TR)
    beside = fit_decoder([frames], [constant], ["level", "a", "b", "c"], TR)

    assert beside.delay == pytest.approx(alone.delay)


@pytest.mark.parametrize("tr", [0.8, 2.0, 2.1, 3.0])
@pytest.mark.parametrize("rounding", [0.9991, 1.0009])
def test_a_rounded_tr_has_the_same_windows(tr, rounding):
    for exact, rounded in zip(windows(tr), windows(tr * rounding, max(2, tr)), strict=True):
        assert np.array_equal(exact, rounded)


def test_closer_frames_are_decoded_by_the_same_windows():
    """Each frame twice at half the TR: every second moment is decoded as before."""
    frames, shown = responding(2)
    decoder = fit_decoder([frames], [shown], ["level"], TR)
    twice = decoder.decode(np.repeat(frames, 2, axis=0), TR / 2)

    assert np.allclose(twice[::2], decoder.decode(frames), atol=1e-4)


@pytest.mark.parametrize("lag", [-2, 0, 3])
def test_a_moment_is_told_by_the_frame_after_its_delay(lag):
    share = np.array([[float(window[0] == lag)] for window in windows(TR)], np.float32)
    decoder = Decoder(np.zeros((V, len(share), 1)), np.eye(1), np.zeros(1), ("a",), TR, share)
    for n in (50, 2):
        frames = np.random.default_rng(0).random(n) < 0.7
        expected = [bool(0 <= k + lag < n and frames[k + lag]) for k in range(n)]

        assert decoder.told_by(frames).tolist() == expected


def test_with_one_ratio_of_penalties_it_is_ridge_regression():
    frames, shown = responding(2)
    decoder = fit_decoder([frames], [shown], ["level"], TR, samples=1)
    x = np.concatenate([window_mean(frames.astype(float), lags) for lags in windows(TR)], axis=1)
    size = np.square(x - x.mean(axis=0)).sum(axis=1).mean() / len(windows(TR))  # of a window's frames
    penalties = size * len(windows(TR)) * PENALTIES[::2]
    fits = [Ridge(penalty).fit(x, shown).predict(x) for penalty in penalties]

    assert min(np.abs(fit.ravel() - decoder.decode(frames).ravel()).max() for fit in fits) < 1e-5


def test_both_solvers_find_the_same():
    # As many moments as weights decide which is used: here columns of zeros make them more.
    frames, shown = responding(2, n=100)
    x = np.stack([window_mean(frames.astype(float), lags) for lags in windows(TR)])
    x -= x.mean(axis=1, keepdims=True)
    wide = np.concatenate([x, np.zeros((*x.shape[:2], 10))], axis=2)
    folds = _folds(TR * np.arange(len(shown)))
    of_both = [_solve(each, shown - shown.mean(), folds, 3, 0) for each in (x, wide)]

    assert x.shape[0] * x.shape[2] < 100 < wide.shape[0] * wide.shape[2]
    assert np.allclose(of_both[0], of_both[1][:, :V], atol=1e-8)


def test_what_was_shown_to_several_at_once_is_left_out_together():
    # Of features that change slowly, other people's rows of a moment would give it away to any noise.
    rng = np.random.default_rng(0)
    shown = np.cumsum(rng.standard_normal((K, 1)), axis=0)
    frames = [rng.standard_normal((K, V)).astype(np.float32) for _ in range(4)]
    moments = [TR * np.arange(K)] * 4
    together = fit_decoder(frames, [shown] * 4, ["walk"], TR, moments=moments)

    spread = np.concatenate([together.decode(part) for part in frames]).std()
    assert spread < 0.2 * shown.std()


def test_moments_without_features_are_left_out():
    frames, shown = responding(1)
    known = fit_decoder([frames[:150]], [shown[:150]], ["level"], TR)
    holed = shown.copy()
    holed[150:] = np.nan
    padded = frames.copy()
    padded[152:] = 0  # lags of the last moments reach there
    decoder = fit_decoder([padded], [holed], ["level"], TR)

    assert r_of(decoder.decode(frames), known.decode(frames)) > 0.99


def test_many_features_are_decoded_through_their_components():
    frames, shown = responding(1, n_features=3)
    embedding = shown @ np.random.default_rng(5).standard_normal((3, 100))
    names = [f"dimension {number}" for number in range(100)]
    decoder = fit_decoder([frames], [embedding], names, TR)

    assert decoder.weights.shape[2] == MOST_TARGETS
    assert r_of(decoder.decode(frames)[2:-2], embedding[2:-2]) > 0.9


def test_the_same_seed_decodes_the_same_and_constant_features_are_their_constant():
    frames, shown = responding(1)
    both = np.column_stack([shown, np.full(K, 7.0)])
    first, second = (fit_decoder([frames], [both], ["a", "b"], TR, seed=3).decode(frames) for _ in range(2))

    assert np.array_equal(first, second)
    assert np.allclose(first[:, 1], 7)


def test_read_again_it_decodes_the_same():
    frames, shown = responding(1)
    decoder = fit_decoder([frames], [shown], ["level"], TR)
    again = Decoder.from_tensors(*decoder.to_tensors())

    assert np.array_equal(again.decode(frames), decoder.decode(frames))
    assert again.names == ("level",) and again.delay == decoder.delay


@pytest.mark.parametrize(
    ("shown", "said"),
    [(np.ones((K, 1)), "constant"), (np.where(np.arange(K) < 40, 1.0, np.nan)[:, None], "40 moments")],
)
def test_what_cannot_be_fitted_is_refused(shown, said):
    with pytest.raises(InputError, match=said):
        fit_decoder([responding(1)[0]], [shown], ["level"], TR)
