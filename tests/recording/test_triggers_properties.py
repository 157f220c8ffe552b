"""What holds of triggers and frame times whatever the TR, the start and the jitter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroframes.errors import InputError
from neuroframes.recording.timeline import MAX_JITTER, frame_times
from neuroframes.recording.triggers import departures, per_volume

TRS = st.floats(0.3, 5.0)
STARTS = st.floats(0.0, 1e4)
COUNTS = st.integers(12, 80)


@st.composite
def trains(draw, jitter=0.4 * MAX_JITTER):
    """A TR and triggers one TR apart, each within `jitter` of its time."""
    tr, start, n = draw(TRS), draw(STARTS), draw(COUNTS)
    shifts = np.random.default_rng(draw(st.integers(0, 999))).uniform(-jitter, jitter, n)
    return tr, start + tr * (np.arange(n) + shifts)


@given(trains())
def test_a_train_within_the_jitter_has_no_departures(train):
    tr, times = train
    assert departures(times, tr) == (len(times), 0, [])


@given(trains(), st.data())
def test_every_event_taken_out_is_missing(train, data):
    """Those in it, that is: at either end nothing shows it. The first and second mark the TR."""
    tr, times = train
    gone = data.draw(st.sets(st.integers(2, len(times) - 2), max_size=4))
    left = np.delete(times, [*gone])
    on, missing, said = departures(left, tr)
    assert (on, missing) == (len(left), len(gone)) and len(said) <= len(gone) and bool(said) == bool(gone)


@given(trains(), st.floats(0.2, 0.8), st.data())
def test_an_event_between_two_is_one_too_many(train, part, data):
    tr, times = train
    place = data.draw(st.integers(0, len(times) - 2))
    extra = times[place] + part * tr
    on, missing, said = departures(np.insert(times, place + 1, extra), tr)
    assert (on, missing, said) == (len(times), 0, [f"one too many at {extra:.3f} s"])


@given(TRS, STARTS, COUNTS, st.integers(1, 60))
def test_slices_are_counted(tr, start, n_volumes, n):
    times = start + tr / n * np.arange(n * n_volumes)
    found, fits = per_volume(times, tr)
    assert found == n and fits.all()
    np.testing.assert_allclose(times[::found], start + tr * np.arange(n_volumes), atol=1e-6)


@given(trains(), st.integers(0, 10), st.floats(0.0, 1.0))
def test_frames_are_at_their_triggers(train, skip, within):
    tr, triggers = train
    times = frame_times(triggers, tr, len(triggers) - skip, skip=skip, within=within * tr)
    np.testing.assert_array_equal(times, triggers[skip:] + within * tr)


@given(trains(), st.integers(-9, 9).filter(bool))
def test_another_number_of_triggers_is_refused(train, more):
    tr, triggers = train
    with pytest.raises(
        InputError, match=f"{len(triggers)} volume triggers but {len(triggers) + more} frames"
    ):
        frame_times(triggers, tr, len(triggers) + more)


@given(TRS, STARTS, COUNTS, st.integers(0, 10))
def test_one_trigger_counts_as_an_onset(tr, start, n_frames, skip):
    of_trigger = frame_times(np.array([start]), tr, n_frames, skip=skip)
    np.testing.assert_array_equal(of_trigger, frame_times(None, tr, n_frames, onset=start, skip=skip))
    np.testing.assert_allclose(np.diff(of_trigger), tr, atol=1e-6)
    np.testing.assert_allclose(of_trigger[0], start + (skip + 0.5) * tr)
