"""The Gaussian model: files that come back to the bit, its fill written out, and EEG that lacks channels."""

import json
import pickle
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import multivariate_normal

from neuroframes.checksums import write_checksums
from neuroframes.errors import InputError
from neuroframes.frames.filling import fill_missing
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.features import eeg_features, whitening
from neuroframes.models.gaussian import EegFeatures, EegPathway, GaussianModel
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.signal import Signal
from neuroframes.training.backbone import fit_gaussian

V, D = 50, 4
CHANNELS = ("Fp1", "Fz", "Cz", "Pz", "Oz")
BANDS = {"delta": (0.5, 4.0), "alpha": (8.0, 13.0)}
GAPS = np.arange(40) % 10 >= 5


@pytest.fixture(scope="module")
def model(patch):
    fitted = fit_gaussian(patch[0], BackboneSettings(D))
    scale = np.random.default_rng(3).random(V).astype(np.float32)
    return replace(
        fitted, origin=replace(fitted.origin, scale=scale), prior=replace(fitted.prior, spread=1 / 3)
    )


@pytest.fixture
def stored(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def assert_same(first, second):
    """Equal in every field, arrays in type and every bit."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype and first.shape == second.shape
        assert np.ascontiguousarray(first).tobytes() == np.ascontiguousarray(second).tobytes()
    elif is_dataclass(first):
        for field in (field for field in fields(first) if field.compare):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, tuple):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


def test_a_model_comes_back_to_the_bit(model, stored, patch):
    again, test = GaussianModel.load(stored), patch[1]
    assert_same(again, model)
    for segment in (test.given(GAPS), replace(test.given(GAPS), eeg=None)):
        for drawn in (0, 2):
            one, other = (m.fill(segment, draws=drawn) for m in (model, again))
            assert_same((one.mean, one.std, *one.draws), (other.mean, other.std, *other.draws))


def test_a_model_without_eeg_comes_back_too(model, tmp_path):
    model.without_eeg().save(tmp_path / "model")
    assert_same(GaussianModel.load(tmp_path / "model"), model.without_eeg())


def test_files_are_what_they_say_and_nothing_is_unpickled(stored, monkeypatch):
    assert sorted(path.name for path in stored.iterdir()) == [
        "checksums.txt",
        "model.json",
        "model.safetensors",
    ]
    assert json.loads((stored / "model.json").read_text())["format"] == "neuroframes-model-gaussian-4"
    header = (stored / "model.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    tensors = json.loads(header[8 : 8 + length])
    assert tensors["decoder"]["shape"] == [D, V]

    def refuse(*_args, **_kwargs):
        raise AssertionError("a model was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    GaussianModel.load(stored)


def test_an_existing_model_is_replaced_only_when_asked(model, stored):
    with pytest.raises(InputError, match="exists already; pass --overwrite"):
        model.save(stored)
    replace(model, origin=replace(model.origin, tr=3.0)).save(stored, overwrite=True)
    assert GaussianModel.load(stored).origin.tr == 3.0


def test_a_store_is_no_model(tmp_path, recording):
    said = f"what neuroframes prepare wrote, not a model; .* neuroframes train {recording.store} --out MODEL"
    for path in (recording.store, recording.store.parent):
        with pytest.raises(InputError, match=said):
            GaussianModel.load(path)
    (tmp_path / "decoder").mkdir()
    with pytest.raises(InputError, match="decoder holds no model.json; pass the folder"):
        GaussianModel.load(tmp_path / "decoder")


def damage_missing(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def damage_arrays(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damage_header(folder):
    (folder / "model.safetensors").write_bytes(b"\x80\x04 not a model")


def damage_json(folder):
    (folder / "model.json").write_text("{")


def damage_encoding(folder):
    (folder / "model.json").write_bytes(b"\xff\xfe\x00")


def damage_type(folder):
    (folder / "model.json").write_text("[1, 2]")


def damage_format(folder):
    (folder / "model.json").write_text('{"format": "neuroframes-model-0"}')


def damage_key(folder):
    about = json.loads((folder / "model.json").read_text())
    del about["split"]
    (folder / "model.json").write_text(json.dumps(about))


def damage_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["rest.power"]
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, "no such folder; pass the folder that neuroframes train or prior wrote"),
        (damage_arrays, "no model can be read there"),
        (damage_header, "no model can be read there.*make one with neuroframes train or neuroframes prior"),
        (damage_json, "no model can be read there"),
        (damage_encoding, "no model can be read there"),
        (damage_type, "a model of format None"),
        (
            damage_format,
            "a model of format neuroframes-model-0, but this version reads neuroframes-model-gaussian-4",
        ),
        (damage_key, "damaged.*split.*train it again"),
        (damage_tensor, "damaged.*rest.power.*train it again"),
    ],
)
def test_what_is_no_model_is_refused(stored, damage, message):
    damage(stored)
    if stored.exists():
        write_checksums(stored)
    with pytest.raises(InputError, match=message):
        GaussianModel.load(stored)


# What it fills


def test_without_eeg_it_is_the_posterior_of_the_prior_alone(model, patch):
    test = patch[1].given(GAPS)
    expected = fill_missing(model.prior, test.frames, test.measured, test.time_in_run)
    for estimate in (model.fill(replace(test, eeg=None)), model.without_eeg().fill(test)):
        assert_same((estimate.mean, estimate.std), expected)
        assert list(estimate.draws) == []


def test_the_mean_is_the_ridge_s_and_the_covariance_what_it_leaves_over(model, patch):
    test, eeg = patch[1].given(GAPS), model.eeg
    mean = eeg.ridge(eeg.features(test.eeg).power, test.times)
    np.testing.assert_array_equal(eeg.mean(test.eeg, test.times), mean)
    prior = replace(model.prior, latents=eeg.covariance)
    expected = fill_missing(prior, test.frames, test.measured, test.time_in_run, None, mean)
    estimate = model.fill(test)
    assert_same((estimate.mean, estimate.std), expected)
    assert mean.std() > 0.1 and (model.without_eeg().fill(test).std > 1.05 * estimate.std).mean() > 0.9


def test_some_vertices_are_filled_by_the_prior_restricted_to_them(model, patch):
    test, some = patch[1].given(GAPS), np.flatnonzero(np.arange(V) % 3)
    part = replace(test, frames=np.asfortranarray(test.frames[:, some]), vertices=some)
    prior = replace(model.prior.restricted(some), latents=model.eeg.covariance)
    mean = model.eeg.mean(test.eeg, test.times)
    expected = fill_missing(prior, part.frames, part.measured, part.time_in_run, None, mean)
    estimate = model.fill(part)
    assert_same((estimate.mean, estimate.std), expected)


class Learned:
    """A correction that adds the measured latents and takes half of the ridge's mean off."""

    rate, gate = 100.0, np.ones(1)

    def to(self, device):
        self.device = device

    def tokens(self, eeg):
        return 2.0

    def query(self, times, ridge, latents, measured):
        return ridge(times), np.where(measured[:, None], latents, 0)

    def shift(self, query, tokens):
        mean, latents = query
        return torch.from_numpy(tokens * (latents - mean / 2))[None]

    def parameters(self):
        return []


def test_a_learned_correction_moves_the_mean(model, patch):
    test = patch[1].given(GAPS)
    learned = replace(model, eeg=replace(model.eeg, correction=Learned()))
    latents = model.prior.encode(test.frames, test.measured)
    spoilt = np.where(test.measured[:, None], latents, np.nan)
    mean = learned.eeg.mean(test.eeg, test.times, spoilt, test.measured)
    np.testing.assert_allclose(mean, 2 * latents, atol=1e-12)
    prior = replace(model.prior, latents=model.eeg.covariance)
    expected = fill_missing(prior, test.frames, test.measured, test.time_in_run, latents, 2 * latents)
    estimate = learned.fill(test)
    np.testing.assert_allclose(estimate.mean, expected[0], atol=1e-5)
    np.testing.assert_array_equal(estimate.std, model.fill(test).std)


@pytest.mark.parametrize("learned", [False, True])
def test_it_says_what_it_was_given(model, patch, learned):
    test = patch[1]
    named = replace(model, eeg=replace(model.eeg, correction=Learned() if learned else None, least_gap=0.0))
    assert named.name == ("neuroframes" if learned else "neuroframes backbone")
    assert named.without_eeg().name == "neuroframes without EEG"
    end = ", its mean with a learned correction" if learned else ""
    given = "exact Gaussian posterior given"
    end += "; response along lags: haemodynamic; no emphasis on bands"
    assert named.describe(test) == f"{given} the measured frames and the EEG{end}"
    alone = test.given(np.zeros(40, bool))
    assert named.describe(alone) == f"{given} the EEG{end}"
    for silent in (named.describe(replace(test, eeg=None)), named.without_eeg().describe(test)):
        assert silent == f"{given} the measured frames"


def test_in_gaps_in_which_eeg_is_not_believed_it_is_left_out(model, patch):
    test = patch[1].given(GAPS)
    never, always = (replace(model, eeg=replace(model.eeg, least_gap=gap)) for gap in (np.inf, 0.0))
    np.testing.assert_array_equal(never.fill(test).mean, model.without_eeg().fill(test).mean)
    assert not np.array_equal(always.fill(test).mean, never.fill(test).mean)
    assert never.describe(test).endswith("the measured frames; EEG isn't believed beside so many frames")
    alone = test.given(np.zeros(40, bool))
    np.testing.assert_array_equal(never.fill(alone).mean, always.fill(alone).mean)
    gaps = replace(patch[1], measured=np.arange(40) % 10 < 4)  # of six frames
    assert [replace(model.eeg, least_gap=gap).believed(gaps) for gap in (1, 6, 7)] == [True, True, False]
    censored = replace(gaps, measured=gaps.measured & (np.arange(40) != 12))  # and one frame that is alone
    assert replace(model.eeg, least_gap=6).believed(censored)
    between = replace(patch[1], measured=np.ones(40, bool))  # frames asked for at other times aren't missing
    assert not replace(model.eeg, least_gap=1).believed(between)
    alone = replace(gaps, measured=np.arange(40) % 2 == 0)
    assert not replace(model.eeg, least_gap=6).believed(alone)


def test_a_run_agrees_with_eeg_by_how_much_likelier_it_is_about_what_the_ridge_says(model, patch):
    segment, n = patch[1], 40
    eeg, times, pathway = segment.eeg, segment.times, model.eeg
    said = pathway.ridge(pathway.features(eeg).power, times)
    covariance = pathway.covariance

    def gain(known):
        dense = 0.0
        for j in range(D):
            kernel = covariance.variance[j] * covariance.kernel(covariance.group[j], times)
            dense += multivariate_normal(said[:, j], kernel).logpdf(known[:, j])
            dense -= multivariate_normal(np.zeros(n), kernel).logpdf(known[:, j])
        return dense

    generator = np.random.default_rng(0)
    agreed = [factor * said + 0.3 * generator.standard_normal(said.shape) for factor in (1, 0.6, 0.4, -1)]
    for known in agreed:
        assert pathway.agrees(eeg, times, known) == (gain(known) > 0)
    assert pathway.agrees(eeg, times, said) and not pathway.agrees(eeg, times, -said)
    assert pathway.agrees(eeg, times[:15], -said[:15])  # too few to say anything


def test_eeg_of_another_run_is_not_used(model, patch):
    test = patch[1]
    said = model.eeg.ridge(model.eeg.features(test.eeg).power, test.times)
    opposite = replace(test, frames=model.prior.autoencoder.decode(-said)).given(np.arange(40) % 8 >= 3)
    always = replace(model, eeg=replace(model.eeg, least_gap=0.0))
    np.testing.assert_array_equal(always.fill(opposite).mean, model.without_eeg().fill(opposite).mean)
    assert always.describe(opposite).endswith("the measured frames are as likely without it")


def test_a_correction_is_taken_to_the_gpu_where_there_is_one(model, monkeypatch):
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        learned = replace(model, eeg=replace(model.eeg, correction=Learned()))
        assert learned.eeg.correction.device == ("cuda" if there else "cpu")


# What it takes from EEG


def noise(n_samples=20_000):
    """EEG (5, N) of two sources, average reference, at 200 Hz."""
    generator = np.random.default_rng(8)
    eeg = 1e-5 * generator.standard_normal((5, 2)) @ generator.standard_normal((2, n_samples))
    return (eeg - eeg.mean(axis=0)).astype(np.float32)


@pytest.fixture(scope="module")
def pathway(model):
    covariance = ChannelCovariance.fit([(noise(), 200.0)], CHANNELS, BANDS, average=True)
    return EegPathway(model.eeg.ridge, model.eeg.covariance, covariance, BANDS)


def test_features_of_all_channels(pathway):
    eeg = noise()
    features = pathway.features(Signal(eeg, 200.0, CHANNELS))
    expected = eeg_features(Signal(eeg, 200.0, CHANNELS), BANDS, whitening(pathway.channels.total))
    np.testing.assert_array_equal(features.power.values, expected.values)
    assert features.tokens is None
    # In another order they are the same channels.
    turned = pathway.features(Signal(eeg[::-1], 200.0, CHANNELS[::-1]))
    np.testing.assert_allclose(turned.power.values, expected.values, atol=1e-3)


def test_features_of_all_channels_from_some(pathway):
    eeg, names = noise(), ("Oz", "Fp1", "Cz")
    some = eeg[[CHANNELS.index(name) for name in names]]
    whole, filled = (
        pathway.features(Signal(x, 200.0, channels)).power.values
        for x, channels in ((eeg, CHANNELS), (some - some.mean(axis=0), names))
    )
    assert whole.shape[1] == 2 * len(CHANNELS) * len(BANDS)  # channels, and whitened channels
    np.testing.assert_allclose(filled, whole, atol=1e-3)  # two sources, three channels


def test_features_of_a_recording_are_computed_once(pathway):
    eeg = Signal(noise(), 200.0, CHANNELS)
    assert isinstance(pathway.features(eeg), EegFeatures) and pathway.features(eeg) is pathway.features(eeg)
    assert pathway.features(replace(eeg)) is not pathway.features(eeg)


def test_networks_are_left_out_at_another_rate_than_theirs(pathway, caplog):
    class Networks:
        """Stands for a correction of EEG at 200 Hz whose gate is open."""

        rate, gate = 200.0, np.ones(1)

        def to(self, device):
            pass

        def tokens(self, eeg):
            return ["tokens"]

    learned = replace(pathway, correction=Networks())
    assert learned.features(Signal(noise(), 200.0, CHANNELS)).tokens == ["tokens"] and not caplog.records
    at_250 = learned.features(Signal(noise(), 250.0, CHANNELS))
    assert at_250.tokens is None and "the backbone alone" in caplog.text
    Networks.gate = np.zeros(1)
    assert learned.features(Signal(noise(), 200.0, CHANNELS)).tokens is None
