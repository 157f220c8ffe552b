"""A model across people: group components, what EEG says of anybody's latents, and what that leaves over.

People are read one after the other, twice; of each, latents and band power wait on disk. The ridge from band
power to latents is chosen by leaving people out: the response along lags, the emphasis on bands, a penalty
for each group of latents. Where the gain over no EEG may be chance (its mean over people is within a standard
error of 0), weights are 0. Left-out predictions say at which time scales EEG is believed
(`training.wiener`) and, subtracted from the latents, how these vary about the prediction.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.adaptation import prior_of
from neuroframes.frames.coupling import Lags, fit_lags
from neuroframes.frames.population import Population, total
from neuroframes.frames.temporal import FEWEST_MEASURED, octave_groups
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.eeg_ridge import EegRidge, responses_to
from neuroframes.models.features import eeg_features, equalised, whitening
from neuroframes.models.population import GroupEeg, PopulationModel
from neuroframes.models.response import response_of
from neuroframes.models.ridge import PENALTIES, Ridge, Standardisation
from neuroframes.models.settings import BackboneSettings, CorrectionSettings
from neuroframes.recording.band_power import LAST_LAG, BandPower
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal
from neuroframes.training.backbone import Backbone, responses_asked
from neuroframes.training.belief import Run, least_gap, said, stretches
from neuroframes.training.eeg_ridge import WEIGHED, weigh_bands
from neuroframes.training.part import TrainingPart
from neuroframes.training.population import (
    KEPT,
    MOST_LATENTS,
    Frames,
    frames_of,
    group_of,
    latents_of,
    stacked,
    sums_of,
)
from neuroframes.training.wiener import fit_wiener, smooth

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

MOST_FEATURES = 2048  # of a ridge; a basis of responses has as many columns as that allows
WHAT = "a model across people"


@dataclass(frozen=True)
class Kept:
    """What is kept on disk of a segment.

    Attributes
    ----------
    person : str
    file : Path
    rate : float, Hz, of EEG (C, N) beside it, equalised, on which networks are trained; 0 without
    """

    person: str
    file: Path
    rate: float = 0.0

    def load(self) -> tuple[Float, NDArray[np.bool_], Float, BandPower]:
        """Latents (K, d), measured (K,), times (K,) in seconds, band power standardised over the run."""
        with np.load(self.file) as found:
            power = BandPower(found["power"], found["power_times"], found["band"])
            return found["latents"], found["measured"], found["times"], power

    def segment(self, channels: tuple[str, ...]) -> Segment:
        """What networks take of it, with EEG that stays on disk; its frames are of no vertices."""
        latents, measured, times, _ = self.load()
        eeg = Signal(np.load(self.file.with_suffix(".npy"), mmap_mode="r"), self.rate, channels)
        frames = np.zeros((len(latents), 0), np.float32)
        return Segment(frames, times, times, measured, None, self.file.stem, eeg, person=self.person)


@dataclass(frozen=True)
class Response:
    """How band power may act on frames.

    Attributes
    ----------
    name : str
    lags : array, shape (L,), seconds
    basis : array, shape (L, R)
    scale : array, shape (F,), emphasis on each feature
    emphasis : tuple of float, on each band; () without
    """

    name: str
    lags: Float
    basis: Float
    scale: Float32
    emphasis: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}{', bands weighed' * bool(self.emphasis)}"

    def features(self, power: BandPower, times: Float) -> Float32:
        """Shape (K, R * F), response slowest."""
        found = responses_to(power, times, self.lags, self.basis)
        return found * np.tile(self.scale, self.basis.shape[1])


def fit_across(part: TrainingPart, settings: BackboneSettings, **_: Any) -> PopulationModel:
    """The model of all people of a training part.

    Parameters
    ----------
    part : TrainingPart
        Its segments are of two people or more, each z-scored by itself; they are read one at a time.
    settings : BackboneSettings
    **_ : what networks take
    """
    with TemporaryDirectory() as folder:
        return _fitted(part, settings, Path(folder), networks=False)[0]


def fit_across_default(
    part: TrainingPart, settings: CorrectionSettings, *, state: Path, seed: int = 0, **options: Any
) -> PopulationModel:
    """The same and networks that may correct it, each validated on people whom it wasn't fitted to.

    Parameters
    ----------
    part : TrainingPart, as in `fit_across`, with EEG
    settings : CorrectionSettings
    state : Path
        Folder for the state of training; everybody's EEG lies in it meanwhile, 4 bytes a sample.
    seed : int
    **options
        Of `training.trainer.run`.

    Raises
    ------
    InputError
        If EEG has different rates.
    """
    from neuroframes.training.correction import fit_correction

    state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=state) as folder:
        model, kept, left_out = _fitted(part, settings, Path(folder), networks=True)
        eeg, origin = model.eeg, part.origin
        assert eeg is not None and eeg.channels is not None  # networks are trained where there is raw EEG
        # Networks and what is exact about them know nothing of lead and lag.
        found = Backbone(
            prior_of(model.population, origin.tr),
            replace(eeg.pathway(origin.bands).covariance, coupling=None),
            eeg.ridge,
            [run.load()[0] for run in kept],
            left_out,
        )
        together = eeg.channels.total
        size = np.sqrt(np.maximum(np.diag(together), np.finfo(float).tiny))
        correction = fit_correction(
            replace(part, segments=[run.segment(origin.channels) for run in kept]),
            found,
            whitening(together / np.outer(size, size)),  # of EEG that is equalised
            settings,
            state=state,
            seed=seed,
            **options,
        )
    return replace(model, eeg=replace(eeg, correction=correction))


def _fitted(
    part: TrainingPart, settings: BackboneSettings, folder: Path, *, networks: bool
) -> tuple[PopulationModel, list[Kept], list[Float]]:
    """The model without networks, what `folder` has of each run, and left-out predictions (K, d)."""
    origin, segments = part.origin, part.segments
    covariances: list[ChannelCovariance] = []
    rates: set[float] = set()

    def runs() -> Iterator[Frames]:
        for segment in segments:
            if (found := frames_of(segment)).n_measured < FEWEST_MEASURED:
                logger.warning("%s: %d measured frames are too few: left out", segment.run, found.n_measured)
                continue
            if not origin.features:
                eeg = segment.eeg_for(WHAT)
                of = origin.channels, origin.bands
                rates.add(eeg.rate)
                if networks and len(rates) > 1:
                    raise InputError(
                        f"EEG at {' and '.join(f'{rate:g}' for rate in sorted(rates))} Hz, but networks take "
                        "one rate; prepare all people with the lower --rate, or pass --preset gaussian"
                    )
                covariances.append(ChannelCovariance.fit([(eeg.data, eeg.rate)], *of, average=origin.average))
            yield found

    n_vertices = origin.space.V
    stack, varying, counts = stacked(runs(), KEPT * (settings.latents or MOST_LATENTS), n_vertices)
    group, known = group_of(stack, varying, counts, settings.latents)
    channels = None
    if covariances:
        # How large EEG is depends on skull and cap.
        shares = [of.covariances / max(np.trace(of.total), np.finfo(float).tiny) for of in covariances]
        mean = np.mean(shares, axis=0)
        channels = replace(covariances[0], covariances=mean)
    filters = None if channels is None else whitening(channels.total)
    kept: list[Kept] = []

    def scored() -> Iterator[tuple[str, Frames]]:
        for segment in segments:
            found, file = frames_of(segment), folder / f"{len(kept)}.npz"
            if found.n_measured < FEWEST_MEASURED:
                continue
            power, rate = segment.power, 0.0
            if filters is not None:
                eeg = segment.eeg_for(WHAT)
                power = eeg_features(eeg, origin.bands, filters)
                if networks:
                    rate = eeg.rate
                    np.save(file.with_suffix(".npy"), equalised(eeg, power, origin.bands).data)
            assert power is not None  # of each run
            standard = Standardisation.of(power.values)(power.values)
            latents = latents_of(found, group, known)[0]
            np.savez(
                file,
                latents=latents,
                measured=found.measured,
                times=segment.times,
                power=standard,
                power_times=power.times,
                band=power.band,
            )
            kept.append(Kept(segment.person, file, rate))
            yield segment.person, found

    population = sums_of(scored(), group, known, origin.tr)
    kinds = responses_asked(settings, origin)
    eeg, left_out = fit_group_ridge(kept, population, kinds, channels)
    model = PopulationModel(replace(origin, scale=known.astype(np.float32)), population)
    return replace(model, eeg=eeg), kept, left_out


def responses(kept: Sequence[Kept], importance: Float, tr: float, kinds: Sequence[str]) -> list[Response]:
    """What is tried: each kind of response, without emphasis on bands and with that which it asks for."""
    found = []
    band = kept[0].load()[3].band
    for kind in kinds:
        lags, basis = response_of(kind, tr)
        flat = Response(
            kind, lags, basis[:, : max(1, MOST_FEATURES // len(band))], np.ones(len(band), np.float32)
        )
        emphasis = _emphasis(kept, importance, tr, flat)
        found.append(flat)
        if np.ptp(emphasis):
            found.append(replace(flat, scale=emphasis[band], emphasis=tuple(emphasis.tolist())))
    return found


def fit_group_ridge(
    kept: Sequence[Kept], population: Population, kinds: Sequence[str], channels: ChannelCovariance | None
) -> tuple[GroupEeg, list[Float]]:
    """What EEG says of all people, and what the ridge of the others predicts of each segment's latents.

    Parameters
    ----------
    kept : sequence of Kept
    population : Population
    kinds : sequence of str, of responses that are tried
    channels : ChannelCovariance, or None where EEG comes as features of each frame
    """
    autoencoder, tr = population.autoencoder, population.tr
    group, importance = octave_groups(autoencoder.n_latents), autoencoder.importance
    member = np.eye(int(group.max()) + 1)[group]
    fits = [LeftOut(kept, response) for response in responses(kept, importance, tr, kinds)]
    # By person: squared error of each penalty and group of latents, without EEG first.
    errors = [np.stack([fit.errors(person) * importance for person in fit.people]) @ member for fit in fits]
    lowest = [of.mean(axis=0).min(axis=0).sum() for of in errors]
    for fit, error, of in zip(fits, lowest, errors, strict=True):
        logger.info(
            "response %s: left-out error %.4f of that without EEG",
            fit.response,
            error / of[:, 0].mean(axis=0).sum(),
        )
    fit, of_fit = fits[int(np.argmin(lowest))], errors[int(np.argmin(lowest))]
    best = of_fit.mean(axis=0).argmin(axis=0)
    gain = 1 - of_fit[:, best, np.arange(len(best))] / np.maximum(of_fit[:, 0], np.finfo(float).tiny)
    best = np.where(gain.mean(axis=0) > gain.std(axis=0, ddof=1) / np.sqrt(len(gain)), best, 0)[group]
    response = fit.response
    logger.info("response: %s; %d of %d latents follow EEG", response, (best > 0).sum(), len(best))
    if not best.any():
        logger.warning("EEG says nothing certain of left-out people's frames: from EEG alone all will be 0")
    predictions = fit.predictions(best)
    loaded = [of.load()[:2] for of in kept]
    kernels = fit_wiener(
        [np.where(mask[:, None], m, 0) for m, (_, mask) in zip(predictions, loaded, strict=True)],
        [np.where(mask[:, None], z, 0) for z, mask in loaded],
        group,
        tr,
    )
    change = fit_change(fit, predictions, group, importance, tr)
    predictions = [smooth(m, kernels, group) for m in predictions]
    rest: dict[str, Lags] = {}
    for run, m, (z, mask) in zip(kept, predictions, loaded, strict=True):
        lags = fit_lags(z - m, mask, tr)
        rest[run.person] = rest[run.person] + lags if run.person in rest else lags
    gap = _least_gap(kept, predictions, population, rest)
    logger.info(said(gap))
    chosen = tr, response.name, response.emphasis
    ridge = EegRidge(None, response.basis, response.lags, fit.weights(best), kernels, group, *chosen)
    return GroupEeg(ridge, channels, rest, gap, change), predictions


def fit_change(
    fit: "LeftOut", predictions: Sequence[Float], group: NDArray[np.int64], importance: Float, tr: float
) -> Float:
    """How firmly one person's weights are held to those of all: a penalty for each group of latents.

    Weights that start from those of the others are fitted to the first half of a person's runs, and tried on
    the second. Inf, by which nothing changes, where none does better.

    Parameters
    ----------
    fit : LeftOut
    predictions : sequence of array, shape (K, d)
        Of each run by the others, without the filter along time.
    group : array of int, shape (d,)
    importance : array, shape (d,), what a latent's squared error counts for
    tr : float, seconds
    """
    penalties, member = fit.penalties, np.eye(int(group.max()) + 1)[group]
    errors, margin = np.zeros((1 + len(penalties), len(member.T))), round(LAST_LAG / tr)
    for person in fit.people:
        halves: tuple[list[Any], list[Any]] = ([], [])
        by_others = [m for of, m in zip(fit.kept, predictions, strict=True) if of.person == person]
        for (latents, measured, features), m in zip(fit.runs(person), by_others, strict=True):
            rest, middle = latents - m, len(latents) // 2
            for half, part in zip(halves, (slice(middle), slice(middle + margin, None)), strict=True):
                half.append((features[part][measured[part]], rest[part][measured[part]]))
        (x, z), (x_later, z_later) = (map(np.concatenate, zip(*half, strict=True)) for half in halves)
        if not (len(x) and len(x_later)):
            continue
        ridge = Ridge(x, 0)
        changes = [ridge.coefficients(z, penalty) for penalty in penalties]
        turned = x_later @ ridge.right
        left = [z_later, *(z_later - turned @ of for of in changes)]
        of_person = np.array([np.square(of).sum(axis=0) * importance for of in left]) @ member
        errors += of_person / len(z_later)
    return np.append(np.inf, penalties)[errors.argmin(axis=0)]


def _least_gap(
    kept: Sequence[Kept], predictions: Sequence[Float], population: Population, rest: Mapping[str, Lags]
) -> float:
    """`least_gap`, over people; lead and lag, which cost much, are left out on both sides."""
    runs: dict[str, list[Run]] = {}
    for of, m in zip(kept, predictions, strict=True):
        z, mask, *_ = of.load()
        runs.setdefault(of.person, []).extend(stretches([(z, mask, m)]))
    together = (total(people).trusted().together(population.tr) for people in (population.people, rest))
    without, with_eeg = (replace(covariance, coupling=None) for covariance in together)
    return least_gap(runs.values(), without, with_eeg, population.autoencoder.importance)


def _emphasis(kept: Sequence[Kept], importance: Float, tr: float, response: Response) -> Float32:
    """Emphasis on each band, found on frames of all people that are evenly spread."""
    every = -(-sum(len(of.load()[1]) for of in kept) // WEIGHED)
    features, targets = [], []
    for of in kept:
        latents, measured, times, power = of.load()
        rows = np.flatnonzero(measured)[::every]
        features.append(response.features(power, times[rows]))
        targets.append(latents[rows] * np.sqrt(importance))
    lengths = Counter({of.person: 0 for of in kept})  # people are left out, whose runs are beside each other
    for of, target in zip(kept, targets, strict=True):
        lengths[of.person] += len(target)
    margin = -(-round(LAST_LAG / tr) // every)
    return weigh_bands(
        np.concatenate(features), np.concatenate(targets), power.band, margin, [*lengths.values()]
    )


class LeftOut:
    """Ridge fits of one response: to everybody, and to all but each person in turn.

    Parameters
    ----------
    kept : sequence of Kept
    response : Response
    """

    def __init__(self, kept: Sequence[Kept], response: Response) -> None:
        self.kept, self.response = kept, response
        self.people = list(dict.fromkeys(of.person for of in kept))
        self.gram, self.cross = self._products(self.people[0])
        for person in self.people[1:]:  # one at a time: each is as large as all of them together
            gram, cross = self._products(person)
            self.gram, self.cross = self.gram + gram, self.cross + cross
        self.penalties = len(self.gram) * PENALTIES

    def errors(self, person: str) -> Float:
        """Mean squared error (1 + penalties, d) at a person's frames by the others; first without EEG."""
        values, vectors, projected = self._without(person)
        errors, n_frames = np.zeros((1 + len(self.penalties), projected.shape[1])), 0
        for latents, measured, features in self.runs(person):
            turned = features[measured] @ vectors
            found = [np.zeros_like(projected), *(projected / (values + of)[:, None] for of in self.penalties)]
            errors += np.array([np.square(latents[measured] - turned @ c).sum(axis=0) for c in found])
            n_frames += int(measured.sum())
        return errors / n_frames

    def predictions(self, best: NDArray[np.int64]) -> list[Float]:
        """Latents (K, d) of each run by a fit without its person.

        `best` (d,) is the number of each latent's penalty, 0 without EEG.
        """
        found = {}
        for person in self.people:
            values, vectors, projected = self._without(person)
            weights = vectors @ self._shrunk(values, projected, best)
            found[person] = [features @ weights for *_, features in self.runs(person)]
        return [found[of.person].pop(0) for of in self.kept]

    def weights(self, best: NDArray[np.int64]) -> Float32:
        """Weights (R * F, d) of the fit to everybody, for features without emphasis."""
        values, vectors = np.linalg.eigh(self.gram)
        weights = vectors @ self._shrunk(values, vectors.T @ self.cross, best)
        scale = np.tile(self.response.scale, self.response.basis.shape[1])
        return np.asarray(scale[:, None] * weights, np.float32)

    def _shrunk(self, values: Float, projected: Float, best: NDArray[np.int64]) -> Float:
        penalty = np.append(np.inf, self.penalties)[best]
        return projected / (values[:, None] + penalty)

    def _without(self, person: str) -> tuple[Float, Float, Float]:
        gram, cross = self._products(person)
        values, vectors = np.linalg.eigh(self.gram - gram)
        return np.maximum(values, 0), vectors, vectors.T @ (self.cross - cross)

    def _products(self, person: str) -> tuple[Float, Float]:
        products = []
        for latents, measured, features in self.runs(person):
            x = features[measured].astype(np.float64)
            products.append((x.T @ x, x.T @ latents[measured]))
        gram, cross = (np.sum(of, axis=0) for of in zip(*products, strict=True))
        return gram, cross

    def runs(self, person: str) -> Iterator[tuple[Float, NDArray[np.bool_], Float32]]:
        """Latents (K, d), measured (K,) and features of each run of a person."""
        for of in self.kept:
            if of.person == person:
                latents, measured, times, power = of.load()
                yield latents, measured, self.response.features(power, times)
