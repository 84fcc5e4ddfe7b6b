"""What a schedule runs: publish what became available, then refresh the diagnostics."""

from __future__ import annotations

import logging
from typing import Annotated

from prefect import State, flow
from pydantic import Field

from flows.diagnose import diagnose
from flows.execution import ended, lanes, run
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
from stvd.production import Production
from stvd.published_tables import diagnosed
from tasks.arrival import InputMissing, await_input
from tasks.planning import Summary, plan, summarise

log = logging.getLogger("stvd.nightly")


@flow(name="nightly", flow_run_name="{source}")
def nightly(
    source: str = "gcm_demo",
    product: str | None = None,
    checkpoint: str | None = None,
    members: Members = 4,
    lag_days: Annotated[float, Field(ge=0)] | None = None,
    wait_hours: Annotated[float, Field(ge=0, le=24)] = 0,
    recheck: Annotated[int, Field(ge=0)] = 3,
    fan_out: bool = False,
    seed: Seed = 0,
    steps: Steps | None = None,
    solver: Solver | None = None,
    conserve: bool = True,
    windows: Windows | None = None,
    cell_frames: CellFrames | None = None,
    open_end: bool = False,
    regions: str | None = None,
    region_name: str | None = None,
    event_threshold: Amount | None = None,
    reference: Years | None = None,
) -> Summary | State[Summary]:
    """Publish every partition whose input has arrived, late ones too; what is there stays.

    Args:
        source: Coarse record, by its name in the catalog, or the path of a data file.
        product: Name or URI of the product. Left empty, the name of the source.
        checkpoint: Name or folder of the model, or models:/NAME@ALIAS of the registry. Left empty,
            the one that suits the source best.
        members: Size of the ensemble.
        lag_days: The record should reach to so many days before now; if it does not, the run fails
            once it has published what is whole. Left empty, nothing is expected.
        wait_hours: How long to wait for that, looking again every ten minutes.
        recheck: How many of the last published partitions to compare with their input as it is now.
            What differs, and all that another model made, is reported as stale; replacing it is for
            a backfill.
        fan_out: Give the partitions to workers. Left off, they run here, one after another.
        seed: Of the noise. Another seed is another ensemble, so another product.
        steps: Network calls a sample. Left empty, as the model says.
        solver: How a sample is drawn, dpmpp2m_sde, dpmpp2m or ddim. Left empty, as the model says.
        conserve: Keep the mean of each coarse cell as it is in the source.
        windows: overlapping joins windows without a seam, independent samples each for itself. Left
            empty, as the product has them, overlapping in a new one.
        cell_frames: Frames of a partition when the product is new. Left empty, about a month.
        open_end: Publish the last cell of a record that has ended. Left off, a cell waits for the
            input after it, with which its last windows overlap.
        regions: Path of regions for the diagnostics, as in diagnose.
        region_name: Property of its features that names them. Left empty, the usual ones.
        event_threshold: In mm per hour of a step; the largest events above it are listed.
        reference: Years such as 1991-2020, against which change and very wet days are counted.
    """

    def asked() -> Production:
        return production(
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

    problems = await_input(asked(), lag_days, wait_hours)
    how = asked()  # as the record is by now
    at_once = lanes("nightly") if fan_out else 1
    planned = plan(how, None, None, "missing", recheck=recheck, at_once=at_once)
    if any(item.runs for item in planned):
        summary = run(how, planned, asker="nightly", fan_out=fan_out)
    else:
        log.info("%s: nothing new in %s", how.name, source)
        summary = summarise(how, planned, {})
    if not (summary.planned or _reported(how)):
        diagnose(
            product=how.product,
            source=source,
            regions=regions,
            region_name=region_name,
            event_threshold=event_threshold,
            reference=reference,
        )
    if problems and not summary.failed:
        raise InputMissing(f"{how.product}: {'; '.join(problems)}. This night: {summary}")
    return ended(summary)


def _reported(how: Production) -> bool:
    """Whether the diagnostics show all that is published, or there is nothing to show."""
    stands = how.open()
    if stands is None or not stands.ledger():
        return True
    return diagnosed(how.product, storage=how.storage) == stands.snapshot
