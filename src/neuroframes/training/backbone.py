"""Fitting the Gaussian model: autoencoder and temporal covariances, then what EEG says of the latents.

A run that is completed from itself gets a prior of its own in the same way, from its measured frames.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.adaptation import chosen_prior
from neuroframes.frames.autoencoder import Columns, columns_of
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.frames.prior import FramePrior, default_latents, fit_frame_prior, folds_for
from neuroframes.frames.temporal import TemporalCovariance, fit_temporal_covariance, reduced
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.eeg_ridge import EegRidge
from neuroframes.models.features import eeg_features, whitening
from neuroframes.models.gaussian import EegPathway, GaussianModel
from neuroframes.models.model import Origin
from neuroframes.models.settings import RESPONSES, BackboneSettings, CorrectionSettings
from neuroframes.recording.band_power import LAST_LAG, BandPower
from neuroframes.recording.segments import Segment, detrend
from neuroframes.training.belief import N_DRAWS, Run, least_gap_by_draws, said, stretches
from neuroframes.training.eeg_ridge import EegDesign, fit_eeg_ridge
from neuroframes.training.part import TrainingPart

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

TESTED = 2048  # frames: of more, the first runs alone say whether EEG is believed


@dataclass(frozen=True)
class Backbone:
    """What `fit_backbone` found, and what it was found from.

    Attributes
    ----------
    prior : FramePrior without EEG
    with_eeg : TemporalCovariance of what the ridge leaves over
    ridge : EegRidge
    latents : list of array, shape (K, d), one a segment
    left_out : list of array, shape (K, d)
        The ridge's prediction of each segment, or block, by a fit without it.
    """

    prior: FramePrior
    with_eeg: TemporalCovariance
    ridge: EegRidge
    latents: list[Float]
    left_out: list[Float]


def columns_over(segments: Sequence[Segment]) -> Columns:
    """Frames of all segments, one after the other, by blocks of vertices."""
    if len(segments) == 1:  # spares a copy
        return columns_of(segments[0].frames)
    return lambda block: np.concatenate([segment.frames[:, block] for segment in segments])


def fit_prior(
    segments: Sequence[Segment], tr: float, n_latents: int | None, generator: np.random.Generator
) -> FramePrior:
    """The prior of frames without EEG, from the measured frames of segments.

    Parameters
    ----------
    segments : sequence of Segment
    tr : float, seconds
    n_latents : int
        By default as many as the measured frames support.
    generator : numpy.random.Generator
    """
    n_measured = int(sum(segment.measured.sum() for segment in segments))
    edges = np.cumsum([0, *(len(segment.frames) for segment in segments)])
    runs = [
        (slice(a, b), segment.measured) for (a, b), segment in zip(pairwise(edges), segments, strict=True)
    ]
    logger.info("fitting the prior to %d measured frames", n_measured)
    return fit_frame_prior(
        columns_over(segments),
        segments[0].frames.shape[1],
        runs,
        tr,
        default_latents(n_measured) if n_latents is None else n_latents,
        generator,
        folds_for(n_measured),
    )


def fit_backbone(
    segments: Sequence[Segment],
    powers: Sequence[BandPower],
    tr: float,
    n_latents: int | None,
    responses: Sequence[str],
    generator: np.random.Generator,
) -> Backbone:
    """Fit prior, EEG ridge and the covariance of what it leaves over, on the training part.

    Parameters
    ----------
    segments, tr, n_latents, generator : as in `fit_prior`
    powers : sequence of BandPower, one a segment
        Features of its whole run.
    responses : sequence of str, as in `fit_eeg_ridge`
    """
    prior = fit_prior(segments, tr, n_latents, generator)
    edges = np.cumsum([0, *(len(segment.frames) for segment in segments)])
    latents = np.split(prior.autoencoder.encode(columns_over(segments)), edges[1:-1])
    logger.info("fitting the EEG's ridge to %d latents", prior.autoencoder.n_latents)
    group, importance = prior.latents.group, prior.autoencoder.importance
    ridge, left_out = fit_eeg_ridge(segments, powers, latents, group, importance, tr, responses)
    before = [(z, segment.measured) for z, segment in zip(latents, segments, strict=True)]
    after = [(z - m, mask) for (z, mask), m in zip(before, left_out, strict=True)]
    # These are latents of frames that the autoencoder was fitted to; the prior's are of others. What EEG
    # explains is a ratio, and carries over.
    with_eeg = reduced(
        prior.latents, fit_temporal_covariance(before, tr, group), fit_temporal_covariance(after, tr, group)
    )
    return Backbone(prior, with_eeg, ridge, latents, left_out)


def believed_from(
    segments: Sequence[Segment],
    powers: Sequence[BandPower],
    prior: FramePrior,
    latents: Sequence[Float],
    responses: Sequence[str],
    generator: np.random.Generator,
) -> float:
    """The shortest gap, in frames, in which EEG is believed; inf if in none.

    As an emphasis on bands takes long to find, here it is 1.

    Parameters
    ----------
    segments, powers, responses, generator : as in `fit_backbone`
    prior : FramePrior
    latents : sequence of array, shape (K, d), one a segment
    """
    tr, group, importance = prior.latents.tr, prior.latents.group, prior.autoencoder.importance
    ends = np.cumsum([len(z) for z in latents])
    tested = slice(1 + int(np.searchsorted(ends, TESTED)))
    segments, latents = segments[tested], latents[tested]
    design = EegDesign(segments, powers[tested], tr, responses)
    measured = [(z, segment.measured) for z, segment in zip(latents, segments, strict=True)]
    chance = fit_temporal_covariance(measured, tr, group)

    def predicted(of: Sequence[Float]) -> list[Run]:
        left_out = design.left_out(of, group, importance)
        return stretches((z, s.measured, m) for s, z, m in zip(segments, of, left_out, strict=True))

    def drawn(segment: Segment) -> Float:
        nothing = FrameMask(np.zeros(len(segment.frames), bool)), np.zeros((0, len(group)))
        draw = posterior(chance, segment.time_in_run, *nothing).draw(generator).astype(np.float32)
        detrend(draw, segment.measured)  # as its frames are
        return draw.astype(np.float64)

    draws = (predicted([drawn(segment) for segment in segments]) for _ in range(N_DRAWS))
    return least_gap_by_draws(predicted(latents), draws, prior.latents, importance)


def explaining_eeg(segments: Iterable[Segment]) -> Iterable[tuple[Float32, float]]:
    """EEG (C, N) that the frames of each segment are explained by, and its rate: the rest may be held out."""
    for segment in segments:
        eeg = segment.eeg_for("the backbone")
        first = max(0, int((segment.times[0] - LAST_LAG) * eeg.rate))
        yield eeg.data[:, first : int(segment.times[-1] * eeg.rate) + 1], eeg.rate


def fit_without_eeg(
    part: TrainingPart, settings: BackboneSettings, *, seed: int = 0, **_: Any
) -> GaussianModel:
    """The prior alone.

    Parameters
    ----------
    part : TrainingPart
        Where a run is completed from itself, frames hidden from it say whether its latents lead and lag each
        other, and how far the stated deviation is wrong: see `frames.adaptation`.
    settings : BackboneSettings
    seed : int
    **_ : what networks take
    """
    generator = np.random.default_rng(seed)
    if not part.own:
        return GaussianModel(
            part.origin, fit_prior(part.segments, part.origin.tr, settings.latents, generator)
        )
    (run,) = part.segments
    logger.info("%s: fitting the prior to %d measured frames", run.run, run.measured.sum())
    choice = chosen_prior(
        run.frames, run.measured, run.time_in_run, part.origin.tr, generator, n_latents=settings.latents
    )
    logger.info("%s: %s", run.run, choice)
    return GaussianModel(part.origin, choice.prior)


def fit_gaussian(part: TrainingPart, settings: BackboneSettings, *, seed: int = 0, **_: Any) -> GaussianModel:
    """The Gaussian model of a training part, without networks; without EEG where there is none.

    Parameters
    ----------
    part : TrainingPart
    settings : BackboneSettings
    seed : int
    **_ : what networks take
    """
    return _fitted(part, settings, seed)[0]


def fit_default(
    part: TrainingPart, settings: CorrectionSettings, *, state: Path, seed: int = 0, **options: Any
) -> GaussianModel:
    """The Gaussian model and networks that may correct it; other parameters as in `training.trainer.run`."""
    from neuroframes.training.correction import fit_correction

    model, backbone = _fitted(part, settings, seed)
    # Networks are trained where there is raw EEG.
    assert model.eeg is not None and model.eeg.channels is not None and backbone is not None
    filters = whitening(model.eeg.channels.total)
    correction = fit_correction(part, backbone, filters, settings, state=state, seed=seed, **options)
    return replace(model, eeg=replace(model.eeg, correction=correction))


def responses_asked(settings: BackboneSettings, origin: Origin) -> list[str]:
    """Kinds of response that are to be tried."""
    if settings.response != "auto":
        return [settings.response]
    # Band power of raw EEG is convolved with nothing.
    return [kind for kind in RESPONSES[1:] if origin.features or kind != "convolved"]


def _fitted(
    part: TrainingPart, settings: BackboneSettings, seed: int
) -> tuple[GaussianModel, Backbone | None]:
    origin, segments, generator = part.origin, part.segments, np.random.default_rng(seed)
    n_latents, kinds = settings.latents, responses_asked(settings, origin)
    if not (origin.channels or origin.features):
        return GaussianModel(origin, fit_prior(segments, origin.tr, n_latents, generator)), None
    covariance, powers = _features(segments, origin)
    found = fit_backbone(segments, [powers[s.run] for s in segments], origin.tr, n_latents, kinds, generator)
    gap = believed_from(
        segments, [powers[s.run] for s in segments], found.prior, found.latents, kinds, generator
    )
    logger.info(said(gap))
    pathway = EegPathway(found.ridge, found.with_eeg, covariance, origin.bands, least_gap=gap)
    return GaussianModel(origin, found.prior, pathway), found


def _features(
    segments: Sequence[Segment], origin: Origin
) -> tuple[ChannelCovariance | None, dict[str, BandPower]]:
    """What the ridge takes of each run, and how channels vary together, where there are channels."""
    if origin.features:
        return None, {s.run: s.power for s in segments if s.power is not None}
    pieces, bands = explaining_eeg(segments), origin.bands
    covariance = ChannelCovariance.fit(pieces, origin.channels, bands, average=origin.average)
    # Segments of one run share its EEG, whose features take longest.
    eeg_of, filters = {s.run: s.eeg_for("the backbone") for s in segments}, whitening(covariance.total)
    return covariance, {run: eeg_features(eeg, bands, filters) for run, eeg in eeg_of.items()}
