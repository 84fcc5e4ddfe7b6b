"""Orography and land fraction of a file, on the grid of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stvd.grid import latitude_edges

Array = NDArray[np.floating[Any]]


def overlap(target: Array, source: Array) -> Array:
    """Share of each target cell that each source cell covers, along one axis.

    Parameters
    ----------
    target : shape (n + 1,), ascending cell edges
    source : shape (m + 1,), ascending cell edges in the same measure

    Returns
    -------
    shape (n, m); every row sums to 1
    """
    low = np.maximum(target[:-1, None], source[None, :-1])
    high = np.minimum(target[1:, None], source[None, 1:])
    shared = np.clip(high - low, 0.0, None)
    return np.asarray(shared / shared.sum(axis=1, keepdims=True))


def area_mean(field: Array, lat: Array, lon: Array, to_lat: Array, to_lon: Array) -> Array:
    """Average a global field over the cells of a coarser grid, by area.

    Parameters
    ----------
    field : shape (lat, lon)
    lat, lon : degrees, ascending cell centres; `lon` is periodic and evenly spaced
    to_lat, to_lon : degrees, the same for the coarser grid

    Returns
    -------
    shape (to_lat, to_lon), unit of `field`
    """

    def lon_edges(centres: Array) -> Array:
        width = 360.0 / centres.size
        return np.asarray(centres[0] + width * (np.arange(centres.size + 1) - 0.5))

    source, target = (np.sin(np.radians(latitude_edges(rows))) for rows in (lat, to_lat))
    around = np.concatenate([lon_edges(lon)[:-1] - 360, lon_edges(lon)[:-1], lon_edges(lon) + 360])
    by_lon = overlap(lon_edges(to_lon), around)
    by_lon = by_lon.reshape(to_lon.size, 3, lon.size).sum(axis=1)
    return np.asarray(overlap(target, source) @ field @ by_lon.T)


def terrain_on_grid(path: Path, lat: Array, lon: Array) -> xr.Dataset:
    """Orography and land fraction of a file on the model grid, as `jcm` wants them.

    Parameters
    ----------
    path : NetCDF with `lat`, `lon`, `orog` (m) and `land_fraction` (0..1): this grid or a finer one
    lat, lon : degrees, the model grid

    Returns
    -------
    Dataset with `orog` (m) and `lsm` (0..1), shape (lon, lat)
    """
    with xr.open_dataset(path) as file:
        source = file[["orog", "land_fraction"]].transpose("lat", "lon").load()
    same = source.lat.shape == lat.shape and source.lon.shape == lon.shape
    if same and np.allclose(source.lat, lat) and np.allclose(source.lon, lon):
        values = {name: source[name].values for name in ("orog", "land_fraction")}
    else:
        grids = source.lat.values, source.lon.values, lat, lon
        values = {
            name: area_mean(source[name].values, *grids) for name in ("orog", "land_fraction")
        }
    return xr.Dataset(
        {
            "orog": (("lat", "lon"), values["orog"]),
            "lsm": (("lat", "lon"), values["land_fraction"]),
        },
        coords={"lat": lat, "lon": lon},
    ).transpose("lon", "lat")
