"""A model across people, adapted to one of them by minutes of that person's own EEG and frames.

Weights are W + D: those of the population, and a ridge on D whose penalty, for each group of latents, is that
which served best for other people (`training.across.fit_change`). The fewer minutes, the nearer they stay to
the population's. They are mixed with weights that start from 0, by the share that predicts left-out blocks
best. What the person's frames say of latents is added to what other people's do.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.coupling import fit_lags
from neuroframes.models.eeg_ridge import responses_to
from neuroframes.models.population import GroupEeg, PopulationModel
from neuroframes.models.ridge import Ridge, Standardisation, folds
from neuroframes.recording.band_power import LAST_LAG
from neuroframes.recording.segments import Segment
from neuroframes.training.eeg_ridge import put_at_measured
from neuroframes.training.population import frames_of, latents_of, sums_of
from neuroframes.training.wiener import fit_wiener, smooth

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]

ENOUGH = 600.0  # seconds, with which a person's own filter along time takes the place of other people's


def check_adaptable(model: PopulationModel, person: str) -> GroupEeg:
    """What the model knows of EEG; InputError where it knows nothing, or knows the person."""
    if model.eeg is None:
        raise InputError("a prior knows nothing of EEG; pass a model that train made of several stores")
    if person in model.population.people:
        raise InputError(f"{person} is one of the people of the model; adapt it to somebody else")
    return model.eeg


def adapted(model: PopulationModel, segments: Sequence[Segment]) -> PopulationModel:
    """The model with what one person's segments say.

    Parameters
    ----------
    model : PopulationModel with EEG
    segments : sequence of Segment
        Of one person whom the model doesn't know, each z-scored by itself, with EEG.

    Raises
    ------
    InputError
        If the model has no EEG, or knows the person.
    """
    population, (person,) = model.population, {segment.person for segment in segments}
    eeg = check_adaptable(model, person)
    if eeg.correction is not None:
        logger.warning("networks were validated beside other people's ridge: the adapted model has none")
        eeg = replace(eeg, correction=None)
    group, tr, known = eeg.ridge.group, model.origin.tr, model.origin.scale > 0
    pathway = eeg.pathway(model.origin.bands)
    runs = [frames_of(segment) for segment in segments]
    latents, features, measured = [], [], [found.measured for found in runs]
    for segment, found in zip(segments, runs, strict=True):
        given = pathway.eeg_of(segment)
        if given is None:
            raise InputError(f"{segment.run}: the model needs EEG; there is none for this run")
        power = pathway.features(given).power
        standard = replace(power, values=Standardisation.of(power.values)(power.values))
        features.append(responses_to(standard, segment.times, eeg.ridge.lags, eeg.ridge.responses))
        latents.append(latents_of(found, population.autoencoder, known)[0])
    z = np.concatenate([of[mask] for of, mask in zip(latents, measured, strict=True)])
    x = np.concatenate([of[mask] for of, mask in zip(features, measured, strict=True)])
    # Penalties are for features with emphasis.
    emphasis = np.array(eeg.ridge.emphasis or np.ones(1 + standard.band.max()))
    scale = np.tile(emphasis[standard.band], eeg.ridge.responses.shape[1])[:, None]
    ridge = Ridge(x * scale.T, round(LAST_LAG / tr), folds([found.n_measured for found in runs]))
    errors = ridge.left_out_errors(z)
    weights, left_out = eeg.ridge.weights.astype(np.float64), np.asarray(x @ eeg.ridge.weights, np.float64)
    for number, penalty in enumerate(eeg.change):
        these = group == number
        unexplained, change = z[:, these] - left_out[:, these], np.zeros(())
        if np.isfinite(penalty):
            change = scale * (ridge.right @ ridge.coefficients(unexplained, penalty))
            unexplained = ridge.left_out_residual(unexplained, penalty)
        alone = float(ridge.penalties[errors[:, these].mean(axis=1).argmin()])
        apart = unexplained - ridge.left_out_residual(z[:, these], alone)
        # The share of each that predicts left-out blocks best.
        share = (unexplained * apart).sum() / max(np.square(apart).sum(), np.finfo(float).tiny)
        share = float(np.clip(share, 0, 1))
        from_none = scale * (ridge.right @ ridge.coefficients(z[:, these], alone))
        weights[:, these] = (1 - share) * (weights[:, these] + change) + share * from_none
        left_out[:, these] = z[:, these] - unexplained + share * apart
        first, last = np.flatnonzero(these)[[0, -1]]
        how = "latents %d to %d: penalty %.3g on what is changed; %.2f of weights that start from none"
        logger.info(how, first, last, penalty, share)
    predictions = [np.asarray(of @ weights, np.float64) for of in features]
    put_at_measured(predictions, left_out, measured)
    of_measured = [np.where(mask[:, None], of, 0) for of, mask in zip(predictions, measured, strict=True)]
    kernels = fit_wiener(of_measured, latents, group, tr)
    if len(z) * tr < ENOUGH:  # but where other people's EEG says nothing, their filter lets nothing through
        through = eeg.ridge.kernels.any(axis=1, keepdims=True)
        kernels = np.where(through, eeg.ridge.kernels, kernels)

    def left_over(predictions: Sequence[Float], kernels: Float) -> list[Float]:
        return [of - smooth(m, kernels, group) for of, m in zip(latents, predictions, strict=True)]

    def error(series: Sequence[Float]) -> float:
        of_frames = np.concatenate([of[mask] for of, mask in zip(series, measured, strict=True)])
        return float(np.square(of_frames).mean(axis=0) @ population.autoencoder.importance)

    rest_of_run, none = left_over(predictions, kernels), error(latents)
    before = left_over([np.asarray(of @ eeg.ridge.weights, np.float64) for of in features], eeg.ridge.kernels)
    adapted_error, error_before = error(rest_of_run) / none, error(before) / none
    found_error = "left-out error %.4f of that without EEG; %.4f without adaptation"
    logger.info(found_error, adapted_error, error_before)
    if adapted_error >= error_before:
        logger.warning("adaptation gains nothing: other people's weights are kept")
        weights, kernels, rest_of_run = eeg.ridge.weights.astype(np.float64), eeg.ridge.kernels, before
    lags = [fit_lags(of, mask, tr) for of, mask in zip(rest_of_run, measured, strict=True)]
    own = sums_of(((person, found) for found in runs), population.autoencoder, known, tr)
    both = replace(
        population,
        people={**population.people, **own.people},
        runs={**population.runs, **own.runs},
        rest_power=population.rest_power + own.rest_power,
    )
    rest = {**eeg.rest, person: sum(lags[1:], start=lags[0])}
    found_eeg = replace(
        eeg, ridge=replace(eeg.ridge, weights=weights.astype(np.float32), kernels=kernels), rest=rest
    )
    return replace(model, population=both, eeg=found_eeg)
