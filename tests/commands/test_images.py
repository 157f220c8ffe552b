"""Images in memory go in and come back as they are."""

import nibabel as nib
import numpy as np
import pytest
from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage

from neuroframes import complete, complete_image, resample_image
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold

K, TR = 60, 0.8
FRAMES = "30:34"
MISSING = np.isin(np.arange(K), np.arange(30, 35))


def test_nifti(tmp_path, smooth_frames):
    values = smooth_frames(K, 60).T.reshape(5, 4, 3, K)
    image = nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1]))
    image.header.set_zooms((2, 2, 3, TR))
    image.set_sform(image.affine, 4)
    filled = complete_image(image, frames=FRAMES)
    assert type(filled.frames) is nib.Nifti1Image and filled.measured.tolist() == (~MISSING).tolist()
    nib.save(image, tmp_path / "image.nii")
    frames, deviation = complete(tmp_path / "image.nii", out=tmp_path / "o.nii", frames=FRAMES)
    for part, file in ((filled.frames, frames), (filled.deviation, deviation)):
        np.testing.assert_array_equal(part.get_fdata(), nib.load(file).get_fdata())
        assert part.header["sform_code"] == 4 and np.array_equal(part.affine, image.affine)
    finer = resample_image(image, tr=TR / 2, frames=FRAMES)
    assert finer.frames.shape[3] == 2 * K - 1 and finer.frames.header.get_zooms()[3] == np.float32(TR / 2)
    np.testing.assert_array_equal(finer.frames.get_fdata()[..., ::2][..., ~MISSING], values[..., ~MISSING])


def test_cifti(run_of):
    path = run_of(K)
    image = nib.load(path)
    filled = complete_image(image, frames=FRAMES)
    assert filled.frames.header.get_axis(0) == image.header.get_axis(0)
    assert filled.frames.header.get_axis(1) == image.header.get_axis(1)
    np.testing.assert_array_equal(filled.frames.get_fdata()[~MISSING], read_bold(path).data[~MISSING])
    assert (filled.deviation.get_fdata()[MISSING] > 0).all()


def test_parcels(smooth_frames):
    models = nib.cifti2.BrainModelAxis.from_surface(np.arange(8), 10, name="CortexLeft")
    axis = nib.cifti2.ParcelsAxis.from_brain_models([(f"area {n}", models[n : n + 1]) for n in range(8)])
    series = nib.cifti2.SeriesAxis(0, TR, K)
    image = nib.Cifti2Image(smooth_frames(K, 8), (series, axis))
    assert complete_image(image, frames=FRAMES).frames.header.get_axis(1) == axis


def surface(smooth_frames, **parts: int) -> SurfaceImage:
    mesh = {
        side: InMemoryMesh(np.random.default_rng(0).standard_normal((n, 3)), np.array([[0, 1, 2]]))
        for side, n in parts.items()
    }
    return SurfaceImage(PolyMesh(**mesh), {side: smooth_frames(K, n).T for side, n in parts.items()})


def test_surfaces_of_nilearn(smooth_frames):
    image = surface(smooth_frames, left=30, right=20)
    filled = complete_image(image, frames=FRAMES, bold_tr=TR)
    assert isinstance(filled.frames, SurfaceImage) and filled.frames.shape == filled.deviation.shape == (
        50,
        K,
    )
    for side in ("left", "right"):
        before, after = (of.data.parts[side] for of in (image, filled.frames))
        np.testing.assert_array_equal(after[:, ~MISSING], before[:, ~MISSING])
        assert (filled.deviation.data.parts[side][:, MISSING] > 0).all()
    with pytest.raises(InputError, match="SurfaceImage: states no TR; pass bold_tr"):
        complete_image(image, frames=FRAMES)


def test_other_objects_are_refused(smooth_frames):
    with pytest.raises(InputError, match="SurfaceImage: expected two hemispheres"):
        complete_image(surface(smooth_frames, left=30), frames=FRAMES, bold_tr=TR)
    for other in (np.zeros((3, 3)), nib.MGHImage(np.zeros((3, 3, 3, 3), np.float32), np.eye(4))):
        with pytest.raises(InputError, match=f"image: {type(other).__name__}; expected a NIfTI or CIFTI"):
            complete_image(other, frames=FRAMES)
