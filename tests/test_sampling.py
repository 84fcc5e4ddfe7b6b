"""Samplers on a Gaussian whose denoiser is known exactly: x ~ N(0, s²) needs E[x | x_n] = α s² / (α² s² + σ²) x_n."""

import numpy as np
import pytest
import torch

from stvd.lattice import WindowLattice
from stvd.model.diffusion import LOG_SNR_MAX, alpha_sigma
from stvd.sampling import Known, SamplerConfig


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


def test_known_frames_are_held_and_shown_without_noise():
    known = Known(
        frames=torch.tensor([[True, False, False], [False, False, True]]),
        clean=torch.arange(12.0).reshape(2, 3, 1, 2),
    )
    held = known.frames[:, :, None, None].expand(2, 3, 1, 2)
    alpha, _ = alpha_sigma(torch.tensor(LOG_SNR_MAX))
    calls = []

    def denoiser(noisy, log_snr):
        assert (log_snr[known.frames] == LOG_SNR_MAX).all()
        assert torch.allclose(noisy[held], alpha * known.clean[held])
        calls.append(log_snr[~known.frames].tolist())
        return torch.zeros_like(noisy)

    for solver in ("ddim", "dpmpp2m"):
        sampler = SamplerConfig(solver=solver, steps=4)
        sample = sampler.sample(denoiser, torch.randn(2, 3, 1, 2), known)
        assert torch.equal(sample[held], known.clean[held])
    levels = SamplerConfig(steps=4).levels()[:-1].float().tolist()
    assert calls == 2 * [4 * [level] for level in levels]


def autoregressive(rho, length):
    """Covariance of x_k = ρ x_{k−1} + √(1 − ρ²) ε_k, which is ρ^|i − j|."""
    steps = torch.arange(length, dtype=torch.float64)
    return rho ** (steps[:, None] - steps[None, :]).abs()


def exact_in_time(covariance):
    """The denoiser of x ~ N(0, K) over time: E[x | x_n] = K A (A K A + Σ²)⁻¹ x_n, levels per frame."""

    def denoiser(noisy, log_snr):
        alpha, sigma = alpha_sigma(log_snr.double().expand(noisy.shape))
        mixed = alpha[:, :, None] * covariance * alpha[:, None, :] + torch.diag_embed(sigma**2)
        clean = (alpha * torch.linalg.solve(mixed, noisy)) @ covariance
        return (alpha * noisy - clean) / sigma

    return denoiser


def joined_record(rho, share, length=5, steps=10):
    """Covariance of anchor, bridge and anchor, (3T − 2) frames; the sampler is linear in its noise."""
    sampler, lattice = SamplerConfig(steps=steps), WindowLattice(length=length)
    denoiser = exact_in_time(autoregressive(rho, length))
    ends = torch.zeros(length, dtype=torch.bool)
    ends[[0, -1]] = True
    unit, nothing = torch.eye(length, dtype=torch.float64), torch.zeros(length, length).double()
    held = ends.expand(length, length)
    anchor = sampler.sample(denoiser, unit).T
    of_noise = sampler.sample(denoiser, unit, Known(held, nothing)).T[1:-1]
    of_ends = sampler.sample(denoiser, nothing, Known(held, unit)).T[1:-1]

    frames = lattice.cycle + length
    gain = torch.zeros(frames, 3 * length, dtype=torch.float64)  # of the noise of the three windows
    gain[:length, :length] = gain[-length:, -length:] = anchor
    gain[length:-length, length:-length] = of_noise
    gain[length:-length] += of_ends[:, [0]] * gain[length - 1]
    gain[length:-length] += of_ends[:, [-1]] * gain[-length]
    noise = torch.eye(3 * length, dtype=torch.float64)
    noise[length - 1, 2 * length] = noise[2 * length, length - 1] = share  # last frame, next first
    return (gain @ noise @ gain.T).numpy()


def changes(covariance):
    """Mean of |x_k − x_{k−1}| up to a constant, and their correlation, for every step."""
    variance, lagged = np.diag(covariance), np.diag(covariance, 1)
    change = np.sqrt(variance[1:] + variance[:-1] - 2 * lagged)
    return change, lagged / np.sqrt(variance[1:] * variance[:-1])


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.6, 0.7, 0.8])
def test_a_bridged_record_has_no_seam_and_the_correlation_of_the_truth(rho):
    lattice = WindowLattice(length=5)
    change, correlation = changes(joined_record(rho, SamplerConfig().share))
    arrivals = np.arange(1, len(change) + 1) % lattice.cycle
    edge = np.isin(arrivals, lattice.edges)
    cycle = slice(0, lattice.cycle)  # one of each step
    ratio = change[cycle][edge[cycle]].mean() / change[cycle][~edge[cycle]].mean()
    assert ratio == pytest.approx(1, abs=0.05)
    assert correlation[cycle].mean() == pytest.approx(rho, abs=0.02)


def test_a_bridge_between_the_right_ends_is_exact():
    """AR(1) is Markov: with the ends of the bridge as correlated as in truth, all of it is right."""
    rho, length = 0.9, 5
    record = torch.from_numpy(joined_record(rho, 0.0, steps=400))
    of_ends = torch.linalg.solve(record[[4, 8]][:, [4, 8]], record[[4, 8]]).T[5:8]
    remaining = record[5:8, 5:8] - of_ends @ record[[4, 8]][:, [4, 8]] @ of_ends.T
    truth = autoregressive(rho, length)
    inverse = torch.linalg.inv(truth[[0, 4]][:, [0, 4]])
    expected = truth[1:4][:, [0, 4]] @ inverse
    assert torch.allclose(of_ends, expected, atol=0.008)  # known frames count as all but clean
    left = truth[1:4, 1:4] - expected @ truth[[0, 4], 1:4]
    assert torch.allclose(remaining, left, atol=0.01)


def test_what_sharing_noise_between_anchors_is_for():
    """Ends drawn apart are too far from each other where a process outlasts the bridge."""
    apart, joined = (changes(joined_record(0.8, share))[0] for share in (0.0, 0.5))
    truth = np.sqrt(2 * (1 - 0.8))
    assert apart[4:8].mean() / truth == pytest.approx(1.10, abs=0.02)  # the steps of the bridge
    assert joined[4:8].mean() / truth == pytest.approx(1.04, abs=0.02)


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
