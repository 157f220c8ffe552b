"""Recordings in memory: the same stores and priors as of files."""

import mne
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage

from neuroframes.commands.complete import complete
from neuroframes.commands.recordings import Recording, write_bids
from neuroframes.commands.train import train
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.population import PopulationModel
from neuroframes.recording.bids import find_runs
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.prepare import prepare
from neuroframes.recording.store import open_store


def loaded(recording, run: int, **about) -> Recording:
    """A run of the simulated recording as a user has it in memory."""
    halves = tuple(nib.load(recording.bold(run, side)) for side in "LR")
    raw = mne.io.read_raw_brainvision(recording.eeg(run), verbose="error")
    confounds = pd.read_csv(recording.confounds(run), sep="\t", na_values="n/a")
    return Recording("01", halves, raw, confounds, run=str(run), space="fsaverage5", **about)


def test_a_store_of_objects_is_that_of_their_files(recording, tmp_path):
    root = write_bids([loaded(recording, run, task="movie") for run in (1, 2, 3)], tmp_path / "bids")
    (path,) = prepare(root, tmp_path / "stores", progress=False)
    store, of_files = open_store(path), open_store(recording.store)
    assert [run.name for run in store.runs] == [run.name for run in of_files.runs]
    assert store.channels == of_files.channels
    for run, expected in zip(store.runs, of_files.runs, strict=True):
        np.testing.assert_array_equal(run.bold(), expected.bold())
        np.testing.assert_allclose(run.eeg(), expected.eeg(), rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(run.frame_times, expected.frame_times, atol=1e-6)
        np.testing.assert_array_equal(run.censored, expected.censored)
    model = train([path], out=tmp_path / "model", preset="gaussian", latents=4)
    assert model.reads_eeg


def test_a_data_set_of_objects_has_what_was_given(tmp_path, smooth_frames):
    """Frames at times, features of each, confounds; volumes, surfaces, parcels, each with its space."""
    frames, names = smooth_frames(40, 24), ["alpha", "beta"]
    features = pd.DataFrame(np.ones((42, 2), np.float32), columns=names)
    confounds = pd.DataFrame({"framewise_displacement": [0.0, 2.0] + 40 * [0.1]})
    times = 2.0 * np.delete(np.arange(42), [10, 11])
    mesh = PolyMesh(left=InMemoryMesh(np.zeros((10_242, 3), np.float32), np.array([[0, 1, 2]])))
    surface = SurfaceImage(mesh, {"left": np.random.default_rng(0).random((10_242, 5), np.float32)})
    volume = nib.Nifti1Image(frames.T.reshape(2, 3, 4, 40), np.eye(4))
    root = write_bids(
        [
            Recording("sub-a", frames, features, confounds, session="1", times=times),
            Recording("b", surface, tr=1.5),
            Recording("c", volume, tr=2.5, space="MNI152NLin2009cAsym", session=0),
        ],
        tmp_path / "bids",
    )
    (run,) = find_runs(root, subject="a")
    parcels = read_bold(run.bold[0])
    assert parcels.tr == 2 and run.name == "ses-1" and run.eeg.name == "sub-a_ses-1_features.npz"
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(parcels.data[:, 0])), [10, 11])
    (store,) = prepare(root, tmp_path / "stores", subject="a", progress=False)
    assert np.flatnonzero(open_store(store).runs[0].censored).tolist() == [1, 10, 11]
    func = root / "derivatives/preprocessed"
    (left,) = func.glob("sub-b/func/*.gii")
    assert left.name == "sub-b_hemi-L_space-fsaverage5_bold.func.gii" and read_bold(left).tr == 1.5
    (image,) = func.glob("sub-c/ses-0/func/*.nii.gz")
    assert image.name == "sub-c_ses-0_space-MNI152NLin2009cAsym_bold.nii.gz" and read_bold(image).tr == 2.5
    np.testing.assert_array_equal(nib.load(image).get_fdata(), volume.get_fdata())


def test_the_mask_beside_an_image_comes_along(tmp_path, smooth_frames):
    space, name = CorticalSpace.from_mask(np.ones((2, 3, 4), bool), np.eye(4)), "sub-01_space-MNI_desc-{}"
    write_bold(tmp_path / f"{name.format('preproc')}_bold.nii.gz", smooth_frames(20, 24), space, tr=2.0)
    brain = nib.Nifti1Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.eye(4))
    nib.save(brain, tmp_path / f"{name.format('brain')}_mask.nii.gz")
    image = nib.load(tmp_path / f"{name.format('preproc')}_bold.nii.gz")
    root = write_bids([Recording("9", image)], tmp_path / "bids")
    (written,) = root.glob("derivatives/*/*/func/*_bold.nii.gz")
    assert written.name == "sub-9_space-MNI_bold.nii.gz" and read_bold(written).space.V == 23


VALUES = np.ones((2, 2, 2, 9), np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"bold": "run.npz"}], "bold is a path; pass what nibabel.load makes of it"),
        ([{"eeg": "run.vhdr"}], r"eeg is str; expected an mne.io.Raw \(mne.io.read_raw"),
        ([{}, {}], "several recordings are sub-1; tell them apart by run, task or session"),
        ([{"run": "a_b"}], "whose run is 'a_b'; expected letters and digits"),
        ([{"bold": nib.Nifti1Image(VALUES, np.eye(4))}], "in which space its BOLD is; pass"),
        ([{"bold": nib.MGHImage(VALUES, np.eye(4)), "space": "T1w"}], "volumes of BIDS are NIfTI: pass"),
        ([{"tr": None}], "sub-1: ndarray states no TR; pass tr"),
        ([{"eeg": pd.DataFrame({"alpha": ["high", "low"]})}], "eeg is DataFrame; expected .* of numbers"),
        ([{"space": "MNI 152"}], "whose space is 'MNI 152'"),
        ([{"bold": object(), "times": range(9)}], "object of shape .* expected a path, an image"),
        ([{"bold": object()}], "object of shape .* expected a path, an image of nibabel"),
    ],
)
def test_what_is_no_recording(tmp_path, smooth_frames, given, message):
    usual = {"subject": "1", "bold": smooth_frames(20, 4), "tr": 1.0}
    recordings = [Recording(**usual | each) for each in given]
    with pytest.raises(InputError, match=message):
        write_bids(recordings, tmp_path / "bids")
    assert not [*tmp_path.iterdir()]


def test_a_data_set_is_not_replaced(tmp_path, smooth_frames):
    recording = Recording("1", smooth_frames(20, 4), tr=1.0)
    write_bids([recording], tmp_path / "bids")
    with pytest.raises(InputError, match="exists already; choose another folder, or remove it"):
        write_bids([recording], tmp_path / "bids")


def images(people) -> list[nib.Nifti1Image]:
    """Their runs as volumes in memory."""
    runs = [np.load(path)["bold"].T.reshape(2, 3, 4, 160) for path in people.runs[:3]]
    made = [nib.Nifti1Image(run.astype(np.float32), np.eye(4)) for run in runs]
    for image in made:
        image.header.set_zooms((1, 1, 1, 2.0))
    return made


def test_a_prior_of_images_is_that_of_their_files(people, tmp_path, learned):
    paths = []
    for number, image in enumerate(images(people), 1):
        paths.append(tmp_path / f"sub-{number}_bold.nii")
        nib.save(image, paths[-1])
    of_files = learned(paths, out=tmp_path / "files", latents=4)
    from_files = learned([*map(nib.load, paths[:2]), paths[2]], out=tmp_path / "loaded", latents=4)
    in_memory = learned(images(people), out=tmp_path / "memory", latents=4)
    assert list(from_files.population.people) == ["sub-1", "sub-2", "sub-3"]
    assert list(in_memory.population.people) == ["sub-unnamed1", "sub-unnamed2", "sub-unnamed3"]
    for prior in (from_files, in_memory):
        for lags, expected in zip(
            prior.population.people.values(), of_files.population.people.values(), strict=True
        ):
            np.testing.assert_array_equal(lags.cross, expected.cross)
    filled, _ = complete(images(people)[0], frames="50:60", model=tmp_path / "memory")
    assert np.isfinite(filled.get_fdata()).all()
    assert {path.name for path in tmp_path.glob(".*")} == set()


def test_a_prior_of_recordings_knows_people_and_confounds(people, tmp_path, learned):
    bold = [np.load(path)["bold"] for path in people.runs]
    table = pd.DataFrame({"framewise_displacement": np.r_[np.full(10, 2.0), np.zeros(150)]})
    runs = [
        Recording("x", bold[0], tr=2.0, run="1", confounds=table),
        Recording("x", bold[1], tr=2.0, run=2),
        Recording("y", bold[2], tr=2.0),
    ]
    prior = learned(iter(runs), out=tmp_path / "prior", components=people.prior)
    assert list(prior.population.people) == ["sub-x", "sub-y"] and prior.population.n_runs == 3
    whole = learned([bold[0], *bold[1:3]], out=tmp_path / "whole", bold_tr=2.0, components=people.prior)
    first = whole.population.people["sub-unnamed1"].cross + whole.population.people["sub-unnamed2"].cross
    assert not np.allclose(prior.population.people["sub-x"].cross, first)  # ten frames less
    one = learned(bold[:2], out=tmp_path / "one", bold_tr=2.0, person="sub-z", components=people.prior)
    assert list(one.population.people) == ["sub-z"]


def test_objects_that_make_no_prior_leave_nothing(people, tmp_path, learned):
    bold = np.load(people.runs[0])["bold"]
    with pytest.raises(InputError, match="cluster: jobs elsewhere read no objects"):
        learned([bold], out=tmp_path / "prior", cluster="local")
    for one in (images(people)[0], "sub-01_bold.nii"):
        with pytest.raises(InputError, match="runs is one .*; pass a list"):
            learned(one, out=tmp_path / "prior")
    with pytest.raises(InputError, match="an object beside a prior"):
        learned([people.prior, bold], out=tmp_path / "prior")
    with pytest.raises(InputError, match="TR"):
        learned([bold], out=tmp_path / "prior")
    with pytest.raises(InputError, match="has .* values|other|differ"):
        learned([bold, bold[:, :5]], out=tmp_path / "prior", bold_tr=2.0)
    assert not [*tmp_path.iterdir()]
    assert PopulationModel.load(people.prior).population.n_runs == 5
