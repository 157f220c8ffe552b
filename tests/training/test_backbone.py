"""Fitting the Gaussian model: EEG counts where it informs, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.frames.adaptation import chosen_prior
from neuroframes.frames.filling import fill_missing
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment
from neuroframes.training.backbone import (
    believed_from,
    explaining_eeg,
    fit_backbone,
    fit_gaussian,
    fit_prior,
    fit_without_eeg,
)

TR, V, D = 2.0, 40, 4


def segment(n_frames, generator, informative=True, run="run-1"):
    """Frames of rank 4 that follow band power 6 s before, plus noise; a tenth censored."""
    at = 0.4 * np.arange(round(n_frames * TR / 0.4) + 100)
    smooth = np.apply_along_axis(np.convolve, 0, generator.standard_normal((len(at), D)), np.ones(12), "same")
    smooth /= smooth.std(axis=0)
    times = 25 + TR * np.arange(n_frames)
    latents = np.stack([np.interp(times - 6, at, feature) for feature in smooth.T], axis=1)
    mixing = np.random.default_rng(1).standard_normal((D, V)) * np.linspace(1, 0.5, D)[:, None]
    frames = latents @ mixing + 0.5 * generator.standard_normal((n_frames, V))
    frames -= frames.mean(axis=0)
    if not informative:
        smooth = np.apply_along_axis(
            np.convolve, 0, generator.standard_normal(smooth.shape), np.ones(12), "same"
        )
    power = BandPower(smooth.astype(np.float32), at, np.arange(D) % 2)
    measured = generator.random(n_frames) > 0.1
    return Segment(frames.astype(np.float32), times, times - times[0], measured, power, run)


def fit(segments):
    powers = [segment.power for segment in segments]
    return fit_backbone(segments, powers, TR, D, ["haemodynamic"], np.random.default_rng(2))


def segments_of(informative):
    generator = np.random.default_rng(0)
    return [segment(n, generator, informative, f"run-{n}") for n in (220, 180)]


@pytest.fixture(scope="module")
def found():
    return fit(segments_of(informative=True))


def temporal_r(found, test, measured, with_eeg=True):
    """Mean correlation over vertices, on frames that weren't given."""
    prior = replace(found.prior, latents=found.with_eeg) if with_eeg else found.prior
    mean = found.ridge(test.power, test.times) if with_eeg else None
    estimate, _ = fill_missing(prior, test.frames, measured, test.times, None, mean)
    truth = test.frames[~measured]
    estimate, truth = estimate - estimate.mean(axis=0), truth - truth.mean(axis=0)
    norms = np.linalg.norm(estimate, axis=0) * np.linalg.norm(truth, axis=0)
    return np.mean(np.sum(estimate * truth, axis=0) / np.where(norms > 0, norms, 1))


def test_informative_eeg_predicts_frames_that_it_was_not_fitted_to(found):
    test = segment(200, np.random.default_rng(5))
    nothing = np.zeros(200, bool)
    assert temporal_r(found, test, nothing) > 0.5
    assert temporal_r(found, test, nothing, with_eeg=False) == 0
    assert np.all(found.with_eeg.variance <= found.prior.latents.variance)
    assert np.mean(found.with_eeg.variance / found.prior.latents.variance) < 0.6
    gaps = np.arange(200) % 20 >= 8
    assert temporal_r(found, test, gaps) > temporal_r(found, test, gaps, with_eeg=False)


def test_uninformative_eeg_predicts_nothing_and_costs_nothing():
    found = fit(segments_of(informative=False))
    nothing, generator = np.zeros(200, bool), np.random.default_rng(6)
    tests = [segment(200, generator, informative=False) for _ in range(6)]
    assert abs(np.mean([temporal_r(found, test, nothing) for test in tests])) < 0.1
    assert np.all(found.with_eeg.variance > 0.9 * found.prior.latents.variance)
    gaps = np.arange(200) % 20 >= 8
    with_eeg, without = ([temporal_r(found, test, gaps, eeg) for test in tests] for eeg in (True, False))
    assert np.mean(with_eeg) > np.mean(without) - 0.02


@pytest.mark.parametrize("seed", [1, 12, 37, 38])
def test_what_two_stretches_gain_by_chance_is_not_believed(seed):
    one = segment(330, np.random.default_rng(seed), informative=False)
    found = fit([one])
    fitted = [one], [one.power], found.prior, found.latents, ["haemodynamic"]
    assert believed_from(*fitted, np.random.default_rng(seed)) == np.inf


def test_informative_eeg_is_believed_in_gaps(found):
    segments = segments_of(informative=True)
    fitted = segments, [s.power for s in segments], found.prior, found.latents, ["haemodynamic"]
    assert believed_from(*fitted, np.random.default_rng(0)) <= 4


def test_shuffled_eeg_predicts_nothing(found):
    generator = np.random.default_rng(7)
    nothing, r = np.zeros(200, bool), []
    for _ in range(6):
        test, other = segment(200, generator), segment(200, generator)
        r.append(temporal_r(found, replace(test, power=other.power), nothing))
    assert abs(np.mean(r)) < 0.1


def test_what_it_was_found_from_is_kept():
    segments = [segment(n, np.random.default_rng(n)) for n in (220, 180)]
    found = fit(segments)
    for part, latents, left_out in zip(segments, found.latents, found.left_out, strict=True):
        encoded = found.prior.autoencoder.encode(lambda block, x=part.frames: x[:, block])
        np.testing.assert_allclose(latents, encoded, atol=1e-4)
        known = part.measured
        residual = np.square(latents - left_out)[known].mean() / np.square(latents[known]).mean()
        fitted = np.square(latents - found.ridge(part.power, part.times))[known].mean()
        assert residual < 0.6 and fitted < np.square(latents - left_out)[known].mean()


# From a training part


def test_channels_vary_together_as_in_the_training_part_alone(patch):
    part, _ = patch
    arrays = {n: getattr(part.segments[1], n)[30:60] for n in ("frames", "times", "time_in_run", "measured")}
    later = replace(part.segments[1], **arrays)
    segments = [part.segments[0], later]
    pieces = list(explaining_eeg(segments))
    eeg, rate = later.eeg.data, later.eeg.rate
    first, last = (round(at * rate) for at in (later.times[0] - 20, later.times[-1]))
    np.testing.assert_array_equal(pieces[1][0], eeg[:, first : last + 1])
    assert pieces[0][0].shape[1] < segments[0].eeg.data.shape[1] and [r for _, r in pieces] == [rate, rate]
    model = fit_gaussian(replace(part, segments=segments), BackboneSettings(4))
    expected = ChannelCovariance.fit(pieces, part.origin.channels, part.origin.bands, average=True)
    np.testing.assert_array_equal(model.eeg.channels.covariances, expected.covariances)
    assert model.eeg.channels.channels == part.origin.channels and model.eeg.channels.average


def test_what_lies_beyond_the_training_part_changes_nothing(patch):
    part, _ = patch
    louder = []
    for one in part.segments:
        data = one.eeg.data.copy()
        data[:, round(one.times[-1] * one.eeg.rate) + 300 :] *= 20
        louder.append(replace(one, eeg=replace(one.eeg, data=data)))
    before, after = (
        fit_gaussian(replace(part, segments=segments), BackboneSettings(4))
        for segments in (part.segments, louder)
    )
    for name in ("weights", "kernels"):
        np.testing.assert_array_equal(getattr(after.eeg.ridge, name), getattr(before.eeg.ridge, name))
    np.testing.assert_array_equal(after.eeg.channels.covariances, before.eeg.channels.covariances)


def test_without_channels_it_is_the_prior_alone(patch):
    part, _ = patch
    silent = [replace(segment, eeg=None, power=None) for segment in part.segments]
    part = replace(part, origin=replace(part.origin, channels=()), segments=silent)
    model = fit_gaussian(part, BackboneSettings(4), seed=3)
    prior = fit_prior(part.segments, part.origin.tr, 4, np.random.default_rng(3))
    assert model.eeg is None
    np.testing.assert_array_equal(model.prior.autoencoder.decoder, prior.autoencoder.decoder)
    np.testing.assert_array_equal(model.prior.latents.power, prior.latents.power)


def test_a_run_s_own_prior_is_chosen_and_calibrated_on_it_and_that_of_others_is_not(patch):
    part, run = patch[0], patch[0].segments[0].given(np.arange(70) % 16 < 12)
    own, others = (
        fit_without_eeg(replace(part, segments=[run], own=own), BackboneSettings(4), seed=3)
        for own in (True, False)
    )
    generator = np.random.default_rng(3)
    expected = chosen_prior(
        run.frames, run.measured, run.time_in_run, part.origin.tr, generator, n_latents=4
    ).prior
    assert own.eeg is None and own.prior.spread == expected.spread != 1
    assert (own.prior.latents.coupling is None) == (expected.latents.coupling is None)
    np.testing.assert_array_equal(own.prior.latents.power, expected.latents.power)
    assert others.eeg is None and others.prior.spread == 1


def test_latents_are_as_many_as_the_frames_support(patch):
    part, _ = patch
    n_measured = sum(int(segment.measured.sum()) for segment in part.segments)
    for settings, expected in ((BackboneSettings(), n_measured // 8), (BackboneSettings(5), 5)):
        assert fit_without_eeg(part, settings).prior.autoencoder.n_latents == expected
