"""The report of a product: its diagnosis (`stvd.diagnostics`) in a folder, and what lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict

from stvd.diagnostics import Diagnosis, diagnose, write
from stvd.product import Product, StorageOptions, open_product
from stvd.source import Source

FILE = "report.json"
SCORES = "scores.csv"


class Report(BaseModel):
    """What is said of a product at one snapshot, and where it lies.

    Parameters
    ----------
    snapshot : of the product
    period : from the first published frame to past the last
    folder : of figures and tables
    figures, tables : files in it, by name
    metrics : scores by `system/score` and area means by `year/quantity`
    notes : what was left out, in words
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    snapshot: str
    period: str
    members: int
    folder: str
    figures: dict[str, str]
    tables: dict[str, str]
    metrics: dict[str, float]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Report | None:
        """The report in `folder`, or None."""
        try:
            return cls.model_validate_json((folder / FILE).read_text())
        except (OSError, ValueError):
            return None

    def scores(self) -> pd.DataFrame:
        """Scores in rows, systems in columns."""
        return pd.read_csv(self.tables[SCORES])


def report_on(
    uri: str,
    source: Source | None,
    folder: Path,
    *,
    storage: StorageOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Diagnose what a product holds now and write the report into `folder`.

    Parameters
    ----------
    source : the record behind it, whose input and truth it is compared with; None without

    Raises
    ------
    ValueError
        If nothing is published yet.
    """
    product = Product.open(uri, storage=storage)
    snapshot, spec = product.snapshot, product.spec
    published = open_product(uri, snapshot=snapshot, storage=storage)
    if not published.sizes["time"]:
        raise ValueError(f"{uri} has no frame of which every member is published: nothing to say")
    numbers = spec.axis.locate(published["time"])
    frames = range(int(numbers.min()), int(numbers.max()) + 1)
    found = diagnose(
        published,
        truth=source.truth(frames) if source else None,
        coarse=source.coarse(frames) if source else None,
        grid=source.grid() if source else None,
        name=spec.name,
        axis=spec.axis,
        window=spec.lattice,
        progress=progress,
    )
    return _written(found, folder, uri, snapshot, published.sizes["member"])


def _written(found: Diagnosis, folder: Path, uri: str, snapshot: str, members: int) -> Report:
    files = write(found, folder)
    report = Report(
        product=uri,
        snapshot=snapshot,
        period=found.period,
        members=members,
        folder=str(files.folder),
        figures={name: str(path) for name, path in files.figures.items()},
        tables={name: str(path) for name, path in files.tables.items()},
        metrics=found.metrics(),
        notes=found.notes,
    )
    (folder / FILE).write_text(report.model_dump_json(indent=2))
    return report
