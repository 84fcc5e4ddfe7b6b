"""Gaussian noise as a function of where it is used, not of when it was asked for.

Every frame of every member has its own stream of a counter-based generator (Philox 4×64-10, Salmon et
al. 2011): the same (seed, member, tile, frame) gives the same field in any order, batch or process.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_JOINT = 1  # stream of the noise that windows share
_BRIDGE = 2  # and of the correlated noise of bridges


def frame_noise(
    seed: int, member: int, tile: int, frame: int, shape: tuple[int, ...], stream: int = 0
) -> np.ndarray:
    """Standard normal field of one frame.

    Parameters
    ----------
    seed : of the product, ≥ 0
    member, tile : ≥ 0
    frame : absolute frame of the source's lattice; may be negative
    shape : of the field, usually (y, x)
    stream : 0 to 15, of independent fields of the same name

    Returns
    -------
    ndarray of float32
    """
    # The counter's lowest word runs inside a field; the others name it, so streams never meet.
    counter = np.array([stream << 60, tile, member, frame & _WORD], dtype=np.uint64)
    bits = np.random.Philox(key=seed, counter=counter)
    return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)


def window_noise(
    seed: int,
    members: range,
    tile: int,
    frames: range,
    shape: tuple[int, int],
    joints: Mapping[int, int] | None = None,
    share: float = 0.0,
    correlation: float = 0.0,
    bridge: bool = False,
) -> Tensor:
    """Noise of a window for several members, shape (member, time, 1, y, x).

    Parameters
    ----------
    joints : places in the window that share noise with a frame of another window, each with the name
        of what is shared: √(1 − share) own noise + √share of the field of that name, which is standard
        normal again and independent of the other frames of the window
    share : of the variance, 0 to 1
    correlation : between neighbouring frames of the window (`correlated`)
    bridge : the window is a bridge. If frames are correlated it has fields of its own: those of its known
        frames have made what is known, and noise that is correlated with them would not be noise
    """
    stream = _BRIDGE if bridge and correlation else 0
    fields = [[frame_noise(seed, m, tile, k, shape, stream) for k in frames] for m in members]
    noise = torch.from_numpy(np.array(fields))
    for at, name in (joints or {}).items():
        if share:
            joint = [frame_noise(seed, m, tile, name, shape, _JOINT) for m in members]
            own = noise[:, at].clone()
            noise[:, at] = (1 - share) ** 0.5 * own + share**0.5 * torch.from_numpy(np.array(joint))
    return correlated(noise[:, :, None], correlation)


def correlated(noise: Tensor, correlation: float) -> Tensor:
    """Independent frames made into those of an AR(1) process, each standard normal still.

    Parameters
    ----------
    noise : Tensor, shape (batch, time, ...), standard normal
    correlation : ρ in [0, 1); that of frames i and j becomes ρ^|i − j|. 0 returns the noise as it is.
        The first frame stays as it is and the last all but so (√(1 − ρ^2(T − 1)) of it), for these share
        noise with other windows
    """
    if not correlation:
        return noise
    last = noise.shape[1] - 1
    order = sorted(
        range(last + 1), key=lambda step: 0 < step < last
    )  # both ends, then between them
    steps = torch.tensor(order, dtype=torch.float64)
    covariance = correlation ** (steps[:, None] - steps[None, :]).abs()
    factor = torch.zeros_like(covariance)
    factor[torch.tensor(order)[:, None], order] = torch.linalg.cholesky(covariance)
    return torch.einsum("ij,bj...->bi...", factor.to(noise), noise)
