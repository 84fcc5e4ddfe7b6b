"""What an operator does with a backfill: look at its cost, cancel it, run it twice, run it again."""

import logging
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import xarray as xr

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")
CELL = 5


@pytest.fixture
def asked(record: Path, tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    """A backfill of four partitions of one window each."""
    return {
        "source": str(record),
        "product": str(tmp_path / "product"),
        "checkpoint": str(tiny_checkpoint),
        "members": 2,
        "steps": 1,
        "cell_frames": CELL,
    }


def artifact(key: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
    return max(found, key=lambda a: a.created)


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

    class CancelAfterTheFirst(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(UUID(flow_run.id), Cancelling(), force=True)

    log, handler = logging.getLogger("stvd.execution"), CancelAfterTheFirst()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        state = backfill(**asked, return_state=True)
    finally:
        log.removeHandler(handler)
    assert state.is_cancelled()
    assert "3 to run, 1 published" in str(state.message)
    assert len(Product.open(asked["product"]).ledger()) == 1
    assert len(backfill(**asked).published) == 3


def test_two_backfills_at_once_publish_each_partition_once(
    asked: dict[str, Any], tmp_path: Path
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
    alone = str(tmp_path / "alone")
    backfill(**{**asked, "product": alone})
    np.testing.assert_array_equal(open_product(product.uri).pr, open_product(alone).pr)


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
