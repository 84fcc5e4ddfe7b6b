"""Totals, means and wet days of a year, or of the part of a year that a record covers."""

from __future__ import annotations

import xarray as xr

from stvd.lattice import TimeAxis

WET_DAY = 1.0  # mm, the usual threshold of a wet day (ETCCDI)

ATTRIBUTES = {
    "pr_total": {
        "long_name": "total precipitation",
        "standard_name": "lwe_thickness_of_precipitation_amount",
        "units": "mm",
        "cell_methods": "time: sum area: mean",
    },
    "pr_mean": {
        "long_name": "mean precipitation rate",
        "standard_name": "lwe_precipitation_rate",
        "units": "mm d-1",
        "cell_methods": "time: mean area: mean",
    },
    "wet_day_fraction": {
        "long_name": f"share of days with at least {WET_DAY:g} mm",
        "units": "1",
        "cell_methods": "time: mean area: mean",
        "comment": f"days with precipitation >= {WET_DAY:g} mm over days with data",
    },
}


def daily_totals(daily: xr.DataArray) -> xr.Dataset:
    """Total, mean and wet-day fraction of days, missing days (NaN) left out.

    Parameters
    ----------
    daily : DataArray, shape (member, time, [tile,] y, x), mm d-1

    Returns
    -------
    Dataset of shape (member, [tile,] y, x): `pr_total` mm, `pr_mean` mm d-1, `wet_day_fraction` 1
    """
    there = daily.notnull()
    return _described(
        pr_total=daily.sum("time", min_count=1),
        pr_mean=daily.mean("time"),
        wet_day_fraction=(daily >= WET_DAY).where(there).mean("time"),
    )


def frame_totals(pr: xr.DataArray, axis: TimeAxis) -> xr.Dataset:
    """Total and mean of a record that has no whole day.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1

    Returns
    -------
    Dataset of shape (member, [tile,] y, x): `pr_total` mm, `pr_mean` mm d-1
    """
    return _described(
        pr_total=pr.sum("time", skipna=False) * axis.step_seconds,
        pr_mean=pr.mean("time", skipna=False) * 86_400.0,
    )


def _described(**quantities: xr.DataArray) -> xr.Dataset:
    return xr.Dataset({k: v.assign_attrs(ATTRIBUTES[k]) for k, v in quantities.items()})
