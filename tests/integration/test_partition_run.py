"""One MLflow run for each product and period: what it holds, and that it is not doubled."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")


def runs(product: str) -> list[Any]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(f"product/{Path(product).name}")
    return list(client.search_runs([experiment.experiment_id], order_by=["start_time"]))


def test_a_partition_has_one_run_with_what_it_holds(
    record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.downscale import downscale
    from stvd.product import Product, open_product

    product = str(tmp_path / "one_run")
    arguments: dict[str, Any] = {
        "partition": "000000-000005_m000-002",
        "source": str(record),
        "product": product,
        "checkpoint": str(tiny_checkpoint),
        "members": 2,
        "steps": 1,
        "cell_frames": 5,
    }
    outcome = downscale(**arguments)
    (run,) = runs(product)
    published = open_product(product)
    mean = (published.pr * published.areacella).mean() / published.areacella.mean()
    assert run.data.metrics["pr_mean_mmh"] == pytest.approx(3600 * float(mean), rel=1e-5)
    assert run.data.metrics["pr_max_mmh"] == pytest.approx(3600 * float(published.pr.max()))
    assert 0 < run.data.metrics["wet_share"] <= 1
    assert {"solver", "steps", "inflation"} <= run.data.params.keys()
    (entry,) = Product.open(product).ledger().values()
    assert run.data.metrics["seconds"] == entry.seconds
    tags = run.data.tags
    assert (tags["stvd.device"], tags["stvd.worst_finding"]) == ("cpu", "none")
    assert (tags["stvd.snapshot"], tags["stvd.current"]) == (outcome.snapshot, "true")
    client = MlflowClient()
    files = [f for d in ("", "figures") for f in client.list_artifacts(run.info.run_id, d)]
    names = {f.path for f in files if not f.is_dir}
    figures = {"figures/area_mean.png", "figures/wettest.png"}
    assert names == {"ledger.json", "findings.json", *figures}  # never the arrays
    assert all(1000 < f.file_size < 500_000 for f in files if f.path in figures)

    # Asked again, it stands: the run still names the flow run that made it.
    assert not downscale(**arguments).published
    (same,) = runs(product)
    assert same.info.run_id == run.info.run_id
    assert same.data.tags["prefect.flow_run_id"] == tags["prefect.flow_run_id"]

    # Replaced, the old run stays for comparison and says that it is not what stands.
    downscale(**arguments | {"seed": 1}, replace=True)
    old, new = runs(product)
    assert (old.data.tags["stvd.current"], new.data.tags["stvd.current"]) == ("false", "true")
    assert (old.data.params["seed"], new.data.params["seed"]) == ("0", "1")
