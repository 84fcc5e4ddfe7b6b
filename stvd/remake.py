"""What rain is remade into for training: magnified or smoothed, as other networks have it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

BLUR_REACH = 3
"""Where the Gaussian of a blur is cut off, standard deviations."""


class Remake(NamedTuple):
    """What is done to fine rain before its blocks are averaged anew.

    zoom : magnification, by linear interpolation
    blur : standard deviation of a Gaussian filter, fine cells
    """

    zoom: float = 1.0
    blur: float = 0.0


AS_IT_IS = Remake()


def blurred(field: np.ndarray, std: float) -> np.ndarray:
    """The last two axes smoothed by a Gaussian of so many cells; what misses a cell it needs is missing."""
    if not std:
        return field
    for axis in (-2, -1):
        field = gaussian_filter1d(field, std, axis, mode="nearest", radius=blur_reach(std))
    return field


def blur_reach(blur: float) -> int:
    """Cells beyond a cell that its smoothed value depends on."""
    return int(np.ceil(BLUR_REACH * blur))


def magnify(field: np.ndarray, zoom: float, shape: tuple[int, int]) -> np.ndarray:
    """Linear interpolation of the last two axes to cells 1 / `zoom` as wide; the first stay in place."""
    for axis, size in zip((-2, -1), shape, strict=True):
        at = np.arange(size) / zoom
        low = np.minimum(at.astype(int), field.shape[axis] - 2)
        share = (at - low).astype(np.float32)
        share = share[:, None] if axis == -2 else share
        field = field.take(low, axis) * (1 - share) + field.take(low + 1, axis) * share
    return field


def block_mean(fine: np.ndarray, factor: int) -> np.ndarray:
    """Plain mean of blocks of the last two axes; a block with a missing cell is missing."""
    ny, nx = (size // factor for size in fine.shape[-2:])
    return fine.reshape(*fine.shape[:-2], ny, factor, nx, factor).mean((-3, -1))


def whole(frame: np.ndarray, remake: Remake, multiple: int) -> np.ndarray:
    """A whole frame, remade; what is magnified has sides that are a multiple of `multiple`."""
    frame, zoom = blurred(frame, remake.blur), remake.zoom
    y, x = (int((size - 1) * zoom) // multiple * multiple for size in frame.shape)
    return frame if zoom == 1 else magnify(frame, zoom, (y, x))
