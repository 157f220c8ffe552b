"""What `neuroframes complete` loses beside other processes: threads that wait for each other would show here.

    python benchmarks/beside_others.py [--processes 8] [--frames 1350]

First, so many runs of a small volume one after another and all at once. Then a run of 91,282 grayordinates
with one thread (OMP_NUM_THREADS=1), with threads as they are, and so beside one process that computes all the
time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np

GRID, N_FRAMES, TR = (16, 16, 16), 300, 2.0  # of the small volume
BUSY = "while True: sum(range(10**6))"
COMPLETE = (sys.executable, "-m", "neuroframes", "complete")
LARGE = (sys.executable, str(Path(__file__).with_name("complete_large.py")))


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--frames", type=int, default=1350, help="of the large run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bold = small_run(folder)
        commands = [
            [*COMPLETE, str(bold), "--frames", "40:47,90,200:203", "--out", str(folder / f"filled-{n}.nii")]
            for n in range(options.processes)
        ]
        alone = sum(seconds([command]) for command in commands)
        for written in folder.glob("filled-*"):
            written.unlink()
        together = seconds(commands)
        large = [*LARGE, "--folder", name, "--frames", str(options.frames), "--step"]
        subprocess.run([*large, "make"], check=True)
        one = seconds([[*large, "complete"]], OMP_NUM_THREADS="1")
        default = seconds([[*large, "complete"]])
        with busy():
            beside = seconds([[*large, "complete"]])
    n = options.processes
    print("| what | wall s | ratio |\n|---|---:|---:|")
    print(f"| {n} small runs, one after another | {alone:.1f} | 1 |")
    print(f"| {n} small runs at once | {together:.1f} | {together / alone:.2f} |")
    print(f"| large run, OMP_NUM_THREADS=1 | {one:.1f} | 1 |")
    print(f"| large run | {default:.1f} | {default / one:.2f} |")
    print(f"| large run beside a busy process | {beside:.1f} | {beside / one:.2f} |")


def small_run(folder: Path) -> Path:
    """A volume of smooth noise."""
    noise = np.random.default_rng(0).standard_normal((*GRID, N_FRAMES)).astype(np.float32)
    image = nibabel.nifti1.Nifti1Image(100 + np.cumsum(noise, axis=3) * 0.2 + noise, np.eye(4))
    image.header.set_zooms((3, 3, 3, TR))
    image.header.set_xyzt_units("mm", "sec")
    path = folder / "bold.nii"
    nibabel.save(image, path)
    return path


def seconds(commands: Sequence[Sequence[str]], **environment: str) -> float:
    """Wall time of commands that run at once."""
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for command in commands
    ]
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(said.decode())
    return time.perf_counter() - began


@contextmanager
def busy() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()


if __name__ == "__main__":
    main()
