"""Latitude and longitude of a projected grid, from the CF grid mapping of its file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pyproj
import xarray as xr

ATTRS = {
    "lat": {"standard_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "units": "degrees_east"},
}


def geographic(
    y: xr.DataArray, x: xr.DataArray, mapping: Mapping[Hashable, Any]
) -> dict[str, xr.DataArray]:
    """Latitude and longitude (WGS 84) of the cells at projected coordinates.

    Parameters
    ----------
    y, x : DataArrays, shapes (y,) and (x,), m
    mapping : attributes of the grid mapping variable: `crs_wkt`, or `grid_mapping_name` and its parameters
        (CF-1.11, appendix F)

    Returns
    -------
    dict of `lat` and `lon`, shape (y, x), degrees, longitude in −180…180

    Raises
    ------
    ValueError
        If the attributes do not describe a projection, or cells lie where it is not defined.
    """
    try:
        crs = pyproj.CRS.from_cf({str(k): v for k, v in mapping.items()})
        turn = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except (pyproj.exceptions.ProjError, KeyError) as error:
        raise ValueError(f"the grid mapping describes no projection: {error}") from error
    lon, lat = turn.transform(*np.meshgrid(x.values, y.values))
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        raise ValueError(
            f"{int((~np.isfinite(lat)).sum())} of {lat.size} cells lie where the projection {crs.name!r} is not defined"
        )
    dims = (*y.dims, *x.dims)
    values = {"lat": lat, "lon": lon}
    return {name: xr.DataArray(values[name], dims=dims, attrs=ATTRS[name]) for name in ATTRS}
