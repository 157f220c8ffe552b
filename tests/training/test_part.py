"""The training part of a store: where it comes from, its scale, and what one model can't serve."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.bold import read_bold
from neuroframes.recording.segments import FEWEST_FOR_SLOPE, Part, Split
from neuroframes.recording.simulated_sources import make_montage
from neuroframes.recording.store import open_store
from neuroframes.training.across import fit_across
from neuroframes.training.backbone import explaining_eeg
from neuroframes.training.part import PeopleSegments, read_people, read_training_part

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
    settings = {"rate": 200.0, "l_freq": 0.5, "reference": "average", "gradient": False}
    assert part.origin.eeg_settings == settings
    np.testing.assert_array_equal(part.origin.positions, store.positions)
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


def test_people_of_other_montages_are_brought_to_the_smallest(store_of):
    cap = make_montage(64)
    shifted = cap.positions + 0.003 * np.random.default_rng(0).standard_normal((64, 3))
    alike = [store_of(number, cap.names, cap.positions) for number in range(5)]
    renamed = store_of(1, [f"E{n}" for n in range(64)], shifted)
    small = store_of(2, cap.names[::2], cap.positions[::2])
    whole, mixed = (
        read_people(stores, BANDS) for stores in (alike[:4], [alike[0], renamed, small, alike[3]])
    )
    assert len(whole.origin.channels) == 64 and mixed.origin.channels == tuple(cap.names[::2])
    np.testing.assert_array_equal(mixed.origin.positions, cap.positions[::2])
    of_all, brought = whole.segments[1].eeg.data[::2], mixed.segments[1].eeg.data
    r = [np.corrcoef(*pair)[0, 1] for pair in zip(of_all - of_all.mean(axis=0), brought, strict=True)]
    assert np.median(r) > 0.97
    powers = (of.segments[1].power.values for of in (whole, mixed))
    there, here = next(powers)[:, ::2], next(powers)
    r = np.array([np.corrcoef(*pair)[0, 1] for pair in zip(there.T, here.T, strict=True)])
    assert (r > 0.9).mean() > 0.8
    np.testing.assert_allclose(brought.mean(axis=0), 0, atol=1e-10)  # of the 32, whose average it is

    def r_of(part):
        model = fit_across(part, BackboneSettings(latents=4, response="haemodynamic"))
        (test,) = PeopleSegments([alike[4]], BANDS, part.origin.electrodes)
        found = model.fill(test.given(np.zeros(len(test.times), bool))).mean
        return np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(found.T, test.frames.T, strict=True)])

    assert r_of(mixed) > r_of(whole) - 0.03 > 0.3


def test_people_with_nothing_in_common_are_refused(store_of):
    cap = make_montage(16)
    one, other = (
        store_of(number, [f"{letter}{n}" for n in range(16)], cap.positions)
        for number, letter in enumerate("AE")
    )
    nowhere = replace(other, positions=np.full((16, 3), np.nan))
    with pytest.raises(
        InputError, match="0 EEG channels in common, .* at least 8 are needed; add electrodes"
    ):
        read_people([one, nowhere], BANDS)
    renamed = replace(nowhere, channels=(*one.channels[:9], *other.channels[9:]))
    assert read_people([one, renamed], BANDS).origin.channels == one.channels[:9]
