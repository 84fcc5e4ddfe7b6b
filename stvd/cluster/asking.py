"""What asks a cluster for partitions: submits them, waits, and passes on progress and log lines."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from stvd import generate
from stvd.cluster.config import ClusterConfig
from stvd.generate import Outcome
from stvd.partition import Partition
from stvd.production import Production

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger("stvd.cluster")

T = TypeVar("T")
Message = dict[str, Any]

LOOK_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
MOST = 64  # threads that wait for workers

_in_use: ContextVar[Cluster | None] = ContextVar("cluster", default=None)


class Stopped(RuntimeError):
    """A partition was given up because the run that asked for it ended."""


@contextmanager
def connected(setting: str) -> Iterator[Cluster]:
    """Use a cluster: `produce` samples on its workers until this is left.

    Parameters
    ----------
    setting : see `ClusterConfig.parse`

    Raises
    ------
    ValueError
        If it is no cluster, or its workers would take several partitions at once.
    ImportError, OSError
        See `ClusterConfig.client`.
    """
    config = ClusterConfig.parse(setting)
    with config.client() as client:
        cluster = Cluster(client, share_gpus=config.local)
        cluster.wait_for_a_worker()
        token = _in_use.set(cluster)
        try:
            yield cluster
        finally:
            _in_use.reset(token)
            cluster.stop()


def produce(
    production: Production,
    partition: Partition,
    *,
    replace: bool = False,
    origin: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """As `stvd.generate.produce`: on a worker of the cluster in use, or here if there is none."""
    make = cluster.produce if (cluster := _in_use.get()) else generate.produce
    return make(production, partition, replace=replace, origin=origin, progress=progress)


class Cluster:
    """A cluster in use, made by `connected`."""

    def __init__(self, client: Client, *, share_gpus: bool) -> None:
        self._client = client
        self._share_gpus = share_gpus
        self._topic = f"stvd-{client.id}"
        self._threads = torch.get_num_threads()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._has_turn = threading.local()
        self._stopped = False
        self._asked: dict[str, tuple[Future, SimpleQueue[Message | None]]] = {}

    def wait_for_a_worker(self) -> None:
        """Return when there is a worker.

        Raises
        ------
        ValueError
            If a worker would take several partitions at once.
        """
        while not self._workers():
            log.info("the Dask cluster has no worker yet: waiting")
            try:
                self._client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
            except TimeoutError:
                continue
        for address, worker in self._workers().items():
            if worker["nthreads"] > 1 and not worker["resources"].get("GPU"):
                raise ValueError(
                    f"the worker {address} has {worker['nthreads']} threads, so that Dask would give "
                    "it several partitions at once: start workers with --nthreads 1, or with "
                    "--resources GPU=1 and one GPU each"
                )

    def each(
        self,
        work: Callable[[str], T],
        partitions: Iterable[str],
        opens: Callable[[bool], bool] = lambda wait: True,
    ) -> Iterator[tuple[str, T]]:
        """What `work` makes of each partition, as it ends: one more at once than there are workers.

        Leaving early gives up what is in work.

        Parameters
        ----------
        work : called in a thread of its own, in the context of the caller; what it asks of `produce`
            is done by a worker. All else that it does is done by one thread at a time, as matplotlib may
            not be used by several
        opens : whether the next one may begin, asked before each; called with whether it may wait.
            If it may and the answer is no, no more are begun
        """
        waiting, running = list(partitions), dict[futures.Future[T], str]()
        pool = futures.ThreadPoolExecutor(MOST)
        try:
            while waiting or running:
                lanes = min(len(self._workers()) + 1, MOST)
                while waiting and len(running) < lanes and opens(not running):
                    partition = waiting.pop(0)
                    context = copy_context()
                    running[pool.submit(context.run, self._in_turn, work, partition)] = partition
                if not running:
                    return
                done, _ = futures.wait(running, LOOK_SECONDS, futures.FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            if running:
                self.stop()
            pool.shutdown()

    def _in_turn(self, work: Callable[[str], T], partition: str) -> T:
        with self._turn:
            self._has_turn.now = True
            return work(partition)

    @contextmanager
    def _others_first(self) -> Iterator[None]:
        """Let other threads go on while this one waits for a worker."""
        mine = getattr(self._has_turn, "now", False)
        if mine:
            self._turn.release()
        try:
            yield
        finally:
            if mine:
                self._turn.acquire()

    def produce(
        self,
        production: Production,
        partition: Partition,
        *,
        replace: bool = False,
        origin: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """As `stvd.generate.produce`, on a worker. If the worker is lost, another one does it again.

        Raises
        ------
        Stopped
            If the cluster is not to be used any more.
        ConnectionError
            If the scheduler is lost.
        distributed.KilledWorker
            If several workers died of it.
        """
        from distributed import CancelledError

        asked = {
            "production": _anywhere(production).model_dump_json(),
            "partition": partition.id,
            "replace": replace,
            "origin": dict(origin or {}),
        }
        key = f"stvd-{partition.id}-{uuid.uuid4().hex}"
        future, messages = self._ask(key, asked)
        try:
            with self._others_first():
                self._follow(partition.id, messages, progress)
                outcome: Outcome = future.result()
            return outcome
        except CancelledError as error:
            if self._stopped:
                raise Stopped(
                    f"{partition.id} was given up with the run; it is not published"
                ) from None
            raise ConnectionError(
                f"the Dask scheduler was lost while {partition.id} was in work ({error})"
            ) from error
        finally:
            del self._asked[key]
            future.release()

    def stop(self) -> None:
        """Give up what is in work, and take no more."""
        with self._lock:
            self._stopped = True
            unfinished = [future for future, _ in self._asked.values()]
        self._client.cancel(unfinished)

    def _ask(self, key: str, asked: Message) -> tuple[Future, SimpleQueue[Message | None]]:
        from stvd.cluster.sampling import sample  # what only a cluster needs

        with self._lock:
            if self._stopped:
                raise Stopped(f"{asked['partition']} was not begun: the run has ended")
            if self._client.status == "closed":
                raise ConnectionError("the Dask scheduler was lost and has not come back")
            self._client.subscribe_topic(self._topic, self._deliver)
            messages: SimpleQueue[Message | None] = SimpleQueue()
            gpu = any(worker["resources"].get("GPU") for worker in self._workers().values())
            future = self._client.submit(
                sample,
                **asked,
                threads=self._threads,
                share_gpus=self._share_gpus,
                level=logging.getLogger("stvd").getEffectiveLevel(),
                topic=self._topic,
                key=key,
                pure=False,
                resources={"GPU": 1} if gpu else None,
            )
            self._asked[key] = future, messages
            future.add_done_callback(lambda _: messages.put(None))
            return self._asked[key]

    def _deliver(self, event: tuple[float, Message]) -> None:
        _, message = event
        if message["key"] in self._asked:
            self._asked[message["key"]][1].put(message)

    def _follow(
        self,
        partition: str,
        messages: SimpleQueue[Message | None],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Pass on what a worker tells, in the thread that asked, until it is done."""
        at = None
        while True:
            try:
                message = messages.get(timeout=PATIENCE_SECONDS)
            except Empty:
                if not self._workers():
                    log.warning("%s waits: the cluster has no worker", partition)
                continue
            if message is None:
                return
            if at not in (None, message["worker"]):
                log.warning("%s: worker %s was lost; it is done again", partition, at)
            at = message["worker"]
            if "log" in message:
                name, level, text = message["log"]
                logging.getLogger(name).log(level, "%s", text)
            if progress and "progress" in message:
                progress(*message["progress"])

    def _workers(self) -> dict[str, Any]:
        """What the scheduler knows of each worker, by address; nothing while it is out of reach."""
        scheduler = self._client.scheduler
        if scheduler is None or self._client.status != "running":
            return {}
        try:
            return dict(self._client.sync(scheduler.identity, n_workers=-1)["workers"])
        except OSError:
            return {}


def _anywhere(production: Production) -> Production:
    """The same with absolute paths, for a process that runs in another folder."""

    def absolute(path: str) -> str:
        return path if "://" in path else str(Path(path).absolute())

    source = production.source
    source = source.model_copy(
        update={
            "catalog": absolute(source.catalog),
            "data_root": source.data_root and absolute(source.data_root),
        }
    )
    placed = {
        "product": absolute(production.product),
        "checkpoint": absolute(production.checkpoint),
    }
    return Production(**production.model_dump() | placed | {"source": source})
