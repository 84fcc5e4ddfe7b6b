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


def variance_kept(solver, steps, variance):
    noise = torch.ones(1, dtype=torch.float64)  # the sampler is linear: unit noise gives the gain
    sample = SamplerConfig(solver=solver, steps=steps).sample(exact(variance), noise)
    return float(sample**2 / variance)


@pytest.mark.parametrize("solver", ["ddim", "dpmpp2m"])
@pytest.mark.parametrize("variance", [0.1, 1.0, 3.0])
def test_many_steps_keep_the_variance(solver, variance):
    assert variance_kept(solver, 800, variance) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("variance", [0.03, 0.1, 0.3, 1.0, 3.0])
def test_ten_calls_of_the_second_order_solver_keep_what_thirty_of_ddim_lose(variance):
    assert 0.95 < variance_kept("dpmpp2m", 10, variance) < 1.07
    assert 0.62 < variance_kept("ddim", 10, variance) < 0.68
    assert 0.84 < variance_kept("ddim", 30, variance) < 0.88


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

    SamplerConfig(steps=7).sample(denoiser, torch.zeros(2))
    assert len(calls) == 7
    assert calls == sorted(calls)


def test_correlated_noise_draws_the_same_gaussian():
    """Three frames of covariance S with noise of covariance C: the sampler ends with S all the same.

    With x = α r + σ n the exact denoiser is D = α S (α² S + σ² C)⁻¹ x, linear, so the sampler is a matrix
    A and the samples have the covariance A C Aᵀ.
    """
    steps = torch.arange(3.0)
    apart = (steps[:, None] - steps[None, :]).abs()
    wanted, noise = 0.5 * 0.7**apart, 0.5**apart

    def denoiser(noisy, log_snr):
        alpha, sigma = (float(v) for v in alpha_sigma(log_snr))
        gain = alpha * wanted @ torch.linalg.inv(alpha**2 * wanted + sigma**2 * noise)
        clean = torch.einsum("ij,bjcyx->bicyx", gain, noisy)
        return (alpha * noisy - clean) / sigma

    unit = torch.eye(3)[:, :, None, None, None]
    matrix = SamplerConfig(steps=20).sample(denoiser, unit)[:, :, 0, 0, 0].T
    torch.testing.assert_close(matrix @ noise @ matrix.T, wanted, rtol=0.05, atol=0)
