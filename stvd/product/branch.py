"""Temporary branches: where a partition is committed before `main` moves to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import icechunk

from stvd.product.errors import Busy
from stvd.product.storage import MAIN, Location

PREFIX = "write."
STALE_AFTER = timedelta(days=1)
"""Age at which a temporary branch on an object store belongs to a killed run."""
STAMP = "%Y%m%dT%H%M%SZ"
REF_ERRORS = (icechunk.IcechunkError, icechunk.ConflictError)


@contextlib.contextmanager
def temporary_branch(
    repo: icechunk.Repository, location: Location, name: str, snapshot: str
) -> Iterator[str]:
    """A branch of its own for one write, gone at the end; those of killed runs go too."""
    delete_stale(repo, location, datetime.now(UTC))
    branch = f"{PREFIX}{datetime.now(UTC):{STAMP}}.{name}"
    with location.lock(branch):
        try:
            repo.create_branch(branch, snapshot)
        except REF_ERRORS:  # the name is ours alone: it was made, and the reply was lost
            if branch not in repo.list_branches():
                raise
        try:
            yield branch
        finally:
            with contextlib.suppress(icechunk.IcechunkError):
                repo.delete_branch(branch)


def delete_stale(repo: icechunk.Repository, location: Location, now: datetime) -> list[str]:
    """Delete the temporary branches that killed runs left behind, and name them.

    In a local folder those are the branches whose lock nobody holds; on an object store those older
    than `STALE_AFTER`. Their commits stay until garbage is collected.
    """
    gone = []
    for branch in sorted(b for b in repo.list_branches() if b.startswith(PREFIX)):
        if location.path is None and now - _born(branch) < STALE_AFTER:
            continue
        with contextlib.suppress(Busy, icechunk.IcechunkError), location.lock(branch, wait=0):
            repo.delete_branch(branch)
            gone.append(branch)
    return gone


def commit(
    repo: icechunk.Repository,
    session: icechunk.Session,
    branch: str,
    message: str,
    metadata: dict[str, Any],
) -> str:
    """Commit on a temporary branch; a commit that landed although its reply was lost counts.

    `metadata["token"]` tells this commit from any other.
    """
    try:
        return session.commit(message, metadata=metadata)
    except REF_ERRORS:
        tip = repo.lookup_branch(branch)
        if repo.lookup_snapshot(tip).metadata.get("token") == metadata["token"]:
            return tip
        raise


def point(repo: icechunk.Repository, branch: str, snapshot: str) -> None:
    """Make a branch that lasts, or move the one that is there; a lost reply is no failure."""
    try:
        if branch in repo.list_branches():
            repo.reset_branch(branch, snapshot)
        else:
            repo.create_branch(branch, snapshot)
    except REF_ERRORS:
        if branch not in repo.list_branches() or repo.lookup_branch(branch) != snapshot:
            raise


def move_main(repo: icechunk.Repository, head: str, snapshot: str) -> bool:
    """Move `main` from `head` to `snapshot`; False if it is no longer at `head`.

    A move that landed although its reply was lost counts, also if others moved on from there.
    """
    try:
        repo.reset_branch(MAIN, snapshot, from_snapshot_id=head)
    except REF_ERRORS:
        now = repo.lookup_branch(MAIN)
        if now == head:
            raise
        return _descends(repo, now, snapshot, head)
    return True


def _descends(repo: icechunk.Repository, tip: str, snapshot: str, root: str) -> bool:
    """Whether `snapshot` lies between `tip` and its ancestor `root`."""
    for info in repo.ancestry(snapshot_id=tip):
        if info.id == snapshot:
            return True
        if info.id == root:
            break
    return False


def _born(branch: str) -> datetime:
    stamp = branch.removeprefix(PREFIX).split(".", 1)[0]
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
