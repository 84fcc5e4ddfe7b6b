"""Regions by hand: boxes on every turn, files, shares of cells, grids of two dimensions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr

from stvd.diagnostics.region_files import Region, read_regions
from stvd.diagnostics.regions import box, region_areas, region_means, sphere_area
from stvd.grid import EARTH_RADIUS, cell_area


def regular(lat: np.ndarray, lon: np.ndarray) -> xr.Dataset:
    return xr.Dataset(coords={"lat": ("y", lat), "lon": ("x", lon)})


def globe(step: float = 10.0, first: float = -180.0) -> xr.Dataset:
    return regular(
        np.arange(-90 + step / 2, 90, step), np.arange(first + step / 2, first + 360, step)
    )


def ones(grid: xr.Dataset) -> xr.DataArray:
    """Cells of 1 m2."""
    shape = grid["lat"].shape if grid["lat"].ndim > 1 else (grid.sizes["y"], grid.sizes["x"])
    return xr.DataArray(np.ones(shape), dims=("tile", "y", "x")[-len(shape) :])


SMALL = regular(np.array([0.5, 1.5]), np.array([10.5, 11.5, 12.5]))  # cells of 1 degree


def test_shares_of_cells_by_hand() -> None:
    # From 10.5 to 12: half of the first column, all of the second. From 0 to 1.25: a row and ¼.
    found = region_areas([box("a", 10.5, 0, 12, 1.25)], SMALL, ones(SMALL))
    assert found.dims == ("region", "y", "x")
    assert found.values[0] == pytest.approx(np.array([[0.5, 1, 0], [0.125, 0.25, 0]]))
    assert found["region"].values.tolist() == ["a"]


def test_a_region_smaller_than_a_cell_has_its_share() -> None:
    found = region_areas([box("dot", 10.9, 0.9, 11.1, 1.1)], SMALL, ones(SMALL))
    assert found.values[0] == pytest.approx(np.array([[0.01, 0.01, 0], [0.01, 0.01, 0]]))


def test_a_mean_by_hand_leaves_missing_cells_out() -> None:
    area = xr.DataArray([[1.0, 2.0, 5.0], [1.0, 4.0, 5.0]], dims=("y", "x"))
    areas = region_areas([box("a", 10, 0, 12, 2), box("b", 12, 0, 13, 1)], SMALL, area)
    field = xr.DataArray(
        np.array([[[10.0, 20.0, 7.0], [np.nan, 5.0, 9.0]], [[1.0, 1.0, np.nan], [1.0, 1.0, 1.0]]]),
        dims=("member", "y", "x"), name="pr_total", attrs={"units": "mm"},
    )  # fmt: skip
    found = region_means(field.astype(np.float32), areas)
    # (10 · 1 + 20 · 2 + 5 · 4) / 7 = 10; 7; 1; none.
    assert found.sel(region="a").values == pytest.approx([10.0, 1.0])
    assert found.sel(region="b").values == pytest.approx([7.0, np.nan], nan_ok=True)
    assert found.attrs["units"] == "mm"
    lazy = region_means(field.chunk(member=1), areas)
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), found)


def test_means_of_a_table_keep_its_periods() -> None:
    table = xr.Dataset(
        {
            "pr_total": (("time", "member", "y", "x"), np.ones((2, 1, 2, 3)), {"units": "mm"}),
            "pr_total_area": (("time", "member"), np.ones((2, 1))),
        },
        coords={"time": [0, 1], "time_bnds": (("time", "bnds"), np.zeros((2, 2))),
                "areacella": (("y", "x"), np.ones((2, 3)))},
    )  # fmt: skip
    found = region_means(table, region_areas([box("a", 10, 0, 13, 2)], SMALL))
    assert list(found.data_vars) == ["pr_total"]
    assert {"time", "time_bnds", "region", "coverage"} == set(found.coords)
    assert found["pr_total"].dims == ("time", "member", "region")


@pytest.mark.parametrize("first", [-180.0, 0.0, 5.0])
@pytest.mark.parametrize(
    ("west", "east"), [(170, -170), (170, 190), (-190, -170), (530, 550)], ids=str
)
def test_boxes_cross_the_antimeridian(west: float, east: float, first: float) -> None:
    grid = globe(first=first)
    found = region_areas([box("Pacific", west, -20, east, 10)], grid, ones(grid))
    assert float(found.sum()) == pytest.approx(6.0)  # 3 rows of 20 degrees
    lon = (grid["lon"].values + 180) % 360 - 180
    touched = np.abs(lon[(found > 0).any(("region", "y")).values])
    assert touched.min() > 169


@pytest.mark.parametrize(("west", "east"), [(350, 10), (-10, 10), (350, 370)], ids=str)
@pytest.mark.parametrize("first", [-180.0, 0.0])
def test_boxes_cross_greenwich(west: float, east: float, first: float) -> None:
    grid = globe(first=first)
    found = region_areas([box("G", west, 0, east, 10)], grid, ones(grid))
    assert float(found.sum()) == pytest.approx(2.0)


@pytest.mark.parametrize(("west", "east"), [(-180, 180), (0, 360), (-90, 270)], ids=str)
def test_the_whole_earth(west: float, east: float) -> None:
    found = region_areas([box("earth", west, -90, east, 90)], globe())
    assert float(found.sum()) == pytest.approx(4 * np.pi * EARTH_RADIUS**2)
    assert found["coverage"].item() == pytest.approx(1.0)


def test_sphere_area_of_a_zone() -> None:
    zone = box("zone", 20, 30, 110, 45)
    exact = EARTH_RADIUS**2 * np.pi / 2 * (np.sin(np.pi / 4) - 0.5)
    assert sphere_area(zone) == pytest.approx(exact)


def test_areas_are_those_on_the_sphere() -> None:
    disc = Region("disc", shapely.Point(10, 50).buffer(7.3, quad_segs=64))
    found = region_areas([disc], globe(1.0))
    assert found["coverage"].item() == pytest.approx(1.0, abs=1e-4)
    assert float(found.sum()) == pytest.approx(sphere_area(disc), rel=1e-4)


def test_coverage_tells_of_a_region_that_leaves_the_grid() -> None:
    found = region_areas([box("a", 12, 0, 14, 2)], SMALL)
    assert found["coverage"].item() == pytest.approx(0.5, abs=0.001)


def rotated() -> xr.Dataset:
    """A grid of 2° whose rows run at 30° to the parallels, about 20° E 60° N, as of a radar."""
    j, i = np.meshgrid(np.arange(-6, 7) * 1.0, np.arange(-6, 7) * 1.0, indexing="ij")
    turn = np.deg2rad(30)
    east, north = i * np.cos(turn) - j * np.sin(turn), i * np.sin(turn) + j * np.cos(turn)
    lat = 60 + north
    return xr.Dataset(coords={"lat": (("y", "x"), lat), "lon": (("y", "x"), 20 + east * 2)})


def test_a_rotated_grid_covers_a_region_wholly() -> None:
    grid = rotated()
    region = box("Baltic", 17, 58.5, 23, 61.5)
    found = region_areas([region], grid)
    # Outlines meet, so the parts add up to the region, but for the curvature of their sides.
    assert found["coverage"].item() == pytest.approx(1.0, abs=0.01)
    assert found.values[0, 6, 6] == pytest.approx(cell_area(grid).values[6, 6])
    assert found.values[0, 0, 0] == 0.0
    inside = (np.abs(grid["lon"] - 20) < 3) & (np.abs(grid["lat"] - 60) < 1.5)
    centre = float(cell_area(grid).where(inside, 0).sum())
    assert float(found.sum()) == pytest.approx(centre, rel=0.25)


def test_outlines_of_the_grid_count_where_it_has_them() -> None:
    grid = regular(np.array([0.5]), np.array([10.5, 11.5]))
    grid["lat_bnds"] = (("y", "bnds"), [[0.0, 1.0]])
    grid["lon_bnds"] = (("x", "bnds"), [[10.0, 10.6], [10.6, 12.0]])
    found = region_areas([box("a", 10.0, 0, 10.6, 1)], grid, ones(grid))
    assert found.values[0] == pytest.approx(np.array([[1.0, 0.0]]))


def test_tiles_and_a_pole_within_a_cell() -> None:
    # A tile centred on the pole: 3 × 3 cells, the middle one around the pole.
    x, y = np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0])
    lat = 90 - 5 * np.hypot(x, y)
    lon = np.rad2deg(np.arctan2(y, x))
    equator = np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0])
    grid = xr.Dataset(
        coords={
            "lat": (("tile", "y", "x"), np.stack([lat, equator[1]])),
            "lon": (("tile", "y", "x"), np.stack([lon, equator[0]])),
        }
    )
    areas = region_areas(
        [box("Arctic", -180, 60, 180, 90), box("Guinea", -0.5, -0.5, 0.5, 0.5)], grid, ones(grid)
    )
    assert areas.sel(region="Arctic").values[0] == pytest.approx(np.ones((3, 3)))
    assert float(areas.sel(region="Arctic")[1].sum()) == 0.0
    assert areas.sel(region="Guinea").values[1, 1, 1] == pytest.approx(1.0, abs=1e-3)


# --- errors ---------------------------------------------------------------------------------------


def test_a_region_without_a_cell_is_named() -> None:
    with pytest.raises(ValueError, match=r"region 'Atlantis' has no cell .* from -40 to -30"):
        region_areas([box("a", 10, 0, 11, 1), box("Atlantis", -40, 30, -30, 40)], SMALL)


def test_what_is_no_region_says_why() -> None:
    with pytest.raises(ValueError, match="several regions are called 'a'"):
        region_areas([box("a", 10, 0, 11, 1), box("a", 11, 0, 12, 1)], SMALL)
    with pytest.raises(ValueError, match="no range within"):
        box("a", 0, 10, 5, 5)
    with pytest.raises(ValueError, match="no range of 0 to 360"):
        box("a", 5, 0, 5, 5)
    with pytest.raises(ValueError, match="no lat and lon"):
        region_areas([box("a", 0, 0, 1, 1)], xr.Dataset())
    areas = region_areas([box("a", 10, 0, 11, 1)], SMALL)
    with pytest.raises(ValueError, match="has 4 cells along x and the regions 3"):
        region_means(xr.DataArray(np.ones((2, 4)), dims=("y", "x"), name="pr"), areas)


# --- files ----------------------------------------------------------------------------------------


def square(west: float, south: float, side: float = 1.0) -> dict[str, object]:
    return json.loads(shapely.to_geojson(shapely.box(west, south, west + side, south + side)))


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def collection(*features: tuple[dict[str, object], dict[str, object] | None]) -> dict[str, object]:
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": p, "geometry": g} for p, g in features],
    }


def test_geojson_names_and_joins_features(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.geojson",
        collection(
            ({"name": "Ahr", "code": 7}, square(10, 0)),
            ({"name": "Erft", "code": 8}, square(11, 0)),
            ({"name": "Ahr", "code": 9}, square(12, 0)),
            ({}, square(10, 1)),
        ),
    )
    found = read_regions(path)
    assert [r.name for r in found] == ["Ahr", "Erft", "region 4"]
    assert found[0].geometry.area == pytest.approx(2.0)
    assert [r.name for r in read_regions(written(tmp_path / "b.json", square(1, 2)))] == [
        "region 1"
    ]
    with pytest.raises(ValueError, match="feature 4 has no property 'code'"):
        read_regions(path, name="code")


def test_a_shape_with_a_hole_and_islands(tmp_path: Path) -> None:
    outer = shapely.box(10, 0, 13, 2) - shapely.box(11, 0, 12, 1)
    path = written(tmp_path / "a.geojson", json.loads(shapely.to_geojson(outer)))
    found = region_areas(read_regions(path), SMALL, ones(SMALL))
    assert found.values[0] == pytest.approx(np.array([[1, 0, 1], [1, 1, 1]]))


def test_a_shape_that_crosses_itself_is_repaired(tmp_path: Path) -> None:
    bow = {"type": "Polygon", "coordinates": [[[10, 0], [12, 2], [12, 0], [10, 2], [10, 0]]]}
    found = read_regions(written(tmp_path / "a.json", bow))
    assert found[0].geometry.area == pytest.approx(2.0)


def test_files_that_are_no_regions_say_why(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [1, 2]}
    cases = {
        "is no polygon": collection(({"name": "gauge"}, point)),
        "has no feature": collection(),
        "no GeoJSON of polygons": point,
        "reaches to latitude 5e": collection(({}, square(3e5, 5e6))),
        "reproject it": {**collection(({}, square(1, 2))),
                         "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3035"}}},
    }  # fmt: skip
    for number, (message, content) in enumerate(cases.items()):
        with pytest.raises(ValueError, match=message):
            read_regions(written(tmp_path / f"{number}.json", content))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ValueError, match="is no GeoJSON"):
        read_regions(broken)


def test_a_shapefile_is_read(tmp_path: Path) -> None:
    shapefile = pytest.importorskip("shapefile")
    with shapefile.Writer(str(tmp_path / "basins"), encoding="utf-8") as out:
        out.field("NAME", "C")
        for name, west in (("Mürz", 10.0), ("Enns", 12.0)):
            out.poly([[[west, 0], [west, 2], [west + 1, 2], [west + 1, 0], [west, 0]]])
            out.record(NAME=name)
    found = read_regions(tmp_path / "basins.shp")
    assert [r.name for r in found] == ["Mürz", "Enns"]
    areas = region_areas(found, SMALL, ones(SMALL))
    assert areas.sum(("y", "x")).values == pytest.approx([2.0, 2.0])
    (tmp_path / "basins.prj").write_text('GEOGCS["GCS_WGS_1984"]')
    assert len(read_regions(tmp_path / "basins.shp")) == 2
    (tmp_path / "basins.prj").write_text('PROJCS["ETRS_1989_LAEA"]')
    with pytest.raises(ValueError, match="is projected"):
        read_regions(tmp_path / "basins.shp")
