"""MLflow runs on a SQLite file, through the client that production uses."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from mlflow import MlflowClient, set_tracking_uri

from tasks.tracking import KEY, tracked


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield MlflowClient()
    set_tracking_uri(None)


def runs(client: MlflowClient, experiment: str) -> list:
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id])


def test_a_run_holds_what_was_logged(client: MlflowClient, folder: Path) -> None:
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    with tracked("all", "first", key="a", tags={"product": "rain"}) as run:
        run.parameters({"members": 4, "solver": "ddim"})
        run.series([(step, {"loss": 1 / step}) for step in (1, 2, 4)])
        run.metrics({"crps": 0.5, "undefined": float("nan")})
        run.figure(figure, "figures/map.png")
        run.table(pd.DataFrame({"year": [2001], "prcptot": [812.5]}), "annual")
    plt.close(figure)

    record = client.get_run(run.id)
    assert record.info.status == "FINISHED"
    assert record.data.params == {"members": "4", "solver": "ddim"}
    assert record.data.metrics == {"loss": 0.25, "crps": 0.5}  # 1/4 is the last; NaN is left out
    assert record.data.tags["product"] == "rain"
    assert [m.step for m in client.get_metric_history(run.id, "loss")] == [1, 2, 4]
    kept = folder / "mlartifacts" / run.id / "artifacts"
    assert (kept / "figures" / "map.png").stat().st_size > 1000
    assert json.loads((kept / "annual.json").read_text())["data"] == [[2001, 812.5]]


def test_the_same_work_twice_writes_one_run(client: MlflowClient) -> None:
    for members in (4, 4):
        with tracked("twice", "again", key="same") as run:
            run.parameters({"members": members})
    assert [r.data.tags[KEY] for r in runs(client, "twice")] == ["same"]


def test_an_error_fails_the_run_and_passes_on(client: MlflowClient) -> None:
    with pytest.raises(ZeroDivisionError), tracked("broken", "x", key="b"):
        1 / 0  # noqa: B018
    assert [r.info.status for r in runs(client, "broken")] == ["FAILED"]


def test_names_of_metrics_are_made_fit(client: MlflowClient) -> None:
    with tracked("names", "x", key="n") as run:
        run.metrics({"pe(99.999%)": 1.0})
    assert client.get_run(run.id).data.metrics == {"pe_99.999__": 1.0}
