"""Interpolation of the coarse rain to the fine grid: what any downscaling has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import xarray as xr
from scipy.ndimage import zoom

from stvd.baselines.fields import (
    fill_missing,
    fine_cells,
    finished,
    is_periodic,
    refined,
    without_positions,
)

Method = Literal["bilinear", "bicubic"]
_ORDER = {"bilinear": 1, "bicubic": 3}


@dataclass(frozen=True)
class Interpolation:
    """Spline interpolation as a `Downscaler` of one member."""

    method: Method = "bicubic"

    @property
    def name(self) -> str:
        return self.method

    def sample(
        self, coarse: xr.Dataset, grid: xr.Dataset, *, members: range, seed: int
    ) -> xr.DataArray:
        return interpolate(coarse, grid, method=self.method)


def interpolate(
    coarse: xr.Dataset, grid: xr.Dataset, *, method: Method = "bicubic"
) -> xr.DataArray:
    """Spline interpolation between cell centres, an ensemble of one member.

    Cells of both grids share their edges, x wraps where the grid is periodic, and the field goes
    on as its edge value beyond other edges. Overshoots below 0 are set to 0. Fine cells of a missing
    coarse cell are missing; those beside it are interpolated from its nearest valid cell.

    Parameters
    ----------
    coarse : Dataset with `pr`, shape (time, [tile,] y, x), kg m-2 s-1, lazily or in memory
    grid : Dataset on the fine grid with `areacella`; its attribute `periodic_x` is heeded
    method : "bilinear", or "bicubic" for cubic splines

    Returns
    -------
    DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, float32, lazy if `coarse` is

    Raises
    ------
    ValueError
        If the fine grid is not the coarse grid with every cell divided equally.
    """
    pr = coarse["pr"]
    factor = fine_cells(pr, grid)
    out = xr.apply_ufunc(
        refine,
        without_positions(pr),
        kwargs={"factor": factor, "method": method, "periodic_x": is_periodic(grid)},
        input_core_dims=[["y", "x"]],
        output_core_dims=[["y", "x"]],
        exclude_dims={"y", "x"},
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {dim: grid.sizes[dim] for dim in ("y", "x")}},
        output_dtypes=[np.float32],
    ).expand_dims("member")
    return finished(out, pr, grid, members=range(1), comment=f"{method} interpolation")


def refine(
    pr: np.ndarray, *, factor: int, method: Method = "bicubic", periodic_x: bool = False
) -> np.ndarray:
    """Interpolate the last two axes.

    Parameters
    ----------
    pr : ndarray, shape (..., y, x), kg m-2 s-1, NaN where missing

    Returns
    -------
    ndarray of float32, shape (..., y · factor, x · factor), ≥ 0, NaN where `pr` is missing
    """
    *lead, ny, nx = pr.shape
    rows = _matrix(ny, factor, method, False)
    columns = _matrix(nx, factor, method, periodic_x)
    fine = np.empty((int(np.prod(lead)), ny * factor, nx * factor), np.float32)
    for frame, out in zip(pr.reshape(-1, ny, nx), fine, strict=True):
        filled, missing = fill_missing(frame, periodic_x=periodic_x)
        np.maximum(rows @ filled.astype(np.float64) @ columns.T, 0.0, out=out, casting="same_kind")
        if missing.any():
            out[refined(missing, factor)] = np.nan
    return fine.reshape(*lead, *fine.shape[1:])


@lru_cache(maxsize=32)
def _matrix(cells: int, factor: int, method: Method, periodic: bool) -> np.ndarray:
    """Interpolation along an axis as a matrix, shape (cells · factor, cells): it is linear."""
    mode = "grid-wrap" if periodic else "nearest"
    units = np.eye(cells)
    columns = [zoom(u, factor, order=_ORDER[method], mode=mode, grid_mode=True) for u in units]
    return np.stack(columns, axis=1)
