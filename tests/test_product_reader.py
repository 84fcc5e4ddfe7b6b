"""What a reader of a product sees: its frames, its metadata, and damage by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import dask
import icechunk
import numpy as np
import pytest
import xarray as xr
import zarr
from cf_checker import cf_complaints
from product_samples import SHAPE, cell, make_grid, make_product, make_spec, publish, samples
from zarr.codecs import ZstdCodec

from stvd.grid import unit_vectors
from stvd.lattice import TimeAxis
from stvd.product import (
    DamagedProduct,
    NotPublished,
    Product,
    ProductError,
    ProductNotFound,
    StorageOptions,
    export_zarr,
    open_product,
)
from stvd.product.reader import CheckedArray, dask_chunks
from stvd.product.storage import Location


def test_three_lines_open_a_product(tmp_path: Path) -> None:
    uri = make_product(tmp_path).uri
    publish(Product.open(uri), cell(0))

    import stvd.product

    ds = stvd.product.open_product(uri)
    rain = ds.pr.sel(lat=50, lon=31, method="nearest").sel(time="2000-01-02")

    assert rain.shape == (2, 8)


def test_frames_that_are_not_published_are_hidden_and_can_be_shown(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    for number in (0, 2):
        publish(product, cell(number))
    ds = open_product(product.uri)
    expected = np.concatenate([samples(cell(n).frames, range(2)) for n in (0, 2)], axis=1)
    assert np.array_equal(ds.pr, expected)
    assert not ds.qc_flag.values.any()
    whole = open_product(product.uri, unpublished=True)
    assert whole.sizes["time"] == 60
    assert np.array_equal(whole.qc_flag.values[0], [0] * 20 + [1] * 20 + [0] * 20)
    assert whole.qc_flag.attrs["flag_masks"].dtype == whole.qc_flag.dtype == np.uint8
    assert np.isnan(whole.pr.values[:, 20:40]).all()
    assert np.array_equal(whole.pr.values[:, whole.qc_flag.values[0] == 0], expected)


def test_a_frame_is_there_once_all_members_wanted_are(tmp_path: Path) -> None:
    product = make_product(tmp_path, members=4)
    publish(product, cell(0, range(2)))
    assert open_product(product.uri).sizes["time"] == 0
    two = open_product(product.uri, members=range(2))
    assert np.array_equal(two.pr, samples(range(20), range(2)))
    publish(product, cell(0, range(2, 4)))
    later = open_product(product.uri, members=range(2, 4))
    assert later.realization.values.tolist() == [2, 3]
    assert np.array_equal(later.pr.sel(realization=3), samples(range(20), range(3, 4))[0])
    assert open_product(product.uri).sizes == {**two.sizes, "member": 4}


def test_unknown_versions_are_named(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    product.tag("v1")
    with pytest.raises(NotPublished, match=r"has no tag v2. Tags: v1\."):
        open_product(product.uri, tag="v2")
    with pytest.raises(NotPublished, match="has no snapshot 0000"):
        open_product(product.uri, snapshot="0000")
    with pytest.raises(ValueError, match="not both"):
        open_product(product.uri, tag="v1", snapshot=product.snapshot)


@pytest.mark.parametrize(
    ("calendar", "last"),
    [("standard", "2000-03-01"), ("noleap", "2000-03-02"), ("360_day", "2000-03-01")],
)
def test_times_are_those_of_the_calendar(calendar: str, last: str, tmp_path: Path) -> None:
    """Daily frames from 20 January: the 42nd day, 41 days on, is

    1 March in a leap year (12 days of January, 29 of February), 2 March where February has 28,
    and 1 March where January and February have 30 (11 and 30).
    """
    axis = TimeAxis(epoch="2000-01-20", step_seconds=86400, calendar=calendar)
    product = make_product(tmp_path, axis=axis)
    for number in range(3):
        publish(product, cell(number))
    ds = open_product(product.uri)
    when = ds.time[41]
    assert f"{when.dt.strftime('%Y-%m-%d %H').item()}" == f"{last} 12"
    start, end = ds.time_bnds[41].values
    assert (end - start) == (when.values - start) * 2
    assert ds.time.dt.calendar == ("proleptic_gregorian" if calendar == "standard" else calendar)
    kind = np.datetime64 if calendar == "standard" else cftime.datetime
    assert isinstance(ds.time.values[0], kind)


def test_years_far_away_open(tmp_path: Path) -> None:
    """Nanoseconds in 64 bits end in 2262."""
    product = make_product(tmp_path, axis=TimeAxis(epoch="2299-12-31", step_seconds=86400))
    publish(product, cell(0))
    assert open_product(product.uri).time.dt.year.values.tolist() == [2299] + [2300] * 19


def curvilinear() -> xr.Dataset:
    """A grid turned by 30 degrees, across the date line, near the pole."""
    y, x = np.meshgrid(np.arange(-4.0, 4), np.arange(-6.0, 6), indexing="ij")
    lat, lon = 75 + 0.9 * y + 0.5 * x, 180 + 3 * (0.9 * x - 0.5 * y)
    grid = make_grid().drop_vars(["lat", "lon"])
    return grid.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))


def projected() -> xr.Dataset:
    grid = curvilinear().assign_coords(y=np.arange(8) * 1000.0, x=np.arange(12) * 1000.0)
    attrs = {
        "grid_mapping_name": "transverse_mercator",
        "scale_factor_at_central_meridian": 0.9996,
        "longitude_of_central_meridian": 27.0,
        "latitude_of_projection_origin": 0.0,
        "false_easting": 500000.0,
        "false_northing": 0.0,
    }
    return grid.assign(utm=((), 0, attrs))


GRIDS: dict[str, Callable[[], xr.Dataset]] = {
    "regular": make_grid,
    "curvilinear": curvilinear,
    "projected": projected,
    "tiles": lambda: make_grid((6, *SHAPE)),
}


@pytest.mark.filterwarnings("ignore:The ioos_sos checker")
@pytest.mark.parametrize("name", GRIDS)
def test_every_kind_of_grid_is_cf_compliant_and_read_as_put(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]()
    spec = make_spec(keepbits=10, licence="CC BY 4.0", institution="an institution")
    product = Product.create_or_open(tmp_path / "product", spec, grid)
    publish(product, cell(0))
    Product.create_or_open(product.uri, spec, grid)
    ds = open_product(product.uri)
    assert ds.pr.dims == ("member", "time", *grid.areacella.dims)
    assert {"lat", "lon", "lat_bnds", "time_bnds", "areacella", "crs"} <= set(ds.coords)
    for field in ("areacella", "orog", "lat", "lon"):
        assert np.array_equal(ds[field], grid[field])
    ds.isel(time=slice(2)).to_netcdf(tmp_path / "two_frames.nc", engine="netcdf4")
    assert cf_complaints(tmp_path / "two_frames.nc") == []


def test_bounds_of_a_regular_grid_meet_and_end_at_the_poles(tmp_path: Path) -> None:
    """Rows 170/7 = 24.3 degrees apart from -85 to 85: the outermost reach the poles."""
    ds = open_product(make_product(tmp_path).uri)
    assert ds.lat_bnds.values[[0, -1], [0, 1]].tolist() == [-90, 90]
    assert np.array_equal(ds.lat_bnds.values[1:, 0], ds.lat_bnds.values[:-1, 1])
    assert ds.lon_bnds.values[0].tolist() == [-15, 15]  # 360 / 12 = 30 degrees wide


def test_corners_surround_their_cell_and_are_shared(tmp_path: Path) -> None:
    product = Product.create_or_open(tmp_path / "p", make_spec(), curvilinear())
    ds = open_product(product.uri)
    corners = unit_vectors(ds.lat_bnds.values, ds.lon_bnds.values)
    centre = unit_vectors(ds.lat.values, ds.lon.values)
    middle = corners.mean(axis=-2)
    cosine = (middle * centre).sum(-1) / np.linalg.norm(middle, axis=-1)
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.2  # cells are about 1 degree
    assert np.allclose(corners[1:, :, 0], corners[:-1, :, 3], atol=1e-12)  # south-west, north-west
    assert np.abs(ds.lon_bnds - ds.lon).max() <= 180


DAMAGE: dict[str, tuple[Callable[[bytearray], bytes | None], str]] = {
    "flipped bit": (lambda b: bytes(b[:60]) + bytes([b[60] ^ 1]) + bytes(b[61:]), ""),
    "flipped bit of an index": (lambda b: bytes(b[:-9]) + bytes([b[-9] ^ 4]) + bytes(b[-8:]), ""),
    "cut short": (lambda b: bytes(b[: len(b) // 2]), "range"),
    "emptied": (lambda b: b"", "range"),
    "deleted": (lambda b: None, "not found"),
}


def damage(product: Product, array: str, place: tuple[int, ...], how: str) -> None:
    """Alter the stored object of one chunk; it is the one that appears when the chunk is written."""
    folder = Path(product.uri) / "chunks"
    before = set(folder.iterdir())
    repo = Location.parse(product.uri).open()
    session = repo.writable_session("main")
    stored = zarr.open_group(session.store, mode="r+")[array]
    assert isinstance(stored, zarr.Array)
    outer = stored.shards or stored.chunks
    region = tuple(slice(k * n, (k + 1) * n) for k, n in zip(place, outer, strict=True))
    stored[region] = np.asarray(stored[region])
    session.commit("the same again")
    (written,) = set(folder.iterdir()) - before
    altered = DAMAGE[how][0](bytearray(written.read_bytes()))
    written.unlink() if altered is None else written.write_bytes(altered)


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_an_error_that_names_the_chunk_and_never_nan(how: str, tmp_path: Path) -> None:
    """Shard (1, 2, 1, 0) holds member 1, frames 20-30 and rows 4-8."""
    product = make_product(tmp_path)
    for number in (0, 1):
        publish(product, cell(number))
    damage(product, "pr", (1, 2, 1, 0), how)
    ds = open_product(product.uri)
    name = r"pr/c/1/2/1/0 \(member 1-2, time 2\d-.*, y 4-8, x 0-6\) of .*product cannot be read: "
    for read in (
        lambda: ds.pr.load(),
        lambda: ds.pr.isel(member=1, time=20, y=5, x=2).load(),
        lambda: product.verify(cell(1).id),
        lambda: export_zarr(product.uri, tmp_path / "copy"),
    ):
        with pytest.raises(DamagedProduct, match=name + ".*" + DAMAGE[how][1]):
            read()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["product"]
    assert np.array_equal(ds.pr.isel(member=0), samples(range(40), range(1))[0])
    product.verify(cell(0).id)


def test_a_shard_that_the_store_never_got_is_an_error(tmp_path: Path) -> None:
    """Zarr itself would return its fill value, NaN."""
    product = make_product(tmp_path)
    publish(product, cell(0))
    session = Location.parse(product.uri).open().writable_session("main")
    stored = zarr.open_group(session.store, mode="r+")["pr"]
    assert isinstance(stored, zarr.Array)
    stored[1, 10:20, 0:4, :] = np.nan
    session.commit("lose a shard")
    ds = open_product(product.uri)
    for read in (
        lambda: ds.pr.load(),
        lambda: ds.pr.isel(member=1, time=13, y=2, x=7).load(),
        lambda: ds.pr.isel(time=[2, 13], y=2).load(),
    ):
        with pytest.raises(
            DamagedProduct, match=r"pr/c/1/1/0/0 .* was published and is not in the"
        ):
            read()
    with pytest.raises(DamagedProduct, match=r"pr/c/1/1/0/0 of .* holds missing"):
        product.verify(cell(0).id)


def test_a_damaged_coordinate_is_named(tmp_path: Path) -> None:
    """2,304 cells: large enough to be an object of its own, not inline in a manifest."""
    product = make_product(tmp_path, shape=(48, 48))
    damage(product, "areacella", (0, 0), "deleted")
    ds = open_product(product.uri)
    with pytest.raises(DamagedProduct, match=r"areacella/c/0/0 \(y 0-48, x 0-48\)"):
        ds.areacella.load()


LOST: dict[str, tuple[tuple[slice, ...], Any]] = {
    "areacella": ((slice(None), slice(None)), np.nan),
    "lat": ((slice(None),), np.nan),
    "realization": ((slice(None),), np.iinfo("i4").min),
    "qc_flag": ((slice(None), slice(None)), 255),
    "time_bnds": ((slice(None), slice(None)), np.iinfo("i8").min),
    "ledger/records": ((slice(None), slice(None)), "?"),
}


@pytest.mark.parametrize("name", LOST)
def test_no_chunk_is_ever_replaced_by_a_fill_value(name: str, tmp_path: Path) -> None:
    """Writing the fill value is how Zarr forgets a chunk."""
    product = make_product(tmp_path)
    publish(product, cell(0))
    session = Location.parse(product.uri).open().writable_session("main")
    array = zarr.open_group(session.store, mode="r+")[name]
    assert isinstance(array, zarr.Array)
    array[LOST[name][0]] = LOST[name][1]
    session.commit("forget a chunk")
    with pytest.raises(DamagedProduct, match=f"{name}/c/0|a chunk of {name}"):
        open_product(product.uri)[name].load() if name != "ledger/records" else product.ledger()


def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    snapshot = product.snapshot
    (Path(product.uri) / "snapshots" / snapshot).write_bytes(b"not what it was")
    with pytest.raises(DamagedProduct, match=f"Snapshot {snapshot} of .* cannot be read"):
        open_product(product.uri)


def test_a_repository_without_a_product_is_not_one(tmp_path: Path) -> None:
    icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "empty")))
    with pytest.raises(ProductNotFound, match="is empty"):
        open_product(tmp_path / "empty")
    other = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "other")))
    session = other.writable_session("main")
    zarr.create_group(session.store)
    session.commit("something else")
    with pytest.raises(ProductNotFound, match="holds no stvd product"):
        open_product(tmp_path / "other")


def test_an_opened_product_travels_to_other_processes(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    ds = pickle.loads(pickle.dumps(open_product(product.uri)))
    assert np.array_equal(ds.pr.values, samples(range(20), range(2)))


def test_members_that_there_are_not_are_refused(tmp_path: Path) -> None:
    uri = make_product(tmp_path).uri
    with pytest.raises(ValueError, match="members 1-3 are not among the 2 of"):
        open_product(uri, members=range(1, 3))


def test_a_wrong_time_axis_is_an_error(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    session = Location.parse(product.uri).open().writable_session("main")
    time = zarr.open_group(session.store, mode="r+")["time"]
    assert isinstance(time, zarr.Array)
    time[3] = 7
    session.commit("alter the time")
    with pytest.raises(DamagedProduct, match="time axis"):
        open_product(product.uri)


def test_failures_of_the_network_are_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make_product(tmp_path)
    publish(product, cell(0))
    ds = open_product(product.uri)

    def fail(*_: Any, **__: Any) -> None:
        raise icechunk.IcechunkError("error sending request: connection refused")

    monkeypatch.setattr(zarr.Array, "get_orthogonal_selection", fail)
    with pytest.raises(icechunk.IcechunkError, match="connection refused"):
        ds.pr.load()


def test_only_what_is_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point's series and a map of one frame, of 2 x 40 x 96 values."""
    product = make_product(tmp_path)
    for number in (0, 1):
        publish(product, cell(number))
    ds = open_product(product.uri)
    read: list[int] = []
    original = CheckedArray._read

    def counting(self: CheckedArray, key: tuple[Any, ...]) -> np.ndarray:
        values = original(self, key)
        if self.published is not None:
            read.append(values.size)
        return values

    monkeypatch.setattr(CheckedArray, "_read", counting)
    with dask.config.set(scheduler="synchronous"):
        ds.pr.isel(member=1, y=3, x=5).load()
        assert sum(read) == 40
        read.clear()
        ds.pr.isel(member=0, time=17).load()
        assert sum(read) == 96


def test_dask_chunks_are_whole_shards_of_bounded_size() -> None:
    """Shards (1, 720, 96, 96) have 26.5 MB: five make 128 MiB, so five along x, one along y."""
    pr = zarr.create_array(
        zarr.storage.MemoryStore(),
        shape=(10, 1440, 1000, 2000),
        chunks=(1, 240, 24, 24),
        shards=(1, 720, 96, 96),
        dtype="f4",
        dimension_names=("member", "time", "y", "x"),
    )
    sizes = {"member": 10, "time": 1440, "y": 1000, "x": 2000}
    assert dask_chunks(pr, sizes) == {"member": 1, "time": 720, "y": 96, "x": 480}


def test_a_plain_copy_equals_the_product(tmp_path: Path) -> None:
    product = make_product(tmp_path, shape=(2, *SHAPE))
    for number in (0, 2):
        publish(product, cell(number))
    copy = xr.open_zarr(export_zarr(product.uri, tmp_path / "copy"), decode_coords="all")
    ds = open_product(product.uri)
    assert set(copy.variables) == set(ds.variables)
    for name in ds.variables:
        assert np.array_equal(copy[name], ds[name]), name
    assert copy.pr.attrs == ds.pr.attrs
    stored = zarr.open_group(tmp_path / "copy", mode="r")["pr"]
    assert isinstance(stored, zarr.Array)
    assert stored.shards == (1, 10, 1, 4, 12)
    assert stored.compressors == (ZstdCodec(level=1, checksum=True),)
    with pytest.raises(ProductError, match="copy exists"):
        export_zarr(product.uri, tmp_path / "copy")


def test_nothing_published_is_nothing_to_copy(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    with pytest.raises(ProductError, match="Nothing is published"):
        export_zarr(product.uri, tmp_path / "copy")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://bucket-1/a/b/", ("bucket-1", "a/b", None)),
        ("file:///data/x%20y", ("", "", Path("/data/x y"))),
        ("/data/x", ("", "", Path("/data/x"))),
    ],
)
def test_addresses_are_taken_apart(uri: str, found: tuple[str, str, Path | None]) -> None:
    location = Location.parse(uri)
    assert (location.bucket, location.prefix, location.path) == found


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/../other",
        "s3://bucket/%2e%2e/other",
        "file:///a/../b",
        "../other/product",
        "/products/../other",
        "s3://bucket",
        "s3://key:secret@bucket/a",
        "http://host/a",
        "file://host/a",
    ],
)
def test_other_addresses_are_refused_without_telling_a_secret(uri: str) -> None:
    with pytest.raises(ProductError) as caught:
        Location.parse(uri)
    assert "secret" not in str(caught.value)


def test_an_object_store_is_reached_as_told() -> None:
    options = StorageOptions(
        endpoint_url="http://127.0.0.1:8333", region="x", allow_http=True, force_path_style=True
    )
    text = repr(Location.parse("s3://bucket/a", options).storage())
    assert "127.0.0.1:8333" in text
    assert "bucket" in text
