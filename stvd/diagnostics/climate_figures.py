"""Figures of many years or months: return levels, the seasonal and the diurnal cycle, years in a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics import maps, plots_climate
from stvd.diagnostics.climate import seasonal_cycle
from stvd.diagnostics.graticule import degrees_text
from stvd.diagnostics.trends import FEWEST_YEARS, stands_out, trend

FEWEST_SHOWN = 3  # years of a series that is drawn
DRAWN = ("pr_total", "rx1day")
AGREED = 0.8  # share of members that agree on the sign of a change


def climate_figures(
    tables: Mapping[str, xr.Dataset], name: str, *, grid: xr.Dataset | None = None
) -> dict[str, Figure]:
    """Every such figure that the tables of a diagnosis allow, by the name of its file.

    Parameters
    ----------
    tables : as from `climate_tables.climate_tables`, those that there are
    name : of the product, for the titles
    grid : static Dataset of the fine grid
    """
    return (
        _cycles(tables, name)
        | _years(tables.get("annual"), name)
        | _trends(tables.get("trends"), tables.get("annual"), name, grid)
        | _changes(tables.get("change"), name, grid)
        | _exceedance(tables.get("exceedance"), name)
        | _return_periods(tables.get("return_periods"), tables.get("annual"), name, grid)
        | _return_levels(tables.get("return_levels"), tables.get("annual"), name, grid)
    )


def _cycles(tables: Mapping[str, xr.Dataset], name: str) -> dict[str, Figure]:
    """Area means by calendar month and by hour of the day, over all complete months and years."""
    found = {}
    monthly, diurnal = tables.get("monthly"), tables.get("diurnal")
    if monthly is not None and "pr_mean_area" in monthly:
        # The bounds go along only if named, and the cycle weighs months by their days.
        means = monthly[["pr_mean_area", "time_bnds"]].rename(pr_mean_area="pr_mean")
        cycle = seasonal_cycle(means)["pr_mean"].assign_attrs(monthly["pr_mean_area"].attrs)
        if cycle.sizes["month"] > 1:
            title = f"Seasonal cycle · {name} · {_years_text(monthly)}"
            found["seasonal_cycle"] = plots_climate.seasonal_cycle(cycle, title=title)
    if diurnal is not None and "pr_mean_area" in diurnal and diurnal.sizes["hour"] > 1:
        area = diurnal["pr_mean_area"]
        cycle = area.mean("time").assign_attrs(area.attrs)
        title = f"Diurnal cycle · {name} · {_years_text(diurnal)}"
        found["diurnal_cycle"] = plots_climate.diurnal_cycle(cycle, title=title)
    return found


def _years(annual: xr.Dataset | None, name: str) -> dict[str, Figure]:
    """Area means of complete years in a row, with their trend where there are years enough."""
    if annual is None or annual.sizes["time"] < FEWEST_SHOWN:
        return {}
    found = {}
    for quantity in DRAWN:
        if f"{quantity}_area" in annual:
            area = annual[f"{quantity}_area"]
            said = str(area.attrs["long_name"]).removeprefix("area mean of the ").capitalize()
            found[f"yearly_{quantity}"] = plots_climate.yearly_series(
                area.swap_dims(time="year").reset_coords(drop=True),
                trend=_slope(area.mean("member")),
                title=f"{said} of each year · {name} · {_years_text(annual)}",
            )
    return found


def _slope(series: xr.DataArray) -> tuple[float, float, float] | None:
    """Trend per ten years of a series and its interval; None from too few years."""
    if series.sizes["time"] < FEWEST_YEARS:
        return None
    fitted = trend(series)
    low, high = fitted["trend_interval"].values
    return float(fitted["trend"]), float(low), float(high)


def _trends(
    trends: xr.Dataset | None, annual: xr.Dataset | None, name: str, grid: xr.Dataset | None
) -> dict[str, Figure]:
    """Trend of the ensemble mean, dotted where it does not stand out, and how many members agree."""
    found: dict[str, Figure] = {}
    if trends is None or annual is None:
        return found
    for quantity in DRAWN:
        if f"{quantity}_trend" not in trends:
            continue
        members = trends[f"{quantity}_trend"]
        mean = members.mean("member", keep_attrs=True)
        if not bool(mean.notnull().any()):
            continue
        over = f"{name} · {_years_text(annual)}"
        said = str(members.attrs["long_name"])
        fitted = trend(annual[f"{quantity}_mean"])
        found[f"trend_{quantity}"] = maps.signed_map(
            {"ensemble mean": mean}, said, str(members.attrs["units"]),
            doubtful={"ensemble mean": ~stands_out(fitted["p_value"]) & mean.notnull()},
            grid=grid, title=f"{said.capitalize()} · {over}",
        )  # fmt: skip
        same = (np.sign(members) == np.sign(mean)).where(members.notnull()).mean("member")
        found[f"agreement_{quantity}"] = maps.agreement_map(
            same, f"share of {members.sizes['member']} members whose trend has the sign of their mean",
            grid=grid, title=f"Agreement on the {said} · {over}",
        )  # fmt: skip
    return found


def _changes(table: xr.Dataset | None, name: str, grid: xr.Dataset | None) -> dict[str, Figure]:
    """Change of the ensemble mean in per cent, dotted where members do not agree on its sign."""
    found = {}
    for quantity in DRAWN if table is not None else ():
        assert table is not None
        mean = table.get(f"{quantity}_relative_change_mean")
        if mean is None or not bool(mean.notnull().any()):
            continue
        agreement = table.get(f"{quantity}_agreement")
        said = str(mean.attrs["long_name"])
        over = f"{table.attrs['years']} against {table.attrs['reference']}"
        found[f"change_{quantity}"] = maps.signed_map(
            {"ensemble mean": mean}, said, "%",
            doubtful=None if agreement is None else {"ensemble mean": agreement < AGREED},
            doubt=f"fewer than {AGREED:.0%} of the members agree",
            grid=grid, title=f"{said.capitalize()} · {name} · {over}",
        )  # fmt: skip
    return found


def _exceedance(table: xr.Dataset | None, name: str) -> dict[str, Figure]:
    """The share of the area above thresholds, in the last year that there is."""
    found = {}
    for variable in () if table is None else table.data_vars:
        assert table is not None
        quantity = str(variable).removesuffix("_exceedance_area")
        share = table[variable].isel(time=-1)
        said = str(share.attrs["long_name"]).removeprefix("share of the area in which the ")
        said = said.removesuffix(" exceeds the threshold").capitalize()
        if bool(share.notnull().any()):
            year, whole = int(table["year"][-1]), bool(table["complete"][-1])
            found[f"exceedance_{quantity}_{year}{'' if whole else '_to_date'}"] = (
                plots_climate.exceedance_curve(
                    share, f"{quantity}_threshold",
                    title=f"{said}, area above thresholds · {name} · {_dates(table)}",
                )
            )  # fmt: skip
    return found


def _dates(table: xr.Dataset) -> str:
    """The last period of a table: a year, or the days of it that there are."""
    if bool(table["complete"][-1]) or "time_bnds" not in table:
        return str(int(table["year"][-1]))
    start, end = (str(t)[:10] for t in table["time_bnds"].values[-1])
    return f"{start} to {end}"


def _return_periods(
    table: xr.Dataset | None, annual: xr.Dataset | None, name: str, grid: xr.Dataset | None
) -> dict[str, Figure]:
    """How rare a given event is, cell by cell."""
    if table is None or not bool(table["return_period"].notnull().any()):
        return {}
    years = "" if annual is None else f" · {_years_text(annual)}"
    title = f"Return period of {table.attrs['event']} · {name}{years}"
    return {"return_period": maps.rarity_map(table["return_period"], grid=grid, title=title)}


def _return_levels(
    levels: xr.Dataset | None, annual: xr.Dataset | None, name: str, grid: xr.Dataset | None
) -> dict[str, Figure]:
    """A map of the levels, and the curve of the cell with the highest."""
    found = {}
    names = [] if levels is None else [str(n) for n in levels.data_vars if "_" not in str(n)]
    for quantity in names:
        assert levels is not None
        field = levels[quantity]
        if "return_period" not in field.dims or not bool(field.notnull().any()):
            continue
        years = "" if annual is None else f" · {_years_text(annual)}"
        said = str(field.attrs["long_name"]).capitalize()
        found[f"return_level_maps_{quantity}"] = maps.level_maps(
            field, grid=grid, title=f"{said} · {name}{years}"
        )
        at = _highest(field)
        bounds = levels.get(f"{quantity}_interval")
        maxima = None if annual is None or quantity not in annual else annual[quantity].isel(at)
        found[f"return_level_{quantity}"] = plots_climate.return_level_plot(
            field.isel(at),
            None if bounds is None else bounds.isel(at),
            maxima,
            title=f"Highest cell, {_place(field.isel(at), at)} · {name}{years}",
        )
    return found


def _highest(field: xr.DataArray) -> dict[str, int]:
    """The cell with the highest level of the longest return period."""
    last = field.isel(return_period=-1)
    place = np.unravel_index(int(np.nanargmax(last.values)), last.shape)
    return {str(d): int(k) for d, k in zip(last.dims, place, strict=True)}


def _place(cell: xr.DataArray, at: Mapping[str, int]) -> str:
    if "lat" in cell.coords and "lon" in cell.coords:
        lat, lon = (round(float(cell[c]), 2) for c in ("lat", "lon"))
        return f"{degrees_text(lat, 'NS')} {degrees_text(lon, 'EW')}"
    return ", ".join(f"{dim} {place}" for dim, place in at.items())


def _years_text(table: xr.Dataset) -> str:
    """The first and last year of a table."""
    years = table["time"].dt.year.values
    first, last = int(years.min()), int(years.max())
    return str(first) if first == last else f"{first}–{last}"
