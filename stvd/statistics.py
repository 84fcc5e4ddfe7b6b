"""Sums over pieces of a record from which every score follows; pieces merge by `+`.

A *statistic* is a sum over frames, kept per block of time; a *score* (`stvd.scores`) is a function
of the summed statistics (the split of WeatherBench-X). So a record of any length is scored in the
memory of one piece, partitions scored apart and merged equal the record scored at once, and
resampling the blocks gives an interval for every score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from scores.probability import crps_for_ensemble

from stvd.grid import coarsen_area_weighted
from stvd.intensity import intensity_histogram
from stvd.lattice import TimeAxis
from stvd.spatial import (
    autocorrelation,
    neighbourhood_fraction,
    radial_frequencies,
    radial_spectrum,
)

MM_PER_HOUR = 1 / 3600
"""1 mm h-1 in kg m-2 s-1."""
FIELD = ("time", "tile", "y", "x")
MAX_BLOCKS = 64


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


def block_length(frames: int, step_seconds: int) -> int:
    """Frames of a bootstrap block: half an hour of sub-hourly rain, else a day, in at most 64 blocks."""
    unit = max(1, (1800 if step_seconds < 3600 else 86400) // step_seconds)
    return unit * max(1, -(-frames // (unit * MAX_BLOCKS)))


@dataclass(frozen=True)
class Statistics:
    """Sums per block of time: `sums` has the dimension `block`, the number of the block.

    `covered(block, slot)` marks the frames that were counted, so that none is counted twice.
    """

    config: ScoreConfig
    members: int
    sums: xr.Dataset

    def __add__(self, other: Statistics) -> Statistics:
        if (self.config, self.members) != (other.config, other.members):
            raise ValueError(
                "statistics of different configurations or ensemble sizes do not merge: "
                f"{self.members} members {self.config} and {other.members} members {other.config}"
            )
        sums = _merge([*_by_block(self.sums), *_by_block(other.sums)])
        if (sums["covered"] > 1).any():
            twice = int(sums["block"][(sums["covered"] > 1).any("slot").values][0])
            raise ValueError(
                f"frames of block {twice} (frames {twice * self.config.block_frames} on) are in both "
                "statistics; merge pieces that do not overlap"
            )
        return Statistics(self.config, self.members, sums)

    @property
    def frames(self) -> int:
        """How many frames were counted."""
        return int(self.sums["covered"].sum())


def gather(
    pr: xr.DataArray,
    truth: xr.DataArray | None,
    area: xr.DataArray,
    coarse: xr.DataArray | None = None,
    *,
    config: ScoreConfig,
    axis: TimeAxis | None = None,
    piece_values: int = 4_000_000,
    progress: Callable[[int, int], None] | None = None,
) -> Statistics:
    """Read an ensemble once, piece by piece, and sum what the scores need.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, lazily or in memory
    truth : DataArray, shape (time, [tile,] y, x); cells where it is missing are not scored. None
        leaves only what the ensemble alone gives (spectrum, histogram)
    area : DataArray, shape ([tile,] y, x), m2: the weights
    coarse : DataArray, shape (time, [tile,] y / factor, x / factor), the input, for the block means
    axis : the lattice of time on which blocks and windows lie; None counts frames from the first
    piece_values : how many values are worked on at once; about 100 bytes of memory each
    progress : called with (frames done, frames in all)

    Raises
    ------
    ValueError
        If a coordinate differs between the arrays, a member has a value that is not finite, or
        the units are not kg m-2 s-1.
    """
    assert_aligned(pr, truth, "truth")
    assert_aligned(pr, area, "area")
    if coarse is not None:
        assert_aligned(pr, coarse, "coarse", ("time", "tile"))
    arrays = {"pr": pr, "truth": truth, "coarse": coarse}
    for name, array in arrays.items():
        if array is not None and array.attrs.get("units", "kg m-2 s-1") != "kg m-2 s-1":
            raise ValueError(f"{name} is in {array.attrs['units']}; convert it to kg m-2 s-1")

    times = pr["time"]
    frames = np.arange(times.size) if axis is None else axis.locate(times)
    if times.size == 0 or (np.diff(frames) <= 0).any():
        raise ValueError("pr has no frames, or its times do not ascend; sort them by time")

    parts: dict[int, xr.Dataset] = {}
    last: tuple[np.ndarray, np.ndarray | None] | None = None
    for slab in _slabs(pr, piece_values):
        loaded = {k: _load(v, slab, k) for k, v in arrays.items() if v is not None}
        for piece in _pieces(frames, slab, config.block_frames, loaded["pr"].sizes, piece_values):
            inside = slice(piece.start - slab.start, piece.stop - slab.start)
            cut = {k: v.isel(time=inside) for k, v in loaded.items()}
            first = piece.start
            if first == 0 or frames[first] != frames[first - 1] + 1:
                last = None
            sums = _sums(cut, _with_tile(area), frames[piece.start : piece.stop], last, config)
            block = int(sums["block"])
            parts[block] = parts[block] + sums if block in parts else sums
            y = cut["truth"].values[-1] if truth is not None else None
            last = (cut["pr"].values[:, -1], y)
            if progress is not None:
                progress(piece.stop, times.size)
    return Statistics(config, pr.sizes["member"], _merge(parts.values()))


def _by_block(sums: xr.Dataset) -> Iterator[xr.Dataset]:
    return (sums.isel(block=k) for k in range(sums.sizes["block"]))


def _merge(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Add the parts of each block, then stack the blocks in order."""
    blocks: dict[int, xr.Dataset] = {}
    for part in parts:
        key = int(part["block"])
        blocks[key] = blocks[key] + part if key in blocks else part
    return xr.concat([blocks[k] for k in sorted(blocks)], "block", join="exact")


def assert_aligned(
    pr: xr.DataArray,
    other: xr.DataArray | None,
    name: str,
    dims: tuple[str, ...] = ("time", "tile", "y", "x"),
) -> None:
    """Refuse arrays whose sizes or coordinates differ at all: a join would silently drop cells."""
    if other is None:
        return
    for dim in dims:
        if dim in other.dims and dim in pr.dims and pr.sizes[dim] != other.sizes[dim]:
            raise ValueError(
                f"pr and {name} differ along {dim}: {pr.sizes[dim]} and {other.sizes[dim]} points"
            )
    for key in ("time", "tile", "y", "x", "lat", "lon"):
        if key not in pr.coords or key not in other.coords or not set(pr[key].dims) <= set(dims):
            continue
        a, b = pr[key].values, other[key].values
        if a.shape != b.shape or not np.array_equal(a, b):
            raise ValueError(
                f"the coordinate {key} of pr and {name} differ; select the same cells and times, "
                "and copy the coordinate where it differs by rounding only"
            )


def _slabs(pr: xr.DataArray, piece_values: int) -> Iterator[range]:
    """Ranges of time to read at once: whole storage chunks where 16 pieces' worth of values allow."""
    count = pr.sizes["time"]
    per_frame = pr.size // count
    most = max(1, 16 * piece_values // per_frame)
    chunk = max(pr.chunksizes["time"]) if pr.chunks is not None else count
    length = min(most, chunk) if chunk > most else most // chunk * chunk
    return (range(k, min(k + length, count)) for k in range(0, count, length))


def _pieces(
    frames: np.ndarray, slab: range, block: int, sizes: dict[str, int], piece_values: int
) -> Iterator[range]:
    """Cut a slab at gaps, at the edges of blocks, and to a size that fits in memory."""
    per_frame = int(np.prod([n for d, n in sizes.items() if d != "time"]))
    longest = max(1, piece_values // per_frame)
    start = slab.start
    while start < slab.stop:
        stop = start + 1
        same = frames[start] // block
        while (
            stop < slab.stop
            and stop - start < longest
            and frames[stop] // block == same
            and frames[stop] == frames[stop - 1] + 1
        ):
            stop += 1
        yield range(start, stop)
        start = stop


def _with_tile(array: xr.DataArray) -> xr.DataArray:
    array = array if "tile" in array.dims else array.expand_dims("tile")
    order = [d for d in ("member", *FIELD) if d in array.dims]
    return array.transpose(*order).reset_coords(drop=True)


def _load(array: xr.DataArray, slab: range, name: str) -> xr.DataArray:
    loaded = array.isel(time=slice(slab.start, slab.stop)).compute()
    if name != "truth" and not np.isfinite(loaded.values).all():
        bad = ~np.isfinite(loaded)
        when = loaded["time"][bad.any([d for d in loaded.dims if d != "time"]).values]
        where = str(when.values[0]) if "time" in loaded.coords else f"frame {slab.start}"
        raise ValueError(
            f"{name} has {int(bad.sum())} values that are not finite, the first at {where}; scores of "
            "an ensemble with gaps are not comparable: run the partition again, or cut the period"
        )
    return _with_tile(loaded)


def _sums(
    cut: dict[str, xr.DataArray],
    area: xr.DataArray,
    frames: np.ndarray,
    last: tuple[np.ndarray, np.ndarray | None] | None,
    config: ScoreConfig,
) -> xr.Dataset:
    """The statistics of one piece of one block."""
    block = int(frames[0]) // config.block_frames
    covered = np.zeros(config.block_frames)
    covered[frames % config.block_frames] = 1
    x = cut["pr"]
    weights = (area / area.sum()).astype(np.float64)
    frequency = radial_frequencies((x.sizes["y"], x.sizes["x"]))
    out: dict[str, xr.DataArray | tuple] = {"covered": ("slot", covered)}

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


def _pointwise(
    x: xr.DataArray, y: xr.DataArray, weights: np.ndarray, config: ScoreConfig
) -> dict[str, tuple]:
    """Area-weighted sums over frames of what is a function of one cell, and the ranks."""
    members = x.sizes["member"]
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    crps, under, over, spread = crps_for_ensemble(
        x64, y64, "member", method="ecdf", preserve_dims="all", include_components=True
    ).transpose("component", *FIELD).values
    fair = under + over - spread * members / max(members - 1, 1)
    mean = x64.values.mean(axis=0)
    total = lambda values: ((), float((values * weights).sum()))
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
    """Where the truth or any member rains: symmetric in them, so a calibrated ensemble stays flat."""
    return np.asarray(np.maximum(x.max(axis=0), y) >= wet * MM_PER_HOUR)


def _ranks(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the truth in each rank among the members, ties shared equally, shape (member + 1,)."""
    members = len(x)
    below, equal = (x < y).sum(axis=0), (x == y).sum(axis=0)
    table = np.bincount(
        (below * (members + 1) + equal).ravel(), weights.ravel(), minlength=(members + 1) ** 2
    ).reshape(members + 1, members + 1)
    ranks = np.zeros(members + 1)
    for b, t in np.argwhere(table):
        ranks[b : b + t + 1] += table[b, t] / (t + 1)
    return ranks


def _fractions(
    x: np.ndarray, y: np.ndarray, valid: np.ndarray, config: ScoreConfig
) -> dict[str, tuple]:
    """Numerator Σ (f − o)² and denominator Σ f² + o² of the fractions skill score, mean over members."""
    shape = (len(config.thresholds), len(config.scales))
    skill, reference = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, threshold in enumerate(config.thresholds):
        events = [(v >= threshold * MM_PER_HOUR) & valid for v in (x, y)]
        for j, scale in enumerate(config.scales):
            if scale > min(x.shape[-2:]):
                continue
            f, o = (neighbourhood_fraction(e, scale, periodic_x=config.periodic_x) for e in events)
            per_frame = lambda values: values.mean(axis=(0, 2, 3, 4)).sum()
            skill[i, j] = per_frame((f - o) ** 2)
            reference[i, j] = per_frame(f**2) + per_frame(o**2)
    dims = ("threshold", "scale")
    return {"fss_difference": (dims, skill), "fss_reference": (dims, reference)}


def _autocorrelations(
    x: np.ndarray, y: np.ndarray, valid: np.ndarray, config: ScoreConfig
) -> dict[str, tuple]:
    """Σ |ρ_member − ρ_truth| over frames, tiles and members, and how many were defined, per lag."""
    options = {"valid": valid, "periodic_x": config.periodic_x}
    gap = np.abs(
        autocorrelation(x, config.lags, **options) - autocorrelation(y, config.lags, **options)
    )
    sums = np.nansum(gap, axis=(0, 1, 2)), np.isfinite(gap).sum(axis=(0, 1, 2))
    return {"autocorrelation_gap": ("lag", sums[0]), "autocorrelation_count": ("lag", sums[1] * 1.0)}


def _jumps(
    values: np.ndarray,
    weights: np.ndarray,
    frames: np.ndarray,
    before: np.ndarray | None,
    name: str,
    window: int,
) -> dict[str, tuple]:
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


def _block_means(x: xr.DataArray, coarse: xr.DataArray, area: xr.DataArray) -> dict[str, tuple]:
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
    gap = np.abs(blocks - coarse.transpose(*FIELD)).mean("member")
    return {
        "block_gap": ((), float((gap * size).sum())),
        "block_rain": ((), float((coarse * size).sum())),
    }
