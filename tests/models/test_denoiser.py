"""The learned correction: against attention written out, and what it must not depend on."""

import numpy as np
import pytest
import torch

from neuroframes.models.denoiser import EARLIEST, LATEST, Attention, Denoiser, FrameBias, TokenBias
from neuroframes.models.eeg_encoder import Tokens

B, K, D, T, W = 3, 9, 5, 40, 8


def inputs(seed=0, sigma=(0.05, 1.0, 30.0)):
    generator = torch.Generator().manual_seed(seed)
    x, mean, given = torch.randn(3, B, K, D, generator=generator)
    measured = torch.rand(B, K, generator=generator) > 0.5
    times = 20.0 + 0.8 * torch.arange(K, dtype=torch.float64).expand(B, K)
    tokens = Tokens(
        torch.randn(B, T, W, generator=generator),
        torch.tensor([[0.3], [0.5], [0.9]], dtype=torch.float64) + 0.8 * torch.arange(T),
    )
    given = given * measured[..., None]
    return {
        "x": x,
        "sigma": torch.tensor(sigma),
        "times": times,
        "mean": mean,
        "given": given,
        "measured": measured,
        "tokens": tokens,
    }


def denoiser(seed=0, *, zero_head=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Denoiser(D, width=16, depth=2, heads=4, token_width=W, dropout=0.1).eval()
        if not zero_head:
            torch.nn.init.normal_(model.head.weight)
    return model


def softmax(logits):
    weight = np.exp(logits - logits.max())
    return weight / weight.sum()


@pytest.mark.parametrize("optional", [False, True])
def test_attention_equals_one_written_out(optional):
    generator = torch.Generator().manual_seed(0)
    attention = Attention(12, 7, 3, optional=optional)
    queries, source = torch.randn(2, 4, 12, generator=generator), torch.randn(2, 6, 7, generator=generator)
    bias = torch.randn(2, 3, 4, 6, generator=generator)
    bias[:, :, :, 2] = -torch.inf
    got = attention(queries, source, bias).detach()
    query = attention.query.weight.detach().numpy()
    key, value = attention.key_value.weight.detach().numpy().reshape(2, 12, 7)
    for b in range(2):
        for q in range(4):
            heads = []
            for h in range(3):
                rows = slice(4 * h, 4 * h + 4)
                keyed = query[rows] @ queries[b, q].numpy()
                logits = [
                    keyed @ key[rows] @ source[b, s].numpy() / 2 + bias[b, h, q, s].item() for s in range(6)
                ]
                values = [value[rows] @ source[b, s].numpy() for s in range(6)]
                if optional:
                    logits, values = [*logits, 0.0], [*values, np.zeros(4)]
                heads.append(softmax(np.array(logits)) @ np.array(values))
            expected = attention.out.weight.detach().numpy() @ np.concatenate(heads)
            assert np.allclose(got[b, q], expected, atol=1e-5)


def test_the_biases_equal_their_formulas():
    generator = torch.Generator().manual_seed(0)
    lag = 40 * torch.rand(2, 5, 6, generator=generator) - 10
    frames, tokens = FrameBias(4), TokenBias(4)
    with torch.no_grad():
        tokens.log_spread += 0.1 * torch.arange(4)
        frame_bias, token_bias = frames(lag), tokens(lag)
    assert torch.allclose(tokens.delay[[0, -1]], torch.tensor([2.0, 12.0]))
    for b, h, q, s in np.ndindex(2, 4, 5, 6):
        seconds = lag[b, q, s].item()
        slope, spread = frames.log_slope[h].exp().item(), tokens.log_spread[h].exp().item()
        assert frame_bias[b, h, q, s].item() == pytest.approx(-slope * abs(seconds), rel=1e-5)
        expected = -((seconds - tokens.delay[h].item()) ** 2) / (2 * spread**2)
        if not -LATEST <= seconds <= EARLIEST:
            expected = -np.inf
        assert token_bias[b, h, q, s].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_zero_at_first_and_then_gradients_reach_every_parameter():
    model = denoiser(zero_head=True).train()
    assert torch.equal(model(**inputs()), torch.zeros(B, K, D))
    with torch.no_grad():
        model.head.weight += torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(0))
    delta = model(**inputs())
    assert delta.shape == (B, K, D)
    delta.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_gradients_reach_the_tokens():
    given = inputs()
    values = given["tokens"].values.requires_grad_()
    denoiser()(**given).square().sum().backward()
    assert (values.grad != 0).any(dim=-1).sum() > B * K


@torch.no_grad()
def test_at_infinite_noise_x_is_not_looked_at():
    model, infinite = denoiser(), inputs(sigma=(torch.inf, 1.0, torch.inf))
    expected = model(**infinite)
    assert expected.isfinite().all()
    other = {**infinite, "x": torch.full((B, K, D), torch.nan)}
    got = model(**other)
    assert torch.equal(got[::2], expected[::2])
    assert got[1].isnan().all()
    nearly = model(**{**infinite, "sigma": torch.tensor([1e6, 1.0, 1e6])})
    assert torch.allclose(nearly, expected, atol=1e-4)


@torch.no_grad()
def test_the_noise_level_matters_from_a_hundredth_to_a_hundred():
    model = denoiser()
    levels = model.level(torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0]))
    assert (torch.pdist(levels) > 0.1).all()


@torch.no_grad()
def test_every_input_matters():
    model, given = denoiser(), inputs()
    expected = model(**given)
    for name in ("x", "mean", "given"):
        assert not torch.allclose(model(**{**given, name: given[name] + 0.1}), expected, atol=1e-3)
    assert not torch.allclose(model(**{**given, "measured": ~given["measured"]}), expected, atol=1e-3)
    assert not torch.allclose(model(**{**given, "tokens": None}), expected, atol=1e-3)


@torch.no_grad()
def test_only_differences_of_time_count():
    model, given = denoiser(), inputs()
    hours = 7200.3
    later = Tokens(given["tokens"].values, given["tokens"].times + hours)
    got = model(**{**given, "times": given["times"] + hours, "tokens": later})
    assert torch.allclose(got, model(**given), atol=1e-5)
    shifted = Tokens(given["tokens"].values, given["tokens"].times + 2)
    assert not torch.allclose(model(**{**given, "tokens": shifted}), model(**given), atol=1e-3)


@torch.no_grad()
def test_the_order_of_frames_and_of_tokens_does_not_matter():
    model, given = denoiser(), inputs()
    generator = torch.Generator().manual_seed(0)
    frames, eeg = torch.randperm(K, generator=generator), torch.randperm(T, generator=generator)
    per_frame = {name: given[name][:, frames] for name in ("x", "times", "mean", "given", "measured")}
    tokens = Tokens(*(tensor[:, eeg] for tensor in given["tokens"]))
    got = model(**{**given, **per_frame, "tokens": tokens})
    assert torch.allclose(got, model(**given)[:, frames], atol=1e-5)


@torch.no_grad()
def test_a_token_out_of_reach_changes_nothing():
    model, given = denoiser(), inputs()
    first, last = given["times"].min(), given["times"].max()
    values, times = (tensor.clone() for tensor in given["tokens"])
    times[:, 0], times[:, 1], times[:, 2] = first - EARLIEST + 0.1, first - EARLIEST - 7, last + LATEST + 0.1
    expected = model(**{**given, "tokens": Tokens(values, times)})
    values[:, 1:3] = 100.0
    assert torch.equal(model(**{**given, "tokens": Tokens(values, times)}), expected)
    values[:, 0] = 100.0
    assert not torch.allclose(model(**{**given, "tokens": Tokens(values, times)}), expected, atol=1e-3)


@pytest.mark.parametrize("shift", [1000.0, -1000.0, torch.nan])
def test_tokens_out_of_reach_or_without_a_time_are_no_eeg(shift):
    model, given = denoiser(), inputs()
    values, times = given["tokens"]
    away = times.clone()
    away[1] += shift
    without = model(**{**given, "tokens": None})
    got = model(**{**given, "tokens": Tokens(values, away)})
    assert torch.allclose(got[1], without[1], atol=1e-6)
    assert torch.allclose(got[::2], model(**given)[::2], atol=1e-6)
    got.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@torch.no_grad()
def test_sequences_of_a_batch_are_independent():
    model, given = denoiser(), inputs()
    tokens = Tokens(*(tensor[:1] for tensor in given["tokens"]))
    alone = {name: value[:1] for name, value in given.items() if name != "tokens"}
    assert torch.allclose(model(**alone, tokens=tokens), model(**given)[:1], atol=1e-5)


@torch.no_grad()
def test_the_same_seed_gives_the_same_correction():
    first, second, third = (denoiser(seed)(**inputs()) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.allclose(first, third, atol=1e-3)
