"""What an operator meets: costs, cancelling, two runs at once, failures, late data, samples in doubt."""

import asyncio
import logging
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")
CELL = 5


def four_partitions(record: Path, checkpoint: Path, product: Path) -> dict[str, Any]:
    """Parameters of a run of four partitions of one window each."""
    return {
        "source": str(record),
        "product": str(product),
        "checkpoint": str(checkpoint),
        "members": 2,
        "steps": 1,
        "windows": "independent",
        "cell_frames": CELL,
    }


@pytest.fixture
def asked(record: Path, tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    return four_partitions(record, tiny_checkpoint, tmp_path / "product")


@pytest.fixture(scope="module")
def undisturbed(
    record: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> NDArray[np.float32]:
    """Rain of a product that one run made, alone."""
    from flows.parameters import production
    from stvd.generate import produce
    from stvd.product import open_product

    product = tmp_path_factory.mktemp("undisturbed") / "product"
    how = production(**four_partitions(record, tiny_checkpoint, product))
    for item in how.plan():
        produce(how, item.partition)
    return open_product(product).pr.values


def artifact(key: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
    return max(found, key=lambda a: a.created)


@contextmanager
def on_log(name: str, act: Callable[[], Any]) -> Iterator[None]:
    """Do something whenever a logger says something."""

    class Acting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            act()

    log, handler = logging.getLogger(name), Acting()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)


def wait_for(what: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def events(name: str, product: str) -> list[Any]:
    """Events of a product that reached the server."""
    from prefect.client.orchestration import get_client

    resource = f"stvd.product.{Path(product).name}"
    filter_ = {"event": {"name": [name]}, "resource": {"id": [resource]}}
    with get_client(sync_client=True) as client:
        reply = client.request("POST", "/events/filter", json={"filter": filter_})
    return list(reply.json()["events"])


def test_a_dry_run_shows_reasons_and_what_it_would_cost(asked: dict[str, Any]) -> None:
    from flows.backfill import backfill
    from stvd.product import Product

    backfill(**asked, end="2000-07-05T15:00")  # frames 0-5
    (entry,) = Product.open(asked["product"]).ledger().values()
    assert str(backfill(**asked, dry_run=True)) == "3 to run, 1 already there"
    plan = artifact("plan-product")
    assert "3 to run: about" in plan.description
    assert "learnt from 1 partitions" in plan.description
    assert "UTC if begun now" in plan.description
    assert "not published yet" in plan.data
    assert f"with fingerprint {entry.fingerprint[:12]}" in plan.data
    assert f'"{CELL:06d}-{2 * CELL:06d}_m000-002"' in plan.data
    assert entry.seconds > 0
    assert list(Product.open(asked["product"]).ledger()) == [entry.partition]


def test_a_cancelled_backfill_stops_between_partitions_and_goes_on_later(
    asked: dict[str, Any],
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run
    from prefect.states import Cancelling

    from flows.backfill import backfill
    from stvd.product import Product

    def cancel() -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(flow_run.id), Cancelling(), force=True)

    with on_log("stvd.execution", cancel):  # which tells of each partition as it ends
        state = backfill(**asked, return_state=True)
    assert state.is_cancelled()
    assert "3 to run, 1 published" in str(state.message)
    assert len(Product.open(asked["product"]).ledger()) == 1
    assert len(backfill(**asked).published) == 3


def test_two_backfills_at_once_publish_each_partition_once(
    asked: dict[str, Any], undisturbed: NDArray[np.float32]
) -> None:
    from flows.backfill import backfill
    from stvd.product import Product, open_product

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(backfill, **asked) for _ in range(2)]
    for summary in (future.result() for future in both):
        assert len(summary.published) + len(summary.standing) == 4
        assert not summary.failed
    product = Product.open(asked["product"])
    assert len(product.ledger()) == 4
    for partition in product.ledger():
        product.verify(partition)
    np.testing.assert_array_equal(open_product(product.uri).pr, undisturbed)


def test_a_second_nightly_run_is_cancelled_and_mixes_nothing(
    asked: dict[str, Any], undisturbed: NDArray[np.float32]
) -> None:
    """It is due when the first has published one partition of four."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import Pending

    from flows.deployments import register
    from flows.nightly import nightly
    from stvd.product import Product, open_product

    register()
    published, told = Event(), Event()

    def hold() -> None:
        published.set()
        told.wait(120)

    with get_client(sync_client=True) as client, ThreadPoolExecutor(1) as pool:
        deployment = client.read_deployment_by_name("nightly/stvd").id

        def due() -> UUID:
            wanted = asked | {"open_end": True}
            return client.create_flow_run_from_deployment(deployment, parameters=wanted).id

        first = due()
        client.set_flow_run_state(first, Pending())  # as its worker does
        with on_log("stvd.execution", hold):
            running = pool.submit(run_flow, nightly, flow_run=client.read_flow_run(first))
            try:
                assert published.wait(120)
                second = due()
                assert len(Product.open(asked["product"]).ledger()) == 1
                assert asyncio.run(picked_up_by_a_worker()) == [second]
                refused = client.read_flow_run(second)
            finally:
                told.set()
            assert len(running.result().published) == 4
        assert refused.state_name == "Cancelled"
        assert refused.state.message == "Deployment concurrency limit reached."
        assert refused.run_count == 0
        np.testing.assert_array_equal(open_product(asked["product"]).pr, undisturbed)
        third = due()
        client.set_flow_run_state(third, Pending())
        assert client.read_flow_run(third).state_name == "Pending", "the turn was given back"
        client.delete_flow_run(third)


async def picked_up_by_a_worker() -> list[UUID]:
    """What a worker of the nightly queue finds due, having looked once."""
    from prefect.workers.process import ProcessWorker

    from flows.stack_services import POOL, QUEUES

    async with ProcessWorker(work_pool_name=POOL, work_queues=[QUEUES[0]]) as worker:
        await worker.sync_with_backend()
        return [run.id for run in await worker.get_and_submit_flow_runs()]


def test_a_backfill_gives_way_to_a_nightly_run(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Scheduled

    from flows.backfill import backfill
    from flows.downscale import downscale
    from stvd.product import Product

    monkeypatch.setattr("flows.gate.POLL_SECONDS", 0.2)
    with get_client(sync_client=True) as client, ThreadPoolExecutor(1) as pool:
        due = client.create_flow_run(downscale, tags=["nightly"], state=Scheduled())
        waiting = pool.submit(backfill, **asked)
        try:
            wait_for(Path(asked["product"]).exists)  # made before the first partition
            time.sleep(5)
            assert not waiting.done()
            assert Product.open(asked["product"]).ledger() == {}
        finally:
            client.set_flow_run_state(due.id, Completed(), force=True)
        assert len(waiting.result().published) == 4


def test_partitions_that_wait_for_a_worker_are_withdrawn(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no worker here: of four partitions twice one is asked for, and none begins."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
    from prefect.runtime import flow_run
    from prefect.states import Cancelling

    from flows.backfill import backfill
    from flows.deployments import register

    register()
    monkeypatch.setattr("flows.execution.POLL_SECONDS", 0.2)
    with get_client(sync_client=True) as client, ThreadPoolExecutor(1) as pool:
        ids: list[str] = []
        with on_log("stvd.planning", lambda: ids.append(str(flow_run.id))):
            running = pool.submit(backfill, **asked, fan_out=True, return_state=True)
            parent = UUID(wait_for(lambda: ids)[0])
            filter_ = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]))
            wait_for(lambda: len(client.read_flow_runs(flow_run_filter=filter_)) == 2)
        client.set_flow_run_state(parent, Cancelling(), force=True)
        assert running.result().is_cancelled()
        asked_for = client.read_flow_runs(flow_run_filter=filter_)
    assert [run.state_name for run in asked_for] == ["Cancelled", "Cancelled"]
    assert {tag for run in asked_for for tag in run.tags} == {"backfill", "product"}
    keys = {run.idempotency_key for run in asked_for}
    assert keys == {f"{parent}-1-{p}_m000-002" for p in ("000000-000005", "000005-000010")}


def test_a_failure_says_the_command_that_runs_it_again(
    asked: dict[str, Any], record: Path, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from flows.backfill import backfill
    from flows.cli import app
    from stvd.product import Product
    from tasks.planning import PartitionsFailed

    spoilt = tmp_path / "spoilt.nc"
    with xr.open_dataset(record, decode_times=False) as good:
        bad = good.load()
    kept = float(bad["pr_coarse"][7, 1, 2])
    bad["pr_coarse"][7, 1, 2] = np.nan
    bad.to_netcdf(spoilt)
    with pytest.raises(PartitionsFailed) as failure:
        backfill(**{**asked, "source": str(spoilt)})
    (partition,) = failure.value.summary.failed
    command = failure.value.summary.retry[partition]
    assert command in str(failure.value)
    assert command in artifact("summary-product").data

    bad["pr_coarse"][7, 1, 2] = kept
    bad.to_netcdf(tmp_path / "mended.nc")
    (tmp_path / "mended.nc").replace(spoilt)
    name, *words = shlex.split(command)
    assert name == "stvd"
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert partition in Product.open(asked["product"]).ledger()


def test_late_input_is_waited_for_and_told(
    asked: dict[str, Any], record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record ends at frame 12 of 20, then the rest comes while the run waits."""
    from flows.nightly import nightly
    from stvd.product import Product
    from stvd.published_tables import diagnosed
    from stvd.source import Source

    late, name = tmp_path / "late.nc", asked["product"]
    with xr.open_dataset(record, decode_times=False) as whole:
        whole.isel(time=slice(0, 12)).to_netcdf(late)
    source = Source.find(str(record), Path())
    end = datetime.fromisoformat(str(source.axis.period(source.info.frames).last))
    lag = (datetime.now(UTC) - end.replace(tzinfo=UTC)) / timedelta(days=1) + 0.1

    def arrive() -> None:
        shutil.copy(record, tmp_path / "whole.nc")
        (tmp_path / "whole.nc").replace(late)

    monkeypatch.setattr("tasks.arrival.LOOK_SECONDS", 0.5)
    with on_log("stvd.arrival", arrive):
        summary = nightly(**asked | {"source": str(late)}, lag_days=lag, wait_hours=1)
    assert len(summary.published) == 4
    assert diagnosed(name) == Product.open(name).snapshot
    (told,) = wait_for(lambda: events("stvd.input.late", name))
    assert "the record ends at 2000-07-06T12:00" in told["payload"]["message"]
    assert events("stvd.input.overdue", name) == []


def test_samples_in_quarantine_are_told_of_listed_and_released(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from flows.backfill import backfill
    from flows.cli import app
    from stvd.product import Product
    from stvd.product.quarantine import quarantined
    from tasks.planning import PartitionsFailed

    monkeypatch.setenv("STVD_QUALITY", '{"highest_sample": 1e-9}')  # no rain at all is believed
    product = asked["product"]
    with pytest.raises(PartitionsFailed, match=r"rain reaches .* above 1e-09"):
        backfill(**asked, end="2000-07-05T15:00")  # frames 0-5
    (branch,) = quarantined(product)
    (told,) = wait_for(lambda: events("stvd.partition.quarantined", product))
    assert branch in told["payload"]["message"]
    assert Product.open(product).ledger() == {}
    monkeypatch.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["quarantine", product])
    assert "rain reaches" in shown.output, shown.output
    released = CliRunner().invoke(app, ["quarantine", product, "--release", branch])
    assert released.exit_code == 0, released.output
    assert list(Product.open(product).ledger()) == ["000000-000005_m000-002"]
