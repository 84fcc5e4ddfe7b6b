"""Samplers: pure functions of (denoiser, noise, noise levels)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from stvd.lattice import WindowRule
from stvd.model.diffusion import LOG_SNR_MAX, LOG_SNR_MIN, alpha_sigma, clean_from_velocity

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(noisy field, log SNR of shape () or, with known frames, (batch, time)) to the velocity v, of the
field's shape."""


@dataclass(frozen=True)
class Known:
    """Frames of which the sample is given: the denoiser sees them without noise.

    frames : Tensor of bool, shape (batch, time)
    clean : Tensor, shape (batch, time, ...), what they hold; other frames are not looked at
    """

    frames: Tensor
    clean: Tensor


class SamplerConfig(BaseModel):
    """How a sample is drawn.

    Parameters
    ----------
    solver : `dpmpp2m` (Lu et al. 2022, DPM-Solver++ 2M) or `ddim` (Song et al. 2021, η = 0)
    steps : network calls a sample
    log_snr : first and last noise level; the grid between is uniform in log SNR
    conserve : scale each block of fine cells so that its mean is the coarse input
    windows : `bridged` joins windows without a seam, `independent` samples each for itself
        (`stvd.lattice.WindowLattice`)
    share : of the variance of the noise of an anchor's last frame and the next one's first that is the
        same in both, so that what a bridge leads from and to is alike (docs/model.md); 0 for none
    tile : most fine cells along a side that go through the network as one piece, halo aside; larger
        grids are cut, and their numbers depend on it a little (`stvd.tiling`)
    halo : fine cells of its neighbours that a piece, or a face of a cubed sphere, sees at every call;
        0 samples faces each by itself
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    solver: Literal["dpmpp2m", "ddim"] = "dpmpp2m"
    steps: int = Field(10, ge=1, le=1000)
    log_snr: tuple[float, float] = (LOG_SNR_MIN, LOG_SNR_MAX)
    conserve: bool = True
    windows: WindowRule = "bridged"
    share: float = Field(0.5, ge=0, le=1)
    tile: int = Field(512, ge=32)
    halo: int = Field(16, ge=0)

    def levels(self) -> Tensor:
        """Log SNR before every call, shape (steps + 1,), float64; the last is that of the result."""
        return torch.linspace(*self.log_snr, self.steps + 1, dtype=torch.float64)

    def sample(self, denoiser: Denoiser, noise: Tensor, known: Known | None = None) -> Tensor:
        """Turn standard normal `noise` into a sample of the same shape, in which `known` holds."""
        solve = dpmpp2m if self.solver == "dpmpp2m" else ddim
        return solve(clean_predictor(denoiser, known), noise, self.levels())


Predictor = Callable[[Tensor, Tensor], Tensor]
"""(noisy field, log SNR of shape ()) to the clean field that is expected."""


def clean_predictor(denoiser: Denoiser, known: Known | None = None) -> Predictor:
    """The clean field that a denoiser expects, given the frames that are known.

    These are put in at the highest signal-to-noise ratio and without noise at every call, and the
    denoiser is told so frame by frame; all other frames have the level of the call.
    """
    if known is None:
        return lambda noisy, level: clean_from_velocity(
            noisy, denoiser(noisy, level.float()), level.to(noisy)
        )
    alpha, _ = alpha_sigma(torch.tensor(LOG_SNR_MAX, dtype=torch.float64))
    held = known.frames[(..., *[None] * (known.clean.ndim - 2))]

    def predict(noisy: Tensor, level: Tensor) -> Tensor:
        levels = torch.where(known.frames, LOG_SNR_MAX, level.to(noisy))
        noisy = torch.where(held, alpha.to(noisy) * known.clean, noisy)
        each = levels.reshape(held.shape)
        return torch.where(
            held, known.clean, clean_from_velocity(noisy, denoiser(noisy, levels), each)
        )

    return predict


def ddim(predict: Predictor, noise: Tensor, levels: Tensor) -> Tensor:
    """Deterministic DDIM along `levels` of log SNR, shape (steps + 1,), ascending."""
    x = noise
    for now, then in pairwise(levels):
        x0 = predict(x, now)
        alpha, sigma = alpha_sigma(now)
        alpha_then, sigma_then = alpha_sigma(then)
        ratio = sigma_then / sigma
        x = ratio.to(x) * x + (alpha_then - alpha * ratio).to(x) * x0
    return x0


def dpmpp2m(predict: Predictor, noise: Tensor, levels: Tensor) -> Tensor:
    """DPM-Solver++(2M), algorithm 2 of Lu et al. 2022, along `levels` of log SNR, ascending.

    With h = (λ' − λ) / 2 the update is x' = σ'/σ x + α' (1 − e^(−h)) D, where D extrapolates the
    predictions of this call and the last to the middle of the step; the first and the last step are
    of first order. The last prediction is the sample.
    """
    x, previous = noise, None
    last_h = levels.new_zeros(())
    for step, (now, then) in enumerate(pairwise(levels)):
        x0 = predict(x, now)
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
