"""The empty product: its arrays, how they grow, and whether a stored one is the one asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from stvd.product.arrays import stored_array
from stvd.product.ledger import ABSENT_RECORD, LEDGER, NO_RECORD, RECORDS
from stvd.product.metadata import (
    ABSENT_FLAG,
    NOT_PUBLISHED,
    Static,
    global_attrs,
    pr_attrs,
    qc_attrs,
    seconds,
    time_attrs,
)
from stvd.product.spec import ProductSpec

SCHEMA = 2
CELLS_A_CHUNK = 32
"""Cells of time in a chunk of `time`, `qc_flag` and the ledger: few to read, small to write."""
CELLS_A_MANIFEST = 64
STATIC_CHUNK = 1024
ABSENT_TIME = -(2**63)
CHECKED = ZstdCodec(level=1, checksum=True)
"""Compression of everything stored: a flipped bit is an error, never a wrong number."""


def write_template(
    store: Any, spec: ProductSpec, static: dict[str, Static], created: str, version: str
) -> None:
    """Make the arrays of a product that holds no frame yet."""
    root = zarr.create_group(store, zarr_format=3, attributes=global_attrs(spec, created, version))
    for name, variable in static.items():
        chunks = tuple(min(max(n, 1), STATIC_CHUNK) for n in variable.values.shape)
        array = root.create_array(
            name,
            shape=variable.values.shape,
            dtype=variable.values.dtype,
            chunks=chunks,
            compressors=[CHECKED],
            fill_value=absent_value(variable.values),
            dimension_names=variable.dims,
            attributes=variable.attrs,
        )
        array[...] = variable.values
    for name, settings in growing_arrays(spec, static).items():
        root.create_array(name, **settings)
    group = root.create_group(
        LEDGER, attributes={"schema": SCHEMA, "spec": spec.model_dump(mode="json")}
    )
    group.create_array(
        RECORDS.removeprefix(f"{LEDGER}/"),
        shape=(0, spec.members),
        dtype=str,
        chunks=(CELLS_A_CHUNK, spec.members),
        compressors=[CHECKED],
        fill_value=ABSENT_RECORD,
        dimension_names=("cell", "member"),
    )


def growing_arrays(spec: ProductSpec, static: dict[str, Static]) -> dict[str, dict[str, Any]]:
    """How the arrays along time are stored, by name, at length 0."""
    assert spec.chunks is not None
    assert spec.shards is not None
    area = static["areacella"]
    tiles = area.values.shape[:-2]
    ones = (1,) * len(tiles)
    frames = CELLS_A_CHUNK * spec.cell_frames

    def along_time(dtype: str, fill: int, chunks: tuple[int, ...], **more: Any) -> dict[str, Any]:
        return {
            "dtype": dtype,
            "fill_value": fill,
            "chunks": chunks,
            "compressors": [CHECKED],
        } | more

    return {
        "pr": {
            "shape": (spec.members, 0, *area.values.shape),
            "dtype": "float32",
            "fill_value": np.nan,
            "chunks": (1, spec.chunks[0], *ones, *spec.chunks[1:]),
            "shards": (1, spec.shards[0], *ones, *spec.shards[1:]),
            "compressors": [CHECKED],
            "dimension_names": ("member", "time", *area.dims),
            "attributes": pr_attrs(static, spec),
        },
        "time": along_time(
            "int64",
            ABSENT_TIME,
            (frames,),
            shape=(0,),
            dimension_names=("time",),
            attributes=time_attrs(spec.axis),
        ),
        "time_bnds": along_time(
            "int64", ABSENT_TIME, (frames, 2), shape=(0, 2), dimension_names=("time", "bnds")
        ),
        "qc_flag": along_time(
            "uint8",
            ABSENT_FLAG,
            (spec.members, frames),
            shape=(spec.members, 0),
            dimension_names=("member", "time"),
            attributes=qc_attrs(),
        ),
    }


def absent_value(values: np.ndarray) -> Any:
    """A number that does not occur in `values`: read back, it means that a chunk is not there."""
    if values.dtype.kind != "f":
        return int(np.iinfo(values.dtype).min)
    return 9.96921e36 if np.isnan(values).any() else np.nan


def grow_pr(root: zarr.Group, spec: ProductSpec, cells: int) -> None:
    """Lengthen the precipitation to hold `cells` cells of time; it never gets shorter."""
    pr = stored_array(root, "pr")
    frames = cells * spec.cell_frames
    if pr.shape[1] < frames:
        pr.resize((pr.shape[0], frames, *pr.shape[2:]))


def grow_records(root: zarr.Group, spec: ProductSpec, cells: int) -> None:
    """Lengthen time, flags and ledger to hold `cells` cells; new frames are not published."""
    names = ("time", "time_bnds", "qc_flag", RECORDS)
    time, bounds, flags, records = (stored_array(root, name) for name in names)
    old, new = time.shape[0], cells * spec.cell_frames
    if old >= new:
        return
    middle, ends = seconds(spec, range(old, new))
    time.resize((new,))
    time[old:] = middle
    bounds.resize((new, 2))
    bounds[old:] = ends
    flags.resize((spec.members, new))
    flags[:, old:] = NOT_PUBLISHED
    first = records.shape[0]
    records.resize((cells, spec.members))
    records[first:] = NO_RECORD


def declaration(root: zarr.Group) -> tuple[object, dict[str, Any]]:
    """Schema and fields of the product's declaration; `KeyError` if there is none."""
    attrs = dict(root[LEDGER].attrs)
    return attrs["schema"], dict(attrs["spec"])  # type: ignore[arg-type]


def stored_differences(
    root: zarr.Group, spec: ProductSpec, static: dict[str, Static]
) -> dict[str, tuple[object, object]]:
    """Where the arrays in the store are not those of `spec` and its grid, by name.

    Grids are compared value by value: a latitude off by 1e-9 is another grid.
    """
    found: dict[str, tuple[object, object]] = {}
    for name, settings in growing_arrays(spec, static).items():
        array = stored_array(root, name)
        for what, stored, asked in (
            ("dtype", str(array.dtype), str(np.dtype(settings["dtype"]))),
            ("chunks", array.chunks, settings["chunks"]),
            ("shards", array.shards, settings.get("shards")),
        ):
            if stored != asked:
                found[f"{name}.{what}"] = (stored, asked)
    here = {n for n in root.array_keys() if n not in growing_arrays(spec, static)}
    for name in sorted(here | static.keys()):
        if name not in here or name not in static:
            there = "is there", "is not there"
            found[f"grid.{name}"] = there if name in here else there[::-1]
        elif (difference := _difference(root[name], static[name])) is not None:
            found[f"grid.{name}"] = difference
    return found


def _difference(array: Any, static: Static) -> tuple[object, object] | None:
    """How stored values differ from those asked for, told by shape or the first value off."""
    values = np.asarray(array[...])
    if values.shape != static.values.shape:
        return values.shape, static.values.shape
    off = np.flatnonzero(~_equal(values, static.values))
    if off.size == 0:
        return None
    where = np.unravel_index(off[0], values.shape)
    at = ",".join(map(str, where))
    return f"{values[where]!r} at [{at}]", f"{static.values[where]!r} ({off.size} values differ)"


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    same = a == b
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        same |= np.isnan(a) & np.isnan(b)
    return np.asarray(same)
