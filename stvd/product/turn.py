"""Taking turns, so that two runs on one machine do not both sample a partition."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from stvd.product.storage import LOCK_FOLDER, Location, StorageOptions

WAIT_SECONDS = 3600.0


@contextlib.contextmanager
def turn(
    uri: str,
    partition_id: str,
    *,
    wait: float = WAIT_SECONDS,
    storage: StorageOptions | None = None,
) -> Iterator[bool]:
    """Wait until no other process of this machine works on a partition; whether none does.

    This only spares work: whoever has waited for `wait` seconds goes on all the same, as every
    writer on an object store does, and the commit of the slower one is refused. A process that is
    killed leaves no lock behind.
    """
    location = Location.parse(uri, storage)
    if location.path is None:
        yield False
        return
    folder = location.path / LOCK_FOLDER
    folder.mkdir(exist_ok=True)
    # One per process and file: work within work on the same partition does not wait for itself.
    file = folder / f"turn.{partition_id}.lock"
    lock = FileLock(file, is_singleton=True)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
        if not lock.is_locked:
            file.unlink(missing_ok=True)
