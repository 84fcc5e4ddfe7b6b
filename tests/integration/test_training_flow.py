"""Training as a flow: a checkpoint, its curves and files in MLflow, and a run that continues."""

from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")


@pytest.fixture
def recipe(record: Path, tmp_path: Path) -> Path:
    path = tmp_path / "corner.yaml"
    training = {"steps": 3, "batch": 2, "crop": 16, "warmup": 0, "save_every": 1}
    content = {
        "name": "corner",
        "sources": [str(record)],
        "predictors": ["prw"],
        "statics": ["orog"],
        "preset": "tiny",
        "training": {**training, "precision": "float32"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_recipe_becomes_a_checkpoint_that_can_be_used(recipe: Path, tmp_path: Path) -> None:
    from flows.train import train
    from stvd.checkpoint import Checkpoint

    out = train(recipe=str(recipe), out=str(tmp_path / "out"))
    checkpoint = Checkpoint.load(out)
    assert checkpoint.channels.variables == ("pr", "prw")

    client = MlflowClient()
    experiment = client.get_experiment_by_name("training")
    (run,) = client.search_runs(
        [experiment.experiment_id], f"tags.`stvd.digest` = '{checkpoint.digest}'"
    )
    assert run.info.status == "FINISHED"
    assert run.data.params["training.steps"] == "3"
    assert run.data.metrics["loss"] > 0
    kept = {f.path for f in client.list_artifacts(run.info.run_id, "checkpoint")}
    files = ("checkpoint.json", "model.safetensors", "quantile_mapping.json")
    assert kept == {f"checkpoint/{file}" for file in files}

    # Done already: the state says so, and the same run is written again.
    assert Checkpoint.load(train(recipe=str(recipe), out=out)).digest == checkpoint.digest
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_an_unknown_key_of_a_recipe_is_named(recipe: Path) -> None:
    from flows.train import train

    recipe.write_text(recipe.read_text() + "colour: blue\n")
    with pytest.raises(Exception, match="colour"):
        train(recipe=str(recipe))
