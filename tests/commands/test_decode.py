"""Decoders fitted to a store, and what other frames tell of the same stimulus."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

import neuroframes
from neuroframes.cli import main
from neuroframes.commands.complete import complete
from neuroframes.commands.decode import decode_fit, decode_score
from neuroframes.commands.decoding import KeptDecoder, decode_run, fit_to
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.evaluation.metrics import WHOLE
from neuroframes.models.stored import write_stored
from neuroframes.recording.bold import Bold
from neuroframes.recording.features import Features, write_features
from neuroframes.recording.prepare import prepare
from neuroframes.recording.segments import load_segments, split_of
from neuroframes.recording.sidecar import write_sidecar
from neuroframes.recording.store import Store, StoredRun

pytest.importorskip("himalaya")
TR, P, K, DELAY = 2.0, 8, 120, 2  # DELAY in frames
NAMES = ("level", "kind=low", "kind=high")
RUNS = ("task-movie_run-1", "task-movie_run-2")
SPACE = CorticalSpace.from_parcels(P)
QUARTER = partial(split_of, test_fraction=None, test_session=None, gap=None)


def level(run: int) -> np.ndarray:
    """What run 1 or 2 showed, the same for everybody, shape (K,)."""
    of = gaussian_filter1d(np.random.default_rng(run).standard_normal(K), 1.5)
    return of / of.std()


def responding(run: int, seed: int, noise: float = 0.5) -> np.ndarray:
    """Frames (K, P) that follow it."""
    later = np.zeros(K)
    later[DELAY:] = level(run)[:-DELAY]
    pattern = np.random.default_rng(9).standard_normal(P)
    generator = np.random.default_rng(10 * seed + run)
    return (100 + np.outer(later, pattern) + noise * generator.standard_normal((K, P))).astype(np.float32)


def store(person: int = 1, names: Sequence[str] = NAMES, tr: float = TR, **changed) -> Store:
    """A person's store in memory."""
    runs = []
    for number, name in enumerate(RUNS, 1):
        shown = np.column_stack([level(number), level(number) < 0, level(number) >= 0])
        shown[:3] = np.nan
        columns = {"level": shown[:, 0], "kind=low": shown[:, 1], "kind=high": shown[:, 2]}
        stimulus = np.stack([columns.get(of, shown[:, 0]) for of in names], axis=1) if names else shown
        group = {"bold": responding(number, person), "stimulus": stimulus.astype(np.float32)}
        times = tr * (np.arange(K) + 0.5)
        sources = {"stimulus": [], "eeg": "x_eeg.vhdr"}
        runs.append(StoredRun(name, tr, times, np.zeros(K, bool), None, 100.0, sources, group, tuple(names)))
    return Store(
        Path(f"sub-{person}.zarr"), f"{person}", SPACE, (), np.zeros((0, 3)), (), 100.0, {}, tuple(runs)
    )


def bold(frames: np.ndarray, name: str = "sub-1_task-movie_run-2_bold.tsv", tr: float = TR, **more) -> Bold:
    times = tr * np.arange(len(frames), dtype=float)
    return Bold(**{"data": frames, "tr": tr, "times": times, "space": SPACE, "sources": (Path(name),)} | more)


@pytest.fixture(scope="module")
def kept() -> KeptDecoder:
    return fit_to([store()], QUARTER, 0)


def r_of(kept: KeptDecoder, of: Bold, at: Store | None = None) -> float:
    return decode_run("x", of, kept, at or store()).scores[WHOLE]["decoded r"]


@pytest.mark.parametrize("people", [[1], [1, 2, 3]])
def test_nothing_of_the_held_out_part_is_fitted_of_nobody(people):
    stores = [store(person) for person in people]
    before = fit_to(stores, QUARTER, 0)
    (held_out,) = before.split.test
    assert (held_out.run, held_out.stop) == (RUNS[1], K) and K - held_out.start >= 32
    for number, of in enumerate(stores):
        group = {name: values.copy() for name, values in of.runs[1].group.items()}
        for values in group.values():
            values[held_out.start - 20 :] = np.random.default_rng(5).standard_normal(values[0].shape)
        stores[number] = replace(of, runs=(of.runs[0], replace(of.runs[1], group=group)))
    after = fit_to(stores, QUARTER, 0)
    for region, (_, decoder) in before.decoders.by_region.items():
        np.testing.assert_array_equal(decoder.weights, after.decoders.by_region[region][1].weights)


def test_measured_frames_score_as_the_store_s_own_segment_does(kept):
    found = decode_run("x", bold(responding(2, 1)), kept, store())
    part = kept.split.test
    (segment,), _ = load_segments(store(), part, None, scale=kept.scale)
    expected = kept.decoders.score([segment.frames], [segment], [segment.measured])[0][WHOLE]
    assert found.kind == "measured" and found.first == part[0].start
    assert found.scores[WHOLE] == pytest.approx(expected, abs=1e-6)
    assert found.scores[WHOLE]["decoded r, level"] > 0.7
    assert found.scores[WHOLE]["balanced accuracy, kind"] > 0.7


def test_frames_that_tell_nothing_are_at_chance(kept):
    generator = np.random.default_rng(0)
    noise = [bold(generator.standard_normal((K, P)).astype(np.float32)) for _ in range(20)]
    scores = pd.DataFrame([decode_run("x", of, kept, store()).scores[WHOLE] for of in noise]).mean()
    assert abs(scores["decoded r"]) < 0.1
    assert abs(scores["2-way identification, 10 s"] - 0.5) < 0.1
    assert abs(scores["balanced accuracy, kind"] - 0.5) < 0.1


def test_censored_and_missing_frames_are_interpolated(kept):
    frames, own = responding(2, 1), store()
    hidden = np.arange(80, 116, 5)
    for left in (None, np.nan):
        spoiled, at = frames.copy(), own
        spoiled[hidden] = 1e4 if left is None else left
        if left is None:
            censored = np.isin(np.arange(K), hidden)
            at = replace(own, runs=(own.runs[0], replace(own.runs[1], censored=censored)))
        assert r_of(kept, bold(spoiled), at) == pytest.approx(r_of(kept, bold(frames)), abs=0.1)


def test_estimates_count_as_they_are_and_say_so(kept):
    frames = responding(2, 1)
    measured = np.isin(np.arange(K), np.arange(0, K, 2))
    about = {"NeuroframesMeasured": measured.tolist()}
    found = decode_run("x", bold(frames, measured=measured, sidecar=about), kept, store())
    assert found.kind == "completed"
    assert found.scores[WHOLE]["decoded r"] == pytest.approx(r_of(kept, bold(frames)), abs=1e-6)


@pytest.mark.parametrize("tr", [0.5, 1.0])
def test_closer_frames_are_scored_at_the_store_s_moments(kept, tr):
    frames, n = responding(2, 1, noise=0), round(K * TR / tr)
    times = TR / 2 - tr / 2 + tr * np.arange(n)  # as resample has it
    finer = np.stack([np.interp(times + tr / 2, TR * (np.arange(K) + 0.5), of) for of in frames.T], axis=1)
    about = {"NeuroframesMeasured": [True] + [False] * (n - 1)}
    of = bold(finer, tr=tr, times=times, sidecar=about, measured=np.array(about["NeuroframesMeasured"]))
    shown, (part,) = decode_run("x", bold(frames), kept, store()).shown, kept.split.test
    found = decode_run("x", of, kept, store())
    np.testing.assert_array_equal(found.shown, shown)
    assert len(found.decoded) == part.stop - part.start
    assert found.scores[WHOLE]["decoded r"] == pytest.approx(r_of(kept, bold(frames)), abs=0.03)


def test_frames_from_eeg_are_on_its_clock_and_in_units_of_the_training_part(kept):
    """The scanner starts 31 s after the EEG, as frames say that were reconstructed from it."""
    own = store()
    late = replace(own, runs=tuple(replace(run, frame_times=run.frame_times + 31) for run in own.runs))
    frames = (responding(2, 1) - 100) / np.where(kept.scale > 0, kept.scale, 1)
    about = {"NeuroframesMeasured": [False] * K, "NeuroframesUnits": "z"}
    of = bold(frames, measured=np.zeros(K, bool), sidecar=about, times=31 + TR * np.arange(K))
    found = decode_run("x", of, kept, late)
    assert found.kind == "reconstructed"
    assert found.scores[WHOLE]["decoded r"] == pytest.approx(r_of(kept, bold(responding(2, 1))), abs=1e-3)
    early = decode_run("x", replace(of, times=of.times[:] - 12), kept, late)
    assert early.scores[WHOLE]["decoded r, level"] < found.scores[WHOLE]["decoded r, level"] - 0.3


def test_moments_that_the_frames_do_not_reach_are_not_scored(kept):
    own, n = store(), 105
    about = {"NeuroframesMeasured": [True] * n}
    found = decode_run("x", bold(responding(2, 1)[:n], sidecar=about), kept, own)
    (part,) = kept.split.test
    assert np.isfinite(found.shown).all(axis=1).sum() == n - part.start


def test_people_who_were_shown_the_same_decode_somebody_else():
    kept = fit_to([store(person) for person in (1, 2, 3)], QUARTER, 0)
    assert kept.scale is None and kept.subjects == ("1", "2", "3")
    frames = 7 * responding(2, 4)  # in units of their own
    assert r_of(kept, bold(frames, "sub-4_task-movie_run-2_bold.tsv"), store(4)) > 0.7
    run = replace(store(4).runs[0], name="task-other_run-1")  # a new one counts as a whole
    other = replace(store(4), runs=(run,))
    found = decode_run("x", bold(responding(1, 4), "sub-4_task-other_run-1_bold.tsv"), kept, other)
    assert (found.first, len(found.shown)) == (0, K)


def test_people_may_lack_runs_frames_and_categories():
    short = store(2)
    run = short.runs[1]
    group = {name: values[:100] for name, values in run.group.items()}
    cut = replace(run, frame_times=run.frame_times[:100], censored=run.censored[:100], group=group)
    stores = [store(1), replace(short, runs=(cut,)), store(3, names=("level", "kind=high"))]
    kept = fit_to(stores, QUARTER, 0)
    assert kept.split == QUARTER([(name, K, TR) for name in RUNS])
    assert kept.names == NAMES
    assert r_of(kept, bold(responding(2, 3)), store(3, names=("kind=high", "level"))) > 0.6


def test_what_is_written_is_read_again(kept, tmp_path):
    kept.write(tmp_path / "d")
    again = KeptDecoder.read(tmp_path / "d")
    assert (again.names, again.tr, again.split, again.subjects) == (NAMES, TR, kept.split, ("1",))
    again.space.check_same(SPACE, "space")
    np.testing.assert_array_equal(again.scale, kept.scale)
    assert r_of(again, bold(responding(2, 1))) == r_of(kept, bold(responding(2, 1)))
    for file in sorted((tmp_path / "d").rglob("*.*")):
        content = file.read_bytes()
        file.write_bytes(content[:-2])
        with pytest.raises(InputError, match="decode fit"):
            KeptDecoder.read(tmp_path / "d")
        file.write_bytes(content)


def test_a_run_is_found_by_its_name_or_by_its_source_s(kept):
    of = {"Sources": ["sub-1_task-movie_run-02_desc-x_bold.tsv", "confounds.tsv"]}
    for name, about in (
        ("sub-1_task-movie_run-2_desc-completed_bold.tsv", {}),
        ("sub-1_task-movie_acq-fast_run-02_bold.tsv", {}),
        ("filled.tsv", of),
    ):
        assert decode_run("x", bold(responding(2, 1), name, sidecar=about), kept, store()).run.name == RUNS[1]


def test_frames_of_others_and_models_fitted_to_what_is_scored_are_said(kept, tmp_path, caplog):
    model, parts = tmp_path / "model", [{"run": RUNS[1], "start": 0, "stop": K}]
    model.mkdir()
    of = bold(responding(2, 1), sidecar={"NeuroframesModel": str(model)})
    with caplog.at_level(logging.WARNING, "neuroframes"):
        decode_run("x", of, kept, store())  # the model has gone
        decode_run("x", bold(responding(2, 1)), kept, store())
        assert not caplog.records
        decode_run("x", bold(responding(2, 2), "sub-2_task-movie_run-2_bold.tsv"), kept, store())
        assert "is of sub-2, the decoder of sub-1" in caplog.text
        assert "run-2_bold.tsv: taken to have been shown what sub-1 was" in caplog.text
    for number, (train, warned) in enumerate([(parts, True), ([parts[0] | {"stop": 40}], False)]):
        caplog.clear()
        about = {"split": {"train": train, "test": [], "gap": 40.0}}
        write_stored(tmp_path / f"m{number}", "neuroframes-model-x-1", about, {}, overwrite=False)
        of = bold(responding(2, 1), sidecar={"NeuroframesModel": str(tmp_path / f"m{number}")})
        with caplog.at_level(logging.WARNING, "neuroframes"):
            decode_run("x", of, kept, store())
        assert ("was fitted to frames of the part that is scored" in caplog.text) == warned


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": responding(2, 1)[:, :3], "space": CorticalSpace.from_parcels(3)}, "3 values"),
        ({"sources": (Path("sub-1_task-movie_run-1_bold.tsv"),)}, "which the decoder was fitted to"),
        (
            {"sources": (Path("sub-1_task-rest_run-2_bold.tsv"),)},
            r"says of no run of sub-1.zarr \(task-movie",
        ),
        ({"sources": (Path("filled.tsv"),), "sidecar": {"Sources": "x"}}, "says of no run"),
        (
            {"tr": 3.0, "times": 3.0 * np.arange(K), "sidecar": {"NeuroframesMeasured": [True] * K}},
            "TR 3 s, but the decoder was fitted to 2 s; .* neuroframes resample",
        ),
        ({"data": np.where(np.arange(K)[:, None] < 60, responding(2, 1), np.nan)}, "no frames in the part"),
    ],
)
def test_runs_that_cannot_be_scored_are_refused(kept, changed, said):
    with pytest.raises(InputError, match=said):
        decode_run("x", replace(bold(responding(2, 1)), **changed), kept, store())


def test_measured_frames_that_are_not_the_run_s_are_refused(kept):
    with pytest.raises(InputError, match=r"90 frames of 2 s, but .*run-2 in sub-1.zarr has 120 of 2 s"):
        decode_run("x", bold(responding(2, 1)[:90]), kept, store())


def test_a_part_in_which_nothing_was_shown_is_refused(kept):
    own = store()
    for last in (0, 3):  # whose response comes after the end
        shown = np.where(np.arange(K)[:, None] < K - last, np.nan, own.runs[1].group["stimulus"])
        group = own.runs[1].group | {"stimulus": shown}
        blank = replace(own, runs=(own.runs[0], replace(own.runs[1], group=group)))
        with pytest.raises(InputError, match="nothing was shown in the part that is scored"):
            r_of(kept, bold(responding(2, 1)), blank)


@pytest.mark.parametrize(
    ("stores", "said"),
    [
        ([store(names=())], "no stimulus features; .* --stimulus and --overwrite"),
        ([store(1), store(2, names=("sound",))], "sub-2.zarr: .* features sound, but .* has level; prepare"),
        ([store(1), store(2, tr=1.0)], r"sub-2.zarr: TR 1.0 s, but sub-1.zarr has 2 s"),
        ([store(1), store(1)], "sub-1 is in two of the stores"),
        ([store(1), replace(store(2), space=CorticalSpace.from_parcels(3))], "3 values"),
    ],
)
def test_stores_that_cannot_be_fitted_to_are_refused(stores, said):
    with pytest.raises(InputError, match=said):
        fit_to(stores, QUARTER, 0)


def test_films_that_are_shown_again_are_said(caplog):
    own = store()
    for films, warned in ((("a.mp4", "a.mp4"), True), (("a.mp4", "b.mp4"), False)):
        caplog.clear()
        sources = [
            run.sources | {"stimulus": ["events.tsv", f"films/{film}"]}
            for run, film in zip(own.runs, films, strict=True)
        ]
        runs = tuple(replace(run, sources=of) for run, of in zip(own.runs, sources, strict=True))
        with caplog.at_level(logging.WARNING, "neuroframes"):
            fit_to([replace(own, runs=runs)], QUARTER, 0)
        assert (f"{RUNS[1]} shows a.mp4, as runs do that are fitted to" in caplog.text) == warned


def test_features_that_are_shown_again_are_said(caplog):
    own = store()
    first, second = own.runs
    again = replace(second, group=second.group | {"stimulus": first.group["stimulus"]})
    with caplog.at_level(logging.WARNING, "neuroframes"):
        fit_to([own], QUARTER, 0)
        assert "as runs do" not in caplog.text
        fit_to([replace(own, runs=(first, again))], QUARTER, 0)
    assert f"{RUNS[1]} shows the features of {RUNS[0]}, as runs do that are fitted to" in caplog.text


@dataclass(frozen=True)
class Files:
    root: Path
    store: Path
    decoder: Path

    def bold(self, run: int) -> Path:
        return self.root / f"derivatives/fmriprep/sub-1/func/sub-1_task-movie_run-{run}_timeseries.tsv"


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Files:
    """The same in files: tables of parcels, of EEG features, and of the stimulus."""
    folder = tmp_path_factory.mktemp("decode")
    found = Files(folder / "bids", folder / "stores/sub-1.zarr", folder / "decoder")
    for run in (1, 2):
        eeg = found.root / f"sub-1/eeg/sub-1_task-movie_run-{run}_features.tsv"
        shown = folder / f"shown/task-movie_run-{run}.tsv"
        for path in (eeg, shown, found.bold(run)):
            path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(run).standard_normal((K, 2)).astype(np.float32)
        write_features(eeg, Features(noise, ("alpha", "beta"), TR))
        frames = pd.DataFrame(responding(run, 1), columns=[f"area {p}" for p in range(P)])
        frames.to_csv(found.bold(run), sep="\t", index=False)
        write_sidecar(found.bold(run), {"RepetitionTime": TR})
        kind = np.where(level(run) < 0, "low", "high")
        pd.DataFrame({"level": level(run), "kind": kind}).to_csv(shown, sep="\t", index=False)
        write_sidecar(shown, {"RepetitionTime": TR})
    prepare(found.root, found.store.parent, stimulus=folder / "shown", progress=False)
    assert decode_fit([found.store], out=found.decoder) == found.decoder
    return found


def test_files_become_tables_and_a_page(recording, tmp_path, capsys):
    filled, *_ = complete(recording.bold(2), frames="80:83,95", out=tmp_path / "filled.tsv")
    files, out = [recording.bold(2), filled], tmp_path / "scores"
    typed = ["decode", "score", recording.decoder, *files, "--stimulus", recording.store, "--out", out]
    capsys.readouterr()
    assert main([*map(str, typed)]) == 0
    printed = capsys.readouterr().out
    for word in ("filled.tsv", "measured", "completed", "2-way identification, 10 s", "stretches", "kind"):
        assert word in printed
    assert printed.rstrip().endswith(str(out))
    assert {*(file.name for file in out.iterdir())} == {
        *("scores.csv", "decoding.md", "decoding.json", "retrieval.html")
    }
    scores = pd.read_csv(out / "scores.csv")
    assert list(scores) == ["file", "kind", "region", "metric", "value", "chance"]
    of = scores[(scores["kind"] == "measured") & (scores["region"] == WHOLE)].set_index("metric")
    assert of.loc["decoded r, level", "value"] > 0.7 and of.loc["2-way identification, 10 s", "chance"] == 0.5
    n = of.loc["stretches, 10 s", "value"]
    assert of.loc["top-1, 10 s", "chance"] == pytest.approx(1 / n)
    assert of.loc["balanced accuracy, kind", "chance"] == 0.5
    again = decode_score(recording.decoder, files, stimulus=recording.store, out=out, overwrite=True)
    pd.testing.assert_frame_equal(again, scores, check_dtype=False)
    assert json.loads((out / "decoding.json").read_text())["files"] == [*map(str, files)]


def test_a_config_holds_the_options_of_two_words_too(recording, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"stores: [{recording.store}]\nout: {tmp_path / 'd'}\ntest_fraction: 0.3\n")
    assert main(["decode", "fit", "--config", str(config)]) == 0
    assert KeptDecoder.read(tmp_path / "d").split == split_of(
        [(name, K, TR) for name in RUNS], 0.3, None, None
    )


def test_bad_input_is_refused(recording, refused, tmp_path):
    score = ("decode", "score", recording.decoder)
    of, out = ("--stimulus", recording.store), ("--out", "x")
    assert "of task-movie_run-1, which" in refused(*score, recording.bold(1), *of, *out)
    assert "no BOLD" in refused(*score, *of, *out)
    assert "not a store" in refused(*score, recording.bold(2), "--stimulus", recording.root, *out)
    assert "no decoder" in refused("decode", "score", recording.store, recording.bold(2), *of, *out)
    assert "exists already" in refused("decode", "fit", recording.store, "--out", recording.decoder)
    assert "no store; pass" in refused("decode", "fit", *out)
    seed = ("--seed", str(2**32))  # beyond those of NumPy's older generator
    assert "--seed" in refused("decode", "fit", recording.store, *out, *seed)
    assert "larger --test-fraction" in refused(
        "decode", "score", recording.decoder, recording.bold(1), *of, *out
    )
    assert "exclude each other" in refused(
        "decode", "fit", recording.store, *out, "--test-session", "1", "--test-fraction", "0.5"
    )
    complete(recording.bold(2), frames="80", out=tmp_path / "filled.tsv")
    assert "standard deviations" in refused(*score, tmp_path / "filled_stat-std.tsv", *of, *out)


def test_data_are_never_replaced(recording, refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    of = (recording.bold(2), "--stimulus", recording.store, "--out", "mine", "--overwrite")
    assert "didn't write" in refused("decode", "score", recording.decoder, *of)
    assert "didn't write" in refused("decode", "fit", recording.store, "--out", "mine", "--overwrite")


def test_public_names():
    assert neuroframes.decode_fit is decode_fit and neuroframes.decode_score is decode_score
