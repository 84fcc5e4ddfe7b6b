"""Commands about models: a record to learn from, a training, an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.options import Conserve, Members, Seed, Solver, Steps, Windows
from flows.terminal import console, told

app = typer.Typer()


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="A .nc file or a .zarr store to write.")],
    start: Annotated[str, typer.Option(help="First day, e.g. 2000-07-05.")] = "2000-01-01",
    days: Annotated[float, typer.Option(help="Length, in steps of 0.125 (3 hours).")] = 10,
    truncation: Annotated[int, typer.Option(help="31, 63 or 106 (1.125 degree).")] = 106,
    member: Annotated[int, typer.Option(min=0, help="Initial-condition member.")] = 0,
    factor: Annotated[int, typer.Option(min=2, help="Fine cells a coarse cell and axis.")] = 8,
    spinup_days: Annotated[int, typer.Option(min=0, help="Discarded days at T31.")] = 50,
    adjust_days: Annotated[int, typer.Option(min=0, help="Discarded days at `truncation`.")] = 4,
    terrain: Annotated[
        Path | None, typer.Option(help="File with orog and land_fraction, e.g. data/demo_gcm.nc.")
    ] = None,
    pack_predictors: Annotated[bool, typer.Option(help="Store predictors as int16.")] = False,
) -> None:
    """Simulate a record with a climate model (needs `pip install 'stvd[jcm]'`).

    A killed run goes on where it stopped. A day at T106 takes about a minute of one core.

    - `stvd simulate july.nc --start 2000-07-05 --days 7.5 --terrain data/demo_gcm.nc`
    - `stvd simulate small.zarr --truncation 63 --days 30 --member 3`
    """
    with told():
        from datetime import date

        from stvd.simulate import simulate as run
        from tasks.progress import reporting

        with reporting(f"simulating {out}") as report:
            run(
                out,
                truncation=truncation,
                start=date.fromisoformat(start),
                days=days,
                spinup_days=spinup_days,
                adjust_days=adjust_days,
                member=member,
                factor=factor,
                terrain=terrain,
                pack_predictors=pack_predictors,
                progress=report,
            )
        console.print(f"{out} is written; use it with: stvd demo --source {out}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Path of a recipe, e.g. recipes/gcm.yaml.")],
    out: Annotated[str | None, typer.Option(help="Folder of the checkpoint.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
) -> None:
    """Train a model from a recipe, or go on with a training that was interrupted.

    - `stvd train recipes/gcm.yaml`
    - `stvd train recipes/gcm.yaml --steps 20 --out runs/trial`
    """
    with told():
        from flows.train import train as flow

        console.print(f"Checkpoint: {flow(recipe=recipe, out=out, steps=steps)}")


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Option(help="Name or folder of the model.")],
    data: Annotated[str, typer.Option(help="A data file with fine pr, or a source with truth.")],
    json: Annotated[Path | None, typer.Option(help="File to write the scores to.")] = None,
    members: Members = 10,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
    conserve: Conserve = True,
    windows: Windows = None,
    systems: Annotated[
        str, typer.Option(help="What is scored, of these.")
    ] = "stvd,bicubic,quantile_mapping,rainfarm",
    frames: Annotated[
        str | None, typer.Option(help="Frames to score, e.g. 0:20. [default: all]")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Fine cells y0:y1,x0:x1 to cut out of a file.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder to draw figures into.")] = None,
    calls: Annotated[
        str | None, typer.Option(help="Also scores these numbers of calls, e.g. 2,4,8.")
    ] = None,
    texture: Annotated[
        float | None,
        typer.Option(
            min=0, max=2, help="Scaling exponent of fine rain to ask for. [default: the record's]"
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None, typer.Option(help="[default: STVD_DEVICE]")
    ] = None,
) -> None:
    """Score a model and the classical baselines beside it on a record with truth.

    Cells without data are left out. A record may have any number of frames, and any size that the
    factor divides.

    - `stvd evaluate --checkpoint radar --data event.nc --json scores.json`
    - `stvd evaluate --checkpoint gcm --data data/demo_gcm.nc --frames 0:16 --members 4`
    - `stvd evaluate --checkpoint runs/radar --data event.nc --region 0:128,0:128 --figures shown`
    """
    with told():
        from flows.evaluation import run

        run(
            checkpoint,
            data,
            json,
            members=members,
            seed=seed,
            sampler={"steps": steps, "solver": solver, "conserve": conserve, "windows": windows},
            systems=[s.strip() for s in systems.split(",") if s.strip()],
            frames=frames,
            region=region,
            figures=figures,
            calls=[int(c) for c in calls.split(",")] if calls else (),
            texture=texture,
            device=device,
            console=console,
        )
