"""How rough coarse rain is: the exponent by which its increments grow with distance.

The second-order structure function of a self-affine field of Hurst exponent H grows as distance^2H. The
variance of rain within a coarse cell goes on from there to smaller scales, as RainFARM (Rebora et al. 2006)
lets the slope of the coarse spectrum go on; radar networks and kinds of weather differ in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stvd.transforms import MM_PER_HOUR

CALM, USUAL = 1e-3, 1.9
"""Increments well below CALM (mm h-1) say nothing; the ratio is then USUAL, that of rough radar rain."""


def squared_increments(coarse: Tensor) -> Tensor:
    """Mean squared increments of √P over one and over two coarse cells along y and x, of each frame.

    Parameters
    ----------
    coarse : Tensor, shape (..., y, x), kg m-2 s-1; NaN is missing

    Returns
    -------
    Tensor, shape (..., 2), mm h-1; 0 where a field is too small or missing
    """
    root = (coarse / MM_PER_HOUR).clamp_min(0.0).sqrt()

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

    return torch.stack([mean_square(1), mean_square(2)], dim=-1).nan_to_num(nan=0.0)


def scaling_exponent(increments: Tensor) -> Tensor:
    """2H = log2 of the ratio of the squared increments over two cells to those over one.

    Parameters
    ----------
    increments : Tensor, shape (..., 2), mm h-1, as of `squared_increments`, averaged as wanted

    Returns
    -------
    Tensor, shape (...)
    """
    one, two = increments.unbind(-1)
    return torch.log2((two + USUAL * CALM) / (one + CALM))
