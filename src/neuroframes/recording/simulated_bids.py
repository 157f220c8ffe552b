"""A simulated recording's files: a BIDS data set of EEG, what fMRIPrep would leave beside it, and the truth.

Nothing here carries a date, so the same recording gives the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from neuroframes.recording.bold import write_bold, write_sidecar
from neuroframes.recording.simulated_signals import OUTLIER, Clock, Subject
from neuroframes.recording.simulated_sources import NETWORKS, Montage, Sources
from neuroframes.recording.timeline import MOTION

SUBJECT, TASK = "sub-01", "movie"
# Beyond the data, tables and sidecars hold what the BIDS validator asks for.
BIDS_VERSION = "1.10.0"
EEG_RESOLUTION = 0.1  # microvolts a bit, as amplifiers for the scanner have
README = """# Simulated EEG-fMRI

Written by `neuroframes simulate`; no person was recorded. EEG is in `sub-01/eeg`, BOLD as fMRIPrep would
leave it in `derivatives/fmriprep`, and what the noise hides in `truth` (NumPy archives; read them with
`neuroframes.recording.simulate.noise_free` or `numpy.load`). The model is described in
`neuroframes.recording.simulate`.
"""


def run_stem(run: int) -> str:
    """What the files of run `run` (counted from 1) have in common."""
    return f"{SUBJECT}_task-{TASK}_run-{run}"


def bold_path(root: Path, run: int, kind: str) -> Path:
    """The run's BOLD: a CIFTI file, or the left one of two GIFTI files."""
    folder = root / "derivatives" / "fmriprep" / SUBJECT / "func"
    if kind == "cifti":
        return folder / f"{run_stem(run)}_space-fsLR_den-32k_bold.dtseries.nii"
    return folder / f"{run_stem(run)}_hemi-L_space-fsaverage5_bold.func.gii"


def truth_path(root: Path, run: int | None = None) -> Path:
    """The truth of one run, or of what all runs share."""
    return root / "truth" / ("sources.npz" if run is None else f"{run_stem(run)}_truth.npz")


def write_dataset(root: Path, montage: Montage, settings: Mapping[str, Any]) -> None:
    """Everything that is said once: descriptions, participants, electrodes."""
    written_by = [{"Name": "neuroframes simulate", "Description": json.dumps(dict(settings))}]
    common = {"BIDSVersion": BIDS_VERSION, "License": "CC0", "Authors": ["neuroframes"]}
    _write_json(
        root / "dataset_description.json",
        {"Name": "Simulated EEG-fMRI", "DatasetType": "raw", **common, "GeneratedBy": written_by},
    )
    _write_json(
        root / "derivatives" / "fmriprep" / "dataset_description.json",
        {
            "Name": "Simulated BOLD in the form of fMRIPrep's outputs",
            "DatasetType": "derivative",
            **common,
            "GeneratedBy": written_by,
        },
    )
    for folder in (root, root / "derivatives" / "fmriprep"):
        _write_text(folder / "README.md", README)
    _write_text(root / ".bidsignore", "truth\n")
    # BIDS has no rule for surface series and confounds yet; fMRIPrep ignores its own in the same way.
    ignored = "*_bold.dtseries.nii *_bold.func.gii *_bold.json *_timeseries.tsv *_timeseries.json"
    _write_text(root / "derivatives" / "fmriprep" / ".bidsignore", ignored.replace(" ", "\n") + "\n")
    _write_table(root / "participants.tsv", {"participant_id": [SUBJECT], "species": ["simulated"]})
    _write_json(root / "participants.json", {"species": {"Description": "No living subject: a simulation"}})
    _write_electrodes(root / SUBJECT / "eeg", montage)


def _write_electrodes(folder: Path, montage: Montage) -> None:
    position = [[f"{value:.6f}" for value in axis] for axis in montage.positions.T]
    _write_table(
        folder / f"{SUBJECT}_electrodes.tsv",
        {
            "name": montage.names,
            **dict(zip("xyz", position, strict=True)),
            "type": ["cup"] * len(montage.names),
        },
    )
    _write_json(
        folder / f"{SUBJECT}_coordsystem.json",
        {
            "EEGCoordinateSystem": "CapTrak",
            "EEGCoordinateUnits": "m",
            "EEGCoordinateSystemDescription": "RAS, origin between the preauricular points",
            "AnatomicalLandmarkCoordinateSystem": "CapTrak",
            "AnatomicalLandmarkCoordinateUnits": "m",
            "AnatomicalLandmarkCoordinates": montage.fiducials,
        },
    )


def write_eeg(
    root: Path,
    run: int,
    eeg: NDArray[np.float32],
    clock: Clock,
    subject: Subject,
    names: Sequence[str],
    tr: float,
) -> None:
    """BrainVision EEG with a marker R128 a volume and S 1 a scene, and its BIDS companions.

    Parameters
    ----------
    eeg : array, shape (C + 1, N), volts; the last row is the electrocardiogram
    """
    import pybv

    stem = root / SUBJECT / "eeg" / run_stem(run)
    # Amplifiers mark a sample: what a reader gets of the trigger is no more exact than that.
    volumes = np.round(clock.triggers * clock.rate).astype(int)
    # The film began before the recording, and goes on after it.
    scenes = subject.scenes[
        (subject.scenes[:, 0] >= 0) & (subject.scenes[:, 0] * clock.rate < clock.samples - 1)
    ]
    cuts = np.round(scenes[:, 0] * clock.rate).astype(int)
    markers: list[dict[str, Any]] = []
    markers += [{"onset": int(n), "description": 128, "type": "Response"} for n in volumes]
    markers += [{"onset": int(n), "description": 1, "type": "Stimulus"} for n in cuts]
    pybv.write_brainvision(
        data=eeg,
        sfreq=clock.rate,
        ch_names=[*names, "ECG"],
        fname_base=f"{stem.name}_eeg",
        folder_out=stem.parent,
        events=sorted(markers, key=lambda marker: marker["onset"]),
        resolution=EEG_RESOLUTION,
        fmt="binary_int16",
    )
    _describe_eeg(stem, names, clock)
    _write_events(stem, volumes, cuts, scenes, clock, tr)


def _describe_eeg(stem: Path, names: Sequence[str], clock: Clock) -> None:
    """The sidecar and the channels; `names` are the EEG's, without the electrocardiogram."""
    n = len(names)
    _write_json(
        Path(f"{stem}_eeg.json"),
        {
            "TaskName": TASK,
            "TaskDescription": "Watching a film, simulated",
            "SamplingFrequency": clock.rate,
            "EEGReference": "average of all EEG channels",
            "PowerLineFrequency": 50,
            "SoftwareFilters": "n/a",
            "HardwareFilters": "n/a",
            "EEGChannelCount": n,
            "ECGChannelCount": 1,
            "RecordingDuration": clock.samples / clock.rate,
            "RecordingType": "continuous",
            "SubjectArtefactDescription": "blinks, ballistocardiogram and gradient residue, movement",
        },
    )
    _write_table(
        Path(f"{stem}_channels.tsv"),
        {
            "name": [*names, "ECG"],
            "type": ["EEG"] * n + ["ECG"],
            "units": "µV",
            "sampling_frequency": f"{clock.rate:g}",
            "reference": ["average"] * n + [None],
            "status": "good",
        },
    )


def _write_events(
    stem: Path,
    volumes: NDArray[np.int64],
    cuts: NDArray[np.int64],
    scenes: NDArray[np.floating[Any]],
    clock: Clock,
    tr: float,
) -> None:
    """Volumes and scenes in the order of their samples."""
    ends = np.append(scenes[1:, 0], clock.samples / clock.rate)
    rows = [(sample, tr, "volume", 128, "n/a") for sample in volumes]
    rows += [
        (sample, round(end - onset, 4), "scene", 1, f"{level:.4f}")
        for sample, end, (onset, level) in zip(cuts, ends, scenes, strict=True)
    ]
    # By sample alone: of those at the same one the volume stays first.
    rows.sort(key=lambda row: row[0])
    samples, duration, trial, value, level = zip(*rows, strict=True)
    _write_table(
        Path(f"{stem}_events.tsv"),
        {
            "onset": [f"{sample / clock.rate:.6f}" for sample in samples],
            "duration": duration,
            "trial_type": trial,
            "value": value,
            "sample": samples,
            "level": level,
        },
    )
    _write_json(
        Path(f"{stem}_events.json"),
        {
            "trial_type": {
                "Levels": {"volume": "an fMRI volume begins", "scene": "a scene of the film begins"}
            },
            "value": {"Description": "Number of the marker in the EEG file"},
            "sample": {"Description": "EEG sample, the first is 0"},
            "level": {"Description": "How strongly the scene drives the cortex, arbitrary units"},
        },
    )


def write_fmriprep(
    root: Path,
    run: int,
    data: NDArray[np.float32],
    sources: Sources,
    subject: Subject,
    fluid: NDArray[np.float32],
    tr: float,
) -> None:
    """BOLD, its sidecar and the confounds of a run.

    Parameters
    ----------
    data : array, shape (K, V)
    fluid : array, shape (K, 2), cerebrospinal fluid and white matter
    """
    path = bold_path(root, run, sources.space.kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    files = write_bold(path, data, sources.space, tr=tr)
    sidecar = {
        "TaskName": TASK,
        "RepetitionTime": tr,
        "SliceTimingCorrected": True,  # frames are computed at their centres
        "StartTime": tr / 2,
        "SkullStripped": False,
    }
    if sources.space.kind == "cifti":
        sidecar["Density"] = "32k: about 32,000 vertices a hemisphere, 2 mm apart"
        sidecar["grayordinates"] = f"{sources.space.V:,}, cortex only"
    for file in files:
        write_sidecar(file, sidecar)

    columns: dict[str, Any] = {
        "csf": fluid[:, 0],
        "white_matter": fluid[:, 1],
        # The medial wall of fsaverage5 is no brain.
        "global_signal": data.mean(axis=1, where=~sources.dead, dtype=np.float64),
        # The first volume has none before it.
        "framewise_displacement": [None, *subject.displacement[1:]],
        **dict(zip(MOTION[0], subject.motion.T, strict=True)),
    }
    frames = np.arange(len(data))
    for number, outlier in enumerate(np.flatnonzero(subject.displacement > OUTLIER)):
        columns[f"motion_outlier{number:02d}"] = (frames == outlier).astype(int)
    confounds = path.with_name(f"{run_stem(run)}_desc-confounds_timeseries.tsv")
    _write_table(confounds, columns)
    _write_json(
        confounds.with_suffix(".json"),
        {"framewise_displacement": {"Description": "Power 2012, 50 mm head", "Units": "mm"}},
    )


def write_shared_truth(root: Path, sources: Sources, responses: NDArray[np.float32], rate: float) -> None:
    """What all runs share: maps, networks, weights, haemodynamic responses, lead field."""
    path = truth_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    patches = sources.patches
    # np.savez takes no sparse arrays; these are the three that make one, and its shape.
    np.savez(
        path,
        patches_data=patches.data,
        patches_indices=patches.indices,
        patches_indptr=patches.indptr,
        patches_shape=patches.shape,
        mean=sources.mean,
        scale=sources.scale,
        network=sources.network,
        network_names=np.array(NETWORKS),
        weight=sources.weight,
        delay=sources.delay,
        hrf=responses,
        hrf_rate=rate,
        lead_field=sources.lead_field,
        amplitude=sources.amplitude,
    )


def write_run_truth(
    root: Path,
    run: int,
    signal: NDArray[np.float32],
    coupled: NDArray[np.float32],
    noise: NDArray[np.float32],
    envelopes: NDArray[np.float32],
    clock: Clock,
) -> None:
    """Noise-free latents, their EEG-coupled part, structured noise, band envelopes and their times."""
    np.savez(
        truth_path(root, run),
        signal=signal,
        coupled=coupled,
        noise=noise,
        envelopes=envelopes,
        envelope_times=clock.slow,
        frame_times=clock.frames,
    )


def read_shared_truth(root: Path) -> tuple[scipy.sparse.csr_array, NDArray[np.float32], NDArray[np.float32]]:
    """Patches, shape (V, P + H), mean and scale, shape (V,)."""
    with np.load(truth_path(root)) as stored:
        parts = (stored["patches_data"], stored["patches_indices"], stored["patches_indptr"])
        patches = scipy.sparse.csr_array(parts, shape=tuple(stored["patches_shape"]))
        return patches, stored["mean"], stored["scale"]


def read_run_truth(root: Path, run: int, part: str) -> NDArray[np.float32]:
    """One array of a run's truth."""
    with np.load(truth_path(root, run)) as stored:
        return stored[part]


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    # Not `write_sidecar`: some of these stand beside no image.
    _write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """A BIDS table: tabs, a header, n/a for what is missing, floats with nine digits."""
    import pandas as pd

    table = pd.DataFrame(columns).to_csv(
        sep="\t", index=False, na_rep="n/a", float_format="%.9g", lineterminator="\n"
    )
    _write_text(path, table)
