"""The ledger of a product: one readable record for each published partition.

It is an array of JSON texts (cell, member) in the product's own repository, so that a partition and
its record appear in one commit. A record stands at the cell of the partition and its first member.
A commit cannot know its own id: each one writes the id of the commit before it into that one's
record, and the record that lacks one belongs to the snapshot that is being read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from pydantic import BaseModel, ConfigDict

from stvd.lattice import IndexRange
from stvd.partition import Partition
from stvd.product.arrays import stored_array
from stvd.product.spec import ProductSpec

LEDGER = "ledger"
RECORDS = "ledger/records"
NO_RECORD = ""
ABSENT_RECORD = "?"
"""What Zarr gives for records that are not in the store; never written."""
SUMMARY = (
    "model",
    "model_version",
    "model_digest",
    "device",
    "precision",
    "threads",
    "seed",
    "open_end",
)
"""What the ledger shows of the provenance, where it is there; the commit holds all of it."""


class LedgerEntry(BaseModel):
    """What stands in a product for one partition.

    Parameters
    ----------
    fingerprint : of everything that decides the numbers
    parts : of the fingerprint, each in brief
    content : SHA-256 over the checksums of the stored frames
    snapshot : the commit in which it appeared
    token : names the write, to tell two of the same partition apart
    seconds : from the start of the work to the commit
    stored_bytes : size of the stored samples
    provenance : summary
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: str
    source: str
    frames: IndexRange
    members: IndexRange
    fingerprint: str
    parts: dict[str, str] = {}
    content: str
    snapshot: str = ""
    token: str
    seconds: float
    stored_bytes: int = 0
    written_at: str
    provenance: dict[str, str | int | float | bool] = {}


def summary(provenance: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """The plain values of `SUMMARY` in a provenance record."""
    return {
        name: provenance[name]
        for name in SUMMARY
        if isinstance(provenance.get(name), str | int | float | bool)
    }


def read_ledger(group: zarr.Group, snapshot: str) -> dict[str, LedgerEntry]:
    """All records by partition id, in order of time and member.

    Parameters
    ----------
    group : root of the product at `snapshot`
    """
    texts = np.asarray(stored_array(group, RECORDS)[:])
    return {entry.partition: entry for entry in _entries(texts, snapshot)}


def read_cell(group: zarr.Group, cell: int, snapshot: str) -> list[LedgerEntry]:
    """The records of one cell."""
    array = stored_array(group, RECORDS)
    if cell >= array.shape[0]:
        return []
    return _entries(np.asarray(array[cell, :]), snapshot)


def write_entry(group: zarr.Group, spec: ProductSpec, entry: LedgerEntry) -> None:
    """Put a record where it belongs; the array already reaches that far."""
    partition = Partition(source=entry.source, frames=entry.frames, members=entry.members)
    text = entry.model_dump_json(exclude_defaults=True)
    stored_array(group, RECORDS)[spec.cell(partition), entry.members.start] = text


def complete_previous(
    group: zarr.Group, spec: ProductSpec, head: str, metadata: Mapping[str, Any]
) -> None:
    """Write its own id into the record that the commit `head` with its `metadata` made, if any."""
    if "partition" not in metadata:
        return
    partition = Partition.from_id(spec.source, str(metadata["partition"]))
    for entry in read_cell(group, spec.cell(partition), head):
        if entry.token == metadata["token"]:
            write_entry(group, spec, entry)


def _entries(texts: np.ndarray, snapshot: str) -> list[LedgerEntry]:
    """Records that are there; one without a snapshot belongs to the one being read."""
    if (texts == ABSENT_RECORD).any():
        raise ValueError("records are missing from the store")
    entries = [LedgerEntry.model_validate_json(text) for text in map(str, texts.ravel()) if text]
    return [e if e.snapshot else e.model_copy(update={"snapshot": snapshot}) for e in entries]
