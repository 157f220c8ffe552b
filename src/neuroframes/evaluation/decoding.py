"""What reconstructed frames still tell of the stimulus: decoders fitted to measured frames, read from others.

    training part --measured frames--> decoders --applied to--> measured, completed, reconstructed frames

A decoder is of the whole cortex or of a region. The same ones are applied to all methods' frames, on the test
part; what is scored are the moments that hidden frames tell of. The bounds are the measured frames themselves
and, without any detour through frames, the features by ridge regression on the EEG.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from neuroframes.baselines.interpolation import Linear
from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.checksums import check_files, write_checksums
from neuroframes.cortex.regions import regions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.decoding.decoder import Decoder, fit_decoder
from neuroframes.errors import InputError
from neuroframes.evaluation.bootstrap import TooFewBlocksError, compare_r
from neuroframes.evaluation.decoding_scores import decoding_scores
from neuroframes.evaluation.metrics import WHOLE, standardised
from neuroframes.evaluation.surrogates import permutation_p
from neuroframes.files import written_whole
from neuroframes.recording.segments import Segment

Float32 = NDArray[np.float32]
Scores = dict[str, dict[str, float]]  # by region

MEASURED, STRAIGHT = "measured frames", "EEG straight to features"
BOUNDS = (MEASURED, STRAIGHT)
AFTER = 4.0  # seconds of EEG after a moment that tell of it, with what ridge FIR reads before them


@dataclass(frozen=True)
class Decoders:
    """One of each region that has a signal, and of the whole cortex.

    Attributes
    ----------
    by_region : dict from region to its values' indices, shape (n,), and decoder
    """

    by_region: Mapping[str, tuple[NDArray[np.intp], Decoder]]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what is decoded."""
        return self.by_region[WHOLE][1].names

    @classmethod
    def fit(
        cls,
        segments: Sequence[Segment],
        names: Sequence[str],
        space: CorticalSpace,
        tr: float,
        *,
        moments: Sequence[NDArray[np.floating]] | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit to the measured frames of segments; those between are interpolated linearly.

        Parameters
        ----------
        segments : sequence of Segment with `shown`
        names : sequence of str, of the features
        space : CorticalSpace
        tr : float, seconds
        moments, seed : as of `fit_decoder`
        """
        frames = [whole(segment) for segment in segments]
        # A run that is censored as a whole tells of nothing.
        shown = [np.where(of.measured.any(), shown_of(of), np.nan) for of in segments]
        found = {}
        for region, vertices in {WHOLE: np.arange(space.V), **regions(space)}.items():
            of_region = [at_vertices(part, vertices) for part in frames]
            if region != WHOLE and not any(part.any() for part in of_region):
                continue  # outside what was recorded
            decoder = fit_decoder(of_region, shown, names, tr, moments=moments, seed=seed)
            found[region] = vertices, decoder
        return cls(found)

    def write(self, folder: Path) -> None:
        """Write them as a folder, whole or not at all."""
        about: dict[str, Any] = {}
        tensors: dict[str, NDArray[Any]] = {}
        for number, (region, (vertices, decoder)) in enumerate(self.by_region.items()):
            about[region], of_region = decoder.to_tensors()
            tensors |= {f"{number} {name}": np.ascontiguousarray(of) for name, of in of_region.items()}
            tensors[f"{number} vertices"] = vertices.astype(np.int64)
        with written_whole(folder) as path:
            path.mkdir(parents=True)
            save_file(tensors, path / "decoders.safetensors")
            (path / "decoders.json").write_text(json.dumps(about, indent=1) + "\n")
            write_checksums(path)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote; InputError where it isn't as it was written."""
        check_files(folder, f"remove {folder}, and the same call makes it again")
        tensors = load_file(folder / "decoders.safetensors")
        about = json.loads((folder / "decoders.json").read_text())
        found = {}
        for number, (region, of_region) in enumerate(about.items()):
            start = f"{number} "
            arrays = {name.removeprefix(start): of for name, of in tensors.items() if name.startswith(start)}
            vertices = arrays.pop("vertices")
            found[region] = vertices, Decoder.from_tensors(of_region, arrays)
        return cls(found)

    def score(
        self, frames: Sequence[Float32], segments: Sequence[Segment], hidden: Sequence[NDArray[np.bool_]]
    ) -> tuple[Scores, dict[str, NDArray[Any]]]:
        """Scores of each region, of the moments that hidden frames tell of, and the whole cortex's series.

        Parameters
        ----------
        frames : sequence of array, shape (K, V), one a segment
        segments : sequence of Segment with `shown`
        hidden : sequence of array, shape (K,)

        Returns
        -------
        scores : dict from region to dict of float
            With `decoded r low` and `decoded r high`, its 95 % interval, and `decoded p`, of blocks enough;
            empty of fewer than three moments.
        arrays : dict of `shown`, `decoded` (n, F) and `moments` (n,), all moments of all segments in a row
        """
        shown, moments = [shown_of(segment) for segment in segments], self.told_by(hidden)
        scores: Scores = {}
        for region, (vertices, decoder) in self.by_region.items():
            decoded = [decoder.decode(at_vertices(part, vertices)) for part in frames]
            scores[region], found = scores_of(shown, decoded, moments, decoder.names, decoder.tr)
            if region == WHOLE:
                arrays = found
        return scores, arrays

    def of_whole(self) -> Self:
        """Those of the whole cortex alone."""
        return replace(self, by_region={WHOLE: self.by_region[WHOLE]})

    def told_by(self, hidden: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
        """Moments that these frames tell most of, as the whole cortex has it."""
        return [self.by_region[WHOLE][1].told_by(mask) for mask in hidden]


def at_vertices(frames: Float32, vertices: NDArray[np.intp]) -> Float32:
    """Frames (K, V) at some vertices, in order; not copied where these are all."""
    return frames if len(vertices) == frames.shape[1] else frames[:, vertices]


def scores_of(
    shown: Sequence[Float32],
    decoded: Sequence[Float32],
    moments: Sequence[NDArray[np.bool_]],
    names: Sequence[str],
    tr: float,
) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
    """Scores with their intervals, and series, as `Decoders.score` has them."""
    moments = [mask & np.isfinite(of).all(axis=1) for mask, of in zip(moments, shown, strict=True)]
    every = [np.ones(len(of), bool) for of in shown]
    scores = decoding_scores(shown, decoded, moments, names, tr, told=every)
    scored = np.concatenate([of[mask] for of, mask in zip(shown, moments, strict=True)])
    varying = np.flatnonzero(standardised(scored).any(axis=0)) if scores else np.array([], int)
    if len(varying):
        generator = np.random.default_rng(0)
        nothing = [np.zeros_like(of) for of in decoded]
        with suppress(TooFewBlocksError):
            found = compare_r(shown, decoded, nothing, moments, tr, generator, vertices=varying)
            scores |= {"decoded r low": found.low, "decoded r high": found.high}
        with suppress(TooFewBlocksError):
            truth, told = ([part[:, varying] for part in series] for series in (shown, decoded))
            scores["decoded p"] = permutation_p(truth, told, moments, tr, generator).p
    series = {"shown": np.concatenate(shown), "decoded": np.concatenate(decoded)}
    arrays: dict[str, NDArray[Any]] = {name: of.astype(np.float16) for name, of in series.items()}
    return scores, {**arrays, "moments": np.concatenate(moments)}


def straight(part: Sequence[Segment], test: Sequence[Segment]) -> list[Float32]:
    """Features (K, F) of each segment of the test part by ridge regression on the EEG around each moment."""
    train = [_as_frames(segment) for segment in part]
    # One penalty is chosen for all features: in units of their own one of them would choose it.
    scale = np.nanstd(np.concatenate([of.frames for of in train]), axis=0)
    scale[scale == 0] = 1
    model = RidgeFIR().fit([replace(of, frames=of.frames / scale) for of in train])
    return [scale * model.estimate(_as_frames(of).given(np.zeros(len(of.times), bool))) for of in test]


def _as_frames(segment: Segment) -> Segment:
    """The segment with features in the place of frames, where EEG goes on for a while after each moment."""
    shown = shown_of(segment)
    known = np.logical_and.reduce(np.isfinite(shown), axis=1)
    return replace(segment, frames=shown, measured=known, times=segment.times + AFTER)


def whole(segment: Segment) -> Float32:
    """Measured frames (K, V), the others interpolated linearly; as they are where none is measured."""
    if segment.measured.all() or not segment.measured.any():
        return segment.frames
    return segment.completed(Linear().fit([segment]).estimate(segment))


def shown_of(segment: Segment) -> Float32:
    """Features of its stimulus, shape (K, F); InputError where there are none."""
    if segment.shown is None:
        raise InputError(f"{segment.run}: no stimulus features; prepare the recording with --stimulus")
    return segment.shown
