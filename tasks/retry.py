"""Which failures are worth another try."""

from __future__ import annotations

import errno
from typing import Any

from icechunk import IcechunkError
from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from stvd.product import Busy, StorageUnavailable

LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}


def is_transient(error: BaseException) -> bool:
    """Whether waiting can help.

    Storage and network come back, other writers end; wrong input, a model that does not fit, a conflict, a full disk or
    missing rights do not.
    """
    if isinstance(error, PermissionError | FileNotFoundError):  # of s3fs they have no number
        return False
    if isinstance(error, OSError):
        return error.errno not in LASTING
    return isinstance(error, IcechunkError | StorageUnavailable | Busy)


def worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's question after a failed task."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)


PATIENTLY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
}
"""Options of a task that reads or writes storage or servers."""
