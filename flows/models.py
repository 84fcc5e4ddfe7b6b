"""`stvd models`: what is registered, which version is champion, and how another one becomes it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from flows.options import Conserve, Members, Seed, Solver, Steps
from flows.terminal import console, told

Model = Annotated[str, typer.Argument(help="Registered model, e.g. stvd-gcm.")]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Versions of models in the registry of MLflow: list, register, evaluate, promote.",
)


@app.command("list")
def show(model: Model) -> None:
    """List the versions of a model, the newest first.

    - `stvd models list stvd-gcm`
    """
    with told():
        from tasks.registry import versions

        table = Table("version", "aliases", "digest", "became champion because", title=model)
        for v in versions(model):
            table.add_row(v.version, ", ".join(v.aliases), v.digest[:12], v.promoted or "")
        console.print(table)


@app.command()
def register(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder of the checkpoint.")],
    description: Annotated[str, typer.Option(help="What it is for, in a sentence.")] = "",
) -> None:
    """Register a checkpoint as the challenger of its model. `stvd train` does so by itself.

    - `stvd models register gcm`
    - `stvd models register runs/trial --description "twice the width"`
    """
    with told():
        from flows.register import register as flow

        console.print(f"{flow(checkpoint=checkpoint, description=description)}, a challenger")


@app.command()
def evaluate(
    model: Model,
    data: Annotated[list[str], typer.Option(help="Held-out record with truth; may be repeated.")],
    frames: Annotated[str | None, typer.Option(help="Frames to score, e.g. 0:40.")] = None,
    members: Members = 10,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
    conserve: Conserve = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Score, and leave the alias where it is.")
    ] = False,
) -> None:
    """Score the challenger against the champion, and promote it if it is better and calibrated.

    - `stvd models evaluate stvd-gcm --data gcm_demo`
    - `stvd models evaluate stvd-radar --data radar_radolan_val --data radar_mch_20150515 --dry-run`
    """
    with told():
        from flows.evaluate import evaluate as flow

        flow(
            data=data,
            model=model,
            frames=frames,
            members=members,
            seed=seed,
            steps=steps,
            solver=solver,
            conserve=conserve,
            dry_run=dry_run,
        )


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="e.g. models:/stvd-gcm/2")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the version.")],
) -> None:
    """Make a version champion without scoring it: the first one, or an earlier one to roll back.

    - `stvd models promote models:/stvd-gcm@challenger --reason "first model"`
    - `stvd models promote models:/stvd-gcm/2 --reason "3 rains too much over Spain"`
    """
    with told():
        from flows.promote import promote as flow

        console.print(f"{flow(version=version, reason=reason)} is champion")
