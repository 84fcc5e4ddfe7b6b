"""Where cells are drawn: in degrees, in true kilometres, by the nearest cell, or counted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from map_samples import cubed_sphere, grid_of

from stvd.diagnostics.plane import Azimuthal, Nearest, plane_of
from stvd.grid import cell_area, unit_vectors


def on(grid: xr.Dataset, values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=grid["orog"].dims, coords=grid.coords)


def rotated(lat: float, lon: float, turn: float, size: int = 24, step: float = 0.1) -> xr.Dataset:
    """A square grid of `step` degrees about a place, turned by `turn` degrees."""
    away = step * (np.arange(size) - (size - 1) / 2)
    dx, dy = np.meshgrid(away, away)
    angle = np.deg2rad(turn)
    east, north = dx * np.cos(angle) - dy * np.sin(angle), dx * np.sin(angle) + dy * np.cos(angle)
    coords = {
        "lat": (("y", "x"), lat + north),
        "lon": (("y", "x"), lon + east / np.cos(np.deg2rad(lat + north))),
    }
    return xr.Dataset({"orog": (("y", "x"), np.zeros((size, size)))}, coords=coords)


def test_global_maps_begin_at_the_date_line() -> None:
    grid = grid_of("global")
    plane = plane_of(grid)
    x, _, values = plane.arrange(on(grid, np.broadcast_to(np.arange(24.0), (16, 24))))
    assert x[0] == -180
    assert (np.diff(x) > 0).all()
    assert values[0, 0] == 12  # the column of 180°E comes first
    assert plane.limits == pytest.approx((-187.5, 172.5, -89.6, 89.6))


def test_regional_longitudes_stay_as_they_are() -> None:
    plane = plane_of(grid_of("regional"))
    assert plane.limits == pytest.approx((349.75, 361.75, 39.75, 47.75))
    assert plane.aspect == pytest.approx(1 / np.cos(np.deg2rad(43.75)))


@pytest.mark.parametrize(
    ("lat", "lon", "turn"), [(46, 8, 0), (65, 26, 15), (-30, 179.9, -40), (89.5, 0, 0)]
)
def test_azimuthal_maps_keep_areas(lat: float, lon: float, turn: float) -> None:
    # Against the spherical quadrilaterals of stvd.grid, which know nothing of the projection.
    grid = rotated(lat, lon, turn) if lat < 80 else cubed_sphere(24).isel(tile=4, drop=True)
    plane = plane_of(grid)
    assert isinstance(plane, Azimuthal)
    x, y = plane.x, plane.y
    inner = (slice(1, -1), slice(1, -1))
    dx = [np.gradient(a, axis=1)[inner] for a in (x, y)]
    dy = [np.gradient(a, axis=0)[inner] for a in (x, y)]
    area = np.abs(dx[0] * dy[1] - dx[1] * dy[0])
    tolerance = 2e-3 if lat < 80 else 0.03  # centred differences of wide cells
    assert area == pytest.approx(cell_area(grid).values[inner] / 1e6, rel=tolerance)


@pytest.mark.parametrize("turn", [0, 30, -75, 180])
def test_columns_are_upright_whatever_way_the_grid_lies(turn: float) -> None:
    plane = plane_of(rotated(60.0, 25.0, turn))
    assert np.diff(plane.y, axis=0).min() > 0
    assert np.abs(np.diff(plane.x, axis=0)).mean() < 0.03 * np.diff(plane.y, axis=0).mean()


def test_lines_go_to_the_same_plane_as_cells() -> None:
    grid = rotated(46.0, 8.0, 20)
    plane = plane_of(grid)
    assert isinstance(plane, Azimuthal)
    there = plane.project(np.stack([grid["lon"].values, grid["lat"].values], axis=-1))
    assert there[..., 0] == pytest.approx(plane.x)
    assert there[..., 1] == pytest.approx(plane.y)


def test_distances_from_the_middle_are_true() -> None:
    plane = plane_of(rotated(46.0, 8.0, 0, size=25))
    assert isinstance(plane, Azimuthal)
    lat, lon = plane.centre
    (away,) = plane.project(np.array([[lon, lat + 1.0]]))
    assert np.hypot(*away) == pytest.approx(6371 * np.deg2rad(1.0), rel=1e-4)


@pytest.mark.parametrize("kind", ["regional", "projected", "kilometres", "cells"])
def test_coarse_cells_lie_in_the_middle_of_their_blocks(kind: str) -> None:
    grid = grid_of(kind)
    plane = plane_of(grid)
    x, y, _ = plane.arrange(xr.DataArray(np.zeros((2, 3)), dims=("y", "x")))
    fine = np.broadcast_arrays(
        *(np.meshgrid(plane.x, plane.y) if plane.x.ndim == 1 else (plane.x, plane.y))
    )
    coarse = np.meshgrid(x, y) if x.ndim == 1 else (x, y)
    for a, b in zip(coarse, fine, strict=True):
        assert a[1, 2] == pytest.approx(b[8:, 16:].mean())


def test_cells_that_are_no_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"5 × 3 cells does not go onto a map of 16 × 24"):
        plane_of(grid_of("cells")).arrange(xr.DataArray(np.zeros((5, 3)), dims=("y", "x")))


def test_six_faces_cover_the_earth() -> None:
    grid = cubed_sphere()
    plane = plane_of(grid)
    assert isinstance(plane, Nearest)
    x, y, lat = plane.arrange(on(grid, grid["lat"].values))
    assert plane.limits == pytest.approx((-180, 180, -90, 90))
    assert np.isfinite(lat).all()
    # A cell is about 7.5 degrees wide, so the nearest centre is within 5.5 degrees or so.
    assert np.abs(lat - y[:, None]).max() < 7.5
    lon = plane.arrange(on(grid, grid["lon"].values))[2]
    apart = unit_vectors(lat, lon) * unit_vectors(*np.meshgrid(y, x, indexing="ij"))
    assert np.rad2deg(np.arccos(apart.sum(-1).min())) < 7.5


def test_coarse_faces_cover_it_too() -> None:
    grid = cubed_sphere()
    blocks = on(grid, grid["lat"].values).coarsen(y=4, x=4).mean()
    lat = plane_of(grid).arrange(blocks)[2]
    assert np.isfinite(lat).all()
    assert np.corrcoef(lat.ravel(), np.repeat(plane_of(grid).y, lat.shape[1]))[0, 1] > 0.95


def test_places_between_regions_are_empty() -> None:
    west, east = rotated(46.0, 8.0, 0), rotated(46.0, 20.0, 0)
    grid = xr.concat([west, east], "tile")
    plane = plane_of(grid)
    x, _, there = plane.arrange(on(grid, np.ones((2, 24, 24))))
    assert plane.limits[:2] == pytest.approx((6.2, 21.8), abs=0.1)
    assert np.isnan(there[:, (x > 10) & (x < 18)]).all()
    assert (there[:, (x > 7.5) & (x < 8.5)] == 1).any()


def test_tiles_without_position_show_the_first() -> None:
    field = xr.DataArray(np.arange(8.0).reshape(2, 2, 2), dims=("tile", "y", "x"))
    assert plane_of(field).arrange(field)[2].tolist() == [[0, 1], [2, 3]]
