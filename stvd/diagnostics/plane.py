"""Where the cells of a grid lie on the plane of a map: in degrees, in km about its middle, or counted.

| grid | plane |
| --- | --- |
| latitude and longitude along the axes | degrees; once around the earth from −180° on |
| two-dimensional latitude and longitude | km, Lambert's azimuthal equal-area map, its columns upright |
| several tiles, or two-dimensional and around the earth | degrees, the nearest cell at every point |
| y and x in metres alone | km |
| no position | cells |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from stvd.grid import EARTH_RADIUS, angles, is_periodic, unit_vectors

Kind = Literal["degrees", "azimuthal", "km", "cells"]
Box = tuple[float, float, float, float]  # x from, x to, y from, y to
KM = EARTH_RADIUS / 1e3


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Cell centres of a grid on a plane, shapes (x,) and (y,), or both (y, x)."""

    kind: Kind
    x: np.ndarray
    y: np.ndarray
    periodic: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return (self.y.shape[0], self.x.shape[-1])

    def arrange(self, values: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (x,) and (y,), or both (y, x), and values (y, x), of a field of this grid or coarser.

        Raises
        ------
        ValueError
            If the cells of the field are not whole blocks of cells of the grid.
        """
        if "tile" in values.dims:
            values = values.isel(tile=0)
        there = values.transpose("y", "x").values
        factor = _factor(self.shape, there.shape)
        x, y = _blocks(self.x, factor), _blocks(self.y, factor)
        if not self.periodic:
            return x, y, there
        x = (x + 180.0) % 360.0 - 180.0
        order = np.argsort(x)
        return x[order], y, there[:, order]

    @property
    def limits(self) -> Box:
        """The rectangle that the cells fill, half a cell beyond the outer centres."""
        x, y = self.x, self.y
        if self.periodic:
            x = np.sort((x + 180.0) % 360.0 - 180.0)
        half = [_spacing(a, axis) / 2 for a, axis in ((x, -1), (y, 0))]
        west, east = float(x.min() - half[0]), float(x.max() + half[0])
        south, north = float(y.min() - half[1]), float(y.max() + half[1])
        if self.kind == "degrees":
            south, north = max(south, -90.0), min(north, 90.0)
        return west, east, south, north

    @property
    def aspect(self) -> float:
        """Length of a unit of y over that of a unit of x, as drawn."""
        south, north = self.limits[2:]
        if self.kind != "degrees" or north - south > 120:
            return 1.0
        return float(1 / np.cos(np.deg2rad((south + north) / 2)))

    @property
    def ratio(self) -> float:
        """Height over width of the map."""
        west, east, south, north = self.limits
        return self.aspect * (north - south) / (east - west)

    @property
    def cell(self) -> tuple[np.ndarray, float]:
        """Size of cells along x, shape (y, 1) or (1, 1), and along y, in m; 1 if it is not known."""
        dx, dy = _spacing(self.x, -1), _spacing(self.y, 0)
        if self.kind == "degrees":
            metre = np.deg2rad(1) * EARTH_RADIUS
            return metre * dx * np.maximum(np.cos(np.deg2rad(self.y)), 0.02)[:, None], metre * dy
        unit = 1.0 if self.kind == "cells" else 1e3
        return np.array([[dx * unit]]), dy * unit


@dataclass(frozen=True, kw_only=True)
class Azimuthal(Plane):
    """Lambert's azimuthal equal-area map of the sphere, in km, about a point and turned.

    A point p goes to R √(2 / (1 + p·c)) (p·e, p·n), with the centre c and the unit vectors e and n,
    along the rows and columns of the grid there (Snyder, 1987, section 24).
    """

    centre: tuple[float, float]  # latitude, longitude
    axes: np.ndarray  # shape (3, 3): c, e, n

    def project(self, lonlat: np.ndarray) -> np.ndarray:
        """Points of shape (..., 2), longitude and latitude, on the plane, shape (..., 2), km."""
        return np.stack(_azimuthal(unit_vectors(lonlat[..., 1], lonlat[..., 0]), self.axes), -1)

    @property
    def reach(self) -> float:
        """Angle from the centre to the farthest corner of the map, degrees."""
        west, east, south, north = self.limits
        chord = np.hypot(max(-west, east), max(-south, north)) / KM
        return float(np.rad2deg(2 * np.arcsin(min(chord / 2, 1.0))))


@dataclass(frozen=True, kw_only=True)
class Nearest(Plane):
    """A raster of degrees, every point with the value of the nearest cell; shape of `points` (..., 3)."""

    points: np.ndarray
    _index: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.points.shape[-3], self.points.shape[-2]

    def arrange(self, values: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions and values of the raster, NaN where there is no cell."""
        tiles = ["tile"] if "tile" in values.dims else []
        there = values.transpose(*tiles, "y", "x").values
        factor = _factor(self.shape, there.shape[-2:])
        if factor not in self._index:
            self._index[factor] = self._nearest(factor)
        index = self._index[factor]
        flat = np.append(there.ravel().astype(np.float64), np.nan)
        return self.x, self.y, flat[index]

    def _nearest(self, factor: int) -> np.ndarray:
        """The cell that is nearest to each point of the raster; one after the last: none is near."""
        cells = np.stack([_blocks(p, factor) for p in np.moveaxis(self.points, -1, 0)], -1)
        apart = np.linalg.norm(np.diff(cells, axis=-2), axis=-1).max()
        lat, lon = np.meshgrid(self.y, self.x, indexing="ij")
        found = cKDTree(cells.reshape(-1, 3)).query(
            unit_vectors(lat, lon).reshape(-1, 3), distance_upper_bound=apart
        )[1]
        return np.asarray(found).reshape(lat.shape)


def plane_of(grid: xr.DataArray | xr.Dataset) -> Plane:
    """The plane for maps of a grid, as the table above says."""
    if "lat" in grid.coords and "lon" in grid.coords:
        lat, lon = grid["lat"], grid["lon"]
        if lat.ndim == 1:
            around = is_periodic(lon.values)
            return Plane(kind="degrees", x=lon.values, y=lat.values, periodic=around)
        lat, lon = xr.broadcast(lat, lon)
        dims = [d for d in ("tile", "y", "x") if d in lat.dims]
        points = unit_vectors(lat.transpose(*dims).values, lon.transpose(*dims).values)
        if points.shape[0] == 1 and points.ndim == 4:
            points = points[0]
        middle = points.reshape(-1, 3).mean(axis=0)
        if points.ndim == 4 or np.linalg.norm(middle) < 0.5:
            return _raster(points)
        return _about_the_middle(points, middle)
    if all(d in grid.coords and grid[d].attrs.get("units") == "m" for d in ("y", "x")):
        return Plane(kind="km", x=grid["x"].values / 1e3, y=grid["y"].values / 1e3)
    return Plane(
        kind="cells", x=np.arange(grid.sizes["x"]) + 0.0, y=np.arange(grid.sizes["y"]) + 0.0
    )


def _about_the_middle(points: np.ndarray, middle: np.ndarray) -> Azimuthal:
    """Columns upright: n along the mean change from row to row, e to its right."""
    centre = middle / np.linalg.norm(middle)
    up = points[-1].mean(axis=0) - points[0].mean(axis=0)
    up = up - centre * (up @ centre)
    up /= np.linalg.norm(up)
    axes = np.stack([centre, np.cross(up, centre), up])
    x, y = _azimuthal(points, axes)
    lat, lon = angles(centre)
    return Azimuthal(kind="azimuthal", x=x, y=y, centre=(float(lat), float(lon)), axes=axes)


def _azimuthal(points: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    towards = np.maximum(1 + points @ axes[0], 1e-9)
    scale = KM * np.sqrt(2 / towards)
    return scale * (points @ axes[1]), scale * (points @ axes[2])


def _raster(points: np.ndarray) -> Nearest:
    """About 1.5 points to a cell, at most 900 along x; of the box of the cells or all longitudes."""
    lat, lon = angles(points)
    apart = np.rad2deg(np.median(np.linalg.norm(np.diff(points, axis=-2), axis=-1)))
    west, east = float(lon.min() - apart / 2), float(lon.max() + apart / 2)
    if east - west > 180:
        west, east = -180.0, 180.0
    south, north = float(lat.min() - apart / 2), float(lat.max() + apart / 2)
    south = -90.0 if south < apart - 90 else south
    north = 90.0 if north > 90 - apart else north
    step = max(apart / 1.5, (east - west) / 900)
    columns, rows = round((east - west) / step), max(round((north - south) / step), 2)
    x = west + (np.arange(columns) + 0.5) * (east - west) / columns
    y = south + (np.arange(rows) + 0.5) * (north - south) / rows
    return Nearest(kind="degrees", x=x, y=y, points=points)


def _factor(fine: tuple[int, ...], coarse: tuple[int, ...]) -> int:
    factor = fine[0] // max(coarse[0], 1)
    if tuple(n * factor for n in coarse) != tuple(fine):
        raise ValueError(
            f"a field of {coarse[0]} × {coarse[1]} cells does not go onto a map of "
            f"{fine[0]} × {fine[1]}: its cells must be blocks of those"
        )
    return factor


def _blocks(values: np.ndarray, factor: int) -> np.ndarray:
    """Means of `factor` along each of the last one or two dimensions."""
    if factor == 1:
        return values
    if values.ndim == 1:
        return values.reshape(-1, factor).mean(axis=1)
    *lead, rows, columns = values.shape
    blocks = values.reshape(*lead, rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def _spacing(centres: np.ndarray, axis: int) -> float:
    """Distance of neighbours along an axis, the usual one; 1 where there is but one."""
    if centres.shape[axis if centres.ndim > 1 else 0] < 2:
        return 1.0
    along = axis if centres.ndim > 1 else 0
    return float(np.median(np.abs(np.diff(centres, axis=along))))
