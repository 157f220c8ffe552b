"""Confounds that are completed along with a run."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds

from neuroframes.commands.complete import complete
from neuroframes.recording.bids import confounds_of
from neuroframes.recording.sidecar import read_sidecar, write_sidecar

MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
BAD = np.isin(np.arange(80), (40, 41, 57))


@pytest.fixture
def beside(tmp_path, smooth_frames):
    """fMRIPrep's table of a run of 80 frames of which three are spoiled, and what should stand there."""
    truth = smooth_frames(80, 10) - 10_000
    table = pd.DataFrame(truth, columns=[*MOTION, "csf", "white_matter", "csf_derivative1", "rmsd"])
    table["framewise_displacement"] = np.where(BAD, 3.0, 0.1)
    text = table.mask(pd.Series(BAD), table + 1e4).map("{:.10f}".format)
    text.loc[0, "csf_derivative1"] = "n/a"
    text["cosine00"] = [f"{np.cos(np.pi * (k + 0.5) / 80):.6f}" for k in range(80)]
    for number, frame in enumerate(np.flatnonzero(BAD)):
        text[f"motion_outlier{number:02d}"] = [f"{float(k == frame)}" for k in range(80)]
    path = tmp_path / "fmriprep" / "sub-01_task-run_desc-confounds_timeseries.tsv"
    path.parent.mkdir()
    text.to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text('{"csf": {"Method": "Mean"}}')
    return path, table


def test_only_what_is_filled_changes_and_nilearn_finds_it(tmp_path, run_of, beside, caplog):
    confounds, truth = beside
    caplog.set_level("INFO", "neuroframes")
    out = tmp_path / "filled" / "sub-01_task-run_space-fsLR_den-91k_desc-completed_bold.dtseries.nii"
    written = complete(run_of(80), out=out, confounds=confounds, fill_confounds=True)
    assert written[-1] == confounds_of(out) == out.with_name(confounds.name)
    for name, n_full in ((confounds.name, 76), ("sub-01_task-run_bold.dtseries.nii", 77)):
        assert f"{name}: {n_full} of 80 frames" in caplog.text
        assert f"{name}: fitting the prior to {n_full} measured frames" in caplog.text
    given, filled = (
        pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in (confounds, written[-1])
    )
    assert [*filled] == [name for name in given if not name.startswith("motion_outlier")]
    assert filled[~BAD].equals(given.loc[~BAD, [*filled]]) and filled["cosine00"].equals(given["cosine00"])
    varying = [name for name in truth if name != "framewise_displacement"]
    values = filled[varying].replace("n/a", "nan").astype(float)
    error = (values - truth[varying])[BAD].abs().mean() / truth[varying].std()
    assert error.mean() < 0.5
    assert (filled.loc[BAD, "framewise_displacement"].astype(float) < 0.2).all()
    assert written[-1].with_suffix(".json").read_text() == confounds.with_suffix(".json").read_text()
    columns, kept = load_confounds(str(out), strategy=("motion", "high_pass", "wm_csf"), motion="basic")
    assert len(columns) == 80 and kept is None
    np.testing.assert_allclose(columns["csf"], values["csf"] - values["csf"].mean(), atol=1e-6)
    assert nib.load(out).shape[0] == 80


def test_lines_of_a_run_that_pauses_are_its_volumes(tmp_path, run_of, beside):
    confounds, _ = beside
    bold, at = run_of(80, tr=2.0), np.array([*range(30), *range(37, 87)])
    write_sidecar(bold, {"VolumeTiming": (2.0 * at).tolist()})
    image, *_, table = complete(
        bold, out=tmp_path / "x_bold.dtseries.nii", confounds=confounds, fill_confounds=True
    )
    data, given = (
        nib.load(bold).get_fdata(),
        pd.read_csv(confounds, sep="\t", dtype=str, keep_default_na=False),
    )
    measured = np.isin(np.arange(87), at[~BAD])
    frames, about = nib.load(image), read_sidecar(image)
    assert frames.shape[0] == 87 and frames.header.get_axis(0).step == about["RepetitionTime"] == 2.0
    assert about["NeuroframesMeasured"] == measured.tolist() and "VolumeTiming" not in about
    np.testing.assert_array_equal(frames.get_fdata()[measured], data[~BAD])
    assert np.isfinite(frames.get_fdata()).all()
    filled = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    assert filled[measured].reset_index(drop=True).equals(given.loc[~BAD, [*filled]].reset_index(drop=True))
    assert np.isfinite(filled.drop(index=0).astype(float)).all(axis=None)


def test_a_table_isn_t_written_over_and_nothing_is_without_it(refused, tmp_path, run_of, beside):
    confounds, _ = beside
    asked = (
        "complete",
        run_of(80),
        "--fill-confounds",
        "--out",
        confounds.parent / "sub-01_task-run_bold.dtseries.nii",
    )
    assert "--fill-confounds needs --confounds" in refused(*asked, "--frames", "3")
    for more in ((), ("--overwrite",)):
        error = refused(*asked, "--confounds", confounds, *more)
        assert f"{confounds.name}, which is read here; choose another --out" in error
    mark = tmp_path / "only.tsv"
    mark.write_text("motion_outlier00\n" + "0\n" * 79 + "1\n")
    error = refused(*asked[:-1], "o_bold.dtseries.nii", "--confounds", mark)
    assert "only.tsv: no column that could be completed; leave --fill-confounds out" in error
