"""Sums over pieces of a record from which every score follows; pieces merge by `+`.

A *statistic* is a sum over frames, kept per block of time; a *score* (`stvd.scores`) is a function
of the summed statistics (the split of WeatherBench-X). So a record of any length is scored in the
memory of one piece, partitions scored apart and merged equal the record scored at once, and
resampling the blocks gives an interval for every score.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stvd.lattice import TimeAxis
from stvd.piece_statistics import FIELD, ScoreConfig, piece_statistics, scored_cells
from stvd.spatial import largest_rectangle
from stvd.temporal import Frames

FEWEST_BLOCKS = 5
MAX_BLOCKS = 64
SCORED_OFTEN = 0.9


def block_length(frames: int, step_seconds: int) -> int:
    """Frames of a bootstrap block: half an hour of sub-hourly rain, else a day, or longer.

    A record too short for 5 such blocks has 5 shorter ones; the interval is then rather too narrow.
    """
    # 64 blocks at most: they bound the memory of the sums, and more would not sharpen the interval.
    unit = max(1, (1800 if step_seconds < 3600 else 86400) // step_seconds)
    unit = min(unit, max(1, frames // FEWEST_BLOCKS))
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
                f"{self.members} members {self.config} and {other.members} members {other.config}. "
                "Where only the spectrum_box differs, other cells are missing: give one in the config"
            )
        sums = _merge([*_by_block(self.sums), *_by_block(other.sums)])
        if (sums["covered"] > 1).any():
            twice = int(sums["block"][(sums["covered"] > 1).any("slot").values][0])
            raise ValueError(
                f"both statistics count frames of block {twice}, which starts at frame "
                f"{twice * self.config.block_frames}; merge pieces that do not overlap"
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
    truth : DataArray, shape (time, [tile,] y, x); cells where it is missing (NaN) are not scored. None
        leaves only what the ensemble alone gives (spectrum, histogram)
    area : DataArray, shape ([tile,] y, x), m2: the weights
    coarse : DataArray, shape (time, [tile,] y / factor, x / factor), the input, for the block means;
        fine cells under a missing block (NaN) are not scored
    axis : the lattice of time on which blocks and windows lie; None counts frames from the first
    piece_values : how many values are worked on at once; about 100 bytes of memory each
    progress : called with (frames done, frames in all)

    Raises
    ------
    ValueError
        If a coordinate differs between the arrays, a member lacks a value in a cell that is scored,
        a value is infinite, or the units are not kg m-2 s-1.
    """
    arrays = {"pr": pr, "truth": truth, "coarse": coarse}
    _assert_comparable(arrays, area)
    times = pr["time"]
    frames = np.arange(times.size) if axis is None else axis.locate(times)
    if times.size == 0 or (np.diff(frames) <= 0).any():
        raise ValueError("pr has no frames, or its times do not ascend; sort them by time")

    if config.spectrum_box is None:
        box = spectrum_box(pr, truth, coarse, piece_values)
        config = config.model_copy(update={"spectrum_box": box})

    parts: dict[int, xr.Dataset] = {}
    before: Frames | None = None
    for slab in _slabs(pr, piece_values):
        loaded = {k: _load(v, slab, k) for k, v in arrays.items() if v is not None}
        for piece in _pieces(frames, slab, config.block_frames, loaded["pr"].sizes, piece_values):
            inside = slice(piece.start - slab.start, piece.stop - slab.start)
            cut = {k: v.isel(time=inside) for k, v in loaded.items()}
            valid = scored_cells(cut["pr"], cut.get("truth"), cut.get("coarse"))
            _assert_complete(cut["pr"], valid)
            first = piece.start
            if first == 0 or frames[first] != frames[first - 1] + 1:
                before = None
            sums, before = piece_statistics(
                cut, valid, _with_tile(area), frames[piece.start : piece.stop], before, config
            )
            block = int(sums["block"])
            parts[block] = parts[block] + sums if block in parts else sums
            if progress is not None:
                progress(piece.stop, times.size)
        del loaded, cut  # before the next slab is read
    return Statistics(config, pr.sizes["member"], _merge(parts.values()))


def spectrum_box(
    pr: xr.DataArray,
    truth: xr.DataArray | None,
    coarse: xr.DataArray | None,
    piece_values: int = 4_000_000,
) -> tuple[int, int, int, int] | None:
    """The largest rectangle of cells that are scored in most frames; None for the whole grid.

    Spectra of one record have to be of one grid, so the missing cells are counted beforehand.
    """
    if truth is None and coarse is None:
        return None
    one = pr.isel(member=0) if truth is None else truth
    counted, frames = np.zeros(1), 0
    for slab in _slabs(one, piece_values):
        sizes = {**one.sizes, "time": len(slab)}
        shape = np.broadcast_to(
            np.float32(0), tuple(sizes.values())
        )  # pr itself may be costly to read
        like = _with_tile(xr.DataArray(shape, dims=tuple(sizes)))
        known = {"truth": truth, "coarse": coarse}
        loaded = {k: None if v is None else _load(v, slab, k) for k, v in known.items()}
        valid = scored_cells(like, **loaded)
        some = valid.any(axis=(1, 2, 3))
        counted, frames = counted + valid.sum(axis=0), frames + int(some.sum())
    often = np.asarray((counted >= max(SCORED_OFTEN * frames, 1)).all(axis=0))
    found = None if often.all() else largest_rectangle(often)
    return (found[0].start, found[0].stop, found[1].start, found[1].stop) if found else None


def _by_block(sums: xr.Dataset) -> Iterator[xr.Dataset]:
    return (sums.isel(block=k) for k in range(sums.sizes["block"]))


def _merge(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Add the parts of each block, then stack the blocks in order."""
    blocks: dict[int, xr.Dataset] = {}
    for part in parts:
        key = int(part["block"])
        blocks[key] = blocks[key] + part if key in blocks else part
    return xr.concat([blocks[k] for k in sorted(blocks)], "block", join="exact")


def _assert_comparable(arrays: Mapping[str, xr.DataArray | None], area: xr.DataArray) -> None:
    pr = arrays["pr"]
    assert pr is not None
    assert_aligned(pr, arrays["truth"], "truth")
    assert_aligned(pr, arrays["coarse"], "coarse", ("time", "tile"))
    assert_aligned(pr, area, "area")
    for name, array in arrays.items():
        if array is not None and array.attrs.get("units", "kg m-2 s-1") != "kg m-2 s-1":
            raise ValueError(f"{name} is in {array.attrs['units']}; convert it to kg m-2 s-1")


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
    """Ranges of time to read at once: whole storage chunks if 16 pieces' worth of values allow."""
    count = pr.sizes["time"]
    per_frame = pr.size // count
    most = max(1, 16 * piece_values // per_frame)
    chunk = max(pr.chunksizes["time"]) if pr.chunks is not None else count
    few = max(1, 2 * piece_values // per_frame // chunk)  # small chunks are read several at once
    length = most if chunk > most else few * chunk
    return (range(k, min(k + length, count)) for k in range(0, count, length))


def _pieces(
    frames: np.ndarray, slab: range, block: int, sizes: Mapping[Hashable, int], piece_values: int
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
    _assert_none(
        loaded.copy(data=np.isinf(loaded.values)),
        f"{name} has {{}} infinite values, the first at {{}}; correct it",
    )
    return _with_tile(loaded)


def _assert_complete(pr: xr.DataArray, valid: np.ndarray) -> None:
    """Members have a value wherever they are scored."""
    _assert_none(
        pr.isnull() & xr.DataArray(valid, dims=FIELD),
        "pr has {} values that are not finite, the first at {}; an ensemble with gaps cannot be "
        "scored: run the partition again, leave the time out, or set the truth to NaN there",
    )


def _assert_none(bad: xr.DataArray, message: str) -> None:
    if not bad.any():
        return
    first = int(bad.any([d for d in bad.dims if d != "time"]).values.argmax())
    where = str(bad["time"].values[first]) if "time" in bad.coords else f"frame {first}"
    raise ValueError(message.format(int(bad.sum()), where))
