"""`stvd stack` as a team would run it: Postgres, an object store, sign-in to both servers, alerts."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_webhook import Webhook, webhook
from own_postgres import postgres
from stack_process import free_port, running_stack

from flows import stack as local
from flows.settings import Settings
from flows.stack import StackState
from flows.stack_processes import MARK, marked
from flows.stack_store import BUCKET, reaching

LOGIN, PASSWORD = "admin:correct-horse", "battery-staple-12"

# A run that publishes, one that fails, and one whose process is gone.
CLIENT = """
import sys, time
from datetime import timedelta
import flows
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment
from prefect.events import emit_event
from flows import automations
from flows.backfill import backfill

record, checkpoint, seconds = sys.argv[1:]
settings = {"checkpoint": checkpoint, "members": 1, "steps": 1, "cell_frames": 20}
runs = [
    run_deployment("backfill/stvd", parameters={"source": source, "product": "corner", **settings}, timeout=0)
    for source in (record, "nowhere")
]
deadline = time.monotonic() + float(seconds)
with get_client(sync_client=True) as client:
    def ended(name, run):
        while not (state := client.read_flow_run(run.id).state).is_final():
            assert time.monotonic() < deadline, f"{name}: {state}"
            time.sleep(2)
        print(name, state.name)

    ended("published", runs[0])
    ended("refused", runs[1])
    # Only now: a run that works is without a sign of life for as long, on a machine that is busy.
    short = automations.zombie(timedelta(seconds=12))
    client.create_automation(short.model_copy(update={"name": "a short one"}))
    lost = client.create_flow_run(backfill, name="lost", state=State(type=StateType.RUNNING, name="Running"))
    names = {"prefect.resource.id": f"prefect.flow.{lost.flow_id}", "prefect.resource.role": "flow",
             "prefect.resource.name": "backfill"}
    resource = {"prefect.resource.id": f"prefect.flow-run.{lost.id}", "prefect.resource.name": "lost"}
    emit_event("prefect.flow-run.heartbeat", resource, related=[names])
    ended("lost", lost)
"""


@pytest.fixture
def told() -> Iterator[Webhook]:
    with webhook() as told:
        yield told


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Webhook) -> Iterator[Settings]:
    port = free_port()
    with postgres(port, ["prefect", "mlflow"]) as server:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME", MARK):
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "STVD_RUNS": str(tmp_path / "runs"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{server}/prefect",
            "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
            "MLFLOW_BACKEND_STORE_URI": f"postgresql://{server}/mlflow",
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "STVD_ALERT_URL": told.url,
            "STVD_FRESH_HOURS": json.dumps({"forgotten": 12 / 3600}),
        }.items():
            monkeypatch.setenv(name, value)
        yield Settings()


@pytest.fixture
def running(settings: Settings) -> Iterator[StackState]:
    store = 20_000 + free_port() % 8_000  # a span of ports, outside those that are given out
    with running_stack(settings, "--store", f"--store-port={store}") as state:
        yield state


def status(url: str, body: str | None = None) -> int:
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_signed_in_on_postgres_and_s3_and_alerted(
    settings: Settings,
    running: StackState,
    told: Webhook,
    record: Path,
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3

    from stvd.product import Product

    assert all(local.health(running).values())
    assert status(f"{running.prefect_api_url}/flows/filter", "{}") == 401
    assert status(f"{running.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1") == 401

    patience = 2 * settings.start_seconds
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, str(record), str(tiny_checkpoint), str(patience)],
        capture_output=True,
        text=True,
        timeout=1.5 * patience,
    )
    logs = "".join(file.read_text() for file in (settings.home / "logs").glob("worker-*.log"))
    assert client.returncode == 0, client.stderr + logs
    assert client.stdout.split("\n")[:3] == [
        "published Completed",
        "refused Failed",
        "lost Crashed",
    ], client.stdout + logs

    assert running.store_url is not None
    for name, value in reaching(settings, running.store_url).items():
        monkeypatch.setenv(name, value)
    there = Settings()
    product = there.product_uri("corner")
    assert product == f"s3://{BUCKET}/products/corner"
    assert len(Product.open(product, storage=there.storage).ledger()) == 1
    s3 = boto3.client("s3")
    artifacts = s3.list_objects_v2(Bucket=BUCKET, Prefix="mlflow/")["Contents"]
    assert any(item["Key"].endswith("ledger.json") for item in artifacts)

    told.wait_for("no new partition in forgotten for 0:00:12", 60)
    assert "nowhere" in told.wait_for("a run failed: backfill", 60)
    told.wait_for("a run crashed: backfill lost: no sign of life for 0:00:12", 60)
    assert len([text for text in told.texts if "forgotten" in text]) == 1, "told once"

    secrets = [LOGIN, PASSWORD, os.environ["AWS_SECRET_ACCESS_KEY"], told.url]
    assert not any(secret in logs + settings.state_file.read_text() for secret in secrets)
    assert local.stop(settings)
    assert marked(lambda owner: owner == running.supervisor) == []
