"""Commands killed at random moments: what is there then, and what the next call makes of it.

    python benchmarks/kill.py [--times 6] [COMMAND ...]

Each command replaces an older result, and is killed by SIGKILL at a random moment of its duration, `--times`
times. What is there then must be the old result or the new one, whole; of a benchmark that was begun anew,
some files of the new one, each whole. The same call then has to end well, with the result that a call without
a kill gives, and to leave nothing beside it.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import neuroframes

SMALL = ("--epochs", "2", "--width", "16", "--members", "1")
# Of a command: its arguments, and those in whose place the older result has others.
COMMANDS = {
    "prepare": (("prepare", "bids", "--out", "out", "--rate", "200"), ("--rate", "250")),
    "prior": (
        ("prior", *(f"{n}.tsv" for n in range(4)), "--out", "out", "--latents", "6"),
        ("--latents", "5"),
    ),
    "train": (("train", "stores/sub-01.zarr", "--out", "out", "--seed", "0", *SMALL), ("--seed", "1")),
    "complete": (("complete", "0.tsv", "--out", "out/o_bold.tsv", "--frames", "3,9"), ("--frames", "4,9")),
    "benchmark": (
        (
            "benchmark",
            "stores/sub-01.zarr",
            "--out",
            "out",
            "--tasks",
            "gap-1",
            "--methods",
            "linear,mean frame",
        ),
        ("--tasks", "gap-2"),
    ),
}
# What tells a result; by default all files. Other files of a benchmark follow from its cells, and have times.
RESULTS = {
    "benchmark": ("benchmark.json", "cell.json", "predictions.npz"),
    "train": ("model.json", "*.safetensors"),
}


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--times", type=int, default=6)
    parser.add_argument("commands", nargs="*", default=[*COMMANDS], metavar="COMMAND")
    options, generator = parser.parse_args(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        make()
        print("| command | s | killed | old | new | part of new | neither | hidden then | next call wrong |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for name in options.commands:
            counts = killed(name, *COMMANDS[name], options.times, generator)
            print(f"| {name} | {' | '.join(map(str, counts))} |", flush=True)


def make() -> None:
    """A person's recording, prepared, and tables of parcels."""
    neuroframes.simulate(
        Path("bids"), subjects=2, minutes=16, runs=2, tr=2.0, space="fsaverage5", channels=8, parcels=20
    )
    neuroframes.prepare("bids", "stores", progress=False)
    for number, table in enumerate(sorted(Path("bids").glob("derivatives/**/*_bold.tsv"))):
        shutil.copy(table, f"{number}.tsv")
        shutil.copy(table.with_suffix(".json"), f"{number}.json")


def killed(
    name: str, arguments: tuple[str, ...], other: tuple[str, ...], times: int, generator: np.random.Generator
) -> list[object]:
    """Seconds that a command takes, how often it was killed, and what came of it."""
    at = arguments.index(other[0])
    older = (*arguments[:at], *other, *arguments[at + 2 :])
    call(*older)
    old = told(name)
    shutil.move("out", "old")
    started = time.perf_counter()
    call(*arguments)
    seconds, new = time.perf_counter() - started, told(name)
    assert old != new
    counts = dict.fromkeys(("killed", "old", "new", "part", "neither", "hidden", "wrong"), 0)
    for _ in range(times):
        remove()
        shutil.copytree("old", "out")
        process = started_call(*arguments, "--overwrite")
        try:
            process.wait(generator.uniform(0.1, 1) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            counts["killed"] += process.wait() != 0
        found = told(name)
        # Half a cell is neither.
        folders = {Path("out"), *(Path(file).parent for file in found)}
        begun = {file: of for file, of in new.items() if Path(file).parent in folders}
        part = "part" if name == "benchmark" and found == begun else "neither"
        counts["old" if found == old else "new" if found == new else part] += 1
        counts["hidden"] += len(hidden()) > 0
        # Goes on with a benchmark that was begun anew.
        call(*arguments, "--overwrite")
        counts["wrong"] += told(name) != new or len(hidden()) > 0
    remove()
    shutil.rmtree("old")
    return [f"{seconds:.1f}", *counts.values()]


def started_call(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "neuroframes", *arguments]
    # A group of its own, whose processes are killed together.
    return subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )


def call(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "neuroframes", *arguments], check=True, capture_output=True)


def told(name: str) -> dict[str, str]:
    """Digests of the files of a result."""
    files = [file for pattern in RESULTS.get(name, ("*",)) for file in Path("out").rglob(pattern)]
    return {str(file): digest(file) for file in files if file.is_file() and not is_hidden(file)}


def digest(file: Path) -> str:
    """SHA-256; of a cell's scores without what they cost in time and memory."""
    content = file.read_bytes()
    if file.name == "cell.json":
        content = json.dumps({**json.loads(content), "cost": None}).encode()
    return hashlib.sha256(content).hexdigest()


def hidden() -> list[Path]:
    return [path for path in Path().rglob(".*") if path.parts[0] not in ("bids", "old")]


def is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def remove() -> None:
    for path in [Path("out"), *hidden()]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
