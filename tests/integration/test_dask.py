"""A backfill on a Dask cluster of two workers, one of which is killed while it samples."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")


class KillTheFirst(logging.Handler):
    """Kills the worker that is first heard of, which is then sampling."""

    killed = 0

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if " is sampled by " in said and not self.killed:
            self.killed = int(said.split()[-1])
            os.kill(self.killed, signal.SIGKILL)


@contextmanager
def logged(handler: KillTheFirst) -> Iterator[KillTheFirst]:
    """Send log lines to Prefect too, as PREFECT_LOGGING_EXTRA_LOGGERS has it when Prefect is imported."""
    from prefect.logging.handlers import APILogHandler

    logger = logging.getLogger("stvd")
    level, handlers = logger.level, (handler, APILogHandler())
    logger.setLevel(logging.INFO)
    for added in handlers:
        logger.addHandler(added)
    try:
        yield handler
    finally:
        for added in handlers:
            logger.removeHandler(added)
        logger.setLevel(level)


def texts(flow_run_id: Any, expected: str) -> str:
    """The log of a flow run once it holds what is expected: it is sent with a delay."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    deadline = time.monotonic() + 180
    with get_client(sync_client=True) as client:
        while expected not in (log := "\n".join(r.message for r in client.read_logs(of_run))):
            assert time.monotonic() < deadline, log
            time.sleep(0.5)
    return log


def test_a_backfill_with_dask_is_the_same_and_survives_a_killed_worker(
    record: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from flows.backfill import backfill
    from flows.parameters import production
    from stvd.generate import produce
    from stvd.product import Product, open_product

    asked: dict[str, Any] = {
        "source": str(record),
        "checkpoint": str(tiny_checkpoint),
        "members": 2,
        "steps": 4,
        "cell_frames": 10,
    }
    here = production(product=str(tmp_path / "here"), **asked)
    for item in here.plan():
        produce(here, item.partition)

    monkeypatch.setenv("STVD_DASK", "local:2")
    with logged(KillTheFirst()) as killer:
        summary = backfill(product=str(tmp_path / "dask"), **asked)
    assert killer.killed
    assert (len(summary.published), summary.failed) == (2, {})
    spread = open_product(str(tmp_path / "dask"))
    assert np.array_equal(spread.pr.values, open_product(str(tmp_path / "here")).pr.values)
    ledgers = [Product.open(tmp_path / name).ledger() for name in ("dask", "here")]
    one, other = ({p: (e.fingerprint, e.content) for p, e in found.items()} for found in ledgers)
    assert one == other

    client = MlflowClient()
    experiment = client.get_experiment_by_name("product/dask")
    runs = client.search_runs([experiment.experiment_id])
    assert {r.data.tags["stvd.partition"] for r in runs} == ledgers[0].keys()
    assert {r.info.status for r in runs} == {"FINISHED"}

    logs = []
    for run in runs:
        flow_run_id = run.data.tags["prefect.flow_run_id"]
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(flow_run_id)
        assert flow_run.state.is_completed()
        assert flow_run.parent_task_run_id is not None
        logs.append(texts(flow_run_id, f"{run.data.tags['stvd.partition']} is sampled by "))
    assert sum("was lost; it is done again" in log for log in logs) == 1
