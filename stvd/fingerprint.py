"""Fingerprints: what identifies the numbers of a partition, whoever computes them and where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import PurePath
from typing import Any

import cftime
import numpy as np
import xarray as xr
from pydantic import BaseModel

SCHEMA_VERSION = 3
"""Changes when the same inputs would give other numbers, or are stored in another way."""

NEVER_PARTS = frozenset({"batch", "batch_size", "device", "host", "path", "threads", "workers"})
CONTRACT_ATTRS = ("calendar", "epoch", "factor", "periodic_x", "step_seconds", "texture")
SLAB_BYTES = 64 * 2**20


def fingerprint(**parts: Any) -> str:
    """SHA-256 of the canonical JSON of everything that changes the numbers.

    Parameters
    ----------
    parts : JSON values, pydantic models, ranges, numpy scalars or dates, by name, e.g.
        `input`, `checkpoint`, `sampler`, `seed`. The schema version is added

    Returns
    -------
    64 hexadecimal digits

    Raises
    ------
    ValueError
        If a part says where or how the work runs (batch size, device, path, …), or is NaN.
    TypeError
        If a part has no canonical JSON, for example a path.
    """
    where = sorted(NEVER_PARTS & parts.keys())
    if where:
        raise ValueError(
            f"{', '.join(where)} must not enter a fingerprint: it does not change the numbers"
        )
    return _sha(canonical_json({"schema": SCHEMA_VERSION, **parts}))


def digest_parts(parts: Mapping[str, Any]) -> dict[str, str]:
    """Each part in at most 24 characters, to say later which of them differ.

    Short texts and numbers stand for themselves, the rest by the first digits of their SHA-256.
    """
    brief = {}
    for name, value in {"schema": SCHEMA_VERSION, **parts}.items():
        text = canonical_json(value)
        brief[name] = text.strip('"') if len(text) <= 24 else _sha(text)[:12]
    return dict(sorted(brief.items()))


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=_encode,
    )


def _encode(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, range):
        return [value.start, value.stop, value.step]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (date, cftime.datetime)):
        return value.isoformat()
    if isinstance(value, PurePath):
        raise TypeError(
            f"the path {value.name!r} must not enter a fingerprint: use a content digest"
        )
    raise TypeError(f"{type(value).__name__} has no canonical JSON: give numbers, texts or lists")


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_dataset(ds: xr.Dataset) -> str:
    """SHA-256 over the values, coordinates, units and contract attributes of a dataset.

    Depends on neither chunking, file format, variable order nor descriptive attributes. Variables
    are read one slab at a time along their first dimension, so a long record takes no more memory
    than its largest chunk.

    Returns
    -------
    64 hexadecimal digits
    """
    total = hashlib.sha256()
    contract = {name: ds.attrs[name] for name in CONTRACT_ATTRS if name in ds.attrs}
    total.update(canonical_json(contract).encode())
    for name in sorted(map(str, ds.variables)):
        variable = ds.variables[name]
        head = {
            "name": name,
            "dims": list(map(str, variable.dims)),
            "shape": list(variable.shape),
            "units": variable.attrs.get("units", ""),
        }
        content = hashlib.sha256()
        for slab in _slabs(variable):
            kind, data = _canonical_values(slab)
            head["dtype"] = kind
            content.update(data)
        total.update(canonical_json(head).encode())
        total.update(content.digest())
    return total.hexdigest()


def _slabs(variable: xr.Variable) -> Iterator[np.ndarray]:
    """Values of a variable in order along its first dimension: as many whole chunks as fit in
    `SLAB_BYTES`, or a part of one that does not."""
    if variable.ndim == 0 or 0 in variable.shape:
        yield np.asarray(variable.values)
        return
    row = max(1, variable.nbytes // variable.shape[0])
    most = max(1, SLAB_BYTES // row)
    edges = np.cumsum([0, *(variable.chunks[0] if variable.chunks else variable.shape[:1])])
    start = 0
    while start < variable.shape[0]:
        whole = edges[(edges > start) & (edges <= start + most)]
        stop = int(whole[-1]) if whole.size else min(start + most, variable.shape[0])
        yield np.asarray(variable[start:stop].values)
        start = stop


def _text(value: Any) -> str:
    if isinstance(value, cftime.datetime):
        return f"{value.calendar} {value.isoformat()}"
    return str(value)


def _canonical_values(values: np.ndarray) -> tuple[str, bytes]:
    """Name of the type and bytes, equal for equal values whatever the byte order or resolution."""
    if values.dtype.kind == "M":
        return "datetime", values.astype("datetime64[us]").astype("<i8").tobytes()
    if values.dtype.kind == "m":
        return "timedelta", values.astype("timedelta64[us]").astype("<i8").tobytes()
    if values.dtype.kind in "OUST":
        return "text", "".join(f"{_text(v)}\x1f" for v in values.ravel()).encode()
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if little.dtype.kind == "f":
        little = np.where(
            np.isnan(little), little.dtype.type(np.nan), little + little.dtype.type(0)
        )
    return little.dtype.str, little.tobytes()
