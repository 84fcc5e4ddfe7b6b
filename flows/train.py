"""Train a checkpoint from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import find_source, locate_checkpoint
from flows.settings import Settings
from stvd.engine import Engine
from stvd.recipe import START, Recipe
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
        wanted = wanted.shortened(steps)
    return _train(wanted, out or str(settings.checkpoints / wanted.name), settings)


def _train(recipe: Recipe, folder: str, settings: Settings) -> str:
    """Train a recipe, and first the one that it starts from, as a run of its own."""
    start = recipe.start
    if isinstance(start, Recipe):
        start = _train(start, str(Path(folder) / START), settings)
    elif start:
        start = str(locate_checkpoint(start, settings)[0])
    recipe = recipe.model_copy(update={"start": start})
    sources, held_out = (
        [find_source(name, settings) for name in names]
        for names in (recipe.sources, recipe.validation)
    )
    device = Engine(device=settings.device).resolve().device
    train_checkpoint(recipe, folder, sources, held_out, device)
    return folder
