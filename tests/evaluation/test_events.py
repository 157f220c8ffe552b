"""Averages around events against nilearn's design, and events against a loop."""

import numpy as np
import pandas as pd
import pytest
from nilearn.glm.first_level import make_first_level_design_matrix

from neuroframes.evaluation.events import event_averages, event_onsets

TR, K, V = 2.0, 120, 5
LAGS = 11  # 0 to 20 s


@pytest.fixture
def onsets():
    """Events of two types, every 4 to 12 s, so that responses overlap, in two segments."""
    generator = np.random.default_rng(0)
    segments = []
    for _ in range(2):
        at = np.cumsum(generator.integers(2, 7, 18))
        of = np.zeros((K, 2), bool)
        of[at, generator.permutation(18) % 2] = True
        segments.append(of)
    return segments


def test_responses_that_overlap_are_those_that_were_put_in(onsets):
    generator = np.random.default_rng(1)
    responses = generator.standard_normal((2, LAGS, V))
    frames = [np.full((K, V), 7.0 * number) for number in range(2)]  # a constant of each segment
    for part, of in zip(frames, onsets, strict=True):
        for k, t in np.argwhere(of):
            part[k : k + LAGS] += responses[t, : K - k]
    used = [generator.random(K) < 0.9 for _ in frames]
    for part, mask in zip(frames, used, strict=True):
        part[~mask] = 1000
    assert np.allclose(event_averages(frames, onsets, used, TR), responses)


def test_averages_are_those_of_nilearns_finite_impulse_responses(onsets):
    times = TR * np.arange(K)
    at = np.argwhere(onsets[0])
    events = pd.DataFrame({"onset": times[at[:, 0]], "duration": TR, "trial_type": at[:, 1].astype(str)})
    design = make_first_level_design_matrix(
        times, events, hrf_model="fir", fir_delays=range(LAGS), drift_model=None
    )
    frames = np.random.default_rng(2).standard_normal((K, V))
    expected = np.linalg.lstsq(design.to_numpy(), frames)[0]
    names = [[f"{t}_delay_{lag}" for lag in range(LAGS)] for t in range(2)]
    expected = np.array([[expected[design.columns.get_loc(name)] for name in of] for of in names])
    assert np.allclose(event_averages([frames], onsets[:1], [np.ones(K, bool)], TR), expected)


def test_what_the_design_does_not_tell_apart_has_no_average(onsets):
    frames, every = np.random.default_rng(3).standard_normal((K, V)), [np.ones(K, bool)]
    twice = np.hstack([onsets[0], onsets[0][:, :1]])
    found = event_averages([frames], [twice], every, TR)
    assert np.isnan(found[[0, 2]]).all() and np.isfinite(found[1]).all()
    assert np.isnan(event_averages([frames[:20]], [onsets[0][:20]], [every[0][:20]], TR)).all()  # too short


def test_events_begin_where_a_type_does():
    names = ["kind=circle", "luminance", "kind=square", "kind=cross"]
    first = np.zeros((60, 4))
    first[:3, 0] = first[[10, 11, 12, 30], 0] = 1  # what a segment begins with is no event
    first[::7, 2] = 1
    first[5, 3] = first[:, 1] = 1
    second = np.zeros((40, 4))
    second[[4, 20], 0] = 1
    onsets, found = event_onsets([first, second], names)
    assert found == ["kind=circle", "kind=square"]  # of the third there is one
    assert [np.flatnonzero(of[:, 0]).tolist() for of in onsets] == [[10, 30], [4, 20]]
    assert np.flatnonzero(onsets[0][:, 1]).tolist() == [*range(7, 60, 7)]
