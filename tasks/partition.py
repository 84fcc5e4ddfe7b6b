"""The tasks of one partition: check its input, sample and commit it, record that in MLflow."""

from __future__ import annotations

import logging

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.runtime import flow_run

from stvd.contract import Finding
from stvd.generate import Outcome, examine, produce
from stvd.partition import Partition
from stvd.plausibility import ImplausibleSample
from stvd.product import Product
from stvd.production import Production
from tasks.alerts import alert
from tasks.progress import reporting
from tasks.retry import PATIENTLY
from tasks.tracking import tracked

log = logging.getLogger("stvd.partition")


@task(name="check", **PATIENTLY)
def check(production: Production, partition: str) -> list[Finding]:
    """Check the input of a partition; findings that stop it are an error."""
    findings = examine(production, Partition.from_id(production.source.name, partition))
    for finding in findings:
        log.warning("%s: %s", finding.severity, finding)
    if findings:
        create_table_artifact([f.model_dump() for f in findings], description="Input findings")
    return findings


@task(name="generate", **PATIENTLY)
def generate(production: Production, partition: str, replace: bool) -> Outcome:
    """Sample a partition and commit it, or find that it is there."""
    cell = Partition.from_id(production.source.name, partition)
    when = production.axis.period(cell.frames)
    with reporting(
        f"sampling {when}, members {cell.members.start}–{cell.members.stop - 1}"
    ) as report:
        try:
            return produce(
                production,
                cell,
                replace=replace,
                origin={"prefect_flow_run": str(flow_run.id or "")},
                progress=report,
            )
        except ImplausibleSample as error:
            _show(production, partition, error)
            raise


def _show(production: Production, partition: str, error: ImplausibleSample) -> None:
    """Say why samples were not published, and where they are."""
    where = error.branch or "not kept"
    rows = [{"finding": finding, "branch": where} for finding in error.findings]
    create_table_artifact(rows, description=f"Sample findings of {partition}: {error}")
    alert("stvd.partition.quarantined", production.product, str(error), partition=partition)


@task(name="record", **PATIENTLY)
def record(production: Production, outcome: Outcome, findings: list[Finding]) -> str:
    """Write what was done to MLflow, once however often it is asked; the id of the MLflow run."""
    cell = Partition.from_id(production.source.name, outcome.partition)
    entry = Product.open(production.product, storage=production.storage).ledger()[outcome.partition]
    settings = production.model_dump(include={"members", "seed", "solver", "steps", "conserve"})
    with tracked(
        experiment=f"product/{production.name}",
        name=f"{production.axis.period(cell.frames)} m{cell.members.start}-{cell.members.stop}",
        key=f"partition {outcome.partition} {outcome.fingerprint}",
        tags={
            "stvd.kind": "partition",
            "stvd.product": production.product,
            "stvd.partition": outcome.partition,
            "stvd.snapshot": outcome.snapshot,
            "stvd.fingerprint": outcome.fingerprint,
        },
    ) as run:
        run.parameters(
            settings | {"source": production.source.name, "checkpoint": production.checkpoint}
        )
        run.record(entry.model_dump(mode="json"), "ledger.json")
        run.record({"findings": [f.model_dump() for f in findings]}, "findings.json")
        run.metrics({"seconds": entry.seconds, "findings": len(findings)})
        create_link_artifact(run.url, link_text="MLflow run", description=outcome.partition)
        return run.id
