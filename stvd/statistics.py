"""Sums over pieces of a record from which every score follows; pieces merge by `+`.

A *statistic* is a sum over frames, kept per block of time; a *score* (`stvd.scores`) is a function
of the summed statistics (the split of WeatherBench-X). So a record of any length is scored in the
memory of one piece, partitions scored apart and merged equal the record scored at once, and
resampling the blocks gives an interval for every score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stvd.lattice import TimeAxis
from stvd.piece_statistics import ScoreConfig, piece_statistics, scored_cells, scored_frames
from stvd.score_pieces import assert_comparable, assert_complete, load, pieces, slabs, with_tile
from stvd.spectrum_box import spectrum_box
from stvd.temporal import Frames

FEWEST_BLOCKS = 5
MAX_BLOCKS = 64


def block_unit(step_seconds: int) -> int:
    """Frames of half an hour of sub-hourly rain, else of a day."""
    return max(1, (1800 if step_seconds < 3600 else 86400) // step_seconds)


def block_length(frames: int, step_seconds: int) -> int:
    """Frames of a bootstrap block: half an hour of sub-hourly rain, else a day, or longer.

    A record too short for 5 such blocks has 5 shorter ones; the interval is then rather too narrow.
    """
    # 64 blocks at most: they bound the memory of the sums, and more would not sharpen the interval.
    unit = min(block_unit(step_seconds), max(1, frames // FEWEST_BLOCKS))
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
        return merged([self, other])

    def coarsened(self, block_frames: int) -> Statistics:
        """The same in blocks of so many frames, a multiple of those that there are."""
        times, rest = divmod(block_frames, self.config.block_frames)
        if rest:
            raise ValueError(
                f"blocks of {self.config.block_frames} frames do not make up blocks of {block_frames}"
            )
        if times == 1:
            return self
        place = self.sums["block"].values % times
        number, first = np.unique(self.sums["block"].values // times, return_index=True)
        slots = np.zeros((place.size, times, self.config.block_frames))
        slots[np.arange(place.size), place] = self.sums["covered"].transpose("block", "slot").values
        found = {
            str(name): (field.dims, np.add.reduceat(field.values, first, axis=0))
            for name, field in self.sums.drop_vars("covered")
            .transpose("block", ...)
            .data_vars.items()
        }
        found["covered"] = (
            ("block", "slot"),
            np.add.reduceat(slots.reshape(place.size, block_frames), first, axis=0),
        )
        coords = self.sums.drop_vars("block").coords
        config = self.config.model_copy(update={"block_frames": block_frames})
        sums = xr.Dataset(found, coords).assign_coords(block=number)
        return Statistics(config, self.members, sums)

    def to_dataset(self) -> xr.Dataset:
        """As a dataset that `from_dataset` reads."""
        about = {"config": self.config.model_dump_json(), "members": self.members}
        return self.sums.assign_attrs(about)

    @classmethod
    def from_dataset(cls, kept: xr.Dataset) -> Statistics:
        """What `to_dataset` described."""
        config = ScoreConfig.model_validate_json(kept.attrs["config"])
        return cls(config, int(kept.attrs["members"]), kept.drop_attrs(deep=False))

    @property
    def frames(self) -> int:
        """How many frames were counted."""
        return int(self.sums["covered"].sum())


def merged(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of a record from those of its parts.

    Raises
    ------
    ValueError
        If they are of different configurations or ensemble sizes, or count a frame twice.
    """
    first = parts[0]
    for other in parts[1:]:
        if (first.config, first.members) != (other.config, other.members):
            raise ValueError(
                "statistics of different configurations or ensemble sizes do not merge: "
                f"{first.members} members {first.config} and {other.members} members {other.config}. "
                "Where only the spectrum_box differs, other cells are missing: give one in the config"
            )
    sums = _merge(block for part in parts for block in _by_block(part.sums))
    if (sums["covered"] > 1).any():
        twice = int(sums["block"][(sums["covered"] > 1).any("slot").values][0])
        raise ValueError(
            f"both statistics count frames of block {twice}, which starts at frame "
            f"{twice * first.config.block_frames}; merge pieces that do not overlap"
        )
    return Statistics(first.config, first.members, sums)


def gather(
    pr: xr.DataArray,
    truth: xr.DataArray | None,
    area: xr.DataArray,
    coarse: xr.DataArray | None = None,
    *,
    config: ScoreConfig,
    axis: TimeAxis | None = None,
    preceded: bool = False,
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
    preceded : the first frame is the one before the record: it is not counted, but steps from it are
    piece_values : how many values are worked on at once; about 100 bytes of memory each
    progress : called with (frames done, frames in all)

    Raises
    ------
    ValueError
        If a coordinate differs between the arrays, a member lacks a value in a cell that is scored,
        a value is infinite, or the units are not kg m-2 s-1.
    """
    given = {"pr": pr, "truth": truth, "coarse": coarse}
    assert_comparable(given, area)
    arrays = {k: v for k, v in given.items() if v is not None}
    times = pr["time"]
    frames = np.arange(times.size) if axis is None else axis.locate(times)
    if times.size == 0 or (np.diff(frames) <= 0).any():
        raise ValueError("pr has no frames, or its times do not ascend; sort them by time")

    if config.spectrum_box is None:
        box = spectrum_box(pr, truth, coarse, piece_values)
        config = config.model_copy(update={"spectrum_box": box})

    before: Frames | None = None
    if preceded:
        if frames.size < 2 or frames[1] != frames[0] + 1:
            raise ValueError("the first frame is not the one before the second; leave it out")
        cut = {k: load(v, range(1), k) for k, v in arrays.items()}
        before = scored_frames(cut, _scored(cut))
        arrays = {k: v.isel(time=slice(1, None)) for k, v in arrays.items()}
        frames = frames[1:]
    parts: dict[int, xr.Dataset] = {}
    for slab in slabs(arrays["pr"], piece_values, config.block_frames):
        loaded = {k: load(v, slab, k) for k, v in arrays.items()}
        for piece in pieces(frames, slab, config.block_frames, loaded["pr"].sizes, piece_values):
            inside = slice(piece.start - slab.start, piece.stop - slab.start)
            cut = {k: v.isel(time=inside) for k, v in loaded.items()}
            first = piece.start
            if first and frames[first] != frames[first - 1] + 1:
                before = None
            sums, before = piece_statistics(
                cut, _scored(cut), with_tile(area), frames[first : piece.stop], before, config
            )
            block = int(sums["block"])
            parts[block] = parts[block] + sums if block in parts else sums
            if progress is not None:
                progress(piece.stop, frames.size)
        del loaded, cut  # before the next slab is read
    return Statistics(config, pr.sizes["member"], _merge(parts.values()))


def _scored(cut: dict[str, xr.DataArray]) -> np.ndarray:
    """Where a piece is scored; there its members are complete."""
    valid = scored_cells(cut["pr"], cut.get("truth"), cut.get("coarse"))
    assert_complete(cut["pr"], valid)
    return valid


def _by_block(sums: xr.Dataset) -> Iterator[xr.Dataset]:
    return (sums.isel(block=k) for k in range(sums.sizes["block"]))


def _merge(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Add the parts of each block, then stack the blocks in order."""
    blocks: dict[int, xr.Dataset] = {}
    for part in parts:
        key = int(part["block"])
        blocks[key] = blocks[key] + part if key in blocks else part
    return xr.concat([blocks[k] for k in sorted(blocks)], "block", join="exact")
