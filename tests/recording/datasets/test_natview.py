"""NATVIEW on a small tree of the release's shape."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from neuroframes.errors import InputError
from neuroframes.recording.datasets import natview
from neuroframes.recording.prepare import prepare
from neuroframes.recording.store import open_store

TR, K, P, RATE = 2.1, 30, 200, 100
STEM = "sub-01_ses-01_task-rest"
TABLE = f"{STEM}_space-MNI152Lin_res-3mm_atlas-Schaefer2018_dens-200parcels7networks_desc"


def release(root: Path) -> np.ndarray:
    """EEG with R128 from 3 s on, parcels with and without the global signal; returns the latter, (K, P)."""
    folder, generator = root / "sub-01/ses-01", np.random.default_rng(0)
    (folder / "eeg").mkdir(parents=True, exist_ok=True)
    events = [((3 + TR * k) * RATE + 1, "R128", 1.0) for k in range(K)]
    struct = {
        "data": 10 * generator.standard_normal((6, round((K * TR + 8) * RATE))), "nbchan": 6, "trials": 1,
        "srate": RATE, "pnts": round((K * TR + 8) * RATE), "xmin": 0.0, "xmax": 1.0, "epoch": [],
        "icawinv": [], "icaweights": [], "icasphere": [],
        "chanlocs": np.array([(n,) for n in ("Fz", "Cz", "Pz", "Oz", "ECG", "EOGL")], [("labels", object)]),
        "event": np.array(events, [("latency", float), ("type", object), ("duration", float)]),
    }  # fmt: skip
    savemat(folder / f"eeg/{STEM}_eeg.set", {"EEG": struct}, appendmat=False)
    atlas = folder / f"func/{STEM}_bold/func_atlas"
    atlas.mkdir(parents=True, exist_ok=True)
    values = 100 + generator.standard_normal((P, K))
    for kind, table in (("sm0", values), ("sm0gsr", -values)):
        np.savetxt(atlas / f"{TABLE}-{kind}_bold.tsv", table, "%.6f", delimiter="\t")
    return values.T


def test_parcels_and_cleaned_eeg(tmp_path):
    values = release(tmp_path / "preproc_data")
    (path,) = prepare(tmp_path / "preproc_data", tmp_path / "out", dataset="natview", progress=False)
    store = open_store(path)
    (run,) = store.runs
    assert (store.subject, store.channels, store.space.V) == ("01", ("Fz", "Cz", "Pz", "Oz"), P)
    assert (run.name, run.tr) == ("ses-01_task-rest", TR)
    np.testing.assert_allclose(run.bold(), values, atol=1e-4)
    np.testing.assert_allclose(run.frame_times, 3 + TR * (np.arange(K) + 0.5), atol=1e-6)
    # Again: nothing is read anew.
    before = (path / "runs" / run.name).stat().st_mtime_ns
    prepare(tmp_path / "preproc_data", tmp_path / "out", dataset="natview", progress=False)
    assert (path / "runs" / run.name).stat().st_mtime_ns == before


def test_raw_data_with_fmriprep(tmp_path):
    """Headers without samples, as raw_data has them, are left out; BOLD is fMRIPrep's alone."""
    root = tmp_path / "raw_data"
    release(root)
    (root / f"sub-01/ses-01/eeg/{STEM}_eeg.vhdr").write_text("Brain Vision Data Exchange Header File")
    (root / f"sub-01/ses-01/eeg/{STEM}_channels.tsv").write_text("name\ttype\nFz\tEEG\n")
    (root / "derivatives/fmriprep/sub-01/ses-01/func").mkdir(parents=True)
    natview.to_bids(root, tmp_path / "bids")
    eeg = sorted(path.name for path in (tmp_path / "bids/sub-01/ses-01/eeg").iterdir())
    assert eeg == [f"{STEM}_channels.tsv", f"{STEM}_eeg.set"]
    assert (tmp_path / "bids/derivatives").resolve() == root / "derivatives"


@pytest.mark.parametrize(
    ("lines", "message"),
    [("1\t2\n3\t4\n", "2 rows; expected 200, one a parcel"), ("1\t2\n3\tx\n", "expected numbers alone")],
)
def test_a_table_of_something_else_is_refused(tmp_path, lines, message):
    release(tmp_path / "in")
    (table,) = tmp_path.rglob("*-sm0_bold.tsv")
    table.write_text(lines)
    with pytest.raises(InputError, match=message):
        natview.to_bids(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_lacks_is_named(tmp_path, refused):
    command = ("prepare", tmp_path / "in", "--dataset", "natview", "--out", tmp_path / "out")
    assert "no sub-*/ses-*/eeg/*.set; pass the folder of preproc_data" in refused(*command)
    release(tmp_path / "in")
    for table in tmp_path.rglob("*.tsv"):
        table.unlink()
    assert "no parcels (func_atlas), nor derivatives/fmriprep; pass" in refused(*command)
