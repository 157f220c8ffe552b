import math

import pytest
import torch

from neuroframes.diffusion.schedules import alphas_bar, karras_sigmas, linear_betas


@pytest.mark.parametrize("rho", [1.0, 7.0, math.inf])
@pytest.mark.parametrize("n_steps", [1, 2, 25])
def test_levels_fall_from_the_largest_to_the_smallest_and_then_to_0(n_steps, rho):
    sigmas = karras_sigmas(n_steps, 0.01, 100.0, rho)
    assert sigmas.shape == (n_steps + 1,) and (sigmas.diff() < 0).all()
    assert sigmas[0] == pytest.approx(100.0) and sigmas[-1] == 0
    if n_steps > 1:
        assert sigmas[-2] == pytest.approx(0.01)
    even = sigmas[:-1].log() if math.isinf(rho) else sigmas[:-1] ** (1 / rho)
    assert torch.allclose(even.diff().diff(), torch.zeros(1, dtype=torch.float64), atol=1e-9)


def test_levels_are_even_in_log_s_unless_told():
    assert torch.equal(karras_sigmas(9), karras_sigmas(9, 0.01, 100.0, math.inf))


def test_linear_betas_destroy_the_signal():
    betas = linear_betas()
    signal = alphas_bar(betas)
    assert len(betas) == 1000 and betas[0] == pytest.approx(1e-4) and betas[-1] == pytest.approx(2e-2)
    assert signal[0] == pytest.approx(1 - 1e-4)
    # log prod (1 - b) = sum log (1 - b), here to third order: sums of an arithmetic series.
    moments = [float((betas**power).sum()) for power in (1, 2, 3)]
    assert math.log(signal[-1]) == pytest.approx(-moments[0] - moments[1] / 2 - moments[2] / 3, rel=1e-5)
    assert signal[-1] == pytest.approx(4.04e-5, rel=1e-2)
