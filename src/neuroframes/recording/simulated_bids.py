"""A simulated recording's files: a BIDS data set of EEG, what fMRIPrep would leave beside it, and the truth.

What every recording's files say alike stands in `simulated_files`. Nothing here carries a date, so the same
recording gives the same bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pybv
import scipy.sparse

from neuroframes.recording.bold import write_bold
from neuroframes.recording.sidecar import sidecar_path
from neuroframes.recording.simulated_film import kind_of
from neuroframes.recording.simulated_signals import OUTLIER, Subject
from neuroframes.recording.simulated_sources import NETWORKS, Array, Montage, Sources
from neuroframes.recording.timeline import MOTION

SUBJECT, TASK = "sub-01", "movie"  # the first, where there are several
EEG_RESOLUTION = 0.1  # microvolts a bit, as amplifiers for the scanner have
EVENT, MARKED, LEVELS = ["onset", "duration", "trial_type"], ["value", "sample"], ["level", "sound"]
SHOWN = ["kind", "stim_file"]  # with a film
MARKERS = {128: "Response", 1: "Stimulus"}  # R128 a volume, S 1 a scene
PARTS = ("data", "indices", "indptr", "shape")  # of a sparse array
# Beyond the data, tables and sidecars hold what the BIDS validator asks for.
TEMPLATES = Path(__file__).parent / "simulated_files"


def label(subject: int) -> str:
    """BIDS' name of a subject, counted from 1."""
    return f"sub-{subject:02d}"


def run_stem(run: int, subject: str = SUBJECT) -> str:
    """What the files of run `run` (counted from 1) have in common."""
    return f"{subject}_task-{TASK}_run-{run}"


def bold_path(root: Path, run: int, kind: str, subject: str = SUBJECT) -> Path:
    """The run's BOLD: a CIFTI file, the left one of two GIFTI files, or a table of parcels."""
    form = {
        "cifti": "space-fsLR_den-32k_bold.dtseries.nii",
        "gifti": "hemi-L_space-fsaverage5_bold.func.gii",
        "parcels": "desc-parcels_bold.tsv",
    }
    return root / "derivatives" / "fmriprep" / subject / "func" / f"{run_stem(run, subject)}_{form[kind]}"


def features_path(root: Path, run: int, subject: str = SUBJECT) -> Path:
    """The run's features per frame, where they stand in place of the EEG."""
    return root / subject / "eeg" / f"{run_stem(run, subject)}_desc-features_eeg.tsv"


def film_path(root: Path, run: int, subject: str = SUBJECT) -> Path:
    """The film of a run."""
    return root / "stimuli" / f"{run_stem(run, subject)}.mp4"


def truth_path(root: Path, run: int | None = None, subject: str = SUBJECT) -> Path:
    """The truth of one run, or of what all runs of a subject share."""
    return root / "truth" / f"{subject if run is None else run_stem(run, subject)}_truth.npz"


def write_dataset(root: Path, montage: Montage, settings: Mapping[str, Any], subjects: int) -> None:
    """Everything that is said once: descriptions, participants, electrodes."""
    written_by = [{"Name": "neuroframes simulate", "Description": json.dumps(dict(settings))}]
    for kind, folder in {"raw": root, "derivative": root / "derivatives" / "fmriprep"}.items():
        _write(folder / "dataset_description.json", f"{kind}_description.json", GeneratedBy=written_by)
        _write(folder / "README.md", "README.md")
        # BIDS has no rule for surface series and confounds yet; fMRIPrep ignores its own in the same way.
        _write(folder / ".bidsignore", f"{kind}.bidsignore")
    _write(root / "participants.json", "participants.json")
    everyone = [label(number) for number in range(1, subjects + 1)]
    _write_table(root / "participants.tsv", {"participant_id": everyone, "species": "simulated"})
    x, y, z = ([f"{value:.6f}" for value in axis] for axis in montage.positions.T)
    for name in everyone:
        stem = root / name / "eeg" / name
        landmarks = {"AnatomicalLandmarkCoordinates": montage.fiducials}
        _write(Path(f"{stem}_coordsystem.json"), "coordsystem.json", **landmarks)
        electrodes = {"name": montage.names, "x": x, "y": y, "z": z, "type": "cup"}
        _write_table(Path(f"{stem}_electrodes.tsv"), electrodes)


def write_eeg(root: Path, run: int, eeg: Array, montage: Montage, subject: Subject, film: bool) -> None:
    """BrainVision EEG with a marker R128 a volume and S 1 a scene, and its BIDS companions.

    Parameters
    ----------
    eeg : array, shape (C + 1, N), volts; the last row is the electrocardiogram
    film : bool
        Whether a film is among the events.
    """
    clock, n = subject.clock, len(montage.names)
    stem = root / subject.name / "eeg" / run_stem(run, subject.name)
    events, names = _events(run, subject, film), [*montage.names, "ECG"]
    markers = events[["sample", "value"]].dropna().to_numpy(int).tolist()
    pybv.write_brainvision(
        data=eeg,
        sfreq=clock.rate,
        ch_names=names,
        fname_base=f"{stem.name}_eeg",
        folder_out=stem.parent,
        events=[{"onset": at, "description": value, "type": MARKERS[value]} for at, value in markers],
        resolution=EEG_RESOLUTION,
        fmt="binary_int16",
    )
    described = {"SamplingFrequency": clock.rate, "RecordingDuration": clock.samples / clock.rate}
    _write(Path(f"{stem}_eeg.json"), "eeg.json", EEGChannelCount=n, **described)
    channels = {
        "name": names,
        "type": ["EEG"] * n + ["ECG"],
        "units": "µV",
        "sampling_frequency": f"{clock.rate:g}",
        "reference": ["average"] * n + [None],
        "status": "good",
    }
    _write_table(Path(f"{stem}_channels.tsv"), channels)
    _write_table(Path(f"{stem}_events.tsv"), events)
    _write(Path(f"{stem}_events.json"), "events.json")


def write_film_events(root: Path, run: int, subject: Subject) -> None:
    """Film and scenes beside features, which have no events: onsets are from the first volume on."""
    stem = root / subject.name / "func" / run_stem(run, subject.name)
    _write(Path(f"{stem}_events.json"), "events.json")
    events = _film_events(run, subject, *subject.clock.scan)
    _write_table(Path(f"{stem}_events.tsv"), pd.DataFrame(events, columns=EVENT + LEVELS + SHOWN))


def _film_events(run: int, subject: Subject, start: float, end: float) -> list[dict[str, Any]]:
    """The film as it is written, from `start` to `end` (s), and the scenes that begin in it."""
    # It began before, and goes on after that.
    onset = subject.scenes[:, 0]
    scenes = subject.scenes[(onset >= start) & (onset < end - 1 / subject.clock.rate)]
    ends = np.append(scenes[1:, 0], end)
    film = {"onset": 0.0, "duration": round(end - start, 4), "trial_type": "film"}
    return [
        film | {"stim_file": film_path(Path(), run, subject.name).name},
        *(
            {"onset": at - start, "duration": round(until - at, 4), "trial_type": "scene", "value": 1}
            | {"level": f"{sight:.4f}", "sound": f"{sound:.4f}", "kind": kind_of(sight)}
            for until, (at, sight, sound) in zip(ends, scenes, strict=True)
        ),
    ]


def _events(run: int, subject: Subject, film: bool) -> pd.DataFrame:
    """Volumes and scenes of the film, and with `film` itself, in the order of their samples."""
    clock = subject.clock
    whole, *scenes = _film_events(run, subject, *clock.recording)
    volume = {"duration": clock.tr, "trial_type": "volume", "value": 128}
    rows = [whole] * film + [volume | {"onset": at} for at in clock.triggers] + scenes
    events = pd.DataFrame(rows, columns=EVENT + MARKED + LEVELS + SHOWN * film)
    events["value"] = events["value"].astype("Int64")  # the film has no marker
    # Amplifiers mark a sample: what a reader gets of the trigger is no more exact than that.
    events["sample"] = np.round(events["onset"] * clock.rate).astype(int)
    events["onset"] = [f"{sample / clock.rate:.6f}" for sample in events["sample"]]
    # By sample alone: of those at the same one the volume stays first.
    return events.sort_values("sample", kind="stable")


def write_fmriprep(
    root: Path, run: int, data: Array, fluid: Array, sources: Sources, subject: Subject
) -> None:
    """BOLD, its sidecar and the confounds of a run.

    Parameters
    ----------
    data : array, shape (K, V)
    fluid : array, shape (K, 2), cerebrospinal fluid and white matter
    """
    path, tr = bold_path(root, run, sources.space.kind, subject.name), subject.clock.tr
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in write_bold(path, data, sources.space, tr=tr):
        # Slice timing is corrected: frames are computed at their centres.
        _write(sidecar_path(file), f"{sources.space.kind}_bold.json", RepetitionTime=tr, StartTime=tr / 2)
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
    confounds = path.with_name(f"{run_stem(run, subject.name)}_desc-confounds_timeseries.tsv")
    _write_table(confounds, columns)
    _write(confounds.with_suffix(".json"), "confounds.json")


def write_shared_truth(root: Path, sources: Sources, responses: Array, rate: float, subject: str) -> None:
    """What all runs of a subject share: maps, networks, weights, haemodynamic responses, lead field."""
    path = truth_path(root, subject=subject)
    path.parent.mkdir(parents=True, exist_ok=True)
    # np.savez takes no sparse arrays; these are the three that make one, and its shape.
    parts: dict[str, Any] = {f"patches_{part}": getattr(sources.patches, part) for part in PARTS}
    np.savez(
        path,
        **parts,
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


def read_shared_truth(root: Path, subject: str = SUBJECT) -> tuple[scipy.sparse.csr_array, Array, Array]:
    """Patches, shape (V, P + H), mean and scale, shape (V,)."""
    with np.load(truth_path(root, subject=subject)) as stored:
        *arrays, shape = (stored[f"patches_{part}"] for part in PARTS)
        patches = scipy.sparse.csr_array(tuple(arrays), shape=tuple(shape))
        return patches, stored["mean"], stored["scale"]


def _write(path: Path, template: str, **entries: Any) -> None:
    """Write what a template says; of JSON, with `entries` in the place of its nulls."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    if entries:
        text = json.dumps(json.loads(text) | entries, indent=2, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_table(path: Path, columns: Mapping[str, Any] | pd.DataFrame) -> None:
    """A BIDS table: tabs, a header, n/a for what is missing, floats with nine digits."""
    text = {"sep": "\t", "index": False, "na_rep": "n/a", "lineterminator": "\n", "encoding": "utf-8"}
    pd.DataFrame(columns).to_csv(path, float_format="%.9g", **text)
