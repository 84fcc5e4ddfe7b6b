"""Which failures are worth another try."""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from icechunk import IcechunkError
from mlflow.exceptions import MlflowException
from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from stvd.product import Busy, StorageUnavailable

log = logging.getLogger("stvd.retry")

T = TypeVar("T")
PATIENCE_SECONDS = 120.0
LONGEST_PAUSE = 20.0
LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}


def is_transient(error: BaseException) -> bool:
    """Whether waiting can help.

    Storage, servers and network come back, other writers end; wrong input, a model that does not fit,
    a conflict, a full disk or missing rights do not.
    """
    if isinstance(error, PermissionError | FileNotFoundError):  # of s3fs they have no number
        return False
    if isinstance(error, OSError):
        return error.errno not in LASTING
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    if isinstance(error, MlflowException):  # an answer that breaks off counts as 500, too
        return error.get_http_status_code() >= 500
    return isinstance(error, IcechunkError | StorageUnavailable | Busy | httpx.TransportError)


def patiently(call: Callable[[], T]) -> T:
    """The result of a call outside of any task, made again for two minutes where waiting can help.

    Prefect's clients try again by themselves, but not before they have once reached the server.
    """
    end, pause = time.monotonic() + PATIENCE_SECONDS, 1.0
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() > end:
                raise
            log.warning("%s: %s; trying again", type(error).__name__, error)
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(2 * pause, LONGEST_PAUSE)


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
