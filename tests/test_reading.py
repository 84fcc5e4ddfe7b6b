"""Chunks of a source that are missing, emptied, cut short or altered are errors that name them."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from stvd.catalog import open_source
from stvd.contract import CatalogError
from stvd.lattice import TimeAxis
from stvd.layout import catalog_of_file, write_record
from stvd.reading import DamagedSource, explained
from stvd.synthetic import synthetic_coarse, synthetic_grid

SHAPE = (16, 32)
CHUNK = Path("pr_coarse") / "c" / "0" / "0" / "0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 20 frames, written by chunk with checksums."""
    axis = TimeAxis(epoch="2001-02-20", step_seconds=10_800)
    path = tmp_path_factory.mktemp("records") / "record.zarr"
    write_record(path, synthetic_coarse(axis, range(20), SHAPE), synthetic_grid(SHAPE))
    return path


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "record.zarr"))


def flip(chunk: bytes) -> bytes:
    middle = len(chunk) // 2
    return chunk[:middle] + bytes([chunk[middle] ^ 16]) + chunk[middle + 1 :]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda _: None, "is missing or empty"),
    "emptied": (lambda _: b"", r"is missing or empty|cannot be read"),
    "cut short": (lambda chunk: chunk[: len(chunk) // 2], "cannot be read"),
    "flipped bit": (flip, "cannot be read"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_chunk_of_a_source_is_named(how: str, store: Path) -> None:
    change, said = DAMAGE[how]
    altered = change((store / CHUNK).read_bytes())
    (store / CHUNK).unlink() if altered is None else (store / CHUNK).write_bytes(altered)
    rain = open_source("record", catalog=store)
    name = r"pr_coarse/c/0/0/0.*\(time 0-16, y_c 0-2, x_c 0-4\).*"
    for read in (rain.pr.load, rain.pr.isel(time=3, y=1, x=2).load):
        with pytest.raises(DamagedSource, match=name) as damaged:
            read()
        assert str(store) in str(damaged.value)
        assert any(part in str(damaged.value) for part in said.split("|"))
    assert np.isfinite(rain.tas.values).all()


def test_a_missing_coordinate_is_named_on_opening(sound: Path, store: Path) -> None:
    (store / "time" / "c" / "0").unlink()
    document = catalog_of_file(str(sound))
    document["data"]["file"]["kwargs"]["url"] = f"file://{store}"
    catalog = store.parent / "catalog.yaml"
    catalog.write_text(yaml.safe_dump(document))
    with pytest.raises(DamagedSource, match=r"time/c/0 \(time 0-20\) of .* is missing"):
        open_source("record", catalog=catalog)


def test_a_sparse_store_may_leave_out_chunks_of_its_fill_value(tmp_path: Path) -> None:
    """Nothing but missing values in the second half, which Zarr does not write."""
    rain = np.where(np.arange(20) < 10, 1e-4, np.nan)[:, None, None] * np.ones((1, 2, 4), "f4")
    time = ("time", np.arange(20) * 3 + 1.5, {"units": "hours since 2001-01-01"})
    lat, lon = ("lat", [0.0, 10.0]), ("lon", [0.0, 10.0, 20.0, 30.0])
    field = (("time", "lat", "lon"), rain.astype("f4"), {"units": "kg m-2 s-1"})
    file = xr.Dataset({"pr": field}, coords={"time": time, "lat": lat, "lon": lon})
    file.chunk(time=10).to_zarr(tmp_path / "dry.zarr", zarr_format=3, consolidated=False)
    assert not (tmp_path / "dry.zarr" / "pr" / "c" / "1").exists()

    def read(**more: bool) -> np.ndarray:
        adapter = {
            "role": "coarse",
            "step_seconds": 10_800,
            "dims": {"y": "lat", "x": "lon"},
            "variables": {"pr": "pr"},
        }
        entry = {
            "reader": "intake.readers.readers:XArrayDatasetReader",
            "kwargs": {"data": "{data(file)}"},
            "metadata": {"stvd": adapter | more},
        }
        url = f"file://{tmp_path}/dry.zarr"
        data = {"datatype": "intake.readers.datatypes:Zarr", "kwargs": {"url": url}}
        catalog = tmp_path / "catalog.yaml"
        catalog.write_text(
            yaml.safe_dump({"version": 2, "data": {"file": data}, "entries": {"dry": entry}})
        )
        return np.asarray(open_source("dry", catalog=catalog).pr.values)

    with pytest.raises(DamagedSource, match=r"pr/c/1/0/0 .*time 10-20.* say sparse: true"):
        read()
    assert np.array_equal(read(sparse=True), rain.astype("f4"), equal_nan=True)


def test_a_source_travels_to_other_processes(store: Path) -> None:
    rain = open_source("record", catalog=store)
    there = pickle.loads(pickle.dumps(rain))
    assert np.array_equal(there.pr.values, rain.pr.values)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError("Forbidden"), CatalogError, "access is denied"),
        (TimeoutError("read"), ConnectionError, "cannot be reached"),
        (ValueError("bad checksum"), None, ""),
    ],
)
def test_errors_of_servers_are_told_from_damage(
    error: Exception, kind: type[Exception] | None, said: str
) -> None:
    found = explained(error, "rain", "s3://bucket/rain.zarr")
    assert found is None if kind is None else isinstance(found, kind)
    assert said in str(found)
