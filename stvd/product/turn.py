"""Taking turns, so that two runs on one machine do not both sample a partition."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from stvd.product.errors import Busy
from stvd.product.storage import Location, StorageOptions

WAIT_SECONDS = 3600.0


@contextmanager
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
    with ExitStack() as held:
        try:
            held.enter_context(location.lock(f"turn.{partition_id}", wait, reentrant=True))
            alone = location.path is not None
        except Busy:
            alone = False
        yield alone
