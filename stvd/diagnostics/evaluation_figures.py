"""Figures of an evaluation: members, mean and variance at the wettest time, spectra, histograms, ranks."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics import plots
from stvd.diagnostics.canvas import INK, colour_bar, draw_field, dress, rain_scale
from stvd.diagnostics.spectra import by_system, on_fine_cells
from stvd.evaluation import Evaluation

Field = TypeVar("Field", xr.DataArray, xr.Dataset)


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Every figure that the systems of an evaluation allow, by the name of its file.

    The members are those of stvd, or of the first system where stvd was not scored; the windows around
    the wettest frame are sampled again for them. Without rain there are no spectra and no histogram.
    """
    event, config = evaluation.event, next(iter(evaluation.statistics.values())).config
    main = "stvd" if "stvd" in evaluation.runs else next(iter(evaluation.runs))
    coarse = on_fine_cells(event.scored_coarse(), event.grid["areacella"], config, event.axis)
    systems = {
        v: by_system(v, evaluation.scores, coarse if v == "histogram" else None)
        for v in ("rapsd", "histogram")
    }
    found = maps(evaluation, main)
    period = str(event.axis.period(event.frames)).replace("/", " to ")
    title = f"{event.name} · {period}"
    if all(float(shares[1:].sum()) > 0 for shares in systems["histogram"].values()):
        found["spectra"] = plots.spectra(systems["rapsd"], factor=event.factor, title=title)
        found["histogram"] = plots.intensity(systems["histogram"], title=title)
    if "rank_histogram" in evaluation.scores[main]:
        found["ranks"] = plots.rank_histogram(evaluation.scores[main], title=f"{main} · {title}")
    return found


def maps(evaluation: Evaluation, system: str) -> dict[str, Figure]:
    """Members of a system, and their variance beside the squared error of their mean, at one time.

    It is the frame with the highest mean rain over the scored cells.
    """
    event = evaluation.event
    space = [d for d in event.truth.dims if d != "time"]
    index = int(np.nanargmax(event.truth.mean(space).values))
    truth = _one_tile(event.truth.isel(time=index).compute())
    pr = _one_tile(evaluation.runs[system].isel(time=index).compute()).where(truth.notnull())
    coarse = _one_tile(event.scored_coarse().isel(time=index))
    static = _one_tile(event.grid)
    when = event.axis.period(range(event.frames[index], event.frames[index] + 1)).start
    title = f"{system} · {event.name} · {when.replace('T', ' ')}"
    found = {"members": plots.panel(pr, coarse, truth=truth, grid=static, title=title)}
    if pr.sizes["member"] > 1:
        found["variance"] = _variance(pr, truth, static, title)
    return found


def _variance(pr: xr.DataArray, truth: xr.DataArray, static: xr.Dataset, title: str) -> Figure:
    """Variance of the members beside the squared error of their mean, on one scale."""
    square = plots.MM_PER_HOUR**2
    panels = {
        "variance of the members": pr.var("member", ddof=1) * square,
        "squared error of their mean": (pr.mean("member") - truth) ** 2 * square,
    }
    top = max(float(np.nanquantile(p.values, 0.9995)) for p in panels.values())
    scale = rain_scale(max(top / 1000, 0.01), max(top, 0.1), "mm² h⁻²")
    figure = Figure(figsize=(9.0, 4.6), layout="constrained", dpi=120)
    axes = list(figure.subplots(1, 2))
    for place, (name, field) in zip(axes, panels.items(), strict=True):
        mesh = draw_field(place, field, scale)
        dress(place, truth, static, name)
    colour_bar(figure, mesh, axes, scale, "variance")
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _one_tile(field: Field) -> Field:
    return field.isel(tile=0) if "tile" in field.dims else field
