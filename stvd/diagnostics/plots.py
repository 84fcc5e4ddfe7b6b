"""Charts of a product: spectra, histograms and ranks of all systems, series of its area mean.

Every function returns a matplotlib `Figure` of its own; nothing touches pyplot's global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from stvd.diagnostics.colours import FAINT, INK

MM_PER_HOUR = 3600.0  # mm h-1 per kg m-2 s-1
# Okabe and Ito's colours; truth is black, the input grey, whatever else is shown.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
POINTS = 400  # of a series
STYLE = {"truth": INK, "coarse": FAINT, "coarse input": FAINT}


def spectra(
    systems: Mapping[str, xr.DataArray], *, factor: int | None = None, title: str = ""
) -> Figure:
    """Radially averaged spectra of all systems, log-log, against wavelength.

    Parameters
    ----------
    systems : name → DataArray, shape (frequency,), (kg m-2 s-1)², cycles per fine cell
    factor : draws the shortest wave that the input resolves, 2 × factor cells
    """
    figure, axes = chart(title, "wavelength (fine cells)", "power spectral density ((mm h⁻¹)²)")
    for name, power in systems.items():
        axes.plot(
            1 / power["frequency"], power * MM_PER_HOUR**2, label=name, **line_of(name, systems)
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
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
    figure, axes = chart(title, "rain rate (mm h⁻¹)", "share of area and time per decade")
    for name, shares in systems.items():
        values = shares.values[1:].reshape(-1, merge).sum(axis=1)
        edges = shares["bin"].values[::merge] * MM_PER_HOUR
        density = values / np.diff(np.log10(edges))
        shown = (density > 0) & (edges[:-1] >= 0.01)
        middle = np.sqrt(edges[1:] * edges[:-1])
        axes.plot(middle[shown], density[shown], label=name, **line_of(name, systems))
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.legend(frameon=False, fontsize=9)
    return figure


def rank_histogram(scored: xr.Dataset, *, title: str = "") -> Figure:
    """Ranks of the truth among the members, everywhere and where it rains; flat is calibrated."""
    figure, axes = chart(title, "rank of the truth among the members", "share")
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

    Of more than 400 steps, means of as many as make at most 400 points.

    Parameters
    ----------
    members : DataArray, shape (member, time), kg m-2 s-1
    others : name → DataArray, shape (time,), for example truth and coarse input
    """
    every = -(-members.sizes["time"] // POINTS)
    said = f"area-mean precipitation (mm h⁻¹){f', means of {every} steps' if every > 1 else ''}"
    figure, axes = chart(title, "", said, size=(9.0, 3.4))
    rate = _means(members, every) * MM_PER_HOUR
    when = dates(rate["time"])
    low, high, mean = rate.min("member"), rate.max("member"), rate.mean("member")
    axes.fill_between(when, low, high, color=COLOURS[0], alpha=0.25, lw=0, label="range of members")
    axes.plot(when, mean, color=COLOURS[0], linewidth=1.8, label="ensemble mean")
    for name, values in (others or {}).items():
        colour = STYLE.get(name, COLOURS[1])
        shown = _means(values, every) * MM_PER_HOUR
        axes.plot(dates(shown["time"]), shown, label=name, color=colour, lw=1.2, ls="--")
    lowest, highest = float(low.min()), float(high.max())
    axes.set_ylim(bottom=0 if lowest < 0.5 * highest else None)
    figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    return figure


def _means(values: xr.DataArray, every: int) -> xr.DataArray:
    """Means of so many steps in a row, at the first of each."""
    if every == 1:
        return values
    first = values["time"][::every]
    blocks = values.drop_vars("time").coarsen(time=every, boundary="pad").mean()
    return blocks.assign_coords(time=first.drop_vars("time"))


def dates(time: xr.DataArray) -> np.ndarray:
    """Times for an axis; those of other calendars as dates of the usual one, days kept apart."""
    if time.dtype != object:
        return np.asarray(time.values)
    first = time.values[0]
    start = pd.Timestamp(first.year, first.month, min(first.day, 28))
    return np.array([start + (t - first) for t in time.values], dtype="datetime64[ns]")


def chart(
    title: str, x: str, y: str, *, size: tuple[float, float] = (6.4, 4.2)
) -> tuple[Figure, Axes]:
    """A figure with one set of axes, as all charts have it."""
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axes = figure.subplots()
    plain(axes, x, fill(y, round(11 * size[1])))
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    return figure, axes


def plain(axes: Axes, x: str, y: str) -> None:
    """Axes with two labels, a faint grid and no frame above and to the right."""
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8.5, color=FAINT)
    axes.grid(True, which="major", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def line_of(name: str, systems: Iterable[str]) -> dict[str, Any]:
    """The same colour for a system in every figure: by its place among those that are not fixed."""
    free = [s for s in systems if s not in STYLE]
    colour = STYLE.get(name) or COLOURS[free.index(name) % len(COLOURS)]
    return {"color": colour, "linewidth": 2.2 if name == "truth" else 1.6}
