"""Reading a commit back before `main` moves to it."""

from __future__ import annotations

from typing import Any

import icechunk
import numpy as np
import zarr

from stvd.product.arrays import stored_array
from stvd.product.checksums import assert_equal, stored_checksums
from stvd.product.errors import DamagedProduct
from stvd.product.ledger import LedgerEntry, read_cell
from stvd.product.metadata import NOT_PUBLISHED
from stvd.product.target import Target


def verify_samples(target: Target, snapshot: str, checksums: np.ndarray) -> None:
    """Read every sample of a partition back from storage and compare it with what was put."""
    root = open_root(target, snapshot)
    assert_equal(stored_checksums(stored_array(root, "pr"), target), checksums, target)


def verify_records(target: Target, snapshot: str, head: str, entry: LedgerEntry) -> None:
    """Check what a commit says of a partition, and that it takes back nothing of `head`.

    Raises
    ------
    DamagedProduct
        If a shard is not there, the record is another, or frames are no longer published.
    """
    session = target.location.open().readonly_session(snapshot_id=snapshot)
    for shard in target.shards():
        if session.chunk_type("/pr", shard.place) == icechunk.ChunkType.UNINITIALIZED:
            raise DamagedProduct(f"{shard.name} is missing from commit {snapshot} of {target.uri}.")
    root = zarr.open_group(session.store, mode="r")
    written = [e for e in read_cell(root, target.cell, "") if e.partition == entry.partition]
    if written != [entry]:
        raise DamagedProduct(
            f"The record of partition {entry.partition} in commit {snapshot} of {target.uri} is "
            "not what was written."
        )
    flags = stored_array(root, "qc_flag")
    if np.any(np.asarray(flags[target.members, target.index]) & NOT_PUBLISHED):
        raise DamagedProduct(
            f"Partition {entry.partition} is not flagged as published in commit {snapshot}."
        )
    assert_extent_not_retracted(stored_array(open_root(target, head), "qc_flag"), flags, target)


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


def open_root(target: Target, snapshot: str) -> zarr.Group:
    """The root group of a product at a snapshot, read anew from storage."""
    session = target.location.open().readonly_session(snapshot_id=snapshot)
    return zarr.open_group(session.store, mode="r")
