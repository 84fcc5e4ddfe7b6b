"""Reading a commit back before `main` moves to it."""

from __future__ import annotations

import asyncio
from typing import Any

import icechunk
import numpy as np
import zarr
from zarr.core.sync import sync

from stvd.product.checksums import assert_equal, stored_checksums
from stvd.product.errors import DamagedProduct
from stvd.product.ledger import LedgerEntry, read_cell
from stvd.product.metadata import NOT_PUBLISHED
from stvd.product.target import Shard, Target
from stvd.product.version import Version


def verify_samples(target: Target, snapshot: str, checksums: np.ndarray) -> None:
    """Read every sample of a partition back from storage and compare it with what was put."""
    pr = Version.open(target.location, snapshot=snapshot).array("pr")
    assert_equal(stored_checksums(pr, target), checksums, target)


def verify_records(target: Target, snapshot: str, head: str, entry: LedgerEntry) -> None:
    """Check what a commit says of a partition, and that it takes back nothing of `head`.

    Raises
    ------
    DamagedProduct
        If a shard is not there, the record is another, or frames are no longer published.
    """
    version = Version.open(target.location, snapshot=snapshot)
    for shard in sync(_absent(version.session, list(target.shards()))):
        raise DamagedProduct(f"{shard.name} is missing from commit {snapshot} of {target.uri}.")
    written = [
        e for e in read_cell(version.root, target.cell, "") if e.partition == entry.partition
    ]
    if written != [entry]:
        raise DamagedProduct(
            f"The record of partition {entry.partition} in commit {snapshot} of {target.uri} is "
            "not what was written."
        )
    flags = version.array("qc_flag")
    if np.any(np.asarray(flags[target.members, target.index]) & NOT_PUBLISHED):
        raise DamagedProduct(
            f"Partition {entry.partition} is not flagged as published in commit {snapshot}."
        )
    before = Version.open(target.location, snapshot=head).array("qc_flag")
    assert_extent_not_retracted(before, flags, target)


async def _absent(session: icechunk.Session, shards: list[Shard]) -> list[Shard]:
    """The shards that a commit has no object for.

    Not by `session.chunk_type`, which keeps Python's lock while it waits for the store and so
    stops every other thread that reads or writes, for ever.
    """
    kinds = await asyncio.gather(*(session.chunk_type_async("/pr", s.place) for s in shards))
    absent = icechunk.ChunkType.UNINITIALIZED
    return [shard for shard, kind in zip(shards, kinds, strict=True) if kind == absent]


def assert_extent_not_retracted(
    before: zarr.Array[Any], after: zarr.Array[Any], target: Target
) -> None:
    """Raise `DamagedProduct` if frames that were published no longer are.

    Looked at is the length of the product and the stored chunk of flags that the commit rewrote.
    """
    chunk = after.chunks[1]
    start = target.index.start // chunk * chunk
    there = slice(start, min(start + chunk, before.shape[1]))
    lost = ~np.asarray(before[:, there]) & np.asarray(after[:, there]) & NOT_PUBLISHED
    if after.shape[1] < before.shape[1] or lost.any():
        raise DamagedProduct(
            f"The commit of partition {target.partition.id} would take published frames out of "
            f"{target.uri}. It was not published."
        )
