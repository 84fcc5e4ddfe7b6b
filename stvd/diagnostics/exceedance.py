"""How much of the area exceeds a threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr


def exceedance_area(
    field: xr.DataArray, area: xr.DataArray, thresholds: Sequence[float]
) -> xr.DataArray:
    """Share of the area in which a field exceeds each threshold, `Σ aᵢ [fᵢ > t] / Σ aᵢ`.

    Parameters
    ----------
    field : DataArray, shape (..., [tile,] y, x), frames or annual maxima, lazily or in memory;
        missing cells (NaN) are in neither sum
    area : DataArray, shape ([tile,] y, x), m2
    thresholds : in the units of `field`

    Returns
    -------
    DataArray, shape (..., threshold), 1; NaN where every cell is missing
    """
    dims = [d for d in ("tile", "y", "x") if d in field.dims]
    weights = area.reset_coords(drop=True).astype(np.float64)
    there = xr.dot(field.notnull(), weights, dim=dims)
    shares = [xr.dot(field > t, weights, dim=dims) / there.where(there > 0) for t in thresholds]
    units = field.attrs.get("units", "1")
    coordinate = xr.Variable(
        "threshold", np.asarray(thresholds, float), {"units": units, "long_name": "threshold"}
    )
    said = field.attrs.get("long_name", field.name)
    share = xr.concat(shares, coordinate).transpose(..., "threshold").drop_attrs(deep=False)
    return share.assign_attrs(
        long_name=f"share of the area in which the {said} exceeds the threshold", units="1"
    )
