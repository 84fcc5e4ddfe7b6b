"""The statistics of one piece: sums over its frames, area-weighted over its cells.

Arrays are loaded and always have a tile dimension: members (member, time, tile, y, x), truth
(time, tile, y, x), both kg m-2 s-1. `stvd.statistics` cuts the pieces and merges the sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from scores.probability import crps_for_ensemble

from stvd.grid import coarsen_area_weighted
from stvd.intensity import intensity_histogram
from stvd.spatial import (
    autocorrelation,
    neighbourhood_fraction,
    radial_frequencies,
    radial_spectrum,
)

MM_PER_HOUR = 1 / 3600
"""1 mm h-1 in kg m-2 s-1."""
FIELD = ("time", "tile", "y", "x")

Sums = dict[str, tuple[Any, Any]]
"""Name of a sum: its dimensions and its values."""


class ScoreConfig(BaseModel):
    """What is counted, and on which lattice. Statistics merge only with those of the same config.

    Parameters
    ----------
    wet : mm h-1; the wet rank histogram takes cells where the truth or any member reaches it
    thresholds : mm h-1, of the fractions skill score
    scales : sides of its neighbourhoods, cells
    lags : distances of the autocorrelation, cells
    window : frames sampled jointly; None leaves the seam ratio out
    periodic_x : x closes on itself
    block_frames : length of a bootstrap block in frames, on the absolute lattice
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wet: float = Field(0.1, gt=0)
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    scales: tuple[int, ...] = (1, 8, 32)
    lags: tuple[int, ...] = (1, 2, 4, 8, 16)
    window: int | None = Field(None, gt=1)
    periodic_x: bool = False
    block_frames: int = Field(8, gt=0)


def piece_statistics(
    cut: dict[str, xr.DataArray],
    area: xr.DataArray,
    frames: np.ndarray,
    last: tuple[np.ndarray, np.ndarray | None] | None,
    config: ScoreConfig,
) -> xr.Dataset:
    """Sum one piece, which lies within one block.

    Parameters
    ----------
    cut : `pr` and, where known, `truth` and `coarse`, loaded
    area : DataArray, shape (tile, y, x)
    frames : absolute numbers of the frames, consecutive, shape (time,)
    last : the members and the truth one frame before, shapes (member, tile, y, x) and
        (tile, y, x); None if they are not at hand

    Returns
    -------
    Dataset of sums with the scalar coordinate `block`
    """
    block = int(frames[0]) // config.block_frames
    covered = np.zeros(config.block_frames)
    covered[frames % config.block_frames] = 1
    x = cut["pr"]
    weights = (area / area.sum()).astype(np.float64)
    frequency = radial_frequencies((x.sizes["y"], x.sizes["x"]))
    out: Sums = {"covered": ("slot", covered)}

    y = cut.get("truth")
    valid = xr.ones_like(x.isel(member=0), dtype=bool) if y is None else y.notnull()
    wt = (weights * valid).transpose(*FIELD).values
    systems = {"": x.values}
    if y is not None:
        systems["_truth"] = y.fillna(0.0).values[None]
        out |= _pointwise(x, y.fillna(0.0), wt, config)
        out |= _fractions(x.values, systems["_truth"], valid.values, config)
        out |= _autocorrelations(x.values, systems["_truth"], valid.values, config)
    for name, values in systems.items():
        masked = np.where(valid.values, values, 0.0)
        spectrum = radial_spectrum(masked, periodic_x=config.periodic_x)
        out["rapsd" + name] = ("frequency", spectrum.mean(axis=(0, 2)).sum(axis=0))
        out["histogram" + name] = ("bin", intensity_histogram(values, wt) / len(values))
    if config.window is not None:
        before = None if last is None else last[0]
        out |= _jumps(x.values, wt, frames, before, "", config.window)
        if y is not None:
            before = None if last is None else last[1][None] if last[1] is not None else None
            out |= _jumps(y.values[None], wt, frames, before, "_truth", config.window)
    if "coarse" in cut:
        out |= _block_means(x, cut["coarse"], area)
    labels = {
        "frequency": ("frequency", frequency, {"units": "1", "long_name": "cycles per cell"}),
        "threshold": ("threshold", list(config.thresholds), {"units": "mm h-1"}),
        "scale": ("scale", list(config.scales), {"units": "1", "long_name": "cells"}),
        "lag": ("lag", list(config.lags), {"units": "1", "long_name": "cells"}),
        "rank": ("rank", np.arange(1, len(x) + 2)),
    }
    labels = labels if y is not None else {"frequency": labels["frequency"]}
    return xr.Dataset(out, coords=labels).assign_coords(block=block)


def _pointwise(x: xr.DataArray, y: xr.DataArray, weights: np.ndarray, config: ScoreConfig) -> Sums:
    """Area-weighted sums over frames of what is a function of one cell, and the ranks."""
    members = x.sizes["member"]
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    crps, under, over, spread = (
        crps_for_ensemble(
            x64, y64, "member", method="ecdf", preserve_dims="all", include_components=True
        )
        .transpose("component", *FIELD)
        .values
    )
    fair = under + over - spread * members / max(members - 1, 1)
    mean = x64.values.mean(axis=0)

    def total(values: np.ndarray | float) -> tuple[tuple, float]:
        return (), float((values * weights).sum())

    ranks = {"rank_all": weights, "rank_wet": weights * _wet(x.values, y.values, config.wet)}
    return {
        "weight": total(1.0),
        "crps": total(crps),
        "crps_fair": total(fair if members > 1 else np.nan * fair),
        "error": total(mean - y64.values),
        "mse_mean": total((mean - y64.values) ** 2),
        "mse_sample": total(((x64.values - y64.values) ** 2).mean(axis=0)),
        "variance": total(x64.values.var(axis=0, ddof=1) if members > 1 else np.nan * mean),
    } | {k: ("rank", _ranks(x.values, y.values, w)) for k, w in ranks.items()}


def _wet(x: np.ndarray, y: np.ndarray, wet: float) -> np.ndarray:
    """Where any of truth and members rains: symmetric, so a calibrated ensemble stays flat."""
    return np.asarray(np.maximum(x.max(axis=0), y) >= wet * MM_PER_HOUR)


def _ranks(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the truth in each rank, ties shared equally, shape (member + 1,)."""
    members = len(x)
    below, equal = (x < y).sum(axis=0), (x == y).sum(axis=0)
    table = np.bincount(
        (below * (members + 1) + equal).ravel(), weights.ravel(), minlength=(members + 1) ** 2
    ).reshape(members + 1, members + 1)
    ranks = np.zeros(members + 1)
    for b, t in np.argwhere(table):
        ranks[b : b + t + 1] += table[b, t] / (t + 1)
    return ranks


def _fractions(x: np.ndarray, y: np.ndarray, valid: np.ndarray, config: ScoreConfig) -> Sums:
    """Σ (f − o)² and Σ f² + o² of the fractions skill score, mean over members."""
    shape = (len(config.thresholds), len(config.scales))
    skill, reference = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, threshold in enumerate(config.thresholds):
        events = [(v >= threshold * MM_PER_HOUR) & valid for v in (x, y)]
        for j, scale in enumerate(config.scales):
            if scale > min(x.shape[-2:]):
                continue
            f, o = (neighbourhood_fraction(e, scale, periodic_x=config.periodic_x) for e in events)
            skill[i, j] = _sum_of_frames((f - o) ** 2)
            reference[i, j] = _sum_of_frames(f**2) + _sum_of_frames(o**2)
    dims = ("threshold", "scale")
    return {"fss_difference": (dims, skill), "fss_reference": (dims, reference)}


def _sum_of_frames(values: np.ndarray) -> float:
    """Sum over time of the mean over members and cells, of shape (member, time, tile, y, x)."""
    return float(values.mean(axis=(0, 2, 3, 4)).sum())


def _autocorrelations(x: np.ndarray, y: np.ndarray, valid: np.ndarray, config: ScoreConfig) -> Sums:
    """Σ |ρ_member − ρ_truth| over frames, tiles and members, and how many were defined, per lag."""
    ours, true = (
        autocorrelation(v, config.lags, valid=valid, periodic_x=config.periodic_x) for v in (x, y)
    )
    gap = np.abs(ours - true)
    sums = np.nansum(gap, axis=(0, 1, 2)), np.isfinite(gap).sum(axis=(0, 1, 2))
    return {
        "autocorrelation_gap": ("lag", sums[0]),
        "autocorrelation_count": ("lag", sums[1] * 1.0),
    }


def _jumps(
    values: np.ndarray,
    weights: np.ndarray,
    frames: np.ndarray,
    before: np.ndarray | None,
    name: str,
    window: int,
) -> Sums:
    """Σ of the mean |frame-to-frame change| at window edges and inside windows, and their numbers.

    Cells missing in either frame (NaN) take no part. The step into a frame whose predecessor is not
    at hand is not counted.
    """
    if before is not None:
        values = np.concatenate([before[:, None], values], axis=1)
        weights = np.concatenate([weights[:1], weights], axis=0)
        arrivals = frames
    else:
        arrivals = frames[1:]
    change = np.abs(np.diff(values.astype(np.float64), axis=1)).mean(axis=0)
    w = np.where(np.isfinite(change), weights[1:], 0.0)
    size = w.sum(axis=(1, 2, 3))
    jump = np.nan_to_num(change * w).sum(axis=(1, 2, 3)) / np.where(size > 0, size, 1)
    edge = (arrivals % window == 0) & (size > 0)
    inside = (arrivals % window != 0) & (size > 0)
    return {
        f"jump_edge{name}": ((), float(jump[edge].sum())),
        f"jump_inside{name}": ((), float(jump[inside].sum())),
        f"steps_edge{name}": ((), float(edge.sum())),
        f"steps_inside{name}": ((), float(inside.sum())),
    }


def _block_means(x: xr.DataArray, coarse: xr.DataArray, area: xr.DataArray) -> Sums:
    """Σ |block mean − coarse| and Σ coarse, both area-weighted, over frames; mean over members."""
    factor = x.sizes["x"] // coarse.sizes["x"]
    if x.sizes["x"] != factor * coarse.sizes["x"] or x.sizes["y"] != factor * coarse.sizes["y"]:
        raise ValueError(
            f"the fine grid {x.sizes['y']} × {x.sizes['x']} is no multiple of the coarse grid "
            f"{coarse.sizes['y']} × {coarse.sizes['x']}"
        )
    blocks = coarsen_area_weighted(x.astype(np.float64), area, factor)
    size = area.coarsen(y=factor, x=factor).sum()
    size = size / size.sum()
    gap = abs(blocks - coarse.transpose(*FIELD)).mean("member")
    return {
        "block_gap": ((), float((gap * size).sum())),
        "block_rain": ((), float((coarse * size).sum())),
    }
