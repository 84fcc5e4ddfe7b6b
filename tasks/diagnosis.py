"""The report of a product, computed and shown in MLflow and Prefect."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact

from stvd.product import Product, StorageOptions, open_product
from stvd.report import Material, Report, write_report
from stvd.source import Source
from tasks.progress import reporting
from tasks.retry import PATIENTLY
from tasks.tracking import tracked

log = logging.getLogger("stvd.diagnosis")


@task(name="report", **PATIENTLY)
def report(product: str, source: Source | None, folder: str, storage: StorageOptions) -> Report:
    """Compute tables, scores and figures of what is published, at one snapshot."""
    opened = Product.open(product, storage=storage)
    published = open_product(product, snapshot=opened.snapshot, storage=storage)
    material = Material.gather(published, opened.spec, source)
    with reporting(f"diagnosing {material.name}") as progress:
        made = write_report(
            material, Path(folder), product=product, snapshot=opened.snapshot, progress=progress
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
        key=f"report {made.snapshot}",
        tags={
            "stvd.kind": "report",
            "stvd.product": made.product,
            "stvd.snapshot": made.snapshot,
        },
    ) as run:
        run.parameters({"members": made.members, "period": made.period})
        for system, scores in made.scores.items():
            run.metrics({f"{system}/{score}": value for score, value in scores.items()})
        for path in made.figures.values():
            run.file(Path(path), "figures")
        for path in made.tables.values():
            run.file(Path(path), "tables")
            if path.endswith(".csv"):
                run.table(pd.read_csv(path), f"tables/{Path(path).stem}")
        run.text("\n".join(made.notes), "notes.txt")
        if made.scores:
            create_table_artifact(
                made.score_table().round(9).to_dict("records"), description=f"Scores of {name}"
            )
        create_link_artifact(run.url, link_text="MLflow run", description=f"Report of {name}")
        return run.id
