"""Malformed files: exit code 2, one line that names the file and a remedy, and nothing written."""

import gzip
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, ParcelsAxis
from scipy.io import loadmat, savemat

import neuroframes
from neuroframes.cli import main
from neuroframes.cortex.space import CorticalSpace
from neuroframes.options import Parser, add_options
from neuroframes.recording.bold import write_bold
from neuroframes.recording.features import Features
from neuroframes.recording.features import write_features as write_table

K, P, TR = 40, 12, 2.0
NAMES = tuple(f"area {p}" for p in range(P))
FRAMES = (100 + np.random.default_rng(0).standard_normal((K, P)).cumsum(axis=0)).astype(np.float32)
BRAIN = BrainModelAxis.from_surface(np.arange(P), 20, name="CortexLeft")
PARCELS = ParcelsAxis.from_brain_models([(name, BRAIN[p : p + 1]) for p, name in enumerate(NAMES)])
VOXELS, TABLE = (
    CorticalSpace.from_mask(np.ones((2, 3, 2), bool), np.eye(4)),
    CorticalSpace.from_parcels(P, NAMES),
)
SPACES = {
    ".dtseries.nii": CorticalSpace.from_axis(BRAIN),
    ".ptseries.nii": CorticalSpace.from_axis(PARCELS),
    **dict.fromkeys((".nii.gz", ".nii", ".mgz"), VOXELS),
    **dict.fromkeys((".tsv", ".csv", ".npz", ".mat"), TABLE),
}

# Files that are spoiled, by the folder of `good` that they are in, and what is typed in that folder.
FEATURES = "sub-01/eeg/sub-01_task-rest_features"
COMMANDS = {
    **{
        f"{folder}/bold{suffix}": f"complete bold{suffix} --frames 3 --out out{suffix}"
        for folder in ("bold", "text")
        for suffix in SPACES
        if (suffix in (".tsv", ".csv")) == (folder == "text")
    },
    **{
        f"pair/bold_hemi-{side}.func.gii": "complete bold_hemi-L.func.gii --frames 3 --out out.func.gii"
        for side in "LR"
    },
    "afni/bold+orig.HEAD": "complete bold+orig.HEAD --frames 3 --out out.nii",
    "afni/bold+orig.BRIK": "complete bold+orig.HEAD --frames 3 --out out.nii",
    "sidecar/bold.json": "complete bold.npz --frames 3 --out out.npz",
    "bold/mask.nii": "complete bold.nii --frames 3 --mask mask.nii --out out.nii",
    "bold/confounds.tsv": "complete bold.npz --confounds confounds.tsv --out out.npz",
    "bold/censor.txt": "complete bold.npz --censor censor.txt --out out.npz",
    "bold/options.yaml": "complete bold.npz --config options.yaml --out out.npz",
    **{
        f"features{suffix}/{FEATURES}{suffix}": "prepare . --out stores"
        for suffix in (".tsv", ".npz", ".parquet", ".mat")
    },
    **{
        f"{folder}/sub-01_{name}": f"reconstruct model --eeg sub-01_eeg{suffix} --out out.func.gii"
        for folder, suffix, names in (
            ("brainvision", ".vhdr", ("eeg.vhdr", "eeg.vmrk", "eeg.eeg")),
            ("eeglab", ".set", ("eeg.set", "eeg.fdt")),
            ("edf", ".edf", ("eeg.edf", "channels.tsv", "events.tsv", "electrodes.tsv")),
            ("bdf", ".bdf", ("eeg.bdf",)),
            ("fif", ".fif", ("eeg.fif",)),
        )
        for name in names
    },
    **{
        f"edf/model/model.{kind}": "reconstruct model --eeg sub-01_eeg.edf --out out.func.gii"
        for kind in ("json", "safetensors")
    },
    **{
        f"prior/prior/model.{kind}": "complete bold.npz --frames 3 --model prior --out out.npz"
        for kind in ("json", "safetensors")
    },
    **{
        f"store/sub-01.zarr/{name}": "train sub-01.zarr --preset gaussian --out model"
        for name in (
            "zarr.json",
            *(f"runs/task-movie_run-1/{name}" for name in ("zarr.json", "bold/zarr.json", "bold/c/0/0")),
        )
    },
}
Change = Callable[[Path], object]
# What libraries warn of in broken files is no error on the command line either.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def good(tmp_path_factory, recording, people) -> Path:
    """Folders of good files, each with all that its commands read."""
    root = tmp_path_factory.mktemp("good")
    for name in COMMANDS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    for suffix, space in SPACES.items():
        for folder in ("bold", "text"):
            write_bold(root / f"{folder}/bold{suffix}", FRAMES, space, tr=TR)
    write_bold(root / "sidecar/bold.npz", FRAMES, TABLE, tr=TR)
    write_bold(root / "pair/bold.func.gii", FRAMES, CorticalSpace.from_counts({"L": 6, "R": 6}), tr=TR)
    write_afni(root / "afni/bold+orig.HEAD")
    for folder in ("sidecar", "text"):
        (root / folder / "bold.json").write_text(json.dumps({"RepetitionTime": TR, "TaskName": "rest"}))
    nib.save(nib.Nifti1Image(np.ones((2, 3, 2), np.uint8), np.eye(4)), root / "bold/mask.nii")
    marks = (np.arange(K) == 3).astype(int)
    pd.DataFrame({"framewise_displacement": marks}).to_csv(root / "bold/confounds.tsv", sep="\t", index=False)
    np.savetxt(root / "bold/censor.txt", marks, "%d")
    (root / "bold/options.yaml").write_text("frames: 3\n")
    for suffix in (".tsv", ".npz", ".parquet", ".mat"):
        table = root / f"features{suffix}/{FEATURES}{suffix}"
        write_table(table, Features(FRAMES[:, :3], ("alpha", "beta", "gamma"), TR))
        parcels = root / f"features{suffix}/derivatives/xcp_d/sub-01/func/sub-01_task-rest_timeseries.npz"
        parcels.parent.mkdir(parents=True)
        write_bold(parcels, FRAMES, TABLE, tr=TR)
    write_eeg(root, mne.io.read_raw(recording.eeg(3), preload=True, verbose="ERROR"))
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        file = root / f"brainvision/sub-01_eeg{suffix}"
        text = recording.eeg(3).with_suffix(suffix).read_bytes()
        file.write_bytes(
            text if suffix == ".eeg" else text.replace(recording.eeg(3).stem.encode(), b"sub-01_eeg")
        )
    for folder in ("brainvision", "eeglab", "edf", "bdf", "fif"):
        shutil.copytree(recording.model, root / folder / "model", dirs_exist_ok=True)
    shutil.copytree(people.prior, root / "prior/prior", dirs_exist_ok=True)
    shutil.copy(people.runs[0], root / "prior/bold.npz")
    shutil.copytree(recording.store, root / "store/sub-01.zarr", dirs_exist_ok=True)
    return root


def write_afni(path: Path) -> None:
    """K frames of 2 x 3 x 2 voxels as HEAD and BRIK."""
    numbers = {
        "DATASET_RANK": [3, K, 0, 0, 0, 0, 0, 0],
        "DATASET_DIMENSIONS": [2, 3, 2, 0, 0],
        "BRICK_TYPES": [3] * K,
        "BRICK_FLOAT_FACS": [0.0] * K,
        "ORIENT_SPECIFIC": [0, 3, 4],
        "ORIGIN": [0.0] * 3,
        "DELTA": [3.0] * 3,
        "IJK_TO_DICOM_REAL": [3.0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0],
        "TAXIS_NUMS": [K, 0, 77002],
        "TAXIS_FLOATS": [0, TR, 0, 0, 0],
        "SCENE_DATA": [0, 2, 0, *[-999] * 5],
    }
    texts = {"TYPESTRING": "3DIM_HEAD_ANAT", "BYTEORDER_STRING": "LSB_FIRST", "TEMPLATE_SPACE": "ORIG"}
    entries = [("string", name, len(text) + 1, f"'{text}~") for name, text in texts.items()]
    for name, values in numbers.items():
        kind = "float" if isinstance(values[0], float) or name == "TAXIS_FLOATS" else "integer"
        entries.append((kind, name, len(values), " " + " ".join(map(str, values))))
    lines = (f"\ntype = {k}-attribute\nname = {n}\ncount = {c}\n{text}\n" for k, n, c, text in entries)
    path.write_text("".join(lines))
    path.with_suffix(".BRIK").write_bytes(FRAMES.tobytes())


def write_eeg(root: Path, raw: Any) -> None:
    """A recording as EDF with BIDS tables, BDF, EEGLAB's set and fdt, and FIF."""
    microvolts, rate, names = 1e6 * raw.get_data(), int(raw.info["sfreq"]), raw.ch_names
    for suffix, width, first in ((".edf", 2, b"0"), (".bdf", 3, b"\xffBIOSEMI")):
        write_edf(root / f"{suffix[1:]}/sub-01_eeg{suffix}", microvolts, rate, names, width, first)
    table = pd.DataFrame({"name": names, "type": raw.get_channel_types(), "units": "µV"})
    table["type"] = table["type"].str.upper()
    table.to_csv(root / "edf/sub-01_channels.tsv", sep="\t", index=False)
    places = np.random.default_rng(0).standard_normal((len(names), 3))
    table = pd.DataFrame({"name": names, **dict(zip("xyz", 0.1 * places.T, strict=True))})
    table.to_csv(root / "edf/sub-01_electrodes.tsv", sep="\t", index=False)
    marks = pd.DataFrame({"onset": np.arange(100.0), "duration": 0.0, "trial_type": "R128"})
    marks.to_csv(root / "edf/sub-01_events.tsv", sep="\t", index=False)
    struct = {
        **{
            "data": "sub-01_eeg.fdt",
            "nbchan": len(names),
            "trials": 1,
            "srate": rate,
            "pnts": microvolts.shape[1],
        },
        **{
            "xmin": 0.0,
            "xmax": 1.0,
            "icawinv": [],
            "icaweights": [],
            "icasphere": [],
            "epoch": [],
            "event": [],
        },
        "chanlocs": np.array([(name,) for name in names], [("labels", object)]),
    }
    savemat(root / "eeglab/sub-01_eeg.set", {"EEG": struct}, appendmat=False)
    microvolts.T.astype("<f4").tofile(root / "eeglab/sub-01_eeg.fdt")
    raw.save(root / "fif/sub-01_eeg.fif", verbose="ERROR")


def write_edf(path: Path, microvolts: Any, rate: int, names: list[str], width: int, first: bytes) -> None:
    n, seconds = len(names), microvolts.shape[1] // rate
    columns = [(names, 16), ([""] * n, 80), (["uV"] * n, 8)]
    columns += [([edge] * n, 8) for edge in (-320, 320, -32000, 32000)]
    columns += [([""] * n, 80), ([rate] * n, 8), ([""] * n, 32)]
    fields = [("X X X X", 80), ("Startdate X X X X", 80), ("01.01.20", 8), ("12.00.00", 8)]
    fields += [(256 * (n + 1), 8), ("", 44), (seconds, 8), (1, 8), (n, 4)]
    fields += [(value, size) for values, size in columns for value in values]
    digital = np.clip(np.round(100 * microvolts), -32000, 32000).astype("<i4")
    digital = digital[:, : seconds * rate].reshape(n, seconds, rate).transpose(1, 0, 2)
    samples = np.ascontiguousarray(digital).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    header = b"".join(str(value).ljust(size).encode("latin-1") for value, size in fields)
    path.write_bytes(first.ljust(8) + header + samples)


# Faults


def bytes_of(content: bytes) -> Change:
    return lambda path: path.write_bytes(content)


def text(content: str) -> Change:
    return bytes_of(content.encode())


def keep(share: float) -> Change:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def swap(old: str, new: str) -> Change:
    """Replace text, which must be there, everywhere."""

    def change(path: Path) -> None:
        before = path.read_bytes()
        after = before.replace(old.encode("latin-1"), new.encode("latin-1"))
        assert after != before
        path.write_bytes(after)

    return change


def bits(offset: int, form: str, *values: float | bytes) -> Change:
    """Write numbers at an offset, of what is compressed too."""

    def change(path: Path) -> None:
        zipped = path.suffix in (".gz", ".mgz")
        content = bytearray(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
        struct.pack_into(form, content, offset, *values)
        path.write_bytes(gzip.compress(content) if zipped else content)

    return change


def arrays(**changed: Any) -> Change:
    """Add or replace arrays of .npz and .mat; None removes one."""

    def change(path: Path) -> None:
        stored = loadmat(path) if path.suffix == ".mat" else dict(np.load(path))
        stored = {name: value for name, value in stored.items() if name[0] != "_"}
        stored = {name: value for name, value in (stored | changed).items() if value is not None}
        savemat(path, stored) if path.suffix == ".mat" else np.savez(path, **stored)

    return change


def edited(offset: int, field: str) -> Change:
    """Replace a field of eight characters."""
    return lambda path: bits(offset, "8s", field.ljust(8).encode())(path)


def table(edit: Callable[[pd.DataFrame], Any], **written: Any) -> Change:
    """Write a table of text or Parquet again, after a change of its frame of strings."""

    def change(path: Path) -> None:
        if path.suffix == ".parquet":
            edit(pd.read_parquet(path)).to_parquet(path)
            return
        separator = "," if path.suffix == ".csv" else "\t"
        frame = edit(pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False))
        frame.to_csv(path, **{"sep": separator, "index": False} | written)

    return change


def entry(row: int, column: int, value: str) -> Change:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame.iat[row, column] = value
        return frame

    return table(edit)


def settings(**changed: Any) -> Change:
    """Change entries of a JSON object."""
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def unreadable(path: Path) -> None:
    path.chmod(0)


def copied(other: str) -> Change:
    return lambda path: shutil.copy(path.parent / other, path)


ANY = {
    "empty": bytes_of(b""),
    "prose": text("See the README.\nNothing here.\n"),
    "picture": bytes_of(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "folder": folder,
    "link": link,
    "pointer": text("/annex/objects/MD5E-s1920--0a0b.nii.gz\n"),
}
# Whose first half is no table that is cut within a line, or a shorter run.
CUT = [name for name in COMMANDS if not name.endswith(("channels.tsv", "options.yaml"))]

# A file, what is wrong in it, and a part of the message.
CASES: dict[str, tuple[str, Change, str]] = {
    "a size that no disk holds": ("bold/bold.nii", bits(40, "<8h", 4, *[32767] * 4, 1, 1, 1), "states"),
    "a size that no disk holds, compressed": (
        "bold/bold.nii.gz",
        bits(40, "<8h", 4, *[32767] * 4, 1, 1, 1),
        "states",
    ),
    "negative sizes": ("bold/bold.nii", bits(40, "<8h", 4, -2, 3, 2, K, 1, 1, 1), "cannot be read"),
    "no axis of time": ("bold/bold.nii", bits(40, "<8h", 3, 2, 3, 2 * K, 1, 1, 1, 1), "expected a 4-D image"),
    "an unknown type of values": ("bold/bold.nii", bits(70, "<h", 999), "cannot be read"),
    "complex values": ("bold/bold.nii", bits(70, "<2h", 32, 64), "bytes of values"),
    "a TR of 0": ("bold/bold.nii", bits(92, "<f", 0), "states a TR"),
    "a negative TR": ("bold/bold.nii", bits(92, "<f", -2), "a TR of -2 s"),
    "a TR of NaN": ("bold/bold.nii", bits(92, "<f", np.nan), "a TR of nan s"),
    "an infinite TR": ("bold/bold.nii", bits(92, "<f", np.inf), "a TR of inf s"),
    "a TR in other units than it says": ("bold/bold.nii.gz", bits(92, "<f", 2000), "a TR of 2000 s"),
    "hertz": ("bold/bold.nii", bits(123, "<b", 2 + 32), "in hz, not in seconds"),
    "voxels without a height": ("bold/bold.nii", bits(312, "<4f", 0, 0, 0, 0), "no place of their own"),
    "an affine of NaN": ("bold/bold.nii", bits(280, "<f", np.nan), "no place of their own"),
    "values beyond the end": ("bold/bold.nii", bits(108, "<f", 1e9), "truncated"),
    "another image's mask": ("bold/mask.nii", copied("bold.nii"), "mask"),
    "a mask without a voxel": ("bold/mask.nii", bits(352, "12b", *[0] * 12), "no value inside this mask"),
    "an MGZ of 2e9 frames": ("bold/bold.mgz", bits(4, ">4i", 2, 3, 2, 2**31 - 1), "bytes of values"),
    "a CIFTI's steps in radians": ("bold/bold.dtseries.nii", swap('"SECOND"', '"RADIAN"'), "in radians"),
    "a CIFTI's steps in parsecs": ("bold/bold.dtseries.nii", swap('"SECOND"', '"PARSEC"'), "cannot be read"),
    "a CIFTI's negative TR": ("bold/bold.ptseries.nii", swap('Step="2.0"', 'Step="-2."'), "a TR of -2 s"),
    "a CIFTI of more values than grayordinates": (
        "bold/bold.dtseries.nii",
        bits(16, "<8q", 6, 1, 1, 1, 1, K // 2, 2 * P, 1),
        "by its axes",
    ),
    "a CIFTI of no series": ("bold/bold.dtseries.nii", swap("_SERIES", "_SCALAR"), "SCALAR"),
    "a CIFTI's XML cut off": ("bold/bold.ptseries.nii", swap("</CIFTI>", "        "), "cannot be read"),
    "a CIFTI called NIfTI": ("bold/bold.nii", copied("bold.dtseries.nii"), "out.nii"),
    "a NIfTI called CIFTI": ("bold/bold.dtseries.nii", copied("bold.nii"), ".dtseries.nii"),
    "a table called MATLAB": ("bold/bold.mat", copied("bold.npz"), "cannot be read"),
    "a gzip called NIfTI": ("bold/bold.nii", copied("bold.nii.gz"), "cannot be read"),
    "a NIfTI called gzip": ("bold/bold.nii.gz", copied("bold.nii"), "cannot be read"),
    "a hemisphere of 999999999 vertices": (
        "pair/bold_hemi-L.func.gii",
        swap('Dim0="6"', 'Dim0="999999999"'),
        "999999999",
    ),
    "an unknown encoding": (
        "pair/bold_hemi-R.func.gii",
        swap("GZipBase64Binary", "MorseCode"),
        "cannot be read",
    ),
    "values outside of an array": ("pair/bold_hemi-L.func.gii", swap("DataArray", "Extra"), "cannot be read"),
    "no GIFTI in its XML": ("pair/bold_hemi-R.func.gii", swap("GIFTI", "Other"), "cannot be read"),
    "a TimeStep of text": ("pair/bold_hemi-R.func.gii", swap("2000.000000", "soon"), "TimeStep"),
    "a TimeStep of 0.000001 ms": ("pair/bold_hemi-R.func.gii", swap("2000.000000", "0.000001"), "TR"),
    "hemispheres of other lengths": (
        "pair/bold_hemi-R.func.gii",
        lambda path: path.write_text(
            re.sub(r"<DataArray.*?</DataArray>", "", path.read_text(), count=1, flags=re.S)
        ),
        "differ in frames",
    ),
    "both hemispheres the left": ("pair/bold_hemi-R.func.gii", copied("bold_hemi-L.func.gii"), "hemi"),
    "an AFNI header without its sizes": (
        "afni/bold+orig.HEAD",
        swap("DATASET_DIMENSIONS", "SIZES"),
        "cannot be",
    ),
    "an AFNI header of several kinds of values": (
        "afni/bold+orig.HEAD",
        swap(" 3 3 3", " 1 3 3"),
        "cannot be read",
    ),
    "an AFNI header of more frames": (
        "afni/bold+orig.HEAD",
        swap(f" 3 {K} ", " 3 999999 "),
        "47,999,952 bytes",
    ),
    "parcels with a name twice": (
        "text/bold.tsv",
        table(lambda frame: frame, header=["a", "a", *NAMES[2:]]),
        "called 'a'",
    ),
    "parcels with text": ("text/bold.tsv", entry(5, 2, "high"), "line 7, column 3"),
    "parcels with infinity throughout": (
        "text/bold.csv",
        table(lambda frame: frame.map(lambda _: "inf")),
        "finite",
    ),
    "parcels with NaN throughout": (
        "text/bold.csv",
        table(lambda frame: frame.map(lambda _: "n/a")),
        "finite",
    ),
    "parcels with decimal commas": (
        "text/bold.tsv",
        table(lambda frame: frame.map(lambda each: each.replace(".", ","))),
        "with decimal points",
    ),
    "parcels in Latin-1": ("text/bold.csv", swap("area 0", "ar\xe9a 0"), "UTF-8"),
    "parcels with a NUL": ("text/bold.csv", swap("area 1", "area\0001"), "NUL"),
    "parcels, a column without values": ("text/bold.tsv", swap("area 1\t", "area 1\tarea 1b\t"), "fields"),
    "parcels without a frame": ("text/bold.tsv", table(lambda frame: frame[:0]), "frames"),
    "an .npz without a table": ("bold/bold.npz", arrays(bold=None), "0 of them 2-D"),
    "an .npz of text": ("bold/bold.npz", arrays(bold=FRAMES.astype(str)), "holds"),
    "an .npz of objects": ("bold/bold.npz", arrays(bold=FRAMES.astype(object)), "cannot be read"),
    "an .npz of complex values": ("bold/bold.npz", arrays(bold=FRAMES.astype(complex)), "holds"),
    "an .npz with fewer names": ("bold/bold.npz", arrays(names=np.array(NAMES[1:])), "11 names for 12"),
    "an .npz on its side": ("bold/bold.npz", arrays(bold=FRAMES.T), "12 names for 40 columns; "),
    "an .npz with three axes": ("bold/bold.npz", arrays(bold=FRAMES[None]), "2-D"),
    "an .npz with a TR of text": ("bold/bold.npz", arrays(tr=np.array("2 s")), "tr '2 s'"),
    "an .npz with two TRs": ("bold/bold.npz", arrays(tr=np.array([2.0, 3.0])), "tr"),
    "a .mat with a TR of 0": ("bold/bold.mat", arrays(tr=0.0), "states a TR"),
    "a .mat with NaN throughout": ("bold/bold.mat", arrays(bold=FRAMES * np.nan), "finite"),
    "a sidecar that is a list": ("sidecar/bold.json", text("[2.0]"), "expected a JSON object"),
    "a sidecar's TR of text": ("sidecar/bold.json", settings(RepetitionTime="2 s"), "RepetitionTime '2 s'"),
    "a sidecar's TR of true": ("sidecar/bold.json", settings(RepetitionTime=True), "RepetitionTime"),
    "a sidecar's TR of another run": ("sidecar/bold.json", settings(RepetitionTime=0.8), "says 0.8 s"),
    "a sidecar's TR in milliseconds": ("sidecar/bold.json", settings(RepetitionTime=2000), "a TR of 2000 s"),
    "a sidecar's infinite TR": (
        "sidecar/bold.json",
        text('{"RepetitionTime": Infinity}'),
        "RepetitionTime inf",
    ),
    "a sidecar nested without end": ("sidecar/bold.json", text("[" * 100_000), "JSON"),
    "a sidecar of another's frames": (
        "sidecar/bold.json",
        settings(NeuroframesMeasured=[True] * 7),
        "7 frames",
    ),
    "a sidecar that leads elsewhere": (
        "sidecar/bold.json",
        settings(NeuroframesStandardDeviation="/etc/passwd"),
        "without a path",
    ),
    "a sidecar of earlier calls that are text": (
        "sidecar/bold.json",
        settings(NeuroframesMeasured=[True] * K, NeuroframesEarlier="none"),
        "NeuroframesEarlier",
    ),
    "displacement of text": ("bold/confounds.tsv", entry(3, 0, "much"), "'much'"),
    "infinite displacement": ("bold/confounds.tsv", entry(3, 0, "inf"), "'inf'"),
    "confounds of too many frames": (
        "bold/confounds.tsv",
        table(lambda frame: pd.concat([frame] * 2)),
        "80 lines",
    ),
    "confounds in semicolons": (
        "bold/confounds.tsv",
        table(lambda frame: frame.assign(csf="0"), sep=";"),
        "semicolons",
    ),
    "marks of 2": ("bold/censor.txt", text("2\n" * K), "expected 0 or 1"),
    "marks of NaN": ("bold/censor.txt", text("nan\n" * K), "39 lines"),
    "marks in UTF-16 without a mark of it": (
        "bold/censor.txt",
        lambda path: path.write_bytes(path.read_text().encode("utf-16-le")),
        "NUL",
    ),
    "features with NaN": (f"features.tsv/{FEATURES}.tsv", entry(5, 1, "n/a"), "frame 5, beta"),
    "features with infinity": (
        f"features.npz/{FEATURES}.npz",
        arrays(features=FRAMES[:, :3] * np.inf),
        "frame 0",
    ),
    "features of other frames": (
        f"features.mat/{FEATURES}.mat",
        arrays(features=FRAMES[:9, :3]),
        "9 frames for 40",
    ),
    "features without names": (f"features.npz/{FEATURES}.npz", arrays(names=None), "expected features"),
    "features with a name twice": (
        f"features.mat/{FEATURES}.mat",
        arrays(names=["a", "a", "b"]),
        "called 'a'",
    ),
    "features of objects": (f"features.npz/{FEATURES}.npz", arrays(features=FRAMES.astype(object)), "npz"),
    "features in cells": (f"features.mat/{FEATURES}.mat", arrays(features=FRAMES.astype(object)), "features"),
    "features with a column of text": (
        f"features.parquet/{FEATURES}.parquet",
        table(lambda frame: frame.assign(subject="01")),
        "subject",
    ),
    "features of another TR": (f"features.npz/{FEATURES}.npz", arrays(tr=0.8), "TR of 0.8 s"),
    "features with a negative TR": (f"features.mat/{FEATURES}.mat", arrays(tr=-2.0), "TR of -2 s"),
    "features with a TR of text": (f"features.npz/{FEATURES}.npz", arrays(tr="2 s"), "tr '2 s'"),
    "a .mat called .npz": (
        f"features.npz/{FEATURES}.npz",
        lambda path: savemat(path, {"a": 1}, appendmat=False),
        "npz",
    ),
    "a header of no channels": (
        "brainvision/sub-01_eeg.vhdr",
        lambda path: path.write_text(path.read_text().partition("[Channel")[0]),
        "Channel Infos",
    ),
    "a header with an interval of 0": (
        "brainvision/sub-01_eeg.vhdr",
        swap("SamplingInterval=4000", "SamplingInterval=0"),
        "cannot read it as EEG",
    ),
    "a header with an interval of text": (
        "brainvision/sub-01_eeg.vhdr",
        swap("SamplingInterval=4000", "SamplingInterval=often"),
        "often",
    ),
    "a header that names other samples": (
        "brainvision/sub-01_eeg.vhdr",
        swap("DataFile=sub-01_eeg", "DataFile=sub-02_eeg"),
        "cannot read it as EEG",
    ),
    "a header of ten thousand channels": (
        "brainvision/sub-01_eeg.vhdr",
        swap("NumberOfChannels=17", "NumberOfChannels=10000"),
        "missing entries",
    ),
    "a channel's name twice": ("brainvision/sub-01_eeg.vhdr", swap("Ch2=", "Ch1="), "already exists"),
    "units that MNE doesn't know": (
        "brainvision/sub-01_eeg.vhdr",
        swap("µV".encode().decode("latin-1"), "furlongs"),
        "no EEG channels",
    ),
    "a header in UTF-16": (
        "brainvision/sub-01_eeg.vhdr",
        lambda path: path.write_text(path.read_text(), "utf-16"),
        "no section headers",
    ),
    "markers of another file": ("brainvision/sub-01_eeg.vmrk", copied("sub-01_eeg.vhdr"), "no markers"),
    "markers that stand nowhere": (
        "brainvision/sub-01_eeg.vmrk",
        swap("Response,R128,", "Response,R128,x"),
        "'x",
    ),
    "markers cut off": ("brainvision/sub-01_eeg.vmrk", keep(0.5), "cannot read it as EEG"),
    "samples of NaN": (
        "eeglab/sub-01_eeg.fdt",
        lambda path: np.full(path.stat().st_size // 4, np.nan, "<f4").tofile(path),
        "NaN in 16",
    ),
    "samples in volts": (
        "eeglab/sub-01_eeg.fdt",
        lambda path: (1e6 * np.fromfile(path, "<f4")).tofile(path),
        "its unit is missing",
    ),
    "an EEGLAB struct of another kind": (
        "eeglab/sub-01_eeg.set",
        lambda path: savemat(path, {"ALLEEG": 1.0}, appendmat=False),
        "cannot read it as EEG",
    ),
    "an EDF of a million records": (
        "edf/sub-01_eeg.edf",
        edited(236, "1000000"),
        "1000000; the file is truncated",
    ),
    "an EDF with records of 0 s": ("edf/sub-01_eeg.edf", edited(244, "0"), "records of 0 s"),
    "an EDF with records of text": ("edf/sub-01_eeg.edf", edited(244, "long"), "cannot read it as EEG"),
    "an EDF of 9999 signals": ("edf/sub-01_eeg.edf", bits(252, "4s", b"9999"), "cannot read it as EEG"),
    "an EDF whose header is shorter than stated": (
        "edf/sub-01_eeg.edf",
        edited(184, "99999999"),
        "cannot read it as EEG",
    ),
    "a BDF cut within a record": ("bdf/sub-01_eeg.bdf", keep(0.995), "truncated"),
    "an EDF called FIF": (
        "fif/sub-01_eeg.fif",
        lambda path: path.write_bytes(b"0".ljust(8) + bytes(9999)),
        "cannot read it as EEG",
    ),
    "a FIF without its end": ("fif/sub-01_eeg.fif", keep(0.9), "truncated"),
    "channels without names": ("edf/sub-01_channels.tsv", swap("name\t", "label\t"), "no column name"),
    "channels of no EEG": ("edf/sub-01_channels.tsv", swap("EEG", "EOG"), "no EEG channels"),
    "electrodes without a place": ("edf/sub-01_electrodes.tsv", swap("name\tx", "name\tr"), "no column x"),
    "electrodes at infinity": ("edf/sub-01_electrodes.tsv", entry(0, 1, "inf"), "'inf'"),
    "events without a time": ("edf/sub-01_events.tsv", swap("onset", "start"), "no column onset"),
    "events at a time of text": ("edf/sub-01_events.tsv", entry(2, 0, "noon"), "'noon'"),
    "options of another command": ("bold/options.yaml", text("stores: x\n"), "no option --stores"),
    "options within options": ("bold/options.yaml", text("frames: [[1], 2]\n"), "frames holds"),
    "options in tabs": ("bold/options.yaml", text("\tframes: 3\n"), "can't be read"),
    "a model's settings changed": ("edf/model/model.json", settings(tr=-1), "damaged"),
    "a prior in a model's place": (
        "edf/model/model.json",
        text('{"format": "neuroframes-model-x-1"}'),
        "damaged",
    ),
    "a prior's arrays of the future": (
        "prior/prior/model.json",
        settings(format="neuroframes-model-prior-99"),
        "damaged",
    ),
    "a store of another format": ("store/sub-01.zarr/zarr.json", text('{"attributes": {}}'), "damaged"),
    "a store's run without a TR": (
        "store/sub-01.zarr/runs/task-movie_run-1/zarr.json",
        swap('"tr"', '"TR"'),
        "damaged",
    ),
}


@pytest.fixture
def spoiled(good, refused, tmp_path, capsys):
    """Spoil a file and type its command; the line of error, without the part that all have."""

    def run(file: str, change: Change) -> str:
        folder, _, within = file.partition("/")
        shutil.copytree(good / folder, tmp_path, dirs_exist_ok=True)
        change(tmp_path / within)
        command = COMMANDS[file].split()
        if not file.endswith(".yaml"):
            return refused(*command).removeprefix("neuroframes: error: ")
        before = sorted(tmp_path.iterdir())
        with pytest.raises(SystemExit, match="2"):
            main(command)
        assert sorted(tmp_path.iterdir()) == before
        return capsys.readouterr().err.strip().splitlines()[-1].removeprefix("neuroframes complete: error: ")

    return run


REMEDY = re.compile(
    r"[;:,] (or )?(change|choose|copy|correct|cut|did you mean|drop|export|expected|fetch|interpolate|leave"
    r"|make|name|pass|remove|rename|repair|replace|resample|restore|run|save|split|use)\b"
)


def check(error: str, file: str) -> None:
    """It names the file, or the one that it belongs to, and a remedy whose options the command has."""
    command = COMMANDS[file].split()
    assert any(Path(name).name in error for name in (file, *command) if "." in name), error
    assert REMEDY.search(error), error
    names = add_options(Parser("neuroframes"), getattr(neuroframes, command[0]))
    options = {"--config", *(f"--{name.replace('_', '-')}" for name in names)}
    assert {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub("no option --stores", "", error))} <= options, (
        error
    )
    assert len(error) < 700 and error.isprintable()


@pytest.mark.parametrize("file", COMMANDS)
@pytest.mark.parametrize("fault", ANY)
def test_what_befalls_any_file(spoiled, file, fault):
    check(spoiled(file, ANY[fault]), file)


@pytest.mark.parametrize("file", CUT)
def test_half_of_a_file(spoiled, file):
    check(spoiled(file, keep(0.5)), file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("file", [file for file in COMMANDS if not file.endswith(".yaml")])
def test_a_file_that_may_not_be_read(spoiled, file):
    check(spoiled(file, unreadable), file)


@pytest.mark.parametrize("case", CASES)
def test_malformed(spoiled, case):
    file, change, said = CASES[case]
    error = spoiled(file, change)
    check(error, file)
    assert said in error


@pytest.mark.parametrize("command", sorted({*COMMANDS.values()}))
def test_the_same_files_unspoiled(good, tmp_path, monkeypatch, command):
    file = next(file for file, typed in COMMANDS.items() if typed == command)
    shutil.copytree(good / file.partition("/")[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 0
