"""Cells of a logically rectangular grid: their area, and area-weighted means over blocks of them.

Rows `y` ascend from the south and columns `x` from the west; a leading `tile` dimension, as of a
cubed sphere, is carried along.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

EARTH_RADIUS = 6_371_000.0  # m, of the sphere on which areas are computed


def coarsen_area_weighted(fine: xr.DataArray, area: xr.DataArray, factor: int) -> xr.DataArray:
    """Area-weighted mean of `factor` × `factor` blocks, `Σ aᵢ fᵢ / Σ aᵢ`, lazily if `fine` is.

    A block with one missing value is missing. Coordinates along y and x are dropped
    (`coarsen_coordinates` makes those of the blocks).

    Parameters
    ----------
    fine : DataArray, shape (..., y, x)
    area : DataArray, shape ([tile,] y, x), m2
    factor : int, divides both y and x

    Returns
    -------
    DataArray, shape (..., y / factor, x / factor), the units and type of `fine`

    Raises
    ------
    ValueError
        If `factor` does not divide the grid, or the grids of `fine` and `area` differ.
    """
    for dim in ("y", "x"):
        if fine.sizes[dim] % factor:
            raise ValueError(
                f"factor {factor} does not divide the {fine.sizes[dim]} cells along {dim}; "
                f"crop the grid to a multiple of {factor}"
            )
        if fine.sizes[dim] != area.sizes[dim]:
            raise ValueError(
                f"field and cell area differ along {dim}: {fine.sizes[dim]} and "
                f"{area.sizes[dim]} cells"
            )
    if fine.chunks is not None:
        fine = fine.chunk({"y": -1, "x": -1})
    drop = [name for name, c in fine.coords.items() if {"y", "x"} & set(c.dims)]
    coarse = xr.apply_ufunc(
        weighted_block_mean,
        fine.drop_vars(drop),
        area.reset_coords(drop=True).drop_vars(["y", "x"], errors="ignore"),
        kwargs={"factor": factor},
        input_core_dims=[["y", "x"], ["y", "x"]],
        output_core_dims=[["y", "x"]],
        exclude_dims={"y", "x"},
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": {d: fine.sizes[d] // factor for d in ("y", "x")},
        },
        output_dtypes=[fine.dtype],
        keep_attrs=True,
    ).transpose(*fine.dims)
    coarse.attrs = dict(fine.attrs)
    return coarse.rename(fine.name)


def weighted_block_mean(fine: np.ndarray, area: np.ndarray, factor: int) -> np.ndarray:
    """Area-weighted mean of blocks, shape (..., y / factor, x / factor), in the type of `fine`."""
    total = _block_sum(fine * area.astype(np.float64), factor)
    return np.asarray(total / _block_sum(area.astype(np.float64), factor), dtype=fine.dtype)


def _block_sum(field: np.ndarray, factor: int) -> np.ndarray:
    *lead, ny, nx = field.shape
    return field.reshape(*lead, ny // factor, factor, nx // factor, factor).sum(axis=(-3, -1))


def coarsen_coordinates(grid: xr.Dataset, factor: int) -> dict[str, xr.DataArray]:
    """The coordinates `lat`, `lon`, `y`, `x` (those present) of `factor` × `factor` blocks.

    One-dimensional coordinates are averaged; two-dimensional latitude and longitude are those of
    the mean position on the sphere, so that the date line and the poles do no harm.
    """
    found: dict[str, xr.DataArray] = {}
    for name in ("lat", "lon", "y", "x"):
        if name in grid.coords and grid[name].ndim == 1:
            dim = str(grid[name].dims[0])
            found[name] = xr.DataArray(
                grid[name].values.reshape(-1, factor).mean(axis=1), dims=dim, attrs=grid[name].attrs
            )
    if "lat" in grid.coords and grid["lat"].ndim > 1:
        points = unit_vectors(grid["lat"].values, grid["lon"].values)
        mean = np.stack([_block_sum(p, factor) for p in np.moveaxis(points, -1, 0)], axis=-1)
        lat, lon = angles(mean)
        dims = grid["lat"].dims
        found["lat"] = xr.DataArray(lat, dims=dims, attrs=grid["lat"].attrs)
        found["lon"] = xr.DataArray(
            _nearest_turn(lon, grid["lon"].values), dims=dims, attrs=grid["lon"].attrs
        )
    return found


def _nearest_turn(lon: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Longitudes in 0…360 where those of the fine grid are, in −180…180 otherwise."""
    return lon % 360.0 if float(np.max(like)) > 180.0 else lon


def cell_area(grid: xr.Dataset) -> xr.DataArray:
    """Area of the cells of a grid known by its centres.

    Regular grids (1-D `lat`, `lon`, degrees): `R² (sin φₙ − sin φₛ) Δλ` between edges half-way
    between centres; the first and last row reach the pole where it is less than a row away.
    Projected grids (`y`, `x` in m): `Δy Δx`, the area on the map. Other grids (2-D `lat`, `lon`):
    the spherical quadrilateral of the corners half-way between centres.

    Parameters
    ----------
    grid : Dataset with coordinates `lat` and `lon`, or `y` and `x` with units m

    Returns
    -------
    DataArray, shape ([tile,] y, x), m2

    Raises
    ------
    ValueError
        If the dataset has none of these coordinates.
    """
    attrs = {"standard_name": "cell_area", "long_name": "area of the grid cell", "units": "m2"}
    if "lat" in grid.coords and grid["lat"].ndim == 1:
        south_north = np.deg2rad(latitude_edges(grid["lat"].values))
        west_east = np.deg2rad(edges(grid["lon"].values))
        area = EARTH_RADIUS**2 * np.outer(np.diff(np.sin(south_north)), np.diff(west_east))
        return xr.DataArray(area, dims=("y", "x"), name="areacella", attrs=attrs)
    if all(d in grid.coords and grid[d].attrs.get("units") == "m" for d in ("y", "x")):
        area = np.outer(np.diff(edges(grid["y"].values)), np.diff(edges(grid["x"].values)))
        return xr.DataArray(area, dims=("y", "x"), name="areacella", attrs=attrs)
    if "lat" in grid.coords:
        points = unit_vectors(grid["lat"].values, grid["lon"].values)
        area = EARTH_RADIUS**2 * _quadrilateral(corners(points))
        return xr.DataArray(area, dims=grid["lat"].dims, name="areacella", attrs=attrs)
    raise ValueError(
        "the grid has neither lat and lon in degrees nor y and x in m, so its cells have no known "
        "area; add these coordinates to the source"
    )


def edges(centres: np.ndarray) -> np.ndarray:
    """Edges half-way between centres, shape (n + 1,), the outer ones extrapolated."""
    middle = (centres[1:] + centres[:-1]) / 2
    first = centres[0] - (middle[0] - centres[0])
    last = centres[-1] + (centres[-1] - middle[-1])
    return np.concatenate([[first], middle, [last]])


def latitude_edges(lat: np.ndarray) -> np.ndarray:
    """Edges of rows, degrees, shape (n + 1,), the outer ones at a pole less than a row away."""
    bounds = edges(lat)
    for end, inner in ((0, 1), (-1, -2)):
        if 90.0 - abs(lat[end]) < abs(lat[inner] - lat[end]):
            bounds[end] = np.copysign(90.0, lat[end])
    return np.asarray(np.clip(bounds, -90.0, 90.0))


def is_periodic(lon: np.ndarray) -> bool:
    """Whether equally spaced longitudes, degrees, shape (x,), go once around the earth."""
    if lon.ndim != 1 or lon.size < 2:
        return False
    spacing = (lon[-1] - lon[0]) / (lon.size - 1)
    return bool(abs(spacing * lon.size - 360.0) < 0.01 * spacing)


def unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Points of the unit sphere, shape (..., 3), from degrees."""
    phi, lam = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def angles(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude in −180…180, degrees, of vectors of any length, shape (..., 3)."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


def corners(points: np.ndarray) -> np.ndarray:
    """Corners of cells, shape (..., y + 1, x + 1, 3), the outer ones extrapolated."""
    for axis in (-3, -2):
        p = np.moveaxis(points, axis, 0)
        padded = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
        points = np.moveaxis((padded[1:] + padded[:-1]) / 2, 0, axis)
    return np.asarray(points / np.linalg.norm(points, axis=-1, keepdims=True))


def _quadrilateral(corners: np.ndarray) -> np.ndarray:
    """Solid angle of the cells between corners, shape (..., y, x)."""
    a, b = corners[..., :-1, :-1, :], corners[..., :-1, 1:, :]
    c, d = corners[..., 1:, 1:, :], corners[..., 1:, :-1, :]
    return _triangle(a, b, c) + _triangle(a, c, d)


def _triangle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Solid angle of spherical triangles (Van Oosterom and Strackee, 1983)."""
    volume = np.sum(a * np.cross(b, c), axis=-1)
    return np.asarray(2 * np.abs(np.arctan2(volume, 1 + np.sum(a * b + b * c + c * a, axis=-1))))
