"""Sources by name: allow-list, adapters, stamps, calendars, formats."""

from copy import deepcopy
from pathlib import Path

import dask
import fsspec
import intake
import numpy as np
import pytest
import xarray as xr
import yaml

from stvd.catalog import SCHEMES, describe, list_sources, open_source
from stvd.contract import CatalogError, violations
from stvd.faults import spoil
from stvd.fingerprint import digest_dataset
from stvd.grid import coarsen_area_weighted
from stvd.lattice import CALENDARS, Period, TimeAxis
from stvd.layout import write_record
from stvd.source import Source
from stvd.synthetic import synthetic_coarse, synthetic_grid, synthetic_truth

AXIS = TimeAxis(epoch="2001-01-01", step_seconds=10800, calendar="noleap")
CATALOGS = Path(__file__).parents[1] / "catalogs"
SHAPE = (16, 32)


def document(adapter: dict, *, url: str = "{root}/file.nc", kind: str = "HDF5", **extra) -> dict:
    """A catalog of one entry named `rain`."""
    parameter = {"cls": "intake.readers.user_parameters:SimpleUserParameter"}
    data = {"datatype": f"intake.readers.datatypes:{kind}", "kwargs": {"url": url}}
    entry = {
        "reader": "intake.readers.readers:XArrayDatasetReader",
        "kwargs": {"data": "{data(file)}"},
        "metadata": {"stvd": deepcopy(adapter)},
    }
    whole = {"version": 2, "user_parameters": {"root": parameter}, "data": {"file": data}}
    return whole | {"entries": {"rain": entry}} | extra


def write(folder: Path, content: dict) -> Path:
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


ADAPTER = {
    "role": "coarse",
    "step_seconds": 10800,
    "stamp": "middle",
    "dims": {"y": "lat", "x": "lon"},
    "variables": {"pr": "pr"},
}


def field(times: int = 4, **attrs) -> xr.Dataset:
    """Rain of 0, 1, 2, … on 2 × 3 cells, stamped at mid-interval of 3-hour frames."""
    rain = np.arange(times, dtype=float)[:, None, None] * np.ones((1, 2, 3))
    north, east = {"units": "degrees_north"}, {"units": "degrees_east"}
    time = {"units": "hours since 2001-01-01", "calendar": "noleap"}
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain, {"units": "kg m-2 s-1"} | attrs)},
        coords={
            "time": ("time", 1.5 + 3 * np.arange(times), time),
            "lat": ("lat", [10.0, 20.0], north),
            "lon": ("lon", [0.0, 10.0, 20.0], east),
        },
    )


def source(folder: Path, file: xr.Dataset, adapter: dict = ADAPTER, period=None) -> xr.Dataset:
    """What `open_source` makes of a file with an adapter."""
    file.to_netcdf(folder / "file.nc")
    return open_source("rain", period, catalog=write(folder, document(adapter)))


# --- what a catalog may say


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1}, "version"),
        ({"sources": {}}, "sources: Extra inputs"),
        ({"user_parameters": {"x": {"cls": "os:system"}}}, "user_parameters"),
        ({"user_parameters": {"root": {"cls": "os:system"}}}, "user_parameters.root.cls"),
    ],
    ids=["version 1", "unknown key", "another parameter", "another class"],
)
def test_a_document_that_says_more_is_refused(tmp_path, change, said):
    path = write(tmp_path, document(ADAPTER, **change))
    with pytest.raises(CatalogError, match="says what a catalog may not") as refused:
        list_sources(path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("data", "file", "datatype"), "os:system"),
        (("data", "file", "datatype"), "intake.readers.datatypes:PythonSourceCode"),
        (("data", "file", "cls"), "subprocess:Popen"),
        (("data", "file", "kwargs", "url"), "{env(HOME)}/file.nc"),
        (("data", "file", "kwargs", "url"), "{root}/{func(os:getcwd)}"),
        (("data", "file", "kwargs", "storage_options"), {"secret": "x"}),
        (("data", "file", "kwargs", "storage_options"), {"endpoint_url": "{env(X)}"}),
        (("data", "file", "user_parameters"), {"x": "y"}),
        (("entries", "rain", "reader"), "intake.readers.readers:Retry"),
        (("entries", "rain", "kwargs", "data"), "{func(os:getcwd)}"),
        (("entries", "rain", "kwargs", "data"), "{data(nothing)}"),
        (("entries", "rain", "kwargs", "open_local"), True),
        (("entries", "rain", "kwargs", "group"), "{pickle64(gASVAA==)}"),
        (("entries", "rain", "metadata", "stvd", "command"), "rm"),
        (("entries", "rain", "metadata", "stvd", "role"), "product"),
    ],
    ids=lambda v: ".".join(v) if isinstance(v, tuple) else str(v)[:30],
)
def test_objects_templates_and_secrets_are_refused(tmp_path, keys, value):
    content = document(ADAPTER)
    *path, last = keys
    at = content
    for key in path:
        at = at[key]
    at[last] = value
    with pytest.raises(CatalogError, match="says what a catalog may not"):
        open_source("rain", catalog=write(tmp_path, content))


def test_python_tags_and_doubled_keys_are_refused(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(CatalogError, match="cannot be read"):
        list_sources(path)
    path.write_text("version: 2\nversion: 2\n")
    with pytest.raises(CatalogError, match="duplicate key"):
        list_sources(path)


@pytest.mark.parametrize("name", ["../rain", "a/b", "", ".hidden", "rain;ls", "{root}"])
def test_names_are_of_the_allow_list(tmp_path, name):
    path = write(tmp_path, document(ADAPTER))
    with pytest.raises(CatalogError, match="is no name"):
        open_source(name, catalog=path)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = write(tmp_path, document(ADAPTER))
    with pytest.raises(CatalogError, match="no source 'snow', only rain"):
        describe("snow", catalog=path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/file.nc", "not allowed; a URL begins with file://, https://, s3://, gs://"),
        ("simplecache::s3://b/file.nc", "not allowed"),
        ("/etc/passwd", "not allowed"),
        ("{root}/../file.nc", "leaves its root"),
    ],
)
def test_urls_are_of_the_allow_list(tmp_path, url, said):
    path = write(tmp_path, document(ADAPTER, url=url))
    with pytest.raises(CatalogError, match=said):
        open_source("rain", catalog=path)


@pytest.mark.parametrize("path", ["../file.nc", "/data/../etc/file.zarr", "a/%2e%2e/file.nc"])
def test_a_parameter_that_leads_upwards_is_refused(tmp_path, path):
    with pytest.raises(CatalogError, match=r"holds '\.\.'"):
        Source.find(path, tmp_path)


def test_a_file_that_is_not_there_is_named_with_the_remedy(tmp_path):
    path = write(tmp_path, document(ADAPTER))
    with pytest.raises(CatalogError, match=r"rain cannot be read from .*file\.nc") as missing:
        open_source("rain", catalog=path)
    assert "root names their folder or bucket" in str(missing.value)


def test_a_module_that_is_not_there_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("stvd.catalog.find_spec", lambda name: None)
    (tmp_path / "file.grib").touch()
    path = write(tmp_path, document(ADAPTER, url="{root}/file.grib", kind="GRIB2"))
    with pytest.raises(CatalogError, match=r"cfgrib is not installed: pip install 'stvd\[grib\]'"):
        open_source("rain", catalog=path)
    path = write(tmp_path, document(ADAPTER, url="s3://bucket/file.zarr", kind="Zarr"))
    with pytest.raises(CatalogError, match=r"s3fs is not installed: pip install 'stvd\[s3\]'"):
        open_source("rain", catalog=path)


# --- from the file to the contract


def test_a_source_is_lazy_and_meets_the_contract(tmp_path):
    rain = source(tmp_path, field())
    assert dask.is_dask_collection(rain["pr"].data)
    assert not list(violations(rain, "coarse", ["pr"]))
    assert rain["pr"].dtype == np.float32
    assert rain["pr"].values[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert rain.attrs["source"] == "rain"


def test_the_texture_that_is_asked_for_is_a_part_of_the_input(tmp_path):
    plain = source(tmp_path, field())
    assert "texture" not in plain.attrs
    asked = plain.assign_attrs(texture=1.5)
    assert digest_dataset(asked) != digest_dataset(plain)
    path = write(tmp_path, document({**ADAPTER, "texture": 1.5}))
    assert open_source("rain", catalog=path).attrs["texture"] == 1.5
    path = write(tmp_path, document({**ADAPTER, "texture": 3.0}))
    with pytest.raises(CatalogError, match="texture"):
        open_source("rain", catalog=path)


@pytest.mark.parametrize(
    ("stamp", "first"),
    [("start", "2001-01-01T01:30:00"), ("middle", "2001-01-01T00:00:00"), ("end", "2000-12-31T22")],
)
def test_stamps_become_mid_interval_with_bounds(tmp_path, stamp, first):
    rain = source(tmp_path, field(), ADAPTER | {"stamp": stamp})  # the first stamp is 01:30
    assert rain["time_bnds"].values[0, 0].isoformat().startswith(first)
    bounds = rain["time_bnds"].values
    assert (rain["time"].values - bounds[:, 0] == bounds[:, 1] - rain["time"].values).all()
    assert rain.attrs["epoch"].startswith(first)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_periods_are_half_open_on_the_calendar_of_the_data(tmp_path, calendar):
    file = field(times=8 * 62)
    file["time"].attrs["calendar"] = calendar
    rain = source(tmp_path, file, period=Period(start="2001-01-30", end="2001-02"))
    days = 1 if calendar == "360_day" else 2  # to the end of January
    assert rain["pr"].values[:, 0, 0].tolist() == list(range(8 * 29, 8 * (29 + days)))
    assert rain.attrs["epoch"] == "2001-01-01T00:00:00"
    assert rain.attrs["calendar"] == calendar


def test_a_period_of_a_day_that_is_not_on_the_calendar_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="'2004-02-29' is not a date of the noleap calendar"):
        source(tmp_path, field(), period=Period(start="2004-02-29", end="2004-03"))


@pytest.mark.parametrize(
    ("units", "value", "origin"),
    [
        ("kg m**-2 s**-1", 1.0, "pr"),
        ("mm/day", 86400.0, "pr"),
        ("mm h-1", 3600.0, "pr"),
        ("m s-1", 1e-3, "pr"),
        ("m", 10.8, {"from": "pr", "units_in": "m", "per_step": True}),  # 10.8 m in 10800 s
        ("kg m-2", 10800.0, {"from": "pr", "per_step": True}),
        ("", 3600.0, {"from": "pr", "units_in": "mm h-1"}),
        ("(0 - 1)", 0.5, {"from": "pr", "units_in": "1", "scale": 2.0}),
    ],
)
def test_units_become_those_of_the_contract(tmp_path, units, value, origin):
    file = field().assign(pr=field()["pr"] * value)
    file["pr"].attrs["units"] = units
    rain = source(tmp_path, file, ADAPTER | {"variables": {"pr": origin}})
    assert rain["pr"].attrs["units"] == "kg m-2 s-1"
    np.testing.assert_allclose(rain["pr"].values[:, 0, 0], [0, 1, 2, 3], rtol=1e-6)


def test_units_that_do_not_convert_are_left_for_the_checks(tmp_path):
    rain = source(tmp_path, field(units="K"))
    (found,) = violations(rain, "coarse", ["pr"])
    assert "pr of rain has units 'K'" in found.message


def test_a_catalog_that_contradicts_the_file_is_refused(tmp_path):
    adapter = ADAPTER | {"variables": {"pr": {"from": "pr", "units_in": "mm h-1"}}}
    with pytest.raises(CatalogError, match="says that pr is in 'mm h-1', the file 'kg m-2 s-1'"):
        source(tmp_path, field(), adapter)


def test_a_truth_that_breaks_the_contract_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="pr of rain has units 'K'"):
        source(tmp_path, field(units="K"), ADAPTER | {"role": "truth"})


@pytest.mark.parametrize("axis", ["lat", "lon"])
def test_rows_and_columns_ascend(tmp_path, axis):
    file = field()
    file["pr"].values[:] = np.arange(6).reshape(2, 3)
    reverse = file.isel({axis: slice(None, None, -1)})
    rain = source(tmp_path, reverse)
    assert rain["pr"].values[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert rain["lat"].values.tolist() == [10, 20]
    assert rain["lon"].values.tolist() == [0, 10, 20]


def test_a_level_is_selected(tmp_path):
    file = field().expand_dims(level=[850, 500], axis=1).rename(pr="u")
    file["u"] = file["u"] * xr.DataArray([1.0, 10.0], dims="level")
    file["u"].attrs["units"] = "m s-1"
    origin = {"from": "u", "select": {"level": 500}}
    rain = source(tmp_path, file, ADAPTER | {"variables": {"ua500": origin}})
    assert rain["ua500"].dims == ("time", "y", "x")
    assert rain["ua500"].values[:, 0, 0].tolist() == [0, 10, 20, 30]


def test_a_level_that_is_not_there_is_refused(tmp_path):
    file = field().expand_dims(level=[850, 500], axis=1)
    origin = {"from": "pr", "select": {"level": 700}}
    with pytest.raises(CatalogError, match=r"nothing at \{'level': 700\}"):
        source(tmp_path, file, ADAPTER | {"variables": {"pr": origin}})


def test_a_level_that_was_not_selected_is_left_for_the_checks(tmp_path):
    file = field().expand_dims(level=[850, 500], axis=1)
    (found,) = violations(source(tmp_path, file), "coarse", ["pr"])
    assert "metadata.stvd.variables.pr.select: {level: …}" in found.remedy


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({"calendar": "martian"}, "calendar 'martian' is not supported"),
        ({"units": "furlongs"}, "has units 'furlongs'"),
        ({"units": "hours since breakfast"}, "cannot be read"),
    ],
)
def test_times_that_cannot_be_read_are_refused(tmp_path, attrs, said):
    file = field()
    file["time"].attrs |= attrs
    with pytest.raises(CatalogError, match=said):
        source(tmp_path, file)


def test_a_time_axis_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="no time axis 'when'"):
        source(tmp_path, field(), ADAPTER | {"dims": {"time": "when", "y": "lat", "x": "lon"}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step_seconds": None}, "step_seconds is missing"),
        ({"coarsen": 4}, "coarsen 4 is not the factor 8"),
        ({"region": {"y": [0, 12], "x": [0, 16]}}, "not at multiples of the factor 8"),
        ({"epoch": "yesterday"}, "'yesterday' is not a date"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_an_adapter_that_contradicts_itself_is_refused(tmp_path, change, said):
    with pytest.raises(CatalogError, match=said):
        source(tmp_path, field(), ADAPTER | change)


def test_a_long_file_is_read_in_whole_maps_over_little_time(tmp_path, monkeypatch):
    monkeypatch.setattr("stvd.catalog.CHUNK", "480B")  # 10 frames of 2 × 3 float64
    rain = source(tmp_path, field(times=100))
    assert rain["pr"].chunks == ((10,) * 10, (2,), (3,))


def test_a_fine_record_is_coarsened_on_the_fly_in_its_region(tmp_path):
    truth, grid = synthetic_truth(AXIS, range(3), (32, 64)), synthetic_grid((32, 64))
    file = truth["pr"].drop_vars("time_bnds", errors="ignore").to_dataset()
    file.to_netcdf(tmp_path / "file.nc")
    region = {"y": [8, 24], "x": [16, 48]}
    adapter = ADAPTER | {"coarsen": 8, "region": region, "dims": {}}
    coarse = open_source("rain", catalog=write(tmp_path, document(adapter)))
    cells = {"y": slice(8, 24), "x": slice(16, 48)}
    expected = coarsen_area_weighted(truth["pr"].isel(cells), grid["areacella"].isel(cells), 8)
    np.testing.assert_allclose(coarse["pr"].values, expected.values, rtol=1e-6)
    assert dask.is_dask_collection(coarse["pr"].data)
    assert coarse["lon"].values[0] == grid["lon"].values[16:24].mean()
    assert coarse.attrs["periodic_x"] == 0


def test_a_period_of_an_entry_cuts_the_record_and_keeps_its_frame_numbers(tmp_path):
    adapter = ADAPTER | {"period": {"start": "2001-01-01T06:00", "end": "2001-01-01T15:00"}}
    rain = source(tmp_path, field(times=10), adapter)
    np.testing.assert_array_equal(rain["pr"][:, 0, 0], [2, 3, 4])
    info = describe("rain", catalog=tmp_path / "catalog.yaml")
    assert (info.axis.epoch, info.frames) == ("2001-01-01T00:00:00", range(2, 5))
    later = Period(start="2001-01-01T12:00", end="2001-01-02", calendar="noleap")
    rain = open_source("rain", later, catalog=tmp_path / "catalog.yaml")
    np.testing.assert_array_equal(rain["pr"][:, 0, 0], [4])


def test_a_period_without_a_frame_is_refused(tmp_path):
    adapter = ADAPTER | {"period": {"start": "2002-01-01", "end": "2003-01-01"}}
    with pytest.raises(CatalogError, match="no time in 2002-01-01/2003-01-01"):
        source(tmp_path, field(), adapter)


def test_a_region_of_a_coarse_record_is_counted_in_fine_cells(tmp_path):
    coarse = synthetic_coarse(AXIS, range(3), (32, 64))
    coarse.drop_vars("time_bnds").to_netcdf(tmp_path / "file.nc")
    adapter = ADAPTER | {"dims": {}, "region": {"y": [8, 24], "x": [16, 48]}}
    rain = open_source("rain", catalog=write(tmp_path, document(adapter)))
    np.testing.assert_array_equal(rain["pr"], coarse["pr"].isel(y=slice(1, 3), x=slice(2, 6)))


def test_joined_entries_add_their_variables(tmp_path):
    coarse = synthetic_coarse(AXIS, range(3), SHAPE).drop_vars("time_bnds")
    coarse[["pr"]].to_netcdf(tmp_path / "file.nc")
    coarse[["tas"]].to_netcdf(tmp_path / "tas.nc")
    adapter = ADAPTER | {"dims": {}}
    content = document(adapter | {"join": ["heat"]})
    content["data"]["tas"] = {**content["data"]["file"], "kwargs": {"url": "{root}/tas.nc"}}
    heat = adapter | {"variables": {"tas": "tas"}}
    rain = content["entries"]["rain"]
    content["entries"]["heat"] = {
        **rain,
        "kwargs": {"data": "{data(tas)}"},
        "metadata": {"stvd": heat},
    }
    path = write(tmp_path, content)
    assert set(open_source("rain", catalog=path).data_vars) == {"pr", "tas"}
    coarse[["tas"]].isel(time=slice(2)).to_netcdf(tmp_path / "tas.nc")
    with pytest.raises(CatalogError, match="heat has other times or cells"):
        open_source("rain", catalog=path)


# --- formats, places and whole files


@pytest.mark.parametrize("tiles", [None, 2], ids=["global", "two faces"])
@pytest.mark.parametrize("name", ["record.nc", "v2.zarr", "v3.zarr"])
def test_a_data_file_is_a_catalog_of_its_record(tmp_path, name, tiles):
    shape = SHAPE if tiles is None else (16, 16)
    coarse = synthetic_coarse(AXIS, range(5), shape, tiles=tiles)
    truth = synthetic_truth(AXIS, range(5), shape, tiles=tiles)
    grid = synthetic_grid(shape, tiles=tiles)
    path = tmp_path / name
    write_record(path, coarse, grid, truth, zarr_format=2 if name == "v2.zarr" else 3)
    stem = name.split(".")[0]
    assert list_sources(path) == [stem, f"{stem}_truth", f"{stem}_grid"]
    info = describe(stem, catalog=path)
    assert info.axis == AXIS.model_copy(update={"epoch": "2001-01-01T00:00:00"})
    assert (info.grid, info.truth, info.frames) == (f"{stem}_grid", f"{stem}_truth", range(5))
    read = open_source(stem, catalog=path)
    for variable in coarse.data_vars:
        np.testing.assert_array_equal(read[variable], coarse[variable])
    assert (read["time_bnds"].values == coarse["time_bnds"].values).all()
    np.testing.assert_array_equal(open_source(info.truth, catalog=path)["pr"], truth["pr"])
    fine = open_source(info.grid, catalog=path)
    np.testing.assert_allclose(fine["areacella"], grid["areacella"])
    np.testing.assert_array_equal(fine["orog"], grid["orog"])
    assert fine.attrs["periodic_x"] == coarse.attrs["periodic_x"] == read.attrs["periodic_x"]


def test_a_data_file_is_read_where_it_is_whatever_the_root(tmp_path):
    path = tmp_path / "record.nc"
    write_record(path, synthetic_coarse(AXIS, range(3), SHAPE), synthetic_grid(SHAPE))
    read = open_source("record", catalog=path, root="s3://bucket/elsewhere")
    assert read.sizes["time"] == 3
    assert describe("record", catalog=f"file://{path}").truth is None


def test_a_period_of_a_file_keeps_the_lattice_of_the_whole(tmp_path):
    path = tmp_path / "record.nc"
    write_record(path, synthetic_coarse(AXIS, range(16), SHAPE), synthetic_grid(SHAPE))
    day = open_source("record", Period(start="2001-01-02", end="2001-01-03"), catalog=path)
    assert day.attrs["epoch"] == "2001-01-01T00:00:00"
    assert AXIS.locate(day["time"]).tolist() == list(range(8, 16))


@pytest.mark.parametrize("fault", ["duplicate_time", "missing_time", "non_monotonic_time"])
def test_bad_times_are_opened_as_they_are_for_the_checks(tmp_path, fault):
    coarse, grid = synthetic_coarse(AXIS, range(16), SHAPE), synthetic_grid(SHAPE)
    spoiled, _ = spoil(fault, coarse, grid)
    write_record(tmp_path / "record.nc", spoiled, grid)
    read = open_source("record", catalog=tmp_path / "record.nc")
    assert (read["time"].values == spoiled["time"].values).all()


def test_a_file_of_an_unknown_layout_is_refused(tmp_path):
    field().rename(pr="rain").to_netcdf(tmp_path / "odd.nc")
    with pytest.raises(CatalogError, match="its layout is not known"):
        list_sources(tmp_path / "odd.nc")
    (tmp_path / "text.nc").write_text("no data")
    with pytest.raises(CatalogError, match="cannot be read as a data file"):
        list_sources(tmp_path / "text.nc")


@pytest.mark.parametrize("kind", ["HDF5", "Zarr"])
def test_another_store_by_another_root_alone(tmp_path, monkeypatch, kind):
    """The bucket is fsspec's memory, which takes the way of s3:// and gs://."""
    monkeypatch.setitem(SCHEMES, "memory", None)
    name = {"HDF5": "file.nc", "Zarr": "file.zarr"}[kind]
    path = write(tmp_path, document(ADAPTER, url=f"{{root}}/{name}", kind=kind))
    if kind == "HDF5":
        field().to_netcdf(tmp_path / name)
        fsspec.filesystem("memory").put(str(tmp_path / name), "/bucket/file.nc")
    else:
        field().to_zarr("memory://bucket/file.zarr", mode="w", zarr_format=2)
    rain = open_source("rain", catalog=path, root="memory://bucket")
    assert rain["pr"].values[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_relative_root_is_relative_to_the_catalog(tmp_path):
    field().to_netcdf(tmp_path / "file.nc")
    (tmp_path / "catalogs").mkdir()
    content = document(ADAPTER, metadata={"default_root": ".."})
    path = write(tmp_path / "catalogs", content)
    assert open_source("rain", catalog=path).sizes["time"] == 4


@pytest.mark.parametrize("catalog", ["demo", "shared", "public"])
def test_the_catalogs_of_the_project_are_allowed_and_complete(catalog):
    path = CATALOGS / f"{catalog}.yaml"
    content = yaml.safe_load(path.read_text())
    names = list_sources(path)
    assert list(content["aliases"]) == names  # without aliases plain Intake lists nothing
    for entry in content["entries"].values():
        adapter = entry["metadata"]["stvd"]
        assert {adapter.get("grid"), adapter.get("truth")} <= {None, *names}
        if catalog == "public":
            assert adapter["description"].startswith("not exercised offline")


def test_plain_intake_reads_the_catalogs_too(tmp_path):
    field().to_netcdf(tmp_path / "demo_gcm.nc")
    plain = intake.open_catalog(str(CATALOGS / "demo.yaml"))
    assert list(plain) == ["gcm_demo", "gcm_demo_truth", "gcm_demo_grid"]
    read = plain(root=str(tmp_path))["gcm_demo"].read(engine="netcdf4")
    assert read["pr"].shape == (4, 2, 3)
