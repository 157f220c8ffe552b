"""Volumes: what nibabel reads is read, and what its header says of place and units is written again."""

import gzip
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.bold import bold_files, read_bold, write_bold
from neuroframes.recording.sidecar import write_sidecar

SHAPE, K = (4, 3, 5), 6
AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2.0, 0, -120], [0, 0, 2.5, -70], [0, 0, 0, 1]])
OBLIQUE = AFFINE @ np.array([[0.8, -0.6, 0, 3], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
GEOMETRY = ("sform_code", "qform_code", "quatern_b", "qoffset_x", "srow_x", "srow_y", "srow_z", "xyzt_units")


def values() -> np.ndarray:
    data = 100 + np.random.default_rng(0).standard_normal((*SHAPE, K)).astype(np.float32)
    data[0, 0] = 0
    return data


def save(path: Path, data: np.ndarray, kind: type = nib.Nifti1Image, units=("mm", "sec"), tr=2.0) -> Path:
    image = kind(data, AFFINE)
    image.header.set_xyzt_units(*units)
    image.header.set_zooms((*image.header.get_zooms()[:3], *[1.0] * (data.ndim - 4), tr))
    nib.save(image, path)
    return path


@pytest.mark.parametrize("units", [("mm", "sec"), ("mm", "msec"), ("meter", "usec"), ("micron", "sec")])
@pytest.mark.parametrize(
    ("sform", "qform"),
    [
        ((4, AFFINE), (4, AFFINE)),
        ((2, AFFINE), (1, OBLIQUE)),
        ((0, None), (3, OBLIQUE)),
        ((0, None), (0, None)),
    ],
)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_place_and_units_of_nifti_are_written_as_read(tmp_path, kind, sform, qform, units):
    image = kind(values(), AFFINE)
    image.header.set_qform(qform[1], qform[0])
    image.header.set_sform(sform[1], sform[0])
    image.header.set_xyzt_units(*units)
    image.header.set_intent("time series")
    image.header.set_zooms((*image.header.get_zooms()[:3], {"sec": 2, "msec": 2000, "usec": 2e6}[units[1]]))
    nib.save(kind(values(), None, image.header), tmp_path / "in.nii")
    bold = read_bold(tmp_path / "in.nii")
    assert bold.tr == 2.0
    for place in (bold.space, type(bold.space).from_json(bold.space.to_json())):
        write_bold(tmp_path / "out.nii.gz", bold.data, place, tr=bold.tr, overwrite=True)
        before, after = (nib.load(tmp_path / name) for name in ("in.nii", "out.nii.gz"))
        assert type(after) is kind
        np.testing.assert_array_equal(after.affine, before.affine)
        for name in (*GEOMETRY, "pixdim", "intent_code"):
            np.testing.assert_array_equal(after.header[name], before.header[name], err_msg=name)
        np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())


@pytest.mark.parametrize("form", ["big-endian", "scaled", "double", "pair", "5-D", "5-D at the end"])
def test_forms_of_nifti(tmp_path, form):
    data, path = values(), tmp_path / "run.nii"
    if form == "big-endian":
        nib.save(nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=">")), path)
    elif form == "scaled":
        image = nib.Nifti1Image(np.rint(data).astype(np.int16), AFFINE)
        image.header.set_slope_inter(0.5, 10)
        nib.save(image, path)
        data = np.float32(nib.load(path).get_fdata())
    elif form == "pair":
        path = tmp_path / "run.img"
        nib.save(nib.Nifti1Pair(data, AFFINE), path)
    else:
        save(path, {"double": data.astype(float), "5-D": data[..., None, :]}.get(form, data[..., None]))
    bold = read_bold(path, tr=2.0)
    inside = data.any(axis=3)
    np.testing.assert_array_equal(bold.data, data[inside].T)
    np.testing.assert_array_equal(bold.space.grid()[1], nib.load(path).affine)
    (out,) = write_bold(tmp_path / "out.nii", bold.data, bold.space, tr=2.0)
    np.testing.assert_array_equal(nib.load(out).get_fdata(), np.where(inside[..., None], data, 0))


def test_the_tr_of_an_image_with_an_empty_axis(tmp_path):
    assert read_bold(save(tmp_path / "run.nii", values()[..., None, :], tr=1.5)).tr == 1.5


def write_afni(folder: Path, data: np.ndarray, unit: int, tr: float) -> Path:
    def numbers(kind: str, name: str, entries) -> str:
        listed = " ".join(map(str, entries))
        return f"\ntype = {kind}-attribute\nname = {name}\ncount = {len(entries)}\n {listed}\n"

    def text(name: str, entry: str) -> str:
        return f"\ntype = string-attribute\nname = {name}\ncount = {len(entry) + 1}\n'{entry}~\n"

    n_frames = data.shape[3]
    header = text("TYPESTRING", "3DIM_HEAD_ANAT") + text("BYTEORDER_STRING", "LSB_FIRST")
    header += numbers("integer", "DATASET_RANK", [3, n_frames, 0, 0, 0, 0, 0, 0])
    header += numbers("integer", "DATASET_DIMENSIONS", [*data.shape[:3], 0, 0])
    header += numbers("integer", "BRICK_TYPES", [3] * n_frames)
    header += numbers("float", "BRICK_FLOAT_FACS", [0] * n_frames)
    header += numbers("integer", "ORIENT_SPECIFIC", [0, 3, 4]) + numbers("float", "ORIGIN", [0, 0, 0])
    header += numbers("float", "DELTA", [3, 3, 3])
    header += numbers("float", "IJK_TO_DICOM_REAL", [3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0])
    header += numbers("integer", "TAXIS_NUMS", [n_frames, 0, unit])
    header += numbers("float", "TAXIS_FLOATS", [0, tr, 0, 0, 0])
    header += numbers("integer", "SCENE_DATA", [0, 2, 0, *[-999] * 5]) + text("TEMPLATE_SPACE", "ORIG")
    (folder / "run+orig.HEAD").write_text(header)
    (folder / "run+orig.BRIK").write_bytes(data.astype("<f4").tobytes(order="F"))
    return folder / "run+orig.HEAD"


@pytest.mark.parametrize(("unit", "tr"), [(77002, 1.5), (77001, 1500)])
def test_afni_states_its_unit_of_time(tmp_path, unit, tr):
    bold = read_bold(write_afni(tmp_path, values(), unit, tr))
    assert bold.tr == 1.5
    np.testing.assert_array_equal(bold.data, values()[values().any(axis=3)].T)
    with pytest.raises(InputError, match="a TR of nan s is stated"):
        read_bold(write_afni(tmp_path, values(), 77003, tr))


@pytest.mark.parametrize("kind", [nib.AnalyzeImage, nib.Spm99AnalyzeImage, nib.Spm2AnalyzeImage])
def test_analyze(tmp_path, kind):
    image = kind(values(), np.diag([-2.0, 2, 2, 1]))
    image.header.set_zooms((2, 2, 2, 1.5))
    nib.save(image, tmp_path / "run.img")
    bold = read_bold(tmp_path / "run.img")
    assert bold.tr == 1.5
    np.testing.assert_array_equal(bold.data, values()[values().any(axis=3)].T)
    with pytest.raises(InputError, match=r"run.img: frames of a volume space are written as .nii.gz"):
        write_bold(tmp_path / "run.img", bold.data, bold.space, tr=1.5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (values() * 1j, r"its values are complex \(complex64\); .*: export the magnitude"),
        (np.zeros((*SHAPE, K), [(c, "u1") for c in "RGB"]), "its values are colours"),
        (values()[..., 0], "3-D; expected a 4-D image.*; join a run's volumes"),
        (np.stack([values()] * 2, axis=4), "5-D; expected a 4-D image.*; split it"),
    ],
)
def test_images_that_hold_no_frames(tmp_path, data, message):
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "run.nii.gz")
    with pytest.raises(InputError, match=f"run.nii.gz: {message}"):
        read_bold(tmp_path / "run.nii.gz", tr=2.0)


def test_a_fourth_axis_that_is_not_time(tmp_path):
    path = save(tmp_path / "run.nii", values(), units=("mm", "hz"))
    with pytest.raises(InputError, match="run.nii: its fourth axis is in hz, not in seconds; .* --bold-tr"):
        read_bold(path)
    assert read_bold(path, tr=2.0).tr == 2.0


def test_frames_of_nan_say_nothing_of_the_background(tmp_path):
    data = values()
    data[..., 2] = np.nan
    data[2, 1, 3] = np.nan  # a voxel that is NaN throughout is kept as it is
    bold = read_bold(save(tmp_path / "run.nii", data))
    assert np.prod(SHAPE) - SHAPE[2] == bold.space.V
    assert np.isnan(bold.data[2]).all() and np.isnan(bold.data).all(axis=0).sum() == 1


@pytest.fixture
def with_mask(tmp_path) -> tuple[Path, Path, np.ndarray]:
    """A run that isn't skull-stripped, fMRIPrep's mask of it, and where that is."""
    brain = np.zeros(SHAPE, bool)
    brain[:2] = True
    bold = save(tmp_path / "sub-01_space-T1w_desc-preproc_bold.nii.gz", values())
    mask = tmp_path / "sub-01_space-T1w_desc-brain_mask.nii.gz"
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), AFFINE), mask)
    return bold, mask, brain & values().any(axis=3)


def test_fmriprep_s_mask_is_found_and_said(with_mask, tmp_path, caplog):
    caplog.set_level("INFO")
    bold, mask, inside = with_mask
    np.testing.assert_array_equal(read_bold(bold).data, values()[inside].T)
    assert f"are the {inside.sum()} voxels of {mask.name} beside it" in caplog.text
    assert mask in bold_files(bold)
    elsewhere = mask.rename(tmp_path / "mine.nii.gz")
    assert values().any(axis=3).sum() == read_bold(bold).space.V
    np.testing.assert_array_equal(read_bold(bold, mask=elsewhere).data, values()[inside].T)


def test_a_mask_that_does_not_fit(with_mask, tmp_path, caplog):
    bold, mask, _ = with_mask
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4)), mask)
    assert values().any(axis=3).sum() == read_bold(bold).space.V
    assert f"{mask.name} isn't used: it has another grid" in caplog.text
    with pytest.raises(InputError, match="resample_to_img"):
        read_bold(bold, mask=mask)
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), mask)
    with pytest.raises(InputError, match="has no value inside this mask; replace or"):
        read_bold(bold, mask=mask)
    (tmp_path / "notes.txt").write_text("no image")
    nib.save(nib.GiftiImage(), tmp_path / "surface.gii")
    for wrong in ("notes.txt", "absent.nii", "surface.gii"):
        with pytest.raises(InputError, match="no mask that can be read|no such file"):
            read_bold(bold, mask=tmp_path / wrong)
    mask = mask.rename(tmp_path / "empty.nii.gz")
    written = read_bold(bold)
    write_sidecar(bold, {"NeuroframesSpace": written.space.to_json()})
    with pytest.raises(InputError, match="its sidecar states its voxels; leave --mask out"):
        read_bold(bold, mask=mask)


def test_air_is_said_to_be_filled_too(tmp_path, caplog):
    path = tmp_path / "run.nii"
    image = nib.Nifti1Image(np.ones((3, 3, 3, 2), np.float32), AFFINE)
    nib.save(image, path)
    read_bold(path, tr=1.0)
    assert "run.nii: 100 % of its voxels are values, air too" in caplog.text


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_no_memory_is_taken_for_what_a_header_states(tmp_path, suffix):
    path = save(tmp_path / "run.nii", values(), nib.Nifti2Image)
    content = bytearray(path.read_bytes())
    content[24:56] = np.array([2**14, 2**13, 2**12, 2**11], "<i8").tobytes()  # of dim
    path = path.with_suffix(suffix)
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(InputError, match=r"run.nii.*: cannot be read, .* its header states 4,503,599"):
        read_bold(path)


def test_no_memory_is_taken_for_what_a_mask_states(with_mask):
    bold, mask, _ = with_mask
    content = bytearray(gzip.decompress(mask.read_bytes()))
    content[40:56] = np.array([3, *[32_000] * 3, *[1] * 4], "<i2").tobytes()  # dim
    mask.write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match=r"brain_mask.nii.gz: cannot be read, .* states 32,768,000,000,000"):
        read_bold(bold, mask=mask)


@pytest.mark.parametrize("damage", range(20))
def test_damaged_headers_are_refused_or_read(tmp_path, damage):
    """By bytes of a header that were changed; nothing else is raised."""
    generator = np.random.default_rng(damage)
    for path in (save(tmp_path / "run.nii", values()), write_afni(tmp_path, values(), 77002, 2)):
        content = bytearray(path.read_bytes())
        for place in generator.integers(min(len(content), 348), size=3):
            content[place] = generator.integers(256)
        path.write_bytes(content)
        with suppress(InputError):
            read_bold(path)
