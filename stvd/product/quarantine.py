"""Samples that were not believed: whole partitions on branches of their own, to be looked at.

Readers look at `main`, where they are not. `open_product(uri, snapshot=…)` shows the product as it
would be with them; `release` publishes them, `drop` lets go of them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
from pydantic import BaseModel, ConfigDict

from stvd.partition import Partition
from stvd.product.damage import reading
from stvd.product.errors import NotPublished
from stvd.product.product import Product
from stvd.product.storage import Location, StorageOptions
from stvd.product.version import Version
from stvd.product.writer import CommitRef

PREFIX = "quarantine."
FINDINGS = "implausible"
"""Where in the provenance of a partition the findings are."""


class Quarantined(BaseModel):
    """A partition in quarantine.

    Parameters
    ----------
    branch : its name
    snapshot : of the product, with it
    findings : why it was not published
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    branch: str
    partition: str
    fingerprint: str
    snapshot: str
    written_at: str
    findings: tuple[str, ...]


def branch_of(partition: Partition, fingerprint: str) -> str:
    """The branch on which a partition with a fingerprint is kept."""
    return f"{PREFIX}{partition.id}.{fingerprint[:12]}"


def quarantined(
    uri: str | Path, *, storage: StorageOptions | None = None
) -> dict[str, Quarantined]:
    """What is in quarantine in a product, by branch."""
    location = Location.parse(uri, storage)

    def read() -> dict[str, Quarantined]:
        repo = location.open()
        return {branch: _read(repo, branch)[0] for branch in _branches(repo)}

    return location.patiently(read)


def release(
    uri: str | Path, branch: str, *, replace: bool = False, storage: StorageOptions | None = None
) -> CommitRef:
    """Publish what is on a branch in spite of its findings, which stay in its provenance.

    Parameters
    ----------
    replace : publish it also where something else stands

    Raises
    ------
    NotPublished
        If there is no such branch.
    AlreadyPublished, FingerprintConflict
        If the partition is published, and is not to be replaced.
    """
    location = Location.parse(uri, storage)
    held, metadata = _find(location, branch)
    product = Product.open(uri, storage=storage)
    partition = Partition.from_id(product.spec.source, held.partition)
    pr = Version.open(location, snapshot=held.snapshot).array("pr")
    assert product.spec.shards is not None, "the layout of a stored product is decided"
    step = product.spec.shards[0]
    with product.write(
        partition, held.fingerprint, replace=replace, parts=metadata["parts"]
    ) as writer:
        for member in partition.members:
            for first in range(partition.frames.start, partition.frames.stop, step):
                frames = range(first, first + step)
                index = product.spec.index(frames)
                one, at = slice(member, member + 1), slice(index.start, index.stop)
                key = (one, at, *[slice(None)] * (pr.ndim - 2))
                with reading(pr, key, location.uri):
                    samples = np.asarray(pr[key])
                writer.put(frames, range(member, member + 1), samples)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        released = {"released_at": now, "released_from": held.snapshot}
        reference = writer.commit({**metadata["provenance"], **released})
    drop(uri, branch, storage=storage)
    return reference


def drop(uri: str | Path, branch: str, *, storage: StorageOptions | None = None) -> None:
    """Let go of what is on a branch; its bytes go when garbage is collected.

    Raises
    ------
    NotPublished
        If there is no such branch.
    """
    location = Location.parse(uri, storage)
    _find(location, branch)

    def delete() -> None:
        repo = location.open()
        if branch in _branches(repo):  # else an earlier attempt did, whose reply was lost
            repo.delete_branch(branch)

    location.patiently(delete)


def _find(location: Location, branch: str) -> tuple[Quarantined, dict[str, Any]]:
    def find() -> tuple[Quarantined, dict[str, Any]]:
        repo = location.open()
        if branch not in (there := _branches(repo)):
            raise NotPublished(
                f"{branch} is not in quarantine in {location.uri}. "
                f"There: {', '.join(there) or 'nothing'}."
            )
        return _read(repo, branch)

    return location.patiently(find)


def _branches(repo: icechunk.Repository) -> list[str]:
    return sorted(b for b in repo.list_branches() if b.startswith(PREFIX))


def _read(repo: icechunk.Repository, branch: str) -> tuple[Quarantined, dict[str, Any]]:
    snapshot = repo.lookup_branch(branch)
    metadata = dict(repo.lookup_snapshot(snapshot).metadata)
    held = Quarantined(
        branch=branch,
        partition=metadata["partition"],
        fingerprint=metadata["fingerprint"],
        snapshot=snapshot,
        written_at=metadata["written_at"],
        findings=tuple(metadata["provenance"].get(FINDINGS, ())),
    )
    return held, metadata
