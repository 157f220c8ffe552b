"""EEG tokens: spatial filters on the sphere, powers against NumPy, and what a token must not depend on."""

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre

from neuroframes.errors import InputError
from neuroframes.models.eeg_encoder import (
    AMPLITUDE,
    CLIP,
    NOISE,
    EEGEncoder,
    RunningStandardisation,
    real_harmonics,
    sphere_centre,
)
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.band_power import log_band_power as reference_power

RATE = 200.0
HOP, LENGTH = 160, 400
CENTRE = np.array([0.003, 0.012, 0.04])  # metres


def cap(n_channels, above=-0.3):
    """Electrodes (C, 3) spread evenly over the part of a head of 9 cm that lies above a plane."""
    z = np.linspace(1, above, n_channels, endpoint=False)
    around = np.pi * (1 + 5**0.5) * np.arange(n_channels)
    across = np.sqrt(1 - z**2)
    return CENTRE + 0.09 * np.stack([across * np.cos(around), across * np.sin(around), z], axis=1)


def field(positions, seconds, seed=0, batch=2):
    """EEG (B, C, N) of eight smooth sources, each with a waxing and waning rhythm of its own."""
    generator = np.random.default_rng(seed)
    direction = torch.as_tensor((positions - CENTRE) / 0.09)
    maps = real_harmonics(direction, 3).numpy()[:, 1:9]
    t = np.arange(round(seconds * RATE)) / RATE
    size = (batch, 8, 1)
    phase, slow = generator.uniform(0, 6, size), generator.uniform(0.03, 0.2, size)
    sources = np.exp(np.sin(6.28 * slow * t + phase)) * np.sin(6.28 * generator.uniform(2, 40, size) * t)
    sources += 0.3 * generator.standard_normal(sources.shape)
    return torch.as_tensor(1e-5 * maps @ sources, dtype=torch.float32)


def small_encoder(seed=0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return EEGEncoder(16, **{"kernels": (3, 8), "filters": 4, "n_virtual": 6, **settings})


POSITIONS = torch.as_tensor(cap(64))
START = torch.tensor([0.0, 100.0], dtype=torch.float64)


def similarity(first, second):
    """Median over features of the correlation of tokens (B, T, w) along time."""
    first, second = (values.flatten(0, 1).T for values in (first, second))
    return np.median(np.corrcoef(first, second)[: len(first), len(first) :].diagonal())


@pytest.fixture(scope="module")
def eeg():
    return field(cap(64), 30)


@torch.no_grad()
def ready(encoder, eeg):
    """In evaluation, its running statistics updated by the EEG once."""
    encoder(eeg, RATE, POSITIONS, START)
    return encoder.eval()


@pytest.fixture
def encoder(eeg):
    return ready(small_encoder(), eeg)


def test_harmonics_satisfy_the_addition_theorem():
    generator = torch.Generator().manual_seed(0)
    at = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator, dtype=torch.float64), dim=1)
    at[0] = torch.tensor([0.0, 0.0, 1.0])
    basis = real_harmonics(at, 6)
    for n in range(7):
        columns = basis[:, n**2 : (n + 1) ** 2]
        expected = (2 * n + 1) * eval_legendre(n, (at @ at.T).clamp(-1, 1).numpy())
        assert np.allclose(columns @ columns.T, expected, atol=1e-10)


def test_harmonics_are_orthonormal_on_the_sphere():
    z, weight = np.polynomial.legendre.leggauss(10)
    around = 2 * np.pi * np.arange(20) / 20
    z, around = (grid.ravel() for grid in np.meshgrid(z, around, indexing="ij"))
    across = np.sqrt(1 - z**2)
    at = torch.as_tensor(np.stack([across * np.cos(around), across * np.sin(around), z], axis=1))
    basis = real_harmonics(at, 6).numpy()
    gram = basis.T @ (np.repeat(weight, 20)[:, None] / 40 * basis)
    assert np.allclose(gram, np.eye(49), atol=1e-12)


def test_the_centre_is_that_of_the_sphere_through_the_kept_electrodes():
    positions = cap(32)
    positions[5] += 0.05
    keep = torch.ones(2, 32, dtype=torch.float64)
    keep[:, 5] = 0
    keep[1, ::3] = 0
    assert np.allclose(sphere_centre(torch.as_tensor(positions), keep), CENTRE, atol=1e-3)


def test_the_centre_of_a_ring_stays_in_its_plane():
    around = torch.arange(8, dtype=torch.float64)
    ring = torch.stack([around.cos(), around.sin(), torch.full_like(around, 0.5)], dim=1)
    got = sphere_centre(ring, torch.ones(1, 8, dtype=torch.float64))
    assert torch.allclose(got, torch.tensor([[0, 0, 0.5]], dtype=torch.float64), atol=1e-3)


@pytest.mark.parametrize("rate", [200.0, 250.0, 221.5])
def test_power_of_virtual_channels_that_are_channels_is_their_band_power(rate, monkeypatch):
    generator = np.random.default_rng(1)
    positions = cap(6, above=-0.9)
    encoder = small_encoder()
    encoder.initialise_filters(positions, np.eye(6))
    filters = encoder.spatial_filters(torch.as_tensor(positions))
    assert np.allclose(filters[0].detach(), np.eye(6), atol=1e-5)
    eeg = (1e-5 * generator.standard_normal((1, 6, round(10 * rate)))).astype(np.float32)
    length, hop = round(2 * rate), round(0.8 * rate)
    virtual = (filters / AMPLITUDE) @ torch.as_tensor(eeg)
    signals = torch.cat([virtual, virtual.new_zeros(1, len(encoder.mixing), eeg.shape[-1])], dim=1)
    got = encoder.log_powers(signals, rate, length, hop)[0][0].detach() + 2 * np.log(AMPLITUDE)
    # Window i of the encoder starts at sample i * hop; the reference's is centred there.
    early = -(-(length // 2) // hop) * hop
    padded = np.pad(eeg[0], [(0, 0), (early - length // 2, 0)])
    monkeypatch.setattr("neuroframes.recording.band_power.STEP", hop / rate)
    expected = reference_power(padded, rate, BANDS).values[early // hop :][: len(got)]
    assert got.shape == ((eeg.shape[-1] - length) // hop + 1, 30)
    assert np.allclose(got, expected, atol=1e-4)


def test_power_of_temporal_filters_is_that_of_numpy_s_convolution(encoder):
    signals = torch.randn(1, 6 + 8, 900, generator=torch.Generator().manual_seed(0))
    got = encoder.log_powers(signals, RATE, LENGTH, HOP)[1][0].detach()
    assert got.shape == (4, 8)
    kernels = [kernel for size in encoder.temporal for kernel in size[:, 0].detach().numpy()]
    for index, kernel in enumerate(kernels):
        for token in range(4):
            window = signals[0, 6 + index, token * HOP : token * HOP + LENGTH].numpy()
            filtered = np.convolve(window, kernel[::-1], "valid")
            assert got[token, index] == pytest.approx(np.log(np.mean(filtered**2)), abs=1e-4)


def test_times_are_the_centres_of_the_windows(encoder, eeg):
    tokens = encoder(eeg[..., :5999], RATE, POSITIONS, START)
    assert tokens.values.shape == (2, 35, 16)
    assert np.allclose(tokens.times, START[:, None] + 1.0 + 0.8 * torch.arange(35))


@torch.no_grad()
def test_eeg_that_starts_a_step_later_gives_the_tokens_from_the_second_on(encoder, eeg):
    whole = encoder(eeg, RATE, POSITIONS, START)
    later = encoder(eeg[..., HOP:], RATE, POSITIONS, START + 0.8)
    assert torch.allclose(later.times, whole.times[:, 1:])
    assert torch.allclose(later.values, whole.values[:, 1:], atol=1e-4)


@torch.no_grad()
def test_a_token_sees_its_window_and_no_more(encoder, eeg):
    other = eeg.clone()
    other[..., : 5 * HOP] = 0
    other[..., 5 * HOP + LENGTH :] = 0
    before, after = (encoder(x, RATE, POSITIONS, START).values for x in (eeg, other))
    assert torch.allclose(before[:, 5], after[:, 5], atol=1e-5)
    assert not torch.allclose(before[:, 4], after[:, 4], atol=1e-2)


@torch.no_grad()
def test_the_order_of_channels_does_not_matter(encoder, eeg):
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    keep = torch.rand(2, 64, generator=torch.Generator().manual_seed(1)) > 0.2
    expected = encoder(eeg, RATE, POSITIONS, START, keep).values
    got = encoder(eeg[:, order], RATE, POSITIONS[order], START, keep[:, order]).values
    assert torch.allclose(got, expected, atol=1e-4)


@torch.no_grad()
def test_dropped_channels_are_as_good_as_absent(encoder, eeg):
    absent = torch.tensor([3, 17, 40])
    keep = torch.ones(2, 64, dtype=torch.bool)
    keep[:, absent] = False
    rest = keep[0].nonzero()[:, 0]
    expected = encoder(eeg[:, rest], RATE, POSITIONS[rest], START).values
    assert torch.allclose(encoder(eeg, RATE, POSITIONS, START, keep).values, expected, atol=1e-4)
    nowhere = POSITIONS.clone()
    nowhere[absent] = torch.nan
    assert torch.allclose(encoder(eeg, RATE, nowhere, START).values, expected, atol=1e-4)
    keep[1] = True
    apart = encoder(eeg, RATE, POSITIONS, START, keep).values
    assert torch.allclose(apart[0], expected[0], atol=1e-4)
    assert torch.allclose(apart[1], encoder(eeg, RATE, POSITIONS, START).values[1], atol=1e-4)


@torch.no_grad()
def test_some_channels_or_another_cap_give_nearly_the_same_tokens(eeg):
    random = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    other = torch.as_tensor(cap(48))
    found = []
    for seed in range(4):
        encoder = ready(small_encoder(seed), eeg)
        whole = encoder(eeg, RATE, POSITIONS, START).values
        some = [
            encoder(eeg[:, which], RATE, POSITIONS[which], START).values
            for which in (random[:56], random[:32], torch.arange(0, 64, 2))
        ]
        some.append(encoder(field(cap(48), 30), RATE, other, START).values)
        found.append([similarity(values, whole) for values in some])
    assert (np.median(found, axis=0) > [0.98, 0.85, 0.85, 0.95]).all()


@pytest.mark.parametrize("rate", [200.0, 250.0, 256.0, 221.5, 1000.0])
def test_any_rate(rate):
    eeg = 1e-5 * torch.randn(2, 64, round(7 * rate), generator=torch.Generator().manual_seed(0))
    tokens = small_encoder()(eeg, rate, POSITIONS, START)
    length, hop = round(2 * rate), round(0.8 * rate)
    n_tokens = (eeg.shape[-1] - length) // hop + 1
    assert tokens.values.isfinite().all()
    expected = START[:, None] + (length // 2 + hop * torch.arange(n_tokens)) / rate
    assert np.allclose(tokens.times, expected)


def test_what_cannot_be_encoded_is_refused(eeg):
    with pytest.raises(InputError, match="125 Hz carries nothing above 62.5 Hz.*gamma"):
        small_encoder()(eeg, 125.0, POSITIONS, START)
    with pytest.raises(InputError, match="lasts 1.9 s; a token needs 2 s"):
        small_encoder()(eeg[..., :380], RATE, POSITIONS, START)
    few = small_encoder(bands={"alpha": BANDS["alpha"]})
    assert few(eeg, 125.0, POSITIONS, START).values.isfinite().all()


def test_gradients_reach_every_parameter(eeg):
    encoder = small_encoder()
    keep = torch.rand(2, 64, generator=torch.Generator().manual_seed(0)) > 0.2
    encoder(eeg, RATE, POSITIONS, START, keep).values.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_flat_and_absent_eeg_stay_finite():
    flat = torch.zeros(2, 64, 1000)
    encoder = small_encoder()
    tokens = encoder(flat, RATE, POSITIONS, START, torch.zeros(2, 64, dtype=torch.bool))
    tokens.values.sum().backward()
    assert tokens.values.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@torch.no_grad()
def test_the_same_seed_gives_the_same_tokens(eeg):
    first, second, third = (small_encoder(seed)(eeg, RATE, POSITIONS, START).values for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.allclose(first, third)


def test_filters_that_are_smooth_are_reproduced():
    generator = np.random.default_rng(0)
    basis = real_harmonics(torch.as_tensor((cap(64) - CENTRE) / 0.09), 4).numpy()
    filters = generator.standard_normal((6, 25)) @ basis.T
    encoder = small_encoder()
    encoder.initialise_filters(cap(64), filters)
    got = encoder.spatial_filters(POSITIONS)[0].detach().numpy()
    assert np.linalg.norm(got - filters) < 0.01 * np.linalg.norm(filters)


def test_the_field_is_that_of_ridge_regression():
    encoder = small_encoder()
    positions = torch.as_tensor(cap(30))
    arm = positions - sphere_centre(positions, torch.ones(1, 30, dtype=torch.float64))
    basis = real_harmonics(arm / arm.norm(dim=1, keepdim=True), 6).numpy()
    basis = basis / np.repeat((1.0 + np.arange(7)) ** 2, 2 * np.arange(7) + 1)
    expected = np.linalg.solve(basis.T @ basis + NOISE * np.eye(49), basis.T)
    assert np.allclose(encoder.field_weights(positions)[0].T, expected, atol=1e-10)


def test_standardisation_learns_mean_and_spread_and_clips():
    generator = torch.Generator().manual_seed(0)
    batches = 3 + 2 * torch.randn(50, 4, 100, 2, generator=generator)
    standardise = RunningStandardisation(2)
    for batch in batches:
        got = standardise(batch)
    assert torch.allclose(standardise.centre, batches.mean(dim=(0, 1, 2)), atol=1e-4)
    assert torch.allclose(standardise.variance, batches.var(dim=(0, 1, 2)), rtol=0.02)
    assert torch.equal(standardise.eval()(batch), got)
    assert standardise(torch.full((1, 2), 1e6)).tolist() == [[CLIP, CLIP]]


def test_mixed_precision_does_not_round_powers():
    torch.manual_seed(0)
    encoder, positions, powers = EEGEncoder().eval(), cap(16), []
    for part in (encoder.band_scale, encoder.filter_scale):
        part.register_forward_pre_hook(lambda _, inputs: powers.append(inputs[0]))
    eeg, start = field(positions, 8), torch.zeros(2, dtype=torch.float64)
    for mixed in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            encoder(eeg, RATE, torch.as_tensor(positions), start)
    for exact, found in zip(powers[:2], powers[2:], strict=True):
        torch.testing.assert_close(found, exact)
