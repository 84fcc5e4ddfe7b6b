"""Memory of the processor: kept where it is freed and taken again, and done with less of it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import TypeVar

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_MOST = 2**31 - 1
HALVINGS = 6

Result = TypeVar("Result")


def keep_freed_memory() -> bool:
    """Have the C library keep large freed blocks for this process; whether it could be told.

    By default glibc returns each to the system, which then clears the pages of the next one. Sampling
    a window of 384 × 368 cells with 4 members on a CPU took 2.3 million page faults and 10.7 s of
    processor time; with freed memory kept 0.23 million and 6.6 s, and a peak 8% higher. Only glibc
    (Linux) has this; elsewhere nothing happens. Numbers do not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, _MOST) == 1 for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def in_less_memory(attempt: Callable[[float], Result], budget: float) -> Result:
    """What `attempt` makes of a memory budget, or of half of it, and so on, where memory runs out.

    For the memory of the processor; on a GPU a batch that does not fit becomes smaller by itself
    (`stvd.window_sampler`).

    Parameters
    ----------
    attempt : called with a budget in GiB
    """
    for _ in range(HALVINGS):
        try:
            return attempt(budget)
        except (MemoryError, RuntimeError) as error:
            if not _ran_out(error):
                raise
            budget /= 2
    return attempt(budget)


def _ran_out(error: Exception) -> bool:
    """Whether an error says that there is no more memory; torch says so in words."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
