"""Samplers: pure functions of (denoiser, noise, noise levels)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from stvd.model.diffusion import LOG_SNR_MAX, LOG_SNR_MIN, alpha_sigma, clean_from_velocity

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(noisy field, log SNR of shape ()) to the velocity v, of the field's shape."""


class SamplerConfig(BaseModel):
    """How a sample is drawn.

    Parameters
    ----------
    solver : `dpmpp2m` (Lu et al. 2022, DPM-Solver++ 2M) or `ddim` (Song et al. 2021, η = 0)
    steps : network calls a sample
    log_snr : first and last noise level; the grid between is uniform in log SNR
    conserve : scale each block of fine cells so that its mean is the coarse input
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    solver: Literal["dpmpp2m", "ddim"] = "dpmpp2m"
    steps: int = Field(10, ge=1, le=1000)
    log_snr: tuple[float, float] = (LOG_SNR_MIN, LOG_SNR_MAX)
    conserve: bool = True

    def levels(self) -> Tensor:
        """Log SNR before every call, shape (steps + 1,), float64; the last is that of the result."""
        return torch.linspace(*self.log_snr, self.steps + 1, dtype=torch.float64)

    def sample(self, denoiser: Denoiser, noise: Tensor) -> Tensor:
        """Turn standard normal `noise` into a sample of the same shape."""
        solve = dpmpp2m if self.solver == "dpmpp2m" else ddim
        return solve(denoiser, noise, self.levels())


def ddim(denoiser: Denoiser, noise: Tensor, levels: Tensor) -> Tensor:
    """Deterministic DDIM along `levels` of log SNR, shape (steps + 1,), ascending."""
    x = noise
    for now, then in pairwise(levels):
        x0 = clean_from_velocity(x, denoiser(x, now.float()), now.to(x))
        alpha, sigma = alpha_sigma(now)
        alpha_then, sigma_then = alpha_sigma(then)
        ratio = sigma_then / sigma
        x = ratio.to(x) * x + (alpha_then - alpha * ratio).to(x) * x0
    return x0


def dpmpp2m(denoiser: Denoiser, noise: Tensor, levels: Tensor) -> Tensor:
    """DPM-Solver++(2M), algorithm 2 of Lu et al. 2022, along `levels` of log SNR, ascending.

    With h = (λ' − λ) / 2 the update is x' = σ'/σ x + α' (1 − e^(−h)) D, where D extrapolates the
    predictions of this call and the last to the middle of the step; the first and the last step are
    of first order. The last prediction is the sample.
    """
    x, previous = noise, None
    last_h = levels.new_zeros(())
    for step, (now, then) in enumerate(pairwise(levels)):
        x0 = clean_from_velocity(x, denoiser(x, now.float()), now.to(x))
        if step == len(levels) - 2:
            return x0
        h = (then - now) / 2
        direction = x0
        if previous is not None:
            weight = (h / (2 * last_h)).to(x)
            direction = x0 + weight * (x0 - previous)
        _, sigma = alpha_sigma(now)
        alpha_then, sigma_then = alpha_sigma(then)
        x = (sigma_then / sigma).to(x) * x - (alpha_then * torch.expm1(-h)).to(x) * direction
        previous, last_h = x0, h
    raise AssertionError("a sampler makes at least one step")
