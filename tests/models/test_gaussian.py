"""The Gaussian backbone: files that come back to the bit, and EEG that counts only where it informs."""

import json
import pickle
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.completion import fill_missing
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.features import eeg_features, whitening
from neuroframes.models.gaussian import GaussianModel, Heard, fit_backbone
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal

TR, V, D = 2.0, 40, 4
CHANNELS = ("Fp1", "Fz", "Cz", "Pz", "Oz")
BANDS = {"delta": (0.5, 4.0), "alpha": (8.0, 13.0)}


def noise(n_samples=20_000):
    """EEG (5, N) of two sources, average reference, at 200 Hz."""
    generator = np.random.default_rng(8)
    eeg = 1e-5 * generator.standard_normal((5, 2)) @ generator.standard_normal((2, n_samples))
    return (eeg - eeg.mean(axis=0)).astype(np.float32)


def channel_covariance():
    return ChannelCovariance.fit([(noise(), 200.0)], CHANNELS, BANDS, average=True)


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
    power = BandPower(smooth.astype(np.float32), at)
    measured = generator.random(n_frames) > 0.1
    return Segment(frames.astype(np.float32), times, times - times[0], measured, power, run)


def train(informative, seed=0):
    generator = np.random.default_rng(seed)
    segments = [segment(n, generator, informative, f"run-{n}") for n in (220, 180)]
    powers = [segment.power for segment in segments]
    backbone = fit_backbone(segments, powers, len(BANDS), TR, D, np.random.default_rng(2))
    return GaussianModel(
        space=CorticalSpace.from_counts({"L": V}),
        tr=TR,
        scale=np.random.default_rng(3).random(V).astype(np.float32),
        prior=replace(backbone.prior, spread=1.0 / 3.0),
        with_eeg=backbone.with_eeg,
        eeg=backbone.eeg,
        channel_covariance=channel_covariance(),
        eeg_settings={"rate": 200.0, "l_freq": 0.5, "reference": "average"},
        bands=BANDS,
        split=Split((Part("run-220", 0, 220),), (Part("run-180", 40, 180),), 40.0),
    )


@pytest.fixture(scope="module")
def model():
    return train(informative=True)


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
        for field in fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    else:
        assert first == second


def test_a_model_comes_back_to_the_bit(model, stored):
    again = GaussianModel.load(stored)
    assert_same(again, model)
    test = segment(100, np.random.default_rng(4))
    for heard in (None, Heard(test.power)):
        (prior, mean), (prior_again, mean_again) = (m.given_eeg(heard, test.times) for m in (model, again))
        assert_same(prior_again, prior)
        assert_same(mean_again, mean)


def test_files_are_what_they_say_and_nothing_is_unpickled(stored, monkeypatch):
    assert sorted(path.name for path in stored.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((stored / "model.json").read_text())["format"] == "neuroframes-model-2"
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
    replace(model, tr=3.0).save(stored, overwrite=True)
    assert GaussianModel.load(stored).tr == 3.0


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
        (damage_missing, "no model can be read there.*make one with: neuroframes train"),
        (damage_arrays, "no model can be read there"),
        (damage_header, "no model can be read there"),
        (damage_json, "no model can be read there"),
        (damage_encoding, "no model can be read there"),
        (damage_type, "a model of format None"),
        (damage_format, "a model of format neuroframes-model-0, but this version reads neuroframes-model-2"),
        (damage_key, "damaged.*split.*train it again"),
        (damage_tensor, "damaged.*rest.power.*train it again"),
    ],
)
def test_what_is_no_model_is_refused(stored, damage, message):
    damage(stored)
    with pytest.raises(InputError, match=message):
        GaussianModel.load(stored)


def temporal_r(model, test, seen, with_eeg=True):
    """Mean correlation over vertices, on frames that weren't given."""
    prior, mean = model.given_eeg(Heard(test.power) if with_eeg else None, test.times)
    frames = test.frames.copy()
    fill_missing(prior, frames, seen, test.times, mean)
    estimate, truth = frames[~seen], test.frames[~seen]
    estimate, truth = estimate - estimate.mean(axis=0), truth - truth.mean(axis=0)
    norms = np.linalg.norm(estimate, axis=0) * np.linalg.norm(truth, axis=0)
    return np.mean(np.sum(estimate * truth, axis=0) / np.where(norms > 0, norms, 1))


def test_informative_eeg_predicts_frames_that_it_never_saw(model):
    test = segment(200, np.random.default_rng(5))
    nothing = np.zeros(200, bool)
    assert temporal_r(model, test, nothing) > 0.5
    assert temporal_r(model, test, nothing, with_eeg=False) == 0
    assert np.all(model.with_eeg.variance <= model.prior.latents.variance)
    assert np.mean(model.with_eeg.variance / model.prior.latents.variance) < 0.6
    gaps = np.arange(200) % 20 >= 8
    assert temporal_r(model, test, gaps) > temporal_r(model, test, gaps, with_eeg=False)


def test_uninformative_eeg_predicts_nothing_and_costs_nothing():
    model = train(informative=False)
    nothing, generator = np.zeros(200, bool), np.random.default_rng(6)
    tests = [segment(200, generator, informative=False) for _ in range(6)]
    assert abs(np.mean([temporal_r(model, test, nothing) for test in tests])) < 0.1
    assert np.all(model.with_eeg.variance > 0.9 * model.prior.latents.variance)
    gaps = np.arange(200) % 20 >= 8
    with_eeg, without = ([temporal_r(model, test, gaps, eeg) for test in tests] for eeg in (True, False))
    assert np.mean(with_eeg) > np.mean(without) - 0.02


def test_shuffled_eeg_predicts_nothing(model):
    generator = np.random.default_rng(7)
    nothing, r = np.zeros(200, bool), []
    for _ in range(6):
        test, other = segment(200, generator), segment(200, generator)
        r.append(temporal_r(model, replace(test, power=other.power), nothing))
    assert abs(np.mean(r)) < 0.1


def test_without_eeg_the_prior_is_that_without_eeg(model):
    prior, mean = model.given_eeg(None, np.arange(3.0))
    assert prior is model.prior and mean is None


def test_the_mean_is_the_ridge_s_and_the_covariance_what_it_leaves_over(model):
    test = segment(80, np.random.default_rng(9))
    prior, mean = model.given_eeg(Heard(test.power), test.times)
    np.testing.assert_array_equal(mean, model.eeg(test.power, test.times))
    assert prior.latents is model.with_eeg and prior.autoencoder is model.prior.autoencoder


class Learned:
    """A correction that adds the measured latents and takes half of the ridge's mean off."""

    def query(self, times, ridge, seen, measured):
        return ridge(times), np.where(measured[:, None], seen, 0)

    def shift(self, query, tokens):
        mean, seen = query
        return torch.from_numpy(tokens * (seen - mean / 2)), None


def test_a_learned_correction_moves_the_mean(model):
    test, generator = segment(80, np.random.default_rng(10)), np.random.default_rng(11)
    seen, measured = generator.standard_normal((80, D)), generator.random(80) < 0.5
    seen[~measured] = np.nan
    learned = replace(model, correction=Learned())
    plain, ridge = model.given_eeg(Heard(test.power), test.times)
    prior, mean = learned.given_eeg(Heard(test.power, tokens=2.0), test.times, seen, measured)
    np.testing.assert_allclose(mean, 2 * np.where(measured[:, None], seen, 0), atol=1e-12)
    assert ridge.std() > 0.1
    assert_same(prior, plain)


def test_what_it_was_found_from_is_kept():
    segments = [segment(n, np.random.default_rng(n)) for n in (220, 180)]
    found = fit_backbone(segments, [s.power for s in segments], len(BANDS), TR, D, np.random.default_rng(2))
    for part, latents, left_out in zip(segments, found.latents, found.left_out, strict=True):
        encoded = found.prior.autoencoder.encode(lambda block, x=part.frames: x[:, block])
        np.testing.assert_allclose(latents, encoded, atol=1e-4)
        seen = part.measured
        residual = np.square(latents - left_out)[seen].mean() / np.square(latents[seen]).mean()
        fitted = np.square(latents - found.eeg(part.power, part.times))[seen].mean()
        assert residual < 0.6 and fitted < np.square(latents - left_out)[seen].mean()


def test_what_is_heard_of_all_channels(model):
    eeg = noise()
    heard = model.hear(Signal(eeg, 200.0, CHANNELS))
    expected = eeg_features(eeg, 200.0, BANDS, whitening(model.channel_covariance.total))
    np.testing.assert_array_equal(heard.power.values, expected.values)
    assert heard.tokens is None
    # In another order they are the same channels.
    turned = model.hear(Signal(eeg[::-1], 200.0, CHANNELS[::-1]))
    np.testing.assert_allclose(turned.power.values, expected.values, atol=1e-3)


def test_features_of_all_channels_from_some(model):
    eeg, names = noise(), ("Oz", "Fp1", "Cz")
    some = eeg[[CHANNELS.index(name) for name in names]]
    whole, filled = (
        model.hear(Signal(x, 200.0, channels)).power.values
        for x, channels in ((eeg, CHANNELS), (some - some.mean(axis=0), names))
    )
    assert whole.shape[1] == 2 * len(CHANNELS) * len(BANDS)  # channels, and whitened channels
    np.testing.assert_allclose(filled, whole, atol=1e-3)  # two sources, three channels


def test_networks_are_left_out_at_another_rate_than_theirs(model, caplog):
    class Networks:
        """Stands for a correction of EEG at 200 Hz whose gate is open."""

        rate, gate = 200.0, np.ones(1)

        def hear(self, eeg):
            return ["tokens"]

    learned = replace(model, correction=Networks())
    assert learned.hear(Signal(noise(), 200.0, CHANNELS)).tokens == ["tokens"] and not caplog.records
    at_250 = learned.hear(Signal(noise(), 250.0, CHANNELS))
    assert at_250.tokens is None and "the backbone alone" in caplog.text
