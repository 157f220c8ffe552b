import numpy as np
import pytest

from neuroframes.evaluation.tasks import (
    ENDS,
    LATE,
    LATE_SECOND,
    MOTION,
    TASKS,
    ends_only,
    every_nth,
    gap_mask,
    given_and_scored,
    irregular,
    run_ends,
    still,
)
from neuroframes.recording.segments import Segment


def runs_of(mask: np.ndarray) -> list[tuple[bool, int]]:
    """(value, length) of the stretches of equal values."""
    edges = np.flatnonzero(np.diff(mask)) + 1
    return [(bool(part[0]), len(part)) for part in np.split(mask, edges)]


@pytest.mark.parametrize("gap", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("n_frames", [48, 100, 257, 300])
def test_every_gap_is_whole_and_flanked(gap, n_frames):
    stretches = runs_of(gap_mask(n_frames, gap))
    between = max(8, gap)
    assert len(stretches) >= 3
    assert stretches[0][0] and stretches[-1][0]
    assert all(length == gap for value, length in stretches if not value)
    assert all(length == between for value, length in stretches[:-1] if value)
    # As many gaps as fit.
    assert between <= stretches[-1][1] < between + gap + between


def test_between_is_chosen():
    # A second gap would leave two measured frames after it, fewer than 3.
    assert "".join("x."[int(given)] for given in gap_mask(12, 2, between=3)) == "...xx......."
    assert "".join("x."[int(given)] for given in gap_mask(13, 2, between=3)) == "...xx...xx..."


def test_too_short_for_a_gap_all_is_measured():
    assert gap_mask(47, 16).all() and not gap_mask(48, 16).all()


def test_bad_gaps_are_refused():
    for gap, between in ((0, None), (2, 0)):
        with pytest.raises(ValueError, match="at least one frame"):
            gap_mask(100, gap, between=between)


def test_ends_only():
    mask = ends_only(64)
    assert np.array_equal(np.flatnonzero(mask), [0, 19, 20, 39, 40, 59, 60, 61, 62, 63])


def test_run_ends():
    assert np.array_equal(np.flatnonzero(run_ends(20)), [8, 9, 10, 11])
    assert not run_ends(16).any()


def test_every_nth_and_irregular():
    assert np.array_equal(np.flatnonzero(every_nth(8)), [0, 3, 6])
    mask = irregular(3000)
    assert np.array_equal(mask, irregular(3000))
    assert abs(mask.mean() - 0.3) < 0.03
    # Geometric distances between measured frames, so no period.
    distances = np.diff(np.flatnonzero(mask))
    assert abs((distances == 1).mean() - 0.3) < 0.05 and distances.max() > 10


def test_names():
    gaps = ["gap-1", "gap-2", "gap-4", "gap-8", "gap-16"]
    others = ["ends-only", "every-third", "irregular", *LATE, LATE_SECOND, MOTION, ENDS]
    assert list(TASKS) == ["eeg", *gaps, *others]
    assert not TASKS["eeg"](30).any()


def test_every_second_frame_of_the_second_half():
    hidden = np.flatnonzero(~TASKS[LATE_SECOND](100))
    assert hidden.tolist() == [*range(60, 100, 2)]


@pytest.mark.parametrize("task", TASKS)
def test_censored_frames_are_neither_given_nor_scored(task):
    measured = np.random.default_rng(0).random(200) < 0.8
    times = np.arange(200.0)
    motion = np.cumsum(np.random.default_rng(1).exponential(0.05, (200, 6)), axis=0) * [
        1,
        1,
        1,
        0.02,
        0.02,
        0.02,
    ]
    segment = Segment(np.zeros((200, 1), np.float32), times, times, measured, None, "run", motion=motion)
    given, scored = given_and_scored(task, segment)
    assert np.array_equal(given | scored, measured)
    assert not (given & scored).any()
    assert scored.any()


@pytest.mark.parametrize("gap", [1, 4, 8, 16])
def test_late_gaps_are_in_the_second_half(gap):
    hidden = np.zeros(575, bool)
    for start in range(575 // 2 + 10, 575 - gap - 10, gap + 8):
        hidden[start : start + gap] = True
    np.testing.assert_array_equal(TASKS[f"late-gap-{gap}"](575), ~hidden)


def test_frames_are_hidden_where_the_head_moved():
    motion = np.zeros((6, 6))
    motion[2:, 0], motion[4:, 4] = 0.51, 0.011  # mm, and rad on a sphere of 50 mm
    motion[3:, 1] = -0.49
    np.testing.assert_array_equal(still(motion), [True, True, False, True, False, True])
    times = np.arange(6.0)
    unknown = Segment(np.zeros((6, 1), np.float32), times, times, np.ones(6, bool), None, "run")
    assert not given_and_scored(MOTION, unknown)[1].any()
