"""Models across people: what EEG says of a stranger, and that it says nothing where it can't."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.adaptation import EEG
from neuroframes.models.model import Origin
from neuroframes.models.population import PopulationModel
from neuroframes.models.settings import BackboneSettings, CorrectionSettings
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.segments import Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.training.across import Kept, LeftOut, Response, fit_across, fit_across_default
from neuroframes.training.adapt import adapted
from neuroframes.training.part import TrainingPart

V, K, TR, RATE = 40, 240, 2.0, 64
CHANNELS = ("Fz", "Cz", "Pz", "Oz")
USED = {name: BANDS[name] for name in ("alpha", "beta")}
ORIGIN = Origin(
    CorticalSpace.from_parcels(V),
    TR,
    np.ones(V, np.float32),
    Split((), (), 0.0),
    CHANNELS,
    {"rate": RATE, "l_freq": None, "reference": "none"},
    USED,
)
MIXING = np.random.default_rng(99).standard_normal((5, V))
LEAD = np.random.default_rng(98).standard_normal((4, 2))
SETTINGS = BackboneSettings(latents=8)


def person(number, sign=1.0, coupled=True):
    """Alpha goes with less BOLD, beta with more, 5 s later; three other signals that EEG doesn't show."""
    generator, n_samples = np.random.default_rng(number), round(K * TR * RATE)
    envelopes = gaussian_filter1d(generator.standard_normal((2, n_samples)), 4 * RATE, axis=1)
    envelopes /= envelopes.std(axis=1, keepdims=True)
    seconds, wander = (
        np.arange(n_samples) / RATE,
        0.05 * generator.standard_normal((2, n_samples)).cumsum(axis=1),
    )
    waves = np.exp(0.7 * envelopes) * np.sin(2 * np.pi * np.outer([10, 20], seconds) + wander)
    eeg = (LEAD @ waves + generator.standard_normal((4, n_samples))) * 1e-6
    times = TR * (np.arange(K) + 0.5)
    shown = envelopes if coupled else np.random.default_rng(number + 1000).permuted(envelopes, axis=1)
    late = np.stack([np.interp(times - 5, seconds, of) for of in shown], axis=1) * [-sign, sign]
    others = 2 * gaussian_filter1d(generator.standard_normal((K, 3)), 1.5, axis=0)
    frames = np.concatenate([late, others], axis=1) @ MIXING + 1.5 * generator.standard_normal((K, V))
    frames = np.asfortranarray((frames - frames.mean(axis=0)) / frames.std(axis=0), np.float32)
    signal = Signal(eeg.astype(np.float32), RATE, CHANNELS)
    measured = np.ones(K, bool)
    return Segment(
        frames, times, TR * np.arange(K), measured, None, f"run {number}", signal, person=f"sub-{number}"
    )


def fitted(**settings):
    people = [person(number, **settings) for number in range(5)]
    return fit_across(TrainingPart(ORIGIN, people, several=True), SETTINGS)


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def stranger():
    return person(7)


def alone(segment):
    return segment.given(np.zeros(K, bool))


def r_of(estimate, truth):
    pairs = zip(estimate.T, truth.T, strict=True)
    return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs]))


def covered(estimate, truth):
    return float((np.abs(estimate.mean - truth) <= 1.645 * estimate.std).mean())


def test_frames_of_a_stranger_follow_from_eeg(model, stranger):
    found = model.fill(alone(stranger))
    assert r_of(found.mean, stranger.frames) > 0.3
    assert 0.86 < covered(found, stranger.frames) < 0.94


def test_eeg_of_another_moment_says_nothing(model, stranger):
    backwards = replace(
        stranger.eeg, data=np.roll(stranger.eeg.data, stranger.eeg.data.shape[1] // 2, axis=1)
    )
    found = model.fill(alone(replace(stranger, eeg=backwards)))
    assert abs(r_of(found.mean, stranger.frames)) < 0.15


def test_nobody_counts_more_for_a_larger_eeg(model):
    people = [person(number) for number in range(5)]
    people[0] = replace(people[0], eeg=replace(people[0].eeg, data=10 * people[0].eeg.data))
    found = fit_across(TrainingPart(ORIGIN, people, several=True), SETTINGS)
    np.testing.assert_allclose(found.eeg.channels.covariances, model.eeg.channels.covariances, rtol=1e-4)
    np.testing.assert_allclose(np.trace(found.eeg.channels.total), 1)


def test_where_eeg_says_nothing_it_is_not_believed(stranger):
    nothing = fitted(coupled=False)
    assert np.square(nothing.eeg.ridge.kernels).sum() < 0.1 or not nothing.eeg.ridge.weights.any()
    mask = np.arange(K) % 24 < 8
    given = stranger.given(mask)
    without, found = nothing.without_eeg().fill(given), nothing.fill(given)
    truth = stranger.frames[~mask]
    assert np.square(found.mean - truth).mean() < 1.01 * np.square(without.mean - truth).mean()


def test_eeg_fills_long_gaps_better_and_says_that_it_was_used(model, stranger):
    mask = np.arange(K) % 24 < 8
    given, truth = stranger.given(mask), stranger.frames[~mask]
    with_eeg, without = model.fill(given), model.without_eeg().fill(given)
    assert EEG in model.describe(given)
    assert np.square(with_eeg.mean - truth).mean() < 0.95 * np.square(without.mean - truth).mean()
    assert 0.85 < covered(with_eeg, truth) < 0.95


def test_leaving_a_person_out_is_a_fit_to_the_others(tmp_path):
    generator, kept = np.random.default_rng(3), []
    for number, name in enumerate("aabc"):
        file = tmp_path / f"{number}.npz"
        np.savez(
            file,
            latents=generator.standard_normal((30, 3)),
            measured=generator.random(30) < 0.8,
            times=TR * np.arange(30),
            power=generator.standard_normal((150, 4)).astype(np.float32),
            power_times=0.4 * np.arange(150),
            band=np.arange(4) % 2,
        )
        kept.append(Kept(name, file))
    response = Response("two lags", np.array([0.0, TR]), np.identity(2), np.array([1, 2, 1, 0.5], np.float32))
    fit = LeftOut(kept, response)

    def stacked(people):
        of = [run.load() for run in kept if run.person in people]
        features = [response.features(power, times)[mask] for _, mask, times, power in of]
        return np.concatenate(features), np.concatenate([z[mask] for z, mask, *_ in of])

    (x, z), (x_own, z_own) = stacked("bc"), stacked("a")
    for number, penalty in enumerate(fit.penalties[[2, 9]]):
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(8), x.T @ z)
        expected = np.square(z_own - x_own @ weights).mean(axis=0)
        np.testing.assert_allclose(fit.errors("a")[1 + [2, 9][number]], expected, rtol=1e-4)
    np.testing.assert_allclose(fit.errors("a")[0], np.square(z_own).mean(axis=0))
    assert not fit.weights(np.zeros(3, int)).any()


def test_a_model_is_read_as_it_was_written(model, stranger, tmp_path):
    model.save(tmp_path / "model")
    again = PopulationModel.load(tmp_path / "model")
    assert again.name == "neuroframes across people" and again.reads_eeg
    for given in (alone(stranger), stranger.given(np.arange(K) % 24 < 8)):
        expected, got = model.fill(given), again.fill(given)
        np.testing.assert_array_equal(expected.mean, got.mean)
        np.testing.assert_array_equal(expected.std, got.std)


def test_people_stay_in_it(model):
    with pytest.raises(InputError, match="learned from all people together"):
        model.without_person("sub-1")
    with pytest.raises(InputError, match="can't be merged"):
        model.merged(model)


NETWORKS = CorrectionSettings(
    latents=8, frames=24, width=8, depth=1, heads=2, virtual_channels=4, filters=2, members=1, epochs=1
)
POSITIONS = 0.09 * np.array([[0, 0.7, 0.7], [0, 0, 1], [0, -0.7, 0.7], [0, -1, 0]])


def learned(people, state):
    part = TrainingPart(replace(ORIGIN, positions=POSITIONS), people, several=True)
    return fit_across_default(part, NETWORKS, state=state, accelerator="cpu")


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """The same people and networks that were trained for a moment, with an open gate."""
    state = tmp_path_factory.mktemp("state") / "new"
    found = learned([person(number) for number in range(5)], state)
    assert [path.name for path in state.iterdir()] == ["member-0"]  # EEG isn't left there
    found.eeg.correction.gate.fill_(1.0)
    return found


def test_networks_stand_beside_the_same_backbone(model, corrected, stranger):
    assert corrected.name == "neuroframes across people with networks"
    assert corrected.n_parameters > model.n_parameters
    backbone = replace(corrected, eeg=replace(corrected.eeg, correction=None))
    for given in (alone(stranger), stranger.given(np.arange(K) % 24 < 8)):
        np.testing.assert_array_equal(backbone.fill(given).mean, model.fill(given).mean)
        assert not np.array_equal(corrected.fill(given).mean, model.fill(given).mean)
        assert "learned correction" in corrected.describe(given)


def test_networks_take_eeg_whatever_its_size(corrected, stranger):
    """Of channels too: that is a matter of skull and cap."""
    sizes = np.array([[3.0], [0.5], [8.0], [1.0]], np.float32)
    larger = Signal(sizes * stranger.eeg.data, RATE, CHANNELS)
    found, pathway = [], corrected.eeg.pathway(USED)
    for eeg in (stranger.eeg, larger):
        given = pathway.features(eeg)
        query = corrected.eeg.correction.query(stranger.times, lambda at: np.zeros((len(at), 8)))
        found.append(corrected.eeg.correction.shift(query, given.tokens).numpy())
    assert found[0].std() > 0
    np.testing.assert_allclose(found[1], found[0], atol=1e-2 * found[0].std())


def test_networks_are_read_as_they_were_written(corrected, stranger, tmp_path):
    corrected.save(tmp_path / "model")
    again, given = PopulationModel.load(tmp_path / "model"), alone(stranger)
    assert (again.name, again.n_parameters) == (corrected.name, corrected.n_parameters)
    np.testing.assert_array_equal(again.fill(given).mean, corrected.fill(given).mean)


def test_networks_are_trained_at_one_rate(tmp_path):
    slower = person(1)
    slower = replace(slower, eeg=Signal(slower.eeg.data[:, ::2].copy(), RATE / 2, CHANNELS))
    with pytest.raises(InputError, match="EEG at 32 and 64 Hz, but networks take one rate; prepare all"):
        learned([person(0), slower], tmp_path)


def test_an_adapted_model_has_no_networks(model, corrected, stranger, caplog):
    own = adapted(corrected, [stranger])
    assert own.eeg.correction is None and "the adapted model has none" in caplog.text
    np.testing.assert_array_equal(own.eeg.ridge.weights, adapted(model, [stranger]).eeg.ridge.weights)


def shares(caplog):
    return [record.args[3] for record in caplog.records if "of weights that start from none" in record.msg]


def test_a_person_unlike_the_others_is_learned(model, caplog):
    """In whom alpha goes with more BOLD."""
    unlike, later = person(11, sign=-1.0), person(12, sign=-1.0)
    with caplog.at_level("INFO"):
        own = adapted(model, [replace(unlike, person="sub-11")])
    assert max(shares(caplog)) > 0.5  # of weights that start from none
    (said,) = [record for record in caplog.records if "left-out error" in record.msg]
    assert said.args[0] < 1 < said.args[1]  # with and without adaptation
    before, after = (of.fill(alone(later)).mean for of in (model, own))
    assert r_of(before, later.frames) < 0 < r_of(after, later.frames)
    assert "sub-11" in own.population.people and own.population.n_runs == 6


def test_a_person_like_the_others_loses_nothing(model, stranger, caplog):
    with caplog.at_level("INFO"):
        own = adapted(model, [stranger.given(np.arange(K) < 100)])
    assert max(shares(caplog)) < 0.5
    later = person(13)
    before, after = (r_of(of.fill(alone(later)).mean, later.frames) for of in (model, own))
    assert after > before - 0.02


def test_adaptation_is_refused_where_it_means_nothing(model):
    with pytest.raises(InputError, match="sub-1 is one of the people"):
        adapted(model, [person(1)])
    with pytest.raises(InputError, match="knows nothing of EEG"):
        adapted(model.without_eeg(), [person(20)])


def test_runs_of_too_few_measured_frames_are_left_out(model):
    few = replace(person(30), measured=np.arange(K) < 10)
    people = [*(person(number) for number in range(5)), few]
    found = fit_across(TrainingPart(ORIGIN, people, several=True), SETTINGS)
    assert "sub-30" not in found.population.people
    np.testing.assert_array_equal(found.eeg.rest["sub-1"].cross, model.eeg.rest["sub-1"].cross)


def test_it_says_where_eeg_is_not_used(model, stranger):
    given = stranger.given(np.arange(K) % 10 < 8)
    never = replace(model, eeg=replace(model.eeg, least_gap=np.inf))
    assert "the EEG isn't used" in never.describe(given)
    assert "the EEG isn't used" not in never.describe(alone(stranger))
    assert "the EEG isn't used" not in model.without_eeg().describe(given)


def test_eeg_of_somebody_else_is_not_used(model, stranger):
    given = stranger.given(np.arange(K) % 20 < 8)
    always = replace(model, eeg=replace(model.eeg, least_gap=1.0))
    assert "the EEG isn't used" not in always.describe(given)
    swapped = replace(given, eeg=replace(given.eeg, data=given.eeg.data[:, ::-1].copy()))
    assert "the EEG isn't used" in always.describe(swapped)
    np.testing.assert_array_equal(always.fill(swapped).mean, always.without_eeg().fill(swapped).mean)


def test_a_persons_weights_change_by_as_much_as_those_of_others_differ(model):
    """People who differ are held less than people who are alike; runs too short for halves hold all."""
    differ = [person(number, sign=(-1.0) ** number) for number in range(6)]
    found = fit_across(TrainingPart(ORIGIN, differ, several=True), SETTINGS)
    assert found.eeg.change[0] < model.eeg.change[0]
    for some in (np.arange(K) < 36, np.arange(K) >= K // 2):  # of a half nothing is left
        halved = TrainingPart(ORIGIN, [segment.given(some) for segment in differ], several=True)
        assert np.isinf(fit_across(halved, SETTINGS).eeg.change).all()


def test_artefacts_have_no_say_in_whether_eeg_is_used(model, stranger):
    given = stranger.given(np.arange(K) % 20 < 8)
    always = replace(model, eeg=replace(model.eeg, least_gap=1.0))
    spoilt, pathway = given.frames.copy(), model.eeg.pathway(USED)
    at = [42, 104, 165]
    spoilt[at] = -40 * model.population.autoencoder.decode(pathway.mean(given.eeg, given.times)[at])
    known = model.population.autoencoder.encode(lambda block: spoilt[given.measured, block])
    assert not pathway.agrees(given.eeg, given.times[given.measured], known)
    assert "the EEG isn't used" not in always.describe(replace(given, frames=spoilt))


def test_channels_that_are_filled_keep_their_bands(model, stranger):
    pathway, eeg = model.eeg.pathway(USED), stranger.eeg
    fewer = Signal(eeg.data[1:], eeg.rate, eeg.channels[1:])
    np.testing.assert_array_equal(pathway.features(fewer).power.band, pathway.features(eeg).power.band)


def test_adaptation_that_gains_nothing_is_not_kept(model, stranger, caplog):
    opposite = replace(model.eeg, change=np.zeros_like(model.eeg.change))  # no penalty: weights fit noise
    own = adapted(replace(model, eeg=opposite), [stranger.given(np.arange(K) < 60)])
    assert "other people's weights are kept" in caplog.text
    np.testing.assert_array_equal(own.eeg.ridge.weights, model.eeg.ridge.weights)


def test_it_is_said_where_eeg_predicts_nothing(caplog):
    nothing = fitted(coupled=False)
    assert nothing.eeg.ridge.weights.any() or "from EEG alone all will be 0" in caplog.text
    silent = replace(nothing.eeg.ridge, weights=np.zeros_like(nothing.eeg.ridge.weights))
    assert str(silent).endswith("no latent follows EEG")
