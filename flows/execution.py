"""Running the partitions of a plan: here one after another, on workers in waves, or with Dask."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, cast

from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

from flows.downscale import downscale
from flows.settings import Settings
from stvd.cluster import connected
from stvd.partition import Planned
from stvd.production import Production
from tasks.planning import PartitionsFailed, Summary, summarise
from tasks.progress import reporting

log = logging.getLogger("stvd.execution")

DEPLOYMENTS = {"default": "downscale/stvd", "low": "downscale/low"}  # of the queues
WAVE = 20  # more runs that wait make other deployments late
POLL_SECONDS = 5.0

Results = Generator[tuple[str, str | None], None, None]
"""Partitions as they end, with the error if there was one."""


def run(
    production: Production, planned: list[Planned], *, fan_out: bool, queue: str = "default"
) -> Summary:
    """Run what a plan says, each partition in a flow run of its own; one that fails stops no other.

    Parameters
    ----------
    fan_out : give the partitions to the workers of the queue; else run them in this process, or on
        the Dask cluster of the settings if there is one

    Raises
    ------
    PartitionsFailed
        After all have run, if some failed.
    """
    wanted = {item.partition.id: item.action == "replace" for item in planned if item.runs}
    done: dict[str, str | None] = {}
    if wanted:
        execute = _on_cluster if Settings().dask else _here
        if fan_out:
            execute = partial(_on_workers, DEPLOYMENTS[queue])
        title = f"{production.name}, {len(wanted)} partitions"
        with reporting(title) as report, closing(execute(production, wanted)) as results:
            for partition, error in results:
                done[partition] = error
                report(len(done), len(wanted))
                log.info("%s %s", partition, f"failed: {error}" if error else "is published")
    summary = summarise(production, planned, done)
    if summary.failed:
        raise PartitionsFailed(summary)
    return summary


def _here(production: Production, wanted: dict[str, bool]) -> Results:
    """One after another in this process, which loads the model once."""
    for partition, replace in wanted.items():
        state = downscale(**parameters(production, partition, replace), return_state=True)
        yield partition, _error(state)


def _on_cluster(production: Production, wanted: dict[str, bool]) -> Results:
    """Side by side in this process, where each waits for a worker of the Dask cluster to sample it."""

    def run(partition: str) -> str | None:
        asked = parameters(production, partition, wanted[partition])
        return _error(downscale(**asked, return_state=True))

    with connected(Settings().dask or "") as cluster:
        yield from cluster.each(run, wanted)


def _on_workers(deployment: str, production: Production, wanted: dict[str, bool]) -> Results:
    """Flow runs of the deployment, in waves.

    The idempotency key makes a parent that is retried find the runs it had started.
    """
    attempt = f"{flow_run.id}-{flow_run.run_count}"
    waiting = iter(wanted.items())
    while wave := list(islice(waiting, WAVE)):
        runs = {
            partition: cast(
                FlowRun,
                run_deployment(
                    deployment,
                    parameters=parameters(production, partition, replace),
                    flow_run_name=f"{production.source.name} {partition}",
                    idempotency_key=f"{attempt}-{partition}",
                    tags=[production.name],
                    timeout=0,
                ),
            )
            for partition, replace in wave
        }
        yield from _finished(runs)


def _finished(runs: dict[str, FlowRun]) -> Results:
    """Each of the runs as it ends."""
    running = dict(runs)
    with get_client(sync_client=True) as client:
        while running:
            for partition, run in list(running.items()):
                state = client.read_flow_run(run.id).state
                if state is not None and state.is_final():
                    del running[partition]
                    yield partition, _error(state)
            if running:
                time.sleep(POLL_SECONDS)


def parameters(production: Production, partition: str, replace: bool) -> dict[str, Any]:
    """The parameters of the flow that makes one partition of a production."""
    shared = ("product", "members", "seed", "steps", "solver", "conserve")
    return {
        "partition": partition,
        "source": production.source.reference,
        "replace": replace,
        # Another machine fetches it; an alias that moves meanwhile changes nothing.
        "checkpoint": production.model_version or production.checkpoint,
        "windows": production.spec.windows,
        "cell_frames": production.spec.cell_frames,
        **{name: getattr(production, name) for name in shared},
    }


def _error(state: State[Any]) -> str | None:
    return None if state.is_completed() else (state.message or state.name or "no reason given")
