"""Time and memory of completing a full-size run without EEG.

    python benchmarks/complete_large.py [--frames 1350] [--censored 0.1] [--profile FILE]

Writes a synthetic CIFTI dense series (59,412 cortical grayordinates and 31,870 voxels) into a temporary
folder, then fills its censored frames twice: by `neuroframes complete`, and by linear interpolation, which
reads and writes the same files. Each runs in a process of its own, whose wall time counts imports,
reading and writing, and whose peak memory is the kernel's. The ratio of the two is what to compare
between machines.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.perf_counter()
TR = 0.8
CORTICAL, VOXELS = 59_412, 31_870
NETWORKS = 200


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--frames", type=int, default=1350)
    parser.add_argument("--censored", type=float, default=0.1, help="share of frames, in stretches of 1 to 6")
    parser.add_argument("--profile", type=Path, help="write where the time of `complete` goes")
    parser.add_argument("--step", choices=("make", "complete", "linear"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="of the files, kept; by default a temporary one")
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        _child("make", folder, options)
        results = {step: _child(step, folder, options) for step in ("linear", "complete")}
    size = f"{CORTICAL + VOXELS:,} grayordinates x {options.frames:,} frames"
    print(f"{size}, {options.censored:.0%} censored\n")
    print("| method | wall s | peak GiB |\n|---|---|---|")
    for name, step in (("linear interpolation", "linear"), ("neuroframes complete, no EEG", "complete")):
        print(f"| {name} | {results[step]['seconds']:.1f} | {results[step]['GiB']:.2f} |")
    print(f"| ratio | {results['complete']['seconds'] / results['linear']['seconds']:.1f} | |")


def _child(step: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run one step in a fresh process: peak memory is a process's, and a large parent would count in it."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    command += ["--frames", str(options.frames), "--censored", str(options.censored)]
    if options.profile and step == "complete":
        command += ["--profile", str(options.profile)]
    subprocess.run(command, check=True)
    measured: dict[str, float] = json.loads((folder / f"{step}.json").read_text())
    return measured


def _report(step: str, folder: Path) -> None:
    seconds = time.perf_counter() - STARTED
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (folder / f"{step}.json").write_text(json.dumps({"seconds": seconds, "GiB": gib}))


def make(options: argparse.Namespace) -> None:
    """Networks with the spectrum of BOLD, noise at every grayordinate, and a table of censored frames."""
    import numpy as np

    from neuroframes.recording.bold import write_bold

    generator = np.random.default_rng(0)
    frequency = np.fft.rfftfreq(options.frames, TR)
    falling = 1 / (0.02 + frequency)
    waves = generator.standard_normal((len(frequency), NETWORKS)) + 1j * generator.standard_normal(
        (len(frequency), NETWORKS)
    )
    series = np.fft.irfft(waves * falling[:, None], options.frames, axis=0)
    series *= np.arange(1, NETWORKS + 1) ** -0.5 / series.std(axis=0)
    patterns = generator.standard_normal((NETWORKS, CORTICAL + VOXELS), dtype=np.float32)
    data = np.asfortranarray((patterns.T @ series.T.astype(np.float32)).T)
    for start in range(0, data.shape[1], 4096):
        block = data[:, start : start + 4096]
        block += 1.5 * generator.standard_normal(block.shape, dtype=np.float32) + 100
    write_bold(options.folder / "bold.dtseries.nii", data, _space(), tr=TR, overwrite=True)
    censored = np.zeros(options.frames, int)
    while censored.mean() < options.censored:
        start = generator.integers(options.frames)
        censored[start : start + generator.integers(1, 7)] = 1
    (options.folder / "censor.tsv").write_text("\n".join(map(str, censored)) + "\n")
    _report("make", options.folder)


def _space() -> "CorticalSpace":  # noqa: F821 - imported below, after the clock has started
    """All 91,282 grayordinates: the real cortex, and as many voxels about the middle of the MNI grid."""
    import numpy as np
    from nibabel.cifti2 import BrainModelAxis

    from neuroframes.cortex.space import CorticalSpace

    shape = (91, 109, 91)
    affine = np.array([[-2, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1.0]])
    offset = np.indices(shape).reshape(3, -1).T - np.array([45, 54, 30])
    mask = np.zeros(shape, bool)
    mask.flat[np.argsort(np.square(offset).sum(axis=1), kind="stable")[:VOXELS]] = True
    voxels = BrainModelAxis.from_mask(mask, name="CIFTI_STRUCTURE_OTHER", affine=affine)
    return CorticalSpace.from_axis(CorticalSpace.fs_lr_32k().axis() + voxels)


def complete(options: argparse.Namespace) -> None:
    """`neuroframes complete BOLD --censor TSV --out FILE`."""
    from neuroframes.cli import main as neuroframes

    folder = options.folder
    arguments = ["complete", f"{folder}/bold.dtseries.nii", "--censor", f"{folder}/censor.tsv"]
    arguments += ["--out", f"{folder}/bold_desc-completed.dtseries.nii", "--overwrite"]
    if not options.profile:
        status = neuroframes(arguments)
    else:
        import cProfile
        import pstats

        profile = cProfile.Profile()
        status = profile.runcall(neuroframes, arguments)
        with options.profile.open("w") as file:
            pstats.Stats(profile, stream=file).sort_stats("cumulative").print_stats(60)
            pstats.Stats(profile, stream=file).sort_stats("tottime").print_stats(30)
    if status:
        raise SystemExit(status)
    _report("complete", folder)


def linear(options: argparse.Namespace) -> None:
    """Linear interpolation along time, from the same file to a file of the same format."""
    import numpy as np

    from neuroframes.recording.bold import read_bold, write_bold
    from neuroframes.recording.timeline import read_censor

    run = read_bold(options.folder / "bold.dtseries.nii")
    missing = read_censor(options.folder / "censor.tsv", len(run.data))
    at, asked = np.flatnonzero(~missing), np.flatnonzero(missing)
    right = np.clip(np.searchsorted(at, asked), 1, len(at) - 1)
    before, after = at[right - 1], at[right]
    weight = np.clip((asked - before) / (after - before), 0, 1).astype(np.float32)[:, None]
    for start in range(0, run.data.shape[1], 4096):
        block = run.data[:, start : start + 4096]
        block[asked] = (1 - weight) * block[before] + weight * block[after]
    out = options.folder / "bold_desc-linear.dtseries.nii"
    write_bold(out, run.data, run.space, tr=run.tr, overwrite=True)
    _report("linear", options.folder)


STEPS = {"make": make, "complete": complete, "linear": linear}

if __name__ == "__main__":
    main()
