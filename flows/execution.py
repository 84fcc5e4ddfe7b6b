"""Running the partitions of a plan: here one after another, on workers in waves, or with Dask."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, cast
from uuid import UUID

from prefect import State, tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import flow_run
from prefect.states import Cancelled

from flows.downscale import downscale
from flows.gate import POLL_SECONDS, Asker, gate
from flows.settings import Settings
from stvd.cluster import connected
from stvd.partition import Planned
from stvd.production import Production
from tasks.planning import PartitionsFailed, Summary, prepare, summarise
from tasks.progress import reporting
from tasks.retry import patiently

log = logging.getLogger("stvd.execution")

DEPLOYMENTS: dict[Asker, str] = {"nightly": "downscale/stvd", "backfill": "downscale/low"}
"""Each has a work queue and a limit of its own (`flows.deployments`)."""

LANES = 10  # where a deployment has no limit

Error = str | None
Wanted = dict[str, bool]
"""Whether a partition is to be replaced, by its id."""
Results = Generator[tuple[str, Error], None, None]
"""Partitions as they end."""


def run(production: Production, planned: list[Planned], *, asker: Asker, fan_out: bool) -> Summary:
    """Run what a plan says, each partition in a flow run of its own; one that fails stops no other.

    No partition is begun once the flow run that asks for it is being cancelled, nor, for a backfill,
    while one of a nightly run runs or is due.

    Parameters
    ----------
    asker : for whom the partitions run; the nightly run goes first
    fan_out : give the partitions to the workers of the deployment; else run them in this process,
        which samples them itself or on the Dask cluster of the settings
    """
    wanted = {item.partition.id: item.action == "replace" for item in planned if item.runs}
    done: dict[str, Error] = {}
    if wanted:
        prepare(production, planned)
        execute = _on_workers if fan_out else _on_cluster if Settings().dask else _here
        title = f"{production.name}, {len(wanted)} partitions"
        with reporting(title) as report, closing(execute(production, wanted, asker)) as results:
            for partition, error in results:
                done[partition] = error
                report(len(done), len(wanted))
                log.info("%s %s", partition, f"failed: {error}" if error else "is published")
    failed = [partition for partition, error in done.items() if error]
    retry = {p: command(parameters(production, p, wanted[p])) for p in failed}
    return summarise(production, planned, done, retry)


def ended(summary: Summary) -> Summary | State[Summary]:
    """What a flow returns of its summary: the state `Cancelled` if it was cancelled on the way.

    Raises
    ------
    PartitionsFailed
        If some failed.
    """
    with gate("nightly") as entrance:
        cancelled = bool(summary.planned) and entrance.cancelled()
    if cancelled:
        return Cancelled(message=f"{summary.product}: {summary}. Run it again to continue")
    if summary.failed:
        raise PartitionsFailed(summary)
    return summary


def lanes(asker: Asker) -> int:
    """How many of its partitions the workers may sample at once."""
    with get_client(sync_client=True) as client:
        limit = client.read_deployment_by_name(DEPLOYMENTS[asker]).global_concurrency_limit
    return limit.limit if limit is not None else LANES


def _here(production: Production, wanted: Wanted, asker: Asker) -> Results:
    """One after another in this process, which loads the model once."""
    with gate(asker) as entrance:
        for partition, replace in wanted.items():
            if not entrance.opens():
                return
            with tags(asker):
                state = downscale(**parameters(production, partition, replace), return_state=True)
            yield partition, _error(state)


def _on_cluster(production: Production, wanted: Wanted, asker: Asker) -> Results:
    """Side by side in this process, where each waits for a worker of the Dask cluster to sample it."""

    def make(partition: str) -> Error:
        with tags(asker):
            asked = parameters(production, partition, wanted[partition])
            return _error(downscale(**asked, return_state=True))

    with gate(asker) as entrance, connected(Settings().dask or "") as cluster:
        yield from cluster.each(make, wanted, lambda wait: entrance.opens(wait=wait))


def _on_workers(production: Production, wanted: Wanted, asker: Asker) -> Results:
    """Flow runs of the deployment, in waves: twice as many as may run at once.

    So a worker never waits for work, and whoever comes meanwhile waits for few. Those that have not
    begun when this ends early, by an error or a cancellation, are cancelled; those that run go on.
    """
    size, waiting = 2 * lanes(asker), list(wanted.items())
    runs: dict[str, UUID] = {}
    with gate(asker) as entrance:
        try:
            while waiting or runs:
                while waiting and len(runs) < size and entrance.opens(wait=not runs):
                    partition, replace = waiting.pop(0)
                    runs[partition] = _submit(production, partition, replace, asker).id
                if entrance.cancelled():
                    return
                for partition, state in _finished(entrance.client, runs):
                    del runs[partition]
                    yield partition, _error(state)
                if runs:
                    time.sleep(POLL_SECONDS)
        finally:
            for partition in runs:
                _withdraw(entrance.client, runs[partition])


def _submit(production: Production, partition: str, replace: bool, asker: Asker) -> FlowRun:
    """One flow run of the deployment; asked for twice in one attempt, it is the same."""
    made = patiently(
        lambda: run_deployment(
            DEPLOYMENTS[asker],
            parameters=parameters(production, partition, replace),
            flow_run_name=f"{production.source.name} {partition}",
            idempotency_key=f"{flow_run.id}-{flow_run.run_count}-{partition}",
            tags=[production.name, asker],
            timeout=0,
        )
    )
    return cast(FlowRun, made)


def _finished(client: SyncPrefectClient, runs: dict[str, UUID]) -> list[tuple[str, State[Any]]]:
    """Those of the runs that have ended."""
    states = {partition: client.read_flow_run(run).state for partition, run in runs.items()}
    return [(p, state) for p, state in states.items() if state is not None and state.is_final()]


def _withdraw(client: SyncPrefectClient, run: UUID) -> None:
    """Cancel a flow run that has not begun."""
    state = client.read_flow_run(run).state
    if state is not None and state.is_scheduled():
        client.set_flow_run_state(run, Cancelled(message="what asked for it has ended"))


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


def command(parameters: dict[str, Any]) -> str:
    """The command line with the parameters of a partition."""
    words = ["stvd", "downscale", parameters["partition"]]
    for name, value in parameters.items():
        option = name.replace("_", "-")
        if name == "partition" or value is None:
            continue
        if name == "replace":
            words += ["--replace"] if value else []
        elif isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return shlex.join(words)


def _error(state: State[Any]) -> Error:
    return None if state.is_completed() else (state.message or state.name or "no reason given")
