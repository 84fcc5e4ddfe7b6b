"""Checksums of samples, frame by frame and block by block, from `put` to read-back."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np
import zarr

from stvd.product.damage import read
from stvd.product.errors import DamagedProduct
from stvd.product.target import Target


def frame_checksums(values: np.ndarray) -> np.ndarray:
    """CRC-32 of each frame of a block, shape (time,), from values of shape (time, y, x)."""
    return np.array([zlib.crc32(frame.tobytes()) for frame in values], np.uint32)


def content_digest(checksums: np.ndarray) -> str:
    """SHA-256 of a table of checksums, shape (member, block, time)."""
    return hashlib.sha256(checksums.astype("<u4").tobytes()).hexdigest()


def stored_checksums(pr: zarr.Array[Any], target: Target) -> np.ndarray:
    """Checksums of what a product holds for a partition, shape (member, block, time).

    Every value is read, one shard at a time, and must be finite and not negative.

    Raises
    ------
    DamagedProduct
        Naming the shard that cannot be read or holds no possible precipitation.
    """
    partition = target.partition
    shape = (len(partition.members), len(target.blocks), len(partition.frames))
    table = np.zeros(shape, np.uint32)
    for shard in target.shards():
        values = read(pr, shard.key, target.location)
        if not (np.isfinite(values).all() and values.min() >= 0):
            raise DamagedProduct(
                f"{shard.name} of {target.uri} holds missing, infinite or negative precipitation. "
                f"Sample partition {partition.id} anew (replace)."
            )
        table[shard.i, shard.j, shard.at] = frame_checksums(values)
    return table


def assert_equal(stored: np.ndarray, put: np.ndarray, target: Target) -> None:
    """Raise `DamagedProduct`, naming the first shard, unless what is stored is what was put."""
    partition = target.partition
    for shard in target.shards():
        off = np.flatnonzero(stored[shard.i, shard.j, shard.at] != put[shard.i, shard.j, shard.at])
        if off.size:
            raise DamagedProduct(
                f"{shard.name} of {target.uri} is not what was written: {off.size} frames differ, "
                f"the first is frame {partition.frames[shard.at][off[0]]} of member "
                f"{partition.members[shard.i]}. Sample partition {partition.id} anew (replace)."
            )
