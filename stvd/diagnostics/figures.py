"""Which figures a diagnosis has, and what stands on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics import plots
from stvd.diagnostics.extremes import step_text
from stvd.diagnostics.spectra import by_system
from stvd.lattice import Period, TimeAxis, format_time

MAPPED = ("pr_total", "rx1day", "rx1step")
Field = TypeVar("Field", xr.DataArray, xr.Dataset)


@dataclass(frozen=True)
class Material:
    """What there is to draw from; arrays as in `report.diagnose`, `series` area means by name."""

    name: str
    axis: TimeAxis
    pr: xr.DataArray
    truth: xr.DataArray | None
    coarse: xr.DataArray | None
    static: xr.Dataset
    tables: Mapping[str, xr.Dataset]
    scores: Mapping[str, xr.Dataset]
    input_scores: xr.Dataset | None
    series: Mapping[str, xr.DataArray]

    @property
    def period(self) -> Period:
        frames = self.axis.locate(self.pr["time"][[0, -1]])
        return self.axis.period(range(int(frames[0]), int(frames[1]) + 1))

    def title(self, what: str) -> str:
        return f"{what} · {self.name} · {_short(self.period)}"


def draw(material: Material) -> dict[str, Figure]:
    """Every figure that the material allows, by the name of its file."""
    found: dict[str, Figure] = {}
    if material.coarse is not None:
        found["panel"] = _panel(material, material.coarse)
    systems = {v: by_system(v, material.scores, material.input_scores)
               for v in ("rapsd", "histogram")}  # fmt: skip
    factor = None
    if material.coarse is not None:
        factor = material.pr.sizes["x"] // material.coarse.sizes["x"]
    found["spectra"] = plots.spectra(
        systems["rapsd"], factor=factor, title=material.title("Spectra")
    )
    found["intensity"] = plots.intensity(
        systems["histogram"], title=material.title("Rain intensity")
    )
    main = next(iter(material.scores.values()))
    if "rank_histogram" in main:
        found["rank_histogram"] = plots.rank_histogram(main, title=material.title("Ranks"))
    others = {k: v for k, v in material.series.items() if k != "members"}
    found["area_mean"] = plots.area_mean_series(
        material.series["members"], others, title=material.title("Area mean")
    )
    return found | _period_maps(material)


def _panel(material: Material, coarse: xr.DataArray) -> Figure:
    """The frame with most rain on average."""
    wettest = material.series.get("truth", material.series["members"].mean("member"))
    index = int(np.nanargmax(wettest.values))
    frame = int(material.axis.locate(material.pr["time"][[index]])[0])
    when = _short(material.axis.period(range(frame, frame + 1)))
    step = step_text(material.axis.step_seconds)
    at = [None if a is None else _one_tile(a.isel(time=index).compute())
          for a in (material.pr, coarse, material.truth)]  # fmt: skip
    pr, low, true = at
    assert pr is not None
    assert low is not None
    return plots.panel(
        pr,
        low,
        truth=true,
        grid=_one_tile(material.static),
        title=f"{material.name} · {when} · {step} mean",
    )


def _period_maps(material: Material) -> dict[str, Figure]:
    found = {}
    for kind in ("annual", "period_to_date"):
        for table in _periods(material.tables.get(kind)):
            year = int(table["year"])
            suffix = str(year) if kind == "annual" else f"{year}_to_date"
            start, end = (str(t)[:19].replace(" ", "T") for t in table["time_bnds"].values)
            dates = _short(Period(start=start, end=end, calendar=material.axis.calendar))
            for name in MAPPED:
                if name in table and bool(table[f"{name}_mean"].notnull().any()):
                    said = str(table[name].attrs["long_name"]).capitalize()
                    found[f"{name}_{suffix}"] = plots.period_map(
                        _one_tile(table),
                        name,
                        grid=_one_tile(material.static),
                        title=f"{said} · {material.name} · {dates}",
                    )
    return found


def _periods(table: xr.Dataset | None) -> list[xr.Dataset]:
    return [] if table is None else [table.isel(time=k) for k in range(table.sizes["time"])]


def _one_tile(field: Field) -> Field:
    """Maps show the first tile of a grid of several."""
    return field.isel(tile=0) if "tile" in field.dims else field


def _short(period: Period) -> str:
    """A period for readers, without what is the same or zero."""
    start, end = format_time(period.first)[:16], format_time(period.last)[:16]
    if start.endswith("T00:00") and end.endswith("T00:00"):
        return f"{start[:10]} to {end[:10]}"
    if start[:10] == end[:10]:
        return f"{start[:10]} {start[11:]}–{end[11:]} UTC"
    return f"{start.replace('T', ' ')} to {end.replace('T', ' ')} UTC"
