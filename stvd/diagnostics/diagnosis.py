"""What is known about a product after a diagnosis, as numbers and tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics.tables import area_table
from stvd.score_tables import flatten, tabulate


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Parameters
    ----------
    name : the product
    period : the time it covers, as `start/end`
    tables : those of `climate_tables.climate_tables` that exist
    scores : a dataset of `stvd.scores.score` per system
    figures : name → matplotlib Figure
    notes : what was left out and why, for the reader
    attrs : of the product
    animations : name → GIF
    lists : `regions` (`summaries.ensemble_summary`) and `events` (`events.largest_events`), if wanted,
        and with truth `skill` (`skill.skill_rows`)
    listed : the same as datasets (`stvd.diagnostics.listed`)
    """

    name: str
    period: str
    tables: Mapping[str, xr.Dataset]
    scores: Mapping[str, xr.Dataset]
    figures: Mapping[str, Figure]
    notes: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    animations: Mapping[str, bytes] = field(default_factory=dict)
    lists: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    listed: Mapping[str, xr.Dataset] = field(default_factory=dict)

    def datasets(self) -> dict[str, xr.Dataset]:
        """Tables, lists and scores by the name of their file, described as in CF."""
        about = {**self.attrs, "Conventions": "CF-1.11", "period": self.period}
        scores = {f"scores_{system}": scored for system, scored in self.scores.items()}
        named = {**self.tables, **self.listed, **scores}
        return {name: table.assign_attrs({**about, **table.attrs}) for name, table in named.items()}

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

    @property
    def years(self) -> list[int]:
        """Those of which there is something, complete or not."""
        parts = [self.tables[k] for k in ("annual", "period_to_date") if k in self.tables]
        return sorted({int(year) for table in parts for year in table["year"].values})

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
