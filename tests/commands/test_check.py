"""What `check` says of data sets in which one thing is wrong: the rest is told as it is."""

import json
import os
import shutil
from pathlib import Path

import mne
import nibabel as nib
import numpy as np
import pybv
import pytest

from neuroframes.cli import main
from neuroframes.commands import check_run
from neuroframes.commands.check import Check, check
from neuroframes.cortex.space import CorticalSpace
from neuroframes.recording.bold import write_bold
from neuroframes.recording.eeg import read_eeg
from neuroframes.recording.sidecar import write_sidecar

N_FRAMES, RATE, ONSET = 240, 100, 3.0
TRIGGERS = ONSET + np.arange(N_FRAMES)
CHANNELS = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"]
VOLUME = "MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
FUNC = "derivatives/fmriprep/{0}/func/{0}_task-rest"


def eeg_of(folder: Path, name: str, seed: int, triggers=TRIGGERS, flat=0, comb=0, channels=CHANNELS) -> Path:
    data = 1e-5 * np.random.default_rng(seed).standard_normal((len(CHANNELS), (N_FRAMES + 8) * RATE))
    data[:flat] = 2e-5
    # So many periods a volume, of different size in each channel.
    if comb:
        phase = np.interp(np.arange(data.shape[1]) / RATE, triggers, np.arange(len(triggers)))
        data += 1e-5 * np.arange(1, 11)[:, None] * np.sin(2 * np.pi * comb * phase)
    events = [
        {"onset": round(time * RATE), "duration": 1, "description": 128, "type": "Response"}
        for time in triggers
    ]
    pybv.write_brainvision(
        data=data,
        sfreq=RATE,
        ch_names=channels,
        fname_base=name,
        folder_out=folder,
        overwrite=True,
        unit="µV",
        events=events,
    )
    return folder / f"{name}.vhdr"


@pytest.fixture(scope="module")
def three_people(tmp_path_factory, cifti_space) -> Path:
    """sub-01 to sub-03, a run of 240 frames each; frames 100 to 104 moved by 2 mm."""
    root = tmp_path_factory.mktemp("data")
    for number in (1, 2, 3):
        person, generator = f"sub-{number:02d}", np.random.default_rng(number)
        bold = root / f"{FUNC.format(person)}_space-fsLR_den-91k_bold.dtseries.nii"
        bold.parent.mkdir(parents=True)
        frames = 100 + generator.standard_normal((N_FRAMES, cifti_space.V))
        write_bold(bold, np.asfortranarray(frames, np.float32), cifti_space, tr=1.0)
        displacement = np.where((np.arange(N_FRAMES) >= 100) & (np.arange(N_FRAMES) < 105), 2.0, 0.1)
        lines = ["framewise_displacement", "n/a", *displacement[1:].astype(str), ""]
        (root / f"{FUNC.format(person)}_desc-confounds_timeseries.tsv").write_text("\n".join(lines))
        (root / person / "eeg").mkdir(parents=True)
        eeg_of(root / person / "eeg", f"{person}_task-rest_eeg", number)
    return root


@pytest.fixture(scope="module")
def untouched(three_people) -> Check:
    return checked(three_people)


@pytest.fixture
def data(three_people, tmp_path) -> Path:
    return Path(shutil.copytree(three_people, tmp_path / "data"))


def bold_of(data: Path, person: str = "sub-02") -> Path:
    return data / f"{FUNC.format(person)}_space-fsLR_den-91k_bold.dtseries.nii"


def checked(data: Path, **options) -> Check:
    return check(data, progress=False, **options)


def can(found: Check) -> dict[str, bool]:
    return {use.command: use.possible for use in found.uses}


def test_what_is_there_is_told(untouched):
    found = untouched
    assert found.exit_code == 0 and not found.warnings and all(can(found).values())
    assert [(run.person, run.name) for run in found.runs] == [(f"sub-0{n}", "task-rest") for n in (1, 2, 3)]
    run = found.runs[0]
    assert (run.errors, run.warnings) == ([], [])
    assert (run.frames, run.tr, run.duration, run.space) == (N_FRAMES, 1.0, 240.0, "unknown (200)")
    assert (run.measured, run.longest_gap) == (N_FRAMES - 5, 5)
    assert run.mean_fd == pytest.approx((0.1 * 234 + 2.0 * 5) / 239)
    assert 0.8 * run.measured < run.effective_frames <= run.measured  # frames are independent
    assert (run.channels, run.located, run.eeg_rate, run.eeg_duration) == (10, 10, RATE, N_FRAMES + 8)
    assert run.amplitude == pytest.approx(1e-5, rel=0.05)
    assert (run.triggers, run.onset) == (N_FRAMES, ONSET)
    assert run.drift == pytest.approx(0, abs=1)


def test_volumes_are_taken_where_prepare_would_project_them(data):
    values = np.random.default_rng(0).standard_normal((4, 4, 4, N_FRAMES)).astype(np.float32)
    for person in ("sub-01", "sub-02", "sub-03"):
        bold = bold_of(data, person)
        bold.unlink()
        image = nib.Nifti1Image(values + int(person[-1]), np.diag([30.0, 30, 30, 1]))
        image.header.set_zooms((30, 30, 30, 1))
        nib.save(image, bold.with_name(bold.name.replace("fsLR_den-91k_bold.dtseries.nii", VOLUME)))
    assert any("--surface fsaverage5" in error for error in checked(data).errors)
    found = checked(data, surface="fsaverage5")
    assert [run.frames for run in found.runs] == [N_FRAMES] * 3 and can(found)["prepare"]


def test_what_the_scanner_leaves_is_told(data):
    """A clock that is 400 ppm off, and an artefact of 12 slices a volume."""
    triggers = ONSET + (1 + 4e-4) * np.arange(N_FRAMES)
    path = eeg_of(data / "sub-02/eeg", "sub-02_task-rest_eeg", 2, triggers, comb=12)
    run = checked(data).runs[1]
    assert run.drift == pytest.approx(400, abs=20) and run.gradient > 0.5
    (warning,) = run.warnings
    assert warning.startswith(f"{path.name}: the gradient artefact is still there")


def without_trigger(data: Path) -> None:
    eeg_of(data / "sub-02/eeg", "sub-02_task-rest_eeg", 2, np.delete(TRIGGERS, 25))


def with_flat_channel(data: Path) -> None:
    eeg_of(data / "sub-02/eeg", "sub-02_task-rest_eeg", 2, flat=1)


def with_damaged_bold(data: Path) -> None:
    bold_of(data).write_bytes(bold_of(data).read_bytes()[:50_000])


def with_damaged_eeg(data: Path) -> None:
    (data / "sub-02/eeg/sub-02_task-rest_eeg.eeg").unlink()


def with_other_sidecar(data: Path) -> None:
    bold_of(data).with_name(bold_of(data).name.replace(".dtseries.nii", ".json")).write_text(
        '{"RepetitionTime": 2}'
    )


def with_short_confounds(data: Path) -> None:
    (data / f"{FUNC.format('sub-02')}_desc-confounds_timeseries.tsv").write_text(
        "framewise_displacement\n0\n"
    )


def with_rotation_that_is_no_number(data: Path) -> None:
    names = ["framewise_displacement", *(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz")]
    lines = ["\t".join(names), *(["\t".join("0000x00")] * N_FRAMES), ""]
    (data / f"{FUNC.format('sub-02')}_desc-confounds_timeseries.tsv").write_text("\n".join(lines))


def with_gap_after_one_trigger(data: Path) -> None:
    path = eeg_of(data / "sub-02/eeg", "sub-02_task-rest_eeg", 2, TRIGGERS[:1])
    markers = path.with_suffix(".vmrk")
    markers.write_text(markers.read_text() + "Mk3=New Segment,,10001,1,0,20200101000000000000\n")


def without_confounds(data: Path) -> None:
    (data / f"{FUNC.format('sub-02')}_desc-confounds_timeseries.tsv").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "warning"),
    [
        (without_trigger, "1 missing between 27.000 and 29.000 s", ""),
        (with_damaged_bold, "truncated", ""),
        (with_damaged_eeg, "MNE cannot read it as EEG", ""),
        (with_other_sidecar, "a TR of 1 s but", ""),
        (with_short_confounds, "1 lines but the BOLD has 240 frames", ""),
        (with_rotation_that_is_no_number, "column rot_x", ""),
        (with_flat_channel, "", "constant: Fp1"),
        (without_confounds, "", "no confounds of the same run by name: nothing is censored"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_thing_is_wrong_with_one_run(data, untouched, spoil, error, warning):
    spoil(data)
    found = checked(data)
    first, spoiled, third = found.runs
    for run, was in ((first, untouched.runs[0]), (third, untouched.runs[2])):
        assert (run.errors, run.warnings, run.digests) == ([], [], was.digests)
    for told, expected in ((spoiled.errors, error), (spoiled.warnings, warning)):
        assert len(told) == bool(expected) and expected in "".join(told)
    assert found.exit_code == (3 if error else 0)
    assert can(found)["evaluate across people"] == (not error)
    assert can(found)["prepare"] and can(found)["train across people"]
    if spoil is without_trigger:  # nothing else of the run is lost
        assert (spoiled.frames, spoiled.channels) == (N_FRAMES, 10)
        assert spoiled.amplitude == pytest.approx(1e-5, rel=0.05)
    if spoil is with_flat_channel:
        assert spoiled.flat == ["Fp1"]


def test_a_run_that_pauses_is_told(data):
    onsets = np.arange(N_FRAMES) + 5.0 * (np.arange(N_FRAMES) >= 50)
    write_sidecar(bold_of(data), {"VolumeTiming": onsets.tolist()})
    eeg_of(data / "sub-02/eeg", "sub-02_task-rest_eeg", 2, ONSET + onsets)
    run = checked(data).runs[1]
    assert (run.errors, run.triggers, run.frames, run.measured) == ([], N_FRAMES, 245, 235)
    assert run.duration == 245 and run.longest_gap == 5 and abs(run.drift) < 1
    said = ".dtseries.nii: no volume at 5 of 245 frames (50:54), where the run pauses by VolumeTiming"
    assert [said in warning for warning in run.warnings] == [True]


def test_frames_beyond_a_gap_have_no_eeg(data):
    with_gap_after_one_trigger(data)
    run = checked(data).runs[1]
    assert "the EEG lasts 100.0 s but the frames go from 3.0 to 243.0 s" in run.errors[0]


def test_runs_of_a_person_are_alike_in_channels_and_space(data, cifti_space):
    """run-10 comes after run-2, and it is the later run that prepare refuses."""
    spaces = {2: cifti_space, 10: CorticalSpace.from_axis(cifti_space.axis()[:180])}
    channels = {2: CHANNELS, 10: [*CHANNELS[:-1], "Oz"]}
    for number, space in spaces.items():
        name, generator = f"sub-04_task-rest_run-{number}", np.random.default_rng(20 + number)
        bold = data / f"{FUNC.format('sub-04')}_run-{number}_space-fsLR_bold.dtseries.nii"
        for folder in (bold.parent, data / "sub-04/eeg"):
            folder.mkdir(parents=True, exist_ok=True)
        frames = 100 + generator.standard_normal((N_FRAMES, space.V))
        write_bold(bold, np.asfortranarray(frames, np.float32), space, tr=1.0)
        eeg_of(data / "sub-04/eeg", f"{name}_eeg", 20 + number, channels=channels[number])
    *_, second, tenth = checked(data).runs
    assert (second.name, second.errors) == ("task-rest_run-2", [])
    assert "has 180 values" in tenth.errors[0] and "200" in tenth.errors[0]
    assert "1 of the 10 channels of sub-04's other runs are missing from the EEG: O2" in tenth.errors[1]


def test_features_beside_raw_eeg_of_a_person_are_refused(data):
    table = data / "sub-02/eeg/sub-02_task-film_features.tsv"
    table.write_text("\n".join(["alpha", *map(str, range(N_FRAMES)), ""]))
    bold = bold_of(data)
    shutil.copy(bold, bold.with_name(bold.name.replace("rest", "film")))
    assert "other runs of sub-02 have raw EEG" in checked(data).errors[0]


def test_triggers_that_are_not_there_need_no_onset(data):
    eeg_of(data / "sub-02/eeg", "sub-02_task-rest_eeg", 2, ())
    first, second, _ = checked(data, trigger=None).runs
    assert "240 volume triggers, the first at 3.000 s, aren't to be used" in first.errors[0]
    assert not second.errors and "counted from the EEG's start" in second.warnings[0]


def test_files_that_do_not_pair_are_told_with_what_differs(data):
    for file in (data / "sub-02/eeg").iterdir():
        file.rename(file.with_name(file.name.replace("task-rest", "task-movie")))
    header = data / "sub-02/eeg/sub-02_task-movie_eeg.vhdr"
    header.write_text(header.read_text().replace("task-rest", "task-movie"))
    shutil.rmtree(data / "sub-03")
    found = checked(data)
    assert found.exit_code == 0 and can(found)["prior"] and not can(found)["train across people"]
    told = {(run.person, run.name): run.warnings for run in found.runs}
    assert [*told] == [
        *(("sub-01", "task-rest"), ("sub-02", "task-movie"), ("sub-02", "task-rest"), ("sub-03", "task-rest"))
    ]
    assert "EEG without BOLD; the nearest is" in told["sub-02", "task-movie"][0]
    assert told["sub-02", "task-rest"] == [
        f"{bold_of(data).name}: BOLD without EEG; the nearest is {header.name}, but they differ in "
        "task-movie, task-rest"
    ]
    assert "BOLD without EEG; no EEG of sub-03 is left over" in told["sub-03", "task-rest"][0]
    shutil.rmtree(data / "derivatives")
    found = checked(data)
    assert found.exit_code == 3 and "no preprocessed BOLD" in found.errors[0]


def test_a_data_set_that_prepare_refuses_is_told_run_by_run(data):
    for person in ("sub-02", "sub-03"):
        bold = bold_of(data, person)
        shutil.copy(bold, bold.with_name(bold.name.replace("bold", "desc-x_bold")))
    (data / "sub-04/eeg").mkdir(parents=True)
    eeg_of(data / "sub-04/eeg", "sub-04_task-rest_eeg", 4)  # which prepare leaves out
    found = checked(data)
    assert found.exit_code == 3
    assert [error.partition(" (")[0] for error in found.errors] == [
        f"sub-0{number}_task-rest: expected one BOLD file, got 2" for number in (2, 3)
    ]
    assert [run.frames for run in found.runs if run.bold and run.eeg] == [N_FRAMES]


def test_copies_are_found_whatever_they_are_called(data, capsys):
    shutil.rmtree(data / "sub-03/eeg")
    shutil.copytree(data / "sub-01/eeg", data / "sub-03/eeg")
    for file in (data / "sub-03/eeg").iterdir():
        file.write_bytes(file.read_bytes().replace(b"sub-01", b"sub-03"))
        file.rename(file.with_name(file.name.replace("sub-01", "sub-03")))
    first, _, third = checked(data).runs
    assert first.errors == []
    assert third.errors == [
        "EEG and that of sub-01 task-rest are alike in the pieces read; remove the copy, or replace it by "
        "the recording that belongs here"
    ]
    shutil.copy(bold_of(data, "sub-01"), bold_of(data, "sub-03"))
    assert main(["check", os.fspath(data)]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "sub-03 is a copy of sub-01; leave one of them out" in shown
    assert "BOLD and that of sub-01 task-rest are bit-identical" in shown
    found = checked(data)
    assert found.runs[2].digests == found.runs[0].digests
    assert next(use.what for use in found.uses if use.command == "prior") == "2 runs of 2 people"


def test_table_and_json(data, tmp_path, capsys, refused):
    without_confounds(data)
    out = tmp_path / "found.json"
    before = set(tmp_path.rglob("*"))
    assert main(["check", os.fspath(data), "--json", os.fspath(out), "--fd-threshold", "3"]) == 0
    printed = capsys.readouterr()
    assert max(map(len, printed.out.splitlines())) <= 100
    assert "sub-02 task-rest" in printed.out and "0 errors, 1 warning" in printed.out
    assert set(tmp_path.rglob("*")) == before | {out}
    content = json.loads(out.read_text())
    assert content["usable"] is True and len(content["runs"]) == 3
    assert content["runs"][0]["measured"] == N_FRAMES and content["runs"][1]["confounds"] is None
    assert {use["command"] for use in content["uses"]} >= {"complete", "prior", "adapt", "reconstruct"}
    assert "pass --overwrite to replace it, or another --json" in refused("check", data, "--json", out)


def test_single_files(data, refused):
    bold, eeg = bold_of(data), data / "sub-02/eeg/sub-02_task-rest_eeg.vhdr"
    (run,) = checked(bold, eeg=eeg).runs
    assert (run.person, run.triggers, run.measured) == ("sub-02", N_FRAMES, N_FRAMES - 5)
    (run,) = checked(eeg).runs
    assert (run.frames, run.triggers, run.channels) == (None, N_FRAMES, 10)
    (run,) = checked(bold, eeg=data / "sub-01/eeg/sub-01_task-rest_eeg.vhdr").runs
    assert "is of sub-01 but" in run.errors[0]
    assert "is EEG; pass the BOLD first" in refused("check", eeg, "--eeg", eeg)
    assert "--eeg and --confounds are of one run" in refused("check", data, "--eeg", eeg)


def test_volumes_of_any_format_are_bold(tmp_path):
    frames = 100 + np.random.default_rng(0).standard_normal((4, 4, 4, 40)).astype(np.float32)
    nib.save(nib.Spm99AnalyzeImage(frames, np.eye(4)), tmp_path / "rest.img")
    (run,) = checked(tmp_path / "rest.img", bold_tr=2.0).runs
    assert (run.frames, run.errors) == (40, [])
    for name in ("rest.mgh", "rest.MGZ", "rest.img.gz", "rest+tlrc.HEAD", "rest+tlrc.BRIK.gz"):
        (tmp_path / name).touch()
        (run,) = checked(tmp_path / name).runs
        assert (run.bold, run.eeg) == (tmp_path / name, None)


def test_folders_of_hcp(data, tmp_path):
    for subject, person in (("100307", "sub-01"), ("100408", "sub-02")):
        folder = tmp_path / "hcp" / subject / "MNINonLinear/Results/rfMRI_REST1_LR"
        folder.mkdir(parents=True)
        for name in ("_Atlas", "_Atlas_MSMAll"):
            shutil.copy(bold_of(data, person), folder / f"rfMRI_REST1_LR{name}.dtseries.nii")
    found = checked(tmp_path / "hcp")
    assert [(run.person, run.name) for run in found.runs] == [
        *(("100307", "rfMRI_REST1_LR"), ("100408", "rfMRI_REST1_LR"))
    ]
    assert "Atlas_MSMAll" in found.runs[0].bold.name
    assert can(found)["complete"] and not can(found)["prior"] and not can(found)["prepare"]


def test_there_must_be_something_to_check(refused, tmp_path):
    assert "no such file or folder" in refused("check", tmp_path / "nowhere")
    assert "no EEG of sub-*" in refused("check", tmp_path)


def test_samples_of_eeg_are_read_in_pieces(data, monkeypatch):
    monkeypatch.setattr(check_run, "PIECE", 1.0)
    read, get_data = [], mne.io.BaseRaw.get_data

    def counted(self, picks=None, start=0, stop=None, **options):
        read.append(stop - start)
        return get_data(self, picks, start, stop, **options)

    monkeypatch.setattr(mne.io.BaseRaw, "get_data", counted)
    eeg = data / "sub-02/eeg/sub-02_task-rest_eeg.vhdr"
    checked(eeg)
    assert sum(read) == check_run.N_PIECES * RATE
    read.clear()
    assert read_eeg(eeg).data.shape[1] <= sum(read)  # what counts here is counted
