"""Time stamps of files: mid-interval times and bounds, whatever part of a step a file stamps."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from stvd.contract import CatalogError
from stvd.lattice import Period, TimeAxis, as_cftime, canonical_calendar, format_time

Stamp = Literal["start", "middle", "end"]


def read_times(
    raw: xr.Dataset, name: str, stamp: Stamp, step_seconds: int, epoch: str | None, source: str
) -> xr.Dataset:
    """The time axis of a file in the form of the contract, on the calendar of the file.

    Parameters
    ----------
    raw : Dataset with undecoded times
    name : its time axis
    stamp : where in its step a time stamp lies
    step_seconds : length of a step
    epoch : start of frame 0; the start of the first step if None
    source : name for messages

    Returns
    -------
    Dataset with `time` (time,) and `time_bnds` (time, 2), both coordinates, and the attributes
    `calendar`, `step_seconds` and `epoch`

    Raises
    ------
    CatalogError
        If there is no such axis, or its units, calendar or the epoch cannot be read.
    """
    time = _decoded(raw, name, source)
    calendar = canonical_calendar(time.encoding.get("calendar", "standard"))
    half: Any = np.timedelta64(step_seconds * 500, "ms")
    if time.dtype == object:
        half = half.item()  # cftime adds datetime.timedelta
    start = time.values - {"start": 0, "middle": 1, "end": 2}[stamp] * half
    first = as_cftime(xr.DataArray(start[:1], dims="time"), calendar)[0]
    try:
        axis = TimeAxis(
            epoch=epoch or format_time(first), step_seconds=step_seconds, calendar=calendar
        )
    except ValueError as error:
        raise CatalogError(f"{source}: {error}") from error
    bounds = np.stack([start, start + 2 * half], axis=-1)
    attrs = {"standard_name": "time", "axis": "T", "bounds": "time_bnds"}
    coords = {"time": ("time", start + half, attrs), "time_bnds": (("time", "bnds"), bounds)}
    return xr.Dataset(coords=coords, attrs=axis.model_dump())


def within(dataset: xr.Dataset, period: Period | None) -> xr.Dataset:
    """The part of a dataset of the contract whose mid-interval times lie in `[start, end)`.

    Times out of order, doubled or between frames are kept as they are.
    """
    if period is None:
        return dataset
    calendar = dataset.attrs["calendar"]
    try:
        period = period.on(calendar)
    except ValueError as error:
        raise CatalogError(f"{dataset.attrs.get('source', 'the dataset')}: {error}") from error
    middle = as_cftime(dataset["time"], calendar)
    inside = np.flatnonzero((middle >= period.first) & (middle < period.last))
    if inside.size and (np.diff(inside) == 1).all():
        return dataset.isel(time=slice(int(inside[0]), int(inside[-1]) + 1))
    return dataset.isel(time=inside)


def _decoded(raw: xr.Dataset, name: str, source: str) -> xr.DataArray:
    """The times of a file as dates of its calendar."""
    if name not in raw.variables or raw[name].ndim != 1 or raw[name].size == 0:
        raise CatalogError(
            f"{source}: the file has no time axis {name!r} with at least one time. "
            "Name it in metadata.stvd.dims.time of the catalog entry."
        )
    calendar = raw[name].attrs.get("calendar", "standard")
    try:
        canonical_calendar(calendar)
        decoded = xr.decode_cf(xr.Dataset(coords={name: raw[name].variable}))[name]
    except ValueError as error:
        raise CatalogError(f"{source}: {name} of the file cannot be read: {error}.") from error
    if decoded.dtype != object and not np.issubdtype(decoded.dtype, np.datetime64):
        raise CatalogError(
            f"{source}: {name} of the file has units {raw[name].attrs.get('units')!r}. "
            "Times need units such as 'hours since 2001-01-01'."
        )
    return decoded
