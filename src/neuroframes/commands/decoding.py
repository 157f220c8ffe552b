"""Decoders of a stimulus as they are kept in a folder, and runs as they are given to them.

    OUT/decoder.json          features, TR, space, whose frames, what was fitted to and what held out
    OUT/scale.safetensors     of one person's vertices, in the training part
    OUT/decoders/             of each region

Of several people the frames of each run are z-scored by themselves, and the same moments of the stimulus are
held out of everybody's: parts of runs, by their names and by the time since they began.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from neuroframes import __version__
from neuroframes.checksums import check_files, write_checksums
from neuroframes.cortex.space import CorticalSpace
from neuroframes.decoding.decoder import STEP
from neuroframes.errors import InputError, listed
from neuroframes.evaluation.decoding import Decoders, Scores, at_vertices, scores_of, whole
from neuroframes.evaluation.metrics import WHOLE
from neuroframes.files import written_whole
from neuroframes.models.stored import read_stored
from neuroframes.recording.bids import fit, person_of, run_of
from neuroframes.recording.bold import Bold
from neuroframes.recording.features import FORMATS, without_categories
from neuroframes.recording.segments import (
    HRF_LENGTH,
    Part,
    Segment,
    Split,
    detrend,
    load_segments,
    vertex_scale,
)
from neuroframes.recording.store import Store, StoredRun
from neuroframes.report.decoding import DecodedRun

Float32 = NDArray[np.float32]
logger = logging.getLogger(__name__)

FORMAT = "neuroframes-decoder-1"
FEWEST_SHOWN = 3  # moments whose r is scored
SAME_TR = 1e-3  # relative difference: files round


@dataclass(frozen=True)
class KeptDecoder:
    """Decoders of all regions, and how frames are to be given to them.

    Attributes
    ----------
    decoders : Decoders
    space : CorticalSpace
    tr : float, seconds
    split : Split
        What was fitted to and what is held out, of everybody.
    scale : array, shape (V,), or None where each run has its own
    subjects : tuple of str
    """

    decoders: Decoders
    space: CorticalSpace
    tr: float
    split: Split
    scale: Float32 | None
    subjects: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the F features."""
        return self.decoders.features

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write it as a folder."""
        about = {"format": FORMAT, "version": __version__, "features": self.names, "tr": self.tr}
        about |= {"space": self.space.to_json(), "split": self.split.to_json(), "subjects": self.subjects}
        with written_whole(out, overwrite=overwrite) as folder:
            self.decoders.write(folder / "decoders")
            if self.scale is not None:
                save_file({"scale": self.scale}, folder / "scale.safetensors")
            (folder / "decoder.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            write_checksums(folder)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote; InputError where there is none, or it isn't as it was written."""
        if not (folder / "decoder.json").is_file():
            raise InputError(f"{folder}: no decoder; pass the folder that neuroframes decode fit wrote")
        check_files(folder, "fit it again with neuroframes decode fit")
        about = json.loads((folder / "decoder.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise InputError(f"{folder}: a decoder of another version; fit it again")
        scale = folder / "scale.safetensors"
        return cls(
            Decoders.read(folder / "decoders"),
            CorticalSpace.from_json(about["space"]),
            about["tr"],
            Split.from_json(about["split"]),
            load_file(scale)["scale"] if scale.is_file() else None,
            tuple(about["subjects"]),
        )

    def scored_part(self, run: StoredRun, file: str) -> Part:
        """What counts of a run: what was held out of it, or all of one that wasn't fitted to.

        Raises
        ------
        InputError
            If all of it was fitted to, or it is too short.
        """
        n_frames = len(run.frame_times)
        for part in self.split.test:
            if part.run == run.name and part.start < n_frames:
                return Part(run.name, part.start, min(part.stop, n_frames))
        if run.name in {part.run for part in self.split.train}:
            held_out = listed([part.run for part in self.split.test]) or "nothing"
            raise InputError(
                f"{file} is of {run.name}, which the decoder was fitted to (held out: {held_out}); "
                "pass other runs, or fit the decoder with a larger --test-fraction"
            )
        return Part(run.name, 0, n_frames)


def fit_to(
    stores: Sequence[Store], split_of: Callable[[Sequence[tuple[str, int, float]]], Split], seed: int
) -> KeptDecoder:
    """Fit decoders to the training part of one person, or of several to whom the same was shown.

    Parameters
    ----------
    stores : sequence of Store, one a person
    split_of : callable
        Split of runs, each with its name, number of frames and TR; of several people a run is as long as
        anybody's of its name.
    seed : int

    Raises
    ------
    InputError
        If somebody is there twice, stores have no stimulus or differ in space, TR or features, or too little
        is left to fit to.
    """
    first, subjects = stores[0], [store.subject for store in stores]
    if twice := [name for name in subjects if subjects.count(name) > 1]:
        raise InputError(f"sub-{twice[0]} is in two of the stores; pass each person once")
    tr, names = first.runs[0].tr, tuple(dict.fromkeys(name for of in stores for name in of.stimulus_features))
    longest: dict[str, int] = {}
    for store in stores:
        first.space.check_same(store.space, store.path.name)
        check_stimulus(store, first.stimulus_features, tr, first.path.name)
        for run in store.runs:
            longest[run.name] = max(longest.get(run.name, 0), len(run.frame_times))
    split = split_of([(name, n_frames, tr) for name, n_frames in longest.items()])
    _warn_of_repeats(stores, split)
    segments: list[Segment] = []
    scale = None
    for store in stores:
        lengths = {run.name: len(run.frame_times) for run in store.runs}
        parts = [Part(p.run, p.start, min(p.stop, lengths[p.run])) for p in split.train if p.run in lengths]
        for of in [parts] if len(stores) == 1 else [[part] for part in parts]:
            found, own = load_segments(store, of, None)
            segments += [replace(segment, shown=_columns(segment.shown, store, names)) for segment in found]
            scale = own if len(stores) == 1 else None
    # On one clock for everybody: what was shown at the same moment is left out together.
    begins = np.cumsum([0, *(n_frames * tr + 2 * HRF_LENGTH for n_frames in longest.values())])
    begin = dict(zip(longest, begins, strict=False))
    moments = [begin[segment.run] + segment.time_in_run for segment in segments]
    decoders = Decoders.fit(segments, names, first.space, tr, moments=moments, seed=seed)
    return KeptDecoder(decoders, first.space, tr, split, scale, tuple(subjects))


def _warn_of_repeats(stores: Sequence[Store], split: Split) -> None:
    """Say which films or features held-out runs have that other runs, which are fitted to, have too."""
    films: dict[str, set[str]] = {}
    features: dict[str, list[NDArray[np.float32] | None]] = {}
    for of, run in [(store, run) for store in stores for run in store.runs]:
        shown = (file for file in run.sources["stimulus"] if not file.endswith(FORMATS))
        films.setdefault(run.name, set()).update(shown)
        features.setdefault(run.name, []).append(of.shown(run))
    for held_out in {part.run for part in split.test}:
        fitted = {part.run for part in split.train} - {held_out}
        again = {Path(film).name for run in fitted for film in films[run] & films[held_out]} or {
            f"the features of {run}" for run in fitted if _any_alike(features[run], features[held_out])
        }
        if again:
            repeated = "%s shows %s, as runs do that are fitted to: its scores say nothing of what is new"
            logger.warning(repeated, held_out, listed(sorted(again), most=3))


def _any_alike(
    first: Sequence[NDArray[np.float32] | None], second: Sequence[NDArray[np.float32] | None]
) -> bool:
    """Whether features (K, F) of one are the same as of another at each frame that both have."""
    pairs = [(x, y) for x, y in product(first, second) if x is not None and y is not None]
    shared = [(x[: len(y)], y[: len(x)]) for x, y in pairs]
    return any(np.isfinite(x).any() and np.array_equal(x, y, equal_nan=True) for x, y in shared)


def check_stimulus(store: Store, names: Sequence[str], tr: float, what: str) -> None:
    """Raise InputError where a store's stimulus lacks features of `what`, or has others, or its TR differs.

    Categories may lack: they need not occur everywhere.
    """
    if not store.stimulus_features:
        raise InputError(
            f"{store.path.name}: no stimulus features; run neuroframes prepare again with --stimulus and "
            "--overwrite"
        )
    trs = sorted({round(run.tr, 4) for run in store.runs})
    if trs != [round(tr, 4)]:
        raise InputError(
            f"{store.path.name}: TR {listed(trs)} s, but {what} has {tr:g} s; pass runs of one TR"
        )
    here, there = map(without_categories, (store.stimulus_features, names))
    if {*here} != {*there}:
        raise InputError(
            f"{store.path.name}: the stimulus has the features {listed(here) or 'none'}, but {what} has "
            f"{listed(there) or 'none'}; prepare all alike"
        )


def _columns(values: Float32 | None, store: Store, names: Sequence[str]) -> Float32:
    """A store's stimulus (K, F) in the order of `names`; 0 for categories that it lacks."""
    assert values is not None  # as `check_stimulus` has it
    found = np.full((len(values), len(names)), np.nan, np.float32)
    found[np.isfinite(values).all(axis=1)] = 0
    for column, name in zip(values.T, store.stimulus_features, strict=True):
        if name in names:
            found[:, names.index(name)] = column
    return found


def decode_run(name: str, bold: Bold, kept: KeptDecoder, store: Store) -> DecodedRun:
    """Decode the held-out part of a run, a row of this name, and score it by what the store says was shown.

    Raises
    ------
    InputError
        If its space is another, its name says of no run of the store or its frames aren't those of that run,
        all of it was fitted to, or nothing was shown.
    """
    file = bold.sources[0].name
    kept.space.check_same(bold.space, file)
    run = _run_of(bold, store)
    part = kept.scored_part(run, file)
    _warn(bold, kept, store, part)
    own = "NeuroframesMeasured" in bold.sidecar
    same = len(bold.data) == len(run.frame_times) and abs(bold.tr / run.tr - 1) < SAME_TR
    on_eeg_clock = own and not bold.measured.any()
    if not (own or same):
        raise InputError(
            f"{file}: {len(bold.data)} frames of {bold.tr:g} s, but {run.name} in {store.path.name} has "
            f"{len(run.frame_times)} of {run.tr:g} s; pass the run as it was prepared, or what resample or "
            "reconstruct made of it"
        )
    if bold.tr > max(STEP, kept.tr) * (1 + SAME_TR):
        raise InputError(
            f"{file}: TR {bold.tr:g} s, but the decoder was fitted to {kept.tr:g} s; pass frames that are "
            "as close, as neuroframes resample makes them"
        )
    at = run.frame_times if on_eeg_clock else run.tr * (np.arange(len(run.frame_times)) + 0.5)
    there = at if same and not on_eeg_clock else bold.times + bold.tr / 2
    at = at[part.start : part.stop]
    rows = (there > at[0] - run.tr / 2) & (there < at[-1] + run.tr / 2)
    known = np.asarray(np.isfinite(bold.data).any(axis=1))
    if not own:
        known = known & ~run.censored
    if not (known & rows).any():
        raise InputError(f"{file}: no frames in the part that is scored; pass a longer run, or another")
    segment = _segment(bold, rows, known, there, kept)
    frames, shown = whole(segment), _columns(store.shown(run), store, kept.names)[part.start : part.stop]
    shown[(at < there[rows][0] - run.tr / 2) | (at > there[rows][-1] + run.tr / 2)] = np.nan
    (moments,) = kept.decoders.told_by([np.ones(len(at), bool)])
    if (moments & np.isfinite(shown).all(axis=1)).sum() < FEWEST_SHOWN:
        raise InputError(f"{file}: nothing was shown in the part that is scored; hold out another part")
    scores: Scores = {}
    for region, (vertices, decoder) in kept.decoders.by_region.items():
        told = decoder.decode(at_vertices(frames, vertices), bold.tr)
        told = np.stack([np.interp(at, segment.times, of) for of in told.T], axis=1).astype(np.float32)
        scores[region], _ = scores_of([shown], [told], [moments], kept.names, kept.tr)
        if region == WHOLE:
            decoded = told
    kind = "measured" if bold.measured[bold.acquired].all() else "completed"
    kind = "reconstructed" if on_eeg_clock else kind
    return DecodedRun(name, kind, run, part.start, shown, decoded, scores)


def _run_of(bold: Bold, store: Store) -> StoredRun:
    """The store's run that a file is of by its name, or by the names of what it was made of."""
    sources = bold.sidecar.get("Sources", ())
    for name in (bold.sources[0].name, *(map(str, sources) if isinstance(sources, list) else ())):
        said = frozenset(part for part in run_of(Path(name)) if part[0] != "sub")
        if ways := [run for run in store.runs if fit(run_of(Path(run.name)), said)]:
            return min(ways, key=lambda run: len(run_of(Path(run.name)) ^ said))
    raise InputError(
        f"{bold.sources[0].name}: its name says of no run of {store.path.name} "
        f"({listed([run.name for run in store.runs])}); give the file the run's name, or pass the store of "
        "its run"
    )


def _warn(bold: Bold, kept: KeptDecoder, store: Store, scored: Part) -> None:
    """Say where frames are another person's, or their model was fitted to moments that are scored."""
    file, person = bold.sources[0].name, person_of(bold.sources[0], "").removeprefix("sub-")
    if person not in ("", store.subject):
        logger.warning("%s: taken to have been shown what sub-%s was", file, store.subject)
    if person and len(kept.subjects) == 1 and person != kept.subjects[0]:
        logger.warning("%s is of sub-%s, the decoder of sub-%s", file, person, kept.subjects[0])
    model = Path(str(bold.sidecar.get("NeuroframesModel")))
    if not (model / "model.json").is_file():  # without a model, or moved
        return
    fitted = read_stored(model).about.get("split", {"train": []})["train"]
    if any(p["run"] == scored.run and p["start"] < scored.stop and scored.start < p["stop"] for p in fitted):
        leaks = "%s: %s was fitted to frames of the part that is scored; the scores are too good"
        logger.warning(leaks, file, model)


def _segment(
    bold: Bold,
    rows: NDArray[np.bool_],
    known: NDArray[np.bool_],
    times: NDArray[np.floating],
    kept: KeptDecoder,
) -> Segment:
    """These frames of a run as those were that the decoder was fitted to: detrended, on the same scale."""
    frames = np.array(bold.data[rows], np.float32, order="F")
    measured, at = known[rows], times[rows].astype(np.float64)
    if bold.sidecar.get("NeuroframesUnits") == "z":  # of the part that the model was fitted to
        return Segment(np.nan_to_num(frames), at, at, measured, None, bold.sources[0].name)
    size = np.abs(detrend(frames, measured)[0])
    frames[:, ~np.isfinite(frames[measured]).all(axis=0)] = 0
    scale = vertex_scale(frames, measured, size) if kept.scale is None else kept.scale
    frames[:, scale == 0] = 0
    frames /= np.where(scale > 0, scale, 1)
    return Segment(frames, at, at, measured, None, bold.sources[0].name)
