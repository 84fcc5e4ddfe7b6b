"""`stvd stack` for real: servers, worker, deployments, a schedule, and a clean stop."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_process import running_stack

from flows import stack as local
from flows.settings import Settings
from flows.stack import StackState
from flows.stack_processes import MARK, marked

CLIENT = """
import sys, time
import flows
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.deployments import run_deployment

record, checkpoint, seconds = sys.argv[1:]
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
    timeout=float(seconds),
    poll_interval=2,
)
print("backfill", run.state.name)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STVD_RUNS", str(tmp_path / "runs"))
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME", MARK):
        monkeypatch.delenv(name, raising=False)
    return Settings()


@pytest.fixture
def running(settings: Settings) -> Iterator[StackState]:
    with running_stack(settings) as state:
        yield state


def test_schedule_fan_out_and_clean_stop(
    settings: Settings, running: StackState, record: Path, tiny_checkpoint: Path
) -> None:
    from stvd.product import Product

    patience = 2 * settings.start_seconds
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, str(record), str(tiny_checkpoint), str(patience)],
        capture_output=True,
        text=True,
        timeout=1.5 * patience,
    )
    logs = "".join(file.read_text() for file in (settings.home / "logs").glob("worker-*.log"))
    assert client.returncode == 0, client.stderr + logs
    assert "backfill Completed" in client.stdout, client.stdout + logs
    assert len(Product.open(settings.product_uri("corner")).ledger()) == 2  # 20 frames in tens

    assert local.stop(settings)
    assert local.running(settings) is None
    assert marked(lambda owner: owner == running.supervisor) == []
