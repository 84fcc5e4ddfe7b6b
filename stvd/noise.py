"""Gaussian noise as a function of where it is used, not of when it was asked for.

Every frame of every member has its own stream of a counter-based generator (Philox 4×64-10, Salmon et
al. 2011): the same (seed, member, tile, frame) gives the same field in any order, batch or process.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_TAIL = 1e-3  # weight, against that of a frame itself, from which on earlier frames are left out


def frame_noise(
    seed: int, member: int, tile: int, frame: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Standard normal field of one frame, independent of every other.

    Parameters
    ----------
    seed : of the product, ≥ 0
    member, tile : ≥ 0
    frame : absolute frame of the source's lattice; may be negative
    shape : of the field, usually (y, x)

    Returns
    -------
    ndarray of float32
    """
    # The counter's lowest word runs inside a field; the others name it, so streams never meet.
    counter = np.array([0, tile, member, frame & _WORD], dtype=np.uint64)
    bits = np.random.Philox(key=seed, counter=counter)
    return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)


class RecordNoise:
    """Noise of the frames of a record, standard normal in each and correlated in time.

    That of frame k is Σ_j ρ^j w(k − j) / √(Σ_j ρ^2j) of independent fields w over the frames that
    count: an AR(1) process whose value at a frame does not depend on where it was begun.

    Parameters
    ----------
    seed : of the product
    members : of the ensemble
    tiles, shape : faces and their cells (y, x)
    correlation : ρ, between neighbouring frames
    """

    def __init__(
        self,
        seed: int,
        members: range,
        tiles: int,
        shape: tuple[int, int],
        correlation: float = 0.0,
    ) -> None:
        self.seed, self.members, self.tiles, self.shape = seed, members, tiles, shape
        terms = 1 if not correlation else 1 + math.ceil(math.log(_TAIL) / math.log(correlation))
        weights = correlation ** np.arange(terms)
        self.weights = (weights / np.sqrt(np.sum(weights**2))).tolist()
        self.fields: dict[int, Tensor] = {}

    def frame(self, number: int) -> Tensor:
        """Noise of one frame, shape (member, 1, tile·y, x); cheapest in order of time."""
        used = range(number, number - len(self.weights), -1)
        self.fields = {
            k: self.fields[k] if k in self.fields else self._independent(k) for k in used
        }
        total = self.weights[0] * self.fields[number]
        for weight, k in zip(self.weights[1:], used[1:], strict=True):
            total = total.add(self.fields[k], alpha=weight)
        return total

    def _independent(self, number: int) -> Tensor:
        faces = [
            [frame_noise(self.seed, m, tile, number, self.shape) for tile in range(self.tiles)]
            for m in self.members
        ]
        return torch.from_numpy(np.array(faces)).flatten(1, 2)[:, None]


def correlated(noise: Tensor, correlation: float) -> Tensor:
    """Independent frames made into those of an AR(1) process, each standard normal still.

    Parameters
    ----------
    noise : Tensor, shape (batch, time, ...), standard normal
    correlation : ρ in [0, 1); that of frames i and j becomes ρ^|i − j|. 0 returns the noise as it is
    """
    if not correlation:
        return noise
    steps = torch.arange(noise.shape[1], dtype=torch.float64)
    covariance = correlation ** (steps[:, None] - steps[None, :]).abs()
    factor = torch.linalg.cholesky(covariance)
    return torch.einsum("ij,bj...->bi...", factor.to(noise), noise)
