"""The model registry on a SQLite file, through the client that production uses."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow import MlflowClient, set_tracking_uri
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from stvd.checkpoint import Card, Checkpoint, CheckpointError
from stvd.model_card import model_card
from tasks.registration import register
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    RegistryError,
    Version,
    annotate,
    at_alias,
    fetch,
    promote,
    resolve,
    versions,
)
from tasks.tracking import tracked


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("registry")
    set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    set_tracking_uri(None)


def renamed(folder: Path, name: str, out: Path) -> Path:
    """A copy of a checkpoint under another name, and so of another model."""
    card = Card.read(folder)
    shutil.copytree(folder, out)
    (out / "checkpoint.json").write_text(card.model_copy(update={"name": name}).model_dump_json())
    return out


def retrained(folder: Path, out: Path) -> Path:
    """The same model with other weights."""
    old = Checkpoint.load(folder)
    network = old.network
    with torch.no_grad():
        next(network.parameters()).add_(0.5)
    Checkpoint.create(old.name, network, old.channels, old.card.grid, {}, out)
    return out


def registered(folder: Path) -> Version:
    card = Card.read(folder)
    with tracked("training", card.name, key=f"register {card.digest} {card.name}") as run:
        return register(run, folder, model_card(card, "rain of a test"))


def kept(version: Version) -> Path:
    """Where the registry has the files of a version."""
    source = MlflowClient().get_model_version(version.name, version.version).source
    return Path(source.removeprefix("file://"))


@pytest.fixture
def model(
    store: Path, tiny_checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Path:
    """A checkpoint of a model that only this test has."""
    name = request.node.name.split("[")[0].removeprefix("test_")[:40]
    return renamed(tiny_checkpoint, name, tmp_path / "first")


def test_a_checkpoint_is_registered_once_and_challenges(model: Path) -> None:
    version = registered(model)
    card = Card.read(model)
    assert (version.version, version.digest) == ("1", card.digest)
    assert version.aliases == (CHALLENGER,)
    assert registered(model) == version
    assert versions(version.name) == [version]
    said = MlflowClient().get_model_version(version.name, "1").description
    assert "rain of a test" in said
    assert card.digest in said


def test_a_version_has_a_signature_and_nothing_to_unpickle(model: Path) -> None:
    version = registered(model)
    files = {f.name for f in kept(version).iterdir()}
    assert files == {"MLmodel", "README.md", "checkpoint.json", "model.safetensors"}
    about = Model.load(str(kept(version)))
    assert about.signature.inputs.input_names() == ["pr", "prw", "orog"]
    assert about.signature.outputs.input_names() == ["pr"]
    assert list(about.flavors) == ["stvd"]
    with pytest.raises(MlflowException, match="python_function"):
        mlflow.pyfunc.load_model(version.uri)


def test_a_version_is_fetched_whole_and_can_be_loaded(model: Path, tmp_path: Path) -> None:
    version = registered(model)
    folder = fetch(resolve(f"models:/{version.name}@challenger"), tmp_path / "models")
    assert Checkpoint.load(folder).digest == Card.read(model).digest
    assert fetch(version, tmp_path / "models") == folder
    assert [f.name for f in folder.parent.iterdir()] == [version.digest]  # nothing is left over


def test_what_was_damaged_since_is_fetched_again(model: Path, tmp_path: Path) -> None:
    version = registered(model)
    weights = fetch(version, tmp_path) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    fetch(version, tmp_path)
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("file", ["model.safetensors", "checkpoint.json", "README.md"])
def test_files_altered_in_the_registry_are_refused(file: str, model: Path, tmp_path: Path) -> None:
    version = registered(renamed(model, f"altered_{file}", tmp_path / "named"))
    (kept(version) / "evil.pkl").write_bytes(b"cos\nsystem\n")
    assert not (fetch(version, tmp_path / "before") / "evil.pkl").exists()
    data = bytearray((kept(version) / file).read_bytes())
    data[len(data) // 2] ^= 1
    (kept(version) / file).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=f"{file} of .* is not the file that"):
        fetch(version, tmp_path / "after")
    assert not list((tmp_path / "after").rglob("model.safetensors"))
    (kept(version) / file).unlink()
    with pytest.raises(CheckpointError, match=f"cannot be fetched from .*{file}"):
        fetch(version, tmp_path / "after")


def test_another_checkpoint_in_the_place_of_a_version_is_refused(
    model: Path, tmp_path: Path
) -> None:
    version = registered(model)
    other = retrained(model, tmp_path / "other")  # whole in itself, and not what was registered
    shutil.copytree(other, kept(version), dirs_exist_ok=True)
    with pytest.raises(CheckpointError, match="is not the file that was registered"):
        fetch(version, tmp_path / "models")


def test_a_run_that_trains_anew_leaves_its_earlier_version_alone(
    model: Path, tmp_path: Path
) -> None:
    found = []
    for folder in (model, retrained(model, tmp_path / "anew")):
        with tracked("training", "same", key="same recipe, same folder") as run:
            found.append(register(run, folder, "a card"))
    first, second = (fetch(version, tmp_path / "models") for version in found)
    assert Checkpoint.load(first).digest == Card.read(model).digest
    assert Checkpoint.load(second).digest != Checkpoint.load(first).digest


def test_champions_follow_each_other_and_can_come_back(model: Path, tmp_path: Path) -> None:
    first = registered(model)
    promote(first, expected=None, why="first model")
    second = registered(retrained(model, tmp_path / "second"))
    assert (second.version, second.aliases) == ("2", (CHALLENGER,))
    name = first.name
    promote(second, expected=resolve(first.uri), why="better")
    assert at_alias(name, CHALLENGER) is None
    champion = resolve(f"models:/{name}@champion")
    assert (champion.version, champion.promoted, champion.replaced) == ("2", "better", "1")
    promote(resolve(f"models:/{name}/1"), expected=champion, why="2 rains too much")
    assert at_alias(name, CHAMPION) == resolve(f"models:/{name}/1")
    # What was champion is not made a challenger by registering it again.
    assert registered(tmp_path / "second").aliases == ()


def test_a_champion_that_changed_meanwhile_is_not_replaced(model: Path, tmp_path: Path) -> None:
    first = registered(model)
    second = registered(retrained(model, tmp_path / "second"))
    promote(first, expected=None, why="first model")
    with pytest.raises(RegistryError, match="another champion than there is now, version 1"):
        promote(second, expected=None, why="better than nothing")
    assert resolve(f"models:/{first.name}@champion").version == "1"


def test_an_evaluation_is_written_beside_the_card_once(model: Path) -> None:
    version = registered(model)
    for said in ("refused", "promoted"):
        annotate(version, {"stvd.verdict": said}, f"It was {said}.")
    found = MlflowClient().get_model_version(version.name, version.version)
    assert found.tags["stvd.verdict"] == "promoted"
    assert "rain of a test" in found.description
    assert found.description.endswith("## Evaluation\n\nIt was promoted.\n")
    assert "refused" not in found.description


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("models:/stvd-nowhere@champion", "the models of"),
        ("models:/{name}@nobody", "the versions 1 and the aliases challenger"),
        ("models:/{name}/7", "the versions 1"),
        ("models:/{name}", "no registered model"),
        ("models:/../{name}/1", "no registered model"),
        ("models:/../1", "no registered model"),
    ],
)
def test_an_address_that_leads_nowhere_says_what_there_is(
    address: str, said: str, model: Path
) -> None:
    version = registered(model)
    with pytest.raises(RegistryError, match=said):
        resolve(address.format(name=version.name))


def test_a_version_that_somebody_else_registered_is_refused(store: Path) -> None:
    client = MlflowClient()
    client.create_registered_model("stvd-foreign")
    with tracked("training", "foreign", key="foreign") as run:
        client.create_model_version("stvd-foreign", run.folder_uri("x"), run.id)
    with pytest.raises(RegistryError, match=r"no tags stvd\.digest"):
        resolve("models:/stvd-foreign/1")
    assert versions("stvd-foreign") == []
