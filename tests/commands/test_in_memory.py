"""Runs that are objects: the same frames as from files, as the same kind of object."""

from pathlib import Path

import mne
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import Cifti2Image, SeriesAxis
from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage

from neuroframes.commands.complete import complete
from neuroframes.commands.in_memory import on_grid
from neuroframes.commands.resample import resample
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, write_bold

TR, K = 0.8, 60
FRAMES = "20:22,40"
MISSING = np.isin(np.arange(K), [20, 21, 22, 40])


@pytest.fixture
def frames(smooth_frames) -> np.ndarray:
    return smooth_frames(K, 24)


def expected(folder: Path, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What comes of a file of the same numbers."""
    np.savez(folder / "run.npz", bold=frames, tr=TR)
    filled, deviation = complete(folder / "run.npz", out=folder / "filled.npz", frames=FRAMES)
    return read_bold(filled).data, read_bold(deviation).data


def test_arrays(tmp_path, frames):
    filled, deviation = complete(frames, bold_tr=TR, frames=FRAMES)
    for got, from_file in zip((filled, deviation), expected(tmp_path, frames), strict=True):
        np.testing.assert_array_equal(got, from_file)
    assert filled.dtype == np.float32


def test_doubles_stay_what_they_are(frames):
    doubles = frames.astype(np.float64) + 1e-9
    doubles[MISSING] = np.nan
    filled, _ = complete(doubles, bold_tr=TR)
    assert filled.dtype == np.float64
    np.testing.assert_array_equal(filled[~MISSING], doubles[~MISSING])
    assert np.isfinite(filled).all()


def test_times_say_which_frames_were_taken_out(frames):
    kept = ~MISSING
    filled, deviation = complete(frames[kept], times=7 + TR * np.flatnonzero(kept))
    np.testing.assert_array_equal(filled, complete(frames, bold_tr=TR, frames=FRAMES)[0])
    assert (deviation[MISSING] > 0).all()


@pytest.mark.parametrize(
    ("times", "tr", "message"),
    [
        ([0, 1, 2], None, r"times of shape \(3,\) for 4 frames"),
        ([0, 2, 1, 3], None, "increasing"),
        ([0, 1, 2.4, 3.4], None, "frames 1 and 2 are 1.4 s apart, no multiple of a TR of 1.13333 s"),
        ([0, 1, 2, 3], 2.0, "no multiple of a TR of 2 s within 5%; pass the TR"),
        ([0, 1, 2, 1e7], None, "in 1e[+]07 s, at a TR of 1 s; expected less than 10 TRs a frame"),
        ([0, 1, 2, np.inf], None, "increasing"),
        ([0, 800, 1600, 2400], None, "a TR of 800.0; expected .*: 0.8, if milliseconds"),
        ([0, 1, 2, 3], 0.0, "a TR of 0.0; expected a finite number of at least 0.01"),
    ],
)
def test_times_that_are_none(times, tr, message):
    with pytest.raises(InputError, match=message):
        on_grid(np.ones((4, 2)), times, tr)


def test_times_that_jitter():
    """None is off by more than 1 % of the TR, but the shortest interval makes 47 TRs of 46."""
    kept = np.delete(np.arange(47), [20, 21])
    values, tr = on_grid(np.ones((45, 2)), 2.0 * kept + 0.02 * (-1.0) ** np.arange(45), None)
    assert tr == pytest.approx(2, rel=1e-3)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(values[:, 0])), kept)


def test_a_volume(tmp_path, frames):
    scaled = np.zeros((2, 3, 5, K), np.int16)
    scaled.reshape(30, K)[:24] = np.rint(1000 * frames.T)
    image = nib.Nifti1Image(scaled, np.diag([2.0, 2, 3, 1]))
    image.header.set_zooms((2, 2, 3, TR))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(0.01, 10.3)
    nib.save(image, tmp_path / "sub-01_bold.nii.gz")
    loaded = nib.load(tmp_path / "sub-01_bold.nii.gz")
    filled, deviation = complete(loaded, frames=FRAMES)
    assert isinstance(filled, nib.Nifti1Image) and filled.header.get_zooms()[3] == pytest.approx(TR)
    original = loaded.get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(filled.get_fdata(dtype=np.float32)[..., ~MISSING], original[..., ~MISSING])
    from_file, _ = complete(tmp_path / "sub-01_bold.nii.gz", out=tmp_path / "out_bold.nii", frames=FRAMES)
    np.testing.assert_array_equal(filled.get_fdata(), nib.load(from_file).get_fdata())
    assert (deviation.get_fdata()[..., ~MISSING] == 0).all()


def test_what_a_sidecar_calls_estimated_stays_so_in_an_image_that_was_loaded(tmp_path, frames):
    space = CorticalSpace.from_mask(np.ones((2, 3, 4), bool), np.eye(4))
    write_bold(tmp_path / "bold.nii.gz", frames, space, tr=TR)
    first = complete(tmp_path / "bold.nii.gz", out=tmp_path / "filled_bold.nii.gz", frames=FRAMES)
    filled, deviation = complete(nib.load(first[0]), frames="50")
    np.testing.assert_array_equal(
        deviation.get_fdata()[..., MISSING], nib.load(first[1]).get_fdata()[..., MISSING]
    )
    again = complete(first[0], out=tmp_path / "again_bold.nii.gz", frames="50")
    np.testing.assert_array_equal(filled.get_fdata(), nib.load(again[0]).get_fdata())


def test_the_mask_beside_an_image_counts_as_beside_its_file(tmp_path, frames, caplog):
    space, name = CorticalSpace.from_mask(np.ones((2, 3, 4), bool), np.eye(4)), "sub-01_desc-{}_bold.nii.gz"
    write_bold(tmp_path / name.format("preproc"), frames, space, tr=TR)
    brain = np.ones((2, 3, 4), np.uint8)
    brain[0, 0] = 0
    nib.save(nib.Nifti1Image(brain, np.eye(4)), mask := tmp_path / "sub-01_desc-brain_mask.nii.gz")
    first = complete(tmp_path / name.format("preproc"), out=tmp_path / name.format("filled"), frames=FRAMES)
    loaded, _ = complete(nib.load(tmp_path / name.format("preproc")), frames=FRAMES)
    np.testing.assert_array_equal(loaded.get_fdata(), nib.load(first[0]).get_fdata())
    assert (loaded.get_fdata()[0, 0] == 0).all()
    # What complete wrote states its voxels itself.
    again, _ = complete(nib.load(first[0]), frames="50")
    assert (again.get_fdata()[0, 0] == 0).all()
    nib.save(nib.Nifti1Image(brain[:, :2], np.eye(4)), mask)
    complete(nib.load(tmp_path / name.format("preproc")), frames=FRAMES)
    assert "desc-brain_mask.nii.gz isn't used: it has another grid than sub-01_desc-preproc" in caplog.text


def test_cifti(tmp_path, cifti_space, smooth_frames):
    data = smooth_frames(K, cifti_space.V)
    image = Cifti2Image(data, (SeriesAxis(2.0, TR, K), cifti_space.axis()))
    filled, deviation = complete(image, frames=FRAMES)
    assert isinstance(filled, Cifti2Image)
    assert filled.header.get_axis(0).start == 2 and filled.header.get_axis(0).step == pytest.approx(TR)
    assert filled.header.get_axis(1) == cifti_space.axis()
    np.testing.assert_array_equal(filled.get_fdata(dtype=np.float32)[~MISSING], data[~MISSING])
    assert (deviation.get_fdata()[MISSING] > 0).all()


def meshes() -> PolyMesh:
    faces = np.array([[0, 1, 2]])
    return PolyMesh(*(InMemoryMesh(np.zeros((n, 3), np.float32), faces) for n in (14, 10)))


def test_a_surface_image(tmp_path, frames):
    image = SurfaceImage(meshes(), {"left": frames[:, :14].T, "right": frames[:, 14:].T})
    filled, deviation = complete(image, bold_tr=TR, frames=FRAMES)
    assert isinstance(filled, SurfaceImage) and filled.mesh is image.mesh
    for part in ("left", "right"):
        got = filled.data.parts[part]
        np.testing.assert_array_equal(got[:, ~MISSING], image.data.parts[part][:, ~MISSING])
        assert (deviation.data.parts[part][:, MISSING] > 0).all()
    np.testing.assert_allclose(
        np.vstack([*filled.data.parts.values()]).T, expected(tmp_path, frames)[0], rtol=1e-5, atol=1e-5
    )
    with pytest.raises(InputError, match="states no TR; pass bold_tr"):
        complete(image, frames=FRAMES)


def test_what_states_no_tr_is_told_to_say_it(frames):
    image = nib.Nifti1Image(frames.T.reshape(2, 3, 4, K), np.eye(4))
    image.header["pixdim"][4] = 0
    for bold in (frames, image):
        with pytest.raises(InputError, match=f"{type(bold).__name__}: it states no TR; pass bold_tr, in sec"):
            complete(bold, frames=FRAMES)


def test_gifti_alone_and_in_pairs(tmp_path, frames):
    files = write_bold(tmp_path / "b.func.gii", frames, CorticalSpace.from_counts({"L": 14, "R": 10}), tr=TR)
    pair = tuple(map(nib.load, files))
    left, right, *_ = complete(pair, frames=FRAMES)
    np.testing.assert_array_equal(left.agg_data().T[~MISSING], frames[~MISSING, :14])
    np.testing.assert_array_equal(right.agg_data().T[~MISSING], frames[~MISSING, 14:])
    alone, deviation = complete(pair[1], frames=FRAMES)
    assert alone.darrays[0].meta or alone.meta["AnatomicalStructurePrimary"] == "CortexRight"
    assert len(deviation.darrays) == K
    del pair[0].meta["AnatomicalStructurePrimary"]
    with pytest.raises(InputError, match="which hemisphere it is; set meta"):
        complete(pair[0], frames=FRAMES)


def test_tables_beside_may_be_objects(frames):
    confounds = pd.DataFrame({"framewise_displacement": np.where(MISSING, 1.0, 0.1), "csf": frames[:, 0]})
    by_frames, _ = complete(frames, bold_tr=TR, frames=FRAMES)
    np.testing.assert_array_equal(complete(frames, bold_tr=TR, confounds=confounds)[0], by_frames)
    np.testing.assert_array_equal(complete(frames, bold_tr=TR, censor=MISSING)[0], by_frames)
    *_, table = complete(frames, bold_tr=TR, confounds=confounds, fill_confounds=True)
    assert isinstance(table, pd.DataFrame) and len(table) == K
    with pytest.raises(InputError, match="expected booleans, True = missing"):
        complete(frames, bold_tr=TR, censor=np.flatnonzero(~MISSING))


def test_they_may_be_beside_a_path_too(tmp_path, frames):
    space = CorticalSpace.from_mask(np.ones((2, 3, 4), bool), np.eye(4))
    (path,) = write_bold(tmp_path / "run_bold.nii", frames, space, tr=TR)
    mask = nib.Nifti1Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.eye(4))
    given = {"mask": mask, "confounds": pd.DataFrame({"framewise_displacement": 1.0 * MISSING})}
    first, *_ = complete(path, out=tmp_path / "a_bold.nii", **given)
    second, *_ = complete(path, out=tmp_path / "b_bold.nii", censor=MISSING, mask=mask)
    expected, _ = complete(nib.load(path), frames=FRAMES, mask=mask)
    for got in (first, second):
        np.testing.assert_array_equal(nib.load(got).get_fdata(), expected.get_fdata())
    for name, kind in {"confounds": "DataFrame", "mask": "image of nibabel"}.items():
        with pytest.raises(InputError, match=f"{name}: ndarray; expected an? {kind}"):
            complete(path, out=tmp_path / "c_bold.nii", **{name: frames})


def test_a_raw_recording_is_the_eeg(recording, tmp_path):
    left, right = (nib.load(recording.bold(3, side)) for side in "LR")
    raw = mne.io.read_raw_brainvision(recording.eeg(3), preload=True, verbose="error")
    options = {"model": recording.model, "frames": "60:75"}
    filled, *_ = complete((left, right), eeg=raw, **options)
    from_files = complete(
        recording.bold(3), eeg=recording.eeg(3), out=tmp_path / "filled.func.gii", **options
    )
    np.testing.assert_allclose(filled.agg_data(), nib.load(from_files[0]).agg_data(), rtol=1e-4, atol=1e-3)


def test_resampled_objects(frames):
    finer, deviation = resample(frames, tr=TR / 2, bold_tr=TR)
    np.testing.assert_array_equal(finer[::2], frames)
    assert finer.shape == deviation.shape == (2 * K - 1, 24)


def test_out_is_written_all_the_same(tmp_path, frames):
    written = complete(frames, bold_tr=TR, frames=FRAMES, out=tmp_path / "filled.npz")
    assert written[0] == tmp_path / "filled.npz" and not read_bold(written[0]).measured[20]


def test_what_is_no_run(tmp_path, frames):
    with pytest.raises(InputError, match="list of shape.*expected a path, an image"):
        complete(["a", "b"], bold_tr=TR)
    with pytest.raises(InputError, match="ndarray: it states no TR; pass bold_tr"):
        complete(frames, frames=FRAMES)
    with pytest.raises(InputError, match="complex numbers; pass their magnitude"):
        complete(nib.Nifti1Image(np.ones((2, 2, 2, 20), np.complex64), np.eye(4)), frames="3")
    np.savez(tmp_path / "run.npz", bold=frames, tr=TR)
    with pytest.raises(InputError, match="pass out"):
        complete(tmp_path / "run.npz", frames=FRAMES)
    with pytest.raises(InputError, match="times are of the frames of an array"):
        complete(tmp_path / "run.npz", out=tmp_path / "o.npz", times=[1])
