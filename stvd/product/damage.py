"""Telling which stored chunk is damaged, instead of returning what is not there as NaN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product as combinations
from typing import Any

import icechunk
import numpy as np
import zarr

from stvd.product.access import GONE
from stvd.product.arrays import stored_array
from stvd.product.errors import DamagedProduct
from stvd.product.storage import Location

Index = int | slice | np.ndarray


@contextmanager
def reading(array: zarr.Array[Any], key: Sequence[Index], where: str) -> Iterator[None]:
    """Turn the failure to read `key` of `array` into one that names the damaged chunk.

    Failures of the network or of access pass as they are: trying again may help them.

    Raises
    ------
    DamagedProduct
        If a stored object is missing or too short, or fails its checksum.
    """
    try:
        yield
    except (icechunk.IcechunkError, ValueError, RuntimeError) as error:
        if not is_damage(error):
            raise
        chunk, cause = first_unreadable(array, key) or (f"a chunk of {array.path}", error)
        raise DamagedProduct(
            f"{chunk} of {where} cannot be read: {gist(cause)}. Its stored object is missing or "
            "altered. Sample the partition anew (replace) or open an earlier snapshot."
        ) from error


def read(array: zarr.Array[Any], key: Sequence[Index], location: Location) -> np.ndarray:
    """The values of `array` at `key`, of each axis on its own.

    Raises
    ------
    DamagedProduct
        If a stored object is missing or altered.
    StorageUnavailable, StorageRefused
        If an object store cannot be reached.
    """

    arrays = [array]

    def attempt() -> np.ndarray:
        here = arrays.pop() if arrays else _reopened(array, location)
        with reading(here, key, location.uri):
            return np.asarray(here.oindex[tuple(key)])

    sizes = [len(_span(k, n)) for k, n in zip(key, array.shape, strict=True)]
    return location.patiently(attempt, nbytes=float(np.prod(sizes)) * array.dtype.itemsize)


def _reopened(array: zarr.Array[Any], location: Location) -> zarr.Array[Any]:
    """The same array in a session of its own: in the first, a chunk that never comes is awaited."""
    snapshot = array.store.session.snapshot_id  # type: ignore[attr-defined]
    session = location.open().readonly_session(snapshot_id=snapshot)
    return stored_array(zarr.open_group(session.store, mode="r"), array.path)


def is_damage(error: BaseException) -> bool:
    """Whether an error of reading comes from what is stored, not from how it is reached."""
    if isinstance(error, icechunk.IcechunkError):
        return any(sign in str(error) for sign in GONE)
    return isinstance(error, ValueError | RuntimeError)


def is_absent(array: zarr.Array[Any], values: np.ndarray) -> np.ndarray:
    """Where values are the one that Zarr gives for a chunk that is not in the store."""
    fill = array.fill_value
    return np.asarray(np.isnan(values) if fill != fill else values == fill)


def first_unreadable(
    array: zarr.Array[Any], key: Sequence[Index]
) -> tuple[str, BaseException] | None:
    """The first chunk that `key` touches and that cannot be read, with the error it gives."""
    spans = [_span(index, size) for index, size in zip(key, array.shape, strict=True)]
    touched = [
        range(span.start // chunk, -(-span.stop // chunk))
        for span, chunk in zip(spans, array.chunks, strict=True)
    ]
    for place in combinations(*touched):
        region = tuple(
            slice(k * chunk, min((k + 1) * chunk, size))
            for k, chunk, size in zip(place, array.chunks, array.shape, strict=True)
        )
        try:
            array[region]
        except Exception as error:
            return chunk_name(array, place), error
    return None


def chunk_name(array: zarr.Array[Any], place: Sequence[int]) -> str:
    """Name of a chunk: its object in the store and what of the array it holds."""
    outer = array.shards or array.chunks
    stored = [k * chunk // size for k, chunk, size in zip(place, array.chunks, outer, strict=True)]
    dims = array.metadata.dimension_names or [f"axis {i}" for i in range(array.ndim)]  # type: ignore[union-attr]
    holds = ", ".join(
        f"{dim} {k * chunk}-{min((k + 1) * chunk, size)}"
        for dim, k, chunk, size in zip(dims, place, array.chunks, array.shape, strict=True)
    )
    return f"{array.path}/c/{'/'.join(map(str, stored))} ({holds})"


def gist(error: BaseException) -> str:
    """The line of an error that says what happened, without Icechunk's trace."""
    lines = [line.strip(" |x`->") for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def _span(index: Index, size: int) -> range:
    if isinstance(index, slice):
        return range(*index.indices(size))
    if isinstance(index, np.ndarray):
        return range(int(index.min()), int(index.max()) + 1) if index.size else range(0)
    return range(int(index), int(index) + 1)
