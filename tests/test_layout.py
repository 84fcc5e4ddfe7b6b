"""What is deduced from the layout of a data file."""

import numpy as np
import pytest
import xarray as xr

from stvd.catalog import describe, open_source
from stvd.contract import CatalogError
from stvd.layout import catalog_of_file, stamp_of, step_seconds


def times(values, units="hours since 2001-01-01", **attrs) -> xr.Dataset:
    return xr.Dataset(coords={"time": ("time", values, {"units": units} | attrs)})


@pytest.mark.parametrize(
    ("file", "stamp"),
    [
        (times([0, 3]), "start"),
        (times([1.5, 4.5]), "middle"),
        (times([0, 3], units="hours since 2001-01-01T01:30:00"), "middle"),
        (times([630, 810], units="minutes since 2001-01-01"), "middle"),
        (times([0, 3], calendar="martian"), "start"),
        (times([1.5, 4.5], units="hours since 2001-02-30", calendar="360_day"), "middle"),
    ],
)
def test_stamps_are_told_by_the_time_of_day(file, stamp):
    assert stamp_of(file, 10800) == stamp


@pytest.mark.parametrize(
    ("bounds", "stamp"), [([3, 6], "start"), ([0, 3], "end"), ([2, 4], "middle")]
)
def test_bounds_tell_more(bounds, stamp):
    file = times([3.0, 6.0], bounds="time_bnds")
    file["time_bnds"] = ("time", "bnds"), np.array([bounds, bounds], dtype=float)
    assert stamp_of(file, 10800) == stamp


def test_the_step_is_the_attribute_or_the_first_difference():
    assert step_seconds(times([0.0, 0.25, 9.0])) == 900
    assert step_seconds(times([0]).assign_attrs(time_step_seconds=60)) == 60
    with pytest.raises(CatalogError, match="write it in the global attribute time_step_seconds"):
        step_seconds(times([0]))
    with pytest.raises(CatalogError, match="units 'furlongs'"):
        step_seconds(times([0, 1], units="furlongs"))


def radar(ny: int, nx: int) -> xr.Dataset:
    """Two frames of 1-km rain, the first 16 columns without data in one of them."""
    rain = np.ones((2, ny, nx))
    rain[0, :, :16] = np.nan
    metres = {"units": "m"}
    return xr.Dataset(
        {
            "pr": (("time", "y", "x"), rain, {"units": "kg m-2 s-1"}),
            "valid_fraction": (("y", "x"), np.isfinite(rain).mean(0)),
        },
        coords={
            "time": ("time", [0, 300], {"units": "seconds since 2018-05-10"}),
            "y": ("y", 500.0 + 1000 * np.arange(ny), metres),
            "x": ("x", 500.0 + 1000 * np.arange(nx), metres),
        },
    )


def test_radar_is_cut_to_where_it_has_data_and_coarsened(tmp_path):
    path = tmp_path / "event.nc"
    radar(40, 64).to_netcdf(path)
    entries = catalog_of_file(str(path))["entries"]
    adapter = entries["event"]["metadata"]["stvd"]
    assert adapter["region"] == {"y": (0, 32), "x": (16, 64)}
    assert (adapter["stamp"], adapter["coarsen"]) == ("start", 8)
    info = describe("event", catalog=path)
    assert info.sizes == {"time": 2, "y": 4, "x": 6}
    assert info.axis.step_seconds == 300
    assert not bool(open_source("event", catalog=path)["pr"].isnull().any())
    assert float(open_source("event_grid", catalog=path)["areacella"].min()) == 1e6


def test_what_the_factor_does_not_divide_is_cut_off(tmp_path):
    path = tmp_path / "event.nc"
    radar(20, 30).drop_vars("valid_fraction").to_netcdf(path)
    assert describe("event", catalog=path).sizes == {"time": 2, "y": 2, "x": 3}


def test_a_file_is_read_anew_when_it_changes(tmp_path):
    path = tmp_path / "event.nc"
    radar(40, 64).to_netcdf(path)
    before = describe("event", catalog=path).sizes["y"]
    path.unlink()
    radar(64, 64).to_netcdf(path)
    assert (before, describe("event", catalog=path).sizes["y"]) == (4, 8)


def test_an_address_is_no_data_file():
    with pytest.raises(CatalogError, match="not a local file; write a catalog entry"):
        catalog_of_file("s3://bucket/event.nc")


@pytest.mark.parametrize("said", ["rough", 2.5, float("nan")])
def test_a_texture_that_is_none_is_named(tmp_path, said):
    file = radar(32, 32).assign_attrs(texture=said)
    file.to_netcdf(tmp_path / "rain.nc")
    with pytest.raises(CatalogError, match=r"rain.nc: its attribute texture is .* between 0 and 2"):
        catalog_of_file(str(tmp_path / "rain.nc"))


@pytest.mark.parametrize(
    ("attributes", "texture"),
    [
        ({"texture": 1.5}, 1.5),
        ({"network": "MRMS (USA)"}, 0.92),
        ({"network": "meteoswiss", "texture": 1.3}, 1.3),
        ({"network": "of nowhere"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_file_asks_for_its_texture_or_for_that_of_its_network(tmp_path, attributes, texture):
    radar(32, 32).assign_attrs(attributes).to_netcdf(tmp_path / "rain.nc")
    attrs = open_source("rain", catalog=tmp_path / "rain.nc").attrs
    assert attrs.get("texture") == texture
