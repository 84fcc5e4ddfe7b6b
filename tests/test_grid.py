"""Cell areas and area-weighted block means."""

import numpy as np
import pytest
import xarray as xr

from stvd.grid import (
    EARTH_RADIUS,
    cell_area,
    coarsen_area_weighted,
    coarsen_coordinates,
    is_periodic,
)

SPHERE = 4 * np.pi * EARTH_RADIUS**2


def regular(ny: int, nx: int) -> xr.Dataset:
    lat = (np.arange(ny) + 0.5) * 180 / ny - 90
    lon = (np.arange(nx) + 0.5) * 360 / nx
    return xr.Dataset(coords={"lat": ("y", lat), "lon": ("x", lon)})


def test_cells_of_a_global_grid_cover_the_sphere():
    area = cell_area(regular(18, 36))
    assert float(area.sum()) == pytest.approx(SPHERE, rel=1e-12)
    # the row from the equator to 10°N holds sin 10° / 2 of the sphere, in 36 equal cells
    assert float(area[9, 0]) == pytest.approx(SPHERE * np.sin(np.deg2rad(10)) / 2 / 36)


def test_the_last_row_of_a_gaussian_grid_reaches_the_pole():
    lat = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(64)[0]))
    area = cell_area(xr.Dataset(coords={"lat": ("y", lat), "lon": ("x", np.arange(0, 360, 3.0))}))
    assert float(area.sum()) == pytest.approx(SPHERE, rel=1e-12)


def test_a_regional_grid_does_not_reach_the_pole():
    grid = xr.Dataset(coords={"lat": ("y", [40.5, 41.5]), "lon": ("x", [0.5, 1.5])})
    belt = np.sin(np.deg2rad(42)) - np.sin(np.deg2rad(40))  # 2° x 2° cell from 40°N to 42°N
    expected = EARTH_RADIUS**2 * belt * np.deg2rad(2)
    assert float(cell_area(grid).sum()) == pytest.approx(expected)


def test_a_projected_grid_has_the_area_on_the_map():
    grid = xr.Dataset(
        coords={
            "y": ("y", [500.0, 1500.0], {"units": "m"}),
            "x": ("x", [0.0, 2000.0, 4000.0], {"units": "m"}),
        }
    )
    assert cell_area(grid).values.tolist() == [[2e6] * 3] * 2  # 1000 m x 2000 m


def test_areas_by_corners_agree_with_areas_by_latitude():
    grid = regular(36, 72)
    lat, lon = xr.broadcast(grid["lat"], grid["lon"])
    curvilinear = xr.Dataset(coords={"lat": lat, "lon": lon})
    inner = {"y": slice(6, -6), "x": slice(1, -1)}
    ratio = cell_area(curvilinear).isel(inner) / cell_area(grid).isel(inner)
    np.testing.assert_allclose(ratio, 1, atol=2e-3)


def test_a_grid_without_positions_is_refused():
    with pytest.raises(ValueError, match="neither lat and lon in degrees nor y and x in m"):
        cell_area(xr.Dataset(coords={"y": ("y", [0.0, 1.0])}))


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_block_mean_weights_by_area(lazy):
    fine = xr.DataArray(np.array([[[1.0, 2.0], [3.0, 4.0]]]), dims=("time", "y", "x"), name="pr")
    area = xr.DataArray(np.array([[1.0, 1.0], [3.0, 3.0]]), dims=("y", "x"))
    coarse = coarsen_area_weighted(fine.chunk(y=1) if lazy else fine, area, 2)
    assert (coarse.chunks is not None) == lazy
    assert coarse.values.tolist() == [[[3.0]]]  # (1 + 2 + 3·3 + 3·4) / (1 + 1 + 3 + 3) = 24 / 8
    assert coarse.name == "pr"


def test_a_block_with_a_missing_value_is_missing():
    fine = xr.DataArray(np.array([[np.nan, 2.0, 1.0, 1.0], [3.0, 4.0, 1.0, 1.0]]), dims=("y", "x"))
    area = xr.ones_like(fine)
    assert np.isnan(coarsen_area_weighted(fine, area, 2).values).tolist() == [[True, False]]


def test_tiles_are_coarsened_each_with_its_own_area():
    fine = xr.DataArray(np.ones((3, 6, 4, 4)), dims=("time", "tile", "y", "x"))
    area = xr.DataArray(np.random.default_rng(0).uniform(1, 2, (6, 4, 4)), dims=("tile", "y", "x"))
    coarse = coarsen_area_weighted(fine, area, 2)
    assert coarse.dims == ("time", "tile", "y", "x")
    np.testing.assert_allclose(coarse, np.ones((3, 6, 2, 2)))


def test_a_factor_that_does_not_divide_is_refused():
    fine = xr.DataArray(np.ones((4, 6)), dims=("y", "x"))
    with pytest.raises(ValueError, match="factor 4 does not divide the 6 cells along x"):
        coarsen_area_weighted(fine, xr.ones_like(fine), 4)


def test_coordinates_of_blocks():
    grid = xr.Dataset(coords={"lat": ("y", [0.0, 1.0, 2.0, 4.0]), "lon": ("x", [0.0, 10.0])})
    found = coarsen_coordinates(grid, 2)
    assert found["lat"].values.tolist() == [0.5, 3.0]
    assert found["lon"].values.tolist() == [5.0]


def test_a_block_across_the_date_line_lies_on_it():
    lon = np.array([[179.0, -179.0]] * 2)
    lat = np.array([[-1.0, -1.0], [1.0, 1.0]])
    grid = xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)})
    found = coarsen_coordinates(grid, 2)
    assert abs(float(found["lon"][0, 0])) == pytest.approx(180.0)
    assert float(found["lat"][0, 0]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("lon", "periodic"),
    [(np.arange(0, 360, 1.125), True), (np.arange(0, 350, 1.0), False), (np.array([3.0]), False)],
    ids=["global", "regional", "one column"],
)
def test_periodic_longitude(lon, periodic):
    assert is_periodic(lon) is periodic
