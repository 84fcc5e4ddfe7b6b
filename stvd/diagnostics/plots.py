"""Figures of a product: maps of one time, of a period, spectra, histograms, ranks, series.

Every function returns a matplotlib `Figure` of its own; nothing touches pyplot's global state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from stvd.diagnostics.canvas import (
    FAINT,
    INK,
    colour_bar,
    draw_field,
    dress,
    map_grid,
    rain_scale,
)

MM_PER_HOUR = 3600.0  # mm h-1 per kg m-2 s-1
# Okabe and Ito's colours; truth is black, the input grey, whatever else is shown.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
STYLE = {"truth": INK, "coarse": FAINT, "coarse input": FAINT}


def panel(
    pr: xr.DataArray,
    coarse: xr.DataArray,
    *,
    truth: xr.DataArray | None = None,
    grid: xr.Dataset | None = None,
    title: str = "",
    shown: int = 3,
) -> Figure:
    """Input, truth, members, mean and spread at one time, on one scale.

    Parameters
    ----------
    pr : DataArray, shape (member, y, x), kg m-2 s-1, with the coordinates of the grid
    coarse : DataArray, shape (y / factor, x / factor), kg m-2 s-1
    truth : DataArray, shape (y, x), kg m-2 s-1; with it the error of the mean is shown too
    grid : static Dataset of the fine grid; its `land_fraction` and `orog` give coast and relief
    title : what and when, for example the product and the bounds of the step
    shown : how many members are drawn, at most 3
    """
    members = [pr.isel(member=k) for k in range(min(shown, pr.sizes["member"], 3))]
    mean = pr.mean("member")
    maps = {"coarse input": coarse}
    if truth is not None:
        maps["truth"] = truth
    maps |= {_member_name(member, k): member for k, member in enumerate(members)}
    maps["ensemble mean"] = mean
    if pr.sizes["member"] > 1:
        maps["ensemble spread"] = pr.std("member", ddof=1)
    if truth is not None:
        maps["|mean − truth|"] = abs(mean - truth)

    wide = map_grid(pr).wide
    columns = {True: 2, False: 4 if len(maps) > 6 else 3}[wide]
    rows = -(-len(maps) // columns)
    size = (5.4 * columns, 2.9 * rows + 1.0) if wide else (3.3 * columns, _height(pr, rows))
    layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=size, layout=layout, dpi=120)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    scale = rain_scale(0.1, _high(maps) * MM_PER_HOUR, "mm h⁻¹")
    for place, (name, field) in zip(axes, maps.items(), strict=False):
        mesh = draw_field(place, field * MM_PER_HOUR, scale)
        dress(place, pr, grid, name)
    for place in axes[len(maps) :]:
        place.set_axis_off()
    _share_labels(axes[: len(maps)], columns)
    colour_bar(figure, mesh, list(axes), scale, "precipitation rate")
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def period_map(
    table: xr.Dataset,
    name: str,
    *,
    grid: xr.Dataset | None = None,
    title: str = "",
) -> Figure:
    """A quantity of a period: the ensemble's mean and spread, side by side on one scale.

    Parameters
    ----------
    table : Dataset of one period, shape (y, x): `{name}_mean` and, for an ensemble, `{name}_std`
    name : a precipitation quantity of the table, for example `pr_total` or `rx1day`
    """
    maps = {"ensemble mean": table[f"{name}_mean"]}
    if f"{name}_std" in table:
        maps["ensemble spread"] = table[f"{name}_std"]
    field = maps["ensemble mean"]
    units = str(field.attrs["units"]).replace(" d-1", " d⁻¹").replace(" h-1", " h⁻¹")
    top = _high(maps)
    scale = rain_scale(max(top / 500, 0.1), top, units)
    wide = map_grid(field).wide
    size = (6.2 * len(maps), 4.0) if wide else (4.4 * len(maps), _height(field, 1, 4.4))
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axes = np.atleast_1d(figure.subplots(1, len(maps))).ravel()
    for place, (said, values) in zip(axes, maps.items(), strict=True):
        mesh = draw_field(place, values, scale)
        dress(place, field, grid, said)
    _share_labels(axes, len(maps))
    label = str(field.attrs["long_name"]).removeprefix("ensemble mean of the ")
    colour_bar(figure, mesh, list(axes), scale, label)
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def spectra(
    systems: Mapping[str, xr.DataArray], *, factor: int | None = None, title: str = ""
) -> Figure:
    """Radially averaged spectra of all systems, log-log, against wavelength.

    Parameters
    ----------
    systems : name → DataArray, shape (frequency,), (kg m-2 s-1)², cycles per fine cell
    factor : draws the shortest wave that the input resolves, 2 × factor cells
    """
    figure, axes = _chart(title, "wavelength (fine cells)", "power spectral density ((mm h⁻¹)²)")
    for name, power in systems.items():
        axes.plot(
            1 / power["frequency"], power * MM_PER_HOUR**2, label=name, **_line(name, systems)
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    if factor is not None:
        axes.axvline(2 * factor, color=FAINT, linewidth=0.8, linestyle=":")
        axes.text(2 * factor, 0.02, " resolved by the input ", transform=axes.get_xaxis_transform(),
                  ha="right", fontsize=8, color=FAINT)  # fmt: skip
    axes.legend(frameon=False, fontsize=9)
    return figure


def intensity(systems: Mapping[str, xr.DataArray], *, title: str = "", merge: int = 50) -> Figure:
    """Histogram of rain rates of all systems on log axes: share of area and time per decade.

    Parameters
    ----------
    systems : name → DataArray, shape (bin,), share per bin, upper edges in kg m-2 s-1
    merge : how many bins are drawn as one
    """
    figure, axes = _chart(title, "rain rate (mm h⁻¹)", "share of area and time per decade")
    for name, shares in systems.items():
        values = shares.values[1:].reshape(-1, merge).sum(axis=1)
        edges = shares["bin"].values[::merge] * MM_PER_HOUR
        density = values / np.diff(np.log10(edges))
        shown = (density > 0) & (edges[:-1] >= 0.01)
        middle = np.sqrt(edges[1:] * edges[:-1])
        axes.plot(middle[shown], density[shown], label=name, **_line(name, systems))
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.legend(frameon=False, fontsize=9)
    return figure


def rank_histogram(scored: xr.Dataset, *, title: str = "") -> Figure:
    """Ranks of the truth among the members, everywhere and where it rains; flat is calibrated."""
    figure, axes = _chart(title, "rank of the truth among the members", "share")
    ranks = scored["rank_histogram"]["rank"].values
    flat = 1 / ranks.size
    drawn = (("rank_histogram", "all cells", FAINT, -0.2),
             ("rank_histogram_wet", "truth or a member wet", COLOURS[0], 0.2))  # fmt: skip
    for name, label, colour, shift in drawn:
        axes.bar(ranks + shift, scored[name].values, width=0.38, color=colour, label=label)
    axes.axhline(flat, color=INK, linewidth=1, linestyle="--", label="calibrated")
    axes.set_xticks(ranks)
    axes.set_ylim(0, max(2 * flat, 1.15 * float(scored["rank_histogram_wet"].max())))
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")
    return figure


def area_mean_series(
    members: xr.DataArray, others: Mapping[str, xr.DataArray] | None = None, *, title: str = ""
) -> Figure:
    """Area-mean rain over time: range of the members, their mean, and other systems.

    Parameters
    ----------
    members : DataArray, shape (member, time), kg m-2 s-1
    others : name → DataArray, shape (time,), for example truth and coarse input
    """
    figure, axes = _chart(title, "", "area-mean precipitation (mm h⁻¹)", size=(9.0, 3.4))
    rate = members * MM_PER_HOUR
    when = _dates(members["time"])
    low, high, mean = rate.min("member"), rate.max("member"), rate.mean("member")
    axes.fill_between(when, low, high, color=COLOURS[0], alpha=0.25, lw=0, label="range of members")
    axes.plot(when, mean, color=COLOURS[0], linewidth=1.8, label="ensemble mean")
    for name, values in (others or {}).items():
        colour, dates = STYLE.get(name, COLOURS[1]), _dates(values["time"])
        axes.plot(dates, values * MM_PER_HOUR, label=name, color=colour, lw=1.2, ls="--")
    lowest, highest = float(low.min()), float(high.max())
    axes.set_ylim(bottom=0 if lowest < 0.5 * highest else None)
    figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    return figure


def _member_name(member: xr.DataArray, index: int) -> str:
    """By its number in the ensemble, where it has one."""
    numbers = [int(member[c]) for c in ("realization", "member") if c in member.coords]
    return f"member {numbers[0] if numbers else index}"


def _high(maps: Mapping[str, xr.DataArray]) -> float:
    """The rate that one cell in 2000 exceeds: the few above it take the colour of the arrow."""
    return max(float(np.nanquantile(m.values, 0.9995)) for m in maps.values())


def _dates(time: xr.DataArray) -> np.ndarray:
    """Times for an axis; those of other calendars as dates of the usual one, days kept apart."""
    if time.dtype != object:
        return np.asarray(time.values)
    first = time.values[0]
    start = pd.Timestamp(first.year, first.month, min(first.day, 28))
    return np.array([start + (t - first) for t in time.values], dtype="datetime64[ns]")


def _chart(
    title: str, x: str, y: str, *, size: tuple[float, float] = (6.4, 4.2)
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axes = figure.subplots()
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    axes.tick_params(labelsize=8.5, color=FAINT)
    axes.grid(True, which="major", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _line(name: str, systems: Mapping[str, xr.DataArray]) -> dict[str, Any]:
    """The same colour for a system in every figure: by its place among those that are not fixed."""
    free = [s for s in systems if s not in STYLE]
    colour = STYLE.get(name) or COLOURS[free.index(name) % len(COLOURS)]
    return {"color": colour, "linewidth": 2.2 if name == "truth" else 1.6}


def _height(field: xr.DataArray, rows: int, width: float = 3.3) -> float:
    """Figure height at which maps of this shape fill their columns of `width` inches."""
    grid = map_grid(field)
    stretch = 1.0 if grid.aspect == "equal" else float(grid.aspect)
    ratio = stretch * float(np.ptp(grid.y)) / float(np.ptp(grid.x))
    return rows * (width * 0.9 * ratio + 0.35) + 1.1


def _share_labels(axes: np.ndarray, columns: int) -> None:
    """Tick labels only at the left and the bottom of a group of equal maps."""
    for index, place in enumerate(axes):
        if index % columns:
            place.set_ylabel("")
            place.tick_params(labelleft=False)
        if index + columns < len(axes):
            place.set_xlabel("")
            place.tick_params(labelbottom=False)
