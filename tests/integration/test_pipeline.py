"""The whole flow on Prefect's test harness and a real MLflow server."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")


@pytest.fixture(scope="module")
def made(
    record: Path,
    tiny_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: None,
    mlflow_server: str,
) -> Any:
    """The demo, run once."""
    from flows.demo import demo

    product = str(tmp_path_factory.mktemp("products") / "corner")
    return demo(source=str(record), members=2, product=product, checkpoint=str(tiny_checkpoint))


def test_the_demo_publishes_the_whole_record(made: Any) -> None:
    from stvd.product import Product, open_product

    pr = open_product(made.product).pr
    assert dict(pr.sizes) == {"member": 2, "time": 20, "y": 32, "x": 64}
    values = pr.values
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert values[0].std() > 0
    assert not np.array_equal(values[0], values[1])
    ledger = Product.open(made.product).ledger()
    assert [e.frames for e in ledger.values()] == [range(10), range(10, 20)]


def test_block_means_are_those_of_the_input(made: Any, record: Path) -> None:
    from stvd.product import open_product

    published = open_product(made.product)
    area = published.areacella
    weighted = (published.pr * area).coarsen(y=8, x=8).sum() / area.coarsen(y=8, x=8).sum()
    with xr.open_dataset(record, decode_times=False) as given:
        expected = given.pr_coarse.values
    np.testing.assert_allclose(weighted.values[1], expected, rtol=1e-4, atol=1e-9)


def test_the_report_has_figures_tables_and_scores(made: Any) -> None:
    assert {"panel", "spectra", "rank_histogram"} <= made.figures.keys()
    assert all(Path(path).stat().st_size > 5000 for path in made.figures.values())
    assert made.metrics["stvd/crps_fair"] > 0
    assert "2000_to_date/rx1day" in made.metrics
    assert any("2000 is not complete" in note for note in made.notes)


def test_mlflow_holds_a_run_a_partition_and_the_report(made: Any) -> None:
    from stvd.product import Product

    client = MlflowClient()
    experiment = client.get_experiment_by_name("product/corner")
    runs = {
        r.data.tags.get("stvd.partition", "report"): r
        for r in client.search_runs([experiment.experiment_id])
    }
    ledger = Product.open(made.product).ledger()
    assert runs.keys() == {*ledger, "report"}
    assert {r.info.status for r in runs.values()} == {"FINISHED"}
    for partition, entry in ledger.items():
        assert runs[partition].data.tags["stvd.fingerprint"] == entry.fingerprint
        assert runs[partition].data.params["members"] == "2"
    report = runs["report"]
    assert report.data.tags["stvd.snapshot"] == made.snapshot
    assert report.data.metrics["stvd/crps_fair"] == pytest.approx(made.metrics["stvd/crps_fair"])
    figures = [f.path for f in client.list_artifacts(report.info.run_id, "figures")]
    assert "figures/panel.png" in figures


def test_mlflow_and_prefect_point_at_each_other(made: Any) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    client = MlflowClient()
    experiment = client.get_experiment_by_name("product/corner")
    run = next(
        r for r in client.search_runs([experiment.experiment_id]) if "stvd.partition" in r.data.tags
    )
    with get_client(sync_client=True) as prefect:
        flow_run = prefect.read_flow_run(run.data.tags["prefect.flow_run_id"])
        assert flow_run.state.is_completed()
        assert flow_run.parameters["partition"] == run.data.tags["stvd.partition"]
        artifacts = prefect.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
        )
    assert any(run.info.run_id in str(a.data) for a in artifacts if a.type == "markdown")


def test_a_second_run_has_nothing_to_do(made: Any, record: Path, tiny_checkpoint: Path) -> None:
    from flows.backfill import backfill
    from flows.demonstration import demonstration, standing
    from flows.settings import Settings
    from stvd.product import Product

    how = demonstration(str(record), 2, made.product, str(tiny_checkpoint))
    assert standing(how, Settings()) == made
    summary = backfill(
        source=str(record), product=made.product, checkpoint=str(tiny_checkpoint), members=2
    )
    assert (len(summary.standing), summary.published, summary.failed) == (2, (), {})
    assert Product.open(made.product).snapshot == made.snapshot


def test_nothing_new_is_a_clean_night(made: Any, record: Path, tiny_checkpoint: Path) -> None:
    from flows.nightly import nightly

    summary = nightly(
        source=str(record), product=made.product, checkpoint=str(tiny_checkpoint), members=2
    )
    assert summary.published == ()
    assert str(summary) == "2 already there"


def test_a_night_reports_a_source_that_was_rewritten_and_replaces_nothing(
    made: Any, record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.nightly import nightly
    from stvd.product import Product

    with xr.open_dataset(record, decode_times=False) as whole:
        rewritten = whole.load()
    rewritten["pr_coarse"][15, 1, 2] *= 1.01  # frame 15 lies in the second of two partitions
    rewritten.to_netcdf(tmp_path / record.name)
    summary = nightly(
        source=str(tmp_path / record.name),
        product=made.product,
        checkpoint=str(tiny_checkpoint),
        members=2,
        recheck=1,
        open_end=True,
    )
    assert str(summary) == "1 already there, 1 stale"
    assert summary.stale == tuple(Product.open(made.product).ledger())[1:]
    assert Product.open(made.product).snapshot == made.snapshot


def test_a_late_record_is_told_and_nothing_is_lost(
    made: Any, record: Path, tiny_checkpoint: Path
) -> None:
    from flows.nightly import nightly
    from stvd.product import Product
    from tasks.arrival import InputMissing

    with pytest.raises(InputMissing, match=r"ends at 2000-07-07T12:00, .* days before"):
        nightly(
            source=str(record),
            product=made.product,
            checkpoint=str(tiny_checkpoint),
            members=2,
            lag_days=1,
        )
    assert Product.open(made.product).snapshot == made.snapshot


def test_a_record_that_became_shorter_is_told_and_the_product_keeps_its_extent(
    made: Any, record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.nightly import nightly
    from stvd.product import open_product
    from tasks.arrival import InputMissing

    with xr.open_dataset(record, decode_times=False) as whole:
        whole.isel(time=slice(0, 12)).to_netcdf(tmp_path / record.name)
    with pytest.raises(InputMissing, match=r"reaches to 2000-07-07T12:00:00 \(1 of its partitions"):
        nightly(
            source=str(tmp_path / record.name),
            product=made.product,
            checkpoint=str(tiny_checkpoint),
            members=2,
        )
    assert open_product(made.product).sizes["time"] == 20


def test_other_numbers_where_some_stand_are_an_error(
    made: Any, record: Path, tiny_checkpoint: Path
) -> None:
    from flows.downscale import downscale
    from stvd.product import FingerprintConflict, Product

    arguments = {
        "partition": "000000-000010_m000-002",
        "source": str(record),
        "product": made.product,
        "checkpoint": str(tiny_checkpoint),
        "members": 2,
        "seed": 1,
    }
    with pytest.raises(FingerprintConflict, match="seed"):
        downscale(**arguments)
    assert Product.open(made.product).snapshot == made.snapshot


def test_a_bad_partition_stops_no_other(
    record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.backfill import backfill
    from stvd.product import open_product
    from tasks.planning import PartitionsFailed

    spoilt = tmp_path / "spoilt.nc"
    with xr.open_dataset(record, decode_times=False) as good:
        bad = good.load()
    bad["pr_coarse"][7, 1, 2] = np.nan  # frame 7 lies in the second of four partitions
    bad.to_netcdf(spoilt)
    with pytest.raises(PartitionsFailed, match=r"1 partitions .* failed") as failure:
        backfill(
            source=str(spoilt),
            product=str(tmp_path / "product"),
            checkpoint=str(tiny_checkpoint),
            members=1,
            steps=2,
            cell_frames=5,
            windows="independent",  # overlapping ones would read the frame from beside it too
        )
    summary = failure.value.summary
    assert list(summary.failed) == ["000005-000010_m000-001"]
    error = summary.failed["000005-000010_m000-001"]
    assert "pr" in error
    assert "2000-07-05T21" in error  # frame 7 begins 7 x 3 h after midnight
    assert len(summary.published) == 3
    assert open_product(tmp_path / "product").sizes["time"] == 15


def test_dates_choose_partitions_and_a_dry_run_only_plans(
    record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.backfill import backfill
    from stvd.product import Product

    arguments = {
        "source": str(record),
        "product": str(tmp_path / "product"),
        "checkpoint": str(tiny_checkpoint),
        "members": 1,
        "steps": 1,
        "cell_frames": 10,
        "start": "2000-07-06T06:00",  # frame 10
    }
    assert str(backfill(**arguments, dry_run=True)) == "1 to run"
    assert not (tmp_path / "product").exists()
    assert backfill(**arguments).published == ("000010-000020_m000-001",)
    assert list(Product.open(tmp_path / "product").ledger()) == ["000010-000020_m000-001"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"members": 0}, "members"),
        ({"solver": "euler"}, "solver"),
        ({"source": "nowhere"}, "no catalog has a source 'nowhere'"),
        ({"start": "2000-02-30"}, "2000-02-30"),
        ({"start": "2000-07-06", "end": "2000-07-05"}, "ends before it starts"),
        ({"checkpoint": "missing"}, "no checkpoint"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_wrong_parameters_are_refused_by_name(
    wrong: dict[str, Any], said: str, record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.backfill import backfill

    arguments = {
        "source": str(record),
        "product": str(tmp_path / "product"),
        "checkpoint": str(tiny_checkpoint),
    }
    with pytest.raises(Exception, match=said):
        backfill(**{**arguments, **wrong})
    assert not (tmp_path / "product").exists()
