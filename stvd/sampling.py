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


Solver = Literal["dpmpp2m_sde", "dpmpp2m", "ddim"]


class SolverChoice(BaseModel):
    """The solver and the network calls that a model is sampled with.

    Parameters
    ----------
    solver : `dpmpp2m_sde` (Lu et al. 2022, SDE-DPM-Solver++ 2M, partly stochastic), `dpmpp2m` (DPM-Solver++ 2M)
        or `ddim` (Song et al. 2021, η = 0)
    steps : network calls a sample
    inflation : factor of the noise that `dpmpp2m_sde` adds, to give back spread that a trained network
        loses (S_noise of Karras et al. 2022); chosen on held-out rain
    noise_correlation : of the noise of neighbouring frames; None is that of the training
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    solver: Solver = "dpmpp2m"
    steps: int = Field(8, ge=1, le=1000)
    inflation: float = Field(1.02, ge=1, le=1.1)
    noise_correlation: float | None = Field(None, ge=0, lt=1, exclude_if=lambda rho: rho is None)


class SamplerConfig(SolverChoice):
    """How a sample is drawn.

    Parameters
    ----------
    solver, steps, inflation, noise_correlation : as in `SolverChoice`
    eta : how stochastic `dpmpp2m_sde` is: 0 is `dpmpp2m`, 1 the reverse SDE
    log_snr : first and last noise level; the grid between is uniform in log SNR
    conserve : scale each block of fine cells so that its mean is the coarse input
    windows : `overlapping` windows share frames and are sampled side by side, without a seam;
        `independent` ones each for itself (`stvd.lattice.WindowLattice`)
    tile : most fine cells along a side that go through the network as one piece, halo aside; larger
        grids are cut, and their numbers depend on it a little (`stvd.tiling`)
    halo : fine cells of its neighbours that a piece, or a face of a cubed sphere, sees at every call;
        0 samples faces each by itself
    """

    eta: float = Field(0.4, ge=0, le=1)
    log_snr: tuple[float, float] = (LOG_SNR_MIN, LOG_SNR_MAX)
    conserve: bool = True
    windows: WindowRule = "overlapping"
    tile: int = Field(512, ge=32)
    halo: int = Field(16, ge=0)

    @classmethod
    def of(cls, choice: SolverChoice, **asked: object) -> SamplerConfig:
        """The choice of a model, with what is asked for instead where that is not None."""
        given = {name: value for name, value in asked.items() if value is not None}
        return cls.model_validate(choice.model_dump() | given)

    def levels(self) -> Tensor:
        """Log SNR before every call, shape (steps + 1,), float64; the last is that of the result."""
        return torch.linspace(*self.log_snr, self.steps + 1, dtype=torch.float64)

    @property
    def stochastic(self) -> bool:
        """Whether a call takes noise of its own."""
        return self.solver == "dpmpp2m_sde"

    def sample(
        self, denoiser: Denoiser, noise: Tensor, fresh: Callable[[int], Tensor] | None = None
    ) -> Tensor:
        """Turn standard normal `noise` into a sample of the same shape; `fresh` is that of each call."""
        state, previous = noise, None
        for call, level in enumerate(self.levels()[:-1]):
            clean = clean_from_velocity(state, denoiser(state, level.float()), level.to(state))
            if call == self.steps - 1:
                break
            added = fresh(call) if fresh is not None else None
            state, previous = self.advance(call, state, clean, previous, added), clean
        return clean

    def advance(
        self,
        call: int,
        state: Tensor,
        clean: Tensor,
        previous: Tensor | None,
        fresh: Tensor | None = None,
    ) -> Tensor:
        """The noisy field of the next call. The clean field of the last call is the sample.

        DDIM is x' = σ'/σ x + (α' − α σ'/σ) x̂. SDE-DPM-Solver++(2M), Lu et al. 2022, with
        h = (λ' − λ) / 2 is x' = e^(−ηh) σ'/σ x + α' (1 − e^(−(1+η)h)) D + κ σ' √(1 − e^(−2ηh)) z with κ the
        inflation, where D extrapolates x̂ of this call and the one before to the middle of the step; the
        first and the last step are of first order. η = 0 is DPM-Solver++(2M), their algorithm 2, and η = 1
        the reverse SDE.

        Parameters
        ----------
        call : number of the call, from 0
        state : the noisy field that the network was given
        clean : x̂, the clean field that it expects
        previous : x̂ of the call before; None at the first
        fresh : z, standard normal as the first noise and independent of it; for stochastic solvers

        Raises
        ------
        ValueError
            If a stochastic solver is given no noise.
        """
        now, then = self.levels()[call : call + 2]
        (alpha, sigma), (alpha_then, sigma_then) = alpha_sigma(now), alpha_sigma(then)
        ratio = sigma_then / sigma
        if self.solver == "ddim":
            return ratio.to(state) * state + (alpha_then - alpha * ratio).to(state) * clean
        h = (then - now) / 2
        if previous is not None:  # levels are evenly spaced
            clean = clean + 0.5 * (clean - previous)
        eta = self.eta if self.stochastic else 0.0
        kept = ratio * torch.exp(-eta * h)
        moved = (
            kept.to(state) * state - (alpha_then * torch.expm1(-(1 + eta) * h)).to(state) * clean
        )
        if not eta:
            return moved
        if fresh is None:
            raise ValueError(f"{self.solver} needs noise for every call")
        added = self.inflation * sigma_then * torch.sqrt(-torch.expm1(-2 * eta * h))
        return moved + added.to(state) * fresh
