import numpy as np

from neuroframes.baselines import Drift


def test_a_drift_shared_by_runs_is_found(segment_of):
    generator = np.random.default_rng(0)
    u = np.arange(400) / 399
    drift = np.cos(np.pi * np.outer(u, [0, 1, 2, 3])) @ generator.standard_normal((4, 5))
    censored = (3, 50)
    noisy = drift.copy()
    noisy[list(censored)] = np.nan
    model = Drift().fit([segment_of(noisy, censored=censored), segment_of(drift)])
    estimate = model.estimate(segment_of(np.zeros((400, 5)), censored=range(400)))
    assert np.allclose(estimate, drift, atol=1e-5)


def test_least_squares(segment_of, smooth):
    train, test = smooth
    model = Drift(order=2).fit([train])
    expected = np.linalg.lstsq(model.basis(train.time_in_run), train.frames.astype(float), rcond=None)[0]
    assert np.allclose(model.coefficients_, expected, atol=1e-4)
    # Training that covers one moment only can't tell the cosines apart, but answers.
    short = segment_of(train.frames[:2])
    assert np.isfinite(Drift().fit([short]).estimate(test.given(np.zeros(300, bool)))).all()
