"""The state of a stretch of a record: all that its days have to say, and what its neighbours need.

A state is made from a block of frames in one pass; states of neighbouring stretches merge to that
of the whole, bit for bit, wherever the record was cut (the histogram excepted, which is a sum of
areas). So partitions are counted once each, months merge to years, and five-day sums, spells and
days that a cut divides are those of the record uncut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

import numpy as np

from stvd.diagnostics.accumulate_days import QUANTUM, DayTally, Run
from stvd.diagnostics.days import DAY, DayLattice, assert_ascending
from stvd.intensity import intensity_histogram
from stvd.lattice import TimeAxis


@dataclass(frozen=True)
class Reference:
    """Percentiles of wet days in a reference period, above which a day is very wet.

    Parameters
    ----------
    names : of the percentiles, such as `p95`
    values : mm d-1, shape (percentile, ...) that broadcasts to the cells
    """

    names: tuple[str, ...]
    values: np.ndarray


NO_REFERENCE = Reference((), np.zeros(0))


@dataclass(frozen=True)
class Fragment:
    """The frames that are there of a day of which others are not, or not yet.

    Parameters
    ----------
    day : its number
    frames : how many are there
    hours : amount by bin of the day, in `QUANTUM`, NaN where a frame has no value, (bin, ...)
    max_step : largest rate of a step, mm h-1
    """

    day: int
    frames: int
    hours: np.ndarray
    max_step: np.ndarray

    def join(self, other: Fragment) -> Fragment:
        """Both fragments of one day."""
        return Fragment(
            self.day,
            self.frames + other.frames,
            self.hours + other.hours,
            np.maximum(self.max_step, other.max_step),
        )


@dataclass(frozen=True)
class State:
    """A stretch of a record: whole days, and the parts of days at either end.

    Parameters
    ----------
    axis : lattice of time of the record
    dims : names of the dimensions of the cells
    frames : from the first to behind the last
    count : frames that are there
    head, tail : parts of the first and the last day, None where these are whole; a stretch of a
        single day that is not whole is a head
    run : the whole days; None where there are none
    reference : that very wet days were counted by
    histogram : area by rate in the bins of `stvd.intensity`, shape (member, bin), of all frames; None
        where it was not asked for
    """

    axis: TimeAxis
    dims: tuple[str, ...]
    frames: range
    count: int
    head: Fragment | None
    run: Run | None
    tail: Fragment | None
    reference: Reference = NO_REFERENCE
    histogram: np.ndarray | None = None

    @property
    def present(self) -> int:
        """Whole days that are there."""
        return 0 if self.run is None else self.run.present

    @property
    def dropped(self) -> int:
        """Frames of days that are not whole."""
        return self.count - self.present * (DAY // self.axis.step_seconds)

    @property
    def fragments(self) -> list[Fragment]:
        return [f for f in (self.head, self.tail) if f is not None]


def state_of(
    rates: np.ndarray,
    frames: np.ndarray,
    axis: TimeAxis,
    dims: tuple[str, ...],
    *,
    factor: float = 1.0,
    reference: Reference = NO_REFERENCE,
    area: np.ndarray | None = None,
) -> State:
    """The state of a block of frames.

    Parameters
    ----------
    rates : array, shape (time, ...), in units of `factor` kg m-2 s-1; NaN where missing
    frames : their numbers on the axis, ascending, shape (time,); gaps are missing days
    dims : names of the dimensions (...) of the cells
    area : m2, shape (...) without the first dimension of the cells, the member; with it the state
        has a histogram

    Raises
    ------
    ValueError
        If frames do not ascend, a day is no whole number of steps, or steps straddle midnight.
    """
    lattice = DayLattice.of(axis)
    assert_ascending(frames)
    shape = rates.shape[1:]
    to_amount = factor * axis.step_seconds / QUANTUM
    buffer = np.empty((lattice.steps, *shape))

    def amounts(place: slice) -> np.ndarray:
        out = buffer[: place.stop - place.start]
        np.multiply(rates[place], to_amount, out=out, dtype=np.float64)
        return np.rint(out, out=out)

    def max_step(place: slice) -> np.ndarray:
        return np.asarray(rates[place].max(axis=0) * (factor * 3600.0), np.float32)

    numbers, slots = lattice.days(frames)
    day_numbers, starts = np.unique(numbers, return_index=True)
    stops = np.append(starts[1:], len(frames))
    tally: DayTally | None = None
    parts: dict[int, Fragment] = {}
    for day, start, stop in zip(day_numbers.tolist(), starts, stops, strict=True):
        place = slice(int(start), int(stop))
        if stop - start == lattice.steps:  # frames ascend: that many are all of them
            tally = tally or DayTally(day, shape, lattice.bins, reference.values)
            tally.add(day, lattice.binned(amounts(place)), max_step(place))
        elif day in (day_numbers[0], day_numbers[-1]):
            hours = np.zeros((lattice.bins, *shape))
            np.add.at(hours, slots[place] // lattice.steps_per_bin, amounts(place))
            parts[day] = Fragment(day, int(stop - start), hours, max_step(place))
    first, last = int(day_numbers[0]), int(day_numbers[-1])
    return State(
        axis=axis,
        dims=dims,
        frames=range(int(frames[0]), int(frames[-1]) + 1),
        count=len(frames),
        head=parts.get(first),
        run=None if tally is None else tally.result(),
        tail=parts.get(last) if last != first else None,
        reference=reference,
        histogram=None if area is None else _histogram(rates, area, factor),
    )


def merged(keyed: Iterable[tuple[int, State]]) -> Iterator[tuple[int, State]]:
    """Merge the states in a row that have one key, such as the number of their month."""
    for key, group in groupby(keyed, key=lambda pair: pair[0]):
        yield key, reduce(merge, (state for _, state in group))


def merge(a: State, b: State) -> State:
    """The state of a stretch and a later one; what lies between them is missing.

    Raises
    ------
    ValueError
        If they are of different records or references, overlap, or are not in order.
    """
    _assert_mergeable(a, b)
    steps = DAY // a.axis.step_seconds
    pieces: list[Fragment | Run] = []
    for piece in (a.head, a.run, a.tail, b.head, b.run, b.tail):
        if piece is None:
            continue
        before = pieces[-1] if pieces else None
        if isinstance(piece, Fragment) and isinstance(before, Fragment) and before.day == piece.day:
            both = before.join(piece)
            pieces[-1] = _day(both, a.reference) if both.frames == steps else both
        else:
            pieces.append(piece)
    runs = [piece for piece in pieces if isinstance(piece, Run)]
    first, last = pieces[0], pieces[-1]
    return State(
        axis=a.axis,
        dims=a.dims,
        frames=range(a.frames.start, b.frames.stop),
        count=a.count + b.count,
        # A part of a day with other days on both sides stays a part: that day is missing.
        head=first if isinstance(first, Fragment) else None,
        run=reduce(Run.join, runs) if runs else None,
        tail=last if isinstance(last, Fragment) and len(pieces) > 1 else None,
        reference=a.reference,
        histogram=None if a.histogram is None or b.histogram is None else a.histogram + b.histogram,
    )


def _day(whole: Fragment, reference: Reference) -> Run:
    """A run of one day, whose parts have come together."""
    tally = DayTally(whole.day, whole.max_step.shape, len(whole.hours), reference.values)
    tally.add(whole.day, whole.hours, whole.max_step)
    return tally.result()


def _histogram(rates: np.ndarray, area: np.ndarray, factor: float) -> np.ndarray:
    members = []
    for member in np.moveaxis(rates, 1, 0):
        there = ~np.isnan(member)
        weights = np.broadcast_to(area, member.shape)[there]
        members.append(intensity_histogram(member[there] * factor, weights))
    return np.stack(members)


def _assert_mergeable(a: State, b: State) -> None:
    for what, here, there in (
        ("lattices of time", a.axis, b.axis),
        ("dimensions", a.dims, b.dims),
        ("percentiles", a.reference.names, b.reference.names),
    ):
        if here != there:
            raise ValueError(f"states of different {what} do not merge: {here} and {there}")
    if not np.array_equal(a.reference.values, b.reference.values, equal_nan=True):
        raise ValueError("states with percentiles of different values do not merge; count anew")
    if a.frames.stop > b.frames.start:
        raise ValueError(
            f"frames {a.frames.start}-{a.frames.stop} and {b.frames.start}-{b.frames.stop} overlap "
            "or are not in order; merge stretches as they follow each other"
        )
