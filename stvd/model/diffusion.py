"""The diffusion process: x_n = α x + σ ε with α² + σ² = 1, addressed by log SNR λ = log(α²/σ²)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEPS = 1400
"""Discrete steps of the published process; they set how close to 0 and 1 its time may come."""


def log_snr_of_time(
    time: Tensor, start: float = -3.0, end: float = 3.0, tau: float = 1.0
) -> Tensor:
    """Sigmoid schedule (Chen 2023, `sigmoid_schedule`) as log SNR.

    Parameters
    ----------
    time : Tensor in [0, 1], 0 = clean; held inside [1/STEPS, 1 − 1/STEPS]

    Returns
    -------
    Tensor of the same shape: λ = log(α²) − log(1 − α²)
    """
    time = time.clamp(1 / STEPS, 1 - 1 / STEPS)
    low, high = _sigmoid(start / tau), _sigmoid(end / tau)
    alpha2 = (high - torch.sigmoid((time * (end - start) + start) / tau)) / (high - low)
    return torch.log(alpha2) - torch.log1p(-alpha2)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


LOG_SNR_MAX = float(log_snr_of_time(torch.zeros((), dtype=torch.float64)))
LOG_SNR_MIN = float(log_snr_of_time(torch.ones((), dtype=torch.float64)))


def alpha_sigma(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """α = √sigmoid(λ), σ = √sigmoid(−λ)."""
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def velocity(clean: Tensor, noise: Tensor, log_snr: Tensor) -> Tensor:
    """v = α ε − σ x (Salimans & Ho 2022); `log_snr` broadcasts against the fields."""
    alpha, sigma = alpha_sigma(log_snr)
    return alpha * noise - sigma * clean


def clean_from_velocity(noisy: Tensor, v: Tensor, log_snr: Tensor) -> Tensor:
    """x = α x_n − σ v."""
    alpha, sigma = alpha_sigma(log_snr)
    return alpha * noisy - sigma * v
