"""From a record to the states of its months, each chunk read once; fields are worked on by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from stvd.contract import QUANTITIES
from stvd.diagnostics.accumulate import NO_REFERENCE, Reference, State, merged, state_of
from stvd.diagnostics.days import DayLattice, assert_ascending
from stvd.lattice import TimeAxis
from stvd.score_pieces import assert_aligned
from stvd.units import convert

RATE = QUANTITIES["pr"].units
PERCENTILES = ("p95", "p99")
SLAB_VALUES = 4_000_000
PIECE_CELLS = 32_768
THREAD_BYTES = 2**30
"""What the threads may hold of a record together."""

Piece = Mapping[str, slice]
"""Part of a field: a slice by dimension; dimensions that are not named are whole."""


def accumulate(
    pr: xr.DataArray,
    axis: TimeAxis,
    *,
    reference: xr.Dataset | xr.DataArray | None = None,
    area: xr.DataArray | None = None,
) -> list[State]:
    """The states of a record or a part of it, one for each month that it touches, in order.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), a rate of precipitation in the units that its
        attributes say, mid-interval times, lazily or in memory; a missing value is NaN
    axis : lattice of time of the record
    reference : Dataset of `p95` and `p99`, or either, the percentiles of wet days, mm d-1; a DataArray
        is taken as `p95`; its dimensions are among those of the cells
    area : DataArray, shape ([tile,] y, x), m2; with it states have a histogram of rates

    Raises
    ------
    ValueError
        If `pr` is no rate, its times do not ascend, steps do not make up days (`days.DayLattice`), or
        the coordinates of `reference` or `area` are not those of `pr`.
    """
    return list(Record.of(pr, axis, reference=reference, area=area).states({}))


@dataclass(frozen=True)
class Record:
    """A record whose states can be counted piece by piece.

    Parameters
    ----------
    pr, axis, area : as in `accumulate`
    frames, months : numbers of each time on the axis and of its month
    factor : what turns `pr` into kg m-2 s-1
    reference : percentiles by name, mm d-1, shape (percentile, ...); None without
    """

    pr: xr.DataArray
    axis: TimeAxis
    frames: np.ndarray
    months: np.ndarray
    factor: float
    reference: xr.DataArray | None
    area: xr.DataArray | None

    @classmethod
    def of(
        cls,
        pr: xr.DataArray,
        axis: TimeAxis,
        *,
        reference: xr.Dataset | xr.DataArray | None = None,
        area: xr.DataArray | None = None,
    ) -> Record:
        """Checked for errors, see `accumulate`."""
        frames = axis.locate(pr["time"])
        if not frames.size:
            raise ValueError("pr has no frames; choose a period that the record covers")
        assert_ascending(frames)
        assert_aligned(pr, area, "area")
        return cls(
            pr=pr,
            axis=axis,
            frames=frames,
            months=DayLattice.of(axis).months(frames),
            factor=rate_factor(pr),
            reference=None if reference is None else _percentiles(reference, pr),
            area=None if area is None else area.transpose(*cell_dims(pr)[1:]).compute(),
        )

    def states(self, piece: Piece) -> Iterator[State]:
        """States of the months of a piece of the field, in order."""
        for _, state in merged(self._parts(piece)):
            yield state

    def _parts(self, piece: Piece) -> Iterator[tuple[int, State]]:
        """States of what is read at once, cut where months begin."""
        dims = cell_dims(self.pr)
        shape = tuple(_isel(self.pr, piece).sizes[d] for d in dims)
        reference = NO_REFERENCE
        if self.reference is not None:
            at = _isel(self.reference, piece)
            at = at.expand_dims([d for d in dims if d not in at.dims])
            limits = at.transpose("percentile", *dims).values
            names = tuple(str(name) for name in at["percentile"].values)
            reference = Reference(names, np.broadcast_to(limits, (len(names), *shape)))
        area = None if self.area is None else _isel(self.area, piece).values
        for slab, values in blocks(self.pr, piece):
            keys = self.months[slab]
            cuts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
            for start, stop in pairwise(cuts):
                yield (
                    int(keys[start]),
                    state_of(
                        values[start:stop],
                        self.frames[slab][start:stop],
                        self.axis,
                        dims,
                        factor=self.factor,
                        reference=reference,
                        area=area,
                    ),
                )


def blocks(pr: xr.DataArray, piece: Piece) -> Iterator[tuple[slice, np.ndarray]]:
    """A piece of a field in time, some whole chunks after others: places, values (time, *cells)."""
    part, dims = _isel(pr, piece), cell_dims(pr)
    for slab in slabs(part):
        yield slab, _in_memory(part.isel(time=slab).transpose("time", *dims).data)


def rate_factor(pr: xr.DataArray) -> float:
    """What turns the values of `pr` into kg m-2 s-1, from its attribute `units`.

    Raises
    ------
    ValueError
        If the units are missing or not those of a rate of precipitation.
    """
    units = pr.attrs.get("units")
    if units == RATE:
        return 1.0
    remedy = f"set its attribute units to what its numbers are, such as {RATE!r} or 'mm d-1'"
    if units is None:
        raise ValueError(f"pr has no units; {remedy}")
    one, found = convert(xr.DataArray(1.0), str(units), RATE)
    if found != RATE:
        raise ValueError(f"pr is in {units!r}, which is no rate of precipitation; {remedy}")
    return float(one)


def pieces(pr: xr.DataArray, cells: int = PIECE_CELLS) -> list[Piece]:
    """Cut the field of a record into pieces of whole chunks of at least so many cells.

    Chunks are joined along x, then y, then tiles, then members.
    """
    dims = cell_dims(pr)
    cuts: dict[str, list[slice]] = {}
    wanted = cells
    for dim in reversed(dims):
        if pr.chunks is None:
            sizes: Sequence[int] = (1,) * pr.sizes[dim] if dim == "member" else (pr.sizes[dim],)
        else:
            sizes = pr.chunksizes[dim]
        several = max(1, -(-wanted // max(sizes)))
        cuts[dim] = grouped(sizes, several * max(sizes))
        wanted = max(1, -(-wanted // max(s.stop - s.start for s in cuts[dim])))
    return [dict(zip(dims, cut, strict=True)) for cut in product(*(cuts[d] for d in dims))]


def thread_count(pr: xr.DataArray, parts: Sequence[Piece]) -> int:
    """How many pieces may be worked on at once: one a processor, if memory allows."""
    one = _isel(pr, parts[0])
    held = 8 * one.isel(time=slabs(one)[0]).size
    return max(1, min(CPU_COUNT, THREAD_BYTES // max(1, held)))


def slabs(pr: xr.DataArray) -> list[slice]:
    """Cut a record in time into whole chunks, several at once where they are small."""
    count = pr.sizes["time"]
    sizes = (1,) * count if pr.chunks is None else pr.chunksizes["time"]
    return grouped(sizes, max(1, SLAB_VALUES * count // max(1, pr.size)))


def grouped(sizes: Iterable[int], most: int) -> list[slice]:
    """Join neighbouring chunks as long as they are not longer than `most` together."""
    found: list[slice] = []
    start = stop = 0
    for size in sizes:
        if stop > start and stop + size - start > most:
            found.append(slice(start, stop))
            start = stop
        stop += size
    return [*found, slice(start, stop)]


def cell_dims(pr: xr.DataArray) -> tuple[str, ...]:
    """Dimensions of the cells, in the order of the contract."""
    order = ("member", "tile", "y", "x")
    strange = [str(d) for d in pr.dims if d not in (*order, "time")]
    if strange or "member" not in pr.dims:
        raise ValueError(f"pr has the dimensions {pr.dims} and not (member, time, [tile,] y, x)")
    return tuple(d for d in order if d in pr.dims)


def _isel(array: xr.DataArray, piece: Piece) -> xr.DataArray:
    return array.isel({d: s for d, s in piece.items() if d in array.dims})


def _in_memory(block: Any) -> np.ndarray:
    """Values of a lazy array, read in this thread, for pieces have a thread each."""
    if not isinstance(block, dask.array.Array):
        return np.asarray(block)
    if block.npartitions == 1:  # of which compute would make a copy
        block = block.to_delayed().item()
    return np.asarray(block.compute(scheduler="synchronous"))


def _percentiles(reference: xr.Dataset | xr.DataArray, pr: xr.DataArray) -> xr.DataArray:
    """Percentiles of a reference, of the shape of the cells."""
    given = reference if isinstance(reference, xr.Dataset) else reference.to_dataset(name="p95")
    names = [str(name) for name in given.data_vars]
    if not names or not set(names) <= set(PERCENTILES):
        raise ValueError(f"the reference holds {names} and not p95, p99, percentiles of wet days")
    found = []
    for name in names:
        field = given[name]
        assert_aligned(pr, field, f"the reference {name}")
        units = field.attrs.get("units", "mm d-1")
        field, units = convert(field, units, "mm d-1") if units != "mm d-1" else (field, units)
        if units != "mm d-1":
            raise ValueError(f"the reference {name} is in {units!r}; convert it to mm d-1")
        strange = [str(d) for d in field.dims if d not in cell_dims(pr)]
        if strange:
            raise ValueError(f"the reference {name} has dimensions {strange} that pr has not")
        found.append(field.compute().reset_coords(drop=True))
    labels = xr.DataArray(names, dims="percentile", name="percentile")
    return xr.concat(found, labels, coords="minimal", compat="override").astype(np.float64)
