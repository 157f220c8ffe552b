"""Features of what was shown, of tables and of films."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.bids import RunFiles
from neuroframes.recording.features import Features, indicators, read_features, write_features
from neuroframes.recording.stimulus import films_at, find_stimulus, read_stimulus

TR, K = 2.0, 40
TIMES = 10 + TR * (np.arange(K) + 0.5)  # the first volume 10 s after the EEG's first sample


@pytest.fixture
def run(tmp_path) -> RunFiles:
    eeg = tmp_path / "bids/sub-01/eeg/sub-01_task-movie_run-1_eeg.vhdr"
    bold = tmp_path / "bids/derivatives/fmriprep/sub-01/func/sub-01_task-movie_run-1_bold.dtseries.nii"
    for file in (eeg, bold):
        file.parent.mkdir(parents=True)
    (tmp_path / "stimuli").mkdir()
    return RunFiles("01", "task-movie_run-1", eeg, (bold,), None)


def features(run, place, category=None) -> Features | None:
    return read_stimulus(find_stimulus(place, run), TIMES, TR, category)


def write_events(run, rows, folder="eeg", columns=("onset", "duration", "trial_type", "stim_file")) -> None:
    path = run.eeg.parents[1] / folder / "sub-01_task-movie_run-1_events.tsv"
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, sep="\t", index=False, na_rep="n/a")


@pytest.mark.parametrize("suffix", [".tsv", ".npz", ".parquet", ".mat"])
@pytest.mark.parametrize("name", ["sub-01_task-movie_run-1_desc-clip", "task-movie_run-01", "task-movie"])
def test_a_table_of_the_run_is_read_with_its_gaps(run, tmp_path, name, suffix):
    values = np.random.default_rng(0).standard_normal((K, 2)).astype(np.float32)
    values[30:] = np.nan
    write_features(tmp_path / "stimuli" / f"{name}{suffix}", Features(values, ("a", "b"), TR))
    found = features(run, tmp_path / "stimuli")

    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.values, values, rtol=1e-6)


def test_the_table_of_another_run_is_none(run, tmp_path):
    table = Features(np.ones((K, 1), np.float32), ("a",), TR)
    for name in ("sub-02_task-movie_run-1", "sub-01_task-movie_run-2", "clip"):
        write_features(tmp_path / "stimuli" / f"{name}.npz", table)

    assert features(run, tmp_path / "stimuli") is None


def test_two_tables_of_a_run_are_refused(run, tmp_path):
    table = Features(np.ones((K, 1), np.float32), ("a",), TR)
    for name in ("desc-clip", "desc-words"):
        write_features(tmp_path / "stimuli" / f"task-movie_run-1_{name}.npz", table)
    with pytest.raises(InputError, match=r"expected one table of features, got 2 .*desc-words"):
        features(run, tmp_path / "stimuli")


def test_a_table_of_other_length_is_refused(run, tmp_path):
    write_features(tmp_path / "stimuli" / "task-movie.npz", Features(np.ones((K + 1, 1)), ("a",), TR))
    with pytest.raises(InputError, match=f"features of {K + 1} frames for {K} frames"):
        features(run, tmp_path / "stimuli")


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_columns_of_text_are_categories(run, tmp_path, suffix):
    kind = np.array(["face", "house", None, "face"] * (K // 4), object)
    path = tmp_path / "stimuli" / f"task-movie_run-1{suffix}"
    table = pd.DataFrame({"level": np.arange(K) / 7, "kind": kind})
    table.to_csv(path, sep="\t", index=False, na_rep="n/a") if suffix == ".tsv" else table.to_parquet(path)
    found = features(run, tmp_path / "stimuli")

    assert found.names == ("level", "kind=face", "kind=house")
    assert found.values[:4, 1].tolist() == [1, 0, 0, 1] and found.values[:4, 2].tolist() == [0, 1, 0, 0]
    with pytest.raises(InputError):  # EEG has no categories
        read_features(path, tr=TR)


@pytest.mark.parametrize(("folder", "start"), [("eeg", 10.0), ("func", 0.0)])
def test_categories_of_events_hold_from_onset_to_end_on_either_clock(run, folder, start):
    rows = [(start + 4, 6, "face", None), (start + 20, 4, "house", None), (start + 30, 2, None, None)]
    write_events(run, rows, folder)
    found = features(run, None, "trial_type")

    assert found.names == ("trial_type=face", "trial_type=house")
    assert np.flatnonzero(found.values[:, 0]).tolist() == [2, 3, 4]
    assert np.flatnonzero(found.values[:, 1]).tolist() == [10, 11]


@pytest.mark.parametrize("lasting", [0, 0.5])
def test_events_shorter_than_a_frame_are_of_the_one_in_which_they_begin(run, lasting):
    onsets = [14.0, 16.2, 21.7, 35.999]
    write_events(run, [(onset, lasting, "face", None) for onset in onsets])
    found = features(run, None, "trial_type")

    assert np.flatnonzero(found.values[:, 0]).tolist() == [int((onset - 10) // TR) for onset in onsets]


def test_films_are_read_where_events_say(run, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "stimuli" / "clips" / "a.mp4"
    path.parent.mkdir()
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(100):  # 20 s, darker, then brighter
            picture = np.full((32, 32, 3), 60 if number < 50 else 180, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    write_events(run, [(14, 20, "film", "clips/a.mp4"), (60, 20, "film", "clips/a.mp4")])
    found = features(run, tmp_path / "stimuli")

    assert found.names[:2] == ("luminance", "contrast")
    light = found.values[:, 0]
    shown = (np.abs(TIMES - 24) < 11) | (np.abs(TIMES - 70) < 11)
    assert np.array_equal(np.isfinite(light), shown)
    bright = light[(TIMES > 25) & (TIMES < 33)].mean() - light[(TIMES > 15) & (TIMES < 23)].mean()
    assert bright == pytest.approx(120 / 255, abs=0.05)


@pytest.mark.parametrize("name", ["absent.mp4", "../secret.mp4"])
def test_films_are_in_the_folder_that_is_given(run, tmp_path, name):
    (tmp_path / "secret.mp4").write_bytes(b"")
    write_events(run, [(0, 20, "film", name)])
    with pytest.raises(InputError, match=f"stim_file {name} isn't in .*stimuli; pass --stimulus"):
        features(run, tmp_path / "stimuli")
    nothing = Features(np.full((K, 1), np.nan, np.float32), ("a",), TR)
    write_features(tmp_path / "stimuli" / "task-movie_run-1.npz", nothing)  # the other way that is named
    assert features(run, tmp_path / "stimuli").names == ("a",)


def test_messages_name_what_would_do(run, tmp_path):
    write_events(run, [(0, 20, "film", "absent.mp4")])
    with pytest.raises(InputError, match=r"or put a table there, as task-\S+\.tsv \(or \.npz"):
        features(run, tmp_path / "stimuli")
    write_events(run, [(0, 20, "film", "n/a")])
    with pytest.raises(
        InputError,
        match="no column typo; pass --category with one of onset, duration, trial_type, stim_file$",
    ):
        features(run, None, "typo")


def test_a_column_of_many_values_is_warned_of(run, caplog):
    write_events(run, [(10 + TR * k, TR, f"word {k}", None) for k in range(K)])

    assert len(features(run, None, "trial_type").names) == K
    assert f"{K} values in the column trial_type" in caplog.text


def test_without_anything_there_is_none(run, tmp_path):
    assert features(run, tmp_path / "stimuli") is None


def test_indicators_leave_out_what_is_unknown():
    values, names = indicators("kind", ["b", "n/a", "a", "b", ""])

    assert names == ("kind=a", "kind=b")
    assert values.T.tolist() == [[0, 0, 1, 0, 0], [1, 0, 0, 1, 0]]
    assert indicators("kind", ["", "n/a"])[0].shape == (2, 0)


@pytest.fixture
def shown(tmp_path):
    """Events of two films, on the EEG clock where they are beside the EEG, or else on the scanner's."""

    def make(folder: str) -> dict:
        events = tmp_path / folder / "sub-01_task-movie_events.tsv"
        films = [tmp_path / "stimuli" / name for name in ("a.mp4", "more/b.mp4")]
        for path in (events, *films):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        rows = [
            "onset\tduration\tstim_file",
            "20\t30\ta.mp4",
            "n/a\t1\tn/a",
            "n/a\t30\tmore/b.mp4",
            "60\t30\tmore/b.mp4",
        ]
        events.write_text("\n".join(rows) + "\n")
        stimulus = [str(of) for of in (events, *films)]
        return {"eeg": str(tmp_path / "eeg/sub-01_task-movie_eeg.vhdr"), "stimulus": stimulus}

    return make


@pytest.mark.parametrize(("folder", "start"), [("eeg", 0.0), ("func", TIMES[0] - TR / 2)])
def test_the_film_that_began_last_runs(shown, folder, start):
    found = films_at(shown(folder), start + np.array([21.5, 20.0, 59.0, 75.0]), TIMES[0], TR)
    assert [film.name for film, _ in found] == ["a.mp4", "a.mp4", "a.mp4", "b.mp4"]
    assert [at for _, at in found] == pytest.approx([1.5, 0, 39, 15])


def test_there_is_none_where_it_has_gone_or_has_not_begun(shown):
    of = shown("eeg")
    assert films_at(of, np.array([30.0, 19.0]), TIMES[0], TR) is None
    assert films_at(of | {"stimulus": []}, np.array([30.0]), TIMES[0], TR) is None
    assert films_at(of | {"stimulus": ["/shown/task-movie.tsv"]}, np.array([30.0]), TIMES[0], TR) is None
    Path(of["stimulus"][-1]).unlink()
    assert films_at(of, np.array([30.0]), TIMES[0], TR) is None
