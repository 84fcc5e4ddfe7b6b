"""The `stvd` command. Each command imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.models import app as models
from flows.options import (
    CellFrames,
    CheckpointName,
    Conserve,
    EventThreshold,
    FanOut,
    LagDays,
    Members,
    Mode,
    OpenEnd,
    ProductName,
    Recheck,
    Reference,
    RegionName,
    Regions,
    Seed,
    Solver,
    Source,
    Steps,
    WaitHours,
    Windows,
    production_options,
)
from flows.settings import Settings
from flows.terminal import console, state
from flows.terminal import told as _told

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Downscale coarse climate-model rain to ensembles of fine-grid rain video.\n\n"
    "Start with `stvd demo`; then `stvd info` lists the records you can use and `stvd products` "
    "what has been made. Every command has examples: `stvd backfill --help`.",
)
app.add_typer(models, name="models")


@app.callback()
def main(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Prefect's own log.")
    ] = False,
) -> None:
    state["verbose"] = verbose


@app.command()
def demo(
    source: Source = "gcm_demo",
    members: Members = 4,
    product: ProductName = None,
    checkpoint: CheckpointName = None,
) -> None:
    """Run the whole pipeline on a sample and show what it makes.

    Opens the record, checks it, samples an ensemble, commits it to a product, computes diagnostics
    and scores, and logs all to MLflow. A second run finds everything there.

    - `stvd demo`
    - `stvd demo --source radar_mch_20150515`
    - `stvd demo --source my_record.nc`
    """
    with _told():
        from flows.demonstration import demonstration, show, standing

        how = demonstration(source, members, product, checkpoint)
        report = standing(how, Settings())
        again = report is not None
        if report is None:
            when = how.axis.period(how.source.info.frames)
            console.print(f"Downscaling {how.source.name}, {when}, with {how.checkpoint}")
            from flows.demo import demo as flow

            report = flow(source=source, members=members, product=product, checkpoint=checkpoint)
        show(report, again, console)


@app.command()
def stack(
    stop: Annotated[bool, typer.Option("--stop", help="End the stack that runs.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what runs.")] = False,
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    store: Annotated[
        bool, typer.Option("--store", help="Products and artifacts in an S3 store of its own.")
    ] = False,
    store_port: Annotated[int, typer.Option(help="First of the ports of the object store.")] = 8333,
) -> None:
    """Start Prefect, MLflow and a worker for each queue on this machine, until Ctrl-C.

    - `stvd stack` open the two addresses that it prints
    - `stvd stack --store` with an object store (extra `store`)
    - `stvd stack --prefect-port 4300` where 4200 is taken
    - `stvd stack --status` addresses, and whether each service is well
    - `stvd stack --stop` from another terminal
    """
    from flows import stack as local

    with _told(quiet=False):
        settings = Settings()
        running = local.running(settings)
        if status:
            console.print(_addresses(running) if running else "No stack runs here")
            for name, well in (local.health(running) if running else {}).items():
                console.print(f"{name:<15}{'well' if well else 'DOWN'}")
        elif stop:
            console.print("Stopped" if local.stop(settings) else "No stack ran here")
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            ports = local.Ports(
                prefect=prefect_port, mlflow=mlflow_port, store=store_port if store else None
            )
            with local.stack(settings, ports, say=console.print) as started:
                console.print(_addresses(started) + "\nCtrl-C stops everything")
                while True:
                    time.sleep(1)
                    local.check(started, settings)


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
    with _told():
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
    with _told():
        from flows.train import train as flow

        console.print(f"Checkpoint: {flow(recipe=recipe, out=out, steps=steps)}")


@app.command()
def downscale(
    partition: Annotated[str, typer.Argument(help="From a plan, e.g. 000240-000480_m000-004.")],
    source: Source = "gcm_demo",
    product: ProductName = None,
    checkpoint: CheckpointName = None,
    members: Members = 4,
    seed: Seed = 0,
    steps: Steps = 8,
    solver: Solver = "dpmpp2m",
    conserve: Conserve = True,
    windows: Windows = None,
    cell_frames: CellFrames = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other numbers.")] = False,
) -> None:
    """Sample one partition, by the name that a plan gives it.

    - `stvd backfill --source gcm_jan --cell-frames 20 --dry-run`
    - `stvd downscale 000020-000040_m000-004 --source gcm_jan --cell-frames 20`
    """
    shared = production_options(locals())
    with _told():
        from flows.downscale import downscale as flow

        outcome = flow(partition=partition, replace=replace, **shared)
        did = "is published" if outcome.published else "was there already"
        console.print(
            f"{outcome.partition} {did} in {outcome.product}, snapshot {outcome.snapshot}"
        )


@app.command()
def backfill(
    source: Source = "gcm_demo",
    start: Annotated[str | None, typer.Option(help="First date, e.g. 2001-02-03.")] = None,
    end: Annotated[str | None, typer.Option(help="Date to stop at, itself excluded.")] = None,
    mode: Mode = "missing",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    product: ProductName = None,
    checkpoint: CheckpointName = None,
    members: Members = 4,
    seed: Seed = 0,
    steps: Steps = 8,
    solver: Solver = "dpmpp2m",
    conserve: Conserve = True,
    windows: Windows = None,
    cell_frames: CellFrames = None,
    open_end: OpenEnd = True,
    fan_out: FanOut = False,
) -> None:
    """Publish what a product lacks between two dates; run it again to continue.

    - `stvd backfill --source gcm_jan --cell-frames 20 --dry-run`
    - `stvd backfill --source gcm_jan --cell-frames 20 --start 2000-01-05 --end 2000-01-10`
    - `stvd backfill --source gcm_jan --mode replace --start 2000-01-05 --end 2000-01-06`
    """
    shared = production_options(locals())
    with _told():
        if dry_run:
            from flows.listing import plan
            from flows.parameters import production

            how = production(open_end=open_end, **shared)
            console.print(*plan(how, start, end, mode))
            return
        from flows.backfill import backfill as flow

        shared |= {"open_end": open_end, "fan_out": fan_out}
        console.print(str(flow(start=start, end=end, mode=mode, **shared)))


@app.command()
def nightly(
    source: Source = "gcm_demo",
    product: ProductName = None,
    checkpoint: CheckpointName = None,
    members: Members = 4,
    seed: Seed = 0,
    steps: Steps = 8,
    solver: Solver = "dpmpp2m",
    conserve: Conserve = True,
    windows: Windows = None,
    cell_frames: CellFrames = None,
    open_end: OpenEnd = False,
    lag_days: LagDays = None,
    wait_hours: WaitHours = 0,
    recheck: Recheck = 3,
    fan_out: FanOut = False,
    regions: Regions = None,
    region_name: RegionName = None,
    event_threshold: EventThreshold = None,
    reference: Reference = None,
) -> None:
    """Publish what has become available, then refresh the diagnostics. Nothing new: no work.

    - `stvd nightly --source gcm_jan --cell-frames 20`
    - `stvd nightly --source live --lag-days 2 --wait-hours 3`
    """
    shared = production_options(locals()) | {
        "regions": regions,
        "region_name": region_name,
        "event_threshold": event_threshold,
        "reference": reference,
    }
    with _told():
        from flows.nightly import nightly as flow

        shared |= {"lag_days": lag_days, "wait_hours": wait_hours, "recheck": recheck}
        console.print(str(flow(open_end=open_end, fan_out=fan_out, **shared)))


@app.command()
def diagnose(
    product: Annotated[str, typer.Argument(help="Name or URI of a product, see `stvd products`.")],
    regions: Regions = None,
    region_name: RegionName = None,
    event_threshold: EventThreshold = None,
    event_amount: Annotated[
        float | None, typer.Option(help="mm of a day, whose return period is mapped.")
    ] = None,
    reference: Reference = None,
    reference_product: Annotated[
        str | None, typer.Option(help="Product with these years. [default: the product itself]")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option(help="File of `stvd evaluate --calls`, to show its curves.")
    ] = None,
) -> None:
    """Compute annual and extreme-event diagnostics of a product, and scores where there is truth.

    - `stvd diagnose gcm_demo`
    - `stvd diagnose gcm_demo --regions basins.geojson --event-threshold 5`
    - `stvd diagnose ssp585 --reference 1991-2020 --reference-product historical`
    """
    with _told():
        from flows.diagnose import diagnose as flow

        report = flow(
            product=product,
            regions=regions,
            region_name=region_name,
            event_threshold=event_threshold,
            event_amount=event_amount,
            reference=reference,
            reference_product=reference_product,
            evaluation=evaluation,
        )
        for name, path in {**report.pages, **report.figures, **report.tables}.items():
            console.print(f"{name:<20}{path}", soft_wrap=True)


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Option(help="Name or folder of the model.")],
    data: Annotated[str, typer.Option(help="A data file with fine pr, or a source with truth.")],
    json: Annotated[Path | None, typer.Option(help="File to write the scores to.")] = None,
    members: Members = 10,
    seed: Seed = 0,
    steps: Steps = 8,
    solver: Solver = "dpmpp2m",
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
    with _told():
        from flows.evaluation import run

        run(
            checkpoint,
            data,
            json,
            members=members,
            seed=seed,
            sampler={"steps": steps, "solver": solver, "conserve": conserve}
            | ({} if windows is None else {"windows": windows}),
            systems=[s.strip() for s in systems.split(",") if s.strip()],
            frames=frames,
            region=region,
            figures=figures,
            calls=[int(c) for c in calls.split(",")] if calls else (),
            texture=texture,
            device=device,
            console=console,
        )


@app.command()
def products(
    name: Annotated[str | None, typer.Argument(help="One product, with its partitions.")] = None,
) -> None:
    """List the products that were made here, or the partitions of one.

    - `stvd products`
    - `stvd products gcm_demo`
    """
    with _told():
        from flows import listing

        settings = Settings()
        table = listing.partitions(name, settings) if name else listing.products(settings)
        console.print(table)


@app.command()
def quarantine(
    product: Annotated[str, typer.Argument(help="Name or URI of a product.")],
    release: Annotated[
        str | None, typer.Option(help="Branch to publish in spite of its findings.")
    ] = None,
    drop: Annotated[str | None, typer.Option(help="Branch to let go of.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Release over what stands.")] = False,
) -> None:
    """List samples that were not believed and so not published; release or drop them.

    Look at them with `open_product(URI, snapshot=SNAPSHOT)`.

    - `stvd quarantine gcm_demo`
    - `stvd quarantine gcm_demo --drop quarantine.000000-000020_m000-004.0a1b2c3d4e5f`
    - `stvd quarantine gcm_demo --release quarantine.000000-000020_m000-004.0a1b2c3d4e5f`
    """
    with _told():
        from flows import listing
        from stvd.product import quarantine as held

        settings = Settings()
        uri = settings.product_uri(product)
        if release and drop:
            raise ValueError("release a branch or drop it, not both")
        if release:
            done = held.release(uri, release, replace=replace, storage=settings.storage)
            console.print(f"{done.partition} is published in {uri}, snapshot {done.snapshot}")
        elif drop:
            held.drop(uri, drop, storage=settings.storage)
            console.print(f"{drop} is gone")
        else:
            console.print(listing.quarantined(product, settings))


@app.command()
def info(
    source: Annotated[str | None, typer.Argument(help="One record, in full.")] = None,
    preset: Annotated[str | None, typer.Option(help="A size of the model, with its cost.")] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Fine cells, rows and columns, of --preset.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a window of --preset.")] = None,
    inputs: Annotated[int | None, typer.Option(min=1, help="Channels of --preset.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print --preset as JSON.")] = False,
) -> None:
    """List the records that can be used, describe one, or say what a size of the model costs.

    - `stvd info`
    - `stvd info gcm_demo`
    - `stvd info --preset paper --json`
    - `stvd info --preset small --size 160 320 --inputs 2`
    """
    with _told():
        if preset:
            if source:
                raise ValueError("info describes a record or a preset, not both")
            from flows.cost import as_json, cost, table

            found = cost(preset, inputs=inputs, frames=frames, size=size)
            if json:
                typer.echo(as_json(preset, found))
            else:
                console.print(table(preset, found))
            return
        if json or size or frames or inputs:
            raise ValueError("--size, --frames, --inputs and --json go with --preset NAME")
        from flows import listing

        settings = Settings()
        console.print(listing.source(source, settings) if source else listing.sources(settings))


def _addresses(running: Any) -> str:
    store = f"\nS3       {running.store_url}" if running.store_url else ""
    return f"Prefect  {running.prefect_url}\nMLflow   {running.mlflow_url}{store}"
