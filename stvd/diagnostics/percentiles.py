"""Percentiles of wet days in a reference period, above which days are very wet (ETCCDI R95p, R99p)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from stvd.diagnostics.accumulate_days import SLACK, WET_DAY
from stvd.diagnostics.accumulate_record import cell_dims, pieces, rate_factor
from stvd.diagnostics.days import daily_means
from stvd.lattice import TimeAxis

PIECE_VALUES = 32_000_000


def wet_day_percentiles(
    pr: xr.DataArray, axis: TimeAxis, percentiles: Sequence[int] = (95, 99)
) -> xr.Dataset:
    """Percentiles of the amount of wet days (at least 1 mm), members taken together.

    Linear between neighbouring days, as `numpy.quantile`. Reads each chunk once; memory holds the days
    of all members in the cells of a chunk, so open long periods with chunks as narrow as are stored.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), a rate in the units that its attributes say; the
        reference period, of ETCCDI 30 years
    axis : lattice of time of the record

    Returns
    -------
    Dataset of `p95`, …, shape ([tile,] y, x), mm d-1; NaN where no day was wet

    Raises
    ------
    ValueError
        If the record has no whole day, or as in `tables.tables`.
    """
    daily = daily_means(pr, axis)
    if daily is None:
        raise ValueError("the reference period has no whole day; take a longer one")
    factor = rate_factor(pr)
    dims = cell_dims(pr)[1:]
    shares = np.asarray(percentiles, np.float64) / 100
    found = np.full((len(shares), *(pr.sizes[d] for d in dims)), np.nan)
    per_cell = daily.sizes["member"] * daily.sizes["time"]
    for piece in pieces(pr.isel(member=slice(0, 1)), PIECE_VALUES // per_cell):
        place = {d: piece[d] for d in dims}
        days = daily.isel(place).transpose("member", "time", *dims).values * factor
        values = days.reshape(-1, *days.shape[2:])
        found[(slice(None), *place.values())] = _quantiles_of_wet(values, shares)
    coords = {
        name: coordinate.reset_coords(drop=True)
        for name, coordinate in pr.coords.items()
        if set(coordinate.dims) <= set(dims)
    }
    return xr.Dataset(
        {
            f"p{percentile}": (
                dims,
                values,
                {
                    "long_name": f"{percentile}th percentile of wet days (at least {WET_DAY:g} mm)",
                    "units": "mm d-1",
                },
            )
            for percentile, values in zip(percentiles, found, strict=True)
        },
        coords,
    )


def _quantiles_of_wet(days: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles along the first axis of the days that are wet, shape (share, ...)."""
    wet = days >= WET_DAY - SLACK
    count = wet.sum(axis=0)
    ordered = np.sort(np.where(wet, days, np.inf), axis=0)
    found = []
    for share in shares:
        position = share * np.maximum(count - 1, 0)
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        low, high = (np.take_along_axis(ordered, k[None], axis=0)[0] for k in (below, above))
        with np.errstate(invalid="ignore"):  # where no day is wet
            value = low + (position - below) * (high - low)
        found.append(np.where(count > 0, value, np.nan))
    return np.stack(found)
