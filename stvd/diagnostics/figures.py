"""Which figures a diagnosis has, and what stands on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics import maps, plots
from stvd.diagnostics.animation import animate, wettest
from stvd.diagnostics.climate_figures import climate_figures
from stvd.diagnostics.extremes import step_text
from stvd.diagnostics.spectra import by_system
from stvd.lattice import Period, TimeAxis, format_time

MAPPED = ("pr_total", "rx1day", "rx1step")
SMALL = ("wet_day_fraction", "sdii", "rx5day", "r10mm", "r20mm", "cdd", "cwd", "r95ptot")


@dataclass(frozen=True)
class Material:
    """What there is to draw from; arrays as in `report.diagnose`, `series` area means by name.

    Maps of single years are drawn of `years` alone, of all by default.
    """

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
    years: Collection[int] | None = None

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
    climate = climate_figures(material.tables, material.name, grid=material.static)
    return found | _period_maps(material) | climate


def animations(material: Material) -> dict[str, bytes]:
    """GIFs of the wettest frames in a row, by the name of the file."""
    part = wettest(_area_mean(material))
    frames = material.axis.locate(material.pr["time"][part])
    labels = [_short(material.axis.period(range(int(f), int(f) + 1))) for f in frames]
    pr, coarse, truth = (
        None if field is None else field.isel(time=part)
        for field in (material.pr, material.coarse, material.truth)
    )
    assert pr is not None
    title = f"{material.name} · {step_text(material.axis.step_seconds)} means"
    movie = animate(pr, coarse, truth, labels=labels, grid=material.static, title=title)
    return {"animation": movie.gif()}


def _area_mean(material: Material) -> xr.DataArray:
    """Of the truth where there is one, of the ensemble otherwise."""
    return material.series.get("truth", material.series["members"].mean("member"))


def _panel(material: Material, coarse: xr.DataArray) -> Figure:
    """The frame with most rain on average."""
    index = int(np.nanargmax(_area_mean(material).values))
    frame = int(material.axis.locate(material.pr["time"][[index]])[0])
    when = _short(material.axis.period(range(frame, frame + 1)))
    step = step_text(material.axis.step_seconds)
    pr, low, true = (
        None if field is None else field.isel(time=index).compute()
        for field in (material.pr, coarse, material.truth)
    )
    assert pr is not None
    assert low is not None
    title = f"{material.name} · {when} · {step} mean"
    return maps.panel(pr, low, truth=true, grid=material.static, title=title)


def _period_maps(material: Material) -> dict[str, Figure]:
    """Maps of amounts, and small ones of all indices, for every year."""
    found = {}
    for kind in ("annual", "period_to_date"):
        for table in _periods(material.tables.get(kind)):
            year = int(table["year"])
            if material.years is not None and year not in material.years:
                continue
            suffix = str(year) if kind == "annual" else f"{year}_to_date"
            start, end = (str(t)[:19].replace(" ", "T") for t in table["time_bnds"].values)
            dates = _short(Period(start=start, end=end, calendar=material.axis.calendar))
            there = [n for n in (*MAPPED, *SMALL) if _has_values(table, n)]
            for name in (n for n in MAPPED if n in there):
                said = str(table[name].attrs["long_name"]).capitalize()
                title = f"{said} · {material.name} · {dates}"
                found[f"{name}_{suffix}"] = maps.period_map(
                    table, name, grid=material.static, title=title
                )
            small = [n for n in SMALL if n in there]
            if small:
                title = f"Indices, ensemble mean · {material.name} · {dates}"
                found[f"indices_{suffix}"] = maps.index_maps(
                    table, small, grid=material.static, title=title
                )
    return found


def _periods(table: xr.Dataset | None) -> list[xr.Dataset]:
    return [] if table is None else [table.isel(time=k) for k in range(table.sizes["time"])]


def _has_values(table: xr.Dataset, name: str) -> bool:
    return f"{name}_mean" in table and bool(table[f"{name}_mean"].notnull().any())


def _short(period: Period) -> str:
    """A period for readers, without what is the same or zero."""
    start, end = format_time(period.first)[:16], format_time(period.last)[:16]
    if start.endswith("T00:00") and end.endswith("T00:00"):
        return f"{start[:10]} to {end[:10]}"
    if start[:10] == end[:10]:
        return f"{start[:10]} {start[11:]}–{end[11:]} UTC"
    return f"{start.replace('T', ' ')} to {end.replace('T', ' ')} UTC"
