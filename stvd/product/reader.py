"""Opening a product for reading."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.base import tokenize
from xarray.backends import BackendArray
from xarray.core import indexing

from stvd.product.arrays import dimensions
from stvd.product.damage import Index, chunk_name, is_absent, read
from stvd.product.errors import DamagedProduct
from stvd.product.metadata import NOT_PUBLISHED, seconds
from stvd.product.spec import ProductSpec
from stvd.product.storage import Location, StorageOptions
from stvd.product.version import Version

DASK_CHUNK_BYTES = 128 * 2**20


def open_product(
    uri: str | Path,
    *,
    tag: str | None = None,
    snapshot: str | None = None,
    members: range | None = None,
    unpublished: bool = False,
    chunks: Mapping[str, int] | None = None,
    storage: StorageOptions | None = None,
) -> xr.Dataset:
    """Open the published frames of a product, lazily.

    Parameters
    ----------
    uri : local path, `file:///path` or `s3://bucket/prefix`
    tag, snapshot : a past version; by default the current one
    members : the members wanted, by default all; frames are there once all of these are published
    unpublished : also show frames that are not published, as NaN; `qc_flag` tells which
    chunks : dask chunks by dimension; by default whole shards, up to 128 MiB

    Returns
    -------
    Dataset with `pr` (member, time, [tile,] y, x) in kg m-2 s-1 and, where known, `orog` and
    `land_fraction`, described as in CF-1.11. Its attribute `product_snapshot` names the version.

    Raises
    ------
    ProductNotFound, NotPublished
        If there is no such product, tag or snapshot.
    DamagedProduct
        On opening or, for samples, on reading: if a stored object is missing or altered; it names
        the chunk. What is damaged is never returned as NaN.
    """
    location = Location.parse(uri, storage)
    version = Version.open(location, tag=tag, snapshot=snapshot)
    spec = version.spec()
    wanted = range(spec.members) if members is None else members
    if not 0 <= wanted.start < wanted.stop <= spec.members:
        raise ValueError(
            f"members {wanted.start}-{wanted.stop} are not among the {spec.members} of {uri}"
        )
    ds = _variables(version)
    _assert_time(ds, spec, location.uri)
    published = (ds["qc_flag"].values & NOT_PUBLISHED) == 0
    pr = version.array("pr")
    checked = CheckedArray(pr, location, published)
    ds["pr"] = (dimensions(pr), indexing.LazilyIndexedArray(checked), dict(pr.attrs))
    ds = ds.isel(member=slice(wanted.start, wanted.stop))
    if not unpublished:
        ds = ds.isel(
            time=_compact(np.flatnonzero(published[wanted.start : wanted.stop].all(axis=0)))
        )
    ds.attrs = dict(version.root.attrs) | {"product_snapshot": version.snapshot}
    with warnings.catch_warnings():  # years that datetime64 cannot hold become cftime
        warnings.simplefilter("ignore", xr.SerializationWarning)
        ds = xr.decode_cf(ds, decode_coords="all")
    ds["qc_flag"].attrs["flag_masks"] = np.array(ds["qc_flag"].attrs["flag_masks"], np.uint8)
    for coordinate in ds.coords.values():
        coordinate.encoding["_FillValue"] = (
            None  # in a NetCDF copy too, coordinates are never missing
        )
    sizes = chunks or dask_chunks(pr, ds["pr"].sizes)
    name = tokenize(location.uri, version.snapshot, wanted, unpublished, dict(sizes))
    ds["pr"] = ds["pr"].variable.chunk(sizes, name=f"pr-{name}")
    return _selectable(ds)


def _selectable(ds: xr.Dataset) -> xr.Dataset:
    """Let `sel` take a member's number and, on a regular grid, latitude and longitude."""
    for name in ("realization", "lat", "lon"):
        if name in ds.coords and ds[name].ndim == 1:
            ds = ds.set_xindex(name)
    return ds


class CheckedArray(BackendArray):
    """A stored array that names the chunk when it cannot be read, and never invents NaN.

    Parameters
    ----------
    published : bool, shape (member, time), for the samples: where a value must be; elsewhere NaN
        is right. None: a value must be everywhere
    """

    def __init__(
        self, array: zarr.Array[Any], location: Location, published: np.ndarray | None = None
    ) -> None:
        self.array = array
        self.location = location
        self.published = published
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        support = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, support, self._read))

    def _read(self, key: tuple[Index, ...]) -> np.ndarray:
        key = tuple(_compact(k) if isinstance(k, np.ndarray) else k for k in key)
        values = read(self.array, key, self.location)
        absent = is_absent(self.array, values)
        if absent.any():
            self._assert_only_unpublished(key, absent)
        return values

    def _assert_only_unpublished(self, key: tuple[Index, ...], absent: np.ndarray) -> None:
        """Raise if a value is absent that must be there."""
        whole = tuple(slice(k, k + 1) if isinstance(k, int | np.integer) else k for k in key)
        positions = [np.arange(n)[k] for n, k in zip(self.shape, whole, strict=True)]
        lost = absent.reshape([len(p) for p in positions])
        if self.published is not None:
            expected = self.published[np.ix_(positions[0], positions[1])]
            lost = lost & expected.reshape(expected.shape + (1,) * (lost.ndim - 2))
        if lost.any():
            first = np.argwhere(lost)[0]
            at = [int(p[k]) for p, k in zip(positions, first, strict=True)]
            place = [k // n for k, n in zip(at, self.array.chunks, strict=True)]
            raise DamagedProduct(
                f"{chunk_name(self.array, place)} of {self.location.uri} was published and is not in the "
                "store. Sample its partition anew (replace) or open an earlier snapshot."
            )


def dask_chunks(pr: zarr.Array[Any], sizes: Mapping[Any, int]) -> dict[Any, int]:
    """Whole shards, as many along x, then y, then tiles, as stay within `DASK_CHUNK_BYTES`."""
    shard = dict(zip(dimensions(pr), pr.shards or pr.chunks, strict=True))
    room = DASK_CHUNK_BYTES // (4 * prod(shard.values()))
    for dim in ("x", "y", "tile"):
        if dim in shard:
            times = max(1, min(room, -(-sizes[dim] // shard[dim])))
            shard[dim], room = shard[dim] * times, room // times
    return {dim: min(size, max(1, sizes[dim])) for dim, size in shard.items()}


def _variables(version: Version) -> xr.Dataset:
    """All variables but the samples, read when used; those along time at once."""
    variables = {}
    for name, array in version.arrays().items():
        if name != "pr":
            dims = dimensions(array)
            data: Any = indexing.LazilyIndexedArray(CheckedArray(array, version.location))
            variable = xr.Variable(dims, data, dict(array.attrs))
            variables[name] = variable.load() if "time" in dims else variable
    return xr.Dataset(variables)


def _assert_time(ds: xr.Dataset, spec: ProductSpec, where: str) -> None:
    """Raise `DamagedProduct` unless the stored time axis is the one that the frames define."""
    middle, bounds = seconds(spec, range(ds.sizes.get("time", 0)))
    if not (np.array_equal(ds["time"], middle) and np.array_equal(ds["time_bnds"], bounds)):
        raise DamagedProduct(
            f"The time axis of {where} is not the one of its frames. Open an earlier snapshot."
        )


def _compact(positions: np.ndarray) -> Any:
    """Positions as a slice if they follow each other."""
    if positions.size and np.array_equal(
        positions, np.arange(positions[0], positions[0] + positions.size)
    ):
        return slice(int(positions[0]), int(positions[0]) + positions.size)
    return positions
