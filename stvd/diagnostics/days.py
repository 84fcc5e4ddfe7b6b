"""Whole days of a record of any step, gaps and calendar, and the months and years they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cftime
import numpy as np
import xarray as xr

from stvd.lattice import TimeAxis

DAY = 86_400
HOUR = 3600


@dataclass(frozen=True)
class DayLattice:
    """How the frames of a record make up days, and days months.

    Parameters
    ----------
    axis : lattice of time of the record
    dates : lattice of days, 00:00 to 00:00; day 0 is that of the axis' epoch
    offset : seconds of the epoch after midnight
    steps : frames of a day
    bins : parts of the day, hours or, where steps are longer, steps
    """

    axis: TimeAxis
    dates: TimeAxis
    offset: int
    steps: int
    bins: int

    @classmethod
    def of(cls, axis: TimeAxis) -> DayLattice:
        """The days of an axis.

        Raises
        ------
        ValueError
            If a day is no whole number of steps, or steps straddle midnight.
        """
        step = axis.step_seconds
        if step > DAY or DAY % step:
            raise ValueError(
                f"a day is not a whole number of steps of {step} s, so there are no daily values"
            )
        origin = axis.origin
        offset = origin.hour * 3600 + origin.minute * 60 + origin.second
        if offset % step:
            raise ValueError(
                f"steps of {step} s from {axis.epoch} straddle midnight, so no day begins with a "
                "step; choose an epoch at a whole number of steps after 00:00"
            )
        steps = DAY // step
        in_bin = next(n for n in range(1, steps + 1) if steps % n == 0 and n * step >= HOUR)
        midnight = origin.strftime("%Y-%m-%d")
        dates = TimeAxis(epoch=midnight, step_seconds=DAY, calendar=axis.calendar)
        return cls(axis, dates, offset, steps, steps // in_bin)

    @property
    def steps_per_bin(self) -> int:
        return self.steps // self.bins

    def days(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The day of each frame, and which step of the day it is."""
        seconds = self.offset + frames * self.axis.step_seconds
        return seconds // DAY, seconds % DAY // self.axis.step_seconds

    def binned(self, values: np.ndarray) -> np.ndarray:
        """Sums of a day's steps, shape (step, ...), in each part of the day, shape (bin, ...)."""
        if self.bins == self.steps:
            return values
        return np.asarray(values.reshape(self.bins, -1, *values.shape[1:]).sum(axis=1))

    def month(self, day: int) -> tuple[int, int]:
        """Year and month of a day."""
        date = self.dates.start(day)
        return date.year, date.month

    def months(self, frames: np.ndarray) -> np.ndarray:
        """Months of frames, counted from year 0, shape (time,)."""
        numbers, back = np.unique(self.days(frames)[0], return_inverse=True)
        found = [12 * year + month - 1 for year, month in map(self.month, numbers.tolist())]
        return np.array(found, np.int64)[back]

    def length(self, year: int, month: int | None = None) -> int:
        """Days of a year or month."""
        first = cftime.datetime(year, month or 1, 1, calendar=self.axis.calendar)
        year, month = (year + 1, 1) if month in (None, 12) else (year, (month or 1) + 1)
        return int((cftime.datetime(year, month, 1, calendar=self.axis.calendar) - first).days)


@dataclass(frozen=True)
class Span:
    """A year or month of the calendar, or the part of it that is there.

    `count` whole days lie from `start` to `end`; `complete` says that every day is there.
    """

    year: int
    month: int | None
    start: cftime.datetime
    end: cftime.datetime
    count: int
    complete: bool


def assert_ascending(frames: np.ndarray) -> None:
    """Refuse times that do not ascend, or repeat."""
    if (np.diff(frames) <= 0).any():
        raise ValueError("the times of pr do not ascend, or repeat; sort them and drop duplicates")


def daily_means(pr: xr.DataArray, axis: TimeAxis) -> xr.DataArray | None:
    """Means of the days of which every frame is there.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, mid-interval times
    axis : lattice of time of the record

    Returns
    -------
    DataArray, shape (member, time, [tile,] y, x), mm d-1, from the first to the last whole day, lazy
    if `pr` is; a day is NaN that is missing, or of which a frame is NaN. None when no day is whole

    Raises
    ------
    ValueError
        If times do not ascend, a day is no whole number of steps, or steps straddle midnight.
    """
    lattice = DayLattice.of(axis)
    frames = axis.locate(pr["time"])
    assert_ascending(frames)
    numbers, first, size = np.unique(lattice.days(frames)[0], return_index=True, return_counts=True)
    whole = size == lattice.steps  # frames ascend without repeats: that many are all of them
    if not whole.any():
        return None
    numbers, first = numbers[whole], first[whole]
    times = lattice.dates.coordinates(range(int(numbers[0]), int(numbers[-1]) + 1))[0]
    labels = times if pr["time"].dtype == object else as_datetime64(times)
    runs = np.split(first, np.flatnonzero(np.diff(numbers) > 1) + 1)
    means = [
        _by_day(pr, slice(int(run[0]), int(run[-1]) + lattice.steps), lattice.steps) for run in runs
    ]
    found = xr.concat(means, "time").assign_coords(time=labels[numbers - numbers[0]])
    daily = found.reindex(time=labels) * DAY
    return daily.assign_attrs(units="mm d-1", standard_name="precipitation_flux")


def _by_day(pr: xr.DataArray, run: slice, steps: int) -> xr.DataArray:
    cut = pr.isel(time=run).drop_vars([n for n in pr.coords if "time" in pr[n].dims])
    if cut.chunks is not None:
        length = max(1, max(cut.chunksizes["time"]) // steps) * steps
        cut = cut.chunk(time=length)
    by_day = cut.coarsen(time=steps, boundary="exact").construct(time=("time", "step"))
    return by_day.mean("step", skipna=False)


def as_datetime64(times: np.ndarray) -> np.ndarray:
    """Times of a standard calendar as datetime64[ns]."""
    return np.array([np.datetime64(t.isoformat(), "ns") for t in times])


def time_coordinates(spans: Sequence[Span], *, decoded: bool) -> dict[str, xr.DataArray]:
    """Mid times and bounds of spans; `decoded` as datetime64, else as cftime."""
    bounds = np.array([[s.start, s.end] for s in spans], dtype=object)
    middle = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
    if decoded:
        bounds = as_datetime64(bounds.ravel()).reshape(bounds.shape)
        middle = as_datetime64(middle)
    attrs = {"standard_name": "time", "long_name": "middle of the period", "bounds": "time_bnds"}
    time = xr.DataArray(middle, dims="time", attrs=attrs)
    time_bnds = xr.DataArray(bounds, dims=("time", "bnds"))
    first = spans[0].start
    for coordinate in (time, time_bnds):
        coordinate.encoding = {
            "units": f"minutes since {first.strftime('%Y-%m-%d')} 00:00:00",
            "calendar": first.calendar,
        }
    return {"time": time, "time_bnds": time_bnds}
