"""Charts of realism: autocorrelation in space and time, and what the output keeps of its input and seams.

Every function returns a matplotlib `Figure` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from stvd.diagnostics.colours import FAINT, INK, units_text
from stvd.diagnostics.plots import COLOURS, line_of, plain
from stvd.score_formulas import RATE

SEAMS = {
    "seam_ratio": "between windows, members",
    "seam_ratio_truth": "between windows, truth",
    "tile_seam_ratio": "between tiles, members",
    "tile_seam_ratio_truth": "between tiles, truth",
}
SKILLS = {
    "crps_fair": "fair CRPS",
    "spread_skill": "spread–skill ratio",
    "fss_1mmh_8cells": "FSS, 1 mm/h, 8 cells",
    "fss_8cells": "FSS, 8 cells",
    "twcrps": "CRPS above the threshold",
}
Systems = Mapping[str, xr.DataArray]


def autocorrelation(space: Systems, time: Systems, *, step_hours: float, title: str = "") -> Figure:
    """How alike rain is some cells away and some hours later, of all systems.

    Parameters
    ----------
    space : name → DataArray, shape (lag,), lag in fine cells
    time : name → DataArray, shape (lag,), lag in frames
    step_hours : length of a frame
    """
    figure = Figure(figsize=(9.0, 3.9), layout="constrained", dpi=120)
    axes = figure.subplots(1, 2, sharey=True)
    names = [*space, *(n for n in time if n not in space)]
    drawn = ((space, 1.0, "distance (fine cells)"), (time, step_hours, "time between (hours)"))
    for place, (systems, unit, label) in zip(axes, drawn, strict=True):
        plain(place, label, "correlation" if place is axes[0] else "")
        for name, values in systems.items():
            look = line_of(name, names)
            lag = values["lag"].values * unit
            place.plot(lag, values.values, marker="o", markersize=3, label=name, **look)
        place.set_xscale("log", base=2)
        place.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        place.axhline(0, color=FAINT, linewidth=0.8)
    figure.suptitle(title, fontsize=10.5, color=INK, x=0.01, ha="left")
    handles = {n: h for a in axes for h, n in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=9, ncols=5,
                  loc="outside lower center")  # fmt: skip
    return figure


def consistency(scores: Mapping[str, xr.Dataset], *, title: str = "") -> Figure | None:
    """Departure of block means from the input by system, and seam ratios; None where neither is known.

    Parameters
    ----------
    scores : a dataset of `stvd.scores.score` by system
    """
    kept = {n: s["block_violation"] for n, s in scores.items() if "block_violation" in s}
    first = next(iter(scores.values()))
    seams = {said: first[n] for n, said in SEAMS.items() if n in first}
    shown = [
        (rows, label)
        for rows, label in (
            (kept, "departure of block means from the input (share of the rain)"),
            (seams, "change at seams over change elsewhere"),
        )
        if rows
    ]
    if not shown:
        return None
    rows = max(len(r) for r, _ in shown)
    figure = Figure(figsize=(4.6 * len(shown), 1.5 + 0.34 * rows), layout="constrained", dpi=120)
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for place, (entries, label) in zip(axes, shown, strict=True):
        plain(place, label, "")
        estimates(place, entries, COLOURS[0])
        if entries is kept:
            place.set_xscale("log")
        else:
            place.axvline(1, color=FAINT, linewidth=0.9, linestyle="--")
    figure.suptitle(title, fontsize=10.5, color=INK, x=0.01, ha="left")
    return figure


def skill(rows: pd.DataFrame, *, title: str = "") -> Figure:
    """Some scores of one system by season, region, members and threshold, with their intervals.

    Parameters
    ----------
    rows : of `skill.skill_rows` and `skill.threshold_rows`, of one system
    """
    shown = [
        (by, name, part)
        for by, part_of in rows.groupby("by", sort=False)
        for name in SKILLS
        if len(part := part_of[part_of["score"] == name])
    ]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    high = 1.1 + 0.26 * max(len(part) for _, _, part in shown)
    figure = Figure(figsize=(3.6 * columns, lines * high + 0.5), layout="constrained", dpi=120)
    axes = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    for place, (by, name, part) in zip(axes, shown, strict=False):
        rate = str(part["units"].iloc[0]) == RATE  # else with an offset text over the label
        units = units_text("mm h-1" if rate else str(part["units"].iloc[0]))
        plain(place, f"{SKILLS[name]}{f' ({units})' if units else ''}", "")
        bounds = part[["value", "low", "high"]].to_numpy(float) * (3600 if rate else 1)
        _rows(place, part["of"].tolist(), bounds, COLOURS[0])
        place.set_title(f"by {by}", fontsize=9, color=INK, loc="left")
    for place in axes[len(shown) :]:
        place.set_axis_off()
    figure.suptitle(title, fontsize=10.5, color=INK, x=0.01, ha="left")
    return figure


def estimates(axes: Axes, named: Systems, colour: str) -> None:
    """A row a name: the value, and its interval where there is one.

    Parameters
    ----------
    named : name → DataArray, shape (estimate,), value, low and high
    """
    bounds = [v.sel(estimate=["value", "low", "high"]).values for v in named.values()]
    _rows(axes, list(named), np.array(bounds, float), colour)


def _rows(axes: Axes, names: Sequence[str], bounds: np.ndarray, colour: str) -> None:
    """Values and intervals, shape (name, 3), from the top down."""
    place = np.arange(len(names))[::-1]
    value, low, high = bounds.T
    axes.hlines(place, low, high, color=colour, linewidth=1.6, alpha=0.6)
    axes.plot(value, place, "o", color=colour, markersize=5)
    axes.set_yticks(place, names, fontsize=8.5)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(4))
