"""Realism against distortion over the network calls of a sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stvd.diagnostics import plots
from stvd.diagnostics.colours import INK

Curves = Mapping[str, Mapping[int, Mapping[str, Mapping[str, Any]]]]
"""Scores as of `stvd.score_tables.tabulate`, by solver and number of network calls."""
SHOWN = {  # score: label and unit
    "crps_fair": ("fair CRPS (10⁻⁵ kg m⁻² s⁻¹)", 1e-5),
    "mse_sample": ("MSE of a member (10⁻⁸ kg² m⁻⁴ s⁻²)", 1e-8),
    "pe": ("PE (10⁻³ kg m⁻² s⁻¹)", 1e-3),
}


def realism_distortion(curves: Curves, title: str = "") -> Figure:
    """Fair CRPS, squared error and PE against the calls, and realism (PE) against distortion (error)."""
    figure = Figure(figsize=(10, 7.4), layout="constrained", dpi=120)
    axes = figure.subplots(2, 2).ravel()
    every = sorted({k for points in curves.values() for k in points})
    for place, (label, _) in zip(axes, SHOWN.values(), strict=False):
        plots.plain(place, "network calls", label)
        place.set_xscale("log")
        place.set_xticks(every, [str(k) for k in every])
        place.minorticks_off()
    last = axes[-1]
    plots.plain(last, f"distortion: {SHOWN['mse_sample'][0]}", f"realism: {SHOWN['pe'][0]}")
    last.set_title("along the number of calls", fontsize=9, loc="left")
    for colour, (solver, points) in zip(plots.COLOURS, curves.items(), strict=False):
        calls = sorted(points)
        for place, name in zip(axes, SHOWN, strict=False):
            _along(place, name, solver, calls, points, colour)
        x, y = (
            [points[k][name]["value"] / SHOWN[name][1] for k in calls]
            for name in ("mse_sample", "pe")
        )
        last.plot(x, y, marker="o", markersize=4, color=colour, label=solver)
        for k, a, b in zip(calls, x, y, strict=True):
            last.annotate(str(k), (a, b), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes[0].legend(frameon=False)
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _along(
    place: Axes,
    name: str,
    solver: str,
    calls: Sequence[int],
    points: Mapping[int, Mapping[str, Mapping[str, Any]]],
    colour: str,
) -> None:
    entries, scale = [points[k][name] for k in calls], SHOWN[name][1]
    place.plot(calls, [e["value"] / scale for e in entries], marker="o", markersize=4,
               color=colour, label=solver)  # fmt: skip
    low, high = (
        [np.nan if e[k] is None else e[k] / scale for e in entries] for k in ("low", "high")
    )
    place.fill_between(calls, low, high, color=colour, alpha=0.15, lw=0)
