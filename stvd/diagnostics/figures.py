"""Which figures a diagnosis has, and what stands on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics import maps, plots, plots_realism
from stvd.diagnostics.animation import animate, wettest
from stvd.diagnostics.climate_figures import climate_figures
from stvd.diagnostics.extremes import step_text
from stvd.diagnostics.place_maps import event_map, region_map
from stvd.diagnostics.plots_calls import Curves, realism_distortion
from stvd.diagnostics.region_files import Region
from stvd.diagnostics.spectra import by_system
from stvd.lattice import Period, TimeAxis, format_time

SAID = {"members": "stvd"}  # as scores call them
MAPPED = ("pr_total", "rx1day", "rx1step")
SMALL = ("wet_day_fraction", "sdii", "rx5day", "r10mm", "r20mm", "cdd", "cwd", "r95ptot")


@dataclass(frozen=True)
class Material:
    """What there is to draw from; arrays as in `report.diagnose`.

    Maps of single years are drawn of `years` alone, of all by default. `in_time` has what
    `in_time.in_time` says of the `members`, of the `truth` and of the `coarse input`.
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
    in_time: Mapping[str, xr.Dataset]
    years: Collection[int] | None = None
    lists: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    regions: Sequence[Region] = ()
    curves: Curves = field(default_factory=dict)

    @property
    def period(self) -> Period:
        frames = self.axis.locate(self.pr["time"][[0, -1]])
        return self.axis.period(range(int(frames[0]), int(frames[1]) + 1))

    def title(self, what: str) -> str:
        return f"{what} · {self.name} · {_short(self.period)}"


def draw(material: Material) -> dict[str, Figure]:
    """Every figure that the material allows, by the name of its file."""
    found = _moment(material)
    systems = {v: by_system(v, material.scores, material.input_scores)
               for v in ("rapsd", "histogram", "autocorrelation")}  # fmt: skip
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
    means = {n: known["area_mean"] for n, known in material.in_time.items()}
    found["area_mean"] = plots.area_mean_series(
        means["members"],
        {"truth": means["truth"]} if "truth" in means else {},
        title=material.title("Area mean"),
    )
    found["autocorrelation"] = plots_realism.autocorrelation(
        systems["autocorrelation"],
        {SAID.get(n, n): known["autocorrelation"] for n, known in material.in_time.items()},
        step_hours=material.axis.step_seconds / 3600,
        title=material.title("Autocorrelation in space and time"),
    )
    kept = plots_realism.consistency(material.scores, title=material.title("Block means and seams"))
    if kept is not None:
        found["consistency"] = kept
    skill = material.lists.get("skill")
    if skill is not None:
        system = skill["system"].iloc[0]
        found["scores_by"] = plots_realism.skill(
            skill[skill["system"] == system], title=material.title(f"Skill of {system}")
        )
    if material.curves:
        found["realism_distortion"] = realism_distortion(
            material.curves, material.title("Realism and distortion")
        )
    climate = climate_figures(material.tables, material.name, grid=material.static)
    return found | _period_maps(material) | _place_maps(material) | climate


def _place_maps(material: Material) -> dict[str, Figure]:
    """Where the regions lie and the largest events were, over the last period that there is."""
    table = next(
        (
            t.isel(time=-1)
            for k in ("annual", "period_to_date")
            if (t := material.tables.get(k)) is not None
        ),
        None,
    )
    found = {}
    if table is not None and material.regions:
        found["regions"] = region_map(
            table["pr_total_mean"], material.regions, grid=material.static,
            title=f"Regions, total precipitation · {material.name} · {_dates(table, material)}",
        )  # fmt: skip
    events = material.lists.get("events")
    if table is not None and events is not None and len(events):
        found["events"] = event_map(
            table["rx1step_mean"], events, grid=material.static,
            title=material.title("Largest events"),
        )  # fmt: skip
    return found


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
    known = material.in_time.get("truth", material.in_time["members"])["area_mean"]
    return known.mean("member") if "member" in known.dims else known


def _moment(material: Material) -> dict[str, Figure]:
    """The frame with most rain on average, and how the members vary there."""
    index = int(np.nanargmax(_area_mean(material).values))
    frame = int(material.axis.locate(material.pr["time"][[index]])[0])
    when = _short(material.axis.period(range(frame, frame + 1)))
    step = step_text(material.axis.step_seconds)
    pr, low, true = (
        None if field is None else field.isel(time=index).compute()
        for field in (material.pr, material.coarse, material.truth)
    )
    assert pr is not None
    title = f"{material.name} · {when} · {step} mean"
    found = {}
    if low is not None:
        found["panel"] = maps.panel(pr, low, truth=true, grid=material.static, title=title)
    if pr.sizes["member"] > 1:
        found["variance"] = maps.variance_map(pr, true, grid=material.static, title=title)
    return found


def _period_maps(material: Material) -> dict[str, Figure]:
    """Maps of amounts, and small ones of all indices, for every year."""
    found = {}
    for kind in ("annual", "period_to_date"):
        for table in _periods(material.tables.get(kind)):
            year = int(table["year"])
            if material.years is not None and year not in material.years:
                continue
            suffix = str(year) if kind == "annual" else f"{year}_to_date"
            dates = _dates(table, material)
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


def _dates(table: xr.Dataset, material: Material) -> str:
    """The period of one time of a table."""
    start, end = (str(t)[:19].replace(" ", "T") for t in table["time_bnds"].values)
    return _short(Period(start=start, end=end, calendar=material.axis.calendar))


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
