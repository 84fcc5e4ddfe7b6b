"""The adapters of `catalogs/public.yaml` on small files with the names of the public records."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from stvd.catalog import describe, open_source
from stvd.contract import violations
from stvd.lattice import Period
from stvd.quality import QualityPolicy, check

PUBLIC = Path(__file__).parents[1] / "catalogs" / "public.yaml"


def small(folder: Path, stores: dict[str, xr.Dataset], region: dict | None = None) -> Path:
    """The public catalog with its stores replaced by small files, and a region that fits them."""
    content = deepcopy(yaml.safe_load(PUBLIC.read_text()))
    for name, store in stores.items():
        store.to_zarr(folder / f"{name}.zarr", zarr_format=2, consolidated=True)
        content["data"][name]["kwargs"] = {"url": f"{{root}}/{name}.zarr"}
    for entry in content["entries"].values():
        adapter = entry["metadata"]["stvd"]
        if region and "region" in adapter:
            adapter["region"] = region
    path = folder / "public.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def era5() -> xr.Dataset:
    """17 × 16 cells from pole to pole, rows from the north, stamped at the end of the hour."""
    dims, shape = ("time", "latitude", "longitude"), (3, 17, 16)
    levels = ("time", "level", "latitude", "longitude")
    rain = np.full(shape, 0.0036)  # m in an hour, 1e-3 kg m-2 s-1
    upper = np.stack([np.full(shape, v) for v in (10.0, 20.0)], axis=1)
    moist, high = upper / 2e4, upper * 2.5e3
    return xr.Dataset(
        {
            "total_precipitation": (dims, rain, {"units": "m"}),
            "surface_pressure": (dims, np.full(shape, 1e5), {"units": "Pa"}),
            "total_column_water_vapour": (dims, np.full(shape, 20.0), {"units": "kg m**-2"}),
            "2m_temperature": (dims, np.full(shape, 280.0), {"units": "K"}),
            "10m_u_component_of_wind": (dims, np.full(shape, 3.0), {"units": "m s**-1"}),
            "10m_v_component_of_wind": (dims, np.full(shape, -3.0), {"units": "m s**-1"}),
            "u_component_of_wind": (levels, upper, {"units": "m s**-1"}),
            "v_component_of_wind": (levels, upper, {"units": "m s**-1"}),
            "temperature": (levels, 250 + upper, {"units": "K"}),
            "specific_humidity": (levels, moist, {"units": "kg kg**-1"}),
            "geopotential": (levels, high, {"units": "m**2 s**-2"}),
            "geopotential_at_surface": (
                dims[1:],
                np.full(shape[1:], 980.665),
                {"units": "m**2 s**-2"},
            ),
            "land_sea_mask": (dims[1:], np.full(shape[1:], 0.25), {"units": "(0 - 1)"}),
        },
        coords={
            "time": ("time", [876577, 876578, 876579], {"units": "hours since 1900-01-01"}),
            "latitude": ("latitude", np.linspace(90, -90, 17), {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(0, 360, 22.5), {"units": "degrees_east"}),
            "level": ("level", [500, 850]),
        },
    )


def test_era5(tmp_path):
    path = small(tmp_path, {"era5_store": era5()}, {"y": [0, 16], "x": [0, 16]})
    info = describe("era5", catalog=path)
    assert info.axis.epoch == "2000-01-01T00:00:00"  # hour 876577 since 1900 ends at 01:00
    coarse, grid = (open_source(n, catalog=path) for n in ("era5", info.grid))
    means = {n: float(coarse[n].mean()) for n in ("pr", "ua850", "ta850", "hus850", "zg500", "tas")}
    expected = {"pr": 1e-3, "ua850": 20, "ta850": 270, "hus850": 1e-3, "zg500": 25000, "tas": 280}
    assert means == pytest.approx(expected, rel=1e-6)
    assert coarse["lat"].values.tolist() == [-50.625, 39.375]  # −90 … −11.25 and 0 … 78.75
    assert coarse.attrs["periodic_x"] == 1
    assert float(grid["orog"].mean()) == pytest.approx(100, rel=1e-6)
    assert float(grid["land_fraction"].mean()) == 0.25
    truth = open_source(info.truth, catalog=path)
    assert float(truth["pr"].max()) == pytest.approx(1e-3)
    found = check(
        coarse,
        grid,
        axis=info.axis,
        frames=info.frames,
        required=(*info.variables, "orog"),
        factor=8,
        policy=QualityPolicy(),
    )
    assert found == []


def test_cmip6(tmp_path):
    rain = np.arange(8 * 3)[:, None, None] * np.full((1, 2, 4), 1e-5)
    file = xr.Dataset(
        {
            "pr": (
                ("time", "lat", "lon"),
                rain,
                {"units": "kg m-2 s-1", "cell_methods": "time: mean"},
            )
        },
        coords={
            "time": (
                "time",
                57 + 0.0625 + np.arange(24) / 8,  # days; frame 0 begins on day 58, 27 February
                {"units": "days since 1850-01-01", "calendar": "365_day", "bounds": "time_bnds"},
            ),
            "lat": ("lat", [-45.0, 45.0], {"units": "degrees_north"}),
            "lon": ("lon", [45.0, 135.0, 225.0, 315.0], {"units": "degrees_east"}),
        },
    )
    path = small(tmp_path, {"cmip6_pr_store": file})
    info = describe("cmip6_pr", catalog=path)
    assert (info.axis.calendar, info.axis.epoch) == ("noleap", "1850-02-27T00:00:00")
    assert info.periodic_x
    march = open_source("cmip6_pr", Period(start="1850-03", end="1850-04"), catalog=path)
    np.testing.assert_allclose(march["pr"][:, 0, 0], np.arange(16, 24) * 1e-5, rtol=1e-6)


def test_fv3gfs(tmp_path):
    names = {
        "PRATEsfc": "kg/m**2/s", "CPRATsfc": "kg/m**2/s", "UGRD10m": "m/s", "VGRD10m": "m/s",
        "TMPsfc": "K", "DSWRFtoa": "W/m**2", "ps": "Pa", "u700": "m/s", "v700": "m/s",
        "VIL": "kg/m**2", "PWAT": "kg/m**2",
    }  # fmt: skip
    dims = ("time", "tile", "grid_yt", "grid_xt")
    faces = np.arange(6.0)[:, None, None]

    def store(n: int, variables: dict[str, str]) -> xr.Dataset:
        lat = np.broadcast_to(np.linspace(-30, 30, n)[:, None], (6, n, n))
        lon = np.broadcast_to(np.linspace(10, 70, n), (6, n, n)) + 60 * faces
        values = np.full((2, 6, n, n), 2e-4)
        return xr.Dataset(
            {name: (dims, values, {"units": units}) for name, units in variables.items()}
            | {"zsurf": (dims[1:], np.full((6, n, n), 7.0), {"units": "m"})},
            coords={
                "time": (
                    "time",
                    [3.0, 6.0],
                    {"units": "hours since 2016-08-01", "calendar": "julian"},
                ),
                "grid_latt": (dims[1:], lat, {"units": "degrees_N"}),
                "grid_lont": (dims[1:], lon, {"units": "degrees_E"}),
            },
        )

    stores = {
        "fv3gfs_coarse_store": store(2, names),
        "fv3gfs_fine_store": store(16, {"PRATEsfc": "kg/m**2/s"}),
    }
    path = small(tmp_path, stores)
    coarse = open_source("fv3gfs", catalog=path)
    assert coarse["pr"].dims == ("time", "tile", "y", "x")
    wanted = ["pr", "prc", "uas", "vas", "ts", "rsdt", "ps", "ua700", "va700", "clwvi", "prw"]
    assert not list(violations(coarse, "coarse", wanted))
    assert coarse.attrs["epoch"] == "2016-08-01T00:00:00"  # stamped at the end of 3-hourly means
    assert coarse.attrs["calendar"] == "julian"
    grid = open_source("fv3gfs_grid", catalog=path)
    assert grid["orog"].values.mean() == 7
    assert grid["areacella"].shape == (6, 16, 16)
    assert open_source("fv3gfs_truth", catalog=path)["pr"].shape == (2, 6, 16, 16)


def test_era5_as_grib(tmp_path):
    """Forecasts of 18:00 for the first, second and third hour, each with its own amount."""
    pytest.importorskip("cfgrib", reason="the extra grib is not installed")
    eccodes = pytest.importorskip("eccodes")
    grid = {"Ni": 16, "Nj": 8, "latitudeOfFirstGridPointInDegrees": 78.75}
    grid |= {"latitudeOfLastGridPointInDegrees": -78.75, "longitudeOfFirstGridPointInDegrees": 0}
    grid |= {"longitudeOfLastGridPointInDegrees": 337.5, "iDirectionIncrementInDegrees": 22.5}
    grid |= {"jDirectionIncrementInDegrees": 22.5, "dataDate": 20200101, "dataTime": 1800}
    with open(tmp_path / "era5_tp.grib", "wb") as file:
        for hour in (1, 2, 3):
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
            for key, value in (grid | {"step": hour}).items():
                eccodes.codes_set(message, key, value)
            eccodes.codes_set(message, "shortName", "tp")
            eccodes.codes_set_values(message, np.full(128, 0.0036 * hour))
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)
    rain = open_source("era5_grib", catalog=PUBLIC, root=str(tmp_path))
    np.testing.assert_allclose(rain["pr"][:, 0, 0], [1e-3, 2e-3, 3e-3], rtol=1e-4)
    assert rain.attrs["epoch"] == "2020-01-01T18:00:00"
    assert rain["lat"].values[0] == -78.75
    assert [p.name for p in tmp_path.iterdir()] == ["era5_tp.grib"]  # no index beside the data
