"""Spectra, histograms and autocorrelation of all systems, comparable on one axis."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from stvd.lattice import TimeAxis
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score
from stvd.statistics import gather


def on_fine_cells(
    coarse: xr.DataArray, area: xr.DataArray, config: ScoreConfig, axis: TimeAxis
) -> xr.Dataset:
    """Spectrum, histogram and autocorrelation of the coarse input, in the terms of the fine grid.

    With power |F|² / n of n cells, a wave has 1 / factor² of the power that it has on the fine
    grid, where there are factor² times as many cells; and its frequency, in cycles per cell, is
    factor times as high. Both are put right here, so that the curves lie on each other at the
    scales that the input resolves.

    Parameters
    ----------
    coarse : DataArray, shape (time, [tile,] y, x), kg m-2 s-1
    area : DataArray, shape ([tile,] y × factor, x × factor), m2, of the fine cells
    config : of the scores of the product
    axis : lattice of time

    Returns
    -------
    Dataset with `rapsd` (frequency, cycles per fine cell), `histogram` (bin) and `autocorrelation`
    (lag, fine cells)
    """
    factor = area.sizes["x"] // coarse.sizes["x"]
    cells = coarse_area(area, coarse)
    plain = ScoreConfig(
        periodic_x=config.periodic_x,
        block_frames=config.block_frames,
        thresholds=(),
        lags=(1, 2, 4),
    )
    # As its own truth, so that its missing cells are left out.
    sums = gather(coarse.expand_dims("member"), coarse, cells, config=plain, axis=axis)
    found = score(sums, replicates=0)
    found["rapsd"] = found["rapsd"] * factor**2
    found = found.assign_coords(frequency=found["frequency"] / factor, lag=found["lag"] * factor)
    return found[["rapsd", "histogram", "autocorrelation"]]


def coarse_area(area: xr.DataArray, coarse: xr.DataArray) -> xr.DataArray:
    """Area of the coarse cells, from that of the fine ones, m2."""
    factor = area.sizes["x"] // coarse.sizes["x"]
    static = xr.DataArray(area.variable)  # block means of its coordinates are not those of coarse
    return static.coarsen(y=factor, x=factor).sum()


def by_system(
    variable: str, scores: Mapping[str, xr.Dataset], coarse: xr.Dataset | None
) -> dict[str, xr.DataArray]:
    """`rapsd`, `histogram` or `autocorrelation` of the truth, of every system and of the input, those there are."""
    found = {}
    first = next(iter(scores.values()))
    if f"{variable}_truth" in first:
        found["truth"] = first[f"{variable}_truth"]
    found |= {name: scored[variable] for name, scored in scores.items()}
    if coarse is not None:
        found["coarse input"] = coarse[variable]
    return found
