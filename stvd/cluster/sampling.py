"""What runs on a worker: one partition at a time, told of and given up as the asker wishes."""

from __future__ import annotations

import logging
import os
import pickle
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import torch
from distributed import Status, Worker, get_worker

from stvd.generate import Outcome, produce
from stvd.partition import Partition
from stvd.production import Production

log = logging.getLogger("stvd.cluster")

TELL_SECONDS = 1.0
_alone = threading.Lock()


class GivenUp(RuntimeError):
    """Nobody waits for this partition any more."""


def sample(
    production: str,
    partition: str,
    *,
    replace: bool,
    origin: dict[str, str],
    threads: int,
    share_gpus: bool,
    level: int,
    topic: str,
) -> Outcome:
    """Sample a partition and commit it, as `stvd.generate.produce` does in the asker's process.

    Parameters
    ----------
    production : as JSON
    partition : its id
    threads : of torch, on whose number the last bits depend
    share_gpus : take the GPU with the number of this worker, of those that all workers see
    level : of the log lines that the asker wants
    topic : of the events by which progress and log lines are told
    """
    worker = get_worker()
    asker = _Asker(worker, str(worker.get_current_task()), topic)
    torch.set_num_threads(threads)
    if share_gpus and torch.cuda.is_available():
        torch.cuda.set_device(int(worker.name) % torch.cuda.device_count())
    # Within a task Dask would have arrays computed by the cluster, whose workers are all busy.
    with _alone, asker.hears(level), dask.config.set(scheduler="threads"):
        log.info("%s is sampled by %s, process %d", partition, platform.node(), os.getpid())
        how = Production.model_validate_json(production)
        try:
            return produce(
                how,
                Partition.from_id(how.source.name, partition),
                replace=replace,
                origin=origin,
                progress=asker.progress,
            )
        except Exception as error:
            if _portable(error):
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from None


class _Asker(logging.Handler):
    """Who waits for a task: told of progress and log lines, and asked whether it still waits."""

    def __init__(self, worker: Worker, key: str, topic: str) -> None:
        super().__init__()
        self.worker, self.key, self.topic = worker, key, topic
        self.told = 0.0

    def _tell(self, **what: Any) -> None:
        self.worker.log_event(self.topic, {"key": self.key, "worker": self.worker.address, **what})

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(log=[record.name, record.levelno, self.format(record)])

    @contextmanager
    def hears(self, level: int) -> Iterator[None]:
        logger = logging.getLogger("stvd")
        before = logger.level
        logger.setLevel(level)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(before)

    def progress(self, done: int, total: int) -> None:
        """Tell how far it is.

        Raises
        ------
        GivenUp
            If the task was cancelled, the asker is gone, or the worker is being closed.
        """
        task = self.worker.state.tasks.get(self.key)
        ending = self.worker.status in (Status.closing, Status.closed, Status.failed)
        if ending or task is None or task.state == "cancelled":
            raise GivenUp(f"{self.key} is not waited for any more")
        now = time.monotonic()
        if now - self.told >= TELL_SECONDS or done == total:
            self.told = now
            self._tell(progress=[done, total])


def _portable(error: Exception) -> bool:
    """Whether an error can be sent from process to process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
