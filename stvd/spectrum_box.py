"""The cells whose spectrum is taken: the largest rectangle of those that are scored in most frames.

Spectra of one record have to be of one grid, so it is counted beforehand how often each cell is scored;
counts of parts of a record merge by `+`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from stvd.piece_statistics import FIELD, scored_cells
from stvd.score_pieces import load, slabs, with_tile
from stvd.spatial import largest_rectangle

SCORED_OFTEN = 0.9
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scored:
    """How often each cell is scored, shape (tile, y, x), of so many frames with any that is."""

    counts: np.ndarray
    frames: int

    def __add__(self, other: Scored) -> Scored:
        return Scored(self.counts + other.counts, self.frames + other.frames)

    def box(self) -> Box | None:
        """The largest rectangle of cells that are scored in 9 of 10 frames; None for the whole grid."""
        often = (self.counts >= max(SCORED_OFTEN * self.frames, 1)).all(axis=0)
        found = None if often.all() else largest_rectangle(np.asarray(often))
        return (found[0].start, found[0].stop, found[1].start, found[1].stop) if found else None

    def to_dataset(self) -> xr.Dataset:
        """As a dataset that `from_dataset` reads."""
        return xr.Dataset({"counts": (FIELD[1:], self.counts), "frames": self.frames})

    @classmethod
    def from_dataset(cls, kept: xr.Dataset) -> Scored:
        """What `to_dataset` described."""
        return cls(kept["counts"].values, int(kept["frames"]))


def count_scored(
    pr: xr.DataArray,
    truth: xr.DataArray | None,
    coarse: xr.DataArray | None,
    piece_values: int = 4_000_000,
) -> Scored:
    """Count the frames in which each cell is scored; of `pr`, which may be costly, no value is read."""
    one = pr.isel(member=0) if truth is None else truth
    found = Scored(np.zeros((1, 1, 1), np.int64), 0)
    for slab in slabs(one, piece_values):
        sizes = {**one.sizes, "time": len(slab)}
        shape = np.broadcast_to(np.float32(0), tuple(sizes.values()))
        like = with_tile(xr.DataArray(shape, dims=tuple(sizes)))
        known = {"truth": truth, "coarse": coarse}
        loaded = {k: None if v is None else load(v, slab, k) for k, v in known.items()}
        valid = scored_cells(like, **loaded)
        found += Scored(valid.sum(axis=0), int(valid.any(axis=(1, 2, 3)).sum()))
    return found


def spectrum_box(
    pr: xr.DataArray,
    truth: xr.DataArray | None,
    coarse: xr.DataArray | None,
    piece_values: int = 4_000_000,
) -> Box | None:
    """The cells of a record whose spectrum is taken; None for the whole grid."""
    if truth is None and coarse is None:
        return None
    return count_scored(pr, truth, coarse, piece_values).box()
