"""The report of a product: tables of years and extremes, scores where there is truth, figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict

from stvd.baselines.interpolation import interpolate
from stvd.contract import STATIC
from stvd.diagnostics import plots
from stvd.diagnostics.tables import Tables, area_table, tables
from stvd.lattice import TimeAxis, format_time
from stvd.product import ProductSpec
from stvd.scores import flatten, score_ensemble
from stvd.source import Source

FILE = "report.json"
MAPPED = ("pr_total", "rx1day", "rx1step")

T = TypeVar("T", xr.Dataset, xr.DataArray)


class Report(BaseModel):
    """What was made of a product at one snapshot, and where it lies.

    Parameters
    ----------
    snapshot : of the product
    period : of the published frames, first to last
    figures, tables : paths, by name
    scores : by system (`stvd`, `bicubic`) and name, SI units
    notes : what was left out, in words
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    snapshot: str
    period: str
    members: int
    figures: dict[str, str]
    tables: dict[str, str]
    scores: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Report | None:
        """The report in `folder`, or None."""
        try:
            return cls.model_validate_json((folder / FILE).read_text())
        except (OSError, ValueError):
            return None

    def score_table(self) -> pd.DataFrame:
        """One row a score, one column a system; intervals left out."""
        table = pd.DataFrame(self.scores)
        kept = [n for n in table.index if not n.endswith(("_low", "_high"))]
        return table.loc[kept].rename_axis("score").reset_index()


@dataclass(frozen=True)
class Material:
    """What a report is made of: the published ensemble and, on the same frames, input and truth.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, lazy
    coarse : DataArray, shape (time, [tile,] y / factor, x / factor), or None without a source
    truth : DataArray, shape (time, [tile,] y, x), or None
    """

    name: str
    axis: TimeAxis
    factor: int
    pr: xr.DataArray
    grid: xr.Dataset
    coarse: xr.Dataset | None
    truth: xr.DataArray | None

    @property
    def area(self) -> xr.DataArray:
        return self.grid["areacella"]

    @cached_property
    def frames(self) -> range:
        """From the first published frame to past the last."""
        numbers = self.axis.locate(self.pr["time"])
        return range(int(numbers.min()), int(numbers.max()) + 1)

    @classmethod
    def gather(cls, published: xr.Dataset, spec: ProductSpec, source: Source | None) -> Material:
        """Put beside a product what its source has for the same frames."""
        numbers = spec.axis.locate(published["time"])
        frames = range(int(numbers.min()), int(numbers.max()) + 1)
        truth = source.truth(frames) if source else None
        statics = [name for name in STATIC if name in published.variables]
        return cls(
            name=spec.name,
            axis=spec.axis,
            factor=spec.factor,
            pr=published["pr"],
            grid=source.grid() if source else published.reset_coords()[statics],
            coarse=_at(source.coarse(frames), numbers, spec.axis) if source else None,
            truth=None if truth is None else _at(truth, numbers, spec.axis),
        )


def write_report(
    material: Material,
    folder: Path,
    *,
    product: str,
    snapshot: str,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Compute tables, scores and figures and write them into `folder`, the report last."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tables(material.pr, material.area, material.axis)
    files = _write_tables(made, folder)
    scored = _scored(material, progress)
    figures = {**_maps(material, made), **_charts(material, scored)}
    paths = {}
    for name, figure in figures.items():
        paths[name] = str(folder / f"{name}.png")
        figure.savefig(paths[name])
    report = Report(
        product=product,
        snapshot=snapshot,
        period=str(material.axis.period(material.frames)),
        members=material.pr.sizes["member"],
        figures=paths,
        tables=files,
        scores={system: flatten(scores) for system, scores in scored.items()},
        notes=made.notes,
    )
    (folder / FILE).write_text(report.model_dump_json(indent=2))
    return report


def _scored(
    material: Material, progress: Callable[[int, int], None] | None
) -> dict[str, xr.Dataset]:
    """Scores of the product and, with truth, of the interpolation that it has to beat."""
    coarse = None if material.coarse is None else material.coarse["pr"]
    systems = {"stvd": material.pr}
    if material.truth is not None and material.coarse is not None:
        systems["bicubic"] = interpolate(material.coarse, material.grid)
    return {
        name: score_ensemble(
            pr,
            material.truth,
            material.area,
            coarse,
            axis=material.axis,
            progress=progress if name == "stvd" else None,
        )
        for name, pr in systems.items()
    }


def _maps(material: Material, made: Tables) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    grid = _one_tile(material.grid)
    if material.coarse is not None:
        when = _wettest(material)
        truth = None if material.truth is None else _one_tile(material.truth.isel(time=when)).load()
        start = format_time(
            material.axis.start(int(material.axis.locate(material.pr["time"])[when]))
        )
        figures["sample"] = plots.panel(
            _one_tile(material.pr.isel(time=when)).load(),
            _one_tile(material.coarse["pr"].isel(time=when)).load(),
            truth=truth,
            grid=grid,
            title=f"{material.name}, {start}",
        )
    table = made.annual if made.annual is not None else made.period_to_date
    if table is not None:
        last = _one_tile(table.isel(time=-1))
        for name in MAPPED:
            if name in table:
                said = f"{material.name}: {table[name].attrs['long_name']}, {int(last['year'])}"
                figures[name] = plots.period_map(last, name, grid=grid, title=said)
    return figures


def _charts(material: Material, scored: dict[str, xr.Dataset]) -> dict[str, Figure]:
    ours = scored["stvd"]
    truth = {"truth": "_truth"} if "rapsd_truth" in ours else {}
    charts = {}
    for name, quantity in (("spectra", "rapsd"), ("intensity", "histogram")):
        lines = {said: ours[quantity + suffix] for said, suffix in truth.items()}
        lines |= {system: scores[quantity] for system, scores in scored.items()}
        if name == "spectra":
            charts[name] = plots.spectra(lines, factor=material.factor, title=material.name)
        else:
            charts[name] = plots.intensity(lines, title=material.name)
    if "rank_histogram" in ours:
        charts["ranks"] = plots.rank_histogram(ours, title=material.name)
    dims = [d for d in ("tile", "y", "x") if d in material.pr.dims]
    weights = material.area.reset_coords(drop=True)
    others = (
        {} if material.truth is None else {"truth": material.truth.weighted(weights).mean(dims)}
    )
    charts["series"] = plots.area_mean_series(
        material.pr.weighted(weights).mean(dims).compute(),
        {name: series.compute() for name, series in others.items()},
        title=material.name,
    )
    return charts


def _write_tables(made: Tables, folder: Path) -> dict[str, str]:
    files = {}
    for name, table in (("annual", made.annual), ("period_to_date", made.period_to_date)):
        if table is not None:
            files[f"{name}.nc"] = str(folder / f"{name}.nc")
            table.to_netcdf(files[f"{name}.nc"])
            files[f"{name}.csv"] = str(folder / f"{name}.csv")
            area_table(table).to_csv(files[f"{name}.csv"], index=False)
    return files


def _wettest(material: Material) -> int:
    """Position of the frame with most rain in the input."""
    assert material.coarse is not None
    rain = material.coarse["pr"].mean([d for d in material.coarse["pr"].dims if d != "time"])
    return int(rain.argmax("time"))


def _at(data: T, frames: np.ndarray, axis: TimeAxis) -> T:
    """The fields of `frames`, in that order."""
    position = {int(k): i for i, k in enumerate(axis.locate(data["time"]))}
    return data.isel(time=[position[int(k)] for k in frames])


def _one_tile(data: T) -> T:
    """A map has one tile: the first."""
    return data.isel(tile=0) if "tile" in data.dims else data
