"""From a challenger to a champion to a product, on real servers.

The truth of the held-out record is a draw of one of the models: that one is calibrated and cannot be
beaten; the others expect other rain.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from mlflow import MlflowClient

from stvd.checkpoint import Card, Checkpoint

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")

MODEL = "stvd-tiny"
SCORED: dict[str, Any] = {"model": MODEL, "members": 10, "steps": 2}


@pytest.fixture(scope="module")
def held_out(later_record: Path, tiny_checkpoint: Path, tmp_path_factory: Any) -> Path:
    """A record whose truth the tiny model drew."""
    from stvd.event_file import read_event
    from stvd.sampling import SamplerConfig
    from stvd.systems import sampled

    model = Checkpoint.load(tiny_checkpoint)
    truth = sampled(model, read_event(later_record), 1, 99, SamplerConfig(steps=2))
    path = tmp_path_factory.mktemp("held_out") / "drawn.nc"
    with xr.open_dataset(later_record, decode_times=False) as file:
        drawn = file.load()
    drawn["pr"].encoding = {}
    drawn["pr"].values[:] = truth.isel(member=0).values
    drawn.to_netcdf(path)
    return path


def shifted(checkpoint: Path, by: float, folder: Path) -> str:
    """The same model with another mean, in units of the transform."""
    old = Checkpoint.load(checkpoint)
    with torch.no_grad():
        old.network.mean.out.bias.add_(by)
    Checkpoint.create(old.name, old.network, old.channels, old.card.grid, {}, folder)
    return str(folder)


@pytest.fixture(scope="module")
def history(
    held_out: Path,
    tiny_checkpoint: Path,
    tmp_path_factory: Any,
    prefect_server: None,
    mlflow_server: str,
) -> dict[str, Any]:
    """What an operator does, in order."""
    from flows.evaluate import evaluate
    from flows.promote import promote
    from flows.register import register

    data, folder = [str(held_out)], tmp_path_factory.mktemp("checkpoints")
    done: dict[str, Any] = {}
    done["first"] = register(checkpoint=shifted(tiny_checkpoint, 1.0, folder / "first"))
    done["promoted"] = promote(version=f"models:/{MODEL}@challenger", reason="there is no other")
    done["second"] = register(checkpoint=str(tiny_checkpoint))
    done["trial"] = evaluate(data=data, dry_run=True, **SCORED)
    done["champion after a trial"] = champion()
    done["passed"] = evaluate(data=data, **SCORED)
    done["champion"] = champion()
    done["nobody"] = evaluate(data=data, **SCORED)
    register(checkpoint=shifted(tiny_checkpoint, 0.5, folder / "third"))
    done["refused"] = evaluate(data=data, **SCORED)
    return done


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias(MODEL, "champion").version)


def test_a_better_and_calibrated_challenger_becomes_champion(history: dict[str, Any]) -> None:
    assert (history["first"], history["second"]) == (f"models:/{MODEL}/1", f"models:/{MODEL}/2")
    assert history["trial"].passed
    assert history["champion after a trial"] == "1"
    assert history["passed"].objections == ()
    assert history["passed"].ratio.high < 1
    assert 0.9 <= history["passed"].matches[0].spread_skill <= 1.1
    assert history["champion"] == "2"
    tags = MlflowClient().get_model_version(MODEL, "2").tags
    assert tags["stvd.verdict"] == "promoted"
    assert tags["stvd.replaced"] == "1"
    assert MlflowClient().get_model_version(MODEL, "1").tags["stvd.promoted"] == "there is no other"


def test_without_a_challenger_there_is_nothing_to_do(history: dict[str, Any]) -> None:
    assert history["nobody"] is None


def test_a_worse_challenger_is_refused_and_told_why(history: dict[str, Any]) -> None:
    assert not history["refused"].passed
    assert champion() == "2"
    version = MlflowClient().get_model_version_by_alias(MODEL, "challenger")
    assert str(version.version) == "3"
    assert version.tags["stvd.verdict"] == "refused"
    for objection in history["refused"].objections:
        assert objection in version.tags["stvd.objections"]
        assert objection in version.description
    assert "than champion" in version.tags["stvd.objections"]


def test_prefect_and_mlflow_show_the_comparison(history: dict[str, Any]) -> None:
    from prefect.client.orchestration import get_client

    client = MlflowClient()
    experiment = client.get_experiment_by_name("evaluation").experiment_id
    runs = client.search_runs([experiment], f"tags.`stvd.challenger` = 'models:/{MODEL}/2'")
    assert len(runs) == 1  # the trial and the evaluation were the same work
    assert runs[0].data.metrics["crps_ratio"] == pytest.approx(history["passed"].ratio.value)
    assert runs[0].data.metrics["challenger/drawn/spread_skill"] == pytest.approx(
        history["passed"].matches[0].spread_skill
    )
    assert "drawn/ranks.png" in {
        f.path for f in client.list_artifacts(runs[0].info.run_id, "drawn")
    }
    with get_client(sync_client=True) as prefect:
        texts = [str(a.data) for a in prefect.read_artifacts() if a.type == "markdown"]
    for objection in history["refused"].objections:
        assert any(objection in text for text in texts)


def test_a_product_is_made_with_the_champion(
    history: dict[str, Any], record: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from flows.backfill import backfill
    from flows.settings import Settings
    from stvd.product import Product

    product = str(tmp_path / "championed")
    common: dict[str, Any] = {"source": str(record), "product": product, "members": 1, "steps": 1}
    summary = backfill(
        **common, checkpoint=f"models:/{MODEL}@champion", cell_frames=5, end="2000-07-05T15:00"
    )
    (partition,) = summary.published
    made = Product.open(product).ledger()[partition].provenance
    assert made["model_version"] == f"models:/{MODEL}/2"
    assert made["model_digest"] == Card.read(tiny_checkpoint).digest
    assert (Settings().models / MODEL / str(made["model_digest"])).is_dir()
    # By its folder it is the same model: the fingerprint knows digests, not addresses.
    again = backfill(**common, checkpoint=str(tiny_checkpoint), end="2000-07-05T15:00")
    assert again.standing == (partition,)

    client = MlflowClient()
    experiment = client.get_experiment_by_name("product/championed").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.data.params["checkpoint"] == f"models:/{MODEL}/2"
    assert run.data.tags["stvd.device"] == "cpu"


def test_a_night_with_another_champion_tells_of_it_and_replaces_nothing(
    history: dict[str, Any], record: Path, tmp_path: Path
) -> None:
    """The alias moves from version 2 to 1 when three of four partitions are published."""
    from flows.backfill import backfill
    from flows.nightly import nightly
    from flows.promote import promote
    from stvd.product import Product, open_product

    product = str(tmp_path / "moved")
    asked: dict[str, Any] = {
        "source": str(record),
        "product": product,
        "checkpoint": f"models:/{MODEL}@champion",
        "members": 1,
        "steps": 1,
        "cell_frames": 5,
        "windows": "independent",
    }
    old = backfill(**asked, end="2000-07-06T21:00").published  # frames 0-15
    before = open_product(product).pr.values
    promote(version=f"models:/{MODEL}/1", reason="2 rains too much")
    try:
        night = nightly(**asked, recheck=1)
        assert str(night) == "1 published, 3 stale"
        assert night.stale == old
        made = {k: e.provenance["model_version"] for k, e in Product.open(product).ledger().items()}
        assert [made.pop(p) for p in old] == 3 * [f"models:/{MODEL}/2"]
        assert made == {night.published[0]: f"models:/{MODEL}/1"}
        np.testing.assert_array_equal(open_product(product).pr.values[:, :15], before)
        told = f"its model models:/{MODEL}/2 is models:/{MODEL}/1 now"
        assert sum(told in text for text in artifacts("summary-moved")) == 1

        assert backfill(**asked, mode="stale").published == old  # which is to ask for it
        assert str(backfill(**asked, mode="stale", dry_run=True)) == "4 already there"
        assert not np.array_equal(open_product(product).pr.values[:, :15], before)
    finally:
        promote(version=f"models:/{MODEL}/2", reason="it was champion")


def artifacts(key: str) -> list[str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as prefect:
        found = prefect.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
    return [str(a.data) for a in found]


def test_an_alias_that_is_not_there_stops_before_any_work(record: Path, tmp_path: Path) -> None:
    from flows.backfill import backfill

    with pytest.raises(Exception, match="models:/stvd-tiny@absent is not in the registry"):
        backfill(
            source=str(record),
            product=str(tmp_path / "product"),
            checkpoint="models:/stvd-tiny@absent",
        )
    assert not (tmp_path / "product").exists()
