"""What follows from the tables of years and months: seasons, climatology, change, extremes, trends."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from stvd.diagnostics.changes import Baseline, changes
from stvd.diagnostics.climate import (
    TooFewYears,
    climatology,
    interannual_spread,
    seasonal_cycle,
    seasons,
)
from stvd.diagnostics.ensemble import with_ensemble
from stvd.diagnostics.exceedance import exceedance_area
from stvd.diagnostics.pooled_maxima import TooFewMaxima
from stvd.diagnostics.return_levels import return_level_interval, return_levels
from stvd.diagnostics.return_periods import fit_p_value, return_period
from stvd.diagnostics.tables import Tables
from stvd.diagnostics.trends import FEWEST_YEARS, trend

MAXIMA = ("rx1day", "rx1step")
FOLLOWED = ("pr_total", "wet_day_fraction", "rx1day", "rx1step")
"""Quantities whose trend is wanted."""
EXCEEDED = {
    "rx1day": (10, 20, 30, 50, 75, 100, 150, 200, 300),
    "rx1step": (1, 2, 5, 10, 20, 30, 50),
}
"""Thresholds whose exceedance area is wanted, in the units of the quantity."""


def climate_tables(
    found: Tables,
    area: xr.DataArray,
    *,
    baseline: Baseline | None = None,
    event_amount: float | None = None,
) -> tuple[dict[str, xr.Dataset], tuple[str, ...]]:
    """Every table that the counted days allow, by the name of its file, and notes on those they do not.

    Parameters
    ----------
    found : tables of a record
    area : DataArray, shape ([tile,] y, x), m2
    baseline : reference period of `change`
    event_amount : mm in a day, whose return period is wanted in every cell

    Returns
    -------
    dict of those that there are:

    - `annual`, `period_to_date`, `monthly`, `seasonal`, `diurnal`, `intensity`
    - `climatology`, from two years on: the mean `q` over years, and `q_interannual_std`
    - `seasonal_cycle`: the same of calendar months
    - `exceedance`: of `EXCEEDED` the share of the area with maxima above thresholds, of each year
    - `change` against the baseline (`changes.changes`)
    - `return_levels`, of each of `MAXIMA` `q`, `q_interval`, `q_p_value`
    - `return_periods` of `event_amount`
    - `trends`, of each of `FOLLOWED` `q_trend`, `q_trend_interval`, `q_p_value`,
      `q_effective_years`, per member

    and notes
    """
    made = {
        name: table
        for name in ("annual", "period_to_date", "monthly", "diurnal", "intensity")
        if (table := getattr(found, name)) is not None
    }
    notes = list(found.notes)
    if found.monthly is not None and (whole := seasons(found.monthly)) is not None:
        made["seasonal"] = with_ensemble(whole, area)
    if found.monthly is not None and found.monthly.sizes["time"] > 1:
        made["seasonal_cycle"] = _placed(seasonal_cycle(found.monthly), found.monthly)
    years = found.period_to_date if found.annual is None else found.annual
    if years is not None and (shares := dict(_exceedance(years, area))):
        made["exceedance"] = xr.Dataset(shares).assign_coords(
            {n: c for n, c in years.coords.items() if set(c.dims) <= {"time", "member", "bnds"}}
        )
    if found.annual is None:
        return made, tuple(notes)
    if found.annual.sizes["time"] > 1:
        over = xr.Dataset(dict(_climatology(found.annual)))
        made["climatology"] = _placed(over, found.annual)
    if baseline is not None:
        try:
            made["change"] = _placed(changes(found.annual, area, baseline), found.annual)
        except TooFewYears as short:
            notes.append(f"No change against {baseline}: {short}.")
    try:
        made["return_levels"] = _placed(xr.Dataset(dict(_levels(found.annual))), found.annual)
        if event_amount is not None:
            rare = return_period(found.annual["rx1day"], event_amount)
            rare.attrs = {"event": f"{event_amount:g} mm in a day"}
            made["return_periods"] = _placed(rare, found.annual)
    except TooFewMaxima as short:
        notes.append(f"No return levels: {short}.")
    if found.annual.sizes["time"] >= FEWEST_YEARS:
        made["trends"] = _placed(xr.Dataset(dict(_trends(found.annual))), found.annual)
    return made, tuple(notes)


def _placed(table: xr.Dataset, annual: xr.Dataset) -> xr.Dataset:
    """With coordinates described as there, and no methods along a time that is gone."""
    for name in table.coords.keys() & annual.coords.keys():
        if table[name].dims == annual[name].dims:
            table[name].attrs = dict(annual[name].attrs)
    if "quantile" in table.coords:
        table["quantile"].attrs = {
            "long_name": "bound of the interval, as a quantile",
            "units": "1",
        }
    for field in table.data_vars.values():
        field.attrs.pop("cell_methods", None)
    return table


def _climatology(annual: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    for name in (str(n) for n in annual.data_vars if f"{n}_mean" in annual):
        yield name, climatology(annual[name])
        yield f"{name}_interannual_std", interannual_spread(annual[name])


def _exceedance(years: xr.Dataset, area: xr.DataArray) -> Iterator[tuple[str, xr.DataArray]]:
    for name, thresholds in EXCEEDED.items():
        if name in years:
            share = exceedance_area(years[name], area, thresholds)
            yield f"{name}_exceedance_area", share.rename(threshold=f"{name}_threshold")


def _levels(annual: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    for name in MAXIMA:
        yield name, return_levels(annual[name])
        yield f"{name}_interval", return_level_interval(annual[name])
        yield f"{name}_p_value", fit_p_value(annual[name])


def _trends(annual: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    for name in FOLLOWED:
        for kind, field in trend(annual[name]).data_vars.items():
            yield f"{name}_{kind}", field
