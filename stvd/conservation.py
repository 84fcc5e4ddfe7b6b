"""Exact conservation of the coarse rain in every block of fine cells."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def block_mean(fine: Tensor, area: Tensor, factor: int) -> Tensor:
    """Area-weighted mean of `factor` × `factor` blocks, Σ aᵢ fᵢ / Σ aᵢ.

    Parameters
    ----------
    fine : Tensor, shape (..., y, x)
    area : Tensor, shape (y, x), m2

    Returns
    -------
    Tensor, shape (..., y / factor, x / factor)
    """
    weight = area / F.avg_pool2d(area[None], factor)[0].repeat_interleave(
        factor, -2
    ).repeat_interleave(factor, -1)
    flat = (fine * weight).reshape(-1, *fine.shape[-2:])
    return F.avg_pool2d(flat, factor).view(
        *fine.shape[:-2], fine.shape[-2] // factor, fine.shape[-1] // factor
    )


def conserve(
    fine: Tensor, coarse: Tensor, area: Tensor, factor: int, floor: float = 0.02
) -> Tensor:
    """Scale each block so that its mean is the coarse value; a dry block stays dry.

    A block that holds less than `floor` of its coarse rain has no pattern worth scaling: it gets the
    coarse value everywhere.

    Parameters
    ----------
    fine : Tensor, shape (..., y, x), kg m-2 s-1, ≥ 0
    coarse : Tensor, shape (..., y / factor, x / factor), kg m-2 s-1, ≥ 0
    area : Tensor, shape (y, x), m2

    Returns
    -------
    Tensor like `fine`
    """

    def spread(block: Tensor) -> Tensor:
        return block.repeat_interleave(factor, -2).repeat_interleave(factor, -1)

    mean = block_mean(fine, area, factor)
    empty = mean <= floor * coarse
    scale = coarse / mean.where(~empty, 1.0)
    return (fine * spread(scale)).where(~spread(empty), spread(coarse))
