"""Frame times, and the three ways to say which frames are left out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import Bold
from neuroframes.recording.timeline import (
    MOTION,
    Censoring,
    acquired_at,
    at_volumes,
    check_covers,
    frame_times,
    motion,
    parse_frames,
    trs_between,
    without_values,
)

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"


def table(path: Path, text: str) -> Path:
    path.write_text(text.replace(" ", "\t") + "\n")
    return path


def test_times_are_centres_of_acquisition():
    triggers = 3.0 + 0.8 * np.arange(5) + np.array([0, 0.01, 0, -0.01, 0])
    np.testing.assert_allclose(frame_times(triggers, 0.8, 5), triggers + 0.4)
    np.testing.assert_allclose(frame_times(triggers, 0.8, 3, skip=2), triggers[2:] + 0.4)
    np.testing.assert_allclose(frame_times(triggers, 0.8, 5, within=0.0), triggers)


def test_times_go_on_where_a_run_pauses():
    acquired = np.isin(np.arange(7), [0, 1, 4, 5, 6])
    triggers = 3.0 + 2.00002 * np.flatnonzero(acquired)
    expected = 4.0 + 2.00002 * np.arange(7)
    np.testing.assert_allclose(frame_times(triggers, 2.0, 7, acquired=acquired), expected)
    dummies = np.append([-1.0, 1.0], triggers)
    np.testing.assert_allclose(frame_times(dummies, 2.0, 7, skip=2, acquired=acquired), expected)
    for none in (np.empty(0), triggers[:1]):
        np.testing.assert_allclose(
            frame_times(none, 2.0, 7, onset=3.0, acquired=acquired), 4 + 2.0 * np.arange(7)
        )
    with pytest.raises(InputError, match="1 and 2 are 6.2001 s apart, expected the TR of 2 s times 3, since"):
        frame_times(triggers + 0.2 * (triggers > 6), 2.0, 7, acquired=acquired)
    with pytest.raises(InputError, match="4 volume triggers but 5 frames"):
        frame_times(triggers[:4], 2.0, 7, acquired=acquired)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.floats(0.2, 5.0), st.integers(0, 2**32 - 1))
def test_volumes_lie_where_their_onsets_say(steps, tr, seed):
    jitter = np.random.default_rng(seed).uniform(-0.024, 0.024, len(steps) + 1)
    times = tr * (np.cumsum([0, *steps]) + jitter)
    assert trs_between(times, tr).tolist() == steps
    acquired = acquired_at(times, tr)
    assert np.flatnonzero(acquired).tolist() == np.cumsum([0, *steps]).tolist()
    np.testing.assert_array_equal(at_volumes(times, acquired, np.nan)[acquired], times)


def test_lines_of_tables_are_volumes_and_rules_stop_at_pauses(tmp_path):
    """Frames 4 to 7 of 12 are a pause, lines 3 and 4 the volumes beside it."""
    acquired = ~np.isin(np.arange(12), [4, 5, 6, 7])
    frames = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    frames[~acquired] = np.nan
    space = CorticalSpace.from_parcels(5)
    bold = Bold(frames, 1.0, np.arange(12.0), space, (Path("run.nii"),), measured=acquired, acquired=acquired)
    path = table(tmp_path / "c.tsv", "framewise_displacement\nn/a\n0\n0\n0\n0\n0\n9\n0")
    rules = Censoring(censor_before=1, censor_after=1)
    for of in (Censoring(), rules):
        assert not of.left_out(bold, None)[acquired].any()
    assert np.flatnonzero(Censoring().left_out(bold, path)).tolist() == [4, 5, 6, 7, 10]
    assert np.flatnonzero(rules.left_out(bold, path)).tolist() == [4, 5, 6, 7, 9, 10, 11]
    named = [np.arange(8) == 4]  # the first volume after the pause
    assert np.flatnonzero(Censoring().missing(bold, None, named)).tolist() == [4, 5, 6, 7, 8]
    assert np.flatnonzero(Censoring(censor_between=3).missing(bold, None, named)).tolist() == [
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
    ]


@pytest.mark.parametrize("triggers", [None, np.empty(0)])
def test_times_from_onset_without_triggers(triggers):
    np.testing.assert_allclose(frame_times(triggers, 2.0, 3, onset=1.5), [2.5, 4.5, 6.5])
    np.testing.assert_allclose(frame_times(triggers, 2.0, 2, onset=1.5, skip=1), [4.5, 6.5])


def test_without_triggers_and_onset_frames_count_from_the_eeg_s_start(caplog):
    np.testing.assert_allclose(frame_times(np.empty(0), 2.0, 3, name="a.vhdr"), [1.0, 3.0, 5.0])
    assert caplog.messages == ["a.vhdr: no volume triggers; frames are counted from the EEG's start"]
    frame_times(np.empty(0), 2.0, 3, onset=0.0)
    frame_times(2.0 * np.arange(3), 2.0, 3)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("numbers", "option"),
    [
        ({"tr": np.nan}, r"TR \(s\) nan"),
        ({"tr": 0}, r"TR \(s\) 0"),
        ({"onset": np.inf}, "--onset inf"),
        ({"skip": -1}, "--skip-volumes -1"),
        ({"skip": 1.5}, "--skip-volumes 1.5"),
        ({"within": np.nan}, r"StartTime \(s\) nan"),
    ],
)
def test_times_need_numbers(numbers, option):
    with pytest.raises(InputError, match=f"^{option}; expected a (finite|whole) number"):
        frame_times(**{"triggers": None, "tr": 2.0, "n_frames": 3, "onset": 0.0, **numbers})


def test_trigger_count_must_be_the_frame_count():
    triggers = 0.8 * np.arange(105)
    with pytest.raises(
        InputError, match=r"105 volume .* 100 frames; pass --skip-volumes 5 .*--onset 0.000 if it lacks"
    ):
        frame_times(triggers, 0.8, 100, name="a.vhdr")
    with pytest.raises(InputError, match="105 volume triggers but 110 frames; the EEG lacks volumes"):
        frame_times(triggers, 0.8, 110)
    with pytest.raises(InputError, match="after 4 skipped volumes"):
        frame_times(triggers, 0.8, 100, skip=4)


def test_one_trigger_is_the_first_volume_s(caplog):
    np.testing.assert_allclose(frame_times(np.array([3.0]), 2.0, 3, name="a.vhdr"), [4, 6, 8])
    assert caplog.messages == ["a.vhdr: one volume trigger, at 3.000 s; frames are counted from it"]
    np.testing.assert_allclose(frame_times(np.array([3.0]), 2.0, 1), [4])
    np.testing.assert_allclose(frame_times(np.array([3.0]), 2.0, 1, skip=2), [8])
    assert len(caplog.messages) == 2


def test_jitter_beyond_five_percent_is_refused():
    triggers = 0.8 * np.arange(10)
    triggers[7:] += 0.039
    frame_times(triggers, 0.8, 10)
    triggers[7:] += 0.002
    with pytest.raises(InputError, match=r"volume triggers 6 and 7 are 0.8410 s apart"):
        frame_times(triggers, 0.8, 10)
    with pytest.raises(InputError, match="expected the TR of 2 s"):
        frame_times(0.8 * np.arange(10), 2.0, 10)


def test_eeg_must_cover_the_frames():
    times = frame_times(None, 2.0, 10, onset=1.0)
    check_covers(times, 2.0, 21.0)
    check_covers(times, 2.0, 20.0)  # the last half frame may be cut
    with pytest.raises(
        InputError, match=r"lasts 15.0 s but the frames go from 1.0 to 21.0 s.*3 of 10 frames"
    ):
        check_covers(times, 2.0, 15.0)
    with pytest.raises(InputError, match=r"frames go from -3.0"):
        check_covers(times - 4.0, 2.0, 100.0)


def test_outliers_join_displacement_and_outlier_columns(tmp_path):
    path = table(
        tmp_path / "confounds.tsv",
        "trans_x framewise_displacement motion_outlier00 non_steady_state_outlier00\n"
        "0 n/a 0 1\n0 0.5 0 0\n0 0.51 0 0\n0 0.1 1 0\n0 0.2 0 0",
    )
    assert Censoring(0.5).outliers(path, 5).tolist() == [True, False, True, True, False]
    with pytest.raises(InputError, match="5 lines but the BOLD has 6 frames"):
        Censoring(0.5).outliers(path, 6)


def test_outliers_need_a_column_about_motion(tmp_path):
    path = table(tmp_path / "confounds.tsv", "csf white_matter\n1 2\n3 4")
    with pytest.raises(InputError, match="no framewise_displacement"):
        Censoring(0.5).outliers(path, 2)
    path = table(tmp_path / "other.tsv", "framewise_displacement\nn/a\nmuch")
    with pytest.raises(InputError, match="line 3: expected a number or n/a, got 'much'"):
        Censoring(0.5).outliers(path, 2)


@pytest.mark.parametrize("name", ["std_dvars", "stdDVARS"])
def test_dvars_marks_outliers_too_where_a_threshold_asks_for_it(tmp_path, name):
    text = f"framewise_displacement {name}\nn/a n/a\n0.1 1.5\n0.6 1\n0.1 1.6"
    path = table(tmp_path / "confounds.tsv", text)
    assert Censoring().outliers(path, 4).tolist() == [False, False, True, False]
    assert Censoring(dvars_threshold=1.5).outliers(path, 4).tolist() == [False, False, True, True]
    path = table(tmp_path / "alone.tsv", f"csf {name}\n0 n/a\n0 2")
    assert Censoring(dvars_threshold=1.5).outliers(path, 2).tolist() == [False, True]


def test_a_threshold_of_dvars_needs_its_column(tmp_path):
    path = table(tmp_path / "confounds.tsv", "framewise_displacement dvars\n0 30")
    with pytest.raises(InputError, match="no std_dvars among its 2 columns, which --dvars-threshold needs"):
        Censoring(dvars_threshold=1.5).outliers(path, 1)


def marks(text: str) -> np.ndarray:
    """True where the text has an x."""
    return np.array([each == "x" for each in text])


@pytest.mark.parametrize(
    ("rules", "given", "expected"),
    [
        ((0, 0, 0), "..x.x...xx", "..x.x...xx"),
        ((1, 0, 0), "..x...x.xx", ".xx..xxxxx"),
        ((0, 2, 0), "x....x....", "xxx..xxx.."),
        ((1, 2, 0), "x....x....", "xxx.xxxx.."),
        ((9, 99, 0), "....x.....", "xxxxxxxxxx"),
        # Stretches of at most so many, the ends counting as if they were missing.
        ((0, 0, 2), "...x..x...", "...xxxx..."),
        ((0, 0, 2), "..x...x...", "xxx...x..."),
        ((0, 0, 2), "...x....x.", "...x....xx"),
        # Before and after come first.
        ((1, 1, 1), "...x...x..", "..xxxxxxxx"),
        ((2, 2, 3), "..........", ".........."),
    ],
)
def test_frames_before_after_and_between(rules, given, expected):
    missing = marks(given)
    widened = Censoring(0.5, None, *rules).widened(missing, np.ones(10, bool))
    assert widened.tolist() == marks(expected).tolist() and missing.tolist() == marks(given).tolist()


def test_estimates_bound_a_stretch_but_are_not_widened():
    measured = ~marks("..x..x....")
    got = Censoring(censor_before=1, censor_between=2).widened(marks("........x."), measured)
    assert got.tolist() == marks("xx.xx.xxxx").tolist()


@pytest.mark.parametrize("name", ["censor_before", "censor_after", "censor_between"])
@pytest.mark.parametrize("count", [-1, 1.5, np.nan, True, "1"])
def test_counts_of_frames_are_whole_numbers(name, count):
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} .*; expected a whole number of at"):
        Censoring(**{name: count})


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -0.1, True, "0.5"])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    for name in ("fd_threshold", "dvars_threshold"):
        option = f"--{name.replace('_', '-')}"
        with pytest.raises(InputError, match=f"^{option} .*; expected a finite number of at least 0$"):
            Censoring(**{name: threshold})


def test_motion_without_end_is_refused(tmp_path):
    path = table(tmp_path / "confounds.tsv", " ".join(MOTION[0]) + "\n0 0 0 0 0 inf")
    with pytest.raises(InputError, match="column rot_z, line 2: expected a number or n/a, got 'inf'"):
        motion(path, 1)


@pytest.mark.parametrize("names", MOTION, ids=["fMRIPrep since 1.2", "before"])
def test_motion_in_the_order_of_its_names_whatever_the_table_s(tmp_path, names):
    text = " ".join(["csf", *reversed(names)]) + "\n9 6 5 4 3 2 1\n9 n/a 50 40 30 20 10"
    got = motion(table(tmp_path / "confounds.tsv", text), 2)
    assert got.tolist() == [[1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 0]]


def test_without_all_six_parameters_motion_is_unknown(tmp_path):
    path = table(tmp_path / "confounds.tsv", "trans_x trans_y framewise_displacement\n0 1 2")
    assert motion(path, 1) is None
    with pytest.raises(InputError, match="1 lines but the BOLD has 2 frames"):
        motion(path, 2)


@pytest.mark.skipif(not SAMPLES.exists(), reason="samples of other programs are not beside this checkout")
def test_confounds_of_early_fmriprep():
    path = SAMPLES / "sub-50005_task-rest_bold_confounds.tsv"
    names, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    values = [line[names.index("FramewiseDisplacement")] for line in lines]
    expected = [value != "n/a" and float(value) > 0.2 for value in values]
    assert Censoring(0.2).outliers(path, 152).tolist() == expected and 0 < sum(expected) < 152


def test_confounds_of_fmriprep_21():
    nilearn = pytest.importorskip("nilearn")
    folder = Path(nilearn.__file__).parent / "interfaces/fmriprep/data"
    path = folder / "test-v21_desc-confounds_timeseries.tsv"
    table = np.genfromtxt(path, names=True, delimiter="\t")
    outliers = [name for name in table.dtype.names if "outlier" in name]
    expected = np.any([table[name] == 1 for name in outliers], axis=0)
    assert len(outliers) == 26 and 3 <= expected.sum() < len(table)
    assert Censoring(1e9).outliers(path, len(table)).tolist() == expected.tolist()


def test_parse_frames():
    assert np.flatnonzero(parse_frames("10:14,40", 41)).tolist() == [10, 11, 12, 13, 14, 40]
    assert np.flatnonzero(parse_frames(" 0 , 2:2", 3)).tolist() == [0, 2]


@pytest.mark.parametrize("text", ["41", "40:41", "5:3", "-1", "a", "1:2:3", "", "1,,2"])
def test_parse_frames_refuses(text):
    with pytest.raises(InputError, match=r"out of range|is no frame or range"):
        parse_frames(text, 41)


@given(st.data(), st.integers(1, 60))
def test_frames_that_are_named_are_those_that_are_marked(data, n_frames):
    frame = st.integers(0, n_frames - 1)
    ranges = data.draw(st.lists(st.tuples(frame, frame).map(sorted), min_size=1, max_size=6))
    blank = st.sampled_from(["", " ", "  "])
    parts = [
        "".join(data.draw(blank) + word for word in ([f"{a}"] if a == b else [f"{a}", ":", f"{b}"]))
        for a, b in ranges
    ]
    named = {k for a, b in ranges for k in range(a, b + 1)}
    assert {*np.flatnonzero(parse_frames(",".join(parts), n_frames))} == named


@given(st.text("0123456789:, -", max_size=12) | st.text(max_size=12), st.integers(1, 60))
def test_any_text_names_frames_of_the_run_or_is_refused(text, n_frames):
    try:
        marked = parse_frames(text, n_frames)
    except InputError as error:
        assert repr(text) in str(error)
    else:
        assert marked.shape == (n_frames,) and marked.any()


MARKS = st.lists(st.booleans(), min_size=1, max_size=40).map(np.array)
COUNT = st.integers(0, 5)


@given(MARKS, COUNT, COUNT, COUNT)
def test_no_short_stretch_is_left_and_no_outlier_comes_back(missing, before, after, between):
    rules = Censoring(censor_before=before, censor_after=after, censor_between=between)
    left_out = rules.widened(missing, np.ones_like(missing))
    assert not (missing & ~left_out).any()
    near = [np.roll(np.pad(missing, 5), shift)[5:-5] for shift in range(-before, after + 1)]
    assert not (np.any(near, axis=0) & ~left_out).any()
    stretches = "".join("x" if out else "." for out in left_out).split("x")
    assert all(not stretch or len(stretch) > between for stretch in stretches)


def test_frames_of_one_value_hold_nothing(caplog):
    frames = np.random.default_rng(0).standard_normal((9, 8)).astype(np.float32)
    frames[1], frames[2], frames[3], frames[4, 1:] = np.nan, 0, 5, 0
    frames[5, ::2], frames[5, 1::2] = 0, np.nan  # zeros where there is anything
    frames[6] = 0  # an estimate of an earlier call, as that gave it
    frames[7, 1:] = np.nan  # a single value is no sign of that
    measured = np.arange(9) != 6
    empty = without_values(frames, measured, "run.nii")
    assert np.flatnonzero(empty).tolist() == [1, 2, 3, 5]
    assert "run.nii: 3 frames without a signal, the same value throughout (2, 3, 5): not meas" in caplog.text
    space = CorticalSpace.from_parcels(8)
    bold = Bold(frames, 1.0, np.arange(9.0), space, (Path("run.nii"),), measured)
    np.testing.assert_array_equal(Censoring().left_out(bold, None), empty | ~measured)
    caplog.clear()
    assert not without_values(np.ones((9, 3), np.float32), measured, "run.tsv").any() and not caplog.text
