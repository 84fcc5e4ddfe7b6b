"""What all baselines do around their method: cells of both grids, missing cells, the finished record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.ndimage import distance_transform_edt


def fine_cells(pr: xr.DataArray, grid: xr.Dataset) -> int:
    """Fine cells a coarse cell and axis.

    Raises
    ------
    ValueError
        If the fine grid is not the coarse grid with every cell divided equally.
    """
    fine = {dim: grid.sizes[dim] for dim in ("y", "x")}
    factors = {fine[dim] / pr.sizes[dim] for dim in fine}
    factor = factors.pop()
    if factors or not factor.is_integer():
        raise ValueError(
            f"the fine grid {fine['y']} × {fine['x']} does not divide the cells of the coarse grid "
            f"{pr.sizes['y']} × {pr.sizes['x']} equally; use the grid entry of the same source"
        )
    return int(factor)


def is_periodic(grid: xr.Dataset) -> bool:
    """Whether x of a grid of the contract closes on itself."""
    return bool(int(grid.attrs.get("periodic_x", 0)))


def fill_missing(field: np.ndarray, *, periodic_x: bool) -> tuple[np.ndarray, np.ndarray]:
    """Give missing cells the value of the nearest valid cell, as beyond the edge of the grid.

    Parameters
    ----------
    field : ndarray, shape (y, x), NaN or infinite where missing
    periodic_x : the nearest cell may lie across the seam of longitude

    Returns
    -------
    the field, 0 everywhere if no cell is valid; and where it was missing, bool, shape (y, x)
    """
    missing = ~np.isfinite(field)
    if not missing.any():
        return field, missing
    if missing.all():
        return np.zeros_like(field), missing
    width = field.shape[1]
    around = np.tile(missing, 3) if periodic_x else missing
    y, x = distance_transform_edt(around, return_distances=False, return_indices=True)
    if periodic_x:
        y, x = (index[:, width : 2 * width] for index in (y, x))
    return field[y, x % width], missing


def refined(mask: np.ndarray, factor: int) -> np.ndarray:
    """Every cell of the last two axes repeated `factor` times along both."""
    return mask.repeat(factor, axis=-2).repeat(factor, axis=-1)


def without_positions(pr: xr.DataArray) -> xr.DataArray:
    """`pr` without the coordinates of its cells, whole in y and x where it is lazy."""
    whole = pr.chunk({"y": -1, "x": -1}) if pr.chunks is not None else pr
    return whole.drop_vars([name for name, c in pr.coords.items() if {"y", "x"} & set(c.dims)])


def finished(
    out: xr.DataArray,
    pr: xr.DataArray,
    grid: xr.Dataset,
    *,
    members: Sequence[int] | range,
    comment: str,
) -> xr.DataArray:
    """Name a fine record of dims member and those of `pr`, with the coordinates of the grid."""
    here = {n: c for n, c in grid.coords.items() if set(c.dims) <= {"tile", "y", "x"}}
    out = out.transpose("member", *pr.dims).assign_coords(here)
    out = out.assign_coords(member=np.array(list(members), np.int32))
    return out.rename("pr").assign_attrs(pr.attrs, units="kg m-2 s-1", comment=comment)
