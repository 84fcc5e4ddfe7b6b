"""Commands that publish: one partition, a span of dates, what is new."""

from __future__ import annotations

from typing import Annotated

import typer

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
from flows.terminal import console, told

app = typer.Typer()


@app.command()
def downscale(
    partition: Annotated[str, typer.Argument(help="From a plan, e.g. 000240-000480_m000-004.")],
    source: Source = "gcm_demo",
    product: ProductName = None,
    checkpoint: CheckpointName = None,
    members: Members = 4,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
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
    with told():
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
    steps: Steps = None,
    solver: Solver = None,
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
    with told():
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
    steps: Steps = None,
    solver: Solver = None,
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
    with told():
        from flows.nightly import nightly as flow

        shared |= {"lag_days": lag_days, "wait_hours": wait_hours, "recheck": recheck}
        console.print(str(flow(open_end=open_end, fan_out=fan_out, **shared)))
