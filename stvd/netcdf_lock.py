"""One thread at a time in the NetCDF library.

xarray holds a lock while it reads values, but none while it opens a file; two threads in the library end the
process. The lock here is held for both, so it is one that a thread may take again.
"""

from __future__ import annotations

import threading
from types import TracebackType


class NetcdfLock:
    """A reentrant lock that pickles as the one of the process where it arrives."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> str:
        return "NETCDF"


NETCDF = NetcdfLock()
