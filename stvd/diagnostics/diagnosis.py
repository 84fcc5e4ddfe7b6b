"""What is known about a product after a diagnosis, as numbers, tables and files."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics.tables import area_table
from stvd.scores import flatten, tabulate


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Parameters
    ----------
    name : the product
    period : the time it covers, as `start/end`
    tables : `annual` (complete years), `period_to_date`, `return_levels`, those that exist
    scores : a dataset of `stvd.scores.score` per system
    figures : name → matplotlib Figure
    notes : what was left out and why, for the reader
    """

    name: str
    period: str
    tables: Mapping[str, xr.Dataset]
    scores: Mapping[str, xr.Dataset]
    figures: Mapping[str, Figure]
    notes: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def metrics(self, *, intervals: bool = False) -> dict[str, float]:
        """Plain numbers under names that MLflow takes, e.g. `stvd/crps`, `2000/rx1day`."""
        found = {
            f"{system}/{name}": number
            for system, scored in self.scores.items()
            for name, number in flatten(scored, intervals=intervals).items()
        }
        for row in self.area_table().to_dict("records"):
            key = f"{row['start'][:4]}{'' if row['complete'] else '_to_date'}/{row['quantity']}"
            if math.isfinite(row["mean"]):
                found[key] = row["mean"]
        return found

    def area_table(self) -> pd.DataFrame:
        """Area means of every quantity and period."""
        parts = [
            area_table(self.tables[k]) for k in ("annual", "period_to_date") if k in self.tables
        ]
        return pd.concat(parts, ignore_index=True)

    def score_table(self) -> pd.DataFrame:
        """Scores in rows, systems in columns, with intervals where there are any."""
        rows: dict[str, dict[str, float]] = {}
        for system, scored in self.scores.items():
            for name, number in flatten(scored).items():
                base = name.removesuffix("_low").removesuffix("_high")
                rows.setdefault(base, {})[system + name.removeprefix(base)] = number
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("score").reset_index()

    def score_record(self) -> dict[str, dict[str, dict[str, float | str | None]]]:
        """`{system: {score: {value, low, high, units}}}`, for JSON."""
        return {system: tabulate(scored) for system, scored in self.scores.items()}


class Files(NamedTuple):
    """Where a diagnosis lies: the folder, and the files in it by name."""

    folder: Path
    tables: dict[str, Path]
    figures: dict[str, Path]


def write(diagnosis: Diagnosis, out: str | Path) -> Files:
    """Write tables (NetCDF, CSV), scores (NetCDF, CSV, JSON), notes and figures (PNG) to a folder.

    The folder appears whole or not at all: it is written beside its place and then renamed; one
    that is there already is replaced.

    Returns
    -------
    Files, in the folder `out`
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        tables, figures = _write_into(diagnosis, work)
        work.chmod(0o755)
        if out.exists():
            old = work.with_name(work.name + ".old")
            os.rename(out, old)
            os.rename(work, out)
            shutil.rmtree(old)
        else:
            os.rename(work, out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Files(out, {n: out / n for n in tables}, {n: out / f"{n}.png" for n in figures})


def _write_into(diagnosis: Diagnosis, folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files with tables, and of the figures."""
    about = {**diagnosis.attrs, "Conventions": "CF-1.11", "period": diagnosis.period}
    datasets = {**diagnosis.tables, **{f"scores_{k}": v for k, v in diagnosis.scores.items()}}
    for name, dataset in datasets.items():
        described = dataset.assign_attrs({**about, **dataset.attrs})
        packed = {n: {"zlib": True} for n, v in described.data_vars.items() if v.ndim > 1}
        described.to_netcdf(folder / f"{name}.nc", engine="netcdf4", encoding=packed)
    diagnosis.area_table().to_csv(folder / "area_means.csv", index=False)
    diagnosis.score_table().to_csv(folder / "scores.csv", index=False)
    record = {
        "name": diagnosis.name,
        "period": diagnosis.period,
        "notes": list(diagnosis.notes),
        "scores": diagnosis.score_record(),
    }
    (folder / "scores.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    for name, figure in diagnosis.figures.items():
        figure.savefig(folder / f"{name}.png")
    tables = [*(f"{name}.nc" for name in datasets), "area_means.csv", "scores.csv", "scores.json"]
    return tables, list(diagnosis.figures)
