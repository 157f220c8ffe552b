from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.errors import InputError
from neuroframes.evaluation.controls import shuffled
from neuroframes.evaluation.metrics import score
from neuroframes.recording.band_power import BandPower


@pytest.mark.parametrize("n_train", [80, 500], ids=["dual", "primal"])
def test_it_is_scikit_learn_s_ridge_at_the_chosen_penalty(coupled, segment_of, n_train):
    train, test = coupled
    train = segment_of(train.frames[:n_train] + 3, power=train.power, censored=(5, 6, 40))
    model = RidgeFIR().fit([train])
    phi, at_test = (
        (model.features(segment) - model.centre_) / model.scale_ for segment in (train, test)
    )  # 130 features
    assert np.allclose(phi[train.measured].std(axis=0), 1)
    reference = Ridge(alpha=model.penalty_).fit(phi[train.measured], train.frames[train.measured])
    estimate = model.estimate(test.given(np.zeros(300, bool)))
    assert np.allclose(estimate, reference.predict(at_test), atol=1e-4)


def test_whole_segments_are_left_out_where_there_are_four(coupled):
    train, _ = coupled
    parts = [
        replace(
            train,
            **{name: getattr(train, name)[rows] for name in ("frames", "times", "time_in_run", "measured")},
        )
        for rows in np.array_split(np.arange(500), 4)
    ]
    model = RidgeFIR().fit(parts)
    phi = (model.features(train) - model.centre_) / model.scale_
    targets = train.frames - model.mean_
    for rows in np.array_split(np.arange(500), 4):
        kept = np.ones(500, bool)
        kept[max(rows[0] - 25, 0) : rows[-1] + 26] = False  # 20 s on either side
        reference = Ridge(alpha=model.penalty_, fit_intercept=False).fit(phi[kept], targets[kept])
        assert np.allclose(model.left_out_[rows], targets[rows] - reference.predict(phi[rows]), atol=1e-4)


def test_coupling_is_found_and_shuffled_eeg_loses_it(coupled):
    train, test = coupled
    model = RidgeFIR().fit([train])
    nothing = np.zeros(300, bool)
    r = score(test.frames, model.estimate(test.given(nothing)), ~nothing)["whole"]["temporal_r"]
    assert r > 0.5  # the ceiling is 0.71; 130 weights from 500 frames cost the rest
    generator = np.random.default_rng(0)
    shuffles = [shuffled(test, generator).given(nothing) for _ in range(20)]
    controls = [
        score(test.frames, model.estimate(control), ~nothing)["whole"]["temporal_r"] for control in shuffles
    ]
    assert abs(np.mean(controls)) < 0.02


def test_without_coupling_the_largest_shrinkage_wins(coupled):
    train, test = coupled
    noise = np.random.default_rng(5).standard_normal(train.frames.shape).astype(np.float32)
    model = RidgeFIR().fit([replace(train, frames=noise)])
    assert model.estimate(test.given(np.zeros(300, bool))).std() < 0.2


def test_a_flat_channel_changes_nothing(coupled):
    def with_flat(segment):
        flat = np.full((len(segment.power.times), 1), -41.446533, np.float32)
        return replace(segment, power=BandPower(np.hstack([segment.power.values, flat]), segment.power.times))

    train, test = coupled
    nothing = np.zeros(300, bool)
    model = RidgeFIR().fit([with_flat(train)])
    assert np.isfinite(model.estimate(with_flat(test).given(nothing))).all()
    assert np.isinf(model.scale_[5::6]).all()


def test_without_eeg_it_says_so(coupled):
    with pytest.raises(InputError, match="needs EEG"):
        RidgeFIR().fit([replace(coupled[0], power=None)])


@pytest.mark.parametrize(("shift", "n_lags"), [(1, 5), (-8, 26)], ids=["convolved already", "not convolved"])
def test_features_may_follow_frames_where_they_are_convolved(coupled, shift, n_lags):
    """Frames one TR before the features that they follow, or 8 after them."""
    train, _ = coupled
    power = train.power.values[:500]
    noise = np.random.default_rng(2).standard_normal((500, 5)).astype(np.float32)
    train = replace(train, frames=np.roll(power, -shift, axis=0) + noise, times=train.power.times[:500])
    assert len(RidgeFIR().fit([train]).lags_) == n_lags
