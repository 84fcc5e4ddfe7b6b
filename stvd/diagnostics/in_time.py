"""What a record says frame by frame, in one pass: its area means, and how long rain stays as it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import xarray as xr

from stvd.diagnostics.accumulate_record import Piece, blocks, cell_dims, pieces, thread_count
from stvd.lattice import TimeAxis
from stvd.score_pieces import assert_aligned

LAGS = (1, 2, 4, 8, 16)
CELLS = 2048  # of a piece of the field, evenly spread, whose correlation is taken
ROWS = 64  # frames that are worked on at once


class _Sums(NamedTuple):
    """Of a piece: Σ w x and Σ w, shape (time, member); moments of pairs, shape (lag, 6)."""

    weighted: np.ndarray
    weights: np.ndarray
    moments: np.ndarray


def in_time(pr: xr.DataArray, area: xr.DataArray, axis: TimeAxis) -> xr.Dataset:
    """Area means of every frame, and the correlation of cells with themselves some frames later.

    The correlation at a lag is that of all pairs of values of one cell and member which lie so many
    frames apart, weighted by area (lag 1 is `lag1` of `stvd.scores`), of at least 2048 cells
    where there are more. Each chunk is read once; memory holds a chunk a thread.

    Parameters
    ----------
    pr : DataArray, shape ([member,] time, [tile,] y, x), ascending in time, lazily or in memory; a
        missing value (NaN) takes no part
    area : DataArray, shape ([tile,] y, x), m2
    axis : lattice of time of the record

    Returns
    -------
    Dataset: `area_mean` ([member,] time), the units of `pr`; `autocorrelation` (lag), 1, with `lag`
    in frames
    """
    assert_aligned(pr, area, "area")
    field = pr if "member" in pr.dims else pr.expand_dims("member")
    dims, sizes, frames = cell_dims(field), field.sizes, axis.locate(field["time"])
    weights = area.transpose(*dims[1:]).values.astype(np.float64)
    weighted = np.zeros((sizes["time"], sizes["member"]))
    known = np.zeros_like(weighted)
    moments = np.zeros((len(LAGS), 6))
    parts = pieces(field)

    def count(piece: Piece) -> _Sums:
        place = tuple(piece.get(d, slice(None)) for d in dims[1:])
        return _counted(field, piece, weights[place].ravel(), frames)

    with ThreadPoolExecutor(thread_count(field, parts)) as pool:
        for piece, sums in zip(parts, pool.map(count, parts), strict=True):
            members = piece.get("member", slice(None))
            weighted[:, members] += sums.weighted
            known[:, members] += sums.weights
            moments += sums.moments
    with np.errstate(invalid="ignore", divide="ignore"):  # where nothing is known
        mean = xr.DataArray(weighted / known, dims=("time", "member"), attrs=pr.attrs)
        correlation = _correlation(moments)
    coords = {n: c for n, c in field.coords.items() if set(c.dims) <= {"time", "member"}}
    mean = mean.transpose("member", "time").assign_coords(coords)
    lag = xr.Variable("lag", list(LAGS), {"long_name": "frames apart", "units": "1"})
    about = {"long_name": "correlation of rain with that of the same cell", "units": "1"}
    return xr.Dataset(
        {
            "area_mean": mean if "member" in pr.dims else mean.isel(member=0, drop=True),
            "autocorrelation": ("lag", correlation, about),
        },
        {"lag": lag},
    )


def _counted(field: xr.DataArray, piece: Piece, weights: np.ndarray, frames: np.ndarray) -> _Sums:
    every = max(1, weights.size // CELLS)
    few = weights[::every]
    moments = np.zeros((len(LAGS), 6))
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    before: tuple[np.ndarray, np.ndarray] | None = None
    for slab, block in blocks(field, piece):
        values = block.reshape(*block.shape[:2], -1)
        for first in range(0, len(values), ROWS):
            part = values[first : first + ROWS].astype(np.float64)
            there = np.isfinite(part)
            rows.append((np.where(there, part, 0.0) @ weights, there @ weights))
        thin, now = values[..., ::every].astype(np.float64), frames[slab]
        new = 0 if before is None else len(before[1])
        if before is not None:
            thin, now = np.concatenate([before[0], thin]), np.concatenate([before[1], now])
        moments += [_moments(thin, now, new, lag, few) for lag in LAGS]
        before = thin[-max(LAGS) :].copy(), now[-max(LAGS) :]
    weighted, known = (np.concatenate([row[k] for row in rows]) for k in (0, 1))
    return _Sums(weighted, known, moments)


def _moments(
    values: np.ndarray, numbers: np.ndarray, new: int, lag: int, weights: np.ndarray
) -> np.ndarray:
    """Σ w, Σ w a, Σ w b, Σ w a², Σ w b², Σ w a b of pairs whose later frame is at `new` or after."""
    later = np.arange(new, len(numbers))
    earlier = np.searchsorted(numbers, numbers[later] - lag)
    paired = numbers[earlier] == numbers[later] - lag
    a, b = values[earlier[paired]], values[later[paired]]
    both = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    parts = (both, a, b, a * a, b * b, a * b)
    return np.array([float((part @ weights).sum()) for part in parts])


def _correlation(moments: np.ndarray) -> np.ndarray:
    weight, a, b, aa, bb, ab = moments.T
    spread = np.clip(weight * aa - a**2, 0, None) * np.clip(weight * bb - b**2, 0, None)
    return np.asarray(np.where(spread > 0, (weight * ab - a * b) / np.sqrt(spread), np.nan))
