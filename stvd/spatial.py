"""Spatial statistics of rain fields: spectrum, autocorrelation, neighbourhoods, neighbours.

All take fields of shape (..., y, x) and treat every leading dimension as a batch. Distances are
counted in grid cells, as is usual for comparing systems on one grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.fft
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
    transform = scipy.fft.rfft2(values)
    power = (transform.real**2 + transform.imag**2) / (ny * nx)

    ring, share = _rings(ny, nx)
    rows = power.reshape(-1, power.shape[-2] * power.shape[-1])
    means = [np.bincount(ring, share * row, minlength=max(ny, nx)) for row in rows]
    spectrum = np.reshape(means, (*field.shape[:-2], -1))
    return np.asarray(spectrum[..., 1 : max(ny, nx) // 2 + 1])


@lru_cache(maxsize=8)
def _rings(ny: int, nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Ring of each mode of a real transform, and its share in the mean of the ring, flat."""
    size = max(ny, nx)
    radius = np.hypot(scipy.fft.fftfreq(ny)[:, None], scipy.fft.rfftfreq(nx)) * size
    ring = np.rint(radius).astype(np.int64).ravel()
    # A real transform leaves out the mirror image of every column but the first and the middle.
    twins = np.full(nx // 2 + 1, 2.0)
    twins[0] = 1.0
    if nx % 2 == 0:
        twins[-1] = 1.0
    twins = np.broadcast_to(twins, (ny, nx // 2 + 1)).ravel()
    return ring, twins / np.bincount(ring, twins)[ring]


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
    lead = field.shape[:-2]
    mask = np.ones(field.shape[-2:], bool) if valid is None else valid
    count = np.broadcast_to(mask.sum(axis=(-2, -1)), lead)
    there = mask.astype(np.float64)
    pairs = np.stack([_pair_sum(there, lag, periodic_x) for lag in lags], axis=-1)
    pairs = np.broadcast_to(pairs, (*lead, len(lags)))
    mask = np.broadcast_to(mask, field.shape)

    out = np.full((*lead, len(lags)), np.nan)
    for place in np.ndindex(lead):
        known = np.where(mask[place], field[place], 0.0)
        centred = known - known.sum(dtype=np.float64) / max(count[place], 1)
        centred *= mask[place]
        variance = np.vdot(centred, centred) / max(count[place], 1)
        for index, lag in enumerate(lags):
            if pairs[place][index] > 0 and variance > 0:
                product = _pair_sum(centred, lag, periodic_x)
                out[place][index] = product / (pairs[place][index] * variance)
    return out


def _pair_sum(values: np.ndarray, lag: int, periodic_x: bool) -> np.ndarray:
    """Σ v_i v_j over the pairs of cells `lag` apart along y or x, shape (...)."""
    pairs = [(values[..., lag:, :], values[..., :-lag, :])]
    pairs += [(values[..., lag:], values[..., :-lag])]
    if periodic_x:
        pairs += [(values[..., :lag], values[..., -lag:])]
    return np.asarray(sum(np.einsum("...yx,...yx->...", a, b) for a, b in pairs))


def event_table(event: np.ndarray) -> np.ndarray:
    """How many cells before (y, x), on both axes, have the event: shape (..., y + 1, x + 1)."""
    *lead, ny, nx = event.shape
    table = np.zeros((*lead, ny + 1, nx + 1), np.int32)
    np.cumsum(event, axis=-2, dtype=np.int32, out=table[..., 1:, 1:])
    return np.cumsum(table, axis=-1, out=table)


def box_counts(table: np.ndarray, scale: int, *, periodic_x: bool = False) -> np.ndarray:
    """Cells with an event in every `scale` × `scale` box, from the event's `event_table`.

    Boxes lie wholly inside the domain (or wrap in x), as in `scores.spatial.fss_2d`.

    Returns
    -------
    array, shape (..., y − scale + 1, x − scale + 1), or (..., y − scale + 1, x) when periodic; the
    box begins at the cell whose place it has

    Raises
    ------
    ValueError
        If the box does not fit in the grid.
    """
    ny, nx = table.shape[-2] - 1, table.shape[-1] - 1
    if not 1 <= scale <= min(ny, nx):
        raise ValueError(f"a neighbourhood of {scale} cells does not fit in a grid of {ny} × {nx}")
    rows = table[..., scale:, :] - table[..., :-scale, :]
    if periodic_x:
        wrapped = rows[..., 1:scale] + rows[..., -1:]
        rows = np.concatenate([rows, wrapped], axis=-1)
    return np.asarray(rows[..., scale:] - rows[..., :-scale])


def neighbour_jumps(
    field: np.ndarray,
    weights: np.ndarray,
    edges: Sequence[int],
    axis: int,
    *,
    periodic: bool = False,
) -> np.ndarray:
    """Weighted sums of |difference| of adjacent cells along an axis, over given edges and elsewhere.

    Parameters
    ----------
    field : array, shape (..., y, x)
    weights : array, shape (..., y, x), 0 where a cell is not to be counted; a pair has the mean
        weight of its cells, or none where one of them has none
    edges : an edge k lies between the cells k − 1 and k; 0 is the one between the ends
    axis : −2 for y, −1 for x
    periodic : the ends are neighbours

    Returns
    -------
    array, shape (4, ...): Σ w |Δ| over edges and elsewhere, then Σ w over edges and elsewhere
    """
    field, weights = np.moveaxis(field, axis, -1), np.moveaxis(weights, axis, -1)
    if periodic:
        field = np.concatenate([field[..., -1:], field], axis=-1)
        weights = np.concatenate([weights[..., -1:], weights], axis=-1)
    change = np.abs(np.diff(field))
    before, after = weights[..., :-1], weights[..., 1:]
    w = np.where((before > 0) & (after > 0), (before + after) / 2, 0.0)
    at_edge = np.isin(np.arange(change.shape[-1]) + (0 if periodic else 1), list(edges))
    jump = np.einsum("...yx,...yx->...x", change, w)
    size = w.sum(axis=-2)
    size = np.broadcast_to(size, jump.shape)
    return np.stack([s[..., which].sum(-1) for s in (jump, size) for which in (at_edge, ~at_edge)])


def largest_rectangle(valid: np.ndarray) -> tuple[slice, slice] | None:
    """Slices of y and x of the largest rectangle without a missing cell; None if there is none.

    On grids of more than 256 cells a side it is found on blocks of cells, so it may lack a few
    cells at its sides.

    Parameters
    ----------
    valid : bool array, shape (y, x)
    """
    ny, nx = valid.shape
    if valid.all():
        return slice(0, ny), slice(0, nx)
    block = -(-max(ny, nx) // 256)
    rows, columns = ny // block, nx // block
    cut = valid[: rows * block, : columns * block].reshape(rows, block, columns, block)
    whole = np.asarray(cut.all(axis=(1, 3)))
    best, found = 0, None
    height = np.zeros(columns + 1, np.int64)  # whole cells above, 0 beyond the last column
    for row in range(rows):
        height[:-1] = np.where(whole[row], height[:-1] + 1, 0)
        # Columns whose rectangle may still grow, by rising height, with where each began.
        open_: list[tuple[int, int]] = []
        for column, high in enumerate(height.tolist()):
            start = column
            while open_ and open_[-1][1] >= high:
                start, low = open_.pop()
                if low * (column - start) > best:
                    best = low * (column - start)
                    found = (row + 1 - low, row + 1, start, column)
            open_.append((start, high))
    if found is None:
        return None
    top, bottom, left, right = (block * k for k in found)
    return slice(top, bottom), slice(left, right)
