"""Looking up stored arrays."""

from __future__ import annotations

from typing import Any

import zarr


def stored_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """The array `name` of a group; `KeyError` if there is none."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    return array


def dimensions(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Names of the dimensions of a stored array."""
    return tuple(map(str, array.metadata.dimension_names or ()))  # type: ignore[union-attr]
