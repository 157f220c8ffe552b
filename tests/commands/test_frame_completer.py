"""Completion in scikit-learn's hands."""

import pickle

import nibabel as nib
import numpy as np
import pytest
from nilearn.connectome import ConnectivityMeasure
from nilearn.maskers import NiftiLabelsMasker
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from neuroframes.commands.complete import complete
from neuroframes.commands.frame_completer import FrameCompleter
from neuroframes.errors import InputError

TR, K = 2.0, 60
MISSING = np.isin(np.arange(K), [20, 21, 22, 40])


@pytest.fixture
def frames(smooth_frames) -> np.ndarray:
    return smooth_frames(K, 12)


def without(frames: np.ndarray) -> np.ndarray:
    return np.where(MISSING[:, None], np.nan, frames)


@parametrize_with_checks([FrameCompleter(tr=TR)])
def test_it_is_an_estimator(estimator, check):
    check(estimator)


def test_a_run_is_filled_as_complete_fills_it(frames):
    completer = FrameCompleter(tr=TR).fit(frames)
    expected, _ = complete(without(frames), bold_tr=TR)
    np.testing.assert_array_equal(completer.transform(without(frames)), expected)
    kept = np.flatnonzero(~MISSING)
    np.testing.assert_array_equal(completer.transform(frames, sample_mask=kept), expected)
    np.testing.assert_array_equal(completer.transform([frames], sample_mask=[~MISSING])[0], expected)
    alike = np.where(MISSING[:, None], 7, frames)  # 0 comes of maskers, other values of scaling
    np.testing.assert_array_equal(completer.transform(alike), expected)
    assert completer.prior_ is None
    # A list of one has no others to learn from.
    np.testing.assert_array_equal(FrameCompleter(tr=TR).fit_transform([without(frames)])[0], expected)
    np.testing.assert_array_equal(completer.transform(frames), frames)


def test_a_region_without_values_is_no_missing_frame(frames):
    frames[:, 3] = np.nan
    np.testing.assert_array_equal(FrameCompleter(tr=TR).fit_transform(frames), frames)


def test_other_people_s_runs_teach_a_prior(people):
    runs = [np.load(path)["bold"] for path in people.runs[:4]]
    given = runs[0].copy()
    given[20:120] = np.nan
    completer = clone(FrameCompleter(tr=2.0)).fit(runs[1:])
    assert list(completer.prior_.population.people) == ["sub-1", "sub-2", "sub-3"]
    filled = completer.transform(given)
    np.testing.assert_array_equal(filled[:20], runs[0][:20])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(completer)).transform(given), filled)
    # Among those that are fitted, each is filled by what the others teach.
    (first, *others) = FrameCompleter(tr=2.0).fit_transform([given, *runs[1:]])
    np.testing.assert_array_equal(others[0], runs[1])
    assert not np.array_equal(first, FrameCompleter(tr=2.0).fit_transform(given))


def test_frames_that_a_sample_mask_leaves_out_teach_nothing(frames):
    spoiled = np.where(MISSING[:, None], 1000.0 * np.arange(12), frames)
    expected = FrameCompleter(tr=TR).fit_transform([without(frames), without(frames)])
    masks = [~MISSING, np.flatnonzero(~MISSING)]
    filled = FrameCompleter(tr=TR).fit_transform([spoiled, spoiled], sample_mask=masks)
    np.testing.assert_array_equal(filled, expected)


def test_between_a_masker_and_connectivity(smooth_frames):
    labels = np.repeat(np.arange(1, 13), 2).reshape(2, 3, 4)
    values = np.repeat(smooth_frames(K, 12), 2, axis=1).T.reshape(2, 3, 4, K)
    values[..., MISSING] = 0  # as the masker itself does where it finds NaN
    image, atlas = (nib.Nifti1Image(each, np.eye(4)) for each in (values, labels.astype(np.int16)))
    masker = NiftiLabelsMasker(atlas, standardize=None, keep_masked_labels=False)
    series = masker.fit_transform(image)
    pipeline = make_pipeline(FrameCompleter(tr=TR), ConnectivityMeasure(kind="correlation", standardize=None))
    (matrix,) = pipeline.fit_transform([series, series])[:1]
    filled = FrameCompleter(tr=TR).fit_transform([series, series])[0]
    assert filled[MISSING].all()
    expected = ConnectivityMeasure(kind="correlation", standardize=None).fit_transform([filled])[0]
    np.testing.assert_allclose(matrix, expected)


def test_what_cannot_be(frames):
    with pytest.raises(InputError, match=r"FrameCompleter\(tr=2.0\)"):
        FrameCompleter().fit(frames)
    completer = FrameCompleter(tr=TR).fit(frames)
    with pytest.raises(InputError, match="sample mask that doesn't fit 60 frames"):
        completer.transform(frames, sample_mask=[1, 60])
    with pytest.raises(InputError, match="-1 is negative"):
        completer.transform(frames, sample_mask=[1, -1])
    with pytest.raises(InputError, match="2 sample masks for 1 run;"):
        completer.transform([frames], sample_mask=[[1], [2]])
    with pytest.raises(InputError, match="at least 16 are needed"):
        completer.transform(frames, sample_mask=[1, 2, 3])
    with pytest.raises(InputError, match="no run has 61 measured frames"):
        FrameCompleter(tr=TR, fewest_frames=61).fit([frames, frames])
