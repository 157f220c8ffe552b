"""What becomes of files that are damaged on disk: one byte is flipped, or a file is cut, and all is read.

    python benchmarks/damage.py [--flips 200]

Of each kind of folder that neuroframes keeps, bytes at random places are flipped one at a time, each bit
pattern with another one. A refusal is an InputError; anything else that is raised is a fault of ours, and a
folder that is read as if nothing had happened is used without a word.
"""

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import neuroframes
from neuroframes.errors import InputError
from neuroframes.evaluation.cells import kept
from neuroframes.evaluation.summary import read_cells
from neuroframes.recording.store import open_store
from neuroframes.registry import load_model


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--flips", type=int, default=200)
    flips = parser.parse_args().flips
    with tempfile.TemporaryDirectory() as temporary:
        made = make(Path(temporary))
        print("| folder | bytes | refused | used without a word | other exceptions |\n|---|---|---|---|---|")
        for name, (folder, read) in made.items():
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            ended = flipped(folder, read, flips)
            rest = ", ".join(f"{n} {what}" for what, n in ended.items() if what not in ("refused", "used"))
            print(f"| {name} | {size:,} | {ended['refused']} | {ended['used']} | {rest or 0} |", flush=True)


def make(place: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """One small folder of each kind, and what reads all of it."""
    bids = neuroframes.simulate(
        place / "bids", subjects=3, minutes=16, runs=2, tr=2.0, space="fsaverage5", channels=8, parcels=20
    )
    stores = neuroframes.prepare(bids, place / "stores", progress=False)
    small = {"epochs": 1, "width": 16, "members": 1, "progress": False}
    neuroframes.train(stores[:1], out=place / "gaussian", preset="gaussian")
    neuroframes.train(stores[:1], out=place / "networks", preset="default", **small)
    neuroframes.train(stores, out=place / "across", preset="gaussian")
    tables = sorted(bids.glob("derivatives/**/*_bold.tsv"))
    neuroframes.prior(tables, out=place / "prior", latents=6, progress=False)
    chosen = {"methods": "linear", "tasks": "gap-1"}
    neuroframes.benchmark(stores[:1], out=place / "benchmark", progress=False, **chosen)
    cell = next((place / "benchmark" / "cells").glob("*/*/cell.json")).parent
    return {
        "store": (stores[0], read_store),
        "model, gaussian": (place / "gaussian", load_model),
        "model, with networks": (place / "networks", load_model),
        "model across people": (place / "across", load_model),
        "prior": (place / "prior", load_model),
        "cell of a benchmark": (cell, read_cell),
    }


def read_store(path: Path) -> None:
    for run in open_store(path).runs:
        run.bold(), run.eeg()


def read_cell(path: Path) -> None:
    (cell,) = read_cells([path])
    for task in cell["scores"]:
        kept(cell, task)


def flipped(folder: Path, read: Callable[[Path], object], flips: int) -> Counter[str]:
    """How reading ends with one byte flipped at a time; places are drawn over all bytes of the folder."""
    generator, ended = np.random.default_rng(0), Counter[str]()
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    ends = np.cumsum([file.stat().st_size for file in files])
    for number in range(flips):
        # Every second place is in the small files, which hold what arrays mean.
        if number % 2:
            place = int(generator.integers(ends[-1]))
            file = files[int(np.searchsorted(ends, place, side="right"))]
        else:
            file = files[int(generator.integers(len(files)))]
        content = file.read_bytes()
        if not content:
            continue
        at = int(generator.integers(len(content)))
        damaged = bytearray(content)
        damaged[at] ^= int(generator.integers(1, 256))
        # A copy, so that what was mapped into memory stays as it is.
        other = file.with_name(f"{file.name}.other")
        other.write_bytes(damaged)
        aside = shutil.move(file, folder.parent / "aside")
        shutil.move(other, file)
        try:
            read(folder)
            ended["used"] += 1
        except InputError:
            ended["refused"] += 1
        except Exception as error:
            ended[type(error).__name__] += 1
        shutil.move(aside, file)
    return ended


if __name__ == "__main__":
    main()
