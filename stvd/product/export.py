"""A copy of a product as plain Zarr, for readers without Icechunk."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from itertools import product as combinations
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from stvd.product.arrays import dimensions
from stvd.product.damage import reading
from stvd.product.errors import ProductError
from stvd.product.metadata import NOT_PUBLISHED
from stvd.product.storage import Location, StorageOptions, draft_beside
from stvd.product.template import CHECKED
from stvd.product.version import Version


def export_zarr(
    uri: str | Path,
    out: str | Path,
    *,
    tag: str | None = None,
    snapshot: str | None = None,
    storage: StorageOptions | None = None,
) -> Path:
    """Copy the published frames of a product to a plain Zarr v3 store in a local folder.

    The copy appears whole or not at all, has the chunks, shards, checksums and metadata of the
    product, and opens with `xarray.open_zarr`. Memory holds one shard at a time.

    Parameters
    ----------
    out : folder of the copy, which must not exist
    tag, snapshot : a past version; by default the current one

    Raises
    ------
    ProductError
        If `out` exists, or nothing is published.
    DamagedProduct
        If a part of the product cannot be read.
    """
    target = Path(out).absolute()
    if target.exists():
        raise ProductError(f"{out} exists: name a new folder for the copy.")
    location = Location.parse(uri, storage)
    version = Version.open(location, tag=tag, snapshot=snapshot)
    frames = published_frames(version)
    if frames.size == 0:
        raise ProductError(f"Nothing is published in {uri}: there is nothing to copy.")
    draft = draft_beside(target)
    try:
        attrs = {**version.root.attrs, "product_snapshot": version.snapshot}
        copy = zarr.create_group(draft, zarr_format=3, attributes=attrs)
        for name, array in version.arrays().items():
            _copy(name, array, copy, frames, location.uri)
        with warnings.catch_warnings():  # known to readers of Zarr v3, not yet in its specification
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(draft)
        os.rename(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def published_frames(version: Version) -> np.ndarray:
    """Places along the stored time axis that are published for all members."""
    flags = version.array("qc_flag")
    with reading(flags, (slice(None), slice(None)), version.where):
        hidden = np.asarray(flags[:, :]) & NOT_PUBLISHED
    return np.flatnonzero((hidden == 0).all(axis=0))


def _copy(
    name: str, array: zarr.Array[Any], group: zarr.Group, frames: np.ndarray, where: str
) -> None:
    """Copy an array, keeping of its time axis the published `frames`, which are whole cells."""
    dims = dimensions(array)
    along = dims.index("time") if "time" in dims else None
    shape = list(array.shape)
    if along is not None:
        shape[along] = frames.size
    copy = group.create_array(
        name,
        shape=tuple(shape),
        dtype=array.dtype,
        chunks=array.chunks,
        shards=array.shards,
        compressors=[CHECKED],
        fill_value=array.fill_value,
        dimension_names=dims,
        attributes=dict(array.attrs),
    )
    for region in _regions(copy):
        source: tuple[Any, ...] = region
        if along is not None:
            source = (*region[:along], frames[region[along]], *region[along + 1 :])
        with reading(array, source, where):
            copy[region] = np.asarray(array.oindex[source])


def _regions(array: zarr.Array[Any]) -> Iterator[tuple[slice, ...]]:
    """The parts of an array that one stored object each holds."""
    outer = array.shards or array.chunks
    spans = [range(0, size, step) for size, step in zip(array.shape, outer, strict=True)]
    for corner in combinations(*spans):
        yield tuple(
            slice(k, min(k + step, size))
            for k, step, size in zip(corner, outer, array.shape, strict=True)
        )
