"""Have a span of dates published: plan, run what is missing, say what became of it."""

from __future__ import annotations

from typing import Literal

from prefect import State, flow
from prefect.runtime import flow_run

from flows.execution import ended, lanes, run
from flows.parameters import (
    CellFrames,
    Date,
    Members,
    Seed,
    Solver,
    Steps,
    Windows,
    production,
)
from tasks.planning import Summary, plan, summarise


def _title() -> str:
    """Source and span, as a list of runs shows them."""
    asked = flow_run.parameters
    span = (("from", asked.get("start")), ("to", asked.get("end")))
    return " ".join([str(asked["source"]), *(f"{word} {date}" for word, date in span if date)])


@flow(name="backfill", flow_run_name=_title)
def backfill(
    source: str = "gcm_demo",
    product: str | None = None,
    start: Date | None = None,
    end: Date | None = None,
    members: Members = 4,
    mode: Literal["missing", "stale", "replace"] = "missing",
    checkpoint: str | None = None,
    dry_run: bool = False,
    fan_out: bool = False,
    seed: Seed = 0,
    steps: Steps | None = None,
    solver: Solver | None = None,
    conserve: bool = True,
    windows: Windows | None = None,
    cell_frames: CellFrames | None = None,
    open_end: bool = True,
) -> Summary | State[Summary]:
    """Sample what a product lacks between two dates. Running it again continues.

    Args:
        source: Coarse record, by its name in the catalog, or the path of a data file.
        product: Name or URI of the product. Left empty, the name of the source.
        start: First date, e.g. 2001-02-03. Left empty, the start of the record.
        end: The date at which to stop, itself not included. Left empty, the end of the record.
        members: Size of the ensemble.
        mode: missing samples what is not there, stale also replaces what has other inputs or
            another model now, replace all of it.
        checkpoint: Name or folder of the model, or models:/NAME@ALIAS of the registry. Left empty,
            the one that suits the source best.
        dry_run: Show the plan and its cost, and stop. Nothing is made or changed.
        fan_out: Give the partitions to workers. Left off, they run here, one after another.
        seed: Of the noise. Another seed is another ensemble, so another product.
        steps: Network calls a sample. Left empty, as the model says.
        solver: How a sample is drawn, dpmpp2m_sde, dpmpp2m or ddim. Left empty, as the model says.
        conserve: Keep the mean of each coarse cell as it is in the source.
        windows: overlapping joins windows without a seam, independent samples each for itself. Left
            empty, as the product has them, overlapping in a new one.
        cell_frames: Frames of a partition when the product is new. Left empty, about a month.
        open_end: Publish the last cell though there is no input after it, with which its last
            windows would overlap. Turned off, it waits for more.
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
    planned = plan(how, start, end, mode, at_once=lanes("backfill") if fan_out else 1)
    if dry_run:
        return summarise(how, planned, {})
    return ended(run(how, planned, asker="backfill", fan_out=fan_out))
