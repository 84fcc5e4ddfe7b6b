"""Reading the variables of a source: what cannot be read is named, what is missing never invented.

A chunk that is not in a Zarr store reads as its fill value, NaN or even 0, without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product as combinations
from math import prod
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.array.core import normalize_chunks
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.core.sync import sync

from stvd.contract import CatalogError

NETWORK = {"aiobotocore", "aiohttp", "botocore", "gcsfs", "http", "requests", "urllib3"}
"""Packages whose errors are of reaching a server."""

Place = tuple[int, ...]


class DamagedSource(CatalogError):
    """A stored chunk of a source is missing or altered."""


def checked(
    dataset: xr.Dataset,
    where: str,
    chunks: Mapping[str, int | str],
    store: Callable[[], zarr.Group] | None = None,
) -> xr.Dataset:
    """A dataset opened without dask as one with dask whose failures to be read are explained.

    Parameters
    ----------
    where : its file or store, for messages
    chunks : of dask, by dimension of the file; by default those stored
    store : opens the group of a Zarr store whose chunks must all be there

    Raises
    ------
    DamagedSource
        Here or when read: if a chunk is missing or altered; it is named.
    ConnectionError
        When read: if the server cannot be reached; another try may help.
    CatalogError
        When read: if the server denies access.
    """
    new: dict[Any, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        array = CheckedVariable(str(name), variable, where, store)
        if name in dataset.indexes or variable.ndim == 0:
            array.assert_present(tuple(slice(0, n) for n in variable.shape), variable.values)
            continue
        lazy = xr.Variable(
            variable.dims, indexing.LazilyIndexedArray(array), variable.attrs, variable.encoding
        )
        new[name] = lazy.chunk(_dask_chunks(variable, chunks))
    coords = {name: new[name] for name in new if name in dataset.coords}
    return dataset.assign_coords(coords).assign({n: v for n, v in new.items() if n not in coords})


class CheckedVariable(BackendArray):
    """A variable that names the chunk of it that cannot be read or is not there."""

    def __init__(
        self,
        name: str,
        variable: xr.Variable,
        where: str,
        store: Callable[[], zarr.Group] | None,
    ) -> None:
        self.name = name
        self.variable = variable
        self.where = where
        self.store = store
        self.shape = variable.shape
        self.dtype = variable.dtype
        stored = variable.encoding.get("shards") or variable.encoding.get("chunks")
        self.stored = tuple(stored or variable.encoding.get("chunksizes") or self.shape)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        support = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, support, self._read))

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            values = self._values(key)
        except Exception as error:
            raise explained(error, self.name, self.where) or self._damaged(key, error) from error
        self.assert_present(key, values)
        return values

    def _values(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.variable.isel(dict(zip(self.variable.dims, key, strict=True))))

    def assert_present(self, key: tuple[Any, ...], values: np.ndarray) -> None:
        """Raise `DamagedSource` if a chunk that `key` touches is not in the Zarr store, or empty.

        Only chunks of one value throughout are looked for: others cannot be missing. A chunk of a
        single value may be: writers leave out a 0.
        """
        if self.store is None:
            return
        whole = tuple(slice(k, k + 1) if isinstance(k, int | np.integer) else k for k in key)
        at = [np.arange(n)[k] for n, k in zip(self.shape, whole, strict=True)]
        values = np.asarray(values).reshape([len(positions) for positions in at])
        for place in self._places(whole):
            inside = [p // n == k for p, n, k in zip(at, self.stored, place, strict=True)]
            part = values[np.ix_(*inside)] if at else values
            if prod(stop - start for start, stop in self._bounds(place)) < 2 or not _constant(part):
                continue
            array = self.store()[self.name]
            assert isinstance(array, zarr.Array)
            path = f"{array.path}/{array.metadata.encode_chunk_key(place)}"
            if not sync(_size(array.store, path)):
                raise DamagedSource(
                    f"{path} ({self._holds(place)}) of {self.where} is missing or empty. Put it "
                    "back; or if the store leaves out chunks that hold nothing but the fill value, "
                    "say sparse: true in metadata.stvd of its catalog entry."
                )

    def _damaged(self, key: tuple[Any, ...], error: Exception) -> DamagedSource:
        """The error that names the first chunk that cannot be read."""
        whole = tuple(slice(k, k + 1) if isinstance(k, int | np.integer) else k for k in key)
        chunk = f"{self.name} ({self._spans(whole)})"
        for place in self._places(whole):
            try:
                self._values(tuple(slice(*span) for span in self._bounds(place)))
            except Exception as cause:
                chunk, error = f"{self.name} ({self._holds(place)})", cause
                if self.store is not None:
                    stored = self.store()[self.name]
                    assert isinstance(stored, zarr.Array)
                    chunk = f"{stored.path}/{stored.metadata.encode_chunk_key(place)}" + (
                        f" ({self._holds(place)})"
                    )
                break
        return DamagedSource(
            f"{chunk} of {self.where} cannot be read: {error}. It is altered, cut short or not of "
            "this format: fetch the file or chunk anew from where it came."
        )

    def _places(self, key: tuple[Any, ...]) -> Iterator[Place]:
        """The stored chunks that `key` touches."""
        at = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        return combinations(
            *(np.unique(p // n).tolist() for p, n in zip(at, self.stored, strict=True))
        )

    def _bounds(self, place: Place) -> list[tuple[int, int]]:
        return [
            (k * n, min((k + 1) * n, size))
            for k, n, size in zip(place, self.stored, self.shape, strict=True)
        ]

    def _holds(self, place: Place) -> str:
        spans = zip(self.variable.dims, self._bounds(place), strict=True)
        return ", ".join(f"{dim} {start}-{stop}" for dim, (start, stop) in spans)

    def _spans(self, key: tuple[Any, ...]) -> str:
        at = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        ends = zip(self.variable.dims, at, strict=True)
        return ", ".join(f"{dim} {p.min()}-{p.max() + 1}" for dim, p in ends if p.size)


def explained(error: Exception, name: str, where: str) -> Exception | None:
    """What an error of a server means; None if it comes from what is stored."""
    if any(kind.__name__.endswith("CredentialsError") for kind in type(error).__mro__):
        return CatalogError(
            f"{name} at {where}: no credentials were found. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment, or name a profile with AWS_PROFILE."
        )
    if isinstance(error, PermissionError):
        return CatalogError(
            f"{name} at {where}: access is denied ({error}). Check the credentials in the "
            "environment, and that they may read and list there."
        )
    packages = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    if isinstance(error, ConnectionError | TimeoutError) or packages & NETWORK:
        return ConnectionError(f"{name} at {where} cannot be reached: {error}")
    return None


def _constant(values: np.ndarray) -> bool:
    if not values.size:
        return False
    first = values.flat[0]
    return bool((values == first).all() or (values != values).all())


def _dask_chunks(variable: xr.Variable, chunks: Mapping[str, int | str]) -> dict[Any, Any]:
    """Chunks as xarray makes them on opening: those asked for, else those stored."""
    preferred = variable.encoding.get("preferred_chunks", {})
    sizes = tuple(chunks.get(str(d), preferred.get(d, -1)) for d in variable.dims)
    stored = tuple(preferred.get(d, n) for d, n in variable.sizes.items())
    normal = normalize_chunks(sizes, variable.shape, dtype=variable.dtype, previous_chunks=stored)
    return dict(zip(variable.dims, normal, strict=True))


async def _size(store: Any, path: str) -> int:
    try:
        return int(await store.getsize(path))
    except FileNotFoundError:
        return 0
