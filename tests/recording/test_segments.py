"""Splits that can't leak, detrending, scales, and segments read from a store."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.band_power import BANDS, LAST_LAG, log_band_power
from neuroframes.recording.segments import (
    HRF_LENGTH,
    SHORTEST_PART,
    Part,
    Segment,
    Split,
    constant,
    detrend,
    load_segments,
    split_by_session,
    split_in_time,
    trend_basis,
    vertex_scale,
)
from neuroframes.recording.signal import Signal
from neuroframes.recording.store import Store

GAP = LAST_LAG + HRF_LENGTH
RECORDINGS = {
    "one run": [("a", 1000, 0.8)],
    "four runs": [(name, 375, 0.8) for name in "abcd"],
    "unequal": [("a", 700, 0.8), ("b", 90, 0.8), ("c", 300, 0.8), ("d", 33, 0.8)],
    "slow": [("a", 300, 2.0), ("b", 300, 2.1)],
}


@pytest.mark.parametrize("gap", [GAP, 55.5])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("name", RECORDINGS)
def test_nothing_that_is_scored_was_fitted_on_or_near(name, fraction, gap):
    runs = RECORDINGS[name]
    try:
        split = split_in_time(runs, fraction, gap)
    except InputError:
        assert sum(n for _, n, _ in runs) * fraction < 2 * SHORTEST_PART
        return
    order = [run for run, _, _ in runs]
    for parts in (split.train, split.test):
        assert [order.index(part.run) for part in parts] == sorted({order.index(part.run) for part in parts})
    for run, n_frames, tr in runs:
        train = [part for part in split.train if part.run == run]
        test = [part for part in split.test if part.run == run]
        for part in (*train, *test):
            assert 0 <= part.start < part.stop <= n_frames
        if train and test:
            assert (test[0].start - train[0].stop) * tr >= gap - 1e-9
            assert (test[0].start - train[0].stop) * tr < gap + tr
        elif not train:
            assert test == [Part(run, 0, n_frames)]
        else:
            assert train == [Part(run, 0, n_frames)]
    # All that is scored comes after all that is fitted, and only one run is cut.
    assert max(order.index(part.run) for part in split.train) <= min(
        order.index(part.run) for part in split.test
    )
    held_out = sum(part.stop - part.start for part in split.test)
    longest_rest = SHORTEST_PART + gap / min(tr for _, _, tr in runs) + 1
    assert abs(held_out - fraction * sum(n for _, n, _ in runs)) <= longest_rest
    assert all(part.stop - part.start >= SHORTEST_PART for part in split.test)
    assert split.gap == gap


def test_a_quarter_of_four_equal_runs_is_the_last_run():
    split = split_in_time(RECORDINGS["four runs"], 0.25)
    assert split.test == (Part("d", 0, 375),)
    assert split.train == tuple(Part(name, 0, 375) for name in "abc")


def test_one_run_is_cut_with_a_gap():
    split = split_in_time(RECORDINGS["one run"], 0.25)
    assert split == Split((Part("a", 0, 700),), (Part("a", 750, 1000),), 40.0)


def test_holding_out_nothing():
    split = split_in_time(RECORDINGS["four runs"], 0)
    assert split.test == () and len(split.train) == 4


def test_a_split_survives_json():
    split = split_in_time(RECORDINGS["unequal"], 0.3)
    assert Split.from_json(split.to_json()) == split


@pytest.mark.parametrize("gap", [0, 20, GAP - 0.1])
def test_gaps_that_leak_are_refused(gap):
    with pytest.raises(
        InputError, match=r"leaks: EEG lags and haemodynamic response reach 40 s; pass at least"
    ):
        split_in_time(RECORDINGS["one run"], 0.25, gap)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, np.nan])
def test_fractions_that_are_none_are_refused(fraction):
    with pytest.raises(InputError, match="expected at least 0 and below 1"):
        split_in_time(RECORDINGS["one run"], fraction)


@pytest.mark.parametrize("n_frames", [20, 60, 110])
def test_recordings_too_short_to_split_are_refused(n_frames):
    with pytest.raises(InputError, match="can't be split.*record longer or lower --test-fraction"):
        split_in_time([("a", n_frames, 0.8)], 0.5)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("censored", [False, True])
def test_detrend_is_numpy_s_polynomial_fit(order, censored):
    generator = np.random.default_rng(0)
    n_frames = 130
    frames = generator.normal(1000, 20, (n_frames, 7)) + np.outer(
        np.arange(n_frames), generator.standard_normal(7)
    )
    frames = np.asarray(frames, np.float32, order=order)
    measured = generator.random(n_frames) > 0.3 if censored else np.ones(n_frames, bool)
    frames[~measured] += 500
    position = np.arange(n_frames)
    fit = np.polyfit(position[measured], frames[measured].astype(np.float64), 1)
    trend = np.outer(position, fit[0]) + fit[1]
    detrended = frames.copy(order="K")
    coefficients = detrend(detrended, measured)
    assert np.allclose(detrended, frames - trend, atol=1e-3)
    assert np.allclose(trend_basis(position, n_frames) @ coefficients, trend, atol=1e-3)
    assert np.allclose(detrended[measured].mean(axis=0), 0, atol=1e-3)
    assert np.allclose(position[measured] @ detrended[measured], 0, atol=1)


def test_detrend_does_not_read_missing_frames():
    frames = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
    measured = np.arange(40) % 5 > 0
    broken = np.where(measured[:, None], frames, np.float32(np.nan))
    assert np.array_equal(detrend(frames.copy(), measured), detrend(broken, measured))
    assert np.isfinite(broken[measured]).all()


def test_a_vertex_that_lacks_values_has_the_trend_of_what_it_has():
    generator = np.random.default_rng(5)
    frames = generator.normal(1000, 20, (90, 5)).astype(np.float32)
    whole = frames.copy()
    frames[10:40, 1], frames[3, 2], frames[4, 2], frames[:, 3] = np.nan, np.inf, np.nan, np.nan
    measured, before = np.arange(90) % 9 > 0, frames.copy()
    coefficients = detrend(frames, measured)
    assert np.array_equal(coefficients[:, [0, 4]], detrend(whole, measured)[:, [0, 4]])
    for vertex in (1, 2):
        known = measured & np.isfinite(before[:, vertex])
        slope, offset = np.polyfit(np.arange(90)[known], before[known, vertex].astype(np.float64), 1)
        trend = trend_basis(np.arange(90), 90) @ coefficients[:, vertex]
        assert np.allclose(trend, offset + slope * np.arange(90), atol=1e-6)
        assert np.allclose(frames[known, vertex], before[known, vertex] - trend[known], atol=1e-3)
        assert np.array_equal(np.isfinite(frames[:, vertex]), np.isfinite(before[:, vertex]))
    scale = vertex_scale(frames, measured, coefficients[0], fewest=20)
    assert np.allclose(scale[[1, 2]], [np.nanstd(frames[measured, 1]), frames[known, 2].std()], rtol=1e-5)
    assert scale[3] == 0 and not vertex_scale(frames, measured, coefficients[0])[1:4].any()
    assert vertex_scale(frames, measured, coefficients[0], fewest=60)[1] == 0


def test_trends_continue_between_frames():
    basis = trend_basis(np.array([0, 4.5, 9]), 10)
    assert np.allclose(basis, [[1, -1], [1, 0], [1, 1]])
    assert np.allclose(trend_basis(np.array([0]), 1), [[1, -1]])


def test_scale_is_the_deviation_and_flags_what_never_changes():
    generator = np.random.default_rng(2)
    frames = generator.normal(10_000, 100, (300, 6)).astype(np.float32)
    frames[:, 1] = 0
    frames[:, 2] = 12_345.678
    frames[:, 3] = np.nan
    frames[7, 4] = np.nan
    measured = np.arange(300) % 10 > 0
    size = np.abs(detrend(frames, measured)[0])
    scale = vertex_scale(frames, measured, size)
    assert np.array_equal(scale > 0, [True, False, False, False, False, True])
    assert np.allclose(scale[[0, 5]], frames[measured][:, [0, 5]].std(axis=0), rtol=1e-3)


def test_one_infinite_vertex_does_not_silence_the_others():
    frames = np.random.default_rng(3).standard_normal((50, 3)).astype(np.float32)
    frames[:, 1] = np.inf
    assert np.array_equal(vertex_scale(frames, np.ones(50, bool), np.zeros(3)) > 0, [True, False, True])


def test_nan_throughout_is_scale_zero():
    assert not vertex_scale(np.full((20, 3), np.nan, np.float32), np.ones(20, bool), np.zeros(3)).any()


@pytest.mark.parametrize("size", [1e-3, 1.0, -1e4])
def test_constant_is_what_varies_by_no_more_than_rounding(size):
    noise = np.random.default_rng(0).standard_normal(1000)
    rounded = np.float32(size) * (1 + np.float32(6e-8) * np.sign(noise))
    assert constant(rounded.std(), np.float64(size)) and constant(np.float64(0), np.float64(0))
    assert not constant((size * (1 + 1e-5 * noise)).std(), np.float64(size))


def test_frames_are_hidden_and_estimates_put_in_their_place():
    frames, times = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32), np.arange(6.0)
    measured = np.array([True, False, True, True, True, False])
    segment = Segment(frames, times, times, measured, None, "run")
    given = segment.given(np.array([True, True, False, True, False, False]))
    assert given.measured.tolist() == [True, False, False, True, False, False]  # a censored one stays so
    assert given.frames is frames
    estimate = np.arange(8, dtype=np.float32).reshape(4, 2)
    completed = given.completed(estimate)
    assert completed[given.measured].tobytes() == frames[given.measured].tobytes()
    assert np.array_equal(completed[~given.measured], estimate)
    assert np.array_equal(given.completed(estimate[0])[~given.measured], np.tile(estimate[0], (4, 1)))
    assert np.array_equal(segment.measured, measured)  # neither changes what it was made from


def test_partial_frames_say_where_they_are_measured():
    frames, times = np.arange(8, dtype=np.float32).reshape(4, 2), np.arange(4.0)
    frames[1, 0] = np.nan
    measured, partial = np.array([True, False, False, True]), np.array([False, True, False, False])
    segment = Segment(frames, times, times, measured, None, "run", partial=partial)
    assert segment.entries.tolist() == [[False, True], [False, False]]
    hidden = segment.given(np.array([True, False, True, True]))
    assert hidden.entries is None and replace(segment, partial=None).entries is None


def test_parts_of_a_segment_must_have_one_length():
    frames, times = np.zeros((4, 2), np.float32), np.arange(4.0)
    with pytest.raises(ValueError, match="run: frames, times, time_in_run and measured differ in length"):
        Segment(frames, times, times, np.ones(3, bool), None, "run")


@dataclass
class Run:
    """What `load_segments` reads of a stored run."""

    name: str
    tr: float
    frame_times: np.ndarray
    censored: np.ndarray
    data: np.ndarray
    motion: np.ndarray | None = None
    eeg_rate: float = 250.0

    def bold(self):
        return self.data

    def eeg(self):
        return np.random.default_rng(4).standard_normal((2, 250 * 80)).astype(np.float32) * 1e-5


@dataclass
class Recording:
    runs: list
    space: CorticalSpace
    channels: tuple = ("Fz", "Oz")
    features: tuple = ()
    stimulus_features: tuple = ()
    eeg_of, shown = Store.eeg_of, Store.shown


@pytest.fixture
def recording():
    generator = np.random.default_rng(5)
    runs = []
    for name in "ab":
        data = generator.normal(500, 10, (60, 9)).astype(np.float32)
        data[:, 3] = 500
        motion = generator.standard_normal((60, 6))
        times = 12.0 + np.arange(60) + generator.uniform(-0.01, 0.01, 60)  # triggers jitter
        runs.append(Run(name, 1.0, times, np.arange(60) % 7 == 3, data, motion))
    return Recording(runs, CorticalSpace.from_counts({"L": 9}))


def test_segments_are_detrended_and_share_one_scale(recording):
    parts = [Part("a", 10, 60), Part("b", 0, 40)]
    segments, scale = load_segments(recording, parts, {"alpha": BANDS["alpha"]})
    pooled = np.concatenate([segment.frames[segment.measured] for segment in segments])
    live = scale > 0
    assert np.array_equal(live, np.arange(9) != 3)
    assert np.allclose(np.square(pooled[:, live]).mean(axis=0), 1, atol=1e-4)
    assert not pooled[:, ~live].any()
    for part, segment in zip(parts, segments, strict=True):
        run = next(run for run in recording.runs if run.name == part.run)
        assert np.array_equal(segment.times, run.frame_times[part.start : part.stop])
        assert np.array_equal(segment.motion, run.motion[part.start : part.stop])
        assert np.array_equal(segment.time_in_run, np.arange(part.start, part.stop))
        assert np.array_equal(segment.measured, ~run.censored[part.start : part.stop])
        assert segment.power.values.shape[1] == 2
        raw = run.data[part.start : part.stop].copy()
        detrend(raw, segment.measured)
        assert np.allclose(segment.frames[:, live], raw[:, live] / scale[live], atol=1e-4)


def test_segments_hold_the_eeg_of_their_whole_run_once(recording):
    bands = {"alpha": BANDS["alpha"]}
    parts = [Part("a", 0, 25), Part("a", 30, 60), Part("b", 0, 40)]
    (first, second, other), _ = load_segments(recording, parts, bands)
    assert first.eeg is second.eeg and first.eeg is not other.eeg
    for segment, run in ((first, recording.runs[0]), (other, recording.runs[1])):
        assert np.array_equal(segment.eeg.data, run.eeg())
        assert segment.eeg.rate == run.eeg_rate and segment.eeg.channels == recording.channels
        power = log_band_power(segment.eeg.data, segment.eeg.rate, bands)
        assert np.array_equal(segment.power.values, power.values)
    assert first.eeg_for("ridge") is first.eeg
    with pytest.raises(InputError, match="^a: ridge needs EEG; there is none for this run"):
        replace(first, eeg=None, power=None).eeg_for("ridge")
    with pytest.raises(InputError, match="^a: ridge needs EEG; this run has features of each frame"):
        replace(first, eeg=None).eeg_for("ridge")


def test_eeg_is_left_out_where_nobody_asks_for_it(recording):
    parts = [Part("a", 10, 60), Part("b", 0, 40)]
    with_eeg, scale = load_segments(recording, parts, {"alpha": BANDS["alpha"]})
    recording.eeg_of = None
    without, same = load_segments(recording, parts, None)
    assert np.array_equal(scale, same)
    for ours, theirs in zip(without, with_eeg, strict=True):
        assert np.array_equal(ours.frames, theirs.frames) and (ours.eeg, ours.power) == (None, None)


def test_a_signal_lasts_from_its_first_sample_to_the_end_of_its_last():
    assert Signal(np.zeros((2, 500), np.float32), 200.0, ("Fz", "Oz")).duration == 2.5


def test_the_test_part_is_scaled_as_the_training_part_was(recording):
    _, scale = load_segments(recording, [Part("a", 0, 60)], {"alpha": BANDS["alpha"]})
    recording.runs[1] = replace(recording.runs[1], data=3 * recording.runs[1].data)
    (test,), same = load_segments(recording, [Part("b", 0, 60)], {"alpha": BANDS["alpha"]}, scale)
    assert same is scale
    assert test.frames[:, 0].std() == pytest.approx(3, rel=0.3)


SESSIONS = [(f"ses-{of}_task-rest_run-{run}", 100, 2.0) for of in ("pre", "post") for run in (1, 2)]


@pytest.mark.parametrize("label", ["pre", "ses-pre"])
def test_a_session_is_held_out_whole(label):
    train, test = ([Part(name, 0, n) for name, n, _ in of] for of in (SESSIONS[2:], SESSIONS[:2]))
    assert split_by_session(SESSIONS, [label]) == Split(tuple(train), tuple(test), GAP)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["p"], "no run of ses-p; the store has ses-pre, ses-post"),
        (["pre", "post"], "all runs are of ses-pre, ses-post: nothing is left to train on"),
    ],
)
def test_sessions_that_cannot_be_held_out(labels, message):
    with pytest.raises(InputError, match=message):
        split_by_session(SESSIONS, labels)


RUNS = st.lists(
    st.tuples(st.sampled_from(["ses-a", "ses-b", "ses-c"]), st.integers(1, 400), st.floats(0.3, 3)),
    min_size=1,
    max_size=6,
).map(lambda runs: [(f"{session}_run-{i}", n, tr) for i, (session, n, tr) in enumerate(runs)])


@given(RUNS, st.floats(0, 1, exclude_max=True), st.floats(GAP, 100))
def test_whatever_is_scored_comes_a_gap_after_all_that_is_fitted(runs, fraction, gap):
    try:
        split = split_in_time(runs, fraction, gap)
    except InputError as error:
        assert "can't be split" in str(error)
        return
    at = {name: i for i, (name, *_) in enumerate(runs)}
    for part in (*split.train, *split.test):
        assert 0 <= part.start < part.stop <= runs[at[part.run]][1]
    assert all(part.stop - part.start >= SHORTEST_PART for part in split.test)
    assert split.train and (split.test or not fraction)
    for fitted in split.train:
        for scored in split.test:
            apart = (scored.start - fitted.stop) * runs[at[fitted.run]][2]
            assert at[fitted.run] < at[scored.run] or (fitted.run == scored.run and apart >= gap * (1 - 1e-9))
    assert Split.from_json(split.to_json()) == split


@given(RUNS, st.sets(st.sampled_from(["a", "b", "ses-b", "c", "d"]), min_size=1))
def test_sessions_are_fitted_or_scored_whole(runs, sessions):
    try:
        split = split_by_session(runs, sessions)
    except InputError:
        return
    held = {f"ses-{label.removeprefix('ses-')}" for label in sessions}
    for part in (*split.train, *split.test):
        assert (part.run.split("_")[0] in held) == (part in split.test)
    parts = [Part(name, 0, n_frames) for name, n_frames, _ in runs]
    assert {*split.train} | {*split.test} == {*parts} and len(split.train) + len(split.test) == len(parts)
