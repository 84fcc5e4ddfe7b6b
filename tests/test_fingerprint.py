"""Fingerprints depend on the numbers and on nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cftime
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from stvd.fingerprint import canonical_json, digest_dataset, digest_parts, fingerprint

TIMES = xr.coders.CFDatetimeCoder(use_cftime=True)


class Sampler(BaseModel):
    steps: int = 10
    conserve: bool = True


def test_a_fingerprint_is_the_sha256_of_sorted_json() -> None:
    text = '{"input":"abc","sampler":{"conserve":true,"steps":10},"schema":3,"seed":7}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint(seed=7, sampler=Sampler(), input="abc") == expected


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"sampler": Sampler(steps=11)}, {"input": "abd"}, {"more": None}],
    ids=["seed", "sampler", "input", "a new part"],
)
def test_each_part_matters(other: dict[str, Any]) -> None:
    parts = {"seed": 7, "sampler": Sampler(), "input": "abc"}
    assert fingerprint(**parts) != fingerprint(**{**parts, **other})


def test_where_it_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size, device must not enter a fingerprint"):
        fingerprint(seed=1, device="cuda", batch_size=4)


@pytest.mark.parametrize(
    ("value", "error"),
    [(float("nan"), ValueError), (Path("a/b"), TypeError), (object(), TypeError)],
    ids=["NaN", "path", "object"],
)
def test_what_has_no_canonical_json_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        fingerprint(part=value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_order_of_keys_never_matters(parts: dict[str, Any]) -> None:
    assert canonical_json(parts) == canonical_json(dict(reversed(parts.items())))


def test_parts_in_brief_tell_what_differs() -> None:
    brief = digest_parts({"seed": 7, "model": "stvd@3", "sampler": Sampler(), "input": "f" * 64})
    assert brief["seed"] == "7"
    assert brief["model"] == "stvd@3"
    assert len(brief["input"]) == len(brief["sampler"]) == 12
    assert all(len(value) <= 24 for value in brief.values())
    assert digest_parts({"sampler": Sampler(steps=9)})["sampler"] != brief["sampler"]


def record(**attrs: Any) -> xr.Dataset:
    rng = np.random.default_rng(1)
    times = np.array([cftime.datetime(2001, 1, d, calendar="noleap") for d in range(1, 8)])
    return xr.Dataset(
        {
            "pr": (("time", "y", "x"), rng.random((7, 4, 6), "f4"), {"units": "kg m-2 s-1"}),
            "ps": (("time", "y", "x"), rng.random((7, 4, 6), "f4"), {"units": "Pa"}),
        },
        coords={"time": times, "lat": ("y", np.arange(4.0))},
        attrs={"calendar": "noleap", "step_seconds": 86400, **attrs},
    )


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 3}, {"time": (2, 5), "x": 2}, {"y": 1}])
def test_a_digest_does_not_depend_on_chunks(chunks: dict[str, Any]) -> None:
    assert digest_dataset(record().chunk(chunks)) == digest_dataset(record())


def test_a_digest_does_not_depend_on_format_or_description(tmp_path: Path) -> None:
    ds = record(title="anything")[["ps", "pr"]]
    ds.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4", decode_times=TIMES) as opened:
        assert digest_dataset(opened) == digest_dataset(record())


def one_bit(ds: xr.Dataset) -> xr.Dataset:
    values = ds["pr"].values.copy()
    values.view("u4")[3, 2, 1] ^= 1
    return ds.assign(pr=(ds["pr"].dims, values, ds["pr"].attrs))


@pytest.mark.parametrize(
    "change",
    [
        one_bit,
        lambda ds: ds.assign_coords(lat=("y", np.arange(4.0) + 1e-9)),
        lambda ds: ds.assign_attrs(step_seconds=10800),
        lambda ds: ds.isel(time=slice(0, 6)),
        lambda ds: ds.rename(ps="psl"),
        lambda ds: ds.assign(pr=ds["pr"].assign_attrs(units="mm/h")),
        lambda ds: ds.assign_coords(
            time=[cftime.datetime(2001, 1, d, calendar="360_day") for d in range(1, 8)]
        ),
    ],
    ids=["one bit", "latitude", "step", "a frame less", "name", "units", "calendar"],
)
def test_a_digest_changes_with_the_numbers(change: Any) -> None:
    assert digest_dataset(change(record())) != digest_dataset(record())


def test_nan_and_minus_zero_have_one_digest() -> None:
    """Two encodings of NaN, and 0.0 with either sign, are the same numbers."""
    a = np.array([0.0, np.nan], "f4")
    b = np.array([0x80000000, 0x7FC00001], "u4").view("f4")
    assert np.isnan(b[1])
    assert np.signbit(b[0])
    assert digest_dataset(xr.Dataset({"v": ("x", a)})) == digest_dataset(
        xr.Dataset({"v": ("x", b)})
    )


@pytest.mark.parametrize(
    ("slab", "requests"),
    [
        (32, [[0, 1], [2, 3], [4, 5], [6]]),
        (1, [[0], [0]] + [[k] for k in range(1, 7) for _ in "ab"]),
    ],
    ids=["two chunks at a time", "less than a chunk"],
)
def test_memory_is_bounded_by_a_slab(
    slab: int, requests: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 chunks of 2 rows of 2 float32: a chunk is 2 x 8 = 16 bytes."""
    monkeypatch.setattr("stvd.fingerprint.SLAB_BYTES", slab)
    loaded: list[int] = []

    def block(block_info: Any = None) -> np.ndarray:
        loaded.append(block_info[None]["chunk-location"][0])
        return np.full((2, 2), loaded[-1], "f4")

    lazy = da.map_blocks(block, chunks=((2,) * 7, (2,)), dtype="f4", meta=np.zeros((0, 0), "f4"))
    ds = xr.Dataset({"pr": (("time", "x"), lazy)})
    with dask.config.set(scheduler="synchronous"):
        digest = digest_dataset(ds)
        assert sorted(loaded) == [k for request in requests for k in request]
        assert digest == digest_dataset(ds.compute())
