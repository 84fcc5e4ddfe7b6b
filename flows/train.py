"""Train a checkpoint from a recipe."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import find_source
from flows.settings import Settings
from stvd.engine import Engine
from stvd.recipe import Recipe
from tasks.training import train_checkpoint


@flow(name="train", flow_run_name="{recipe}")
def train(
    recipe: str,
    out: str | None = None,
    steps: Annotated[int, Field(ge=1)] | None = None,
) -> str:
    """Train a model, or go on with one that was interrupted; returns the folder of the checkpoint.

    It is registered as the challenger of its model, for `evaluate` to compare with the champion.

    Args:
        recipe: Path of a recipe, e.g. recipes/gcm.yaml: records, channels, size and settings.
        out: Folder of the checkpoint. Left empty, the recipe's name among the checkpoints.
        steps: Optimiser steps in place of the recipe's, e.g. 20 for a trial.
    """
    settings = Settings()
    wanted = Recipe.read(recipe)
    if steps is not None:
        warmup = min(wanted.training.warmup, steps // 10)
        training = wanted.training.model_copy(update={"steps": steps, "warmup": warmup})
        wanted = wanted.model_copy(update={"training": training})
    folder = out or str(settings.checkpoints / wanted.name)
    sources, held_out = (
        [find_source(name, settings) for name in names]
        for names in (wanted.sources, wanted.validation)
    )
    device = Engine(device=settings.device).resolve().device
    train_checkpoint(wanted, folder, sources, held_out, device)
    return folder
