"""Training as a flow: a checkpoint, its curves and files in MLflow, and a run that continues."""

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("prefect_server", "mlflow_server")


@pytest.fixture
def recipe(record: Path, later_record: Path, tmp_path: Path) -> Path:
    path = tmp_path / "corner.yaml"
    training = {"steps": 3, "batch": 2, "crop": 16, "warmup": 0, "save_every": 1}
    content = {
        "name": "corner",
        "sources": [str(record)],
        "validation": [str(later_record)],
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
    made = f"tags.`stvd.digest` = '{checkpoint.digest}'"
    (run,) = client.search_runs([experiment.experiment_id], made)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.steps"] == "3"
    assert run.data.metrics["loss"] > 0
    assert {"system/cpu_utilization_percentage", "system/disk_usage_percentage"} <= {
        *run.data.metrics
    }
    place = f"checkpoint/{checkpoint.digest[:12]}"
    kept = {f.path for f in client.list_artifacts(run.info.run_id, place)}
    files = (
        "MLmodel",
        "README.md",
        "checkpoint.json",
        "model.safetensors",
        "quantile_mapping.json",
    )
    assert kept == {f"{place}/{file}" for file in files}
    samples = {f.path for f in client.list_artifacts(run.info.run_id, "samples")}
    assert {"samples/members.png", "samples/spectra.png"} <= samples
    split = {
        i.tags[0].value: (Path(i.dataset.name).stem, json.loads(i.dataset.source))
        for i in run.inputs.dataset_inputs
    }
    assert {role: name for role, (name, _) in split.items()} == {
        "training": "corner",
        "validation": "later",
    }
    assert split["validation"][1]["period"] == "2000-07-07T12:00:00/2000-07-10T00:00:00"

    registered = client.get_model_version_by_alias("stvd-corner", "challenger")
    assert registered.run_id == run.info.run_id
    assert registered.tags["stvd.digest"] == checkpoint.digest
    assert "| trained on | corner |" in registered.description

    # Done already: the state says so, and the same run is written again.
    assert Checkpoint.load(train(recipe=str(recipe), out=out)).digest == checkpoint.digest
    assert len(client.search_runs([experiment.experiment_id], made)) == 1
    assert len(client.search_model_versions("name = 'stvd-corner'")) == 1


def test_a_recipe_goes_on_from_another(
    recipe: Path, record: Path, later_record: Path, tmp_path: Path
) -> None:
    from flows.train import train
    from stvd.checkpoint import Checkpoint

    content = yaml.safe_load(recipe.read_text())
    after = content | {"name": "after", "start": recipe.name, "sources": [str(later_record)]}
    path = tmp_path / "after.yaml"
    path.write_text(yaml.safe_dump(after | {"validation": [str(record)]}))
    with pytest.raises(ValueError, match="cannot be trained on and held out"):
        train(recipe=str(path), out=str(tmp_path / "none"))

    path.write_text(yaml.safe_dump(after | {"validation": []}))
    out = tmp_path / "after"
    train(recipe=str(path), out=str(out), steps=2)
    first, made = (Checkpoint.load(folder) for folder in (out / "start", out))
    assert (first.name, made.name) == ("corner", "after")
    assert made.card.training["start"]["digest"] == first.digest
    assert made.card.training["events"] == ["corner", "later"]
    assert made.channels == first.channels
    assert [c.card.training["config"]["steps"] for c in (first, made)] == [2, 2]
    names = {m.name for m in MlflowClient().search_registered_models()}
    assert {"stvd-corner", "stvd-after"} <= names

    # Of a checkpoint in a folder: what it has seen is not held out.
    after |= {"start": str(out / "start")}
    path.write_text(yaml.safe_dump(after | {"validation": [str(record)]}))
    with pytest.raises(ValueError, match=r"corner cannot be held out: .* was trained on it"):
        train(recipe=str(path), out=str(tmp_path / "third"))
    path.write_text(yaml.safe_dump(after | {"validation": []}))
    train(recipe=str(path), out=str(tmp_path / "fourth"), steps=2)
    assert Checkpoint.load(tmp_path / "fourth").digest == made.digest


def test_a_held_out_record_is_not_trained_on(recipe: Path, record: Path, tmp_path: Path) -> None:
    from flows.train import train

    copy = tmp_path / "copy.nc"
    copy.write_bytes(record.read_bytes())
    content = yaml.safe_load(recipe.read_text()) | {"validation": [str(copy)]}
    recipe.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=r"copy.nc is held out and holds the same fields as"):
        train(recipe=str(recipe), out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_of_a_recipe_is_named(recipe: Path) -> None:
    from flows.train import train

    recipe.write_text(recipe.read_text() + "colour: blue\n")
    with pytest.raises(Exception, match="colour"):
        train(recipe=str(recipe))
