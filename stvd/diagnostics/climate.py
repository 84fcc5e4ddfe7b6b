"""Seasons, seasonal cycle, spread between years and change against a reference period."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

SEASONS = ("DJF", "MAM", "JJA", "SON")
KINDS = {
    "pr_total": "sum",
    "pr_mean": "mean",
    "wet_day_fraction": "mean",
    "rx1day": "max",
    "rx1step": "max",
}
"""How months make up a season; means weigh each month by its days."""
FLOORS = {"mm": 1.0, "mm d-1": 0.05, "mm h-1": 0.1, "day": 1.0, "1": 0.01}
"""By units: a change against less than this in the reference is not given in per cent."""


class TooFewYears(ValueError):
    """A statistic between years was asked for from fewer years than can carry it."""


def seasons(monthly: xr.Dataset) -> xr.Dataset | None:
    """Quantities of complete seasons; December belongs to the season of the next January.

    Parameters
    ----------
    monthly : Dataset, shape (time, member, ...) of complete calendar months in ascending order, with
        `time_bnds`; a cell with a missing month is missing in its season

    Returns
    -------
    Dataset of those of `KINDS` that are there, one time per season, with coordinates `time_bnds`,
    `season` and `year`; None if no season has its three months

    Raises
    ------
    ValueError
        If months do not ascend, or repeat.
    """
    # With December as month 12, the quotient by 3 grows by one from season to season.
    number, first, count = np.unique(_months(monthly) // 3, return_index=True, return_counts=True)
    number, first = number[count == 3], first[count == 3]
    if not number.size:
        return None
    place = xr.DataArray(first[:, None] + np.arange(3), dims=("time", "month"))
    days = xr.DataArray(_days(monthly)[place.values], dims=("time", "month"))
    bare = monthly.drop_vars([n for n, c in monthly.coords.items() if "time" in c.dims])
    table = xr.Dataset(
        {
            name: _combined(bare[name].isel(time=place), days, "month", kind)
            for name, kind in KINDS.items()
            if name in bare
        }
    )
    bounds = monthly["time_bnds"].values
    bounds = np.stack([bounds[first, 0], bounds[first + 2, 1]], axis=1)
    middle = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
    table = table.assign_coords(
        time=("time", middle, monthly["time"].attrs),
        time_bnds=(("time", "bnds"), bounds),
        season=("time", np.array(SEASONS)[number % 4], {"long_name": "season"}),
        year=("time", number // 4, {"long_name": "calendar year of the last month"}),
    )
    for name in ("time", "time_bnds"):
        table[name].encoding = dict(monthly[name].encoding)
    return table


def seasonal_cycle(monthly: xr.Dataset) -> xr.Dataset:
    """Mean over years of each calendar month, and the spread between years.

    Parameters
    ----------
    monthly : Dataset, shape (time, member, ...), as for `seasons`

    Returns
    -------
    Dataset, shape (month, member, ...): of each quantity `q` of `KINDS` that is there `q`, its mean
    over years, and `q_interannual_std`, NaN from a single year; months are those that are there, and
    the coordinate `years` counts the years of each
    """
    month = (_months(monthly) - 1) % 12 + 1
    present = np.unique(month)
    days = xr.DataArray(_days(monthly), dims="time")
    bare = monthly.drop_vars([n for n, c in monthly.coords.items() if "time" in c.dims])
    cycle = {}
    for name, kind in KINDS.items():
        if name not in bare:
            continue
        means, spreads = [], []
        for number in present:
            at = {"time": np.flatnonzero(month == number)}
            field = bare[name].isel(at)
            weights = days.isel(at) if kind == "mean" else xr.ones_like(days.isel(at))
            means.append(_combined(field, weights, "time", "mean"))
            spreads.append(_spread(field))
        along = xr.Variable("month", present, {"long_name": "calendar month", "units": "1"})
        cycle[name] = _over_years(xr.concat(means, along), bare[name], "mean")
        spread = _over_years(xr.concat(spreads, along), bare[name], "standard_deviation")
        cycle[f"{name}_interannual_std"] = spread
    years = np.array([(month == number).sum() for number in present])
    return xr.Dataset(cycle).assign_coords(
        years=("month", years, {"long_name": "years of the month", "units": "1"})
    )


def interannual_spread(field: xr.DataArray) -> xr.DataArray:
    """Standard deviation between years, of each member.

    Parameters
    ----------
    field : DataArray, shape (time, ...), a quantity of complete years or of one season of each

    Returns
    -------
    DataArray without `time`, the units of `field`; NaN in cells that lack a year

    Raises
    ------
    TooFewYears
        From fewer than two.
    """
    if field.sizes["time"] < 2:
        raise TooFewYears(f"the spread of {field.name} between years needs two years, and has one")
    return _over_years(_spread(field), field, "standard_deviation")


def climatology(
    field: xr.DataArray, first: int | None = None, last: int | None = None
) -> xr.DataArray:
    """Mean over years.

    Parameters
    ----------
    field : DataArray, shape (time, ...), a quantity of complete years or of one season of each
    first, last : the years to take, both included; by default all

    Returns
    -------
    DataArray without `time`, the units of `field`, its years in the attribute `years`

    Raises
    ------
    TooFewYears
        If there is none of these years.
    """
    year = years_of(field)
    low = int(year.min()) if first is None else first
    high = int(year.max()) if last is None else last
    place = np.flatnonzero((year >= low) & (year <= high))
    if not place.size:
        raise TooFewYears(
            f"{field.name} has no year of {low}-{high}: it has {year.min()}-{year.max()}"
        )
    chosen = field.isel(time=place)
    mean = _over_years(chosen.mean("time", skipna=False), field, "mean")
    span = f"{year[place].min()}-{year[place].max()}"
    return mean.assign_attrs(years=f"{span} ({place.size} years)")


def change(
    later: xr.DataArray,
    reference: xr.DataArray,
    *,
    floor: float | None = None,
    level: float = 0.9,
) -> xr.Dataset:
    """Change against a reference, absolute and in per cent, with the interval over members.

    Parameters
    ----------
    later : DataArray, shape (member, ...), e.g. a `climatology`
    reference : the same of the reference period, with the same members, each compared with itself,
        or without `member`
    floor : cells with less than this in the reference, in its units, have no change in per cent; by
        default that of `FLOORS`
    level : share of members that the interval holds

    Returns
    -------
    Dataset: `change` and `relative_change` (%) per member; of each `_mean` and, from two members on,
    `_quantile` at (1 − level) / 2 and (1 + level) / 2; `agreement`, the share of members that change
    in the direction of the mean

    Raises
    ------
    ValueError
        If units, grids or members differ, or no floor is known for the units.
    """
    units = later.attrs.get("units")
    if units != reference.attrs.get("units"):
        raise ValueError(
            f"{later.name} is in {units} and its reference in {reference.attrs.get('units')}"
        )
    floor = FLOORS.get(str(units)) if floor is None else floor
    if floor is None:
        raise ValueError(f"no floor of a dry reference is known for {units}; pass floor=")
    try:
        later, reference = xr.align(later, reference, join="exact", copy=False)
    except ValueError as differ:
        raise ValueError(
            f"members or grid of {later.name} and of its reference differ; average a reference of "
            "other members over them first"
        ) from differ
    difference = later - reference
    said = str(later.attrs.get("long_name", later.name))
    against = {"reference_years": y} if (y := reference.attrs.get("years")) else {}
    attrs = {"units": units, "long_name": f"change of the {said}", **against}
    relative = 100 * difference / reference.where(reference >= floor)
    out = {
        "change": difference.drop_attrs(deep=False).assign_attrs(attrs),
        "relative_change": relative.drop_attrs(deep=False).assign_attrs(
            attrs, units="%", comment=f"where the reference is at least {floor:g} {units}"
        ),
    }
    if "member" not in difference.dims:
        return xr.Dataset(out)
    quantiles = [(1 - level) / 2, (1 + level) / 2]
    for name in ("change", "relative_change"):
        field = out[name]
        out[f"{name}_mean"] = field.mean("member", skipna=False, keep_attrs=True)
        if field.sizes["member"] > 1:
            out[f"{name}_quantile"] = field.quantile(
                quantiles, "member", skipna=False, keep_attrs=True
            )
    mean = out["change_mean"]
    same = (np.sign(difference) == np.sign(mean)).where(mean.notnull())
    share = same.mean("member", skipna=False).drop_attrs(deep=False)
    out["agreement"] = share.assign_attrs(
        units="1", long_name=f"share of members in which the {said} changes as on average"
    )
    return xr.Dataset(out)


def years_of(field: xr.DataArray | xr.Dataset) -> np.ndarray:
    """The year of each time: the coordinate `year` where there is one."""
    year = field["year"] if "year" in field.coords else field["time"].dt.year
    return np.asarray(year.values, dtype=np.int64)


def _months(monthly: xr.Dataset) -> np.ndarray:
    """Twelve times the year plus the month of each time."""
    time = monthly["time"]
    months = np.asarray(time.dt.year.values * 12 + time.dt.month.values, dtype=np.int64)
    if (np.diff(months) <= 0).any():
        raise ValueError("the months do not ascend, or repeat; sort them and drop duplicates")
    return months


def _days(monthly: xr.Dataset) -> np.ndarray:
    """Length of each month in days."""
    bounds = monthly["time_bnds"].values
    lengths = pd.to_timedelta(bounds[:, 1] - bounds[:, 0])
    return np.asarray(lengths / pd.Timedelta(days=1), dtype=np.float64)


def _combined(field: xr.DataArray, weights: xr.DataArray, dim: str, kind: str) -> xr.DataArray:
    """Sum, weighted mean or maximum along a dimension; missing where one value is."""
    if kind == "mean":
        value = (field * weights).sum(dim, skipna=False) / weights.sum(dim)
    else:
        value = getattr(field, kind)(dim, skipna=False)
    return value.astype(field.dtype).assign_attrs(field.attrs)


def _spread(field: xr.DataArray) -> xr.DataArray:
    if field.sizes["time"] < 2:
        return xr.full_like(field.isel(time=0, drop=True), np.nan)
    return field.std("time", ddof=1, skipna=False)


def _over_years(value: xr.DataArray, field: xr.DataArray, how: str) -> xr.DataArray:
    said = "mean" if how == "mean" else "spread"
    methods = f"{field.attrs.get('cell_methods', '')} time: {how} over years".strip()
    return value.assign_attrs(
        field.attrs,
        long_name=f"{said} over years of the {field.attrs.get('long_name', field.name)}",
        cell_methods=methods,
    )
