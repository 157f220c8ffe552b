"""Resampling runs in time: frames that fall on a measured one are that frame."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from neuroframes.commands.resample import resample
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, write_bold

TR = 0.8


def test_resampling_to_half_the_tr_keeps_every_second_frame(run_of, tmp_path, smooth_frames, cifti_space):
    data = smooth_frames(150, cifti_space.V)
    written = resample(run_of(data=data), tr=TR / 2, out=tmp_path / "x.dtseries.nii", frames="40:44")
    image = nib.load(written[0])
    frames, deviation = (np.asarray(nib.load(path).dataobj) for path in written)
    missing = np.isin(np.arange(150), np.arange(40, 45))
    assert image.header.get_axis(0).step == TR / 2 and frames.shape == (299, cifti_space.V)
    assert frames[::2][~missing].tobytes() == data[~missing].tobytes()
    measured = np.array(json.loads((tmp_path / "x.json").read_text())["NeuroframesMeasured"])
    assert measured[::2].tolist() == (~missing).tolist() and not measured[1::2].any()
    assert (deviation[measured] == 0).all() and (deviation[~measured] > 0).all()
    # Halfway frames of a smooth signal lie near what surrounds them.
    detrended = data - data.mean(axis=0)
    halfway = frames[1::2][:38] - (data[:38] + data[1:39]) / 2
    assert np.median(np.abs(halfway) / detrended.std(axis=0)) < 0.3


def test_resampling_to_a_tr_that_does_not_divide(run_of, tmp_path, smooth_frames, cifti_space):
    data = smooth_frames(120, cifti_space.V)
    frames, deviation = (
        np.asarray(nib.load(path).dataobj)
        for path in resample(run_of(data=data), tr=0.5, out=tmp_path / "x.dtseries.nii")
    )
    times = 0.5 * np.arange(len(frames))
    assert len(frames) == int(119 * TR / 0.5) + 1
    same = np.isclose(times % 4, 0)  # 4 s are 8 steps and 5 frames
    np.testing.assert_array_equal(frames[same], data[::5][: same.sum()])
    measured = json.loads((tmp_path / "x.json").read_text())["NeuroframesMeasured"]
    assert measured == same.tolist()
    cubic = CubicSpline(TR * np.arange(120), data)(times)
    error = (frames - cubic) / data.std(axis=0)
    assert np.sqrt(np.mean(error[~same] ** 2)) < 0.3
    assert np.isfinite(deviation).all()


def test_resampling_to_a_longer_tr(run_of, tmp_path, smooth_frames, cifti_space, caplog):
    data = smooth_frames(120, cifti_space.V)
    written = resample(run_of(data=data), tr=3 * TR, out=tmp_path / "x.dtseries.nii")
    assert np.asarray(nib.load(written[0]).dataobj).tobytes() == data[::3].tobytes("C")
    assert "faster than every 4.8 s is aliased" in caplog.text
    # The first frame is the first one's middle, so a longer volume begins before it.
    assert json.loads((tmp_path / "x.json").read_text())["NeuroframesStart"] == pytest.approx(-TR)
    caplog.clear()
    resample(run_of(data=data), tr=1.005 * TR, out=tmp_path / "y.dtseries.nii")
    assert "aliased" not in caplog.text


def test_a_tr_that_a_header_rounded_still_meets_its_frames(tmp_path, smooth_frames):
    # NIfTI keeps 0.72 as float32: half of it is off by 1e-5 frames after 400 of them.
    mask = np.random.default_rng(0).random((6, 6, 5)) > 0.3
    space = CorticalSpace.from_mask(mask, np.diag([2.0, 2, 3, 1]))
    data = smooth_frames(420, space.V, tr=0.72)
    (bold,) = write_bold(tmp_path / "a_bold.nii", data, space, tr=0.72)
    written = resample(bold, tr=0.36, out=tmp_path / "b_bold.nii")
    measured = np.array(json.loads((tmp_path / "b_bold.json").read_text())["NeuroframesMeasured"])
    assert measured[::2].all() and measured.sum() == 420
    assert read_bold(written[0]).data[::2].tobytes() == data.tobytes()


def test_draws_of_a_resampled_run(run_of, tmp_path):
    bold = run_of(60)
    drawn = resample(bold, tr=0.4, out=tmp_path / "r_bold.dtseries.nii", draws=2, save_draws=True)
    draws = [read_bold(path).data for path in drawn[2:]]
    for draw in draws:
        assert draw[::2].tobytes() == read_bold(bold).data.tobytes()
    assert not np.allclose(draws[0][1::2], draws[1][1::2])


def test_frames_that_look_like_artefacts_are_numbered_as_in_the_run(
    run_of, tmp_path, smooth_frames, cifti_space
):
    """Though they have other numbers in what is written."""
    data = smooth_frames(120, cifti_space.V)
    data[40] += 30 * data.std(axis=0)
    (path, _) = resample(run_of(data=data), tr=TR / 2, out=tmp_path / "r_bold.dtseries.nii")
    assert read_bold(path).sidecar["NeuroframesSuspiciousInSource"] == [40]


@pytest.mark.parametrize("tr", [-1, 0, 1e-4, 1e4, float("inf"), float("nan"), True])
def test_a_tr_that_cannot_be(run_of, tmp_path, tr):
    with pytest.raises(InputError, match=r"--tr \(s\) .*; expected a finite number of at least 0.01"):
        resample(run_of(60), tr=tr, out=tmp_path / "x.dtseries.nii")


def test_a_tr_in_milliseconds(run_of, tmp_path):
    with pytest.raises(InputError, match=r"--tr \(s\) 800.0; .* below 60: 0.8, if milliseconds are meant"):
        resample(run_of(60), tr=800.0, out=tmp_path / "x.dtseries.nii")


@pytest.mark.parametrize("tr", [0.0799, 50.0])
def test_a_tr_that_gives_too_many_frames_or_a_single_one(run_of, tmp_path, tr):
    bold = read_bold(run_of(60))
    path = write_bold(tmp_path / "slow.dtseries.nii", bold.data, bold.space, tr=8 if tr < 1 else TR)[0]
    with pytest.raises(
        InputError, match="--tr .* s; slow.dtseries.nii has 60 frames at .*: expected at most"
    ):
        resample(path, tr=tr, out=tmp_path / "x.dtseries.nii")
    assert not list(tmp_path.glob("x*"))
