"""Train a checkpoint and keep its curves, settings and files in MLflow."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact
from pydantic import BaseModel, ConfigDict

from stvd.baselines.unet import UNetBaseline
from stvd.checkpoint import CARD, WEIGHTS, Card, Checkpoint
from stvd.diagnostics.evaluation_figures import figures
from stvd.engine import Engine
from stvd.evaluation import evaluate
from stvd.event_file import read_source
from stvd.fingerprint import fingerprint
from stvd.model_card import model_card
from stvd.optimisation import Progress
from stvd.recipe import Recipe, train_recipe
from stvd.source import Source
from stvd.split import split
from tasks.progress import reporting
from tasks.registration import register
from tasks.registry import README
from tasks.tracking import Run, tracked

log = logging.getLogger("stvd.training")

SHOWN_MEMBERS = 3


class Trained(BaseModel):
    """A checkpoint that was trained; `model` is its address in the registry, where it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    digest: str
    model: str | None = None


@task(name="train")
def train_checkpoint(
    recipe: Recipe,
    out: str,
    sources: list[Source],
    validation: list[Source],
    device: str,
) -> Trained:
    """Train, or go on training, write the checkpoint to `out` and register it as a challenger.

    Parameters
    ----------
    sources, validation : the records of the recipe, trained on and held out
    """
    with (
        tracked(
            experiment="training",
            name=recipe.name,
            key=f"train {fingerprint(recipe=recipe)} {Path(out).name}",
            tags={"stvd.kind": "training", "stvd.checkpoint": recipe.name},
        ) as run,
        run.system_metrics(),
        reporting(f"training {recipe.name}") as report,
    ):
        run.parameters(recipe.model_dump(mode="json"))
        _keep_split(run, recipe, sources, validation)

        def on_log(progress: Progress) -> None:
            curves = progress.model_dump(exclude={"step", "steps"})
            run.metrics(curves, step=progress.step)
            report(progress.step, progress.steps)

        checkpoint = train_recipe(
            recipe,
            out,
            catalog=sources[0].catalog,
            root=sources[0].data_root,
            device=device,
            on_log=on_log,
        )
        made = _keep(run, checkpoint, recipe, Path(out))
        if isinstance(checkpoint, Checkpoint):
            _keep_samples(run, checkpoint, (*validation, *sources)[0], device)
        create_link_artifact(run.url, link_text="MLflow run", description=f"training {recipe.name}")
    log.info("%s is in %s, digest %s", checkpoint.name, out, checkpoint.digest[:12])
    if made.model:
        log.info("it is registered as %s", made.model)
    return made


@task(name="register")
def register_checkpoint(folder: str, description: str) -> Trained:
    """Register a checkpoint that lies in a folder, as a challenger."""
    card = Card.read(folder)
    with tracked(
        experiment="training",
        name=f"{card.name}, registered",
        key=f"register {card.digest}",
        tags={"stvd.kind": "registration", "stvd.checkpoint": card.name},
    ) as run:
        run.record(card.training, "training.json")
        readme = Path(folder) / README
        text = readme.read_text() if readme.is_file() else ""
        version = register(run, Path(folder), model_card(card, description, text=text))
    return Trained(folder=folder, digest=card.digest, model=version.uri)


def _keep_split(run: Run, recipe: Recipe, sources: list[Source], validation: list[Source]) -> None:
    records = split(sources, validation, recipe.variables)
    run.record({"records": [r.model_dump(mode="json") for r in records]}, "split.json")
    for record in records:
        run.dataset(record.source, record.digest, record.role, record.model_dump(mode="json"))


def _keep(run: Run, checkpoint: Checkpoint | UNetBaseline, recipe: Recipe, folder: Path) -> Trained:
    """The checkpoint as safetensors and JSON, nothing to unpickle; an STVD is registered too."""
    made = Trained(folder=str(folder), digest=checkpoint.digest)
    if isinstance(checkpoint, Checkpoint):
        text = model_card(checkpoint.card, recipe.description, recipe.validation)
        return made.model_copy(update={"model": register(run, folder, text).uri})
    run.tags({"stvd.digest": checkpoint.digest})
    for file in (CARD, WEIGHTS):
        run.file(folder / file, "checkpoint")
    return made


def _keep_samples(run: Run, checkpoint: Checkpoint, source: Source, device: str) -> None:
    """Figures of a window in the middle of a record."""
    frames, window = len(source.info.frames), checkpoint.window
    start = max(0, (frames - window) // 2)
    event = read_source(source, frames=f"{start}:{min(start + window, frames)}")
    shown = evaluate(
        checkpoint,
        event,
        members=SHOWN_MEMBERS,
        systems=("stvd", "bicubic"),
        engine=Engine(device=device),
        replicates=0,
    )
    for name, figure in figures(shown).items():
        run.figure(figure, f"samples/{name}.png")
