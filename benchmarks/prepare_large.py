"""Time and memory of preparing many full-size runs of one person, and what checksums cost.

    python benchmarks/prepare_large.py FOLDER [--runs 20] [--frames 1350]

Makes a BIDS data set of CIFTI runs (91,282 grayordinates, as `complete_large.py` makes them; each run is a
copy of the first with one number of each frame changed) with EEG of 32 channels at 1 kHz. Prepares it in a
process whose peak memory is the kernel's, then once more, when nothing is to be done but to check that the
store is as it was written. Takes 1.2 GB of disk for each run, removed at the end.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import complete_large
import numpy as np

CHANNELS, RATE = 32, 1000


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("folder", type=Path, help="that is made, and removed at the end")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--frames", type=int, default=1350)
    options = parser.parse_args()
    options.folder.mkdir()
    try:
        # In a process of its own: the kernel counts a large parent's memory as its children's.
        maker = get_context("spawn").Process(target=make, args=(options,))
        maker.start()
        maker.join()
        print("| step | wall s | peak GiB |\n|---|---|---|", flush=True)
        for step in ("prepare", "prepare again"):
            started = time.perf_counter()
            command = [sys.executable, "-m", "neuroframes", "prepare", options.folder / "bids"]
            process = subprocess.Popen([*command, "--out", options.folder / "stores"])
            _, status, used = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{step} failed")
            print(
                f"| {step} | {time.perf_counter() - started:.0f} | {used.ru_maxrss / 2**20:.2f} |", flush=True
            )
        read(options.folder / "stores" / "sub-01.zarr")
    finally:
        shutil.rmtree(options.folder)


def make(options: argparse.Namespace) -> None:
    """A data set of one person; the first run is made in this process, the others are copies on disk."""
    import nibabel as nib
    import pybv

    options.censored = 0.0
    complete_large.make(options)
    made, root = options.folder / "bold.dtseries.nii", options.folder / "bids"
    image = nib.load(made)
    offset, row = image.dataobj.offset, 4 * image.shape[1]
    for folder in (func := root / "derivatives/fmriprep/sub-01/func", eeg := root / "sub-01/eeg"):
        folder.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "large", "BIDSVersion": "1.9.0"}))
    tr, n_samples = complete_large.TR, round((options.frames * complete_large.TR + 2) * RATE)
    onsets = np.rint((1 + tr * np.arange(options.frames)) * RATE).astype(int)
    for run in range(1, options.runs + 1):
        stem = f"sub-01_task-rest_run-{run:02d}"
        copy = func / f"{stem}_space-fsLR_den-91k_bold.dtseries.nii"
        shutil.copyfile(made, copy)
        with copy.open("r+b") as file:
            for frame in range(options.frames):
                file.seek(offset + frame * row)
                file.write(np.float32(100 + run).tobytes())
        # As fMRIPrep names them: without the suffix of CIFTI.
        (func / f"{stem}_space-fsLR_den-91k_bold.json").write_text(json.dumps({"RepetitionTime": tr}))
        generator = np.random.default_rng(run)
        pybv.write_brainvision(
            data=2e-5 * generator.standard_normal((CHANNELS, n_samples), dtype=np.float32),
            sfreq=RATE,
            ch_names=[f"E{number}" for number in range(CHANNELS)],
            fname_base=f"{stem}_eeg",
            folder_out=eeg,
            events=[{"onset": int(onset), "type": "Response", "description": 128} for onset in onsets],
            fmt="binary_int16",
            resolution=0.1,
            unit="µV",
        )
    made.unlink()


def read(store: Path) -> None:
    """Seconds to read a run's frames that were read before, with and without their checksums."""
    from neuroframes.recording.store import open_store

    (run, *_) = open_store(store).runs

    def seconds() -> float:
        started = time.perf_counter()
        run.bold()
        return time.perf_counter() - started

    seconds()
    print(f"| reading a run's frames | {seconds():.2f} | |")
    with patch("neuroframes.recording.store.check_files"):
        print(f"| reading them without checksums | {seconds():.2f} | |")


if __name__ == "__main__":
    main()
