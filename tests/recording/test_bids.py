"""Which files of a BIDS tree belong together."""

from pathlib import Path

import pytest

from neuroframes.errors import InputError
from neuroframes.recording.bids import check_same_run, confounds_of, find_bold, find_runs, person_of

FUNC = "derivatives/fmriprep/sub-{}/func/sub-{}_task-movie_run-{}"


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def two_runs(root: Path) -> Path:
    return tree(
        root,
        "sub-01/eeg/sub-01_task-movie_run-01_eeg.vhdr",
        "sub-01/eeg/sub-01_task-movie_run-01_eeg.eeg",
        "sub-01/eeg/sub-01_task-movie_run-2_eeg.edf",
        FUNC.format("01", "01", "1") + "_space-fsLR_den-91k_bold.dtseries.nii",
        FUNC.format("01", "01", "1") + "_space-fsLR_den-32k_bold.dtseries.nii",
        FUNC.format("01", "01", "1") + "_hemi-L_space-fsaverage5_bold.func.gii",
        FUNC.format("01", "01", "1") + "_hemi-R_space-fsaverage5_bold.func.gii",
        FUNC.format("01", "01", "1") + "_space-fsLR_seg-MMP_bold.ptseries.nii",
        FUNC.format("01", "01", "1") + "_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz",
        FUNC.format("01", "01", "1") + "_desc-confounds_timeseries.tsv",
        FUNC.format("01", "01", "2") + "_acq-mb_space-fsLR_den-91k_bold.dtseries.nii",
        FUNC.format("01", "01", "2") + "_space-fsLR_den-91k_desc-completed_bold.dtseries.nii",
    )


def test_eeg_and_bold_meet_by_subject_session_task_and_run(tmp_path):
    first, second = find_runs(two_runs(tmp_path))
    assert first.subject == "01"
    assert (first.name, second.name) == ("task-movie_run-1", "task-movie_run-2")
    assert first.eeg.name.endswith("run-01_eeg.vhdr") and second.eeg.suffix == ".edf"
    assert [path.name for path in first.bold] == [
        "sub-01_task-movie_run-1_space-fsLR_den-91k_bold.dtseries.nii"
    ]
    assert first.confounds.name.endswith("run-1_desc-confounds_timeseries.tsv") and second.confounds is None
    assert "acq-mb" in second.bold[0].name  # and not our own output beside it


@pytest.mark.parametrize(
    "eeg", ["eeg.mff/info.xml", "eeg.fif", "features.tsv", "features.npz", "features.parquet", "features.mat"]
)
def test_eeg_in_whatever_form(tmp_path, eeg):
    stem = "sub-01/eeg/sub-01_task-movie_run-1_"
    bold = FUNC.format("01", "01", "1") + "_space-fsLR_den-91k_bold.dtseries.nii"
    (run,) = find_runs(tree(tmp_path, stem + eeg, bold))
    assert run.eeg == tmp_path / (stem + eeg.partition("/")[0])


def test_another_space_can_be_asked_for(tmp_path):
    (run,) = find_runs(two_runs(tmp_path), space="fsaverage5")
    assert [path.name[24:30] for path in run.bold] == ["hemi-L", "hemi-R"]
    (run,) = find_runs(tmp_path, space="MNI152NLin6Asym")
    assert run.bold[0].name.endswith("_bold.nii.gz")
    with pytest.raises(InputError, match="no preprocessed BOLD in space fsnative"):
        find_runs(tmp_path, space="fsnative")


def test_sessions_subjects_and_other_roots(tmp_path):
    tree(
        tmp_path,
        "sub-02/ses-b/eeg/sub-02_ses-b_task-rest_eeg.set",
        "sub-03/ses-b/eeg/sub-03_ses-b_task-rest_eeg.set",
        "derivatives/clean/sub-02/ses-b/eeg/sub-02_ses-b_task-rest_desc-clean_eeg.set",
        "derivatives/fmriprep/sub-02/ses-b/func/sub-02_ses-b_task-rest_space-fsLR_den-91k_bold.dtseries.nii",
        "derivatives/fmriprep/sub-03/ses-b/func/sub-03_ses-b_task-rest_space-fsLR_den-91k_bold.dtseries.nii",
    )
    assert [run.subject for run in find_runs(tmp_path)] == ["02", "03"]
    for subject in ("03", "sub-03"):
        assert [run.subject for run in find_runs(tmp_path, subject=subject)] == ["03"]
    (run,) = find_runs(tmp_path, eeg_root=tmp_path / "derivatives/clean")
    assert (run.name, run.eeg.name[:34]) == ("ses-b_task-rest", "sub-02_ses-b_task-rest_desc-clean_")
    for root in ("derivatives", "derivatives/fmriprep"):
        assert len(find_runs(tmp_path / root)) == 2


def test_a_run_without_its_partner_is_left_out_with_a_warning(tmp_path, caplog):
    tree(two_runs(tmp_path), "sub-01/eeg/sub-01_task-rest_eeg.vhdr")
    assert len(find_runs(tmp_path)) == 2
    assert "sub-01_task-rest has EEG but no BOLD: left out" in caplog.text


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_runs(tmp_path / "absent")
    with pytest.raises(InputError, match="no EEG"):
        find_runs(tmp_path)
    tree(tmp_path, "sub-01/eeg/sub-01_task-a_eeg.vhdr")
    with pytest.raises(InputError, match=r"no preprocessed BOLD.*run fMRIPrep .* fsaverage5$"):
        find_runs(tmp_path)
    func = "derivatives/fmriprep/sub-01/func"
    tree(tmp_path, f"{func}/sub-01_task-b_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz")
    with pytest.raises(InputError, match="fsaverage5, or prepare with --surface fsaverage5, which projects"):
        find_runs(tmp_path)
    tree(tmp_path, "derivatives/fmriprep/sub-01/func/sub-01_task-b_space-fsLR_den-91k_bold.dtseries.nii")
    with pytest.raises(InputError, match="EEG of sub-01_task-a, BOLD of sub-01_task-b; name both with"):
        find_runs(tmp_path)
    with pytest.raises(InputError, match="no EEG of sub-07"):
        find_runs(tmp_path, subject="07")


def test_two_files_for_one_run_are_refused(tmp_path):
    tree(two_runs(tmp_path), "sub-01/eeg/sub-01_task-movie_run-1_eeg.edf")
    with pytest.raises(InputError, match="sub-01_task-movie_run-1: expected one EEG file, got 2"):
        find_runs(tmp_path)
    (tmp_path / "sub-01/eeg/sub-01_task-movie_run-1_eeg.edf").unlink()
    tree(tmp_path, FUNC.format("01", "01", "1") + "_space-fsLR_den-91k_desc-x_bold.dtseries.nii")
    with pytest.raises(InputError, match="sub-01_task-movie_run-1: expected one BOLD file, got 2"):
        find_runs(tmp_path)


REST = "derivatives/fmriprep/sub-01/func/sub-01_task-rest{}_space-fsLR_den-91k_bold.dtseries.nii"
EEG = "sub-01/eeg/sub-01_task-rest{}_eeg.vhdr"
CONFOUNDS = "derivatives/fmriprep/sub-01/func/sub-01_task-rest{}_desc-confounds_timeseries.tsv"


def test_acquisitions_of_a_task_are_runs_of_their_own(tmp_path):
    """acq, where EEG and BOLD state it; what is nearest, where one of them doesn't."""
    tree(tmp_path, *(name.format(f"_acq-{acq}") for name in (EEG, REST, CONFOUNDS) for acq in "ab"))
    tree(tmp_path, EEG.format(""), REST.format("_dir-AP"), CONFOUNDS.format("_dir-PA"))
    runs = find_runs(tmp_path)
    assert [run.name for run in runs] == ["task-rest", "task-rest_acq-a", "task-rest_acq-b"]
    assert [run.bold[0].name for run in runs] == [
        Path(REST.format(entity)).name for entity in ("_dir-AP", "_acq-a", "_acq-b")
    ]
    assert [run.confounds and run.confounds.name for run in runs] == [
        None,
        *(Path(CONFOUNDS.format(f"_acq-{acq}")).name for acq in "ab"),
    ]


def test_acquisitions_that_contradict_are_no_run(tmp_path, caplog):
    tree(tmp_path, EEG.format("_acq-a"), REST.format("_acq-b"))
    with pytest.raises(
        InputError, match="EEG of sub-01_task-rest_acq-a, BOLD of sub-01_task-rest_acq-b; .* acq"
    ):
        find_runs(tmp_path)
    tree(tmp_path, EEG.format(""))
    (run,) = find_runs(tmp_path)
    assert run.bold[0].name == Path(REST.format("_acq-b")).name
    assert "sub-01_task-rest_acq-a has EEG but no BOLD: left out" in caplog.text


def test_directions_between_which_eeg_does_not_choose_are_refused(tmp_path):
    tree(tmp_path, EEG.format(""), REST.format("_dir-AP"), REST.format("_dir-PA"))
    with pytest.raises(
        InputError, match="expected one BOLD file, got 2 .sub-01_task-rest_dir-AP; .* by run or acq"
    ):
        find_runs(tmp_path)


@pytest.mark.parametrize("entity", ["acq", "ce", "rec", "dir", "echo", "part"])
def test_confounds_of_another_acquisition_are_not_taken(tmp_path, entity, caplog):
    tree(tmp_path, EEG.format(""), REST.format(f"_{entity}-2"))
    for other in ("", f"_{entity}-1", f"_{entity}-2_rec-x"):
        tree(tmp_path, CONFOUNDS.format(other))
    (run,) = find_runs(tmp_path)
    assert run.confounds is None and confounds_of(run.bold[0]) is None
    assert f"{run.bold[0].name}: no confounds of the same run by name, nothing is censored" in caplog.text
    caplog.clear()
    tree(tmp_path, CONFOUNDS.format(f"_{entity}-2"))
    (run,) = find_runs(tmp_path)
    assert run.confounds == confounds_of(run.bold[0]) == tmp_path / CONFOUNDS.format(f"_{entity}-2")
    assert not caplog.text


def test_confounds_beside_the_bold_come_before_those_of_other_derivatives(tmp_path):
    series = "derivatives/xcp_d/sub-01/func/sub-01_task-rest{}_{}.tsv"
    tree(
        tmp_path,
        EEG.format("_run-1"),
        EEG.format("_run-2"),
        series.format("_run-1", "space-fsLR_seg-Tian_stat-mean_timeseries"),
        series.format("_run-2", "space-fsLR_seg-Tian_stat-mean_timeseries"),
        series.format("_run-2", "motion"),
        CONFOUNDS.format("_run-01"),
        CONFOUNDS.format("_run-02"),
    )
    assert [run.confounds.name for run in find_runs(tmp_path)] == [
        "sub-01_task-rest_run-01_desc-confounds_timeseries.tsv",
        "sub-01_task-rest_run-2_motion.tsv",
    ]


def test_runs_come_in_the_order_of_their_numbers(tmp_path):
    tree(tmp_path, *(name.format(f"_run-{run}") for name in (EEG, REST) for run in (10, 2, "01")))
    assert [run.name for run in find_runs(tmp_path)] == [f"task-rest_run-{run}" for run in (1, 2, 10)]


def test_runs_that_differ_in_any_entity_have_names_of_their_own(tmp_path):
    names = [f"_dir-{direction}_run-01" for direction in ("AP", "PA")]
    tree(tmp_path, *(name.format(run) for name in (EEG, REST) for run in names))
    assert [run.name for run in find_runs(tmp_path)] == ["task-rest_dir-AP_run-1", "task-rest_dir-PA_run-1"]


@pytest.mark.parametrize(
    ("eeg", "bold", "entity"),
    [
        ("sub-01_task-movie_run-2_eeg.vhdr", "sub-01_task-movie_run-3_hemi-L_bold.func.gii", "run-2"),
        ("sub-02_task-movie_eeg.vhdr", "sub-01_task-movie_run-3_bold.dtseries.nii", "sub-02"),
        ("sub-01_ses-1_task-rest_eeg.set", "sub-01_ses-1_task-movie_bold.nii.gz", "task-rest"),
        ("sub-01_ses-1_task-rest_eeg.set", "sub-01_ses-2_task-rest_bold.nii.gz", "ses-1"),
        ("sub-1_task-rest_eeg.set", "sub-01_task-rest_bold.nii.gz", "sub-1"),
        ("sub-01_acq-a_eeg.set", "sub-01_acq-b_bold.nii.gz", "acq-a"),
        (
            "sub-01_dir-AP_desc-confounds_timeseries.tsv",
            "sub-01_dir-PA_space-fsLR_bold.ptseries.nii",
            "dir-AP",
        ),
        ("sub-01_task-rest_echo-1_outliers.tsv", "sub-01_task-rest_echo-2_bold.nii.gz", "echo-1"),
    ],
)
def test_names_that_disagree_are_refused(eeg, bold, entity):
    with pytest.raises(
        InputError, match=f"{eeg} is of {entity} but {bold} of .*pass the file of the same run"
    ):
        check_same_run(Path("a") / eeg, Path("b") / bold)


@pytest.mark.parametrize(
    ("eeg", "bold"),
    [
        ("sub-01_task-movie_run-02_eeg.vhdr", "sub-01_task-movie_run-2_space-fsLR_den-91k_bold.dtseries.nii"),
        ("sub-01_task-movie_run-2.edf", "sub-01_task-movie_run-2_desc-x_bold.nii.gz"),
        ("sub-01_task-movie_acq-a_eeg.vhdr", "sub-01_ses-1_task-movie_run-2_dir-AP_bold.nii.gz"),
        ("sub-01_task-movie_desc-a_outliers.tsv", "sub-01_task-movie_space-fsLR_desc-b_bold.nii.gz"),
        ("Movement_Regressors.txt", "rfMRI_REST1_LR_Atlas_MSMAll.dtseries.nii"),
        ("recording.edf", "sub-01_task-movie_bold.nii.gz"),
        ("sub-01_eeg.edf", "filtered_func.nii.gz"),
    ],
)
def test_names_that_agree_or_say_nothing_pass(eeg, bold):
    check_same_run(Path(eeg), Path(bold))


def test_bold_is_found_without_eeg(tmp_path):
    """Of each run one file, of the space preferred, whatever else its name says."""
    folder = "derivatives/fmriprep/sub-02/ses-1/func/"
    rest = folder + "sub-02_ses-1_task-rest_dir-{}_space-fsLR_den-91k_bold.dtseries.nii"
    tree(two_runs(tmp_path), rest.format("AP"), rest.format("PA"))
    names = [path.name for path in find_bold(tmp_path)]
    assert [name.partition("_space")[0] for name in names] == [
        "sub-01_task-movie_run-1",
        "sub-01_task-movie_run-2_acq-mb",
        "sub-02_ses-1_task-rest_dir-AP",
        "sub-02_ses-1_task-rest_dir-PA",
    ]
    assert all(name.endswith("_space-fsLR_den-91k_bold.dtseries.nii") for name in names)
    assert find_bold(tmp_path / "derivatives/fmriprep", task="rest") == find_bold(tmp_path)[2:]
    (surface,) = find_bold(tmp_path, space="fsaverage5")
    assert "_hemi-L_" in surface.name
    with pytest.raises(InputError, match="no BOLD of task-memory; choose another --task"):
        find_bold(tmp_path, task="memory")
    tree(tmp_path, rest.format("AP").replace("_bold", "_desc-denoised_bold"))
    with pytest.raises(InputError, match="expected one BOLD file, got 2"):
        find_bold(tmp_path)


def test_confounds_beside_a_run_are_of_all_its_entities(tmp_path):
    stem = "derivatives/fmriprep/sub-01/func/sub-01_task-rest_{}desc-confounds_timeseries.tsv"
    tree(two_runs(tmp_path), stem.format("dir-AP_"), stem.format(""))
    found = {path.name: confounds_of(path) for path in find_bold(tmp_path)}
    first, second = found.values()
    assert first.name == "sub-01_task-movie_run-1_desc-confounds_timeseries.tsv" and second is None
    beside = tmp_path / stem.format("")
    for entity in ("dir-AP_", ""):
        bold = beside.with_name(f"sub-01_task-rest_{entity}space-fsLR_bold.dtseries.nii")
        assert confounds_of(bold) == tmp_path / stem.format(entity)
    assert confounds_of(beside.with_name("mine.npz")) is None


@pytest.mark.parametrize(
    ("path", "person"),
    [
        ("sub-01_task-rest_bold.nii.gz", "sub-01"),
        ("sub-02/ses-1/func/rest.nii.gz", "sub-02"),
        ("sub-02/sub-03_rest.tsv", "sub-03"),
        ("group/jo_run-1.dtseries.nii", "jo_run-1"),
        ("jo.v2.npz", "jo.v2"),
    ],
)
def test_whose_a_run_is_stands_in_its_name_or_in_a_folder_s(path, person):
    assert person_of(Path("data") / path) == person
    assert person_of(Path("data") / path, "mo") == (person if person.startswith("sub-") else "mo")


def test_features_and_parcels_stand_for_eeg_and_vertices(tmp_path):
    func = "derivatives/xcp_d/sub-01/func/sub-01_task-rest_space-MNI152NLin6Asym_{}.tsv"
    tree(
        tmp_path,
        "sub-01/eeg/sub-01_task-rest_features.tsv",
        FUNC.format("01", "01", "1").replace("movie_run-1", "rest") + "_desc-confounds_timeseries.tsv",
        func.format("seg-Tian_stat-mean_timeseries"),
        func.format("seg-Tian_stat-coverage_bold"),
    )
    (run,) = find_runs(tmp_path)
    assert run.eeg.name == "sub-01_task-rest_features.tsv"
    assert [path.name for path in run.bold] == [
        "sub-01_task-rest_space-MNI152NLin6Asym_seg-Tian_stat-mean_timeseries.tsv"
    ]
    assert run.confounds is not None and find_bold(tmp_path) == [*run.bold]
    tree(tmp_path, func.format("seg-Glasser_stat-mean_timeseries"))
    with pytest.raises(InputError, match="expected one BOLD file, got 2 .*, or choose by --atlas"):
        find_runs(tmp_path)
    with pytest.raises(InputError, match="expected one BOLD file, got 2"):
        find_bold(tmp_path)
    assert "seg-Glasser" in find_runs(tmp_path, atlas="Glasser")[0].bold[0].name
    with pytest.raises(InputError, match="no parcels of atlas Gordon"):
        find_runs(tmp_path, atlas="Gordon")
    # Vertices come first, unless an atlas is asked for.
    vertices = "_space-fsLR_den-91k_bold.dtseries.nii"
    tree(tmp_path, FUNC.format("01", "01", "1").replace("movie_run-1", "rest") + vertices)
    assert find_runs(tmp_path)[0].bold[0].name.endswith(vertices)
    assert "seg-Tian" in find_runs(tmp_path, atlas="Tian")[0].bold[0].name
