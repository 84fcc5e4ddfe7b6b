"""Files of what has been counted of a product, named by what they were counted of.

A folder of them is a cache: removed, all is counted anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from stvd.product import LedgerEntry, ProductSpec


def digest_of(made_of: object) -> str:
    """16 hexadecimal digits that are equal for equal JSON values."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def cell_range(cell: int, spec: ProductSpec) -> range:
    """The absolute frames of a cell of a product's lattice of partitions."""
    return range(cell * spec.cell_frames, (cell + 1) * spec.cell_frames)


def published_in(frames: range, ledger: Iterable[LedgerEntry]) -> list[list[str]]:
    """What identifies the values of the partitions that begin in `frames`."""
    return sorted(
        [e.partition, e.fingerprint, e.content] for e in ledger if e.frames.start in frames
    )


def write_whole(dataset: xr.Dataset, file: Path) -> None:
    """Whole or not at all; another process that counts the same writes the same.

    Each member is a chunk of its own, for fields are read member by member.
    """
    packed = {
        str(n): {
            "zlib": True,
            "complevel": 1,
            "chunksizes": tuple(1 if d in ("part", "member") else k for d, k in v.sizes.items()),
        }
        for n, v in dataset.data_vars.items()
        if v.ndim
    }
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(handle)
    try:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=packed)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
