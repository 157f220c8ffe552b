"""Stores: equal to what the readers give, resumable, and closed to copies and misfits."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy.spatial import ConvexHull

from neuroframes.checksums import CHECKSUMS
from neuroframes.cli import main
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording import prepare as prepare_module
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.eeg import read_eeg
from neuroframes.recording.features import Features, read_features, write_features
from neuroframes.recording.nuisance import without_nuisance
from neuroframes.recording.prepare import prepare
from neuroframes.recording.projection import projected
from neuroframes.recording.segments import Part, load_segments
from neuroframes.recording.sidecar import write_sidecar
from neuroframes.recording.store import open_store
from neuroframes.recording.timeline import MOTION

pybv = pytest.importorskip("pybv")
RATE, TR, K = 500, 0.8, 20
NAMES = ["Fz", "Cz", "Pz", "Oz"]


def write_run(
    root: Path,
    subject: str,
    run: int,
    *,
    seconds: float = 20,
    n_triggers: int = K,
    at: np.ndarray | None = None,
    names: list[str] = NAMES,
) -> Path:
    """EEG with triggers from 1.5 s on, `at` TRs after it; GIFTI BOLD of 12 + 10 vertices, confounds.

    Returns the BOLD's path.
    """
    generator = np.random.default_rng([int(subject), run])
    stem = f"sub-{subject}_task-rest_run-{run}"
    eeg = 1e-5 * generator.standard_normal((len(names), int(seconds * RATE)))
    onsets = np.round((1.5 + TR * (np.arange(n_triggers) if at is None else at)) * RATE).astype(int)
    pybv.write_brainvision(
        data=eeg,
        sfreq=RATE,
        ch_names=names,
        fname_base=f"{stem}_eeg",
        folder_out=root / f"sub-{subject}" / "eeg",
        events=[{"onset": int(at), "duration": 1, "description": 128, "type": "Response"} for at in onsets],
        overwrite=True,
    )
    func = root / "derivatives/fmriprep" / f"sub-{subject}" / "func"
    space = CorticalSpace.from_counts({"L": 12, "R": 10})
    data = generator.standard_normal((K, 22)).astype(np.float32)
    paths = write_bold(func / f"{stem}_space-fsaverage5_bold.func.gii", data, space, tr=TR, overwrite=True)
    table = "framewise_displacement\nn/a\n" + "\n".join(["0.1", "0.9"] + ["0.2"] * (K - 3)) + "\n"
    (func / f"{stem}_desc-confounds_timeseries.tsv").write_text(table)
    return paths[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for run in (1, 2):
        write_run(tmp_path / "bids", "01", run)
    return tmp_path / "bids"


def test_a_store_holds_what_the_readers_give(root, tmp_path):
    (path,) = prepare(root, tmp_path / "out", progress=False)
    assert path == tmp_path / "out" / "sub-01.zarr"
    store = open_store(path)
    assert (store.subject, store.rate, store.channels) == ("01", 200.0, tuple(NAMES))
    assert [run.name for run in store.runs] == ["task-rest_run-1", "task-rest_run-2"]
    store.space.check_same(CorticalSpace.from_counts({"L": 12, "R": 10}), "the files")
    run = store.runs[0]
    eeg = read_eeg(root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.vhdr")
    np.testing.assert_array_equal(run.eeg(), eeg.data)
    np.testing.assert_allclose(store.positions, eeg.positions)
    halves = [nib.load(file).agg_data() for file in run.sources["bold"]]
    np.testing.assert_array_equal(run.bold(), np.concatenate(halves).T)
    np.testing.assert_allclose(run.frame_times, 1.5 + TR / 2 + TR * np.arange(K), atol=1e-9)
    assert (run.tr, run.eeg_rate) == (TR, 200.0)
    assert np.flatnonzero(run.censored).tolist() == [2]
    assert run.motion is None  # these confounds have displacement alone
    assert zarr.open_group(path, mode="r").metadata.zarr_format == 3


def test_an_unknown_layout(root, tmp_path):
    with pytest.raises(InputError, match="--dataset natviw; expected bids, cinebrain, natview"):
        prepare(root, tmp_path / "out", dataset="natviw", progress=False)


def test_a_wrong_tr_may_be_corrected(root, tmp_path):
    """By the option that the error names."""
    bold = next(root.rglob("*run-1_hemi-L*_bold.func.gii"))
    write_sidecar(bold, {"RepetitionTime": 1.5 * TR})
    with pytest.raises(InputError, match="says a TR of .* pass --bold-tr"):
        prepare(root, tmp_path / "out", progress=False)
    assert not list((tmp_path / "out").glob("*"))
    (path,) = prepare(root, tmp_path / "out", bold_tr=TR, progress=False)
    assert {run.tr for run in open_store(path).runs} == {TR}


def test_volumes_are_projected_to_a_surface(root, tmp_path):
    func = root / "derivatives/fmriprep/sub-01/func"
    values = np.random.default_rng(0).standard_normal((16, 19, 16, K)).astype(np.float32)
    affine = np.array([[12.0, 0, 0, -90], [0, 12, 0, -126], [0, 0, 12, -72], [0, 0, 0, 1]])
    image = nib.Nifti1Image(values, affine)
    image.header.set_zooms((12, 12, 12, TR))
    stem = "sub-01_task-rest_run-1_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    nib.save(image, func / stem)
    (path,) = prepare(root, tmp_path / "out", surface="fsaverage5", progress=False)
    store = open_store(path)
    assert store.space.name == "fsaverage5" and [run.name for run in store.runs] == ["task-rest_run-1"]
    np.testing.assert_array_equal(store.runs[0].bold(), projected(read_bold(func / stem), "fsaverage5").data)
    with pytest.raises(InputError, match="no preprocessed BOLD in space MNI152NLin6Asym"):
        prepare(root, tmp_path / "b", surface="fsaverage5", space="MNI152NLin6Asym", progress=False)
    with pytest.raises(InputError, match="a gifti, not projected to fsaverage5; .*leave --surface out"):
        prepare(root, tmp_path / "b", surface="fsaverage5", space="fsaverage5", progress=False)


def write_labels(folder: Path, keys: dict[str, list[int]]) -> list[Path]:
    """FreeSurfer's labels of the 12 + 10 vertices; 0 is no region."""
    names, colours = ["unknown", "a", "b"], np.array([[i, 2, 3, 0, 0] for i in range(3)])
    files = [folder / f"{side}h.atlas.annot" for side in keys]
    for file, of_half in zip(files, keys.values(), strict=True):
        nib.freesurfer.write_annot(file, np.array(of_half), colours, names, True)
    return files


def test_parcels_of_an_atlas(root, tmp_path, refused):
    keys = {"l": [1] * 5 + [0] * 3 + [2] * 4, "r": [0] * 4 + [1] * 6}
    files = write_labels(tmp_path, keys)
    out = ["prepare", root, "--out", tmp_path / "out"]
    words = [*out, *(word for file in files for word in ("--parcels", file))]
    assert main([*map(str, words)]) == 0
    store = open_store(tmp_path / "out" / "sub-01.zarr")
    assert (store.space.kind, store.space.names) == ("parcels", ("L_a", "b", "R_a"))
    bold = read_bold(next(root.rglob("*run-1_hemi-L*_bold.func.gii"))).data
    expected = [bold[:, a:b].mean(axis=1) for a, b in ((0, 5), (8, 12), (16, 22))]
    np.testing.assert_allclose(store.runs[0].bold(), np.transpose(expected), atol=1e-6)
    assert np.flatnonzero(store.runs[0].censored).tolist() == [2]
    assert "was prepared with parcels=" in refused(*out)
    before = (store.path / "runs/task-rest_run-1/bold").stat().st_ctime_ns
    assert main([*map(str, words)]) == 0
    assert (store.path / "runs/task-rest_run-1/bold").stat().st_ctime_ns == before
    # A file that changes is read again.
    write_labels(tmp_path, keys | {"l": [1] * 6 + [0] * 2 + [2] * 4})
    os.utime(files[0], ns=(1, 1))
    assert main([*map(str, words)]) == 0
    again = open_store(store.path).runs[0].bold()
    np.testing.assert_allclose(again[:, 0], bold[:, :6].mean(axis=1), atol=1e-6)


def test_bold_on_another_mesh(root, tmp_path, refused):
    """Meshes are alike but for the order of vertices: frames are, too."""
    generator, files = np.random.default_rng(0), {}
    for side, n_vertices in (("L", 12), ("R", 10)):
        places = generator.standard_normal((n_vertices, 3))
        places /= np.linalg.norm(places, axis=1, keepdims=True)
        for name, step in (("own", 1), ("other", -1)):
            arrays = [
                nib.gifti.GiftiDataArray(np.float32(places[::step]), "NIFTI_INTENT_POINTSET"),
                nib.gifti.GiftiDataArray(
                    np.int32(ConvexHull(places[::step]).simplices), "NIFTI_INTENT_TRIANGLE"
                ),
            ]
            files[name, side] = tmp_path / f"{name}.{side}.surf.gii"
            nib.save(nib.GiftiImage(darrays=arrays), files[name, side])
    own, other = ([files[name, side] for side in "LR"] for name in ("own", "other"))
    moved = [
        word
        for pair in zip(own, other, strict=True)
        for word in ("--sphere", pair[0], "--to-sphere", pair[1])
    ]
    out = ["prepare", root, "--out", tmp_path / "out"]
    for words, message in (
        (moved[:2], "1 --sphere and 0 --to-sphere; expected as many"),
        (moved[:4], "own.L.surf.gii: 1 for frames of hemisphere L and R; pass one file for each, left first"),
        ([*moved[4:], *moved[:4]], "own.R.surf.gii: passed as hemisphere L"),
        (["--sphere", "absent", "--to-sphere", own[0]], "absent: no such file"),
        (["--parcels", "yeo9"], "yeo9: no atlas that is known; expected mmp, yeo7"),
        (
            ["--parcels", "yeo7"],
            "yeo7: labels of 32,492 vertices of hemisphere L, but frames are on a mesh of 12",
        ),
    ):
        assert message in refused(*out, *words)
    assert main([*map(str, [*out, *moved])]) == 0
    store = open_store(tmp_path / "out" / "sub-01.zarr")
    store.space.check_same(CorticalSpace.from_counts({"L": 12, "R": 10}), "the targets")
    bold = read_bold(next(root.rglob("*run-1_hemi-L*_bold.func.gii"))).data
    np.testing.assert_allclose(
        store.runs[0].bold(), bold[:, [*range(11, -1, -1), *range(21, 11, -1)]], atol=1e-4
    )
    files = write_labels(tmp_path, {"l": [1] * 12, "r": [2] * 10})
    (path,) = prepare(root, tmp_path / "both", sphere=own, to_sphere=other, parcels=files, progress=False)
    means = np.stack([bold[:, :12].mean(axis=1), bold[:, 12:].mean(axis=1)], axis=1)
    np.testing.assert_allclose(open_store(path).runs[0].bold(), means, atol=1e-4)


def test_what_is_censored_around_outliers(root, tmp_path):
    (path,) = prepare(
        root, tmp_path / "out", censor_before=1, censor_after=2, censor_between=1, progress=False
    )
    store = open_store(path)
    assert np.flatnonzero(store.runs[0].censored).tolist() == [0, 1, 2, 3, 4]
    assert (store.settings["censor_after"], store.settings["dvars_threshold"]) == (2, None)
    with pytest.raises(InputError, match=r"was prepared with censor_before=1, censor_after=2, censor_betw"):
        prepare(root, tmp_path / "out", progress=False)
    with pytest.raises(InputError, match="no std_dvars among its 1 columns"):
        prepare(root, tmp_path / "other", dvars_threshold=1.5, progress=False)


def test_the_gradient_artefact_is_removed_and_what_is_left_is_stored(root, tmp_path, refused):
    (path,) = prepare(root, tmp_path / "out", gradient=True, progress=False)
    store = open_store(path)
    run = store.runs[0]
    eeg = root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.vhdr"
    np.testing.assert_array_equal(run.eeg(), read_eeg(eeg, gradient=True).data)
    assert not np.array_equal(run.eeg(), read_eeg(eeg).data)
    assert store.settings["gradient"] is True
    assert zarr.open_group(run.group.folder).attrs["scanner"]["drift"] == pytest.approx(0, abs=1)
    said = refused(
        "prepare", root, "--gradient", "--trigger", "none", "--onset", "1.5", "--out", tmp_path / "b"
    )
    assert "0 volume triggers; --gradient needs one for each volume" in said


def test_a_store_of_an_earlier_version_is_named_and_replaced(root, tmp_path):
    (path,) = prepare(root, tmp_path / "out", progress=False)
    group = zarr.open_group(path)
    group.attrs["settings"] = {n: v for n, v in dict(group.attrs["settings"]).items() if n != "gradient"}
    checksum = hashlib.sha256((path / "zarr.json").read_bytes()).hexdigest()
    (path / CHECKSUMS).write_text(f"{checksum}  zarr.json\n")
    with pytest.raises(InputError, match="which knew no gradient; run neuroframes prepare with --overwrite"):
        open_store(path)
    prepare(root, tmp_path / "out", overwrite=True, progress=False)
    assert open_store(path).settings["gradient"] is False


def test_a_store_holds_the_motion_of_the_confounds(recording):
    run = open_store(recording.store).runs[1]
    columns = pd.read_table(recording.confounds(2))
    expected = columns[["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]]
    np.testing.assert_allclose(run.motion, expected, atol=1e-9)


def test_chunks_join_without_a_seam(root, tmp_path, monkeypatch):
    whole = open_store(prepare(root, tmp_path / "a", progress=False)[0]).runs[0]
    monkeypatch.setattr(prepare_module, "CHUNK_VERTICES", 5)
    monkeypatch.setattr(prepare_module, "CHUNK_SAMPLES", 333)
    pieces = open_store(prepare(root, tmp_path / "b", progress=False)[0]).runs[0]
    np.testing.assert_array_equal(pieces.bold(), whole.bold())
    np.testing.assert_array_equal(pieces.eeg(), whole.eeg())


def test_slice_timing_moves_the_time_that_a_frame_stands_for(root, tmp_path):
    for hemi in "LR":
        name = f"sub-01_task-rest_run-1_hemi-{hemi}_space-fsaverage5_bold.func.gii"
        write_sidecar(
            root / "derivatives/fmriprep/sub-01/func" / name,
            {"RepetitionTime": TR, "SliceTimingCorrected": True, "StartTime": 0.0},
        )
    (path,) = prepare(root, tmp_path / "out", progress=False)
    first, second = open_store(path).runs
    np.testing.assert_allclose(second.frame_times - first.frame_times, TR / 2)


@pytest.mark.parametrize("trigger", ["auto", None])
def test_a_run_that_pauses(root, tmp_path, trigger, caplog):
    """Of run 1 nine volumes, a pause of 5, then 11; its EEG has triggers of those, its table their lines."""
    at = np.array([*range(9), *range(14, 25)])
    acquired = np.isin(np.arange(25), at)
    bold = write_run(root, "01", 1, seconds=25, at=at)
    for side in "LR":
        write_sidecar(Path(str(bold).replace("hemi-L", f"hemi-{side}")), {"VolumeTiming": (TR * at).tolist()})
    table = bold.with_name("sub-01_task-rest_run-1_desc-confounds_timeseries.tsv")
    columns = pd.read_table(table)
    moved = np.random.default_rng(3).standard_normal((K, 7))
    columns[["csf", *MOTION[0]]] = moved
    columns.loc[12, "framewise_displacement"] = 2.0
    columns.to_csv(table, sep="\t", index=False, na_rep="n/a")
    shutil.copy(table, str(table).replace("run-1", "run-2"))
    data = nib.load(bold).agg_data()
    options = {"trigger": trigger, "onset": 1.5 if trigger is None else None, "progress": False}
    (path,) = prepare(root, tmp_path / "out", **options)
    paused, other = open_store(path).runs
    assert np.isnan(paused.bold()[~acquired]).all()
    np.testing.assert_array_equal(paused.bold()[acquired, :12], data.T)
    assert np.flatnonzero(paused.censored).tolist() == [2, 9, 10, 11, 12, 13, at[12]]
    np.testing.assert_allclose(paused.frame_times, 1.5 + TR / 2 + TR * np.arange(25), atol=1e-3)
    np.testing.assert_allclose(paused.motion[acquired], moved[:, 1:])
    assert not paused.motion[~acquired].any() and len(other.bold()) == K
    assert "run-1_hemi-L_space-fsaverage5_bold.func.gii: no volume at 5 of 25 frames (9:13)" in caplog.text
    (path,) = prepare(root, tmp_path / "clean", regress="csf", **options)
    kept = ~paused.censored
    cleaned, at_kept = open_store(path).runs[0].bold(), np.isin(at, np.flatnonzero(kept))
    confounds = pd.DataFrame({"csf": moved[:, 0]})
    expected = without_nuisance(paused.bold()[acquired], at_kept, confounds, None, TR, "run")
    np.testing.assert_allclose(cleaned[kept], expected[at_kept], atol=1e-5)


def test_triggers_may_be_left_aside_only_with_an_onset(root, tmp_path, caplog):
    with pytest.raises(InputError, match=r"run-1_eeg.vhdr: 20 volume triggers.*at 1.500 s.*--onset"):
        prepare(root, tmp_path / "out", trigger=None, progress=False)
    (path,) = prepare(root, tmp_path / "out", trigger=None, onset=2.0, progress=False)
    np.testing.assert_allclose(open_store(path).runs[0].frame_times, 2.0 + TR / 2 + TR * np.arange(K))
    write_run(tmp_path / "none", "01", 1, n_triggers=0)
    (path,) = prepare(tmp_path / "none", tmp_path / "without", progress=False)
    np.testing.assert_allclose(open_store(path).runs[0].frame_times, TR / 2 + TR * np.arange(K))
    assert caplog.text.count("no volume triggers; frames are counted from the EEG's start") == 1


@pytest.mark.parametrize(
    ("number", "option"),
    [
        ({"fd_threshold": np.nan}, "--fd-threshold nan"),
        ({"fd_threshold": -0.5}, "--fd-threshold -0.5"),
        ({"dvars_threshold": np.inf}, "--dvars-threshold inf"),
        ({"censor_after": -1}, "--censor-after -1; expected a whole number"),
        ({"rate": 0}, "--rate 0"),
        ({"rate": np.inf}, "--rate inf"),
        ({"l_freq": -1.0}, "--l-freq -1"),
        ({"onset": np.nan}, "--onset nan"),
        ({"skip_volumes": -1}, "--skip-volumes -1"),
        ({"skip_volumes": 1.5}, "--skip-volumes 1.5; expected a whole number"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(
    root, tmp_path, monkeypatch, number, option
):
    monkeypatch.setattr(prepare_module, "find_runs", None)
    with pytest.raises(InputError, match=option):
        prepare(root, tmp_path / "out", progress=False, **number)
    assert not (tmp_path / "out").exists()


def test_finished_runs_are_kept_and_changed_ones_read_again(root, tmp_path, monkeypatch):
    out = tmp_path / "out"
    (path,) = prepare(root, out, progress=False)
    read = []
    original = prepare_module.read_bold
    monkeypatch.setattr(
        prepare_module, "read_bold", lambda file, tr: read.append(file) or original(file, tr=tr)
    )
    prepare(root, out, progress=False)
    assert read == []
    changed = write_run(root, "01", 2)
    prepare(root, out, progress=False)
    assert read == [changed]
    assert len(open_store(path).runs) == 2


def test_a_run_is_read_again_when_any_of_its_files_appears_or_changes(root, tmp_path, monkeypatch, caplog):
    eeg, func = "sub-01/eeg/sub-01_task-rest_run-2", "derivatives/fmriprep/sub-01/func/sub-01_task-rest_run-2"
    bold = [f"{func}_hemi-{side}_space-fsaverage5_bold" for side in "LR"]
    absent = {
        f"{eeg}_channels.tsv": "name\nFz\n",
        f"{eeg}_electrodes.tsv": "name\tx\ty\tz\nFz\t1\t1\t1\n",
        **{f"{half}.json": "{}" for half in bold},
    }
    there = [f"{eeg}_eeg.{suffix}" for suffix in ("vhdr", "eeg", "vmrk")]
    there += [f"{func}_desc-confounds_timeseries.tsv", *(f"{half}.func.gii" for half in bold)]
    prepare(root, tmp_path / "out", progress=False)
    read, original = [], prepare_module._read
    monkeypatch.setattr(
        prepare_module, "_read", lambda run, *rest: read.append(run.name) or original(run, *rest)
    )
    caplog.set_level("INFO")
    for name, content in [*absent.items(), *((name, "") for name in (*there, *absent))]:
        if content:
            (root / name).write_text(content)
        else:
            os.utime(root / name, ns=(1, 1))
        for found in (["task-rest_run-2"], []):
            prepare(root, tmp_path / "out", progress=False)
            assert (name, read) == (name, found)
            assert caplog.messages[-1] == f"2 runs: {2 - len(found)} kept, {len(found)} read"
            read.clear()


def test_a_store_has_the_positions_of_its_first_run_as_it_is_now(root, tmp_path):
    (path,) = prepare(root, tmp_path / "out", progress=False)
    rows = [f"{name}\t{10 * i}\t50\t60\n" for i, name in enumerate(NAMES)]
    (root / "sub-01/eeg/sub-01_electrodes.tsv").write_text("name\tx\ty\tz\n" + "".join(rows))
    prepare(root, tmp_path / "out", progress=False)
    expected = [[0.01 * i, 0.05, 0.06] for i in range(4)]
    np.testing.assert_allclose(open_store(path).positions, expected)
    assert [entry.name for entry in path.parent.iterdir()] == ["sub-01.zarr"]


def test_a_store_of_other_files_needs_overwrite(root, tmp_path):
    (path,) = prepare(root, tmp_path / "out", progress=False)
    shutil.copytree(root, tmp_path / "other")
    with pytest.raises(InputError, match=r"run-1 was prepared from other files than .*other.*--overwrite"):
        prepare(tmp_path / "other", tmp_path / "out", progress=False)
    prepare(tmp_path / "other", tmp_path / "out", overwrite=True, progress=False)
    assert str(tmp_path / "other") in open_store(path).runs[0].sources["eeg"]


def test_a_store_stays_until_the_one_that_replaces_it_is_complete(root, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write_run(root, "02", 1)
    (path, second) = prepare(root, out, progress=False)
    before = open_store(path).runs[1].eeg()
    read, original = [], prepare_module._read

    def interrupted(run, settings):
        read.append((run.subject, run.name))
        if len(read) == 2:
            raise KeyboardInterrupt
        return original(run, settings)

    monkeypatch.setattr(prepare_module, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, out, rate=100, overwrite=True, progress=False)
    assert [open_store(store).rate for store in (path, second)] == [200, 200]
    np.testing.assert_array_equal(open_store(path).runs[1].eeg(), before)
    prepare(root, out, rate=100, overwrite=True, progress=False)
    assert read[2:] == [("01", "task-rest_run-2"), ("02", "task-rest_run-1")]  # it went on with the first
    assert [open_store(store).rate for store in (path, second)] == [100, 100]
    assert len(open_store(path).runs) == 2 and sorted(out.iterdir()) == [path, second]


def test_a_draft_that_is_given_up_is_removed(root, tmp_path, monkeypatch):
    out, original = tmp_path / "out", prepare_module._read
    (path,) = prepare(root, out, progress=False)

    def interrupted(run, settings):
        if run.name.endswith("run-2"):
            raise KeyboardInterrupt
        return original(run, settings)

    monkeypatch.setattr(prepare_module, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, out, rate=100, overwrite=True, progress=False)
    assert len(list(out.iterdir())) == 2
    prepare(root, out, progress=False)
    assert list(out.iterdir()) == [path] and open_store(path).rate == 200


def test_an_interrupted_prepare_resumes(root, tmp_path, monkeypatch):
    out = tmp_path / "out"
    original, calls = prepare_module._write_blocks, []

    def interrupted(group, name, data, chunks):
        calls.append(name)
        if len(calls) == 4:  # the second run's EEG
            raise KeyboardInterrupt
        original(group, name, data, chunks)

    monkeypatch.setattr(prepare_module, "_write_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, out, progress=False)
    store = out / "sub-01.zarr"
    with pytest.raises(InputError, match="lacks task-rest_run-2: neuroframes prepare .* run it again"):
        open_store(store)
    (store / "runs" / ".0123.task-rest_run-2").mkdir()  # what a killed process leaves
    prepare(root, out, progress=False)
    assert [run.name for run in open_store(store).runs] == ["task-rest_run-1", "task-rest_run-2"]
    assert not list((store / "runs").glob(".*"))


def test_a_store_that_lacks_a_run_is_refused_until_prepare_is_done(root, tmp_path):
    """Where a run fails that was added or damaged; a run that is given up is no longer expected."""
    (path,) = prepare(root, tmp_path / "out", progress=False)
    assert not (path / "expected.txt").exists()
    added = write_run(root, "01", 3, n_triggers=K - 5)
    for _ in range(2):
        with pytest.raises(InputError, match="run-3"):
            prepare(root, tmp_path / "out", progress=False)
        with pytest.raises(InputError, match="sub-01.zarr lacks task-rest_run-3"):
            open_store(path)
    for file in added.parent.glob("*_run-3_*"):
        file.unlink()
    prepare(root, tmp_path / "out", progress=False)
    assert len(open_store(path).runs) == 2 and not (path / "expected.txt").exists()


def damage(file: Path) -> bytes:
    """Flip a bit in the middle of a file; returns what it was."""
    content = file.read_bytes()
    at = len(content) // 2
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return content


def test_damage_is_found_where_it_is_read_and_prepare_reads_that_run_again(root, tmp_path, monkeypatch):
    (path,) = prepare(root, tmp_path / "out", progress=False)
    whole = open_store(path)
    again, run = "run neuroframes prepare again, which reads this run anew", path / "runs/task-rest_run-2"
    for name in ("zarr.json", "frame_times/c/0", "censored/zarr.json"):
        content = damage(run / name)
        with pytest.raises(InputError, match=rf"run-2/{name} is damaged: not as it was written; {again}"):
            open_store(path)
        (run / name).write_bytes(content)
    for name, read in (("bold/c/0/0", "bold"), ("bold/zarr.json", "bold"), ("eeg/c/0/0", "eeg")):
        content = damage(run / name)
        with pytest.raises(InputError, match=f"run-2/{name} is damaged.*; {again}"):
            getattr(open_store(path).runs[1], read)()
        (run / name).unlink()  # which zarr takes for zeros
        with pytest.raises(InputError, match=f"run-2/{name} is missing; {again}"):
            getattr(open_store(path).runs[1], read)()
        (run / name).write_bytes(content)
    read, original = [], prepare_module._read
    monkeypatch.setattr(
        prepare_module, "_read", lambda run, *rest: read.append(run.name) or original(run, *rest)
    )
    for name in ("zarr.json", "bold/c/0/0", "checksums.txt"):
        damage(run / name)
        prepare(root, tmp_path / "out", progress=False)
        assert read.pop() == "task-rest_run-2" and not read
        np.testing.assert_array_equal(open_store(path).runs[1].bold(), whole.runs[1].bold())
        np.testing.assert_array_equal(open_store(path).runs[1].eeg(), whole.runs[1].eeg())
    damage(path / "zarr.json")
    for use in (open_store, lambda _: prepare(root, tmp_path / "out", progress=False)):
        with pytest.raises(InputError, match=r"zarr.json is damaged.*; remove .*sub-01.zarr, and run neuro"):
            use(path)


def test_a_store_that_another_process_makes_is_refused(root, tmp_path):
    write_run(root, "02", 1)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".sub-01.zarr.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"sub-01.zarr is being written by another process; wait"):
            prepare(root, tmp_path / "out", progress=False)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".sub-01.zarr.lock"]
        prepare(root, tmp_path / "out", subject="02", progress=False)  # another person's store is free
    (path, _) = prepare(root, tmp_path / "out", progress=False)
    assert len(open_store(path).runs) == 2 and not list((tmp_path / "out").glob(".*"))


def test_other_settings_need_overwrite(root, tmp_path):
    out = tmp_path / "out"
    prepare(root, out, progress=False)
    with pytest.raises(InputError, match=r"was prepared with rate=200.0; .*--overwrite"):
        prepare(root, out, rate=100, progress=False)
    (path,) = prepare(root, out, rate=100, overwrite=True, progress=False)
    assert open_store(path).rate == 100
    (tmp_path / "mine" / "sub-01.zarr").mkdir(parents=True)
    with pytest.raises(InputError, match="is not a store of neuroframes"):
        prepare(root, tmp_path / "mine", overwrite=True, progress=False)


def test_copies_are_refused_across_runs_and_subjects(root, tmp_path):
    func = root / "derivatives/fmriprep/sub-01/func"
    for hemi in "LR":
        name = "sub-01_task-rest_run-{}_hemi-" + hemi + "_space-fsaverage5_bold.func.gii"
        shutil.copyfile(func / name.format(1), func / name.format(2))
    with pytest.raises(
        InputError, match=r"BOLD of sub-01.zarr/task-rest_run-2 is bit-identical.*task-rest_run-1"
    ):
        prepare(root, tmp_path / "out", progress=False)
    write_run(root, "01", 2)
    write_run(root, "05", 1)
    for suffix in ("vhdr", "vmrk", "eeg"):
        source = root / f"sub-01/eeg/sub-01_task-rest_run-1_eeg.{suffix}"
        copy = root / f"sub-05/eeg/sub-05_task-rest_run-1_eeg.{suffix}"
        copy.write_bytes(source.read_bytes().replace(b"sub-01", b"sub-05"))
    with pytest.raises(
        InputError, match=r"EEG of sub-05.zarr/task-rest_run-1 is bit-identical to that of sub-01"
    ):
        prepare(root, tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    "misfit, message",
    [
        ({"seconds": 17}, "lasts 17.0 s but the frames go from 1.5 to 17.5 s on its clock: 1 of 20 frames"),
        ({"n_triggers": 22}, "22 volume triggers but 20 frames; pass --skip-volumes 2"),
        ({"n_triggers": 15}, "15 volume triggers but 20 frames; the EEG lacks volumes"),
        ({"n_triggers": 0, "seconds": 10}, "lasts 10.0 s but the frames go from 0.0 to 16.0 s"),
    ],
)
def test_eeg_that_does_not_fit_the_bold(tmp_path, misfit, message):
    write_run(tmp_path / "bids", "01", 1, **misfit)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "bids", tmp_path / "out", progress=False)
    assert not list((tmp_path / "out").glob("*"))  # nothing was written


def test_runs_of_one_subject_must_agree(root, tmp_path):
    write_run(root, "01", 3, names=["Fz", "EEG cz", "Pz", "Oz"])
    with pytest.raises(InputError, match=r"sub-01's other runs are .*: Cz; renamed here.*EEG cz for Cz"):
        prepare(root, tmp_path / "out", progress=False)
    write_run(root, "01", 3, names=["Oz", "Fz", "Pz", "Cz", "T7"])
    func = root / "derivatives/fmriprep/sub-01/func"
    space = CorticalSpace.from_counts({"L": 10, "R": 12})
    data = np.random.default_rng(0).standard_normal((K, 22))
    path = func / "sub-01_task-rest_run-3_space-fsaverage5_bold.func.gii"
    write_bold(path, data, space, tr=TR, overwrite=True)
    with pytest.raises(InputError, match="same places and order"):
        prepare(root, tmp_path / "out", progress=False)
    write_run(root, "01", 3, names=["Oz", "Fz", "Pz", "Cz", "T7"])
    (store,) = prepare(root, tmp_path / "out", progress=False)
    assert open_store(store).runs[2].eeg().shape[0] == 4


def test_what_is_no_store(tmp_path):
    with pytest.raises(InputError, match="not a store of neuroframes"):
        open_store(tmp_path)
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(InputError, match="not a store of neuroframes"):
        open_store(tmp_path / "other.zarr")
    with pytest.raises(InputError, match="holds some; pass .*other.zarr"):
        open_store(tmp_path)


def write_tables(root: Path, run: int, n_features: int = 3, rows: int = K) -> Path:
    """Features and parcels of each frame of a run; returns the path of the features."""
    generator, stem = np.random.default_rng(run), f"sub-01_task-rest_run-{run}"
    names, values = ["a alpha", "b alpha", "c beta"], generator.standard_normal((rows, 3)).astype(np.float32)
    table = Features(values[:, :n_features], tuple(names[:n_features]), TR)
    func = root / "derivatives/xcp_d/sub-01/func"
    for folder in (root / "sub-01/eeg", func):
        folder.mkdir(parents=True, exist_ok=True)
    write_features(path := root / f"sub-01/eeg/{stem}_features.npz", table)
    np.savez(func / f"{stem}_timeseries.npz", bold=generator.standard_normal((K, 7)), tr=TR)
    return path


def test_features_stand_in_the_place_of_eeg(tmp_path):
    paths = [write_tables(tmp_path / "bids", run) for run in (1, 2)]
    (path,) = prepare(tmp_path / "bids", tmp_path / "out", progress=False)
    store = open_store(path)
    assert (store.channels, store.features) == ((), ("a alpha", "b alpha", "c beta"))
    assert (store.space.name, store.space.V, store.positions.shape) == ("parcels", 7, (0, 3))
    for run, source in zip(store.runs, paths, strict=True):
        table = read_features(source)
        signal, power = store.eeg_of(run, {})
        assert signal is None and np.array_equal(power.values, table.values)
        assert np.array_equal(power.times, run.frame_times) and len(set(power.band)) == 2
        assert run.eeg_rate == pytest.approx(1 / TR)


@pytest.mark.parametrize(
    ("options", "second", "message"),
    [
        ({"rate": 100.0, "trigger": "R128"}, {}, "--rate, --trigger: .* no EEG to be read that way"),
        ({}, {"rows": K - 2}, "features of 18 frames for 20 frames of BOLD"),
        ({}, {"n_features": 2}, "1 of the 3 features of sub-01's other runs are missing.*: c beta"),
    ],
)
def test_features_that_do_not_fit(tmp_path, options, second, message):
    write_tables(tmp_path / "bids", 1)
    write_tables(tmp_path / "bids", 2, **second)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "bids", tmp_path / "out", progress=False, **options)


def test_a_subject_has_features_or_raw_eeg(tmp_path):
    write_run(tmp_path, "01", 1)
    write_tables(tmp_path, 2)
    parcels = tmp_path / "derivatives/xcp_d/sub-01/func/sub-01_task-rest_run-2_timeseries.npz"
    parcels.rename(tmp_path / f"derivatives/fmriprep/sub-01/func/{parcels.name}")
    with pytest.raises(InputError, match="run-2_features.npz holds .* other runs of sub-01 have raw EEG"):
        prepare(tmp_path, tmp_path / "out", progress=False)


def test_confounds_and_drifts_are_regressed_out_without_censored_frames(root, tmp_path):
    table = root / "derivatives/fmriprep/sub-01/func/sub-01_task-rest_run-1_desc-confounds_timeseries.tsv"
    columns = pd.read_table(table)
    columns["csf"] = np.random.default_rng(0).standard_normal(K)
    columns.to_csv(table, sep="\t", index=False, na_rep="n/a")
    (path,) = prepare(root, tmp_path / "plain", progress=False)
    before = open_store(path).runs[0]
    with pytest.raises(InputError, match="no column csf"):  # of run 2
        prepare(root, tmp_path / "out", regress="csf", high_pass=0.05, progress=False)
    shutil.copy(table, str(table).replace("run-1", "run-2"))
    (path,) = prepare(root, tmp_path / "out", regress="csf", high_pass=0.05, progress=False)
    after = open_store(path).runs[0]
    np.testing.assert_array_equal(after.censored, before.censored)
    kept, explained = ~before.censored, columns[["csf"]]
    expected = without_nuisance(before.bold(), kept, explained, 0.05, TR, "run")
    np.testing.assert_array_equal(after.bold(), expected)
    with pytest.raises(InputError, match="prepared with regress=csf"):
        prepare(root, tmp_path / "out", progress=False)


def write_stimulus(folder: Path, run: int, names: tuple[str, ...], kinds: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame({name: run + np.arange(K) / 10 for name in names})
    path = folder / f"sub-01_task-rest_run-{run}.tsv"
    table.assign(kind=(kinds * K)[:K]).to_csv(path, sep="\t", index=False)
    return path


def test_what_was_shown_stands_beside_the_frames(root, tmp_path, caplog):
    stimuli = tmp_path / "stimuli"
    write_stimulus(stimuli, 1, ("light",), ["face", "house"])
    assert open_store(prepare(root, tmp_path / "plain")[0]).stimulus_features == ()
    (path,) = prepare(root, tmp_path / "out", subject="01", stimulus=stimuli)
    store = open_store(path)
    shown = [store.shown(run) for run in store.runs]

    assert store.stimulus_features == ("light", "kind=face", "kind=house")
    np.testing.assert_allclose(shown[0][:, 0], 1 + np.arange(K) / 10, rtol=1e-6)
    assert shown[0][:4, 1:].tolist() == [[1, 0], [0, 1]] * 2
    assert (
        np.isnan(shown[1]).all() and "run-2: nothing that was shown" in caplog.text
    )  # nothing of the second run
    segments, _ = load_segments(store, [Part("task-rest_run-1", 5, 12)], BANDS)
    assert np.array_equal(segments[0].shown, shown[0][5:12])

    write_stimulus(stimuli, 2, ("light",), ["cat"])
    prepare(root, tmp_path / "out", subject="01", stimulus=stimuli)  # a new file: its run is read again
    store = open_store(path)
    assert store.stimulus_features == ("light", "kind=face", "kind=house", "kind=cat")
    assert store.shown(store.runs[1])[0].tolist() == [2, 0, 0, 1]
    write_stimulus(stimuli, 2, ("dark",), ["cat"])
    with pytest.raises(InputError, match=r"run-2: .* features dark, task-rest_run-1 has light"):
        prepare(root, tmp_path / "out", subject="01", stimulus=stimuli)
    with pytest.raises(InputError, match=r"run-1.tsv is no folder; pass the one"):  # one table of all runs
        prepare(root, tmp_path / "out", subject="01", stimulus=stimuli / "sub-01_task-rest_run-1.tsv")
