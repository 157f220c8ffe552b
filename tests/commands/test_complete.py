"""Completing runs: measured frames to the bit, sound estimates elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from neuroframes.commands.complete import complete
from neuroframes.commands.resample import resample
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.information import effective_frames
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.segments import detrend
from neuroframes.recording.sidecar import write_sidecar

TR = 0.8
GAPS = "20:23,60,100:107,150:151"  # 15 frames


def missing_of(n_frames: int, *gaps: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(n_frames, bool)
    for first, last in gaps:
        mask[first : last + 1] = True
    return mask


MISSING = missing_of(200, (20, 23), (60, 60), (100, 107), (150, 151))


def correlation(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Mean over vertices of the correlation along time."""
    a, b = estimate - estimate.mean(axis=0), truth - truth.mean(axis=0)
    return float(np.mean((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))))


def spaces(cifti: CorticalSpace) -> dict[str, CorticalSpace]:
    mask = np.random.default_rng(0).random((6, 6, 5)) > 0.3
    return {
        ".dtseries.nii": cifti,
        ".func.gii": CorticalSpace.from_counts({"L": 70, "R": 60}),
        ".nii.gz": CorticalSpace.from_mask(mask, np.diag([2.0, 2, 3, 1])),
    }


def read_back(paths: list[Path]) -> np.ndarray:
    """Values (K, V) as nibabel itself gives them, zero voxels of volumes left out."""
    if paths[0].name.endswith(".gii"):
        return np.concatenate([nib.load(path).agg_data() for path in paths]).T
    image = nib.load(paths[0])
    values = np.asarray(image.dataobj)
    return values if values.ndim == 2 else values[np.any(values != 0, axis=3)].T


@pytest.mark.parametrize("suffix", [".dtseries.nii", ".func.gii", ".nii.gz"])
def test_measured_frames_are_bit_exact_in_the_file(tmp_path, cifti_space, smooth_frames, suffix):
    space = spaces(cifti_space)[suffix]
    data = smooth_frames(200, space.V)
    source = write_bold(tmp_path / f"sub-01_bold{suffix}", data, space, tr=TR)
    write_sidecar(source[0], {"RepetitionTime": TR})
    written = complete(source[0], out=tmp_path / "out" / f"sub-01_desc-completed_bold{suffix}", frames=GAPS)
    half = len(written) // 2
    frames, deviation = read_back(list(written[:half])), read_bold(written[half], tr=TR).data
    original = read_back(list(source))
    assert frames.dtype == np.float32 and frames.shape == original.shape
    assert frames[~MISSING].tobytes() == original[~MISSING].tobytes()
    assert not np.array_equal(frames[MISSING], original[MISSING])
    assert (deviation[~MISSING] == 0).all()
    assert (deviation[MISSING] > 0).all()
    back = read_bold(written[0])
    assert back.tr == pytest.approx(TR)
    back.space.check_same(space, "the result")
    header = nib.load(written[0])
    if suffix == ".dtseries.nii":
        series, models = (header.header.get_axis(i) for i in (0, 1))
        assert (series.step, series.start, series.unit, len(series)) == (TR, 0.0, "SECOND", 200)
        assert models == nib.load(source[0]).header.get_axis(1)
    elif suffix == ".func.gii":
        assert [path.name for path in written] == [
            f"sub-01_hemi-{side}_desc-completed_{part}bold.func.gii"
            for part in ("", "stat-std_")
            for side in "LR"
        ]
        assert float(header.meta["TimeStep"]) == pytest.approx(1000 * TR)
    else:
        assert header.header.get_zooms()[3] == pytest.approx(TR) and np.array_equal(
            header.affine, nib.load(source[0]).affine
        )


def test_the_sidecars_say_what_is_data(run_of, tmp_path):
    (tmp_path / "censor.tsv").write_text("censored\n" + "\n".join("1" if m else "0" for m in MISSING) + "\n")
    bold, out = run_of(), tmp_path / "sub-01_desc-completed_bold.dtseries.nii"
    frames, deviation = complete(bold, out=out, censor=tmp_path / "censor.tsv")
    assert deviation.name == "sub-01_desc-completed_stat-std_bold.dtseries.nii"
    about = json.loads((tmp_path / "sub-01_desc-completed_bold.json").read_text())
    assert about["NeuroframesMeasured"] == (~MISSING).tolist()
    assert about["RepetitionTime"] == TR and about["NeuroframesStart"] == 0
    assert about["Sources"] == [bold.name, "censor.tsv"]
    assert about["NeuroframesStandardDeviation"] == deviation.name
    assert about["NeuroframesModel"] is None and about["NeuroframesVersion"]
    beside = json.loads((tmp_path / "sub-01_desc-completed_stat-std_bold.json").read_text())
    assert frames.name in beside["Description"] and beside["RepetitionTime"] == TR
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "tmp"))) == []


@pytest.mark.skipif(shutil.which("wb_command") is None, reason="Connectome Workbench isn't installed")
def test_workbench_reads_what_is_written(run_of, tmp_path):
    written = complete(run_of(), out=tmp_path / "x_bold.dtseries.nii", frames=GAPS)
    written += resample(run_of(), tr=TR / 2, out=tmp_path / "y_bold.dtseries.nii")
    for path, step, rows in zip(written, [TR, TR, TR / 2, TR / 2], [200, 200, 399, 399], strict=True):
        shown = subprocess.run(
            ["wb_command", "-file-information", str(path)], capture_output=True, text=True, check=True
        ).stdout
        facts = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
        assert facts["Type"].strip() == "CIFTI - Dense Data Series"
        assert float(facts["Map Interval Step"]) == pytest.approx(step)
        assert int(facts["Number of Columns"].replace(",", "")) == rows


def test_censoring_by_confounds_and_by_list_add_up(run_of, tmp_path, smooth_frames):
    displacement = ["n/a"] + ["0.1"] * 199
    displacement[33] = "0.9"
    table = ["framewise_displacement\tmotion_outlier00"]
    table += [f"{fd}\t{1.0 if k == 50 else 0.0}" for k, fd in enumerate(displacement)]
    (tmp_path / "confounds.tsv").write_text("\n".join(table) + "\n")
    written = complete(
        run_of(), out=tmp_path / "x.dtseries.nii", confounds=tmp_path / "confounds.tsv", frames="80:81"
    )
    assert written[0].name == "x.dtseries.nii"
    measured = json.loads((tmp_path / "x.json").read_text())["NeuroframesMeasured"]
    assert np.flatnonzero(~np.array(measured)).tolist() == [33, 50, 80, 81]


def test_what_is_censored_around_outliers_is_filled(run_of, tmp_path):
    table = ["framewise_displacement\tstd_dvars", "n/a\tn/a", *["0.1\t1"] * 199]
    table[1 + 33], table[1 + 120] = "0.9\t1", "0.1\t1.8"
    (tmp_path / "confounds.tsv").write_text("\n".join(table) + "\n")
    rules = {"censor_before": 1, "censor_after": 2, "censor_between": 3, "dvars_threshold": 1.5}
    # 33 and 120 are outliers, 40 and 197 are named; 36 to 38 lie between, 196 to 199 at the end.
    out = tmp_path / "x.dtseries.nii"
    complete(run_of(), out=out, confounds=tmp_path / "confounds.tsv", frames="40,197", **rules)
    about = json.loads((tmp_path / "x.json").read_text())
    filled = np.flatnonzero(~np.array(about["NeuroframesMeasured"])).tolist()
    assert filled == [*range(32, 43), *range(119, 123), *range(196, 200)]
    assert about["NeuroframesOptions"].items() >= {**rules, "fd_threshold": 0.5}.items()
    # The result, given again with the same rules, has nothing that they would fill.
    with pytest.raises(InputError, match="no frame is missing"):
        complete(out, out=tmp_path / "y.dtseries.nii", **(rules | {"dvars_threshold": None}))
    with pytest.raises(InputError, match="--dvars-threshold needs --confounds"):
        complete(out, out=tmp_path / "y.dtseries.nii", frames="3", dvars_threshold=1.5)


def test_log_and_sidecar_say_how_much_information_is_left(
    run_of, tmp_path, smooth_frames, cifti_space, caplog
):
    caplog.set_level("INFO")
    data = smooth_frames(200, cifti_space.V)
    bold = run_of(data=data)
    complete(bold, out=tmp_path / "x.dtseries.nii", frames=GAPS)
    resample(bold, tr=0.5, out=tmp_path / "y.dtseries.nii", frames=GAPS)
    residual = data.astype(np.float64)
    detrend(residual, ~MISSING)
    expected = effective_frames(residual, ~MISSING)
    for name in "xy":
        about = json.loads((tmp_path / f"{name}.json").read_text())
        assert about["NeuroframesShareMeasured"] == 0.925
        assert about["NeuroframesEffectiveFrames"] == pytest.approx(expected, rel=0.01) and expected < 100
    said = f"185 of 200 frames (92 %) are measured in full, worth about {expected:.0f} independent ones"
    assert caplog.messages.count(f"{bold.name}: {said}") == 2


@pytest.mark.parametrize("gap", [1, 2, 4, 8])
def test_better_than_linear_and_cubic_spline(run_of, tmp_path, smooth_frames, cifti_space, gap):
    data = smooth_frames(240, cifti_space.V, seed=gap)
    missing = np.zeros(240, bool)
    for first in range(12, 240 - 12 - gap, gap + max(8, gap)):
        missing[first : first + gap] = True
    (tmp_path / "censor.tsv").write_text("\n".join("1" if m else "0" for m in missing) + "\n")
    written = complete(run_of(data=data), out=tmp_path / "x.dtseries.nii", censor=tmp_path / "censor.tsv")
    ours, deviation = (np.asarray(nib.load(path).dataobj)[missing] for path in written)
    index = np.arange(240)
    at, known = index[missing], index[~missing]
    cubic = CubicSpline(known, data[known])(at)
    linear = np.stack([np.interp(at, known, column) for column in data[known].T], axis=1)
    truth = data[missing].astype(np.float64)
    r = correlation(ours.astype(np.float64), truth)
    assert r > correlation(linear, truth) and r > correlation(cubic, truth)
    covered = np.mean(np.abs(ours - truth) < 1.645 * deviation)
    assert 0.8 < covered < 0.97


def test_ends_relax_to_the_prior_without_a_spike(run_of, tmp_path, smooth_frames, cifti_space):
    data = smooth_frames(200, cifti_space.V, seed=3)
    written = complete(run_of(data=data), out=tmp_path / "x.dtseries.nii", frames="0:19,170:199")
    frames, deviation = (np.asarray(nib.load(path).dataobj) for path in written)
    measured = data[20:170]
    span = np.ptp(measured, axis=0)
    assert (frames > measured.min(axis=0) - 0.5 * span).all()
    assert (frames < measured.max(axis=0) + 0.5 * span).all()
    for end in (deviation[19::-1], deviation[170:]):  # from the measured frames outwards
        assert (end[0] > 0).all()
        assert (np.diff(end, axis=0) > -1e-3 * end.max(axis=0)).mean() > 0.9
        assert (end[-1] > 1.5 * end[0]).mean() > 0.9
        # Far out the prior is all there is: it says as much as the run varies about its trend.
        detrended = (
            measured
            - np.polynomial.polynomial.polyval(
                np.arange(150), np.polynomial.polynomial.polyfit(np.arange(150), measured, 1)
            ).T
        )
        ratio = end[-1] / detrended.std(axis=0)
        assert 0.7 < np.median(ratio) < 1.5


def test_frames_that_are_nan_throughout_are_missing(run_of, tmp_path, smooth_frames, cifti_space, caplog):
    data = smooth_frames(200, cifti_space.V)
    data[:, 7] = 3.25  # a constant vertex has one value to give
    data[MISSING] = np.nan
    caplog.set_level("INFO", "neuroframes")
    written = complete(run_of(data=data), out=tmp_path / "x.dtseries.nii")
    frames, deviation = (np.asarray(nib.load(path).dataobj) for path in written)
    assert np.isfinite(frames).all()
    assert (frames[:, 7] == 3.25).all()
    assert (np.delete(deviation, 7, axis=1)[MISSING] > 0).all()
    assert json.loads((tmp_path / "x.json").read_text())["NeuroframesMeasured"] == (~MISSING).tolist()
    assert "filling 15 of 200 frames" in caplog.text


def test_nan_and_constant_vertices_are_kept_and_said(run_of, tmp_path, smooth_frames, cifti_space, caplog):
    data = smooth_frames(200, cifti_space.V)
    data[:, 3] = np.nan
    data[15:, 4] = np.nan  # fewer values than it takes: see test_partial_frames.py
    data[12:, 5] = np.inf
    data[:, 6] = 0
    data[:, 7] = 12_345.678
    written = complete(run_of(data=data), out=tmp_path / "x.dtseries.nii", frames=GAPS)
    frames, deviation = (np.asarray(nib.load(path).dataobj) for path in written)
    assert frames[:, 3:8].tobytes() == data[:, 3:8].tobytes()
    assert (deviation[~MISSING, 3:8] == 0).all()
    assert np.isnan(deviation[MISSING, 3:8]).all()  # none is stated
    assert (
        "5 of 200 vertices (3, 4, 5, 6, 7) are constant or not finite in many frames: kept as they are"
        in caplog.text
    )
    others = np.delete(np.arange(cifti_space.V), [3, 4, 5, 6, 7])
    assert np.isfinite(frames[:, others]).all()
    # They teach the others nothing either.
    data[:, 3:8] = 1.0
    again = complete(run_of(data=data), out=tmp_path / "y.dtseries.nii", frames=GAPS)[0]
    np.testing.assert_array_equal(np.asarray(nib.load(again).dataobj)[:, others], frames[:, others])


def test_what_stands_at_missing_frames_is_not_read(run_of, tmp_path, smooth_frames, cifti_space):
    data = smooth_frames(200, cifti_space.V)
    first = complete(run_of(data=data), out=tmp_path / "x.dtseries.nii", frames=GAPS)[0]
    data[MISSING] = 1e6 * np.random.default_rng(1).standard_normal((15, cifti_space.V))
    second = complete(run_of(data=data, name="spoilt"), out=tmp_path / "y.dtseries.nii", frames=GAPS)[0]
    assert np.asarray(nib.load(first).dataobj).tobytes() == np.asarray(nib.load(second).dataobj).tobytes()


def test_the_same_seed_gives_the_same_bytes(run_of, tmp_path):
    bold = run_of()
    one, two = (complete(bold, out=tmp_path / f"{n}.dtseries.nii", frames=GAPS, seed=5) for n in "ab")
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_nothing_missing_is_refused(run_of, tmp_path):
    with pytest.raises(InputError, match="no frame is missing; name those to fill by --confounds, --censor"):
        complete(run_of(), out=tmp_path / "x.dtseries.nii")


@pytest.mark.parametrize(
    "frames", ["0:99", "100:199", "0:60,90:199", "1:3,5:7,9:11,13:15,17:19,21:23,25:27,29:31,33:199"]
)
def test_long_gaps_leave_finite_estimates(run_of, tmp_path, smooth_frames, cifti_space, frames):
    data = smooth_frames(200, cifti_space.V)
    if frames.startswith("1:3"):
        frames = frames.replace("33:199", "33:175,184:199")
    written = complete(run_of(data=data), out=tmp_path / "x.dtseries.nii", frames=frames)
    values, deviation = (np.asarray(nib.load(path).dataobj) for path in written)
    assert np.isfinite(values).all() and np.isfinite(deviation).all()
    measured = deviation[:, 0] == 0
    span = np.ptp(data[measured], axis=0)
    assert (np.abs(values - data[measured].mean(axis=0)) < 3 * span + 1).all()


def test_eeg_without_a_model_is_refused(run_of, tmp_path):
    with pytest.raises(InputError, match="--eeg needs --model"):
        complete(run_of(), out=tmp_path / "x.dtseries.nii", eeg=tmp_path / "eeg.vhdr")


def test_with_a_model_and_with_its_eeg(recording, tmp_path):
    missing = missing_of(120, (10, 13), (50, 65), (110, 119))
    text = "10:13,50:65,110:119"
    truth = read_bold(recording.bold(3))
    live = (truth.data.std(axis=0) > 0) & np.isfinite(truth.data).all(axis=0)
    r = {}
    for name, beside in {"without": {}, "with": {"eeg": recording.eeg(3)}}.items():
        out = tmp_path / f"{name}_bold.func.gii"
        written = complete(recording.bold(3), out=out, model=recording.model, frames=text, **beside)
        frames, deviation = read_back(list(written[:2])), read_back(list(written[2:]))
        assert frames[~missing].tobytes() == truth.data[~missing].tobytes("C")
        assert (deviation[np.ix_(missing, live)] > 0).all() and (deviation[~missing] == 0).all()
        r[name] = correlation(
            frames[np.ix_(missing, live)].astype(float), truth.data[np.ix_(missing, live)].astype(float)
        )
        about = json.loads(out.with_name(f"{name}_hemi-L_bold.json").read_text())
        assert about["NeuroframesModel"] == str(recording.model)
        assert ("EEG" in about["NeuroframesMethod"]) == (name == "with")
    assert r["without"] > 0.3
    assert r["with"] > r["without"] - 0.02


def test_eeg_follows_the_sidecar_s_slice_time(recording, tmp_path, monkeypatch):
    placed = []

    def times(*_: object, within: float | None, **__: object) -> None:
        placed.append(within)
        raise InputError("enough")

    monkeypatch.setattr("neuroframes.recording.eeg.frame_times", times)
    for side in "LR":
        shutil.copy(recording.bold(3, side), tmp_path)
    bold = tmp_path / recording.bold(3).name
    for corrected in (True, False):
        about = {"RepetitionTime": 1.0, "StartTime": 0.25, "SliceTimingCorrected": corrected}
        write_sidecar(bold, about, overwrite=True)
        with pytest.raises(InputError, match="enough"):
            complete(
                bold, out=tmp_path / "o.func.gii", model=recording.model, eeg=recording.eeg(3), frames="3"
            )
    assert placed == [0.25, None]


def test_draws_agree_with_what_was_measured(run_of, tmp_path):
    bold = run_of(200)
    plain = complete(bold, out=tmp_path / "p_bold.dtseries.nii", frames=GAPS)
    drawn = complete(bold, out=tmp_path / "d_bold.dtseries.nii", frames=GAPS, draws=30, save_draws=True)
    assert [path.name for path in drawn[2:]] == [f"d_draw-{i:02d}_bold.dtseries.nii" for i in range(1, 31)]
    original, mean, closed = (read_bold(path).data for path in (bold, *plain))
    np.testing.assert_array_equal(read_bold(drawn[0]).data, mean)
    draws = np.stack([read_bold(path).data for path in drawn[2:]])
    assert all(draw[~MISSING].tobytes() == original[~MISSING].tobytes() for draw in draws)
    error = (draws[:, MISSING] - mean[MISSING]) / closed[MISSING]
    assert abs(error.mean()) < 0.1 and abs(error.std() - 1) < 0.1
    spread = read_bold(drawn[1]).data
    assert (spread[~MISSING] == 0).all() and abs(spread[MISSING].mean() / closed[MISSING].mean() - 1) < 0.05


def test_draws_of_a_run_by_itself_take_no_pytorch(run_of, tmp_path):
    asked = f"{os.fspath(run_of(60))!r}, out={os.fspath(tmp_path / 'd_bold.dtseries.nii')!r}"
    code = f"import sys, neuroframes; neuroframes.complete({asked}, frames='5:8', draws=2)"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_frames_of_zeros_are_filled_and_said(run_of, smooth_frames, cifti_space, tmp_path, caplog):
    """As AFNI leaves them where it censored: they would pass for measured, and spoil all that is learned."""
    data = smooth_frames(120, cifti_space.V)
    zeros = data.copy()
    zeros[20:23] = 0
    (path, _) = complete(run_of(data=zeros), out=tmp_path / "o.dtseries.nii", frames="60")
    assert "3 frames without a signal, the same value throughout (20, 21, 22): not measured" in caplog.text
    back, missing = read_bold(path), missing_of(120, (20, 22), (60, 60))
    assert back.measured.tolist() == (~missing).tolist()
    assert correlation(back.data[missing], data[missing]) > 0.5
    # What was estimated stays so, whatever its value.
    complete(path, out=tmp_path / "again.dtseries.nii", frames="90")
    assert read_bold(tmp_path / "again.dtseries.nii").data[20:23].tobytes() == back.data[20:23].tobytes()


def test_what_is_outside_the_mask_is_left_out(tmp_path, smooth_frames):
    space = CorticalSpace.from_mask(np.ones((6, 5, 4), bool), np.diag([2.0, 2, 3, 1]))
    (bold,) = write_bold(tmp_path / "a_bold.nii.gz", smooth_frames(100, space.V), space, tr=TR)
    brain = np.arange(120).reshape(6, 5, 4) % 3 > 0
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), space.grid()[1]), tmp_path / "brain.nii.gz")
    mask = tmp_path / "brain.nii.gz"
    frames, deviation = complete(bold, out=tmp_path / "b_bold.nii.gz", frames="30:34", mask=mask)
    before, after = (nib.load(path).get_fdata() for path in (bold, frames))
    assert (after[~brain] == 0).all() and (nib.load(deviation).get_fdata()[brain][:, 30:35] > 0).all()
    np.testing.assert_array_equal(after[brain][:, :30], before[brain][:, :30])
    assert json.loads((tmp_path / "b_bold.json").read_text())["Sources"] == [bold.name, mask.name]
