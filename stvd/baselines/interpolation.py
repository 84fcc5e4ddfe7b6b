"""Interpolation of the coarse rain to the fine grid: what any downscaling has to beat."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from scipy.ndimage import zoom

Method = Literal["bilinear", "bicubic"]
_ORDER = {"bilinear": 1, "bicubic": 3}


def interpolate(
    coarse: xr.Dataset, grid: xr.Dataset, *, method: Method = "bicubic"
) -> xr.DataArray:
    """Spline interpolation between cell centres, an ensemble of one member.

    Cells of both grids share their edges, x wraps where the grid is periodic, and the field goes
    on as its edge value beyond other edges. Overshoots below 0 are set to 0.

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
    fine = {dim: grid.sizes[dim] for dim in ("y", "x")}
    factors = {fine[dim] / pr.sizes[dim] for dim in fine}
    factor = factors.pop()
    if factors or not factor.is_integer():
        raise ValueError(
            f"the fine grid {fine['y']} × {fine['x']} does not divide the cells of the coarse grid "
            f"{pr.sizes['y']} × {pr.sizes['x']} equally; use the grid entry of the same source"
        )
    lazy = pr.chunk({"y": -1, "x": -1}) if pr.chunks is not None else pr
    drop = [name for name, c in pr.coords.items() if {"y", "x"} & set(c.dims)]
    out = xr.apply_ufunc(
        _zoom,
        lazy.drop_vars(drop),
        kwargs={
            "factor": int(factor),
            "order": _ORDER[method],
            "periodic_x": bool(int(grid.attrs.get("periodic_x", 0))),
        },
        input_core_dims=[["y", "x"]],
        output_core_dims=[["y", "x"]],
        exclude_dims={"y", "x"},
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": fine},
        output_dtypes=[np.float32],
    ).transpose(*pr.dims)
    here = {n: c for n, c in grid.coords.items() if set(c.dims) <= {"tile", "y", "x"}}
    out = out.assign_coords(here).expand_dims(member=np.array([0], np.int32))
    return out.rename("pr").assign_attrs(
        pr.attrs, units="kg m-2 s-1", comment=f"{method} interpolation"
    )


def _zoom(pr: np.ndarray, factor: int, order: int, periodic_x: bool) -> np.ndarray:
    """Refine the last two axes, one after the other: the modes at their edges may differ."""
    lead = (1,) * (pr.ndim - 2)
    rows = zoom(pr, (*lead, factor, 1), order=order, mode="nearest", grid_mode=True)
    mode = "grid-wrap" if periodic_x else "nearest"
    fine = zoom(rows, (*lead, 1, factor), order=order, mode=mode, grid_mode=True)
    return np.maximum(fine, 0.0).astype(np.float32)
