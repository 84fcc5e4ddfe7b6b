"""Trends over years with their uncertainty, and where on a map they stand out from chance.

Least squares, with an interval that allows for the memory between years: after Santer et al. (2000),
n years whose residuals have the lag-1 autocorrelation r say as much as n (1 − r) / (1 + r) independent
ones. Least squares is linear, so the trend of an area or ensemble mean is the mean of the trends, which
the median slope of Theil and Sen is not, and it costs one pass over all cells.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from stvd.diagnostics.climate import TooFewYears, years_of

FEWEST_YEARS = 10


def trend(field: xr.DataArray, *, level: float = 0.95) -> xr.Dataset:
    """Trend per ten years of each member and cell.

    Parameters
    ----------
    field : DataArray, shape (time, ...), a quantity of complete years or of one season of each;
        missing values are left out, and cells with fewer than 10 have no trend
    level : chance that the interval is to contain the trend

    Returns
    -------
    Dataset without `time`: `trend`, units per 10 years; `trend_interval`, with `quantile`
    ((1 − level) / 2 and (1 + level) / 2); `p_value` of no trend, two-sided; `effective_years`. The
    last three are NaN where the residuals leave two effective years or fewer

    Raises
    ------
    TooFewYears
        From fewer than 10 years.
    ValueError
        If years do not ascend, or repeat, as when the seasons of a year are mixed.
    """
    year = years_of(field).astype(np.float64)
    if year.size < FEWEST_YEARS:
        raise TooFewYears(
            f"a trend of {field.name} needs at least {FEWEST_YEARS} years and there are {year.size}"
        )
    if (np.diff(year) <= 0).any():
        raise ValueError("the years do not ascend, or repeat; take one season at a time")
    whole = field.chunk(time=-1) if field.chunks is not None else field
    slope, error, years = xr.apply_ufunc(
        lambda values: _least_squares(values, year),
        whole,
        input_core_dims=[["time"]],
        output_core_dims=[[], [], []],
        dask="parallelized",
        output_dtypes=[np.float64] * 3,
        keep_attrs=False,
    )
    quantiles = np.array([(1 - level) / 2, (1 + level) / 2])
    half = xr.apply_ufunc(student.ppf, quantiles[1], years - 2, dask="parallelized") * error
    signs = xr.DataArray([-1.0, 1.0], dims="quantile", coords={"quantile": quantiles})
    with np.errstate(divide="ignore", invalid="ignore"):
        # Equal values have no trend for sure: 0 / 0 is 0 here.
        ratio = (abs(slope) / error).where((slope != 0) | error.isnull(), 0.0)
    chance = 2 * xr.apply_ufunc(student.sf, ratio, years - 2, dask="parallelized")
    said = str(field.attrs.get("long_name", field.name))
    units = {"units": f"{field.attrs.get('units', '1')} (10 year)-1"}
    return xr.Dataset(
        {
            "trend": (10 * slope).assign_attrs(units, long_name=f"trend of the {said}"),
            "trend_interval": (10 * (slope + signs * half)).assign_attrs(
                units, long_name=f"{100 * level:g} % interval of the trend of the {said}"
            ),
            "p_value": chance.assign_attrs(
                units="1", long_name=f"p-value of no trend of the {said}"
            ),
            "effective_years": years.assign_attrs(
                units="1", long_name="independent years that say as much"
            ),
        }
    )


def _least_squares(values: np.ndarray, year: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slope per year, its standard error, and effective years, shape (...), of values (..., time)."""
    values = np.asarray(values, dtype=np.float64)
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    known = np.where(there, values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_year = (there @ year) / count
        dx = np.where(there, year - mean_year[..., None], 0.0)
        dy = np.where(there, known - (known.sum(axis=-1) / count)[..., None], 0.0)
        squares = np.sum(dx**2, axis=-1)
        slope = np.sum(dx * dy, axis=-1) / squares
        residual = dy - slope[..., None] * dx
        rest = np.sum(residual**2, axis=-1)
        next_year = there[..., 1:] & there[..., :-1] & (np.diff(year) == 1)
        pairs = np.sum(residual[..., 1:] * residual[..., :-1], axis=-1, where=next_year)
        memory = np.where(rest > 0, pairs / next_year.sum(axis=-1) / (rest / count), 0.0)
        memory = np.clip(np.nan_to_num(memory), 0.0, 0.99)  # never surer than without memory
        effective = count * (1 - memory) / (1 + memory)
        effective = np.where(effective > 2, effective, np.nan)
        error = np.sqrt(rest / (effective - 2) / squares)
    enough = count >= FEWEST_YEARS
    return tuple(np.where(enough, v, np.nan) for v in (slope, error, effective))


def stands_out(p_value: xr.DataArray, rate: float = 0.1) -> xr.DataArray:
    """Where a map of p-values shows more than chance, with that share of false discoveries at most.

    By Benjamini and Hochberg (1995); neighbours may be alike (Wilks, 2016). Reading each p-value by
    itself would find a trend in one cell of twenty where there is none.

    Parameters
    ----------
    p_value : DataArray, shape (..., [tile,] y, x); each map is judged by itself
    rate : share of the cells found that may be there by chance

    Returns
    -------
    bool DataArray of that shape; False where the p-value is missing
    """
    dims = [d for d in ("tile", "y", "x") if d in p_value.dims]

    def one_map(values: np.ndarray) -> np.ndarray:
        found = np.zeros(values.shape, bool)
        there = np.isfinite(values)
        if there.any():
            found[there] = false_discovery_control(values[there]) <= rate
        return found

    return xr.apply_ufunc(
        one_map, p_value, input_core_dims=[dims], output_core_dims=[dims], vectorize=True
    ).transpose(*p_value.dims)
