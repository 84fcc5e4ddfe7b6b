"""One partition of a product: check, generate, record."""

from __future__ import annotations

from prefect import flow
from prefect.context import TagsContext

from flows.parameters import CellFrames, Members, Seed, Solver, Steps, Windows, production
from stvd.generate import Outcome
from tasks.partition import check, generate, record


@flow(name="downscale", flow_run_name="{source} {partition}")
def downscale(
    partition: str,
    source: str = "gcm_demo",
    product: str | None = None,
    checkpoint: str | None = None,
    members: Members = 4,
    seed: Seed = 0,
    steps: Steps | None = None,
    solver: Solver | None = None,
    conserve: bool = True,
    windows: Windows | None = None,
    cell_frames: CellFrames | None = None,
    replace: bool = False,
) -> Outcome:
    """Sample one partition and commit it to the product. Running it twice is free.

    Args:
        partition: Frames and members, half-open, e.g. 000240-000480_m000-004, as in a plan.
        source: Coarse record, by its name in the catalog, or the path of a data file.
        product: Name or URI of the product. Left empty, the name of the source.
        checkpoint: Name or folder of the model, or models:/NAME@ALIAS of the registry. Left empty,
            the one that suits the source best.
        members: Size of the ensemble.
        seed: Of the noise. Another seed is another ensemble, so another product.
        steps: Network calls a sample. Left empty, as the model says.
        solver: How a sample is drawn, dpmpp2m_sde, dpmpp2m or ddim. Left empty, as the model says.
        conserve: Keep the mean of each coarse cell as it is in the source.
        windows: overlapping joins windows without a seam, independent samples each for itself. Left
            empty, as the product has them, overlapping in a new one.
        cell_frames: Frames of a partition when the product is new. Left empty, about a month.
        replace: Sample it anew where other numbers stand. Left off, that is an error.
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
    )
    with TagsContext(current_tags=set()):  # every tag of a task is asked for slots: 0.3 s a task
        findings = check(how, partition)
        outcome = generate(how, partition, replace)
        record(how, outcome, findings)
    return outcome
