"""How rough coarse rain is: the exponent by which its increments grow with distance.

The second-order structure function of a self-affine field of Hurst exponent H grows as distance^2H. The
variance of rain within a coarse cell goes on from there to smaller scales, as RainFARM (Rebora et al. 2006)
lets the slope of the coarse spectrum go on; radar networks and kinds of weather differ in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from stvd.transforms import MM_PER_HOUR

TEXTURE_FRAMES, TEXTURE_CELLS = 48, 20_000_000
"""Frames and cells, at most, that a texture is measured on."""
CALM, USUAL = 1e-3, 1.9
"""Increments well below CALM (mm h-1) say nothing; the ratio is then USUAL, that of rough radar rain."""


def squared_increments(rain: Tensor, cells: int = 1) -> Tensor:
    """Mean squared increments of √P over so many cells and over twice as many along y and x, of each frame.

    Parameters
    ----------
    rain : Tensor, shape (..., y, x), kg m-2 s-1; NaN is missing
    cells : the smaller distance

    Returns
    -------
    Tensor, shape (..., 2), mm h-1; 0 where a field is too small or missing
    """
    root = (rain / MM_PER_HOUR).clamp_min(0.0).sqrt()

    def mean_square(distance: int) -> Tensor:
        steps = [
            root.narrow(axis, distance, max(0, root.shape[axis] - distance))
            - root.narrow(axis, 0, max(0, root.shape[axis] - distance))
            for axis in (-2, -1)
            if root.shape[axis] > distance
        ]
        if not steps:
            return root.new_zeros(root.shape[:-2])
        return torch.cat([step.flatten(-2) for step in steps], dim=-1).square().nanmean(-1)

    return torch.stack([mean_square(cells), mean_square(2 * cells)], dim=-1).nan_to_num(nan=0.0)


def scaling_exponent(increments: Tensor) -> Tensor:
    """2H = log2 of the ratio of the squared increments over the larger distance to those over the smaller.

    Parameters
    ----------
    increments : Tensor, shape (..., 2), mm h-1, as of `squared_increments`, averaged as wanted

    Returns
    -------
    Tensor, shape (...)
    """
    one, two = increments.unbind(-1)
    return torch.log2((two + USUAL * CALM) / (one + CALM))


def texture_step(frames: int, cells: int) -> int:
    """Every how many frames a texture is measured on, of so many of so many cells each."""
    return -(-frames // max(1, min(TEXTURE_FRAMES, TEXTURE_CELLS // cells)))


def texture(fine: Iterable[Tensor]) -> Tensor:
    """2H of fine rain, from its increments over two and four cells; shape ().

    Parameters
    ----------
    fine : Tensors, shape (..., y, x), kg m-2 s-1, one a frame; NaN is missing
    """
    each = [squared_increments(frame, 2).reshape(-1, 2).mean(0) for frame in fine]
    return scaling_exponent(torch.stack(each).mean(0))
