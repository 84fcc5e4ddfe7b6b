"""Train a checkpoint and keep its curves, settings and files in MLflow."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact

from stvd.baselines.quantile_mapping import FILE as MAPPING
from stvd.baselines.unet import UNetBaseline
from stvd.checkpoint import CARD, WEIGHTS, Checkpoint
from stvd.fingerprint import fingerprint
from stvd.recipe import Recipe, train_recipe
from stvd.training import Progress
from tasks.progress import reporting
from tasks.tracking import Run, tracked

log = logging.getLogger("stvd.training")


@task(name="train")
def train_checkpoint(
    recipe: Recipe, out: str, catalog: str, data_root: str | None, device: str
) -> str:
    """Train, or go on training, and write the checkpoint to `out`; its digest."""
    with (
        tracked(
            experiment="training",
            name=recipe.name,
            key=f"train {fingerprint(recipe=recipe)} {Path(out).name}",
            tags={"stvd.kind": "training", "stvd.checkpoint": recipe.name},
        ) as run,
        reporting(f"training {recipe.name}") as report,
    ):
        run.parameters(_flat(recipe.model_dump(mode="json")))

        def on_log(progress: Progress) -> None:
            curves = progress.model_dump(exclude={"step", "steps"})
            run.metrics(curves, step=progress.step)
            report(progress.step, progress.steps)

        checkpoint = train_recipe(
            recipe, out, catalog=catalog, root=data_root, device=device, on_log=on_log
        )
        _keep(run, checkpoint, Path(out))
        create_link_artifact(run.url, link_text="MLflow run", description=f"training {recipe.name}")
    log.info("%s is in %s, digest %s", checkpoint.name, out, checkpoint.digest[:12])
    return checkpoint.digest


def _keep(run: Run, checkpoint: Checkpoint | UNetBaseline, folder: Path) -> None:
    """The checkpoint as safetensors and JSON, nothing to unpickle, and the quantile mapping beside it."""
    run.tags({"stvd.digest": checkpoint.digest})
    for file in (CARD, WEIGHTS, MAPPING):
        if (folder / file).exists():
            run.file(folder / file, "checkpoint")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of names, `training.steps`."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return flat
