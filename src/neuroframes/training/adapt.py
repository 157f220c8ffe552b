"""A model across people, adapted to one of them by minutes of that person's own EEG and frames.

Weights start from the population's, W + D, with a ridge on D, or from 0. Left-out blocks choose between both,
and the penalty, for each group of latents; a large penalty on D is the population's model again. What the
person's frames say of latents is added to what other people's do.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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

ENOUGH = 600.0  # seconds, with which a person's own filter along time takes the place of other people's


def check_adaptable(model: PopulationModel, person: str) -> GroupEeg:
    """What the model knows of EEG; InputError where it knows nothing, or knows the person."""
    if model.eeg is None:
        raise InputError("the model knows nothing of EEG; pass one that train made of several stores")
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
    x = np.concatenate([of[mask] for of, mask in zip(features, measured, strict=True)])
    z = np.concatenate([of[mask] for of, mask in zip(latents, measured, strict=True)])
    lengths, margin = [found.n_measured for found in runs], round(LAST_LAG / tr)
    ridge, of_others = Ridge(x, margin, folds(lengths)), x @ eeg.ridge.weights
    starts = {
        "other people's": (eeg.ridge.weights, of_others),
        "nothing": (np.zeros_like(eeg.ridge.weights), np.zeros_like(z)),
    }
    errors = {name: ridge.left_out_errors(z - start) for name, (_, start) in starts.items()}
    weights, left_out = np.empty_like(eeg.ridge.weights), np.empty_like(z)
    for number in np.unique(group):
        these = group == number
        by_start = {name: error[:, these].mean(axis=1) for name, error in errors.items()}
        name = min(by_start, key=lambda name: by_start[name].min())
        penalty, (start, prediction) = float(ridge.penalties[by_start[name].argmin()]), starts[name]
        unexplained = z[:, these] - prediction[:, these]
        change = ridge.right @ ridge.coefficients(unexplained, penalty)
        weights[:, these] = start[:, these] + change
        left_out[:, these] = prediction[:, these] + ridge.left_out(unexplained, penalty)
        logger.info(
            "latents %s: weights start from %s, penalty %.3g", np.flatnonzero(these)[[0, -1]], name, penalty
        )
    predictions = [np.asarray(of @ weights, np.float64) for of in features]
    put_at_measured(predictions, left_out, measured)
    of_measured = [np.where(mask[:, None], of, 0) for of, mask in zip(predictions, measured, strict=True)]
    kernels = fit_wiener(of_measured, latents, group, tr)
    if len(z) * tr < ENOUGH:  # but where other people's EEG says nothing, their filter lets nothing through
        through = eeg.ridge.kernels.any(axis=1, keepdims=True)
        kernels = np.where(through, eeg.ridge.kernels, kernels)
    lags = [
        fit_lags(of - smooth(prediction, kernels, group), mask, tr)
        for of, prediction, mask in zip(latents, predictions, measured, strict=True)
    ]
    own = sums_of(((person, found) for found in runs), population.autoencoder, known, tr)
    both = replace(
        population,
        people={**population.people, **own.people},
        runs={**population.runs, **own.runs},
        rest_power=population.rest_power + own.rest_power,
    )
    rest = {**eeg.rest, person: sum(lags[1:], start=lags[0])}
    found_eeg = replace(eeg, ridge=replace(eeg.ridge, weights=weights, kernels=kernels), rest=rest)
    return replace(model, population=both, eeg=found_eeg)
