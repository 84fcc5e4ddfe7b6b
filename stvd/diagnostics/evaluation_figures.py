"""Figures of an evaluation: members, mean and variance at the wettest time, spectra, histograms, ranks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from stvd.diagnostics import maps, plots
from stvd.diagnostics.spectra import by_system, on_fine_cells
from stvd.evaluation import Evaluation


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
    found = moment(evaluation, main)
    period = str(event.axis.period(event.frames)).replace("/", " to ")
    title = f"{event.name} · {period}"
    if all(float(shares[1:].sum()) > 0 for shares in systems["histogram"].values()):
        found["spectra"] = plots.spectra(systems["rapsd"], factor=event.factor, title=title)
        found["histogram"] = plots.intensity(systems["histogram"], title=title)
    if "rank_histogram" in evaluation.scores[main]:
        found["ranks"] = plots.rank_histogram(evaluation.scores[main], title=f"{main} · {title}")
    return found


def moment(evaluation: Evaluation, system: str) -> dict[str, Figure]:
    """Members of a system, and their variance beside the squared error of their mean, at one time.

    It is the frame with the highest mean rain over the scored cells.
    """
    event = evaluation.event
    space = [d for d in event.truth.dims if d != "time"]
    index = int(np.nanargmax(event.truth.mean(space).values))
    truth = event.truth.isel(time=index).compute()
    pr = evaluation.runs[system].isel(time=index).compute().where(truth.notnull())
    coarse = event.scored_coarse().isel(time=index)
    when = event.axis.period(range(event.frames[index], event.frames[index] + 1)).start
    title = f"{system} · {event.name} · {when.replace('T', ' ')}"
    found = {"members": maps.panel(pr, coarse, truth=truth, grid=event.grid, title=title)}
    if pr.sizes["member"] > 1:
        found["variance"] = maps.variance_map(pr, truth, grid=event.grid, title=title)
    return found
