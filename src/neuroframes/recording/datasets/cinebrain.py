"""CineBrain (Gao et al. 2025, arXiv 2503.06940) as released, brought to BIDS.

    sub-0001/visual_audio/0.npy ...    a frame each: 18,946 grayordinates, z-scored over all runs together
    sub-0001/eeg_02/0.npy ...          (69, 800): 0.8 s at 1 kHz, the first 64 rows EEG
    sub-0001/beh_data/sub_0001_1.csv   videoStartTime and videoStopTime, s since the first volume
    sub-0001/dtseries/*_run-1_*_bold.dtseries.nii, where there: the run's frames as they were acquired

Numbers go on from run to run. With s a film's start, frame i of a run is volume floor((s + 4) / TR) + 1 + i;
the 4 s are taken back, since lags are learned. EEG segment i is taken to begin at s + i TR, as nobody states.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace, hcp_data
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.quality import PLAUSIBLE

TR, SEGMENT, FRAMES = 0.8, 800, "visual_audio"  # seconds; samples at 1 kHz; folder
DELAY, RUN_FRAMES = 4.0, 1350  # seconds that frames were moved by; of 18 minutes, where no table says else
CHANNELS = [f"EEG{number:02d}" for number in range(1, 65)]  # which electrodes they are isn't stated
# Areas of the multimodal parcellation that the frames cover, by number; 180 higher in the right hemisphere.
BOTH = (*range(1, 9), 13, *range(16, 25), 29, 30, 42, *range(45, 48), 63, 64, *range(66, 69), *range(71, 76))
BOTH += (84, 87, 88, 123, *range(126, 131), *range(138, 142), 143, 146, *range(152, 161), 163)
AREAS = [*BOTH, *(number + 180 for number in BOTH), 345, 356]
# Frames, EEG segments, series, and the film's start in seconds, None where it isn't known.
Run = tuple[list[Path], list[Path], Path | None, float | None]


def to_bids(root: Path, out: Path, subject: str | None = None) -> None:
    """Write each run's EEG and frames below `out`, but those that are there.

    `root` holds sub-0001 and so on, the release's archives unpacked in each; `subject` is one of them. Raises
    InputError if files are missing or contradict each other, or two people are copies.
    """
    people = {path.name[4:]: path for path in sorted(root.glob("sub[-_]*")) if path.is_dir()}
    if subject is not None:
        people = {label: path for label, path in people.items() if label == subject.removeprefix("sub-")}
    if not people:
        raise InputError(f"{root}: no folder sub-{subject or '0001'}; pass the one that CineBrain lies in")
    runs = {label: _runs(path) for label, path in people.items()}
    _refuse_copies(runs)
    for label, of_person in runs.items():
        for number, run in enumerate(of_person, 1):
            stem = f"sub-{label}_task-film_run-{number:02d}"
            eeg = out / f"sub-{label}/eeg/{stem}_eeg.vhdr"
            bold = out / f"derivatives/cinebrain/sub-{label}/func/{stem}_space-fsLR_bold.dtseries.nii"
            if not bold.exists():  # it is written last
                data, space, onset = _frames(*run)
                _write_eeg(eeg, run[1], onset + TR * np.arange(len(data), dtype=np.float64))
                write_bold(bold, data, space, tr=TR)


def covered() -> CorticalSpace:
    """The 18,946 grayordinates of fsLR-32k that frames have, in their order."""
    axis: Any = CorticalSpace.fs_lr_32k().axis()
    with np.load(hcp_data("mmp_1.0.npz")) as mmp:
        return CorticalSpace.from_axis(axis[np.isin(mmp["map_all"][: len(axis)], AREAS)])


def _runs(person: Path) -> list[Run]:
    frames, segments = _numbered(person, FRAMES), _numbered(person, "eeg_*")
    tables = sorted(person.rglob("beh_data/*.csv"), key=lambda path: (len(path.name), path.name))
    films = [_film(path) for path in tables] or [(None, RUN_FRAMES)] * (len(segments) // RUN_FRAMES)
    series = [next(person.rglob(f"dtseries/*_run-{n + 1}_*.dtseries.nii"), None) for n in range(len(films))]
    expected = sum(count for _, count in films)
    enough = len(frames) == expected or (tables and not frames and None not in series)
    if not (segments and len(segments) == expected and enough):
        raise InputError(
            f"{person}: {len(segments):,} segments of EEG (eeg_02), {len(frames):,} frames (visual_audio); "
            f"expected {expected:,} of each for {len(films)} runs; unpack EEG_preprocessed_data.tar and "
            "fMRI_preprocessed_data.tar there again"
        )
    runs: list[Run] = []
    for (start, count), of in zip(films, series, strict=True):
        runs.append((frames[:count], segments[:count], of, start))
        frames, segments = frames[count:], segments[count:]
    return runs


def _film(path: Path) -> tuple[float | None, int]:
    """When a run's film begins, seconds, and for how many frames it lasts."""
    import pandas as pd

    try:
        start, stop = pd.read_csv(path)[["videoStartTime", "videoStopTime"]].astype(float).iloc[0]
    except (LookupError, ValueError) as error:
        raise InputError(f"{path}: no videoStartTime and videoStopTime ({error}); copy it again") from error
    return start, int((stop + DELAY) / TR) - int((start + DELAY) / TR)


def _numbered(person: Path, pattern: str) -> list[Path]:
    """0.npy, 1.npy and so on of the first folder of this name that has any."""
    folders = [path for path in sorted(person.rglob(pattern)) if (path / "0.npy").is_file()][:1]
    files = [path / f"{n}.npy" for path in folders for n in range(len([*path.glob("*.npy")]))]
    if missing := next((file for file in files if not file.is_file()), None):
        raise InputError(f"{missing} is missing, but later ones are there; unpack the archive again")
    return files


def _refuse_copies(runs: dict[str, list[Run]]) -> None:
    """The release's sub-0005 is sub-0001: refused before hours are spent on it."""
    known: dict[str, str] = {}
    for label, ((frames, _, series, _), *_) in runs.items():
        digest = hashlib.blake2b((series or frames[0]).read_bytes()).hexdigest()
        if (same := known.setdefault(digest, label)) != label:
            raise InputError(
                f"the BOLD of sub-{label} is bit-identical to that of sub-{same}: they are one person; "
                f"move sub-{label} elsewhere, or prepare the others one by one (--subject)"
            )


def _frames(
    frames: list[Path], segments: list[Path], series: Path | None, start: float | None
) -> tuple[NDArray[np.float32], CorticalSpace, float]:
    """Frames that have EEG, their space, and when the first one begins, seconds after the EEG does."""
    if series is not None and start is not None:
        bold = read_bold(series, tr=TR)
        first = int(np.ceil(start / TR))
        data, space, onset = bold.data[first:], bold.space, first * TR - start
    else:
        space = covered()
        data = np.stack([_read(file, (space.V,)) for file in frames])
        onset = DELAY + TR / 2 if start is None else (int((start + DELAY) / TR) + 1) * TR - start
    n_frames = int((len(segments) * TR - onset - TR / 2) / TR + 1e-6) + 1
    return np.asfortranarray(data[:n_frames], np.float32), space, onset


def _write_eeg(path: Path, segments: list[Path], onsets: NDArray[np.float64]) -> None:
    import mne

    data = np.concatenate([_read(file, (69, SEGMENT))[: len(CHANNELS)] for file in segments], axis=1)
    if np.median(data.std(axis=1)) > PLAUSIBLE[1]:  # no unit is stated: these are microvolts
        data *= 1e-6
    raw = mne.io.RawArray(data, mne.create_info(CHANNELS, SEGMENT / TR, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations(onsets, 0.0, "R128"))
    path.parent.mkdir(parents=True, exist_ok=True)
    raw.export(path, overwrite=True, verbose="ERROR")


def _read(file: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.load(file)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} can't be read ({error}); unpack the archive again") from error
    if array.shape != shape:
        raise InputError(f"{file}: an array of {array.shape}; expected {shape}, as in the release of 2025")
    return array.astype(np.float64)
