"""What a schedule runs: publish what became available, then refresh the diagnostics."""

from __future__ import annotations

import logging

from prefect import flow

from flows.diagnose import diagnose
from flows.execution import run
from flows.parameters import (
    Amount,
    CellFrames,
    Members,
    Seed,
    Solver,
    Steps,
    Windows,
    Years,
    production,
)
from tasks.planning import Summary, plan, summarise

log = logging.getLogger("stvd.nightly")


@flow(name="nightly", flow_run_name="{source}")
def nightly(
    source: str = "gcm_demo",
    product: str | None = None,
    checkpoint: str | None = None,
    members: Members = 4,
    seed: Seed = 0,
    steps: Steps = 8,
    solver: Solver = "dpmpp2m",
    conserve: bool = True,
    windows: Windows | None = None,
    cell_frames: CellFrames | None = None,
    open_end: bool = False,
    fan_out: bool = False,
    regions: str | None = None,
    region_name: str | None = None,
    event_threshold: Amount | None = None,
    reference: Years | None = None,
) -> Summary:
    """Publish every partition whose input has arrived, late ones too; what is there stays.

    Args:
        source: Coarse record, by its name in the catalog, or the path of a data file.
        product: Name or URI of the product. Left empty, the name of the source.
        checkpoint: Name or folder of the model, or models:/NAME@ALIAS of the registry. Left empty,
            the one that suits the source best.
        members: Size of the ensemble.
        seed: Of the noise. Another seed is another ensemble, so another product.
        steps: Network calls a sample.
        solver: How a sample is drawn, dpmpp2m or ddim.
        conserve: Keep the mean of each coarse cell as it is in the source.
        windows: overlapping joins windows without a seam, independent samples each for itself. Left
            empty, as the product has them, overlapping in a new one.
        cell_frames: Frames of a partition when the product is new. Left empty, about a month.
        open_end: Publish the last cell of a record that has ended. Left off, a cell waits for the
            input after it, with which its last windows overlap.
        fan_out: Give the partitions to workers. Left off, they run here, one after another.
        regions: Path of regions for the diagnostics, as in diagnose.
        region_name: Property of its features that names them. Left empty, the usual ones.
        event_threshold: In mm per hour of a step; the largest events above it are listed.
        reference: Years such as 1991-2020, against which change and very wet days are counted.
    """
    how = production(
        source=source,
        product=product,
        checkpoint=checkpoint,
        members=members,
        seed=seed,
        steps=steps,
        solver=solver,
        conserve=conserve,
        windows=windows,
        cell_frames=cell_frames,
        open_end=open_end,
    )
    planned = plan(how, None, None, "missing")
    if not any(item.runs for item in planned):
        log.info("%s: nothing new in %s", how.name, source)
        return summarise(how, planned, {})
    summary = run(how, planned, fan_out=fan_out)
    diagnose(
        product=how.product,
        source=source,
        regions=regions,
        region_name=region_name,
        event_threshold=event_threshold,
        reference=reference,
    )
    return summary
