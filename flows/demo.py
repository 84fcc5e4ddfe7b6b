"""The whole pipeline on one record, small enough to watch."""

from __future__ import annotations

from prefect import flow

from flows.demonstration import demonstration
from flows.diagnose import diagnose
from flows.execution import ended, run
from flows.parameters import Members
from stvd.report import Report
from tasks.planning import plan


@flow(name="demo", flow_run_name="{source}")
def demo(
    source: str = "gcm_demo",
    members: Members = 4,
    product: str | None = None,
    checkpoint: str | None = None,
) -> Report:
    """Check, plan, sample, publish, diagnose and score a record; what is there is not redone.

    Args:
        source: Coarse record, by its name in the catalog, or the path of a data file.
        members: Size of the ensemble.
        product: Name or URI of the product. Left empty, the name of the source.
        checkpoint: Name or folder of the model, or models:/NAME@ALIAS of the registry. Left empty,
            the one that suits the source best.
    """
    how = demonstration(source, members, product, checkpoint)
    planned = plan(how, None, None, "missing")
    ended(run(how, planned, asker="backfill", fan_out=False))
    return diagnose(product=how.product, source=source)
