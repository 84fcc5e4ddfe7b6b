"""Whole days of a record of any step, gaps and calendar, and the years that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import cftime
import numpy as np
import xarray as xr
from xarray.computation.rolling import DataArrayCoarsen

from stvd.lattice import TimeAxis

DAY = 86_400


@dataclass(frozen=True)
class Days:
    """The days that a record covers wholly, from the first to the last.

    Parameters
    ----------
    mean : DataArray, shape (member, time, [tile,] y, x), mm d-1; a missing day is NaN
    maximum : the same shape, mm h-1, the largest rate of a step of the day
    axis : lattice of days, 00:00 to 00:00
    numbers : the day on `axis` of each time
    present : which days are there, shape (time,)
    dropped : frames of days that are not wholly covered, which were left out
    """

    mean: xr.DataArray
    maximum: xr.DataArray
    axis: TimeAxis
    numbers: range
    present: np.ndarray
    dropped: int


@dataclass(frozen=True)
class Span:
    """A calendar year, or the part of it that the record covers.

    `days` are positions in `Days`; `complete` says that every day of the year is there.
    """

    year: int
    start: cftime.datetime
    end: cftime.datetime
    days: slice
    count: int
    complete: bool


def whole_days(pr: xr.DataArray, axis: TimeAxis) -> Days | None:
    """Daily means and sub-daily maxima of the days of which every step is there.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, mid-interval times
    axis : lattice of time of the record

    Returns
    -------
    Days, lazy if `pr` is; None when no day is wholly covered

    Raises
    ------
    ValueError
        If times do not ascend, a day is no whole number of steps, or steps straddle midnight.
    """
    step = axis.step_seconds
    frames = axis.locate(pr["time"])
    if (np.diff(frames) <= 0).any():
        raise ValueError("the times of pr do not ascend, or repeat; sort them and drop duplicates")
    if step > DAY or DAY % step:
        raise ValueError(
            f"a day is not a whole number of steps of {step} s, so there are no daily values"
        )
    origin = axis.origin
    offset = origin.hour * 3600 + origin.minute * 60 + origin.second
    if offset % step:
        raise ValueError(
            f"steps of {step} s from {axis.epoch} straddle midnight, so no day begins with a step; "
            "choose an epoch at a whole number of steps after 00:00"
        )
    seconds = offset + frames * step
    number = seconds // DAY
    steps = DAY // step
    first, size = np.unique(number, return_index=True, return_counts=True)[1:]
    whole = size == steps  # frames ascend without repeats: that many are all of them
    if not whole.any():
        return None
    numbers = range(int(number[first[whole][0]]), int(number[first[whole][-1]]) + 1)
    dates = TimeAxis(epoch=origin.strftime("%Y-%m-%d"), step_seconds=DAY, calendar=axis.calendar)
    times = dates.coordinates(numbers)[0]
    labels = times if pr["time"].dtype == object else as_datetime64(times)
    present = np.isin(np.array(numbers), number[first[whole]])

    runs = [
        slice(int(run[0]), int(run[-1]) + steps)
        for run in np.split(first[whole], np.flatnonzero(np.diff(number[first[whole]]) > 1) + 1)
    ]
    daily = {
        name: xr.concat([getattr(_by_day(pr, run, steps), name)() for run in runs], "time")
        .assign_coords(time=labels[present])
        .reindex(time=labels)
        for name in ("mean", "max")
    }
    mean = (daily["mean"] * DAY).assign_attrs(units="mm d-1", standard_name="precipitation_flux")
    maximum = (daily["max"] * 3600.0).assign_attrs(units="mm h-1")
    dropped = int(frames.size - whole.sum() * steps)
    return Days(mean, maximum, dates, numbers, present, dropped)


def _by_day(pr: xr.DataArray, run: slice, steps: int) -> DataArrayCoarsen:
    cut = pr.isel(time=run).drop_vars([n for n in pr.coords if "time" in pr[n].dims])
    if cut.chunks is not None:
        length = max(1, max(cut.chunksizes["time"]) // steps) * steps
        cut = cut.chunk(time=length)
    return cut.coarsen(time=steps, boundary="exact")


def as_datetime64(times: np.ndarray) -> np.ndarray:
    """Times of a standard calendar as datetime64[ns]."""
    return np.array([np.datetime64(t.isoformat(), "ns") for t in times])


def years(days: Days) -> list[Span]:
    """The years of the days, each with what of it is there."""
    axis = days.axis
    dates = [axis.start(k) for k in days.numbers]
    spans = []
    for year in sorted({d.year for d in dates}):
        place = [i for i, d in enumerate(dates) if d.year == year]
        there = [i for i in place if days.present[i]]
        if not there:
            continue
        first = cftime.datetime(year, 1, 1, calendar=axis.calendar)
        length = (cftime.datetime(year + 1, 1, 1, calendar=axis.calendar) - first).days
        inside = slice(there[0], there[-1] + 1)
        spans.append(
            Span(
                year=year,
                start=dates[inside.start],
                end=axis.start(days.numbers[inside.stop - 1] + 1),
                days=inside,
                count=len(there),
                complete=len(there) == length,
            )
        )
    return spans


def whole_record(pr: xr.DataArray, axis: TimeAxis) -> Span:
    """The span of a record that has no whole day."""
    frames = axis.locate(pr["time"])
    start, end = axis.start(int(frames[0])), axis.start(int(frames[-1]) + 1)
    return Span(start.year, start, end, slice(0, 0), 0, False)


def time_coordinates(spans: list[Span], like: xr.DataArray) -> dict[str, xr.DataArray]:
    """Mid times and bounds of spans, decoded as `like` is."""
    bounds = np.array([[s.start, s.end] for s in spans], dtype=object)
    middle = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
    if like.dtype != object:
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
