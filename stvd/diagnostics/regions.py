"""Regions as boxes, GeoJSON or shapefiles: how much of each cell lies in them, and means over them.

Shapes are on longitude and latitude in degrees, whose edges are straight on a map of these (RFC 7946).
A longitude may be any turn, so 350 and −10 are the same place; a shape that crosses the antimeridian is
cut there, or goes on beyond ±180.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import shapely
import xarray as xr
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from stvd.diagnostics.region_files import Region, polygons_of
from stvd.grid import (
    EARTH_RADIUS,
    angles,
    cell_area,
    corners,
    edges,
    latitude_edges,
    unit_vectors,
)

GRID = ("tile", "y", "x")


def box(name: str, west: float, south: float, east: float, north: float) -> Region:
    """The region between two meridians and two parallels, eastward from `west` to `east`.

    Parameters
    ----------
    west, east : degrees east, −180…180 or 0…360; east of less than west is one turn further, so a box
        may cross the antimeridian (170 to −170) or Greenwich (350 to 10)
    south, north : degrees north

    Raises
    ------
    ValueError
        If the box has no width or height, is wider than the earth or reaches beyond a pole.
    """
    if east < west:
        east += 360.0
    if not -90.0 <= south < north <= 90.0:
        raise ValueError(
            f"region {name}: south {south:g} and north {north:g} are no range within ±90"
        )
    if not 0.0 < east - west <= 360.0:
        raise ValueError(
            f"region {name}: from west {west:g} to east {east:g} is no range of 0 to 360"
        )
    return Region(name, shapely.box(west, south, east, north))


def region_areas(
    regions: Sequence[Region], grid: xr.Dataset, area: xr.DataArray | None = None
) -> xr.DataArray:
    """Area of each cell that lies in each region: the weights of its mean.

    The share of a cell is that of its outline in longitude and latitude, from `lat_bnds` and
    `lon_bnds` where the grid has them and else half-way to its neighbours; so regions smaller than a
    cell have their mean too. Of cells around a pole, which have no such outline, the centre decides.

    Parameters
    ----------
    regions : with different names
    grid : Dataset with `lat` and `lon`, 1-D or of shape ([tile,] y, x), degrees
    area : DataArray, shape ([tile,] y, x), m2; by default that of the cells

    Returns
    -------
    DataArray, shape (region, [tile,] y, x), m2, with the names in `region` and in `coverage` the share
    of the region that the grid covers: a mean over a region of coverage 0.4 is not that region's

    Raises
    ------
    ValueError
        If the grid has no `lat` and `lon`, two regions share a name, or a region has no cell, by name.
    """
    if "lat" not in grid.variables or "lon" not in grid.variables:
        raise ValueError("the grid has no lat and lon in degrees, so no region can be found on it")
    names = [r.name for r in regions]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"several regions are called {twice[0]!r}; name them apart")
    area = cell_area(grid) if area is None else area
    lat, lon, outlines = _cells(grid)
    dims = [d for d in GRID if d in area.dims]
    size = area.transpose(*dims).values.astype(np.float64)
    if size.shape != lat.shape:
        raise ValueError(f"the area of cells has shape {size.shape}, the grid {lat.shape}")
    found, coverage = [], []
    for region in regions:
        shares = _shares(region, lat.ravel(), lon.ravel(), outlines).reshape(lat.shape)
        inside = shares * np.nan_to_num(size)
        if not inside.any():
            west, south, east, north = region.geometry.bounds
            raise ValueError(
                f"region {region.name!r} has no cell of the grid: it reaches from {west:g} to {east:g} "
                f"degrees east and {south:g} to {north:g} degrees north, the cells' centres from "
                f"{lon.min():g} to {lon.max():g} and {lat.min():g} to {lat.max():g}"
            )
        found.append(inside)
        coverage.append(inside.sum() / sphere_area(region))
    return xr.DataArray(
        np.stack(found),
        dims=("region", *dims),
        coords={
            "region": ("region", np.array(names), {"long_name": "region"}),
            "coverage": (
                "region", np.array(coverage),
                {"long_name": "area of the region on the grid over its whole area", "units": "1"},
            ),
        },
        name="region_area",
        attrs={"long_name": "area of the cell in the region", "units": "m2"},
    )  # fmt: skip


@overload
def region_means(fields: xr.DataArray, areas: xr.DataArray) -> xr.DataArray: ...


@overload
def region_means(fields: xr.Dataset, areas: xr.DataArray) -> xr.Dataset: ...


def region_means(
    fields: xr.DataArray | xr.Dataset, areas: xr.DataArray
) -> xr.DataArray | xr.Dataset:
    """Area-weighted means over regions, of the cells that have a value, lazily if `fields` are.

    Parameters
    ----------
    fields : with dimensions ([tile,] y, x): `pr`, a table or one of its quantities; quantities of a
        table without these dimensions are left out
    areas : DataArray, shape (region, [tile,] y, x), m2, of `region_areas`

    Returns
    -------
    `region` in place of the grid's dimensions, float64; NaN where no cell of a region has a value

    Raises
    ------
    ValueError
        If fields and areas are on grids of different size.
    """
    if isinstance(fields, xr.Dataset):
        horizontal = [n for n, v in fields.data_vars.items() if {"y", "x"} <= set(v.dims)]
        # The bounds of time belong to no quantity, so they would be lost with them.
        kept = {n: c for n, c in fields.coords.items() if not set(c.dims) & set(GRID)}
        means = {n: region_means(fields[n], areas) for n in horizontal}
        return xr.Dataset(means, attrs=fields.attrs).assign_coords(kept)
    dims = [d for d in GRID if d in fields.dims]
    for dim in dims:
        if fields.sizes[dim] != areas.sizes.get(dim):
            raise ValueError(
                f"{fields.name} has {fields.sizes[dim]} cells along {dim} and the regions "
                f"{areas.sizes.get(dim)}; make them of the same grid"
            )
    bare = fields.drop_vars([n for n, c in fields.coords.items() if set(c.dims) & set(dims)])
    mean = bare.astype(np.float64).weighted(areas).mean(dims)
    return mean.drop_attrs(deep=False).assign_attrs(fields.attrs).rename(fields.name)


def sphere_area(region: Region) -> float:
    """Area of a region on the sphere, m2: that of its cylindrical equal-area map."""
    fine = shapely.segmentize(region.geometry, 0.25)
    flat = shapely.transform(
        fine, lambda p: np.stack([np.deg2rad(p[:, 0]), np.sin(np.deg2rad(p[:, 1]))], axis=1)
    )
    return float(EARTH_RADIUS**2 * shapely.area(flat))


def _cells(grid: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres of cells, shape ([tile,] y, x), longitude in −180…180, and outlines, shape (cell,).

    Outlines are None where longitudes do not go around the cell, as around a pole.
    """
    lat, lon = grid["lat"].values.astype(float), grid["lon"].values.astype(float)
    bounds = {n: grid[n].values.astype(float) for n in ("lat_bnds", "lon_bnds") if n in grid}
    if lat.ndim == 1:
        rows = bounds["lat_bnds"] if "lat_bnds" in bounds else _pairs(latitude_edges(lat))
        columns = bounds["lon_bnds"] if "lon_bnds" in bounds else _pairs(edges(lon))
        columns = columns - (lon - _turned(lon))[:, None]
        lat, lon = np.meshgrid(lat, _turned(lon), indexing="ij")
        west, east = (np.broadcast_to(columns[:, k], lat.shape).ravel() for k in (0, 1))
        south, north = (np.broadcast_to(rows[:, k, None], lat.shape).ravel() for k in (0, 1))
        return lat, lon, shapely.box(west, south, east, north)
    lon = _turned(lon)
    if len(bounds) == 2 and bounds["lat_bnds"].shape[-1] == 4:
        lat4, lon4 = bounds["lat_bnds"], bounds["lon_bnds"]
    else:
        points = corners(unit_vectors(lat, lon))
        ny, nx = lat.shape[-2:]
        around = [
            points[..., i : i + ny, j : j + nx, :] for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))
        ]
        lat4, lon4 = angles(np.stack(around, axis=-2))
    lon4 = lon4 - 360.0 * np.round((lon4 - lon[..., None]) / 360.0)
    outlines = shapely.polygons(np.stack([lon4, lat4], axis=-1).reshape(-1, 4, 2))
    odd = (np.ptp(lon4, axis=-1).ravel() > 90.0) | ~shapely.is_valid(outlines)
    outlines[odd] = None
    return lat, lon, outlines


def _shares(region: Region, lat: np.ndarray, lon: np.ndarray, outlines: np.ndarray) -> np.ndarray:
    """Share of each cell in a region, 0…1, shape (cell,)."""
    everywhere = _every_turn(region)
    shapely.prepare(everywhere)
    whole = shapely.contains_properly(everywhere, outlines)
    shares = whole.astype(np.float64)
    cut = np.flatnonzero(shapely.intersects(everywhere, outlines) & ~whole)
    if cut.size:
        common = shapely.area(shapely.intersection(everywhere, outlines[cut]))
        shares[cut] = np.clip(common / shapely.area(outlines[cut]), 0.0, 1.0)
    none = np.flatnonzero(shapely.is_missing(outlines))
    if none.size:
        shares[none] = shapely.intersects_xy(everywhere, lon[none], lat[none])
    return shares


def _every_turn(region: Region) -> BaseGeometry:
    """The region on every turn that a cell with its centre in −180…180 can reach."""
    west, _, east, _ = region.geometry.bounds
    turns = range(int(np.ceil((-270 - east) / 360)), int(np.floor((270 - west) / 360)) + 1)
    return polygons_of(
        shapely.union_all([translate(region.geometry, 360.0 * turn) for turn in turns])
    )


def _turned(lon: np.ndarray) -> np.ndarray:
    """Longitudes in −180…180."""
    return (lon + 180.0) % 360.0 - 180.0


def _pairs(ends: np.ndarray) -> np.ndarray:
    return np.stack([ends[:-1], ends[1:]], axis=-1)
