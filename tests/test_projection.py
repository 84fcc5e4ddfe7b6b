"""Latitude and longitude of projected grids, against places that are known, and on the way from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stvd.catalog import describe, open_source
from stvd.contract import CatalogError
from stvd.diagnostics.canvas import Canvas
from stvd.diagnostics.plane import Azimuthal
from stvd.projection import geographic
from stvd.quality import QualityPolicy, check

OPERA = {
    "grid_mapping_name": "lambert_azimuthal_equal_area",
    "latitude_of_projection_origin": 55.0,
    "longitude_of_projection_origin": 10.0,
    "false_easting": 1_950_000.0,
    "false_northing": -2_100_000.0,
    "semi_major_axis": 6_378_137.0,
    "inverse_flattening": 298.257223563,
}
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def line(values: list[float] | np.ndarray, dim: str) -> xr.DataArray:
    name = f"projection_{dim}_coordinate"
    return xr.DataArray(
        np.asarray(values, float), dims=dim, attrs={"standard_name": name, "units": "m"}
    )


def write(path: Path, mapping: dict[str, object] = OPERA) -> None:
    """Sixteen steps of rain on 16 × 16 cells of 2 km near Copenhagen, rows from the north."""
    y, x = -2_000_000 - 2000.0 * np.arange(16), 2_100_000 + 2000.0 * np.arange(16)
    rain = np.random.default_rng(0).random((16, 16, 16)) * 1e-3
    times = {"units": "seconds since 2018-08-24T00:07:30", "calendar": "standard"}
    about = {"grid_mapping": "crs"}
    xr.Dataset(
        {
            "pr": (("time", "y", "x"), rain, {"units": "kg m-2 s-1", **about}),
            "orog": (("y", "x"), np.zeros((16, 16)), {"units": "m", **about}),
            "crs": ((), 0, mapping),
        },
        {"time": ("time", 900.0 * np.arange(16), times), "y": line(y, "y"), "x": line(x, "x")},
        {"time_step_seconds": 900},
    ).to_netcdf(path)


def test_the_origin_and_the_corners_of_the_opera_composite() -> None:
    # As the network publishes them with its composites: LL, UL and the origin of the projection.
    y, x = line([-4_400_000, -2_100_000, 0], "y"), line([0, 1_950_000], "x")
    found = geographic(y, x, OPERA)
    assert found["lat"].dims == ("y", "x")
    place = [(float(found["lat"][k]), float(found["lon"][k])) for k in ((0, 0), (2, 0), (1, 1))]
    np.testing.assert_allclose(
        place, [(31.746215, -10.434577), (67.022833, -39.535786), (55.0, 10.0)], atol=1e-5
    )


def test_every_part_of_a_file_has_them_and_maps_have_coasts(tmp_path: Path) -> None:
    path = tmp_path / "opera.nc"
    write(path)
    names = ("opera", "opera_truth", "opera_grid")
    coarse, truth, grid = (open_source(n, catalog=str(path)) for n in names)
    assert grid["lat"].dims == truth["lat"].dims == ("y", "x")
    assert coarse["lat"].shape == (2, 2)
    assert float(grid["lat"][0, 0]) < float(grid["lat"][-1, 0])  # rows from the south
    assert 55 < float(grid["lat"].mean()) < 57
    assert 12 < float(grid["lon"].mean()) < 13
    np.testing.assert_allclose(grid["areacella"], 4e6)  # of the map, as without them
    assert grid["crs"].attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"
    info = describe("opera", catalog=str(path))
    found = check(coarse, grid, axis=info.axis, frames=range(16), required=info.variables,
                  factor=8, policy=QualityPolicy())  # fmt: skip
    assert list(found) == []
    canvas = Canvas(truth["pr"][0], grid)
    assert isinstance(canvas.plane, Azimuthal)
    assert len(canvas.lines["coast"]) > 0


def test_a_mapping_that_is_none_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "opera.nc"
    write(path, {"grid_mapping_name": "flat_earth"})
    with pytest.raises(CatalogError, match=r"opera_grid: the grid mapping describes no projection"):
        open_source("opera_grid", catalog=str(path))
    far = line([0.0], "y"), line([9e7], "x")
    with pytest.raises(ValueError, match="1 of 1 cells lie where the projection"):
        geographic(*far, OPERA)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/data beside the checkout")
def test_the_real_composites() -> None:
    with xr.open_dataset(SHARED / "radar_fmi_20160928.nc") as fmi:  # has them
        found = geographic(fmi["y"], fmi["x"], fmi["crs"].attrs)
        np.testing.assert_allclose(found["lat"], fmi["lat"], atol=1e-4)
        np.testing.assert_allclose(found["lon"], fmi["lon"], atol=1e-4)
    catalog = ROOT / "catalogs" / "shared.yaml"
    grid = open_source("radar_opera_grid", catalog=catalog)
    assert grid["lat"].shape == grid["orog"].shape
    blocks = open_source("radar_opera", catalog=catalog)
    assert blocks["lat"].shape == blocks["pr"].shape[1:]
