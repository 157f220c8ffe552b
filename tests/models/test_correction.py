"""The learned correction: nothing until it is trained, on its clock, and the same for runs of any length."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuroframes.diffusion.exact import GaussianDenoiser
from neuroframes.diffusion.windows import Windows
from neuroframes.frames.measurement import FrameMask, SamplingTimes
from neuroframes.frames.posterior import posterior
from neuroframes.frames.temporal import TemporalCovariance
from neuroframes.models import correction as module
from neuroframes.models.correction import LEVELS, Correction, grid_of
from neuroframes.models.settings import CorrectionSettings
from neuroframes.recording.signal import Signal

TR, RATE, D, C = 2.0, 100.0, 5, 6
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 13.0)}
GROUP = np.array([0, 0, 0, 1, 1])
SETTINGS = CorrectionSettings(
    frames=24, width=16, depth=2, heads=2, virtual_channels=8, filters=2, members=2, dropout=0.3
)


def network(*, trained=True, gate=1.0, settings=SETTINGS):
    """A correction with random weights; its heads are zero unless `trained`."""
    directions = np.random.default_rng(0).standard_normal((C, 3))
    positions = 0.09 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        correction = Correction(settings, BANDS, GROUP, positions, TR, RATE).eval()
        for member in correction.networks:
            # Log power of unit noise, as training would have found it.
            for scale in (member.encoder.band_scale, member.encoder.filter_scale):
                scale.centre.fill_(-4.0)
            if trained:
                nn.init.normal_(member.denoiser.head.weight, std=0.2)
    correction.gate.fill_(gate)
    return correction


def noise(seconds, seed=0):
    return 1e-5 * np.random.default_rng(seed).standard_normal((C, round(seconds * RATE))).astype(np.float32)


def signal(data):
    return Signal(data, RATE, tuple(f"E{i}" for i in range(C)))


def mean_at(times):
    return np.sin(np.add.outer(0.05 * times, np.arange(D)))


def prior():
    power = np.exp(-np.outer([60.0, 20.0], np.linspace(0, 0.25, 65)))
    counts = np.r_[1.0, np.full(63, 2.0), 1.0]
    return TemporalCovariance(
        0.99 * power / (power * counts).sum(axis=1, keepdims=True) * counts,
        np.full(2, 0.01),
        GROUP,
        np.ones(D),
        TR,
    )


@pytest.mark.parametrize("gate", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["none", "some", "times"])
def test_before_training_it_is_the_backbone(kind, gate):
    generator = np.random.default_rng(1)
    correction = network(trained=False, gate=gate)
    times = 40 + TR * np.arange(60.0)
    if kind == "times":
        times = np.sort(40 + 120 * generator.random(60))
    measured = generator.random(60) < (0.0 if kind == "none" else 0.4)
    operator = FrameMask(measured)
    if kind == "times":
        operator = SamplingTimes(times, np.linspace(times[0], times[-1], 25))
        measured = np.zeros(60, bool)
    y = operator.apply(generator.standard_normal((60, D)))
    known = np.zeros((60, D))
    known[measured] = y if measured.any() else 0
    query = correction.query(times, mean_at, known, measured)
    tokens = correction.tokens(signal(noise(180)))
    expected = posterior(prior(), times, operator, y, mean_at(times)).mean
    gaussian = GaussianDenoiser(prior(), times, operator)
    mean = torch.from_numpy(mean_at(times))
    shifted = mean + correction.shift(query, tokens)[0]
    got = gaussian(shifted, np.inf, shifted, torch.from_numpy(y))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)
    x = torch.randn(2, 60, D, generator=torch.Generator().manual_seed(0))
    assert not correction.shift(query, tokens, query.on_grid(x), 0.7).any()


@pytest.mark.parametrize("n", [1, 3, 24, 25, 300])
def test_the_grid_surrounds_the_frames(n):
    times = 31.7 + TR * np.arange(float(n))
    grid, position = grid_of(times, TR, 24)
    assert len(grid) == max(24, n)
    np.testing.assert_allclose(np.diff(grid), TR)
    np.testing.assert_array_equal(position, np.rint(position))
    np.testing.assert_allclose(grid[position.astype(int)], times)
    before, after = position[0], len(grid) - 1 - position[-1]
    assert abs(before - after) <= 1


def test_frames_near_the_grid_are_on_it_and_others_between():
    times = 10 + TR * (np.arange(40) + np.random.default_rng(0).uniform(-0.02, 0.02, 40))
    _, position = grid_of(times, TR, 24)
    np.testing.assert_array_equal(position, np.arange(40))
    denser = 10 + 0.7 * np.arange(90.0)
    grid, position = grid_of(denser, TR, 24)
    assert grid[0] <= denser[0] and grid[-1] >= denser[-1]
    np.testing.assert_allclose(grid[0] + TR * position, denser, atol=0.05 * TR)
    # The scanner's clock runs a thousandth faster than the model's: a long run stays on the grid.
    drifting = 10 + TR * (1 + 1e-3) * np.arange(2000.0)
    grid, position = grid_of(drifting, TR, 24)
    np.testing.assert_array_equal(position, np.arange(2000))
    np.testing.assert_allclose(grid, drifting)


def test_what_lies_between_is_interpolated():
    times = np.sort(50 + 100 * np.random.default_rng(0).random(33))
    query = network().query(times, mean_at)
    values = torch.from_numpy(np.outer(query.times, np.arange(1, D + 1)))
    got = query.at_frames(values).numpy()
    np.testing.assert_allclose(got, np.outer(times, np.arange(1, D + 1)), atol=0.05 * TR * D)
    np.testing.assert_allclose(got, np.outer(query.times[0] + TR * query.position, np.arange(1, D + 1)))


def test_values_go_to_the_grid_and_back():
    times = 50 + TR * np.arange(7.0)
    query = network().query(times, mean_at)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 7, D)))
    on_grid = query.on_grid(x)
    torch.testing.assert_close(query.at_frames(on_grid), x)
    others = np.setdiff1d(np.arange(24), query.position.astype(int))
    for draw in on_grid:
        np.testing.assert_allclose(draw[others].numpy(), mean_at(query.times[others]))


def test_frames_between_do_not_take_the_place_of_those_on_the_grid():
    times = np.arange(119) * TR / 2
    query = network().query(times, lambda at: np.zeros((len(at), D)))
    values = torch.arange(119.0)[None, :, None].expand(1, -1, D)
    torch.testing.assert_close(query.on_grid(values)[0, :, 0], torch.arange(0, 119.0, 2))


def test_measured_frames_are_shown_where_they_are_on_the_grid():
    times = 50 + TR * np.array([0, 1, 2.5, 3, 4, 5.0])
    known = np.random.default_rng(0).standard_normal((6, D))
    measured = np.array([True, False, True, True, False, True])
    query = network().query(times, mean_at, known, measured)
    shown = query.position[[0, 3, 5]].astype(int)
    np.testing.assert_array_equal(np.flatnonzero(query.measured), shown)
    np.testing.assert_array_equal(query.given[shown], known[[0, 3, 5]])
    assert not query.given[~query.measured].any()


def test_a_recording_in_pieces_is_one_recording(monkeypatch):
    correction, eeg = network(), signal(noise(100))
    tokens = []
    for piece in (1, 7, 64, 10_000):
        monkeypatch.setattr(module, "PIECE", piece)
        tokens.append(correction.tokens(eeg))
    for members in tokens:
        assert len(members) == 2
        for part, whole in zip(members, tokens[-1], strict=True):
            torch.testing.assert_close(part.values, whole.values, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(part.times, whole.times)
    n_tokens = int((100 - 2.0) / 0.8) + 1
    np.testing.assert_allclose(tokens[0][0].times[0], 1.0 + 0.8 * np.arange(n_tokens))


def delta_of(correction, data, times, offset=0.0):
    query = correction.query(times, lambda at: mean_at(at - offset))
    return correction.shift(query, correction.tokens(signal(data)))[0].numpy()


def test_an_event_in_the_eeg_counts_after_its_delay():
    correction, data = network(), noise(300)
    for member in correction.networks:
        for block in member.denoiser.blocks:
            nn.init.zeros_(block.frames.out.weight)  # frames don't tell each other
            block.token_bias.delay.data.fill_(6.0)
            block.token_bias.log_spread.data.fill_(0.0)
    times = 40 + 0.5 * TR * np.arange(200.0)

    def change(at):
        burst = data.copy()
        n = round(at * RATE)
        burst[:, n : n + round(RATE)] *= 20
        moved = delta_of(correction, burst, times) - delta_of(correction, data, times)
        return np.square(moved).sum(axis=1)

    for at in (100.0, 137.0):
        moved = change(at)
        centre = moved @ times / moved.sum()
        assert abs(centre - (at + 0.5 + 6.0)) < 1.0
        assert moved[np.abs(times - centre) > 8].max() < 1e-6 * moved.max()


def test_eeg_and_frames_that_move_together_change_nothing():
    correction, data = network(), noise(200)
    times = 40 + TR * np.arange(60.0)
    later = np.concatenate([noise(16, seed=1), data], axis=1)  # 20 tokens
    one, other = delta_of(correction, data, times), delta_of(correction, later, times + 16, offset=16)
    assert one.std() > 0.05
    np.testing.assert_allclose(one, other, atol=1e-4)
    moved = delta_of(correction, later, times)
    assert np.abs(moved - one).max() > 0.05


def test_a_run_of_any_length_is_told_the_same():
    correction, data = network(settings=replace(SETTINGS, frames=CorrectionSettings.frames)), noise(1300)
    times = 40 + TR * np.arange(600.0)
    tokens = correction.tokens(signal(data))
    whole = correction.shift(correction.query(times, mean_at), tokens)[0].numpy()
    power = np.square(whole).mean()
    # EEG that explains a fifth of the variance.
    truth = whole + np.random.default_rng(2).normal(scale=2 * np.sqrt(power), size=whole.shape)
    for n in (3, 10, 30, 300):
        parts = [times[start : start + n] for start in range(0, 600, n)]
        queries = [correction.query(part, mean_at) for part in parts]
        pieces = np.concatenate([correction.shift(query, tokens)[0] for query in queries])
        change = np.square(pieces - whole).mean()
        assert change < 0.03 * power, f"{n} frames: {change / power:.3f}"
        errors = [np.square(estimate - truth).mean() for estimate in (pieces, whole)]
        assert errors[0] == pytest.approx(errors[1], rel=0.01)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.2, 3.0, 5.0, 99.0, 1e3, np.inf])
def test_the_gate_is_linear_in_the_logarithm_of_the_level(sigma):
    correction = network()
    correction.gate.copy_(torch.rand(correction.gate.shape, generator=torch.Generator().manual_seed(0)))
    for known in (False, True):
        for member, table in zip(correction.gate_at(sigma, known), correction.gate.numpy(), strict=True):
            expected = [
                np.interp(np.log(min(sigma, 1e9)), np.log(LEVELS), table[:, int(known), g]) for g in GROUP
            ]
            np.testing.assert_allclose(member, expected, rtol=1e-5)


@pytest.mark.parametrize("sigma", [0.5, np.inf])
def test_each_member_is_shifted_by_its_own_gate(sigma):
    correction = network()
    query = correction.query(40 + TR * np.arange(60.0), mean_at)
    tokens = correction.tokens(signal(noise(180)))
    x = torch.randn(2, len(query.times), D, generator=torch.Generator().manual_seed(0))

    def shift(*gates):
        correction.gate.copy_(torch.tensor(gates)[:, None, None, None])
        return correction.shift(query, tokens, x, sigma)

    one, other = 2 * shift(1.0, 0.0), 2 * shift(0.0, 1.0)
    assert (one - other).std() > 0.01
    torch.testing.assert_close(shift(0.7, 0.2), (0.7 * one + 0.2 * other) / 2, atol=1e-6, rtol=1e-5)


def test_windows_without_measured_frames_have_the_gate_without():
    correction = network()
    times = 40 + TR * np.arange(200.0)
    tokens = correction.tokens(signal(noise(480)))
    known = np.random.default_rng(0).standard_normal((200, D))
    shifts = {}
    for name, gate, measured in (
        ("alone", (1.0, 0.0), np.zeros(200, bool)),
        ("both", (1.0, 0.0), np.arange(200) < 20),
        ("never", (0.0, 0.0), np.arange(200) < 20),
    ):
        correction.gate[:, :, 0], correction.gate[:, :, 1] = gate
        shifts[name] = correction.shift(correction.query(times, mean_at, known, measured), tokens)[0]
    assert not shifts["never"].any()
    assert not shifts["both"][:8].any()
    torch.testing.assert_close(shifts["both"][48:], shifts["alone"][48:])


def test_it_comes_back_from_its_files(tmp_path):
    correction = network()
    correction.gate.copy_(torch.rand(correction.gate.shape, generator=torch.Generator().manual_seed(0)))
    correction.save(tmp_path)
    state = torch.get_rng_state()
    again = Correction.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.settings == correction.settings and again.bands == BANDS and not again.training
    data, times = noise(120), 30 + TR * np.arange(40.0)
    np.testing.assert_array_equal(delta_of(again, data, times), delta_of(correction, data, times))
    x = torch.randn(2, 40, D, generator=torch.Generator().manual_seed(0))
    query = correction.query(times, mean_at)
    both = [c.shift(query, c.tokens(signal(data)), query.on_grid(x), 0.5) for c in (correction, again)]
    assert torch.equal(*both) and both[0].shape == (2, 40, D)


def shift_of(correction, data):
    """With measured frames and noised latents, which are on the CPU wherever the correction is."""
    generator, times = np.random.default_rng(0), 30 + TR * np.arange(40.0)
    known, measured = generator.standard_normal((40, D)), np.arange(40) % 3 == 0
    query = correction.query(times, mean_at, known, measured)
    x = query.on_grid(torch.from_numpy(generator.standard_normal((2, 40, D), np.float32)))
    return correction.shift(query, correction.tokens(signal(data)), x, 0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_says_what_a_cpu_says(tmp_path):
    correction, data = network(), noise(120)
    correction.save(tmp_path)
    on_gpu = shift_of(Correction.load(tmp_path).to("cuda"), data)
    assert on_gpu.device.type == "cuda"
    expected = shift_of(correction, data)
    torch.testing.assert_close(on_gpu.cpu(), expected, atol=1e-2 * float(expected.std()), rtol=1e-2)


def test_every_tensor_is_made_on_the_correction_s_device(monkeypatch):
    correction, data = network(), noise(120)
    expected, over = shift_of(correction, data), Windows.over

    def cut(*sizes):  # on the CPU, and taken to where it is needed
        with torch.device("cpu"):
            return over(*sizes)

    monkeypatch.setattr(Windows, "over", cut)
    # A tensor whose device isn't stated would hold no numbers, and can't be mixed with those that do.
    with torch.device("meta"):
        torch.testing.assert_close(shift_of(correction, data), expected)


def test_channels_without_position_and_frames_without_eeg():
    correction, data = network(), noise(120)
    correction.positions[2] = torch.nan
    times = 30 + TR * np.arange(40.0)
    louder = data.copy()
    louder[2] *= 100
    one, other = (delta_of(correction, x, times) for x in (data, louder))
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, other)
    far = delta_of(correction, data, 1e4 + times, offset=1e4)
    np.testing.assert_allclose(far, delta_of(correction, 0.5 * data, 1e4 + times, offset=1e4), atol=1e-6)
    correction.positions[:] = torch.nan
    assert np.isfinite(delta_of(correction, data, times)).all()
