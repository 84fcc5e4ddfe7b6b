"""The report of a product: its diagnosis (`stvd.diagnostics`) in a folder, and what lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from stvd.diagnostics import Diagnosis, diagnose, write
from stvd.diagnostics.region_files import read_regions
from stvd.fingerprint import fingerprint
from stvd.kept_states import kept_states
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
    figures, tables, pages : files in it, by name; a page is a whole report of a year
    metrics : scores by `system/score` and area means by `year/quantity`
    notes : what was left out, in words
    made_of : digest of the snapshot and of what was asked for; the same, and the report stands
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    snapshot: str
    period: str
    members: int
    folder: str
    figures: dict[str, str]
    tables: dict[str, str]
    pages: dict[str, str]
    made_of: str
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


class Wanted(BaseModel):
    """What a report is to hold beside what every report has.

    Parameters
    ----------
    regions : path of a GeoJSON file or shapefile, whose regions have area means of their own
    region_name : property of its features that names them; None tries the usual ones
    event_threshold : mm h-1 of a step; the largest events above it are listed
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: str | None = None
    region_name: str | None = None
    event_threshold: float | None = Field(None, gt=0)


def report_on(
    uri: str,
    source: Source | None,
    folder: Path,
    *,
    wanted: Wanted | None = None,
    storage: StorageOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Diagnose what a product holds now and write the report into `folder`.

    A report of the same snapshot, source (by name) and wishes that lies there is returned as it is:
    remove the folder to have it anew, as when the truth behind it was rewritten. What is counted of
    each cell of the product is kept in `<folder>.states`, so that only new cells are counted.

    Parameters
    ----------
    source : the record behind it, whose input and truth it is compared with; None without

    Raises
    ------
    ValueError
        If nothing is published yet, or a region has no cell.
    """
    wanted = wanted or Wanted()
    product = Product.open(uri, storage=storage)
    snapshot, spec = product.snapshot, product.spec
    published = open_product(uri, snapshot=snapshot, storage=storage)
    if not published.sizes["time"]:
        raise ValueError(f"{uri} has no frame of which every member is published: nothing to say")
    regions = read_regions(wanted.regions, wanted.region_name) if wanted.regions else []
    made_of = fingerprint(
        snapshot=snapshot,
        source=None if source is None else source.reference,
        regions=[[r.name, r.geometry.wkt] for r in regions],
        event_threshold=wanted.event_threshold,
    )
    before = Report.read(folder)
    if before is not None and before.made_of == made_of:
        return before
    tell = progress or (lambda stage, done, total: None)
    states = kept_states(
        published,
        spec,
        product.ledger().values(),
        folder.with_name(f"{folder.name}.states"),
        progress=lambda done, total: tell("annual and extremes", done, total),
    )
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
        states=states,
        regions=regions,
        event_threshold=wanted.event_threshold,
        progress=progress,
    )
    return _written(found, folder, uri, snapshot, made_of, published.sizes["member"])


def _written(
    found: Diagnosis, folder: Path, uri: str, snapshot: str, made_of: str, members: int
) -> Report:
    files = write(found, folder)
    report = Report(
        product=uri,
        snapshot=snapshot,
        period=found.period,
        members=members,
        folder=str(files.folder),
        figures={name: str(path) for name, path in files.figures.items()},
        tables={name: str(path) for name, path in files.tables.items()},
        pages={name: str(path) for name, path in files.pages.items()},
        made_of=made_of,
        metrics=found.metrics(),
        notes=found.notes,
    )
    (folder / FILE).write_text(report.model_dump_json(indent=2))
    return report
