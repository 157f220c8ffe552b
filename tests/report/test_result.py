"""Results: all files or none, names that BIDS has, nothing of the user's replaced."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import Cifti2Image

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold
from neuroframes.recording.sidecar import write_sidecar
from neuroframes.report.result import check_result, deviation_path, measured_frames, write_result

K = 5
GIFTI = CorticalSpace.from_counts({"L": 8, "R": 6})
LEFT = CorticalSpace.from_counts({"L": 8})
VOLUME = CorticalSpace.from_mask(np.ones((2, 3, 2), bool), np.eye(4))


def write(out: Path, space: CorticalSpace, *, stated: bool = True, **options: Any) -> tuple[Path, ...]:
    frames = np.arange(K * space.V, dtype=np.float32).reshape(K, space.V) + 1
    return write_result(
        out,
        frames,
        frames / 100 if stated else None,
        space,
        tr=0.5,
        start=1.5,
        measured=np.arange(K) != 2,
        about={"Description": "Test.", "Sources": ["a", "b"]},
        **options,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01_desc-completed_bold.dtseries.nii", "sub-01_desc-completed_stat-std_bold.dtseries.nii"),
        ("sub-01_desc-completed.func.gii", "sub-01_desc-completed_stat-std.func.gii"),
        ("x.nii.gz", "x_stat-std.nii.gz"),
        ("a_b.mgz", "a_b_stat-std.mgz"),
        ("a_hemi-L_space-x_bold.func.gii", "a_hemi-L_space-x_stat-std_bold.func.gii"),
    ],
)
def test_the_deviation_s_name(name, expected):
    assert deviation_path(Path("folder") / name) == Path("folder") / expected


def test_every_file_of_a_result(tmp_path, cifti_space):
    names = {
        "c_bold.dtseries.nii": (cifti_space, ["c_bold.dtseries.nii", "c_stat-std_bold.dtseries.nii"]),
        "v_bold.nii.gz": (VOLUME, ["v_bold.nii.gz", "v_stat-std_bold.nii.gz"]),
        "l_bold.func.gii": (LEFT, ["l_hemi-L_bold.func.gii", "l_hemi-L_stat-std_bold.func.gii"]),
        "g_hemi-R_bold.func.gii": (
            GIFTI,
            [f"g_hemi-{side}{std}_bold.func.gii" for std in ("", "_stat-std") for side in "LR"],
        ),
    }
    for name, (space, expected) in names.items():
        written = write(tmp_path / name[0] / name, space)
        assert [path.name for path in written] == expected
        sidecars = [f"{path.split('.')[0]}.json" for path in expected]
        assert sorted(path.name for path in (tmp_path / name[0]).iterdir()) == sorted(expected + sidecars)
        half = len(expected) // 2
        for index, sidecar in enumerate(sidecars):
            about = json.loads((tmp_path / name[0] / sidecar).read_text())
            assert about["NeuroframesMeasured"] == [True, True, False, True, True]
            assert (about["RepetitionTime"], about["NeuroframesStart"]) == (0.5, 1.5)
            assert about["Sources"] == ["a", "b"]
            # The frames name their deviation, hemisphere by hemisphere; the deviation says what it is.
            if index < half:
                assert about["NeuroframesStandardDeviation"] == expected[index + half]
                assert about["Description"] == "Test."
            else:
                assert "NeuroframesStandardDeviation" not in about
                assert expected[index - half] in about["Description"]
    series = nib.load(tmp_path / "c" / "c_bold.dtseries.nii").header.get_axis(0)
    assert (series.start, series.step, series.size) == (1.5, 0.5, K)


@pytest.mark.parametrize("given", ["", "hemi-L_", "hemi-R_"])
def test_names_depend_on_no_hemisphere_that_is_given(tmp_path, given):
    out = tmp_path / f"sub-01_{given}space-fsaverage5_desc-completed_bold.func.gii"
    draws = np.zeros((1, K, GIFTI.V), np.float32)
    assert [path.name for path in write(out, GIFTI, draws=draws, n_draws=1)] == [
        f"sub-01_hemi-{side}_space-fsaverage5_desc-completed_{part}bold.func.gii"
        for part in ("", "stat-std_", "draw-01_")
        for side in "LR"
    ]


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_every_image_of_a_volume_has_its_space_whatever_its_values(tmp_path, suffix):
    frames = np.ones((K, VOLUME.V), np.float32)
    frames[:, 4] = 0
    nothing = np.zeros_like(frames)
    written = write_result(
        tmp_path / f"x_bold{suffix}",
        frames,
        nothing,
        VOLUME,
        tr=0.5,
        start=0.0,
        measured=np.ones(K, bool),
        about={},
        draws=[nothing],
        n_draws=1,
    )
    for path, data in zip(written, (frames, nothing, nothing), strict=True):
        back = read_bold(path)
        VOLUME.check_same(back.space, path.name)
        np.testing.assert_array_equal(back.data, data)


@pytest.mark.parametrize("stated", ["{", 3, CorticalSpace.from_mask(np.ones((2, 2, 2)), np.eye(4)).to_json()])
def test_a_space_that_is_not_the_image_s_is_refused(tmp_path, stated):
    path = write(tmp_path / "x_bold.nii", VOLUME)[0]
    write_sidecar(path, {"NeuroframesSpace": stated}, overwrite=True)
    with pytest.raises(InputError, match=r"x_bold.json: NeuroframesSpace isn't that of x_bold.nii"):
        read_bold(path)


def test_draws_are_images_of_their_own(tmp_path):
    out = tmp_path / "g_hemi-L_desc-completed_bold.func.gii"
    draws = np.random.default_rng(0).standard_normal((2, K, GIFTI.V)).astype(np.float32)
    written = write(out, GIFTI, draws=iter(draws), n_draws=2)
    names = [f"g_hemi-{side}_desc-completed_draw-0{i}_bold.func.gii" for i in (1, 2) for side in "LR"]
    assert [path.name for path in written[4:]] == names
    for draw, path in zip(draws, written[4::2], strict=True):
        np.testing.assert_array_equal(read_bold(path).data, draw)
    for number, name in enumerate(names):
        about = json.loads((tmp_path / f"{name.split('.')[0]}.json").read_text())
        assert about["Description"].startswith(f"Draw {1 + number // 2} of 2 from the posterior whose mean")
        assert written[number % 2].name in about["Description"]
        assert about["NeuroframesMeasured"] == [True, True, False, True, True]
    for path in tmp_path.iterdir():
        if "draw-01" not in path.name:
            path.unlink()
    for n_draws in (0, 1):  # beside frames of another result they would pass for theirs
        with pytest.raises(InputError, match="draw-01.*exists"):
            check_result(out, GIFTI, False, n_draws=n_draws)


def test_draws_of_an_earlier_result_go_with_it(tmp_path):
    out = tmp_path / "g_bold.func.gii"
    draws = np.random.default_rng(0).standard_normal((3, K, GIFTI.V)).astype(np.float32)
    write(out, GIFTI, draws=iter(draws), n_draws=3)
    write(out, GIFTI, draws=iter(draws[:1]), n_draws=1, overwrite=True)
    assert {path.name.split("draw-")[1][:2] for path in tmp_path.glob("*draw-*")} == {"01"}


def test_without_a_deviation_none_is_named_nor_left_from_before(tmp_path):
    out = tmp_path / "g_hemi-L_desc-completed_bold.func.gii"
    before = write(out, GIFTI)
    other = tmp_path / "g_stat-std_bold.func.gii"
    other.write_text("another's")
    left, right = write(out, GIFTI, stated=False, overwrite=True)
    assert (left, right) == before[:2]
    sidecars = [path.with_name(f"{path.name.split('.')[0]}.json") for path in (left, right)]
    assert set(tmp_path.iterdir()) == {left, right, *sidecars, other}
    assert read_bold(left).data.shape == (K, GIFTI.V)
    for sidecar in sidecars:
        about = json.loads(sidecar.read_text())
        assert "NeuroframesStandardDeviation" not in about and about["Description"] == "Test."


def full_disk(monkeypatch, at: int, counts: Callable[[Path, Path], bool]) -> list[Path]:
    """Let the disk be full at the `at`-th of the moves that count; returns their targets as they come."""
    moved: list[Path] = []
    move = os.replace

    def full(source: Path, target: Path) -> None:
        if counts(Path(source), Path(target)):
            moved.append(target)
            if len(moved) == at + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        move(source, target)

    monkeypatch.setattr(os, "replace", full)
    return moved


@pytest.mark.parametrize("at", range(4))
def test_without_a_deviation_a_full_disk_leaves_none_either(tmp_path, monkeypatch, at):
    full_disk(monkeypatch, at, lambda _, target: str(target).startswith(f"{tmp_path}/new/x_"))
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path / "new" / "x_bold.func.gii", GIFTI, stated=False)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("at", range(8))
def test_a_disk_that_is_full_at_any_file_leaves_none(tmp_path, monkeypatch, at):
    # Only the moves to where the user looks; the temporaries' own are below a hidden folder.
    calls = full_disk(monkeypatch, at, lambda _, target: str(target).startswith(f"{tmp_path}/new/x_"))
    out = tmp_path / "new" / "x_bold.func.gii"
    with pytest.raises(OSError, match="no space left") as caught:
        write(out, GIFTI)
    assert caught.value.filename == str(out.with_name("x_hemi-L_bold.func.gii")) and len(calls) == at + 1
    assert list(tmp_path.rglob("*")) == []


def test_a_disk_that_is_full_while_writing_leaves_what_was_there(tmp_path, monkeypatch, cifti_space):
    out = tmp_path / "x_bold.dtseries.nii"
    before = {path: path.read_bytes() for path in write(out, cifti_space)}

    def full(self: Cifti2Image, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Cifti2Image, "to_filename", full)
    with pytest.raises(OSError) as caught:
        write(out, cifti_space, overwrite=True)
    assert caught.value.filename == str(out)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("at", range(8))
def test_a_disk_that_is_full_at_any_file_leaves_the_old_result(tmp_path, monkeypatch, at, stated):
    out = tmp_path / "x_bold.func.gii"
    before = {path: path.read_bytes() for path in write(out, GIFTI)}
    assert len(list(tmp_path.iterdir())) == 8
    full_disk(monkeypatch, at, lambda source, target: tmp_path in (source.parent, target.parent))
    with pytest.raises(OSError, match="no space left"):
        write(out, GIFTI, stated=stated, overwrite=True)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize(
    "taken", ["x_hemi-R_bold.func.gii", "x_hemi-L_bold.json", "x_hemi-L_stat-std_bold.func.gii"]
)
def test_any_file_that_exists_needs_overwrite(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(InputError, match="exists already; pass --overwrite"):
        write(tmp_path / "x_bold.func.gii", GIFTI)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"
    write(tmp_path / "x_bold.func.gii", GIFTI, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize(
    ("name", "space", "expected"),
    [
        ("x.nii.gz", GIFTI, ".func.gii or .gii"),
        ("x.dtseries.nii", VOLUME, ".nii.gz or .nii or .mgz"),
        ("x.dscalar.nii", VOLUME, ".nii.gz or .nii or .mgz"),
        ("x.html", VOLUME, ".nii.gz"),
        (".", GIFTI, ".func.gii"),
        ("x.ptseries.nii", CorticalSpace.from_parcels(3), ".tsv or .csv or .npz"),
        (
            "x.tsv",
            CorticalSpace.from_parcels(2, ["7", "9"]),
            "'7' would be read as numbers there; write .npz",
        ),
    ],
)
def test_the_suffix_must_fit_the_space(tmp_path, name, space, expected):
    with pytest.raises(InputError, match=expected):
        check_result(tmp_path / name if name != "." else Path("."), space, False)


def test_folders_and_inputs_are_refused(tmp_path):
    folder = tmp_path / "x_hemi-L_bold.func.gii"
    folder.mkdir()
    with pytest.raises(InputError, match="is a folder; give --out the name of a file"):
        check_result(tmp_path / "x_bold.func.gii", GIFTI, True)
    written = write(tmp_path / "y_bold.func.gii", GIFTI)
    with pytest.raises(InputError, match="y_hemi-L_bold.func.gii, which is read here"):
        check_result(tmp_path / "y_bold.func.gii", GIFTI, True, inputs=written[:2])
    # Another format with the same stem would take the run's sidecar.
    with pytest.raises(InputError, match="y_hemi-L_bold.json, which is read here"):
        check_result(tmp_path / "y_hemi-L_bold.nii.gz", VOLUME, True, inputs=written[:2])


def test_numbers_of_measured_frames(tmp_path):
    stated = [True, False, True, True]
    for side, of_side in (("L", stated), ("R", [True, True, False, True])):
        path = tmp_path / f"x_hemi-{side}_bold.func.gii"
        path.touch()
        write_sidecar(path, {"NeuroframesMeasured": of_side})
    write_sidecar(tmp_path / "y_bold.nii.gz", {"NeuroframesMeasured": stated})
    assert measured_frames(tmp_path / "y_bold.nii.gz").tolist() == [0, 2, 3]
    assert measured_frames(tmp_path / "x_hemi-R_bold.func.gii").tolist() == [0, 3]
    write_sidecar(tmp_path / "z_bold.nii.gz", {"NeuroframesMeasured": [1, 0]})
    for name in ("z_bold.nii.gz", "no_bold.nii.gz"):
        with pytest.raises(InputError, match="no NeuroframesMeasured, true or false for each frame"):
            measured_frames(tmp_path / name)
