"""Gaussian noise as a function of where it is used, not of when it was asked for.

Every frame of every member has its own stream of a counter-based generator (Philox 4×64-10, Salmon et
al. 2011): the same (seed, member, tile, frame, draw) gives the same field in any order, batch or process.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_TAIL = 1e-3  # weight, against that of a frame itself, from which on earlier frames are left out
_SPAN = 32  # frames whose sums begin at the same one


def frame_noise(
    seed: int, member: int, tile: int, frame: int, shape: tuple[int, ...], draw: int = 0
) -> np.ndarray:
    """Standard normal field of one frame, independent of every other.

    Parameters
    ----------
    seed : of the product, ≥ 0
    member, tile : ≥ 0
    frame : absolute frame of the source's lattice; may be negative
    shape : of the field, usually (y, x)
    draw : of a frame that is drawn more than once, ≥ 0

    Returns
    -------
    ndarray of float32
    """
    # The counter's lowest word runs inside a field, below its upper half; the others name it with
    # that half, so streams never meet.
    counter = np.array([draw << 32, tile, member, frame & _WORD], dtype=np.uint64)
    bits = np.random.Philox(key=seed, counter=counter)
    return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)


class RecordNoise:
    """Noise of the frames of a record, standard normal in each and correlated in time.

    That of frame k is Σ_j ρ^j w(k − j) / √(Σ_j ρ^2j) of independent fields w, over those frames before it whose
    ρ^j counts and, within a span of 32 frames, some more: an AR(1) process whose value at a frame does not
    depend on where reading began.

    Parameters
    ----------
    seed : of the product
    members : of the ensemble
    tiles, shape : faces and their cells (y, x)
    correlation : ρ, between neighbouring frames
    draw : which of the noises of a frame
    """

    def __init__(
        self,
        seed: int,
        members: range,
        tiles: int,
        shape: tuple[int, int],
        correlation: float = 0.0,
        draw: int = 0,
    ) -> None:
        self.seed, self.members, self.tiles, self.shape = seed, members, tiles, shape
        self.correlation, self.draw = correlation, draw
        self.before = math.ceil(math.log(_TAIL) / math.log(correlation)) if correlation else 0
        self.sum: tuple[int, Tensor] | None = (
            None  # Σ_j ρ^j w(k − j) of the frame k that was read last
        )

    def frame(self, number: int) -> Tensor:
        """Noise of one frame, shape (member, 1, tile·y, x); cheapest in order of time."""
        if not self.correlation:
            return self._independent(number)
        span = number // _SPAN * _SPAN
        first = span - self.before
        if self.sum is not None and span <= self.sum[0] <= number:
            last, total = self.sum
        else:
            last, total = first, self._independent(first)
        for k in range(last + 1, number + 1):
            total = self._independent(k).add(total, alpha=self.correlation)
        self.sum = number, total
        square = self.correlation**2
        return total * math.sqrt((1 - square) / (1 - square ** (number - first + 1)))

    def _independent(self, number: int) -> Tensor:
        faces = [(m, tile) for m in self.members for tile in range(self.tiles)]

        def drawn(face: tuple[int, int]) -> np.ndarray:
            return frame_noise(self.seed, *face, number, self.shape, self.draw)

        with ThreadPoolExecutor() as pool:  # numbers are drawn without the interpreter's lock
            fields = torch.from_numpy(np.array(list(pool.map(drawn, faces))))
        return fields.reshape(len(self.members), 1, self.tiles * self.shape[0], self.shape[1])


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
