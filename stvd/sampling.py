"""Samplers: pure functions of (denoiser, noise, noise levels)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from stvd.lattice import WindowRule
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
    windows : `overlapping` windows share frames and are sampled side by side, without a seam;
        `independent` ones each for itself (`stvd.lattice.WindowLattice`)
    tile : most fine cells along a side that go through the network as one piece, halo aside; larger
        grids are cut, and their numbers depend on it a little (`stvd.tiling`)
    halo : fine cells of its neighbours that a piece, or a face of a cubed sphere, sees at every call;
        0 samples faces each by itself
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    solver: Literal["dpmpp2m", "ddim"] = "dpmpp2m"
    steps: int = Field(8, ge=1, le=1000)
    log_snr: tuple[float, float] = (LOG_SNR_MIN, LOG_SNR_MAX)
    conserve: bool = True
    windows: WindowRule = "overlapping"
    tile: int = Field(512, ge=32)
    halo: int = Field(16, ge=0)

    def levels(self) -> Tensor:
        """Log SNR before every call, shape (steps + 1,), float64; the last is that of the result."""
        return torch.linspace(*self.log_snr, self.steps + 1, dtype=torch.float64)

    def sample(self, denoiser: Denoiser, noise: Tensor) -> Tensor:
        """Turn standard normal `noise` into a sample of the same shape."""
        state, previous = noise, None
        for call, level in enumerate(self.levels()[:-1]):
            clean = clean_from_velocity(state, denoiser(state, level.float()), level.to(state))
            if call == self.steps - 1:
                break
            state, previous = self.advance(call, state, clean, previous), clean
        return clean

    def advance(self, call: int, state: Tensor, clean: Tensor, previous: Tensor | None) -> Tensor:
        """The noisy field of the next call. The clean field of the last call is the sample.

        DDIM is x' = σ'/σ x + (α' − α σ'/σ) x̂. DPM-Solver++(2M), algorithm 2 of Lu et al. 2022, with
        h = (λ' − λ) / 2 is x' = σ'/σ x + α' (1 − e^(−h)) D, where D extrapolates x̂ of this call and the
        one before to the middle of the step; the first and the last step are of first order.

        Parameters
        ----------
        call : number of the call, from 0
        state : the noisy field that the network was given
        clean : x̂, the clean field that it expects
        previous : x̂ of the call before; None at the first
        """
        now, then = self.levels()[call : call + 2]
        (alpha, sigma), (alpha_then, sigma_then) = alpha_sigma(now), alpha_sigma(then)
        ratio = sigma_then / sigma
        if self.solver == "ddim":
            return ratio.to(state) * state + (alpha_then - alpha * ratio).to(state) * clean
        h = (then - now) / 2
        if previous is not None:  # levels are evenly spaced
            clean = clean + 0.5 * (clean - previous)
        return ratio.to(state) * state - (alpha_then * torch.expm1(-h)).to(state) * clean
