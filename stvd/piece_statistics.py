"""The statistics of one piece: sums over its frames, area-weighted over its cells.

Arrays are loaded and always have a tile dimension: members (member, time, tile, y, x), truth
(time, tile, y, x), both kg m-2 s-1. `stvd.statistics` cuts the pieces and merges the sums.

A cell is *scored* where the truth and the coarse input, those that are given, have a value. No sum
takes any other cell:

| sums | what is counted |
| --- | --- |
| of cells (CRPS, errors, ranks, rates) | scored cells |
| over time (seams, lag 1, wet and dry) | cells scored in both frames |
| of neighbours (tile seams, autocorrelation) | pairs of scored cells |
| of neighbourhoods (FSS) | boxes of scored cells alone |
| spectra | frames of which every cell of `ScoreConfig.spectrum_box` is scored |
| block means | blocks with coarse input and all members |
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stvd.grid import coarsen_area_weighted
from stvd.intensity import intensity_histogram
from stvd.pointwise import Sums, ensemble_sums
from stvd.spatial import (
    autocorrelation,
    box_counts,
    event_table,
    neighbour_jumps,
    radial_frequencies,
    radial_spectrum,
)
from stvd.temporal import Frames, temporal_sums

MM_PER_HOUR = 1 / 3600
"""1 mm h-1 in kg m-2 s-1."""
FIELD = ("time", "tile", "y", "x")


class ScoreConfig(BaseModel):
    """What is counted, and on which lattice. Statistics merge only with those of the same config.

    Parameters
    ----------
    wet : mm h-1, from which on a cell is wet; the wet rank histogram takes cells where the truth or
        any member reaches it
    thresholds : mm h-1, of the fractions skill score
    scales : sides of its neighbourhoods, cells
    tails : mm h-1, thresholds of the threshold-weighted CRPS
    lags : distances of the autocorrelation, cells
    window : length of the cycle of windows, frames; None leaves the seam ratio out. Windows of T
        frames that are sampled one by one have a cycle of T
    window_edges : where in the cycle a window begins: a seam lies between frame k − 1 and k for every
        k ≡ edge (mod `window`). Windows of 5 that share a frame have `window=4, window_edges=(0, 1)`
    tile_edges_y, tile_edges_x : edges of the tiles sampled apart, for the tile-seam ratio: edge k lies
        between the cells k − 1 and k; in x, 0 is the one where a periodic grid closes
    spectrum_box : (y start, y stop, x start, x stop) of the cells whose spectrum is taken. None takes
        the whole grid, or where truth is missing the largest rectangle of cells scored in 9 of 10
        frames
    periodic_x : x closes on itself
    block_frames : length of a bootstrap block in frames, on the absolute lattice
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wet: float = Field(0.1, gt=0)
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    scales: tuple[int, ...] = (1, 8, 32)
    tails: tuple[float, ...] = (1.0, 5.0)
    lags: tuple[int, ...] = (1, 2, 4, 8, 16)
    window: int | None = Field(None, gt=1)
    window_edges: tuple[int, ...] = (0,)
    tile_edges_y: tuple[int, ...] = ()
    tile_edges_x: tuple[int, ...] = ()
    spectrum_box: tuple[int, int, int, int] | None = None
    periodic_x: bool = False
    block_frames: int = Field(8, gt=0)

    @model_validator(mode="after")
    def _edges_lie_in_the_cycle(self) -> ScoreConfig:
        beyond = [e for e in self.window_edges if not 0 <= e < (self.window or e + 1)]
        if beyond or not self.window_edges:
            raise ValueError(
                f"window_edges {self.window_edges} do not lie in a cycle of {self.window} frames; "
                "give the frames of the cycle, from 0, at which a window begins"
            )
        return self


def scored_cells(
    pr: xr.DataArray, truth: xr.DataArray | None, coarse: xr.DataArray | None
) -> np.ndarray:
    """Where truth and coarse input, those that are given, have a value.

    Returns
    -------
    bool array, shape (time, tile, y, x)

    Raises
    ------
    ValueError
        If the coarse grid does not divide the fine one.
    """
    shape = tuple(pr.sizes[d] for d in FIELD)
    valid = np.ones(shape, bool) if truth is None else truth.transpose(*FIELD).notnull().values
    if coarse is None:
        return valid
    factor = _factor(pr, coarse)
    known = coarse.transpose(*FIELD).notnull().values
    return valid & known.repeat(factor, axis=2).repeat(factor, axis=3)


def scored_frames(cut: Mapping[str, xr.DataArray], valid: np.ndarray) -> Frames:
    """Members and, where known, truth of `piece_statistics`, 0 in the cells that are not scored."""
    truth = _where_scored(cut["truth"], valid) if "truth" in cut else None
    return Frames(_where_scored(cut["pr"], valid), truth, valid)


def piece_statistics(
    cut: Mapping[str, xr.DataArray],
    valid: np.ndarray,
    area: xr.DataArray,
    frames: np.ndarray,
    before: Frames | None,
    config: ScoreConfig,
) -> tuple[xr.Dataset, Frames]:
    """Sum one piece, which lies within one block.

    Parameters
    ----------
    cut : `pr` and, where known, `truth` and `coarse`, loaded
    valid : `scored_cells` of them; members are finite there
    area : DataArray, shape (tile, y, x)
    frames : absolute numbers of the frames, consecutive, shape (time,)
    before : the frame before them; None if it is not at hand

    Returns
    -------
    Dataset of sums with the scalar coordinate `block`; the last frame, for the piece after this
    """
    block = int(frames[0]) // config.block_frames
    covered = np.zeros(config.block_frames)
    covered[frames % config.block_frames] = 1
    weights = (area / area.sum()).astype(np.float64).values
    now = scored_frames(cut, valid)
    x, y = now.x, now.y
    out: Sums = {"covered": ("slot", covered)}
    out |= _of_cells(now, weights, config)
    if y is not None:
        out |= _fractions(x, y, valid, config)
    out |= _autocorrelations(x, y, valid, config)
    out |= _spectra(now, config)
    out |= temporal_sums(
        now,
        before,
        frames,
        weights,
        wet=config.wet * MM_PER_HOUR,
        window=config.window,
        edges=config.window_edges,
    )
    if config.tile_edges_y or config.tile_edges_x:
        out |= _tile_jumps(now, weights * valid, config)
    if "coarse" in cut:
        out |= _block_means(cut["pr"], cut["coarse"], area)
    coords = {k: v for k, v in _labels(now, config).items() if any(k in d for d, _ in out.values())}
    return xr.Dataset(out, coords=coords).assign_coords(block=block), now.last()


def _where_scored(values: xr.DataArray, valid: np.ndarray) -> np.ndarray:
    """Values in memory, 0 where they are not scored."""
    return values.values if valid.all() else np.where(valid, values.values, 0)


def _labels(now: Frames, config: ScoreConfig) -> dict[str, tuple]:
    box = _box(config, now.x)
    shape = box[0].stop - box[0].start, box[1].stop - box[1].start
    rate = {"units": "mm h-1"}
    cells = {"units": "1", "long_name": "cells"}
    return {
        "frequency": (
            "frequency",
            radial_frequencies(shape),
            {"units": "1", "long_name": "cycles per cell"},
        ),
        "threshold": ("threshold", list(config.thresholds), rate),
        "tail": ("tail", list(config.tails), rate),
        "scale": ("scale", list(config.scales), cells),
        "lag": ("lag", list(config.lags), cells),
        "rank": ("rank", np.arange(1, len(now.x) + 2)),
    }


def _of_cells(now: Frames, weights: np.ndarray, config: ScoreConfig) -> Sums:
    """Sums over scored cells of what is a function of one cell, and the histograms of rates."""
    w = np.broadcast_to(weights, now.valid.shape)[now.valid]
    x = now.x[:, now.valid]
    found: Sums = {"histogram": ("bin", intensity_histogram(x, w) / len(x))}
    if now.y is None:
        return found
    y = now.y[now.valid]
    found["histogram_truth"] = ("bin", intensity_histogram(y, w))
    tails = [t * MM_PER_HOUR for t in config.tails]
    return found | ensemble_sums(x, y, w, wet=config.wet * MM_PER_HOUR, tails=tails)


def _fractions(x: np.ndarray, y: np.ndarray, valid: np.ndarray, config: ScoreConfig) -> Sums:
    """Σ (f − o)² and Σ f² + o² of the fractions skill score over boxes, mean over members."""
    found = np.zeros((2, len(config.thresholds), len(config.scales)))
    fitting = [(j, s) for j, s in enumerate(config.scales) if s <= min(x.shape[-2:])]
    found[:, :, [s > min(x.shape[-2:]) for s in config.scales]] = np.nan
    for place in np.ndindex(y.shape[:2]):
        missing = None if valid[place].all() else event_table(~valid[place])
        for i, threshold in enumerate(config.thresholds):
            observed, *forecast = (v >= threshold * MM_PER_HOUR for v in (y[place], *x[:, *place]))
            found[:, i] += _fraction_sums(observed, forecast, missing, fitting, config)
    dims = ("threshold", "scale")
    return {"fss_difference": (dims, found[0]), "fss_reference": (dims, found[1])}


def _fraction_sums(
    observed: np.ndarray,
    forecast: list[np.ndarray],
    missing: np.ndarray | None,
    scales: list[tuple[int, int]],
    config: ScoreConfig,
) -> np.ndarray:
    """The sums of `_fractions` of one frame and threshold, per scale, divided by all cells."""
    periodic = config.periodic_x
    found = np.zeros((2, len(config.scales)))
    truth = event_table(observed)
    boxes, whole = {}, {}
    for j, scale in scales:
        if missing is not None:
            whole[j] = box_counts(missing, scale, periodic_x=periodic) == 0
        boxes[j] = _fraction(truth, scale, whole.get(j), periodic)
    for event in forecast:
        table = event_table(event) if event.any() else None
        for j, scale in scales:
            o = boxes[j]
            f = o * 0 if table is None else _fraction(table, scale, whole.get(j), periodic)
            reference = f @ f + o @ o
            found[:, j] += reference - 2 * (f @ o), reference
    return found / (len(forecast) * observed.size)


def _fraction(
    table: np.ndarray, scale: int, whole: np.ndarray | None, periodic: bool
) -> np.ndarray:
    """Share of the cells of every box that have the event, 0 in boxes with a missing cell, flat."""
    counts = box_counts(table, scale, periodic_x=periodic)
    counts = counts if whole is None else counts * whole
    return counts.ravel() * (1 / scale**2)


def _autocorrelations(
    x: np.ndarray, y: np.ndarray | None, valid: np.ndarray, config: ScoreConfig
) -> Sums:
    """Σ ρ of each system and Σ |ρ_member − ρ_truth| over frames, tiles and members, and how many of
    each were defined, per lag."""
    systems = {"": x} if y is None else {"": x, "_truth": y}
    found = {
        name: autocorrelation(v, config.lags, valid=valid, periodic_x=config.periodic_x)
        for name, v in systems.items()
    }
    if y is not None:
        found["_gap"] = np.abs(found[""] - found["_truth"])
    out: Sums = {}
    for name, values in found.items():
        by_lag = values.reshape(-1, len(config.lags))
        out[f"autocorrelation{name}"] = ("lag", np.nansum(by_lag, axis=0))
        known = "autocorrelation_count" if name == "_gap" else f"autocorrelation{name}_known"
        out[known] = ("lag", np.isfinite(by_lag).sum(axis=0) * 1.0)
    return out


def _box(config: ScoreConfig, x: np.ndarray) -> tuple[slice, slice]:
    if config.spectrum_box is None:
        return slice(0, x.shape[-2]), slice(0, x.shape[-1])
    top, bottom, left, right = config.spectrum_box
    return slice(top, bottom), slice(left, right)


def _spectra(now: Frames, config: ScoreConfig) -> Sums:
    """Σ of the spectra of frames without a missing cell in the box, and how many there are."""
    box = _box(config, now.x)
    whole = np.asarray(now.valid[:, :, *box].all(axis=(-2, -1)))
    around = config.periodic_x and box[1] == slice(0, now.x.shape[-1])
    systems = {"": now.x} if now.y is None else {"": now.x, "_truth": now.y[None]}
    out: Sums = {"spectra": ((), float(whole.sum()))}
    for name, values in systems.items():
        power = 0.0 * radial_frequencies(now.x[0, 0, 0, *box].shape)
        for member, time, tile in np.ndindex(values.shape[:3]):
            if whole[time, tile]:
                field = values[member, time, tile, *box]
                power += radial_spectrum(field, periodic_x=around) / len(values)
        out["rapsd" + name] = ("frequency", power)
    return out


def _tile_jumps(now: Frames, weights: np.ndarray, config: ScoreConfig) -> Sums:
    """Σ |difference of neighbours| over tile edges and inside tiles along y and x; Σ of weights."""
    systems = {"": now.x} if now.y is None else {"": now.x, "_truth": now.y[None]}
    along = ((-2, config.tile_edges_y, False), (-1, config.tile_edges_x, config.periodic_x))
    out: Sums = {}
    for name, values in systems.items():
        sums = np.zeros((4, 2))
        for member in values:
            for k, (axis, edges, periodic) in enumerate(along):
                jumps = neighbour_jumps(member, weights, edges, axis, periodic=periodic)
                sums[:, k] += jumps.sum(axis=(1, 2)) / len(values)
        for key, value in zip(("edge", "inside"), sums[:2], strict=True):
            out[f"tile_{key}{name}"] = ("along", value)
        out |= {"tile_pairs_edge": ("along", sums[2]), "tile_pairs_inside": ("along", sums[3])}
    return out


def _factor(x: xr.DataArray, coarse: xr.DataArray) -> int:
    factor = x.sizes["x"] // coarse.sizes["x"]
    if x.sizes["x"] != factor * coarse.sizes["x"] or x.sizes["y"] != factor * coarse.sizes["y"]:
        raise ValueError(
            f"the fine grid {x.sizes['y']} × {x.sizes['x']} is no multiple of the coarse grid "
            f"{coarse.sizes['y']} × {coarse.sizes['x']}"
        )
    return factor


def _block_means(x: xr.DataArray, coarse: xr.DataArray, area: xr.DataArray) -> Sums:
    """Σ |block mean − coarse| and Σ coarse, both area-weighted, over frames; mean over members."""
    factor = _factor(x, coarse)
    size = area.coarsen(y=factor, x=factor).sum().values
    size = size / size.sum()
    given = coarse.transpose(*FIELD).values.astype(np.float64)
    gap = 0.0 * given
    for member in x.transpose("member", ...):
        blocks = coarsen_area_weighted(member.astype(np.float64), area, factor)
        gap += np.abs(blocks.transpose(*FIELD).values - given) / x.sizes["member"]
    known = np.isfinite(gap)
    return {
        "block_gap": ((), float((np.where(known, gap, 0.0) * size).sum())),
        "block_rain": ((), float((np.where(known, given, 0.0) * size).sum())),
    }
