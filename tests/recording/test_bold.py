"""BOLD files: bit-exact round trips, read back by nibabel and Workbench themselves, and refusals."""

import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, ParcelsAxis
from nilearn.image import load_img
from nilearn.surface import load_surf_data

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, read_tr, write_bold
from neuroframes.recording.sidecar import write_sidecar

K = 6


def cifti_space() -> CorticalSpace:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1] = True
    axis = BrainModelAxis.from_surface(np.arange(0, 40, 2), 42, name="CortexLeft")
    axis += BrainModelAxis.from_surface(np.arange(1, 40, 2), 42, name="CortexRight")
    return CorticalSpace.from_axis(axis + BrainModelAxis.from_mask(mask, affine=np.eye(4), name="brain_stem"))


def volume_space() -> CorticalSpace:
    mask = np.random.default_rng(1).random((5, 4, 3)) > 0.4
    return CorticalSpace.from_mask(mask, np.diag([2.0, 2, 3, 1]))


def parcels_axis() -> ParcelsAxis:
    """Three parcels of 10 vertices of each hemisphere, and one of voxels."""
    models = cifti_space().axis()
    return ParcelsAxis.from_brain_models(
        [
            (f"{side}_{part}", models[first + 5 * part : first + 5 * part + 5])
            for side, first in (("L", 0), ("R", 20))
            for part in range(3)
        ]
        + [("stem", models[40:])]
    )


FORMATS = {
    ".dtseries.nii": cifti_space,
    ".func.gii": lambda: CorticalSpace.from_counts({"L": 12, "R": 10}),
    ".nii.gz": volume_space,
    ".nii": volume_space,
    ".mgz": volume_space,
    ".npz": lambda: CorticalSpace.from_parcels(7, [f"area {number}" for number in range(7)]),
    ".mat": lambda: CorticalSpace.from_parcels(7, [f"area {number}" for number in range(7)]),
    ".ptseries.nii": lambda: CorticalSpace.from_axis(parcels_axis()),
}


def frames(space: CorticalSpace) -> np.ndarray:
    """Values of very different sizes, with one vertex of NaN and one that is constant."""
    data = np.random.default_rng(0).standard_normal((K, space.V)).astype(np.float32)
    data *= 10.0 ** np.random.default_rng(2).integers(-20, 20, space.V).astype(np.float32)
    data[:, 3] = np.nan
    data[2, 4] = np.nan
    data[:, 5] = 7.25
    return data


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_round_trip_is_bit_exact(tmp_path, suffix, order):
    space = FORMATS[suffix]()
    data = np.array(frames(space), order=order)
    sources = write_bold(tmp_path / f"run_bold{suffix}", data, space, tr=0.72)
    back = read_bold(sources[0])
    assert back.data.dtype == np.float32 and back.data.tobytes("C") == data.tobytes("C")
    assert back.tr == pytest.approx(0.72, rel=1e-6)
    np.testing.assert_allclose(back.times, 0.72 * np.arange(K), rtol=1e-6)
    space.check_same(back.space, "what was read")
    assert back.sources == sources


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_tr_alone_is_that_of_the_whole(tmp_path, suffix):
    space = FORMATS[suffix]()
    path = write_bold(tmp_path / f"a_bold{suffix}", frames(space), space, tr=0.72)[-1]
    assert read_tr(path) == read_bold(path).tr and read_tr(path, tr=0.5) == 0.5
    write_sidecar(
        write_bold(tmp_path / f"b_bold{suffix}", frames(space), space, tr=0.72)[0], {"RepetitionTime": 0.8}
    )
    with pytest.raises(InputError, match="says a TR of 0.72 s but b_.*json says 0.8 s"):
        read_tr(next(tmp_path.glob(f"b_*{suffix}")))


def test_cifti_axes_as_nibabel_reads_them(tmp_path):
    space = cifti_space()
    (path,) = write_bold(tmp_path / "run.dtseries.nii", frames(space), space, tr=0.8, start=0.4)
    image = nib.load(path)
    series, models = (image.header.get_axis(i) for i in (0, 1))
    assert (series.start, series.step, series.unit, series.size) == (0.4, 0.8, "SECOND", K)
    assert models == space.axis()
    assert image.nifti_header.get_intent()[0] == "ConnDenseSeries"
    assert image.nifti_header.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.get_fdata(), frames(space))
    assert read_bold(path).times[0] == 0.4


def test_parcels_axes_as_nibabel_reads_them(tmp_path):
    space = CorticalSpace.from_axis(parcels_axis())
    (path,) = write_bold(tmp_path / "run.ptseries.nii", frames(space), space, tr=0.8, start=0.4)
    image = nib.load(path)
    series, parcels = (image.header.get_axis(i) for i in (0, 1))
    assert (series.start, series.step, series.unit, series.size) == (0.4, 0.8, "SECOND", K)
    assert parcels == parcels_axis() and space.names == tuple(parcels.name)
    assert image.nifti_header.get_intent()[0] == "ConnParcelSries"
    np.testing.assert_array_equal(image.get_fdata(), frames(space))


def test_gifti_arrays_as_nibabel_reads_them(tmp_path):
    space = FORMATS[".func.gii"]()
    paths = write_bold(tmp_path / "sub-01_hemi-R_bold.func.gii", frames(space), space, tr=0.8)
    assert [path.name for path in paths] == ["sub-01_hemi-L_bold.func.gii", "sub-01_hemi-R_bold.func.gii"]
    right = nib.load(paths[1])
    assert right.meta["AnatomicalStructurePrimary"] == "CortexRight"
    assert {array.intent for array in right.darrays} == {nib.nifti1.intent_codes["NIFTI_INTENT_TIME_SERIES"]}
    np.testing.assert_array_equal(right.agg_data().T, frames(space)[:, 12:])
    # As nilearn reads it.
    np.testing.assert_array_equal(load_surf_data(paths[1]).T, frames(space)[:, 12:])


def test_volume_as_nibabel_reads_it(tmp_path):
    space = volume_space()
    (path,) = write_bold(tmp_path / "run.nii.gz", frames(space), space, tr=2.5)
    image = nib.load(path)
    assert image.shape == (5, 4, 3, K)
    assert image.header.get_zooms() == pytest.approx((2, 2, 3, 2.5))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(image.affine, space.grid()[1])
    np.testing.assert_array_equal(load_img(path).get_fdata(), image.get_fdata())
    flat = image.get_fdata().reshape(-1, K)
    np.testing.assert_array_equal(flat[space.vertex].T, frames(space))
    assert not np.delete(flat, space.vertex, axis=0).any()


@pytest.mark.skipif(shutil.which("wb_command") is None, reason="Connectome Workbench is not installed")
@pytest.mark.parametrize("suffix", [".dtseries.nii", ".func.gii", ".ptseries.nii", ".nii.gz"])
def test_workbench_reads_what_is_written(tmp_path, suffix):
    space = FORMATS[suffix]()
    path = write_bold(tmp_path / f"run{suffix}", frames(space), space, tr=0.8, start=0.4)[0]
    result = subprocess.run(["wb_command", "-file-information", path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    facts = dict(line.split(":", 1) for line in result.stdout.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    assert facts["Number of Maps"] == str(K)
    if suffix in (".dtseries.nii", ".ptseries.nii"):
        assert (facts["Map Interval Start"], facts["Map Interval Step"]) == ("0.400", "0.800")
        assert facts["Number of Rows"] == str(space.V)
    elif suffix == ".nii.gz":  # of which it doesn't read where time begins
        assert (facts["Map Interval Units"], facts["Map Interval Step"]) == ("NIFTI_UNITS_SEC", "0.800")
        assert (facts["Dimensions"], facts["Spacing"]) == ("5, 4, 3, 6", "2, 2, 3")
    else:
        assert (facts["Structure"], facts["Number of Vertices"]) == ("CortexLeft", "12")


def test_one_hemisphere_and_stacked_arrays(tmp_path):
    data = np.random.default_rng(0).standard_normal((9, K)).astype(np.float32)
    meta = nib.gifti.GiftiMetaData({"AnatomicalStructurePrimary": "CortexRight"})
    image = nib.GiftiImage(darrays=[nib.gifti.GiftiDataArray(data)], meta=meta)
    nib.save(image, tmp_path / "right.func.gii")
    bold = read_bold(tmp_path / "right.func.gii", tr=2.0)
    np.testing.assert_array_equal(bold.data, data.T)
    assert set(bold.space.hemisphere) == {1}


def test_sidecar_states_the_tr_of_gifti(tmp_path):
    space = FORMATS[".func.gii"]()
    paths = write_bold(tmp_path / "run.func.gii", frames(space), space, tr=0.8)
    for path in paths:
        image = nib.load(path)
        image.meta.clear()
        nib.save(image, path)
    with pytest.raises(InputError, match="states a TR; .* pass --bold-tr"):
        read_bold(paths[0])
    write_sidecar(paths[0], {"RepetitionTime": np.float64(0.8), "Sources": [paths[0]]})
    assert json.loads((tmp_path / "run_hemi-L.json").read_text())["RepetitionTime"] == 0.8
    assert read_bold(paths[0]).tr == 0.8


@pytest.mark.parametrize("suffix", FORMATS)
def test_contradicting_tr_is_refused_unless_given(tmp_path, suffix):
    space = FORMATS[suffix]()
    path = write_bold(tmp_path / f"run{suffix}", frames(space), space, tr=0.8)[0]
    write_sidecar(path, {"RepetitionTime": 2.0})
    with pytest.raises(InputError, match=r"run.*says a TR of 0.8 s but run.*\.json says 2 s.*--bold-tr"):
        read_bold(path)
    assert read_bold(path, tr=0.8).tr == 0.8


@pytest.mark.parametrize("tr", [800.0, 60.0, 1e-9, -2.0])
def test_a_tr_in_other_units_is_refused(tmp_path, tr):
    space = FORMATS[".func.gii"]()
    path = write_bold(tmp_path / "run.func.gii", frames(space), space, tr=0.8)[0]
    image = nib.load(path)
    image.meta["TimeStep"] = "0"
    nib.save(image, path)
    path.with_name(path.name.replace("_hemi-L", "_hemi-R")).unlink()
    write_sidecar(path, {"RepetitionTime": tr})
    with pytest.raises(InputError, match=rf"a TR of {tr:g} s is stated; expected 0.01 to 60 s; .*--bold-tr"):
        read_bold(path)
    with pytest.raises(InputError, match=f"^--bold-tr {tr}; expected a finite number of at least 0.01"):
        read_bold(path, tr=tr)


@pytest.mark.parametrize("suffix", [".dtseries.nii", ".nii.gz", ".mgz", ".npz", ".ptseries.nii"])
def test_a_file_s_tr_in_other_units_is_refused(tmp_path, suffix):
    space = FORMATS[suffix]()
    path = write_bold(tmp_path / f"run{suffix}", frames(space), space, tr=800)[0]
    with pytest.raises(InputError, match=r"a TR of 800 s is stated"):
        read_bold(path)
    assert read_bold(path, tr=0.8).tr == 0.8


@pytest.mark.parametrize("tr", [np.nan, np.inf, True, "2"])
def test_a_tr_that_is_no_number_is_refused(tmp_path, tr):
    space = volume_space()
    with pytest.raises(InputError, match=r"^TR \(s\) .*; expected a finite number above 0"):
        write_bold(tmp_path / "run.nii", frames(space), space, tr=tr)
    path = write_bold(tmp_path / "run.nii", frames(space), space, tr=2)[0]
    with pytest.raises(InputError, match="^--bold-tr .*; expected a finite number"):
        read_bold(path, tr=tr)


@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_file_is_refused(tmp_path, suffix, part):
    space = FORMATS[suffix]()
    path = write_bold(tmp_path / f"run{suffix}", frames(space), space, tr=0.8)[0]
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(InputError, match=r"run.*cannot be read, truncated"):
        read_bold(path)


def test_nan_throughout_is_refused(tmp_path):
    space = cifti_space()
    path = write_bold(tmp_path / "run.dtseries.nii", np.full((K, space.V), np.nan), space, tr=0.8)[0]
    with pytest.raises(InputError, match="NaN throughout"):
        read_bold(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_bold(tmp_path / "absent.dtseries.nii")
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(InputError, match="cannot be read, truncated or of an unknown format"):
        read_bold(tmp_path / "notes.txt")
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), np.eye(4)), tmp_path / "anat.nii.gz")
    with pytest.raises(InputError, match="3-D; expected a 4-D image, .* join a run"):
        read_bold(tmp_path / "anat.nii.gz")
    scalars = nib.cifti2.ScalarAxis(["sulc"])
    image = nib.Cifti2Image(np.zeros((1, 43), np.float32), (scalars, cifti_space().axis()))
    nib.save(image, tmp_path / "sulc.dscalar.nii")
    with pytest.raises(InputError, match="Scalar x BrainModel, not a time series"):
        read_bold(tmp_path / "sulc.dscalar.nii")


def test_a_broken_sidecar_is_named(tmp_path):
    space = cifti_space()
    path = write_bold(tmp_path / "run.dtseries.nii", frames(space), space, tr=0.8)[0]
    (tmp_path / "run.json").write_text('{"RepetitionTime": 0.8')
    with pytest.raises(InputError, match=r"run\.json: not valid JSON"):
        read_bold(path)


def test_hemispheres_of_different_length_are_refused(tmp_path):
    space = FORMATS[".func.gii"]()
    left, _ = write_bold(tmp_path / "run.func.gii", frames(space), space, tr=0.8)
    image = nib.load(left)
    image.darrays = image.darrays[:-1]
    nib.save(image, left)
    with pytest.raises(InputError, match="differ in frames"):
        read_bold(left)


def test_nothing_is_written_where_it_may_not_be(tmp_path):
    space = FORMATS[".func.gii"]()
    data = frames(space)
    (tmp_path / "run_hemi-R.func.gii").write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        write_bold(tmp_path / "run.func.gii", data, space, tr=0.8)
    assert [path.name for path in tmp_path.iterdir()] == ["run_hemi-R.func.gii"]
    with pytest.raises(InputError, match=r"gifti space are written as \.func\.gii"):
        write_bold(tmp_path / "run.dtseries.nii", data, space, tr=0.8)
    write_bold(tmp_path / "run.func.gii", data, space, tr=0.8, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", FORMATS)
def test_estimates_are_told_from_data(tmp_path, suffix):
    space, measured = FORMATS[suffix](), [True, False, True, True, False, False]
    paths = write_bold(tmp_path / f"run_bold{suffix}", frames(space), space, tr=0.8)
    plain = read_bold(paths[0])
    assert plain.measured.dtype == bool and plain.measured.tolist() == [True] * K and plain.deviation is None
    named = f"run_stat-std_bold{suffix}"
    # Of a pair the right hemisphere's sidecar alone: either counts.
    write_sidecar(paths[-1], {"NeuroframesMeasured": measured, "NeuroframesStandardDeviation": named})
    completed = read_bold(paths[0])
    assert completed.measured.tolist() == measured
    assert completed.deviation is None  # named, but not there
    assert completed.sidecar["NeuroframesStandardDeviation"] == named
    (tmp_path / named).touch()
    assert read_bold(paths[0]).deviation == tmp_path / named
    assert completed.data.tobytes() == plain.data.tobytes()
    write_sidecar(paths[0], {"NeuroframesMeasured": [False] * K}, overwrite=True)
    assert not read_bold(paths[0]).measured.any()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, None),
        ({"SliceTimingCorrected": False, "StartTime": 0.3}, None),
        ({"SliceTimingCorrected": True}, None),
        ({"SliceTimingCorrected": True, "StartTime": 0.3}, 0.3),
    ],
)
def test_the_time_that_slices_were_corrected_to_is_the_sidecar_s(tmp_path, content, expected):
    space = volume_space()
    path = write_bold(tmp_path / "run.nii", frames(space), space, tr=0.8)[0]
    write_sidecar(path, content)
    assert read_bold(path).slice_reference == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"NeuroframesMeasured": [True] * 5}, r"run.json says for 5 frames .* but run.nii has 6"),
        ({"NeuroframesMeasured": []}, "says for 0 frames"),
        ({"NeuroframesMeasured": [1] * K}, "expected true or false for each frame"),
        ({"NeuroframesMeasured": None}, "expected true or false for each frame"),
        ({"NeuroframesMeasured": "all"}, "expected true or false for each frame"),
        ({"NeuroframesStandardDeviation": "../std.nii"}, "name of a file in the same folder"),
        ({"NeuroframesStandardDeviation": "/std.nii"}, "name of a file in the same folder"),
        ({"NeuroframesStandardDeviation": ".."}, "name of a file in the same folder"),
        ({"NeuroframesStandardDeviation": ""}, "name of a file in the same folder"),
        ({"NeuroframesStandardDeviation": 3}, "name of a file in the same folder"),
    ],
)
def test_a_sidecar_of_another_image_is_refused(tmp_path, content, message):
    space = volume_space()
    path = write_bold(tmp_path / "run.nii", frames(space), space, tr=0.8)[0]
    write_sidecar(path, content)
    with pytest.raises(InputError, match=message):
        read_bold(path)


@pytest.mark.parametrize(
    ("step", "tr"),
    [("2000 ms", 2), ("2000", 2), ("2", 2), ("2.0 s", 2), (" 800.0msec ", 0.8), ("25 s", 25), ("20", 20)],
)
def test_steps_of_gifti(tmp_path, step, tr):
    space = CorticalSpace.from_counts({"L": 12})
    (path,) = write_bold(tmp_path / "run_hemi-L.func.gii", np.ones((K, 12)), space, tr=0.8)
    image = nib.load(path)
    image.meta["TimeStep"] = step
    nib.save(image, path)
    assert read_bold(path).tr == read_tr(path) == tr


@pytest.mark.parametrize("step", ["two", "2000 mm", "ms", "2,0", "nan", "-2000", "2\n0"])
def test_a_step_of_gifti_that_says_no_time(tmp_path, step):
    space = CorticalSpace.from_counts({"L": 12})
    (path,) = write_bold(tmp_path / "run_hemi-L.func.gii", np.ones((K, 12)), space, tr=0.8)
    image = nib.load(path)
    image.meta["TimeStep"] = step
    nib.save(image, path)
    with pytest.raises(InputError, match=r"run_hemi-L.func.gii: .*--bold-tr"):
        read_bold(path)
    assert read_bold(path, tr=0.8).tr == read_tr(path, tr=0.8) == 0.8


def test_hemispheres_that_contradict_each_other_about_the_tr(tmp_path):
    space = FORMATS[".func.gii"]()
    left, right = write_bold(tmp_path / "run.func.gii", frames(space), space, tr=2)
    image = nib.load(right)
    image.meta["TimeStep"] = "800"
    nib.save(image, right)
    for read in (read_bold, read_tr):
        with pytest.raises(InputError, match="run_hemi-L.* says a TR of 2 s but run_hemi-R.* says 0.8 s"):
            read(left)
    image.meta["TimeStep"] = "2000"
    nib.save(image, right)
    write_sidecar(right, {"RepetitionTime": 1.5})
    with pytest.raises(InputError, match="run_hemi-L.* says a TR of 2 s but run_hemi-R.json says 1.5 s"):
        read_bold(left)


def test_milliseconds_are_named(tmp_path):
    space = volume_space()
    (path,) = write_bold(tmp_path / "run.nii", frames(space), space, tr=1000)
    with pytest.raises(InputError, match="a TR of 1000 s is .*--bold-tr 1, if milliseconds are meant"):
        read_bold(path)


@pytest.mark.parametrize("suffix", [".nii", ".func.gii", ".tsv"])
def test_volume_timing(tmp_path, suffix):
    space = {".tsv": CorticalSpace.from_parcels(7)}.get(suffix) or FORMATS[suffix]()
    paths = write_bold(tmp_path / f"run{suffix}", np.ones((K, space.V)), space, tr=2)
    write_sidecar(paths[0], {"VolumeTiming": [0, 2, 4.001, 6, 8, 10]})
    assert read_bold(paths[0]).tr == 2.0
    assert read_bold(paths[0], tr=2).acquired.all()


@pytest.mark.parametrize(
    ("onsets", "message"),
    [
        ([0, 2, 4], "VolumeTiming has 3 entries; expected the onset of each of 6 frames in seconds"),
        ([0, 2, 4, 6, 8, "10"], r"VolumeTiming has \[0, 2, 4, 6, 8, '10'\]"),
        ("0 2 4", "VolumeTiming has '0 2 4'"),
        ([0, 0, 0, 0, 0, 0], "VolumeTiming frames 0 and 1 are 0 s apart"),
        ([0, 2, 4, 3, 8, 10], "VolumeTiming frames 2 and 3 are -1 s apart; .*: correct or remove it"),
        ([0, float("nan"), 4, 6, 8, 10], r"VolumeTiming has \[0, nan, 4"),
        ([0, 2, 4, 6, 8, float("inf")], "VolumeTiming has "),
        ([0, 2, 4, 6, 8, 10**400], "VolumeTiming has "),
        ([0, 3, 6, 9, 12, 15], "run.nii says a TR of 2 s but run.json says 3 s"),
        (
            [0, 2, 4, 185.1, 187.1, 189.1],
            "frames 2 and 3 are 181.1 s apart, 0.9 s from a whole number of TRs",
        ),
        ([0, 2, 4, 4.9, 6.9, 8.9], "frames 2 and 3 are 0.9 s apart, 1.1 s from .* TRs of 2 s; .* at most 5%"),
        ([0, 2, 4, 184, 186, 188], "6 frames take 188 s, mostly pauses, the longest after frame 2; .* cut"),
        ([0, 3, 6, 12, 15, 18], "run.nii says a TR of 2 s but run.json says 3 s"),
    ],
)
def test_volume_timing_that_cannot_be(tmp_path, onsets, message):
    space = volume_space()
    (path,) = write_bold(tmp_path / "run.nii", frames(space), space, tr=2)
    write_sidecar(path, {"VolumeTiming": onsets})
    with pytest.raises(InputError, match=message):
        read_bold(path)


@pytest.mark.parametrize("suffix", [".nii", ".func.gii", ".tsv", ".dtseries.nii"])
def test_frames_where_a_run_pauses_are_not_measured(tmp_path, suffix, caplog):
    space = {".tsv": CorticalSpace.from_parcels(7)}.get(suffix) or FORMATS[suffix]()
    data = frames(space)
    paths = write_bold(tmp_path / f"run{suffix}", data, space, tr=2)
    onsets = 7 + 2.0 * np.array([0, 1, 2, 5, 6, 9]) + [0, 0.003, 0, 0, -0.002, 0]
    write_sidecar(paths[0], {"VolumeTiming": onsets.tolist(), "NeuroframesMeasured": [True] * 5 + [False]})
    for tr in (None, 2.01):
        bold, acquired = read_bold(paths[0], tr=tr), np.isin(np.arange(10), [0, 1, 2, 5, 6, 9])
        assert (bold.tr, bold.n_volumes) == (tr or pytest.approx(2.0, rel=1e-3), K)
        assert bold.acquired.tolist() == acquired.tolist()
        assert bold.measured.tolist() == (acquired & (np.arange(10) != 9)).tolist()
        np.testing.assert_array_equal(bold.data[acquired], data)
        assert np.isnan(bold.data[~acquired]).all() and bold.data.flags.f_contiguous
        np.testing.assert_allclose(np.diff(bold.times), bold.tr)
    said = f"{paths[0].name}: no volume at 4 of 10 frames (3:4, 7:8), where the run pauses by VolumeTiming"
    assert caplog.text.count(said) == 2
    with pytest.raises(
        InputError, match=r"pauses, the TR is 1.99933 s, but --bold-tr says 1 s; leave --bold-tr"
    ):
        read_bold(paths[0], tr=1.0)


def test_hemispheres_pause_together(tmp_path):
    space = FORMATS[".func.gii"]()
    paths = write_bold(tmp_path / "run.func.gii", frames(space), space, tr=2)
    write_sidecar(paths[0], {"VolumeTiming": [0, 2, 4, 8, 10, 12]})
    write_sidecar(paths[1], {"VolumeTiming": [0, 2, 4, 8, 10, 12]})
    assert np.flatnonzero(~read_bold(paths[1]).acquired).tolist() == [3]
    for left, right in (
        ([0, 2, 4, 8, 10, 12], [0, 2, 4, 6, 10, 12]),
        ([0, 2, 4, 6, 8, 10], [0, 2, 4, 6, 10, 12]),
    ):
        write_sidecar(paths[0], {"VolumeTiming": left}, overwrite=True)
        write_sidecar(paths[1], {"VolumeTiming": right}, overwrite=True)
        with pytest.raises(InputError, match="run_hemi-R.json: .* pauses elsewhere than the other hemisph"):
            read_bold(paths[0])


def test_a_mask_is_for_volumes(tmp_path):
    space = cifti_space()
    (path,) = write_bold(tmp_path / "run.dtseries.nii", frames(space), space, tr=2)
    with pytest.raises(InputError, match="--mask m.nii: run.dtseries.nii is no volume but cifti; leave"):
        read_bold(path, mask="m.nii")


@pytest.mark.parametrize("unit", ["sec", "msec"])
def test_where_nifti_begins(tmp_path, unit):
    space = volume_space()
    (path,) = write_bold(tmp_path / "run.nii", frames(space), space, tr=2, start=-0.5)
    image = nib.Nifti1Image.from_bytes(path.read_bytes())
    image.header.set_xyzt_units("mm", unit)
    nib.save(image, path)
    parts = {"sec": 1, "msec": 1000}[unit]
    bold = read_bold(path, tr=2)
    assert bold.times[0] == -0.5 / parts
    (path,) = write_bold(tmp_path / "again.nii", bold.data, bold.space, tr=2, start=3)
    assert nib.load(path).header["toffset"] == 3 * parts
