"""The report of a product: its diagnosis (`stvd.diagnostics`) in a folder, and what lies there.

The tables are published beside the product too (`stvd.published_tables`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from stvd.diagnostics import Diagnosis, diagnose, write
from stvd.diagnostics.changes import Baseline
from stvd.diagnostics.region_files import read_regions
from stvd.fingerprint import digest_dataset, fingerprint
from stvd.kept_scores import KeptScores
from stvd.kept_states import kept_percentiles, kept_states
from stvd.product import Product, ProductSpec, StorageOptions, open_product
from stvd.published_tables import open_diagnostics, publish_tables
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
    made_of : digest of the snapshot, of input and truth, and of what was asked for; the same, and the
        report stands
    published : snapshot of the diagnostics product that has the tables
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
    published: str
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
    event_amount : mm in a day, whose return period is wanted in every cell
    reference : years, such as `1991-2020`: change against them, and days wetter than their percentiles
    reference_product : URI of the diagnosed product that has these years; None: the product itself
    evaluation : path of a file that `stvd evaluate --calls` wrote, whose curves are shown
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: str | None = None
    region_name: str | None = None
    event_threshold: float | None = Field(None, gt=0)
    event_amount: float | None = Field(None, gt=0)
    reference: str | None = Field(None, pattern=r"^\d{4}-\d{4}$")
    reference_product: str | None = None
    evaluation: str | None = None

    def curves(self) -> dict[str, dict[int, Any]]:
        """Scores by solver and number of calls."""
        if self.evaluation is None:
            return {}
        found = json.loads(Path(self.evaluation).read_text()).get("curves")
        if not found:
            raise ValueError(
                f"{self.evaluation} has no curves: write it with `stvd evaluate --calls 2,4,8 --json`"
            )
        return {solver: {int(k): v for k, v in by.items()} for solver, by in found.items()}


class Inputs(NamedTuple):
    """The record behind a product, as far as there is one, and what identifies it, and each cell of it."""

    truth: xr.Dataset | None
    coarse: xr.Dataset | None
    grid: xr.Dataset | None
    identity: dict[str, Any]
    by_cell: dict[int, dict[str, str]]

    @classmethod
    def of(cls, source: Source | None, cells: Mapping[int, range]) -> Inputs:
        """What there is of the frames of each cell; every value is read once."""
        if source is None:
            return cls(None, None, None, {}, {cell: {} for cell in cells})
        frames = range(min(r.start for r in cells.values()), max(r.stop for r in cells.values()))
        truth, coarse, grid = source.truth(frames), source.coarse(frames), source.grid()
        named = {"coarse": coarse[["pr"]]}
        if truth is not None:
            named["truth"] = truth[["pr"]]
        static = digest_dataset(grid)
        by_cell = {cell: {"grid": static} for cell in cells}
        for name, dataset in named.items():
            numbers = source.axis.locate(dataset["time"])
            for cell, inside in cells.items():
                here = np.flatnonzero((numbers >= inside.start) & (numbers < inside.stop))
                by_cell[cell][name] = digest_dataset(dataset.isel(time=here))
        identity = {
            name: {str(cell): digests[name] for cell, digests in by_cell.items()} for name in named
        }
        return cls(
            truth, coarse, grid, {**identity, "grid": static, "source": source.reference}, by_cell
        )


class _Reference(NamedTuple):
    """A reference period: its years, and the percentiles of its wet days."""

    baseline: Baseline | None
    percentiles: xr.Dataset | None

    @property
    def identity(self) -> list[str]:
        if self.baseline is None or self.percentiles is None:
            return []
        annual = self.baseline.annual
        before = "" if annual is None else digest_dataset(annual)
        return [str(self.baseline), digest_dataset(self.percentiles), before]


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

    A report of the same snapshot, input, truth and wishes that lies there is returned as it is. What is
    counted of each cell of the product, for its tables and its scores, is kept in `<folder>.states`, so
    that only new cells are counted.
    The tables are published beside the product before the report is in its place.

    Parameters
    ----------
    source : the record behind it, whose input and truth it is compared with; None without

    Raises
    ------
    ValueError
        If nothing is published yet, a region has no cell, or the reference period no frame.
    """
    wanted = wanted or Wanted()
    product = Product.open(uri, storage=storage)
    snapshot, spec = product.snapshot, product.spec
    published = open_product(uri, snapshot=snapshot, storage=storage)
    if not published.sizes["time"]:
        raise ValueError(f"{uri} has no frame of which every member is published: nothing to say")
    regions = read_regions(wanted.regions, wanted.region_name) if wanted.regions else []
    given = Inputs.of(source, _cells(published, spec))
    kept = folder.with_name(f"{folder.name}.states")
    reference = _reference(wanted, uri, kept, storage)
    curves = wanted.curves()
    made_of = fingerprint(
        snapshot=snapshot,
        inputs=given.identity,
        regions=[[r.name, r.geometry.wkt] for r in regions],
        event_threshold=wanted.event_threshold,
        event_amount=wanted.event_amount,
        reference=reference.identity,
        curves=hashlib.sha256(json.dumps(curves).encode()).hexdigest(),
    )
    before = Report.read(folder)
    if before is not None and before.made_of == made_of:
        return before
    tell = progress or (lambda stage, done, total: None)
    ledger = list(product.ledger().values())
    states = kept_states(
        published,
        spec,
        ledger,
        kept,
        reference=reference.percentiles,
        progress=lambda done, total: tell("annual and extremes", done, total),
    )
    scores = KeptScores.of(kept, spec, ledger, given.by_cell)
    found = diagnose(
        published,
        truth=given.truth,
        coarse=given.coarse,
        grid=given.grid,
        name=spec.name,
        axis=spec.axis,
        window=spec.lattice,
        states=states,
        regions=regions,
        event_threshold=wanted.event_threshold,
        event_amount=wanted.event_amount,
        baseline=reference.baseline,
        curves=curves,
        keeper=scores,
        progress=progress,
    )
    scores.clear()
    tables = publish_tables(
        found.datasets(), uri, snapshot=snapshot, made_of=made_of, storage=storage
    )
    return _written(found, folder, uri, snapshot, made_of, tables, published.sizes["member"])


def _cells(published: xr.Dataset, spec: ProductSpec) -> dict[int, range]:
    """Of each cell of a product's lattice that it has something of, from its first frame to its last."""
    numbers = spec.axis.locate(published["time"])
    cells = numbers // spec.cell_frames
    return {
        int(cell): range(int(inside.min()), int(inside.max()) + 1)
        for cell in np.unique(cells)
        if (inside := numbers[cells == cell]).size
    }


def _reference(
    wanted: Wanted, uri: str, folder: Path, storage: StorageOptions | None
) -> _Reference:
    """The reference period that is wanted, of the product or of another one."""
    if wanted.reference is None:
        return _Reference(None, None)
    first, last = (int(year) for year in wanted.reference.split("-"))
    other = wanted.reference_product
    product = Product.open(other or uri, storage=storage)
    percentiles = kept_percentiles(
        open_product(other or uri, snapshot=product.snapshot, storage=storage),
        product.spec,
        product.ledger().values(),
        folder,
        first=first,
        last=last,
    )
    if other is None:
        return _Reference(Baseline(first, last), percentiles)
    annual = open_diagnostics(other, "annual", storage=storage)
    return _Reference(Baseline(first, last, annual, product.spec.name), percentiles)


def _written(
    found: Diagnosis,
    folder: Path,
    uri: str,
    snapshot: str,
    made_of: str,
    published: str,
    members: int,
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
        published=published,
        metrics=found.metrics(),
        notes=found.notes,
    )
    (folder / FILE).write_text(report.model_dump_json(indent=2))
    return report
