"""Gaussian noise as a function of where it is used, not of when it was asked for.

Every frame of every member has its own stream of a counter-based generator (Philox 4×64-10, Salmon et
al. 2011): the same (seed, member, tile, frame) gives the same field in any order, batch or process.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_WORD = (1 << 64) - 1


def frame_noise(
    seed: int, member: int, tile: int, frame: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Standard normal field of one frame.

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


def window_noise(
    seed: int, members: range, tile: int, frames: range, shape: tuple[int, int]
) -> Tensor:
    """Noise of a window for several members, shape (member, time, 1, y, x)."""
    fields = [[frame_noise(seed, m, tile, k, shape) for k in frames] for m in members]
    return torch.from_numpy(np.array(fields))[:, :, None]
