"""Training of the learned correction: what it is given, what it is validated on, and what comes through."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.prior import FramePrior
from neuroframes.frames.temporal import TemporalCovariance
from neuroframes.models.correction import LEVELS, Correction
from neuroframes.models.denoiser import EARLIEST, LATEST
from neuroframes.models.model import Origin
from neuroframes.models.settings import CorrectionSettings
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.training import trainer as module
from neuroframes.training.backbone import Backbone
from neuroframes.training.correction import CorrectionTraining, fit_correction, gates
from neuroframes.training.data import (
    BLOCKS,
    EMPTY_MASKS,
    TrainingData,
    blocks_of,
    blocks_of_people,
    mean_r,
    random_masks,
)
from neuroframes.training.part import TrainingPart

TR, RATE, D, C, GAP = 2.0, 50.0, 3, 4, 40.0
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 13.0)}
GROUP = np.array([0, 0, 1])
SETTINGS = CorrectionSettings(
    frames=24, width=24, depth=1, heads=2, virtual_channels=4, filters=2, members=2, dropout=0.0,
    epochs=10, patience=5, learning_rate=5e-3, average=0.9, channel_dropout=0.0, band_dropout=0.0,
)  # fmt: skip
DELAY = 5.0


def nothing(times):
    return np.zeros((len(times), D))


def positions():
    directions = np.random.default_rng(0).standard_normal((C, 3))
    return 0.09 * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def segment(n_frames, seed, *, related=True, run="run-1", censored=0.0):
    """Latents that follow |a|, a the log power of alpha, which no ridge predicts."""
    generator = np.random.default_rng(seed)
    n = round((n_frames * TR + 60) * RATE)
    at = np.arange(n) / RATE
    knots = np.arange(0, at[-1] + 16, 8.0)
    slow = np.interp(at, knots, generator.standard_normal(len(knots)))
    alpha = np.sin(2 * np.pi * 10 * at) * np.exp(1.2 * slow)
    eeg = 1e-5 * np.outer(np.linspace(0.5, 1, C), alpha) + 2e-6 * generator.standard_normal((C, n))
    times = 30 + TR * np.arange(n_frames)
    if not related:
        slow = np.interp(at, knots, generator.standard_normal(len(knots)))
    follows = np.interp(times - DELAY, at, np.abs(slow))
    follows = (follows - follows.mean()) / follows.std()
    latents = np.outer(follows, [1.0, -1.0, 0.5]) + 0.5 * generator.standard_normal((n_frames, D))
    measured = generator.random(n_frames) >= censored
    names = tuple(f"E{i}" for i in range(C))
    signal = Signal(eeg.astype(np.float32), RATE, names)
    empty = np.zeros((n_frames, 0), np.float32)
    return Segment(empty, times, times - times[0], measured, None, run, signal), latents


def backbone(latents, left_out=None):
    """One whose ridge found nothing."""
    power = np.exp(-np.outer([20.0, 10.0], np.linspace(0, 0.25, 65)))
    power *= np.r_[1.0, np.full(63, 2.0), 1.0]
    power *= 0.7 / power.sum(axis=1, keepdims=True)
    covariance = TemporalCovariance(power, np.full(2, 0.3), GROUP, np.full(D, 1.2), TR)
    decoder = np.random.default_rng(3).standard_normal((D, 20)).astype(np.float32)
    prior = FramePrior(LinearAutoencoder(decoder, np.ones(20, np.float32)), covariance, covariance)
    left_out = [np.zeros_like(z) for z in latents] if left_out is None else left_out
    return Backbone(prior, covariance, None, latents, left_out)


def toy(*lengths, **options):
    parts = [segment(n, seed, run=f"run-{seed}", **options) for seed, n in enumerate(lengths)]
    segments, latents = ([part[i] for part in parts] for i in range(2))
    return segments, backbone(latents)


def fit(segments, found, folder, settings=SETTINGS, **options):
    space, split = CorticalSpace.from_counts({"L": 20}), Split((Part("run-0", 0, 200),), (), GAP)
    scale, channels = np.ones(20, np.float32), segments[0].eeg.channels
    origin = Origin(space, TR, scale, split, channels, bands=BANDS, positions=positions())
    part = TrainingPart(origin, segments)
    return fit_correction(part, found, np.eye(C), settings, state=folder, **{"accelerator": "cpu", **options})


def training_of(segments, found, settings=SETTINGS, fitted=None, validated=None):
    data = TrainingData.of(segments, found)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        correction = Correction(settings, BANDS, GROUP, positions(), TR, RATE)
    (fit, validation), *_ = blocks_of(len(data.z), round(GAP / TR))
    fit, validation = (
        given if given is not None else own for given, own in ((fitted, fit), (validated, validation))
    )
    return CorrectionTraining(correction.networks[0], correction, data, found, fit, validation, 0), correction


# What is given


def test_eeg_of_windows_is_that_of_the_time_stated():
    segments, found = toy(100, 60)
    data = TrainingData.of(segments, found)
    # Samples that say when they are.
    data.eeg[:] = [
        np.tile(number + np.arange(s.eeg.data.shape[1]) / RATE / 1e4, (C, 1))
        for number, s in enumerate(segments)
    ]
    duration = 24 * TR
    starts = torch.tensor([0, 1, 50, 76, 100, 136])
    data.times[0] -= 10  # now it begins before the recording
    data.times[76] += 40  # and this ends after it
    eeg, begin, ends = data.eeg_around(starts, duration)
    n = round((EARLIEST + duration + LATEST) * RATE)
    assert eeg.shape == (6, C, n)
    for row, first in enumerate(starts.tolist()):
        number, last = int(first >= 100), segments[int(first >= 100)].eeg.duration - 1 / RATE
        clock = float(begin[row]) + np.arange(n) / RATE
        mirrored = last - abs(last - abs(clock))
        np.testing.assert_allclose((eeg[row, 0] - number) * 1e4, mirrored, atol=2e-3)  # float32
        assert ends[row].tolist() == [0, segments[number].eeg.duration]
        assert abs(float(begin[row]) - (float(data.times[first]) - EARLIEST)) < 1 / RATE
    assert float(begin[0]) < 0 and float(begin[3]) + n / RATE > float(ends[3, 1])


def test_tokens_that_reach_beyond_the_recording_do_not_count():
    segments, found = toy(30, 90)
    eeg = segments[0].eeg
    cut = Signal(eeg.data[:, : round(45 * RATE)], RATE, eeg.channels)
    segments[0] = replace(segments[0], eeg=cut, times=segments[0].times - 30)
    everything = torch.ones(120, dtype=torch.bool)
    training, _ = training_of(segments, found, fitted=everything, validated=everything)
    starts = training.validation_starts
    tokens = training.eval().tokens(starts)
    # Every 0.8 s from 25 s before the first frame, which is at 0 s; a token's window is 2 s.
    centres = -EARLIEST + 1 + 0.8 * np.arange(tokens.times.shape[1])
    inside = (centres >= 1) & (centres <= 44)
    np.testing.assert_allclose(tokens.times[0], np.where(inside, centres, np.nan), atol=1e-5)
    assert not inside[0] and not inside[-1] and inside.sum() > 50
    assert not tokens.times[1].isnan().any()
    eeg, begin, ends = training.data.eeg_around(starts, 24 * TR)
    with torch.no_grad():
        moved = training._tokens(eeg, begin + 0.3, ends + 0.3)
    torch.testing.assert_close(moved.times, tokens.times + 0.3, atol=1e-5, rtol=0, equal_nan=True)
    training.log = lambda *_, **__: None
    assert training.train().training_step(starts).detach().isfinite()


def test_windows_lie_in_one_run_and_censored_frames_are_filled():
    segments, found = toy(60, 47, 40, censored=0.2)
    data = TrainingData.of(segments, found)
    starts = data.starts(torch.ones(147, dtype=torch.bool), 24, 1)
    assert starts.tolist() == [*range(37), *range(60, 84), *range(107, 124)]
    hop = data.starts(torch.ones(147, dtype=torch.bool), 24, 24)
    assert hop.tolist() == [0, 24, 60, 107]
    measured = np.concatenate([s.measured for s in segments])
    truth = np.concatenate(found.latents)
    np.testing.assert_array_equal(data.z.numpy()[measured], truth[measured].astype(np.float32))
    assert not np.isclose(data.z.numpy()[~measured], truth[~measured]).any(axis=1).all()
    error = np.square(data.z.numpy() - truth)[~measured].mean()
    assert error < np.square(truth[~measured]).mean()


def test_the_networks_do_not_see_censored_frames():
    segments, found = toy(200, censored=0.3)
    training, _ = training_of(segments, found)
    nn.init.normal_(training.member.denoiser.head.weight)
    training.eval()
    starts, which = training.validation_starts[:1], torch.tensor([2])
    tokens, infinite = training.tokens(starts), torch.tensor([torch.inf])
    calls = []
    hook = training.member.denoiser.register_forward_pre_hook(lambda _, given: calls.append(given))
    _, _, _, scored = training.shifted(starts, which, infinite, torch.zeros(1), tokens)
    hook.remove()
    _, _, _, _, given, shown, _ = calls[0]
    real = training.data.scored[starts[0] : starts[0] + 24]
    mask = training.gaussian.measured[2]
    assert torch.equal(shown[0], mask & real) and torch.equal(scored[0], real & ~mask)
    assert not given[0][~shown[0]].any() and (mask & ~real).any()


def test_masks_are_of_every_kind():
    masks = random_masks(400, 48, np.random.default_rng(0))
    assert not masks[:EMPTY_MASKS].any()
    share = masks[EMPTY_MASKS:].mean(axis=1)
    assert share.min() < 0.1 and share.max() > 0.8 and (share < 1).all()
    changes = np.abs(np.diff(masks[EMPTY_MASKS:].astype(int), axis=1)).sum(axis=1)
    edges = masks[EMPTY_MASKS:][changes == 1]
    assert edges[:, 0].any() and not edges[:, 0].all()  # up to here, and from here
    apart = [np.unique(np.diff(np.flatnonzero(mask))) for mask in masks[EMPTY_MASKS:]]
    assert {int(step[0]) for step in apart if len(step) == 1 and step[0] > 1} >= {2, 3, 5, 10}
    longest = [max(map(len, "".join("01"[int(m)] for m in mask).split("1"))) for mask in masks[EMPTY_MASKS:]]
    assert set(range(1, 17)) <= set(longest)
    again = random_masks(400, 48, np.random.default_rng(0))
    np.testing.assert_array_equal(masks, again)


@pytest.mark.parametrize("n_frames", [200, 333])
def test_no_window_of_training_comes_near_those_of_validation(n_frames):
    segments, found = toy(n_frames, 150)
    data = TrainingData.of(segments, found)
    margin = round(GAP / TR)
    validated = torch.zeros(n_frames + 150, dtype=torch.int64)
    for fit_rows, validation_rows in blocks_of(n_frames + 150, margin):
        validated += validation_rows
        fit_starts, validation_starts = (data.starts(rows, 24, 1) for rows in (fit_rows, validation_rows))
        assert len(fit_starts) and len(validation_starts)
        fitted, validation = (
            (starts[:, None] + torch.arange(24)).flatten().unique()
            for starts in (fit_starts, validation_starts)
        )
        assert validation_rows[validation].all()
        low, high = int(torch.nonzero(validation_rows)[0]), int(torch.nonzero(validation_rows)[-1])
        assert ((fitted < low - margin) | (fitted > high + margin)).all()
    assert (validated == 1).all()


@pytest.mark.parametrize(("n_people", "n_blocks"), [(2, 2), (5, 2), (8, 2), (12, 4), (40, BLOCKS)])
def test_blocks_of_people_are_of_whole_people(n_people, n_blocks):
    person = torch.arange(n_people).repeat_interleave(7)
    blocks = [*blocks_of_people(person)]
    assert len(blocks) == n_blocks
    of_each = [len(set(person[validation].tolist())) for _, validation in blocks]
    assert n_people < 6 or min(of_each) >= 3
    assert (torch.stack([validation for _, validation in blocks]).sum(dim=0) == 1).all()
    for fitted, validation in blocks:
        assert torch.equal(fitted, ~validation) and fitted.any()
        assert not set(person[fitted].tolist()) & set(person[validation].tolist())


def test_a_window_is_told_the_same_in_training_and_in_use():
    segments, found = toy(200)
    training, correction = training_of(segments, found, replace(SETTINGS, members=1))
    nn.init.normal_(training.member.denoiser.head.weight)
    training.eval()
    correction.eval().gate.fill_(1.0)
    # Tokens are every 0.8 s from the recording's start, and from 25 s before a window's first frame.
    starts = torch.tensor([17])
    times = segments[0].times[17:41]
    shift = -((times[0] - EARLIEST) % 0.8)
    training.data.times.add_(shift)
    tokens = training.tokens(starts)
    _, before, after, _ = training.shifted(
        starts, torch.tensor([0]), torch.tensor([torch.inf]), torch.zeros(1), tokens
    )
    query = correction.query(times + shift, nothing)
    used = correction.shift(query, correction.tokens(segments[0].eeg))[0]
    assert used.std() > 0.1
    torch.testing.assert_close((after - before)[0].double(), used, atol=1e-3, rtol=1e-3)


# What is optimised


@pytest.mark.parametrize("censored", [0.0, 0.3])
def test_the_loss_starts_at_one(censored):
    training, _ = training_of(*toy(200, censored=censored))
    training.log = lambda *_, **__: None
    for first in (0, 8):
        loss = training.training_step(training.fit_starts[first : first + 8])
        assert float(loss.detach()) == 1.0


def test_a_batch_that_nothing_can_be_scored_in_teaches_nothing():
    training, _ = training_of(*toy(200))
    training.log = lambda *_, **__: None
    training.data.scored.fill_(False)
    loss = training.training_step(training.fit_starts[:4])
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in training.parameters())


def test_averaging_of_weights_meets_no_indices():
    training, _ = training_of(*toy(200))
    assert not [name for name, buffer in training.named_buffers() if not buffer.is_floating_point()]


# What comes through


def test_gates_of_noise_and_of_signal():
    generator = torch.Generator().manual_seed(0)
    n, n_windows = 2000, 16
    error, moved = torch.randn(2, n, n_windows, 40, generator=generator)

    def gate(gain):
        return gates((gain * moved).sum(dim=-1, keepdim=True), moved.square().sum(dim=-1, keepdim=True))

    noise = gate(error)
    assert noise.min() == 0 and noise.max() <= 1
    assert 0.93 < float((noise == 0).double().mean()) < 0.97  # one-sided 95 %
    assert float(noise.mean()) < 0.01
    for true in (0.3, 0.7):
        found = gate(true * moved + 0.2 * error)
        assert abs(float(found.mean()) - true) < 0.03 and (found < true).double().mean() > 0.9
    assert (gate(3 * moved) == 1).all() and (gate(-moved) == 0).all()
    assert not gates(torch.ones(1, 2), torch.ones(1, 2)).any()  # one window tells nothing
    assert not gates(torch.zeros(5, 2), torch.zeros(5, 2)).any()


def test_what_helps_one_person_alone_is_no_gain(monkeypatch):
    segments, found = toy(144, 144, 144)
    segments = [replace(each, person=f"sub-{number}") for number, each in enumerate(segments)]
    training, _ = training_of(segments, found, validated=torch.ones(432, dtype=torch.bool))
    person = training.data.person[training.validation_starts]
    assert person.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    power = torch.ones(1, 18, 1)
    for gains, opened in (((0.5, 0.6, 0.7), True), ((1.8, 0.0, 0.0), False)):
        gain = torch.tensor(gains)[person][None, :, None]
        monkeypatch.setattr(training, "gate_sums", lambda gain=gain: (gain, power))
        assert gates(gain, power) > 0.2  # over windows
        assert bool(training.gate() > 0.2) == opened


def test_mean_r():
    generator = torch.Generator().manual_seed(0)
    truth, estimate = torch.randn(2, 50, 2, generator=generator)
    each = [np.corrcoef(truth[:, j], estimate[:, j])[0, 1] for j in range(2)]
    assert float(mean_r(truth, estimate, torch.tensor([0.25, 0.75]))) == pytest.approx(
        0.25 * each[0] + 0.75 * each[1]
    )


def r_of(correction, segment, latents):
    """r from EEG alone; the ridge's is 0."""
    query = correction.query(segment.times, nothing)
    estimate = correction.shift(query, correction.tokens(segment.eeg))[0]
    return float(
        mean_r(torch.from_numpy(latents), estimate, torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64))
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    return fit(*toy(300, 200), folder, replace(SETTINGS, members=1))


def test_what_a_ridge_cannot_express_is_learned(learned):
    correction = learned
    assert correction.gate.shape == (1, len(LEVELS), 2, 2) and not correction.training
    assert float(correction.gate[0, -1, 0, 0]) > 0.3
    assert float(correction.gate[0, -1, 1, 0]) > 0.1
    r = [r_of(correction, *segment(200, seed)) for seed in (10, 11)]
    assert min(r) > 0.4
    unrelated = [r_of(correction, *segment(200, seed, related=False)) for seed in (12, 13)]
    assert max(map(abs, unrelated)) < 0.25


def test_a_member_that_harms_is_shut_and_shuts_no_other(learned, tmp_path, monkeypatch):
    """The first network has learned, the second adds noise; what both gain together would shut both."""

    def trained(training, folder, **_):
        if folder.name == "member-0":
            return {f"member.{name}": tensor for name, tensor in learned.networks[0].state_dict().items()}
        head = training.member.denoiser.head.weight
        noise = torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
        return training.state_dict() | {"member.denoiser.head.weight": noise}

    monkeypatch.setattr(module, "run", trained)
    correction = fit(*toy(300, 200), tmp_path)
    for seed in (10, 11):
        test, latents = segment(200, seed)
        assert r_of(correction, test, latents) > 0.4
    torch.testing.assert_close(correction.gate[0], learned.gate[0], atol=1e-3, rtol=0)
    assert correction.gate[1].max() < 0.02


def test_more_members_than_blocks_have_gates_of_their_own(learned, tmp_path, monkeypatch):
    weights = {f"member.{name}": tensor for name, tensor in learned.networks[0].state_dict().items()}
    monkeypatch.setattr(module, "run", lambda *_, **__: weights)
    gate = fit(*toy(300, 200), tmp_path, replace(SETTINGS, members=BLOCKS + 1)).gate
    assert gate.shape == (BLOCKS + 1, len(LEVELS), 2, 2)
    # The same network on the same block, but for the noise drawn at finite levels.
    torch.testing.assert_close(gate[BLOCKS, -1], gate[0, -1], atol=1e-3, rtol=0)
    assert not torch.allclose(gate[1, -1], gate[0, -1], atol=1e-3)


def test_a_trained_correction_tells_runs_of_any_length_the_same(learned):
    correction = learned
    test, latents = segment(300, 20)
    tokens = correction.tokens(test.eeg)
    errors = {}
    for n in (3, 10, 30, 300):
        parts = [test.times[start : start + n] for start in range(0, 300, n)]
        queries = [correction.query(part, nothing) for part in parts]
        estimate = np.concatenate([correction.shift(query, tokens)[0] for query in queries])
        errors[n] = np.square(estimate - latents).mean()
    assert max(errors.values()) < 1.01 * min(errors.values())


def test_eeg_that_tells_nothing_is_not_believed(tmp_path):
    segments, found = toy(300, 200, related=False)
    correction = fit(segments, found, tmp_path)
    test, latents = segment(400, 30, related=False)
    query = correction.query(test.times, nothing)
    shift = correction.shift(query, correction.tokens(test.eeg))[0].numpy()
    change = np.square(latents - shift).mean() / np.square(latents).mean() - 1
    assert change < 0.01


def assert_same(one, other):
    states = one.state_dict(), other.state_dict()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


SHORT = replace(SETTINGS, epochs=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(*toy(200), tmp_path_factory.mktemp("whole"), SHORT)


def test_the_same_seed_gives_the_same_networks(whole, tmp_path):
    state = torch.get_rng_state()
    torch.rand(3)
    moved = torch.get_rng_state()
    again = fit(*toy(200), tmp_path / "again", SHORT)
    assert torch.equal(torch.get_rng_state(), moved)
    torch.set_rng_state(state)
    assert_same(again, whole)
    other = fit(*toy(200), tmp_path / "other", SHORT, seed=1)
    heads = [c.networks[0].denoiser.head.weight for c in (whole, other)]
    assert heads[0].any() and not torch.equal(*heads)


@pytest.mark.parametrize("step", [11, 27], ids=["first network", "second network"])
def test_interrupted_training_ends_where_it_would_have_ended(whole, tmp_path, monkeypatch, step):
    class Stop(Callback):
        steps = 0

        def on_train_batch_start(self, *_):
            Stop.steps += 1
            if Stop.steps == step:
                raise RuntimeError("power cut")

    run = module.run
    monkeypatch.setattr(
        module, "run", lambda *a, callbacks, **k: run(*a, callbacks=[*callbacks, Stop()], **k)
    )
    with pytest.raises(RuntimeError, match="power cut"):
        fit(*toy(200), tmp_path, SHORT)
    monkeypatch.undo()
    again = fit(*toy(200), tmp_path, SHORT)
    assert_same(again.members, whole.members)
    # Sums over the same weights elsewhere in memory differ in rounding.
    torch.testing.assert_close(again.gate, whole.gate, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="other settings, another seed or other data"):
        fit(*toy(200), tmp_path, replace(SHORT, learning_rate=1.0))


def test_gates_are_fitted_where_networks_are_applied(tmp_path, monkeypatch):
    found = []

    def sums(self):
        found.append({self.device.type, *(weight.device.type for weight in self.member.parameters())})
        return 2 * (torch.zeros(len(LEVELS), 2, 3, 2),)

    for name in ("trainer", "correction"):
        monkeypatch.setattr(f"neuroframes.training.{name}.default_device", lambda: "meta")
    monkeypatch.setattr(CorrectionTraining, "gate_sums", sums)
    correction = fit(*toy(200), tmp_path, replace(SHORT, epochs=1))
    assert found == [{"meta"}] * SHORT.members
    assert {tensor.device.type for tensor in correction.state_dict().values()} == {"meta"}


def test_too_little_to_learn_from_leaves_the_backbone(tmp_path, caplog):
    correction = fit(*toy(60), tmp_path)
    assert not correction.gate.any() and "too short to learn a correction" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_members_take_the_blocks_that_have_windows(tmp_path):
    # Frames 144 to 180 of five blocks of 36 lie in runs too short for a window.
    segments, found = toy(144, 18, 18)
    usable = [
        bool(len(TrainingData.of(segments, found).starts(validation, 24, 1)))
        for _, validation in blocks_of(180, round(GAP / TR))
    ]
    assert usable == [False, True, True, True, True] and len(usable) == BLOCKS
    correction = fit(segments, found, tmp_path, replace(SHORT, epochs=1))
    assert all(member.denoiser.head.weight.any() for member in correction.networks)
