"""Confounds and drifts are regressed out as nilearn does it, without censored frames."""

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.signal import clean

from neuroframes.errors import InputError
from neuroframes.recording.nuisance import read_confounds, without_nuisance

K, TR = 80, 2.0
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]


@pytest.fixture
def table(tmp_path):
    names = [*MOTION, "csf", "white_matter", "framewise_displacement", "cosine00"]
    values = np.random.default_rng(0).standard_normal((K, len(names)))
    path = tmp_path / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    pd.DataFrame(values, columns=names).to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text("{}")
    return path


def test_columns_and_strategies(table, tmp_path):
    own = pd.read_csv(table, sep="\t")
    pd.testing.assert_frame_equal(read_confounds(table, "csf, rot_x"), own[["csf", "rot_x"]])
    image = str(tmp_path / "sub-01_task-rest_space-X_desc-preproc_bold.nii.gz")
    taken, _ = load_confounds(image, strategy=["high_pass"], demean=False)
    got = read_confounds(table, "high_pass,csf")
    assert list(got) == ["csf", *taken]
    np.testing.assert_allclose(got["cosine00"], taken["cosine00"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("cfs", "has no column cfs, nor can nilearn take it as a strategy"),
        ("compcor", "high_pass"),
        ("scrub,csf", "frames are censored by --fd-threshold"),
    ],
)
def test_what_is_neither(table, asked, message):
    with pytest.raises(InputError, match=message):
        read_confounds(table, asked)


def test_strategies_are_of_later_fmriprep(table):
    old = table.rename(table.with_name("sub-01_task-rest_bold_confounds.tsv"))
    assert list(read_confounds(old, "csf")) == ["csf"]
    with pytest.raises(InputError, match="motion, and nilearn .* name columns of the table instead: trans_x"):
        read_confounds(old, "csf,motion")


@pytest.mark.parametrize("high_pass", [None, 0.01])
def test_it_is_nilearn_s(table, high_pass):
    generator = np.random.default_rng(1)
    frames = (1000 + generator.standard_normal((K, 5))).astype(np.float32)
    frames[:, 3], frames[:, 4] = 1000, np.nan
    measured = np.ones(K, bool)
    measured[[3, 40, 41]] = False
    confounds = read_confounds(table, "csf,trans_x")
    got = without_nuisance(frames, measured, confounds, high_pass, TR, "run")
    expected = clean(
        frames[:, :4].astype(float),
        sample_mask=np.flatnonzero(measured),
        confounds=confounds,
        filter="cosine" if high_pass else False,
        high_pass=high_pass,
        t_r=TR,
        detrend=False,
        standardize=None,
    )
    np.testing.assert_allclose(got[measured, :4], expected, rtol=1e-6)
    assert np.isnan(got[~measured]).all() and np.isnan(got[:, 4]).all()
    np.testing.assert_allclose(got[measured].mean(0)[:4], frames[measured].mean(0)[:4], rtol=1e-6)
    # What stands in censored frames bends nothing.
    spoiled = frames.copy()
    spoiled[~measured] = 1e6
    np.testing.assert_allclose(
        without_nuisance(spoiled, measured, confounds, high_pass, TR, "run")[measured], got[measured]
    )


def test_drifts_go_beside_a_regressor_that_drifts():
    drift = np.cos(np.pi * (np.arange(K) + 0.5) / K)
    slow = np.cos(2 * np.pi * (np.arange(K) + 0.5) / K)
    frames = (100 + np.outer(slow, [1, 2, 3])).astype(np.float32)
    found = without_nuisance(frames, np.ones(K, bool), pd.DataFrame({"rot_x": drift}), 0.02, TR, "run")
    assert found.std(axis=0).max() < 1e-4 < frames.std(axis=0).min()


@pytest.mark.parametrize("high_pass", [0.0001, 0.25])
def test_a_high_pass_that_means_nothing_is_refused(high_pass):
    with pytest.raises(InputError, match=r"have drifts from 0.0031 to 0.25 Hz: choose one between"):
        without_nuisance(np.ones((K, 2), np.float32), np.ones(K, bool), None, high_pass, TR, "run")


def test_more_regressors_than_frames(table):
    with pytest.raises(InputError, match="run: 80 measured frames for 79 regressors"):
        without_nuisance(np.ones((K, 2), np.float32), np.ones(K, bool), None, 0.249, TR, "run")
