"""The paper's recipe: its sizes, its sampler against closed forms, and what a model makes of a run."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from neuroframes.checksums import write_checksums
from neuroframes.errors import InputError
from neuroframes.frames.measurement import FrameMask
from neuroframes.models.model import Origin
from neuroframes.models.paper import PaperModel, draw, signal_shares
from neuroframes.models.paper_network import PaperNetwork, RawEEGEncoder, code
from neuroframes.models.settings import PAPER_DRAWS, PaperSettings
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal

PAPER = PaperSettings()
LINEAR = replace(PAPER, clip=np.inf)
SMALL = replace(PAPER, frames=6, latents=5, width=32, layers=2, heads=2)
RATE, TR, C, V = 32.0, 1.0, 3, 200
CHANNELS = ("Fz", "Cz", "Pz")


def recording(n_frames, seed):
    """A segment of random frames and as random an EEG."""
    generator = np.random.default_rng(seed)
    times = 5.0 + np.arange(n_frames) * TR
    frames = np.asfortranarray(generator.standard_normal((n_frames, V)), np.float32)
    eeg = 1e-5 * generator.standard_normal((C, round((times[-1] + 1) * RATE)))
    signal = Signal(eeg.astype(np.float32), RATE, CHANNELS)
    return Segment(frames, times, times - 5, np.ones(n_frames, bool), None, "run", signal)


@pytest.fixture(scope="module")
def recordings():
    return [recording(40, 1), recording(33, 2)]


@pytest.fixture(scope="module")
def model(cifti_space):
    """Of random weights, also where they start at zero, so that everything reaches the frames."""
    generator = torch.Generator().manual_seed(0)
    network = PaperNetwork(SMALL, V, 5, C, RATE * TR)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1, generator=generator)
    patterns = torch.linalg.qr(torch.randn(V, 5, generator=generator)).Q
    network.set_autoencoder(patterns / 4, 4 * patterns.T)
    network.eeg.spread.fill_(1e-5)
    split, eeg_settings = Split((Part("run", 0, 40),), (), 40.0), {"rate": RATE, "l_freq": 0.5}
    origin = Origin(cifti_space, TR, np.ones(V, np.float32), split, CHANNELS, eeg_settings)
    # An untrained network's estimates would all be clipped.
    return PaperModel(replace(SMALL, clip=np.inf), network.eval(), origin, RATE)


def test_sizes_of_the_paper():
    with torch.device("meta"):
        network = PaperNetwork(PAPER, 91_282, 1024, 64, 800.0)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    w, layers = 1024, 6
    attention, mlp, modulation = 4 * (w * w + w), 8 * w * w + 5 * w, 6 * (w * w + w)
    ends = 2 * (w * w + w) + 2 * w + (256 + 1) * w + (w + 1) * w
    assert count["transformer"] == layers * (2 * attention + mlp + modulation + 2 * w) + ends == 141_955_072
    assert network.encoder.shape == (91_282, 1024) and network.decoder.shape == (1024, 91_282)


def test_settings_are_the_papers_and_are_checked():
    assert (PAPER.frames, PAPER.latents, PAPER.layers, PAPER.heads, PAPER.delay) == (10, 1024, 6, 8, 4.0)
    assert (PAPER.learning_rate, PAPER.batch, PAPER.epochs, PAPER.sampling_steps) == (1e-4, 32, 200, 50)
    for wrong in (
        {"width": 100},
        {"layers": 0},
        {"sampling_steps": 2000},
        {"last_beta": 1.0},
        {"delay": -1.0},
        {"clip": 0.0},
    ):
        with pytest.raises(InputError, match="expected|there are"):
            PaperSettings(**wrong)


def test_schedule_endpoints():
    shares = signal_shares(PAPER)
    assert len(shares) == 1000 and torch.all(shares.diff() < 0)
    assert shares[0] == 1 - 1e-4
    betas = np.linspace(1e-4, 2e-2, 1000)
    assert float(shares[-1]) == pytest.approx(np.exp(np.log1p(-betas).sum()), rel=1e-9)
    assert float(shares[-1]) == pytest.approx(4.04e-5, rel=1e-2)  # nothing is left of the signal


@pytest.fixture(scope="module")
def gaussian():
    """Mean and covariance of 4 correlated frames, and the exact epsilon of that distribution."""
    mean = torch.tensor([0.5, -1.0, 0.0, 2.0], dtype=torch.float64)
    lags = torch.arange(4, dtype=torch.float64)
    covariance = 0.8 ** (lags[:, None] - lags).abs()
    shares = signal_shares(PAPER)

    def epsilon(x, step):
        a = shares[step]
        marginal = a * covariance + (1 - a) * torch.eye(4, dtype=torch.float64)
        return (1 - a).sqrt() * torch.linalg.solve(marginal, x - a.sqrt() * mean[:, None])

    return mean, covariance, epsilon


def test_ddim_of_a_gaussian_is_linear_and_has_its_distribution(gaussian):
    mean, covariance, epsilon = gaussian
    zero, unit = torch.zeros(4, 1, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    centre = draw(epsilon, zero, LINEAR)
    transport = draw(epsilon, unit, LINEAR) - centre
    # Starting from noise alone loses sqrt(a_T) of the mean, and 50 steps some hundredths of the variance.
    torch.testing.assert_close(centre[:, 0], mean, rtol=0, atol=0.03)
    torch.testing.assert_close(transport @ transport.T, covariance, rtol=0, atol=0.08)
    # The closed form of each step, in the eigenvectors: they are those of the covariance.
    values, vectors = torch.linalg.eigh(covariance)
    shares = signal_shares(PAPER)[torch.linspace(999, 0, 50, dtype=torch.float64).round().long()]
    sigmas = torch.cat([((1 - shares) / shares).sqrt(), torch.zeros(1)])
    gain = torch.ones(4, dtype=torch.float64) / shares[0].sqrt()
    for now, then in pairwise(sigmas):
        shrinkage = values / (values + now**2)
        gain *= shrinkage + then / now * (1 - shrinkage)
    torch.testing.assert_close(transport, vectors @ gain.diag() @ vectors.T, rtol=1e-6, atol=1e-8)
    fine = draw(epsilon, unit, replace(LINEAR, sampling_steps=1000)) - draw(
        epsilon, zero, replace(LINEAR, sampling_steps=1000)
    )
    assert (fine @ fine.T - covariance).abs().max() < (transport @ transport.T - covariance).abs().max() / 5


def test_range_replacement_keeps_measured_latents(gaussian):
    _, _, epsilon = gaussian
    operator = FrameMask(np.array([False, True, False, True]))
    given = torch.tensor([[3.0], [-2.0]], dtype=torch.float64)
    noise = torch.randn(4, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def impose(z):
        return torch.from_numpy(operator.impose(z.numpy(), given.expand(2, 500).numpy()))

    completed = draw(epsilon, noise, LINEAR, impose)
    assert torch.equal(completed[operator.measured], given.expand(2, 500))
    # A neighbour is told of the measurements through the network, though less than it should be.
    (free, mean, covariance), known = (draw(epsilon, noise, LINEAR), *gaussian[:2]), operator.measured
    gain = covariance[0, known] @ covariance[known][:, known].inverse()
    moved = (completed - free)[0].mean() / (gain @ (given[:, 0] - mean[known]))
    assert 0.2 < moved < 0.95


def test_estimates_are_clipped_and_measurements_are_not():
    wild = draw(lambda x, step: torch.zeros_like(x), torch.ones(2, 1), PAPER)
    assert torch.equal(wild, torch.full((2, 1), 4.0))
    given = torch.tensor([[7.0], [0.0]])
    imposed = draw(
        lambda x, step: torch.zeros_like(x), torch.ones(2, 1), PAPER, lambda z: torch.stack([given[0], z[1]])
    )
    assert torch.equal(imposed, torch.tensor([[7.0], [4.0]]))


@pytest.mark.parametrize(("n_samples", "n_tokens"), [(1, 1), (64, 1), (65, 2), (1600, 25)])
def test_eeg_tokens_keep_time(n_samples, n_tokens):
    encoder = RawEEGEncoder(C, 32, 160.0)
    eeg = torch.randn(2, C, n_samples)
    tokens = encoder(eeg)
    assert tokens.shape == (2, n_tokens, 32)
    eeg[..., -1] += 1
    changed = (encoder(eeg) != tokens).any(dim=-1)[0]
    assert changed[-1] and not changed[:-2].any()


def test_the_code_of_a_position_is_a_rotation():
    """A shift acts on codes as one matrix, wherever they stand: attention can learn a delay."""
    at = torch.linspace(0, 20, 41, dtype=torch.float64)
    assert torch.allclose(code(at, 16).square().sum(dim=-1), torch.full((41,), 8.0, dtype=torch.float64))
    gram = code(at, 16) @ code(at, 16).T
    for lag in (1, 10, 30):
        assert torch.allclose(gram.diagonal(lag), gram[0, lag].expand(41 - lag))


def fill(model, segment, measured, seed=0, draws=1, **options):
    return model.fill(segment.given(measured), draws=draws, generator=np.random.default_rng(seed), **options)


def predict(*arguments, **options):
    """Every frame (K, V) of a single draw."""
    _, segment, measured = arguments
    return segment.given(measured).completed(fill(*arguments, **options).mean)


@pytest.mark.parametrize("n_frames", [1, 4, 6, 12, 15, 40])
def test_runs_of_any_length_are_filled_and_missing_frames_are_not_read(model, n_frames):
    segment, measured = recording(n_frames, 5), np.arange(n_frames) % 3 == 1
    blank = replace(segment, frames=np.where(measured[:, None], segment.frames, np.nan))
    estimate = fill(model, blank, measured).mean
    assert estimate.shape == ((~measured).sum(), V) and estimate.dtype == np.float32
    assert np.isfinite(estimate).all()
    np.testing.assert_array_equal(estimate, fill(model, segment, measured).mean)
    assert not np.array_equal(estimate, fill(model, segment, measured, seed=1).mean)


def test_windows_tile_the_run_and_know_nothing_of_each_other(model, recordings):
    segment = recordings[1]  # 33 frames are 5 windows and a rest of 3
    nothing = np.zeros(33, bool)
    free = predict(model, segment, nothing)
    np.testing.assert_allclose(predict(model, segment, nothing, batch=1), free, rtol=1e-3, atol=1e-3)
    one = nothing.copy()
    one[7] = True
    changed = (np.abs(predict(model, segment, one) - free) > 1e-2).any(axis=1)
    assert changed[6:12].all() and not changed[:6].any() and not changed[12:].any()
    # The last three frames alone are of the last window, which starts at 27.
    louder = segment.eeg.data.copy()
    louder[:, round((segment.times[30] - 0.5 - 4 + 1) * RATE) :] *= 3
    other = replace(segment, eeg=Signal(louder, RATE, CHANNELS))
    changed = (np.abs(predict(model, other, nothing) - free) > 1e-2).any(axis=1)
    assert changed[30:].all() and not changed[:30].any()


def test_before_its_start_the_eeg_is_mirrored(model, recordings):
    segment, nothing = recordings[1], np.zeros(33, bool)
    early = replace(segment, times=segment.times - 5)  # the first window's EEG begins at -4.5 s
    mirrored = np.pad(segment.eeg.data, ((0, 0), (round(10 * RATE), 0)), mode="reflect")
    later = replace(segment, times=early.times + 10, eeg=Signal(mirrored, RATE, CHANNELS))
    np.testing.assert_array_equal(predict(model, early, nothing), predict(model, later, nothing))


def test_mean_and_deviation_are_those_of_the_draws(model, recordings):
    segment, measured = recordings[0], np.arange(40) % 4 == 0
    estimate = fill(model, segment, measured, draws=5)
    drawn = list(estimate.draws)
    np.testing.assert_allclose(np.mean(drawn, axis=0), estimate.mean, atol=1e-4)
    np.testing.assert_allclose(np.std(drawn, axis=0, ddof=1), estimate.std, rtol=1e-3, atol=1e-4)
    assert len(drawn) == 5 and (estimate.std > 0).all()
    # Each of them is one of its own noise, which is drawn in order.
    generator, given = np.random.default_rng(0), segment.given(measured)
    for each in drawn[:2]:
        alone = model.fill(given, draws=1, generator=generator)
        np.testing.assert_allclose(alone.mean, each, rtol=1e-3, atol=1e-3)
        assert not alone.std.any()


def test_it_takes_the_mean_of_sixteen_draws_unless_asked(model, recordings):
    given = recordings[0].given(np.arange(40) % 4 == 0)
    alone, drawn = (model.fill(given, draws=draws) for draws in (0, PAPER_DRAWS))
    np.testing.assert_array_equal(alone.mean, drawn.mean)
    np.testing.assert_array_equal(alone.std, drawn.std)


def test_vertices_that_are_left_out_count_as_zero(model, recordings):
    segment, some = recordings[0], np.flatnonzero(np.arange(V) % 5)
    measured = np.arange(40) % 3 > 0
    silent = np.where(np.isin(np.arange(V), some), segment.frames, 0).astype(np.float32, order="F")
    whole = fill(model, replace(segment, frames=silent), measured, draws=2)
    part = fill(model, replace(segment, frames=silent[:, some], vertices=some), measured, draws=2)
    np.testing.assert_allclose(part.mean, whole.mean[:, some], atol=1e-4)
    np.testing.assert_allclose(part.std, whole.std[:, some], atol=1e-4)


def test_recordings_unlike_the_trainings_are_refused(model, recordings):
    segment, eeg = recordings[0], recordings[0].eeg
    for change, message in (
        ({"eeg": replace(eeg, rate=64.0)}, "3 channels at 64 Hz; the model was trained on 3 at 32 Hz"),
        ({"eeg": replace(eeg, data=eeg.data[:2])}, "2 channels at 32 Hz"),
        ({"times": segment.times / 2}, "a frame every 0.5 s is asked for; .* has one every 1 s"),
    ):
        with pytest.raises(InputError, match=message):
            model.fill(replace(segment, **change))


def test_it_says_what_it_was_given(model, recordings):
    given, nothing = (model.describe(recordings[0].given(np.full(40, known))) for known in (True, False))
    assert given == f"{nothing}, measured frames put into every step"
    assert nothing.startswith("recipe of Qu, Gao, Wang and Fu (2026") and "raw EEG" in nothing


def test_a_saved_model_predicts_the_same(model, recordings, tmp_path):
    model.save(tmp_path / "model")
    before = torch.get_rng_state()
    loaded = PaperModel.load(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "checksums.txt",
        "model.json",
        "model.safetensors",
    ]
    assert (loaded.settings, loaded.rate) == (model.settings, model.rate)
    for name in ("tr", "channels", "eeg_settings", "split"):
        assert getattr(loaded.origin, name) == getattr(model.origin, name), name
    loaded.origin.space.check_same(model.origin.space, "the model")
    np.testing.assert_array_equal(loaded.origin.scale, model.origin.scale)
    measured = np.arange(40) % 4 == 0
    np.testing.assert_array_equal(
        predict(loaded, recordings[0], measured), predict(model, recordings[0], measured)
    )
    model.save(tmp_path / "model", overwrite=True)


def test_what_is_no_model_is_refused(model, tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(InputError, match="no such folder"):
        PaperModel.load(folder)
    model.save(folder)
    about = json.loads((folder / "model.json").read_text())
    for change, message in (
        (
            {"format": "neuroframes-model-gaussian-4"},
            "format neuroframes-model-gaussian-4, but this version reads neuroframes-model-paper-2",
        ),
        ({"channels": ["Fz"]}, "damaged.*train it again"),
        ({"settings": {**about["settings"], "size": 3}}, "damaged.*train it again"),
    ):
        (folder / "model.json").write_text(json.dumps({**about, **change}))
        write_checksums(folder)
        with pytest.raises(InputError, match=message):
            PaperModel.load(folder)
