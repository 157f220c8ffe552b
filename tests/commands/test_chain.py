"""Commands one after another: an estimate stays one, with its deviation, and data stay data."""

import json
import re

import numpy as np
import pytest

from neuroframes.commands.complete import complete
from neuroframes.commands.resample import resample
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.report.view import view

FRAMES = "10:13,30"
GAPS = np.isin(np.arange(60), [10, 11, 12, 13, 30])


def both(paths):
    """A result and its standard deviation."""
    frames = read_bold(paths[0])
    return frames, read_bold(frames.deviation)


@pytest.fixture(scope="module")
def chain(tmp_path_factory, smooth_frames):
    """complete, resample, resample back, complete, view of a run on fsaverage5, TR 2 s."""
    folder, space = tmp_path_factory.mktemp("chain"), CorticalSpace.fsaverage5()
    data = smooth_frames(60, space.V, tr=2.0)
    run = write_bold(folder / "run_bold.func.gii", data, space, tr=2.0)[0]
    first = complete(run, out=folder / "1_bold.func.gii", frames=FRAMES)
    finer = resample(first[0], tr=1.0, out=folder / "2_bold.func.gii")
    back = resample(finer[0], tr=2.0, out=folder / "3_bold.func.gii")
    last = complete(back[0], out=folder / "4_bold.func.gii", frames="45")
    page = view(last[0], folder / "5.html")
    return data, [both(paths) for paths in (first, finer, back, last)], page


def test_every_frame_says_whether_it_was_measured(chain):
    data, (first, finer, back, last), _ = chain
    np.testing.assert_array_equal(first[0].measured, ~GAPS)
    np.testing.assert_array_equal(finer[0].measured[::2], ~GAPS)
    assert not finer[0].measured[1::2].any() and len(finer[0].measured) == 119
    np.testing.assert_array_equal(back[0].measured, ~GAPS)
    np.testing.assert_array_equal(last[0].measured, ~GAPS & (np.arange(60) != 45))
    for frames, _ in (first, back, last):
        assert frames.data[frames.measured].tobytes() == data[frames.measured].tobytes()


def test_no_estimate_has_a_deviation_of_0_and_data_have_no_other(chain):
    for frames, deviation in chain[1]:
        assert (deviation.data[frames.measured] == 0).all()
        assert (deviation.data[~frames.measured] > 0).all()


def test_estimates_are_carried_on_as_they_were(chain):
    _, (first, finer, back, last), _ = chain
    for later, rows in ((finer, slice(None, None, 2)), (back, slice(None)), (last, slice(None))):
        for now, before in zip(later, first, strict=True):
            np.testing.assert_array_equal(now.data[rows][GAPS], before.data[GAPS])


def test_the_clock_and_the_account_go_through(chain):
    _, (first, finer, back, last), _ = chain
    assert [frames.times[0] for frames, _ in (first, finer, back, last)] == [0, 0.5, 0, 0]
    earlier = last[0].sidecar["NeuroframesEarlier"]
    assert [step["NeuroframesOptions"].get("tr") for step in earlier] == [None, 1.0, 2.0]
    assert earlier[0]["NeuroframesOptions"]["frames"] == FRAMES
    assert earlier[0]["NeuroframesMethod"] == first[0].sidecar["NeuroframesMethod"]


def test_a_deviation_of_other_frames_is_refused(run_of, tmp_path):
    first = complete(run_of(60), out=tmp_path / "a_bold.dtseries.nii", frames="50:55")
    stated = read_bold(first[1])
    write_bold(tmp_path / "of-40_bold.dtseries.nii", stated.data[:40], stated.space, tr=stated.tr)
    about = read_sidecar(first[0]) | {"NeuroframesStandardDeviation": "of-40_bold.dtseries.nii"}
    write_sidecar(first[0], about, overwrite=True)
    with pytest.raises(InputError, match="has 40 frames but a_bold.dtseries.nii has 60"):
        complete(first[0], out=tmp_path / "b_bold.dtseries.nii", frames="20")


def test_the_page_says_of_every_frame_what_it_is(chain):
    page = chain[2].read_text()
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', page)[1])
    assert meta["measured"] == (~GAPS & (np.arange(60) != 45)).tolist()
    assert meta["frames"] == list(range(60))


def test_estimates_inform_nothing(run_of, tmp_path):
    """Frames filled by somebody else's numbers: a second call is that of the data alone."""
    run = run_of(120)
    first = complete(run, out=tmp_path / "a_bold.dtseries.nii", frames="50:55")
    spoiled = read_bold(first[0])
    data = np.array(spoiled.data, order="F")
    data[50:56] = 1e6
    write_bold(first[0], data, spoiled.space, tr=spoiled.tr, overwrite=True)
    again = complete(first[0], out=tmp_path / "b_bold.dtseries.nii", frames="20:23")
    expected = complete(run, out=tmp_path / "c_bold.dtseries.nii", frames="20:23,50:55")
    np.testing.assert_array_equal(read_bold(again[0]).data[20:24], read_bold(expected[0]).data[20:24])


def test_estimates_are_estimated_anew_when_named(run_of, tmp_path):
    first = complete(run_of(120), out=tmp_path / "a_bold.dtseries.nii", frames="50:55")
    with pytest.raises(InputError, match="no frame is missing.*--confounds, --censor or --frames"):
        complete(first[0], out=tmp_path / "b_bold.dtseries.nii")
    again = complete(first[0], out=tmp_path / "b_bold.dtseries.nii", frames="50:55")
    np.testing.assert_array_equal(read_bold(again[0]).data, read_bold(first[0]).data)


def test_estimates_without_a_stated_deviation_have_none_later(run_of, tmp_path):
    first = complete(run_of(120), out=tmp_path / "a_bold.dtseries.nii", frames="50:55")
    read_bold(first[0]).deviation.unlink()
    _, deviation = both(complete(first[0], out=tmp_path / "b_bold.dtseries.nii", frames="20"))
    assert np.isnan(deviation.data[50:56]).all() and (deviation.data[20] > 0).all()


def test_frames_from_eeg_alone_are_no_data_to_go_on(recording, tmp_path):
    from neuroframes.commands.reconstruct import reconstruct

    frames = reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / "a.func.gii")
    with pytest.raises(InputError, match="0 of 120 frames are measured"):
        resample(frames[0], tr=0.5, out=tmp_path / "b.func.gii")


def test_sidecars_say_what_a_paper_must(recording, tmp_path, caplog):
    caplog.set_level("INFO", logger="neuroframes")
    frames = complete(
        recording.bold(3),
        out=tmp_path / "a.func.gii",
        model=recording.model,
        eeg=recording.eeg(3),
        confounds=recording.confounds(3),
        fd_threshold=0.4,
        frames="7",
    )
    about = read_sidecar(frames[0])
    assert about["TaskName"] == "movie" and about["SkullStripped"] is False
    options = about["NeuroframesOptions"]
    assert options["fd_threshold"] == 0.4 and options["frames"] == "7"
    assert len(about["NeuroframesModelDigest"]) == 32 and about["NeuroframesVersion"]
    method = about["NeuroframesMethod"]
    assert "Gaussian posterior given the measured frames" in method
    assert "EEG isn't believed beside so many frames" in method  # one frame is hidden
    assert f"{about['Sources'][0]}: {method}" in caplog.messages


def test_eeg_is_refused_for_frames_that_no_trigger_marks(recording, tmp_path):
    finer = resample(recording.bold(3), tr=0.5, out=tmp_path / "a_bold.func.gii")
    given = {"frames": "3", "model": recording.model, "eeg": recording.eeg(3)}
    with pytest.raises(InputError, match="was resampled: .*give --eeg to resample"):
        complete(finer[0], out=tmp_path / "b_bold.func.gii", **given)


def test_a_run_prints_in_a_line(chain):
    assert len(repr(chain[1][0][0])) < 500
