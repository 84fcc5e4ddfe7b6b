"""Writing one partition: take its samples, then publish all of them in one commit, or none."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import BitRound
from pydantic import BaseModel, ConfigDict

from stvd.product.branch import move_main, point, temporary_branch
from stvd.product.checksums import content_digest
from stvd.product.claim import Claim
from stvd.product.draft import Draft
from stvd.product.errors import (
    IncompletePartition,
    InvalidBlock,
    ProductError,
    StorageUnavailable,
)
from stvd.product.ledger import LedgerEntry, summary
from stvd.product.scratch import Scratch
from stvd.product.storage import MAIN

ATTEMPTS = 50


class CommitRef(BaseModel):
    """Where a partition was published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    partition: str
    snapshot: str


class PartitionWriter:
    """Takes the samples of one partition; made by `Product.write`."""

    def __init__(self, claim: Claim, scratch: Path | None) -> None:
        self._claim = claim
        self._target = claim.target
        self._samples = Scratch(claim.target, scratch)
        self._started = time.monotonic()

    def put(self, frames: range, members: range, pr: np.ndarray) -> None:
        """Keep the samples of some frames and members; each exactly once, in any order.

        Parameters
        ----------
        frames, members : within the partition
        pr : float32, shape (member, time, [tile,] y, x), kg m-2 s-1, finite and not negative

        Raises
        ------
        InvalidBlock
            For frames or members outside the partition or given before, another shape or type, or
            an impossible value; the message names the first.
        """
        shape = (len(members), len(frames), *self._target.shape)
        if pr.dtype != np.float32 or pr.shape != shape:
            raise InvalidBlock(
                f"pr has shape {pr.shape} and type {pr.dtype}; {len(members)} members and "
                f"{len(frames)} frames of this product are {shape}, float32"
            )
        i, at = self._place(frames, members)
        if self._samples.seen[i, at].any():
            raise InvalidBlock(
                f"frames {frames.start}-{frames.stop} of members {members.start}-{members.stop} "
                "hold some that were put before"
            )
        assert_possible(pr, frames, members)
        keepbits = self._target.spec.keepbits
        for k in range(len(members)):
            values = pr[k] if keepbits is None else rounded(pr[k], keepbits)
            self._samples.write(i.start + k, at, values)

    def commit(self, provenance: Mapping[str, Any] | None = None) -> CommitRef:
        """Publish the partition: its data, its record and its place in the ledger, in one commit.

        The commit is made on a temporary branch from where `main` stands, read back from storage
        and compared with what was put; then `main` moves, if it still stands there. If another
        partition was published meanwhile, the commit is made anew on top of it.

        Parameters
        ----------
        provenance : JSON values; kept whole in the commit, in brief in the ledger

        Raises
        ------
        IncompletePartition
            If frames or members are missing.
        DamagedProduct
            If what is read back is not what was put.
        AlreadyPublished, CommitRefused
            If another writer published here meanwhile.
        """
        self._assert_complete()
        record = _json(provenance or {})
        entry = self._entry(record)
        location = self._target.location
        snapshot = location.patiently(
            lambda: self._publish(entry, record), nbytes=2 * self._samples.nbytes, answers=5
        )
        return CommitRef(product=location.uri, partition=entry.partition, snapshot=snapshot)

    def _publish(self, entry: LedgerEntry, record: dict[str, Any]) -> str:
        """Publish, or find that an earlier attempt did whose reply was lost; the snapshot."""
        location = self._target.location
        repo = location.open()
        base = repo.lookup_branch(MAIN)
        if landed := self._claim.assert_unchanged(base, entry.token):
            return landed.snapshot
        name = f"{entry.partition}.{uuid.uuid4().hex[:8]}"
        with temporary_branch(repo, location, name, base) as branch:
            draft = Draft(self._target, repo, branch, entry, record)
            snapshot = draft.stage(base, self._samples)
            with location.lock(MAIN):
                for attempt in range(ATTEMPTS):
                    head = repo.lookup_branch(MAIN)
                    if head != draft.parent:
                        if landed := self._claim.assert_unchanged(head, entry.token):
                            return landed.snapshot
                        snapshot = draft.move_to(head, self._samples)
                    if self._samples.closed:
                        raise StorageUnavailable(f"Partition {entry.partition} was given up.")
                    if move_main(repo, head, snapshot):
                        return snapshot
                    time.sleep(random.uniform(0.0, min(0.05 * 2**attempt, 2.0)))
        raise ProductError(
            f"Partition {entry.partition} could not be published in {location.uri}: others were "
            f"faster {ATTEMPTS} times in a row. Run it again with fewer writers."
        )

    def set_aside(self, branch: str, provenance: Mapping[str, Any]) -> str:
        """Commit the partition on a lasting branch, where no reader looks; its snapshot.

        Parameters
        ----------
        branch : its name; what was on it before is let go of

        Raises
        ------
        IncompletePartition, DamagedProduct
            As `commit`.
        """
        self._assert_complete()
        record = _json(provenance)
        entry = self._entry(record)
        return self._target.location.patiently(
            lambda: self._set_aside(branch, entry, record),
            nbytes=2 * self._samples.nbytes,
            answers=5,
        )

    def _set_aside(self, branch: str, entry: LedgerEntry, record: dict[str, Any]) -> str:
        location = self._target.location
        repo = location.open()
        base = repo.lookup_branch(MAIN)
        name = f"{entry.partition}.{uuid.uuid4().hex[:8]}"
        with temporary_branch(repo, location, name, base) as temporary:
            draft = Draft(self._target, repo, temporary, entry, record)
            snapshot = draft.stage(base, self._samples)
            with location.lock(branch):
                point(repo, branch, snapshot)
        return snapshot

    def close(self) -> None:
        """Let go of the samples. Without a commit nothing was changed."""
        self._samples.close()

    def _entry(self, record: dict[str, Any]) -> LedgerEntry:
        partition = self._target.partition
        seconds = record.get("seconds", time.monotonic() - self._started)
        return LedgerEntry(
            partition=partition.id,
            source=partition.source,
            frames=partition.frames,
            members=partition.members,
            fingerprint=self._claim.fingerprint,
            parts=dict(self._claim.parts) or record.get("fingerprint_parts", {}),
            content=content_digest(self._samples.checksums),
            token=uuid.uuid4().hex,
            seconds=round(float(seconds), 3),
            written_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            provenance=summary(record),
        )

    def _place(self, frames: range, members: range) -> tuple[slice, slice]:
        """Where frames and members are within the partition."""
        whole = self._target.partition
        for name, part, all_ in (
            ("members", members, whole.members),
            ("frames", frames, whole.frames),
        ):
            if not all_.start <= part.start < part.stop <= all_.stop:
                raise InvalidBlock(
                    f"{name} {part.start}-{part.stop} are not among those of partition {whole.id}"
                )
        i, k = members.start - whole.members.start, frames.start - whole.frames.start
        return slice(i, i + len(members)), slice(k, k + len(frames))

    def _assert_complete(self) -> None:
        missing = np.argwhere(~self._samples.seen)
        if missing.size:
            partition, (i, k) = self._target.partition, missing[0]
            raise IncompletePartition(
                f"Partition {partition.id} lacks {len(missing)} of {self._samples.seen.size} "
                f"frames of members; the first is frame {partition.frames[k]} of member "
                f"{partition.members[i]}. Nothing was written."
            )


def assert_possible(pr: np.ndarray, frames: range, members: range) -> None:
    """Raise `InvalidBlock` naming the first value that is not finite or is negative."""
    possible = np.isfinite(pr) & (pr >= 0)
    if possible.all():
        return
    where = tuple(int(k) for k in np.argwhere(~possible)[0])
    at = ", ".join(map(str, where[2:]))
    raise InvalidBlock(
        f"pr of member {members[where[0]]}, frame {frames[where[1]]}, cell ({at}) is {pr[where]}; "
        f"{int((~possible).sum())} values are missing, infinite or negative. "
        "Nothing was written: find out what in the model or its input makes them."
    )


def rounded(pr: np.ndarray, keepbits: int) -> np.ndarray:
    """Values rounded to `keepbits` explicit mantissa bits, to nearest, ties to even."""
    coded = BitRound(keepbits=keepbits).encode(np.ascontiguousarray(pr))
    return np.asarray(coded).view(np.float32).reshape(pr.shape)


def _json(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as JSON gives it back."""
    try:
        return dict(json.loads(json.dumps(record, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ProductError(f"The provenance cannot be written as JSON: {error}") from error
