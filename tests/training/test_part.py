"""The training part of a store: where it comes from, its scale, and what one model can't serve."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.bold import read_bold
from neuroframes.recording.segments import FEWEST_FOR_SLOPE, Part, Split
from neuroframes.recording.store import open_store
from neuroframes.training.backbone import explaining_eeg
from neuroframes.training.part import read_training_part

BANDS = {"alpha": (8.0, 13.0)}
SPLIT = Split(
    (Part("task-movie_run-1", 30, 90), Part("task-movie_run-2", 0, 120)),
    (Part("task-movie_run-3", 0, 120),),
    40.0,
)


@pytest.fixture(scope="module")
def store(recording):
    return open_store(recording.store)


def test_it_says_where_it_comes_from(store):
    part = read_training_part(store, SPLIT, BANDS)
    assert (part.origin.space, part.origin.tr, part.origin.split) == (store.space, 1.0, SPLIT)
    assert part.origin.channels == store.channels and part.origin.bands == BANDS
    assert part.origin.eeg_settings == {"rate": 200.0, "l_freq": 0.5, "reference": "average"}
    np.testing.assert_array_equal(part.positions, store.positions)
    assert [segment.run for segment in part.segments] == ["task-movie_run-1", "task-movie_run-2"]
    first, run = part.segments[0], store.runs[0]
    np.testing.assert_array_equal(first.times, run.frame_times[30:90])
    np.testing.assert_array_equal(first.measured, ~run.censored[30:90])
    np.testing.assert_array_equal(first.eeg.data, run.eeg())
    assert first.power.values.shape[1] == len(store.channels) * len(BANDS)


def test_the_scale_is_that_of_the_training_part_alone(recording, store):
    squares, n = 0.0, 0
    for part, run in zip(SPLIT.train, store.runs, strict=False):
        here = np.arange(part.start, part.stop)
        here = here[~run.censored[here]]
        data = run.bold()[here].astype(np.float64)
        line = np.polynomial.polynomial.polyfit(here, data, int(len(here) >= FEWEST_FOR_SLOPE))
        residual = data - np.polynomial.polynomial.polyval(here, line).T
        squares, n = squares + (residual**2).sum(axis=0), n + len(here)
    expected = np.sqrt(squares / n)
    scale = read_training_part(store, SPLIT, BANDS).origin.scale
    live = scale > 0
    np.testing.assert_allclose(scale[live], expected[live], rtol=1e-3)
    constant = np.ptp(read_bold(recording.bold(1)).data, axis=0) == 0
    assert constant.any() and (scale[constant] == 0).all()


def test_channels_vary_together_as_in_the_training_part_alone(recording, store):
    model, first = GaussianModel.load(recording.model), store.runs[0]
    pieces = list(explaining_eeg(read_training_part(store, SPLIT, BANDS).segments))
    at = int((first.frame_times[30] - 20) * first.eeg_rate)
    n = round((first.frame_times[89] - first.frame_times[30] + 20) * first.eeg_rate) + 1
    np.testing.assert_array_equal(pieces[0][0], first.eeg()[:, at : at + n])
    assert [rate for _, rate in pieces] == [200.0, 200.0]
    assert pieces[1][0].shape[1] < store.runs[1].eeg().shape[1]
    whole = read_training_part(store, model.origin.split, BANDS)
    eeg = np.concatenate([eeg for eeg, _ in explaining_eeg(whole.segments)], axis=1).astype(float)
    covariance = eeg @ eeg.T / eeg.shape[1]  # 0.5 to 100 Hz hold nearly all of it
    error = np.linalg.norm(model.eeg.channels.total - covariance) / np.linalg.norm(covariance)
    assert error < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tr": 1.5}, r"runs differ in TR \(\[1\.0, 1\.5\]\); prepare them into stores of their own"),
        ({"eeg_rate": 250.0}, r"runs differ in EEG rate \(\[200\.0, 250\.0\]\); prepare them"),
        ({"eeg_rate": 20.0}, "alpha"),
    ],
)
def test_what_one_model_cannot_serve_is_refused(store, change, message):
    runs = (*store.runs[:2], replace(store.runs[2], **change))
    with pytest.raises(InputError, match=message):
        read_training_part(replace(store, runs=runs), SPLIT, BANDS)
