"""Putting a checkpoint into the model registry: its files with a run, a version that points there."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from stvd.baselines.quantile_mapping import FILE as MAPPING
from stvd.checkpoint import CARD, WEIGHTS, Card, verify
from tasks.registry import (
    CHALLENGER,
    DIGEST,
    FILES,
    FOLDER,
    NAME,
    README,
    SCHEME,
    RegistryError,
    Version,
    resolve,
    sha256_of,
    versions,
)
from tasks.tracking import Run

MLMODEL = "MLmodel"


def register(run: Run, folder: Path, text: str) -> Version:
    """Keep a checkpoint with a run and register it as a version, which becomes the challenger.

    A digest that is registered already stays the version that it is, with its aliases.

    Parameters
    ----------
    folder : of the checkpoint
    text : its card, in Markdown

    Raises
    ------
    CheckpointError
        If the folder holds no whole checkpoint of an STVD.
    """
    card = verify(folder, Card.read(folder).digest)
    name = model_name(card)
    run.tags({DIGEST: card.digest, "stvd.model": name})
    client = MlflowClient()
    _create(client, name)
    known = versions(name)
    same = [v for v in known if v.digest == card.digest]
    if same and (same[0] != known[0] or same[0].aliases or same[0].promoted):
        return same[0]
    made = same[0].version if same else _add(client, card, run, folder, text)
    client.set_registered_model_alias(name, CHALLENGER, made)
    return resolve(f"{SCHEME}{name}/{made}")


def _add(client: MlflowClient, card: Card, run: Run, folder: Path, text: str) -> str:
    """A new version, in a place that no other checkpoint of the run will take."""
    place = f"{FOLDER}/{card.digest[:12]}"
    files = {README: hashlib.sha256(text.encode()).hexdigest()}
    for file in (CARD, WEIGHTS, MAPPING):
        if sha256 := sha256_of(folder / file):
            run.file(folder / file, place)
            files[file] = sha256
    run.text(text, f"{place}/{README}")
    run.text(_mlmodel(card, run, place), f"{place}/{MLMODEL}")
    made = client.create_model_version(
        model_name(card),
        source=run.folder_uri(place),
        run_id=run.id,
        tags={DIGEST: card.digest, FILES: json.dumps(files), "stvd.run_url": run.url},
        description=text,
    )
    return str(made.version)


def model_name(card: Card) -> str:
    """The registered model that versions of a checkpoint belong to.

    Raises
    ------
    RegistryError
        If the name of the checkpoint does not fit an address.
    """
    if not re.fullmatch(NAME, card.name):
        raise RegistryError(
            f"{card.name!r} cannot be registered: name it with letters, digits, . _ -"
        )
    return f"stvd-{card.name}"


def _mlmodel(card: Card, run: Run, place: str) -> str:
    """What MLflow shows of a model: what goes in and out; no flavor that it could load by itself."""
    axes = dict.fromkeys(card.channels.variables, 3) | dict.fromkeys(card.channels.statics, 2)
    fields: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype("float32"), (-1,) * n, name) for name, n in axes.items()
    ]
    rain = TensorSpec(np.dtype("float32"), (-1, -1, -1, -1), "pr")
    flavor = {"digest": card.digest, "weights": WEIGHTS, "card": CARD, "format": card.format}
    said = {"in": "time, y, x", "fixed": "y, x", "out": "member, time, y, x"}
    model = Model(
        artifact_path=place,
        run_id=run.id,
        signature=ModelSignature(inputs=Schema(fields), outputs=Schema([rain])),
        flavors={"stvd": flavor},
        metadata={"axes": said, "factor": card.grid.factor},
    )
    return str(model.to_yaml())


def _create(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="Checkpoints of an STVD for one use")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
