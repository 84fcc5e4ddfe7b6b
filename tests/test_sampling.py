"""Samplers on a Gaussian whose denoiser is known exactly: x ~ N(0, s²) needs E[x | x_n] = α s² / (α² s² + σ²) x_n."""

import pytest
import torch

from stvd.model.diffusion import alpha_sigma
from stvd.sampling import SamplerConfig


def exact(variance):
    def denoiser(noisy, log_snr):
        alpha, sigma = alpha_sigma(log_snr.double())
        clean = alpha * variance / (alpha**2 * variance + sigma**2) * noisy
        return alpha * (noisy - alpha * clean) / sigma - sigma * clean

    return denoiser


def variance_kept(solver, steps, variance, **options):
    options = {"inflation": 1.0} | options
    sampler = SamplerConfig(solver=solver, steps=steps, **options)
    # the sampler is linear: noise of one unit a draw gives the gains
    units = torch.eye(1 + steps, dtype=torch.float64)
    gains = sampler.sample(exact(variance), units[0], lambda call: units[1 + call])
    return float((gains**2).sum() / variance)


@pytest.mark.parametrize("solver", ["ddim", "dpmpp2m", "dpmpp2m_sde"])
@pytest.mark.parametrize("variance", [0.1, 1.0, 3.0])
def test_many_steps_keep_the_variance(solver, variance):
    assert variance_kept(solver, 800, variance) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("variance", [0.03, 0.1, 0.3, 1.0, 3.0])
def test_ten_calls_of_the_second_order_solver_keep_what_thirty_of_ddim_lose(variance):
    assert 0.95 < variance_kept("dpmpp2m", 10, variance) < 1.07
    assert 0.92 < variance_kept("dpmpp2m_sde", 10, variance) < 1.09
    assert 0.62 < variance_kept("ddim", 10, variance) < 0.68
    assert 0.84 < variance_kept("ddim", 30, variance) < 0.88


def test_a_stochastic_solver_forgets_the_first_noise():
    """All of the sample is of the first noise with η = 0, hardly any with η = 1."""
    units = torch.eye(41, dtype=torch.float64)
    shares = []
    for eta in (0.0, 0.4, 1.0):
        sampler = SamplerConfig(solver="dpmpp2m_sde", eta=eta, steps=40)
        gains = sampler.sample(exact(1.0), units[0], lambda call: units[1 + call])
        shares.append(float(gains[0] ** 2 / (gains**2).sum()))
    assert shares[0] == 1
    assert 0.01 < shares[1] < 0.2
    assert shares[2] < 0.001


def test_inflated_noise_gives_more_variance():
    kept = [variance_kept("dpmpp2m_sde", 20, 1.0, inflation=k) for k in (1.0, 1.02, 1.04)]
    assert kept[0] < kept[1] < kept[2]
    assert kept[1] / kept[0] == pytest.approx(1.04, abs=0.01)


def test_without_stochastics_the_solver_is_the_other_one():
    kept = [variance_kept(name, 10, 0.3, eta=0.0) for name in ("dpmpp2m", "dpmpp2m_sde")]
    assert kept[0] == kept[1]


def test_a_stochastic_solver_without_noise_says_so():
    with pytest.raises(ValueError, match="dpmpp2m_sde needs noise for every call"):
        SamplerConfig(solver="dpmpp2m_sde").sample(exact(1.0), torch.ones(1))


def test_one_step_is_the_mean():
    noise = torch.ones(1, dtype=torch.float64)
    for solver in ("ddim", "dpmpp2m"):
        sample = SamplerConfig(solver=solver, steps=1).sample(exact(1.0), noise)
        assert sample.item() < 0.05


def test_calls_of_the_network_are_the_steps():
    calls = []

    def denoiser(noisy, log_snr):
        calls.append(float(log_snr))
        return torch.zeros_like(noisy)

    SamplerConfig(solver="dpmpp2m", steps=7).sample(denoiser, torch.zeros(2))
    assert len(calls) == 7
    assert calls == sorted(calls)


@pytest.mark.parametrize("solver", ["dpmpp2m", "dpmpp2m_sde"])
def test_correlated_noise_draws_the_same_gaussian(solver):
    """Three frames of covariance S with noise of covariance C: the sampler ends with S all the same.

    With x = α r + σ n the exact denoiser is D = α S (α² S + σ² C)⁻¹ x, linear, so the sampler is a matrix
    A_d for the noise of each draw, and the samples have the covariance Σ_d A_d C A_dᵀ.
    """
    steps = torch.arange(3.0)
    apart = (steps[:, None] - steps[None, :]).abs()
    wanted, noise = 0.5 * 0.7**apart, 0.5**apart

    def denoiser(noisy, log_snr):
        alpha, sigma = (float(v) for v in alpha_sigma(log_snr))
        gain = alpha * wanted @ torch.linalg.inv(alpha**2 * wanted + sigma**2 * noise)
        clean = torch.einsum("ij,bjcyx->bicyx", gain, noisy)
        return (alpha * noisy - clean) / sigma

    draws = 21
    units = torch.eye(draws * 3).reshape(draws * 3, draws, 3, 1, 1, 1).transpose(0, 1)
    sampler = SamplerConfig(solver=solver, steps=draws - 1, inflation=1.0)
    samples = sampler.sample(denoiser, units[0], lambda call: units[1 + call])
    matrices = samples[:, :, 0, 0, 0].reshape(draws, 3, 3)  # (draw, frame of noise, frame)
    found = torch.einsum("dni,nm,dmj->ij", matrices, noise, matrices)
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0)
