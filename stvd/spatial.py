"""Spatial statistics of rain fields: radial spectrum, autocorrelation, neighbourhood fractions.

All take fields of shape (..., y, x) and treat every leading dimension as a batch. Distances are
counted in grid cells, as is usual for comparing systems on one grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter
from scipy.signal.windows import hann


def radial_frequencies(shape: tuple[int, int]) -> np.ndarray:
    """Frequencies of `radial_spectrum` for a grid of `shape`, in cycles per cell, ascending."""
    size = max(shape)
    return np.arange(1, size // 2 + 1) / size


def radial_spectrum(
    field: np.ndarray, *, periodic_x: bool = False, taper: bool = True
) -> np.ndarray:
    """Radially averaged power spectral density (RAPSD).

    The power |F|² / (y·x) of a mode is averaged over the rings
    round(L·√(f_y² + f_x²)) = 1 … L/2 with L = max(y, x), as in pysteps `rapsd`, so that
    non-square grids are averaged over rings of equal wavelength.

    Parameters
    ----------
    field : array, shape (..., y, x), any unit u
    periodic_x : the x axis closes on itself, so it is not tapered
    taper : remove the mean and apply a Hann taper of unit mean square along the axes that end, so
        that the jump at the edges does not leak into the small scales

    Returns
    -------
    array, shape (..., L // 2), u² per (cycle per cell)²
    """
    ny, nx = field.shape[-2:]
    values = np.asarray(field, dtype=np.float64)
    if taper:
        values = values - values.mean(axis=(-2, -1), keepdims=True)
        values = values * _unit_hann(ny)[:, None]
        values = values if periodic_x else values * _unit_hann(nx)
    power = np.abs(scipy.fft.fft2(values)) ** 2 / (ny * nx)

    size = max(ny, nx)
    radius = np.hypot(scipy.fft.fftfreq(ny)[:, None], scipy.fft.fftfreq(nx)) * size
    ring = np.rint(radius).astype(int).ravel()
    order = np.argsort(ring, kind="stable")
    starts = np.searchsorted(ring[order], np.arange(1, size // 2 + 2))
    modes = np.diff(starts)
    inside = order[starts[0] : starts[-1]]
    sums = np.add.reduceat(
        power.reshape(*field.shape[:-2], -1)[..., inside], starts[:-1] - starts[0], axis=-1
    )
    return np.asarray(sums / modes)


def _unit_hann(size: int) -> np.ndarray:
    """A Hann window with zeros beyond both ends and a mean square of 1."""
    window = hann(size + 2)[1:-1]
    return window / np.sqrt(np.mean(window**2))


def autocorrelation(
    field: np.ndarray,
    lags: Sequence[int],
    *,
    valid: np.ndarray | None = None,
    periodic_x: bool = False,
) -> np.ndarray:
    """Autocorrelation between cells `lag` apart along y or x: Moran's I with those neighbours.

    I(h) = (n / W) Σ_ij w_ij (p_i − p̄)(p_j − p̄) / Σ_i (p_i − p̄)² with w_ij = 1 for pairs of valid
    cells h apart along one axis; h = 1 is the usual rook contiguity.

    Parameters
    ----------
    field : array, shape (..., y, x)
    lags : distances in cells; a lag as long as an axis uses the other axis alone
    valid : bool array, broadcastable to `field`; other cells take no part
    periodic_x : pairs close over the x boundary

    Returns
    -------
    array, shape (..., lag), 1; NaN where the field is constant or no pair exists
    """
    mask = np.broadcast_to(np.True_ if valid is None else valid, field.shape)
    count = mask.sum(axis=(-2, -1))
    total = np.where(mask, field, 0.0).sum(axis=(-2, -1), dtype=np.float64)
    mean = total / np.maximum(count, 1)
    centred = np.where(mask, field - mean[..., None, None], 0.0)
    variance = (centred**2).sum(axis=(-2, -1)) / np.maximum(count, 1)

    out = np.full((*field.shape[:-2], len(lags)), np.nan)
    for index, lag in enumerate(lags):
        pairs = _pair_sum(mask.astype(np.float64), lag, periodic_x)
        product = _pair_sum(centred, lag, periodic_x)
        defined = (pairs > 0) & (variance > 0)
        out[..., index] = np.divide(
            product, pairs * variance, out=np.full_like(product, np.nan), where=defined
        )
    return out


def _pair_sum(values: np.ndarray, lag: int, periodic_x: bool) -> np.ndarray:
    """Σ v_i v_j over the pairs of cells `lag` apart along y or x, shape (...)."""
    along_y = np.einsum("...yx,...yx->...", values[..., lag:, :], values[..., :-lag, :])
    ahead = np.roll(values, -lag, axis=-1) if periodic_x else values[..., lag:]
    here = values if periodic_x else values[..., :-lag]
    return along_y + np.einsum("...yx,...yx->...", ahead, here)


def neighbourhood_fraction(
    event: np.ndarray, scale: int, *, periodic_x: bool = False
) -> np.ndarray:
    """Fraction of the cells in every `scale` × `scale` box that have the event.

    Boxes lie wholly inside the domain (or wrap in x), as in `scores.spatial.fss_2d`.

    Parameters
    ----------
    event : bool array, shape (..., y, x)
    scale : side of the box in cells

    Returns
    -------
    array, shape (..., y − scale + 1, x − scale + 1), or (..., y − scale + 1, x) when periodic

    Raises
    ------
    ValueError
        If the box does not fit in the grid.
    """
    ny, nx = event.shape[-2:]
    if not 1 <= scale <= min(ny, nx):
        raise ValueError(f"a neighbourhood of {scale} cells does not fit in a grid of {ny} × {nx}")
    size = (1,) * (event.ndim - 2) + (scale, scale)
    mode = ["constant"] * (event.ndim - 1) + ["wrap" if periodic_x else "constant"]
    fraction = uniform_filter(event.astype(np.float64), size=size, mode=mode)
    inside_y = slice(scale // 2, scale // 2 + ny - scale + 1)
    inside_x = slice(None) if periodic_x else slice(scale // 2, scale // 2 + nx - scale + 1)
    return fraction[..., inside_y, inside_x]
