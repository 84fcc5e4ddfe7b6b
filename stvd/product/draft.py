"""One partition on its temporary branch, on top of one state of `main` or another."""

from __future__ import annotations

from typing import Any

import icechunk
import zarr
from zarr.core.sync import sync

from stvd.product.arrays import stored_array
from stvd.product.branch import commit
from stvd.product.ledger import LedgerEntry, complete_previous, write_entry
from stvd.product.scratch import Scratch
from stvd.product.target import Target
from stvd.product.template import grow_pr, grow_records
from stvd.product.verification import verify_records, verify_samples


class Draft:
    """The commit of one partition before it is published.

    The samples are written into a fork of a session, which can be committed on top of any later
    state of the product without being written again.

    Attributes
    ----------
    parent : the state of `main` that it stands on
    """

    def __init__(
        self,
        target: Target,
        repo: icechunk.Repository,
        branch: str,
        entry: LedgerEntry,
        provenance: dict[str, Any],
    ) -> None:
        self._target = target
        self._repo = repo
        self._branch = branch
        self._entry = entry
        self._provenance = provenance
        self._fork: icechunk.ForkSession | None = None
        self._base = ""
        self.parent = ""

    def stage(self, head: str, samples: Scratch) -> str:
        """Write the samples on top of `head`, commit them and read them back; the snapshot."""
        target = self._target
        self._repo.reset_branch(self._branch, head)
        self._fork, self._base = self._repo.writable_session(self._branch).fork(), head
        root = zarr.open_group(self._fork.store, mode="r+")
        grow_pr(root, target.spec, target.cell + 1)
        pr = stored_array(root, "pr")
        stored = 0
        for shard in target.shards():
            pr[shard.key] = samples.read(shard)
            stored += sync(self._fork.store.getsize(shard.name))
        self._entry = self._entry.model_copy(update={"stored_bytes": stored})
        snapshot = self._commit(head)
        verify_samples(target, snapshot, samples.checksums)
        verify_records(target, snapshot, head, self._entry)
        return snapshot

    def move_to(self, head: str, samples: Scratch) -> str:
        """Make the commit anew on top of `head`; the samples are written again only if need be."""
        try:
            snapshot = self._commit(head)
        except icechunk.RebaseFailedError:  # the time axis became longer meanwhile
            return self.stage(head, samples)
        verify_records(self._target, snapshot, head, self._entry)
        return snapshot

    def _commit(self, head: str) -> str:
        """Commit samples, flags and record on top of `head`."""
        target, entry = self._target, self._entry
        assert self._fork is not None
        self._repo.reset_branch(self._branch, self._base)
        session = self._repo.writable_session(self._branch)
        session.merge(self._fork)
        if head != self._base:
            self._repo.reset_branch(self._branch, head)
            session.rebase(icechunk.ConflictDetector())
        root = zarr.open_group(session.store, mode="r+")
        self._write_records(root, head)
        self.parent = head
        metadata = {
            "partition": entry.partition,
            "token": entry.token,
            "fingerprint": entry.fingerprint,
            "parts": entry.parts,
            "content": entry.content,
            "written_at": entry.written_at,
            "provenance": self._provenance,
        }
        message = f"publish {target.partition.id} of {target.spec.name}"
        return commit(self._repo, session, self._branch, message, metadata)

    def _write_records(self, root: zarr.Group, head: str) -> None:
        spec = self._target.spec
        pr = stored_array(root, "pr")
        grow_records(root, spec, pr.shape[1] // spec.cell_frames)
        complete_previous(root, spec, head, self._repo.lookup_snapshot(head).metadata)
        flags = stored_array(root, "qc_flag")
        flags[self._target.members, self._target.index] = 0
        write_entry(root, spec, self._entry)
