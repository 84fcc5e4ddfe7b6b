"""What follows from the tables of years and months: seasons, return levels, trends."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from stvd.diagnostics.climate import seasons
from stvd.diagnostics.ensemble import with_ensemble
from stvd.diagnostics.pooled_maxima import TooFewMaxima
from stvd.diagnostics.return_levels import return_level_interval, return_levels
from stvd.diagnostics.return_periods import fit_p_value
from stvd.diagnostics.tables import Tables
from stvd.diagnostics.trends import FEWEST_YEARS, trend

MAXIMA = ("rx1day", "rx1step")
FOLLOWED = ("pr_total", "wet_day_fraction", "rx1day", "rx1step")
"""Quantities whose trend is wanted."""


def climate_tables(
    found: Tables, area: xr.DataArray
) -> tuple[dict[str, xr.Dataset], tuple[str, ...]]:
    """Every table that the counted days allow, by the name of its file, and notes on those they do not.

    Parameters
    ----------
    found : tables of a record
    area : DataArray, shape ([tile,] y, x), m2

    Returns
    -------
    dict of `annual`, `period_to_date`, `monthly`, `seasonal`, `diurnal`, `intensity`, `return_levels`
    (of each of `MAXIMA` `q`, `q_interval`, `q_p_value`) and `trends` (of each of `FOLLOWED` `q_trend`,
    `q_trend_interval`, `q_p_value`, `q_effective_years`, per member), those that there are; notes
    """
    made = {
        name: table
        for name in ("annual", "period_to_date", "monthly", "diurnal", "intensity")
        if (table := getattr(found, name)) is not None
    }
    notes = list(found.notes)
    if found.monthly is not None and (whole := seasons(found.monthly)) is not None:
        made["seasonal"] = with_ensemble(whole, area)
    if found.annual is not None:
        try:
            made["return_levels"] = _placed(xr.Dataset(dict(_levels(found.annual))), found.annual)
        except TooFewMaxima as short:
            notes.append(f"No return levels: {short}.")
        if found.annual.sizes["time"] >= FEWEST_YEARS:
            made["trends"] = _placed(xr.Dataset(dict(_trends(found.annual))), found.annual)
    return made, tuple(notes)


def _placed(table: xr.Dataset, annual: xr.Dataset) -> xr.Dataset:
    """With coordinates described as there, and no methods along a time that is gone."""
    for name in table.coords.keys() & annual.coords.keys():
        table[name].attrs = dict(annual[name].attrs)
    if "quantile" in table.coords:
        table["quantile"].attrs = {
            "long_name": "bound of the interval, as a quantile",
            "units": "1",
        }
    for field in table.data_vars.values():
        field.attrs.pop("cell_methods", None)
    return table


def _levels(annual: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    for name in MAXIMA:
        yield name, return_levels(annual[name])
        yield f"{name}_interval", return_level_interval(annual[name])
        yield f"{name}_p_value", fit_p_value(annual[name])


def _trends(annual: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    for name in FOLLOWED:
        for kind, field in trend(annual[name]).data_vars.items():
            yield f"{name}_{kind}", field
