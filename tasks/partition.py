"""The tasks of one partition: check its input, sample and commit it, record that in MLflow."""

from __future__ import annotations

import logging
from pathlib import Path

from matplotlib.figure import Figure
from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.runtime import flow_run

from stvd.cluster import produce
from stvd.contract import Finding
from stvd.generate import Outcome, examine
from stvd.partition import Partition
from stvd.partition_summary import figures, summarise
from stvd.plausibility import ImplausibleSample
from stvd.product import Product, open_product
from stvd.production import Production
from stvd.quality import worst
from tasks.announcement import alert, announce
from tasks.progress import reporting
from tasks.retry import PATIENTLY
from tasks.tracking import Run, finished, tracked

log = logging.getLogger("stvd.partition")

TAGGED = ("model", "model_version", "device", "precision", "threads", "open_end")
"""Of the provenance, what runs are found and told apart by."""
SETTINGS = {"members", "seed", "solver", "steps", "inflation", "noise_correlation", "conserve"}
"""Of a production, what decides the numbers beside its model, and is compared as parameters."""


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
            outcome = produce(
                production,
                cell,
                replace=replace,
                origin={"prefect_flow_run": str(flow_run.id or "")},
                progress=report,
            )
        except ImplausibleSample as error:
            _show(production, partition, error)
            raise
    announce(outcome)
    return outcome


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
    experiment = f"product/{production.name}"
    key = f"partition {outcome.partition} {outcome.fingerprint}"
    if not outcome.published and (known := finished(experiment, key)):
        _link(known, outcome)
        return known.id
    entry = Product.open(production.product, storage=production.storage).ledger()[outcome.partition]
    settings = production.model_dump(include=SETTINGS, exclude_none=True)
    made = entry.provenance
    with tracked(
        experiment=experiment,
        name=f"{production.axis.period(cell.frames)} m{cell.members.start}-{cell.members.stop}",
        key=key,
        tags={
            "stvd.kind": "partition",
            "stvd.product": production.product,
            "stvd.partition": outcome.partition,
            "stvd.snapshot": outcome.snapshot,
            "stvd.fingerprint": outcome.fingerprint,
            "stvd.worst_finding": worst(findings) or "none",
            **{f"stvd.{name}": made[name] for name in TAGGED if name in made},
        },
    ) as run:
        run.parameters(
            settings
            | {
                "source": production.source.name,
                "checkpoint": production.model_version or Path(production.checkpoint).name,
                "digest": made.get("model_digest", ""),
            }
        )
        run.record(entry.model_dump(mode="json"), "ledger.json")
        run.record({"findings": [f.model_dump() for f in findings]}, "findings.json")
        statistics, drawn = statistics_and_figures(production, cell, outcome.snapshot)
        done = {"seconds": entry.seconds, "stored_bytes": entry.stored_bytes}
        run.metrics({**done, "findings": len(findings), **statistics})
        for name, figure in drawn.items():
            run.figure(figure, f"figures/{name}.png")
        run.make_current("stvd.partition", outcome.partition)
        _link(run, outcome)
        return run.id


def statistics_and_figures(
    production: Production, cell: Partition, snapshot: str
) -> tuple[dict[str, float], dict[str, Figure]]:
    """Of what was published, by name; never the arrays."""
    published = open_product(
        production.product, snapshot=snapshot, members=cell.members, storage=production.storage
    )
    frames = production.axis.locate(published["time"])
    inside = (frames >= cell.frames.start) & (frames < cell.frames.stop)
    pr = published["pr"].isel(time=inside)
    summary = summarise(pr, published["areacella"])
    coarse = production.source.coarse(cell.frames)["pr"]
    title = f"{production.name} · {production.axis.period(cell.frames)}"
    drawn = figures(summary, pr, coarse, production.source.grid(), title)
    return summary.numbers(), drawn


def _link(run: Run, outcome: Outcome) -> None:
    create_link_artifact(run.url, link_text="MLflow run", description=outcome.partition)
