"""The split that leaks, and that it does."""

from dataclasses import replace

import numpy as np

from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.evaluation.cells import HOP, LEAKING_WINDOW, TEST_SHARE, leaking_split, random_windows
from neuroframes.evaluation.metrics import WHOLE, score
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment


def test_windows_cover_the_run_and_most_test_frames_are_trained_on():
    train, test = random_windows(5000, np.random.default_rng(0))
    assert (train | test).all()
    # A frame of a test window lies in one other window, which is a training window with 1 - TEST_SHARE.
    assert abs((train & test).sum() / test.sum() - (1 - TEST_SHARE) / (1 - TEST_SHARE / 2)) < 0.03
    edges = np.flatnonzero(np.diff(test.astype(int), prepend=0, append=0)).reshape(-1, 2)
    lengths = np.diff(edges, axis=1)
    assert (lengths >= LEAKING_WINDOW).all() and (lengths % HOP == 0).all()


def test_censored_frames_stay_censored_and_data_are_shared():
    generator = np.random.default_rng(0)
    frames = generator.standard_normal((100, 3)).astype(np.float32)
    times = 0.8 * np.arange(100)
    segment = Segment(frames, times, times, times < 40, None, "run")
    (train,), (test,) = leaking_split([segment], generator)
    assert train.frames is segment.frames
    assert not (train.measured | test.measured)[times >= 40].any()


def test_frames_that_owe_nothing_to_the_eeg_are_predicted_from_it_under_the_leak():
    """Slow noise and slow, unrelated band power: an honest split gives r about 0, this one doesn't."""
    generator = np.random.default_rng(1)

    def slow(n: int, width: int) -> np.ndarray:
        walk = np.zeros((n, width))
        for row in range(1, n):
            walk[row] = 0.97 * walk[row - 1] + generator.standard_normal(width)
        return walk.astype(np.float32)

    def draw() -> Segment:
        times = 0.8 * np.arange(300)
        return Segment(slow(300, 20), times, times, times >= 0, BandPower(slow(300, 30), times), "run")

    def r_of(fit_on: list[Segment], scored: Segment) -> float:
        nothing = np.zeros(len(scored.times), bool)
        frames = RidgeFIR().fit(fit_on).estimate(scored.given(nothing))
        return score([scored.frames], [frames], [scored.measured])[WHOLE]["temporal_r"]

    segment, elsewhere = draw(), draw()
    (train,), (test,) = leaking_split([segment], generator)
    leaking, honest = r_of([train], test), r_of([segment], elsewhere)
    assert abs(honest) < 0.15
    assert leaking > honest + 0.2
    assert r_of([train], replace(test, measured=~train.measured)) < leaking
