"""`stvd stack` for real: servers, worker, deployments, a schedule, and a clean stop."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import stack as local
from flows.settings import Settings
from flows.stack import StackState

CLIENT = """
import sys, time
import flows
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.deployments import run_deployment

record, checkpoint = sys.argv[1:]
with get_client(sync_client=True) as client:
    nightly = client.read_deployment_by_name("nightly/stvd")
    assert nightly.schedules[0].schedule.timezone == "UTC"
    scheduled = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled"])))
    deadline = time.monotonic() + 120
    while not client.read_flow_runs(flow_run_filter=scheduled):
        assert time.monotonic() < deadline, "the schedule made no run"
        time.sleep(1)
    print("scheduled", len(client.read_flow_runs(flow_run_filter=scheduled)))
run = run_deployment(
    "backfill/stvd",
    parameters={
        "source": record, "checkpoint": checkpoint, "product": "corner",
        "members": 1, "steps": 1, "cell_frames": 10, "fan_out": True,
    },
    timeout=300,
    poll_interval=2,
)
print("backfill", run.state.name)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STVD_RUNS", str(tmp_path / "runs"))
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Settings()


def wait_for_stack(settings: Settings, process: subprocess.Popen[bytes]) -> StackState:
    deadline = time.monotonic() + 240
    while (state := local.running(settings)) is None:
        assert process.poll() is None, (process.stdout.read() if process.stdout else b"").decode()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return state


@pytest.fixture
def running(settings: Settings, free_ports: list[int]) -> Iterator[StackState]:
    ports = ["--prefect-port", str(free_ports[0]), "--mlflow-port", str(free_ports[1])]
    environment = {k: v for k, v in os.environ.items() if k != local.MARK}
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import app; app()", "stack", *ports],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield wait_for_stack(settings, process)
    finally:
        local.stop(settings)
        process.wait(timeout=120)


def test_schedule_fan_out_and_clean_stop(
    settings: Settings, running: StackState, record: Path, tiny_checkpoint: Path
) -> None:
    from stvd.product import Product

    environment = {k: v for k, v in os.environ.items() if k != local.MARK}
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, str(record), str(tiny_checkpoint)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    log = settings.home / "logs" / "worker.log"
    assert client.returncode == 0, client.stderr + log.read_text()
    assert "backfill Completed" in client.stdout, client.stdout + log.read_text()
    assert len(Product.open(settings.product_uri("corner")).ledger()) == 2  # 20 frames in tens

    assert local.stop(settings)
    assert local.running(settings) is None
    assert local.marked(lambda owner: owner == running.supervisor) == []
