"""The report of a product, computed and shown in MLflow and Prefect."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact

from stvd.product import StorageOptions
from stvd.report import Report, Wanted, report_on
from stvd.source import Source
from tasks.progress import reporting
from tasks.retry import PATIENTLY
from tasks.tracking import tracked

log = logging.getLogger("stvd.diagnosis")

PAGES = "report"
"""Folder of the pages among the artifacts of a run."""


@task(name="report", **PATIENTLY)
def report(
    product: str,
    source: Source | None,
    folder: str,
    storage: StorageOptions,
    wanted: Wanted,
) -> Report:
    """Compute tables, scores, figures and pages of what is published, at one snapshot."""
    with reporting(f"diagnosing {product.rsplit('/', 1)[-1]}") as show:
        made = report_on(
            product,
            source,
            Path(folder),
            wanted=wanted,
            storage=storage,
            progress=lambda stage, done, total: show(done, total),
        )
    for note in made.notes:
        log.info("%s", note)
    return made


@task(name="publish", **PATIENTLY)
def publish(made: Report) -> str:
    """Show a report in MLflow and Prefect; the id of the MLflow run."""
    name = made.product.rstrip("/").rsplit("/", 1)[-1]
    with tracked(
        experiment=f"product/{name}",
        name=f"report {made.period}",
        key=f"report {made.made_of}",
        tags={
            "stvd.kind": "report",
            "stvd.product": made.product,
            "stvd.snapshot": made.snapshot,
        },
    ) as run:
        run.parameters({"members": made.members, "period": made.period})
        run.metrics(made.metrics)
        for path in made.figures.values():
            run.file(Path(path), "figures")
        for path in made.tables.values():
            run.file(Path(path), "tables")
        for path in made.pages.values():
            run.file(Path(path), PAGES)
        run.table(made.scores(), "tables/scores_table")
        run.text("\n".join(made.notes), "notes.txt")
        create_table_artifact(
            made.scores().round(9).to_dict("records"), description=f"Scores of {name}"
        )
        create_link_artifact(run.url, link_text="MLflow run", description=f"Report of {name}")
        for page, path in made.pages.items():
            create_link_artifact(
                f"{run.url}/artifacts/{PAGES}/{Path(path).name}",
                link_text=Path(path).name,
                description=f"{name}, {page.removeprefix('report_')}: everything on one page",
            )
        return run.id
