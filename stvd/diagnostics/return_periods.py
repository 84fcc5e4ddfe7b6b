"""Whether a GEV fits annual maxima, and how rare an event is if it does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.gev import anderson_darling, exceedance_rate, gev_parameters
from stvd.diagnostics.pooled_maxima import design, ladder_of, per_cell, said
from stvd.diagnostics.return_levels import FARTHEST

SIGNIFICANCE = 0.01
FLAGS = ("estimated", "beyond_longest_period", "fit_rejected", "no_fit")


def fit_p_value(maxima: xr.DataArray, *, replicates: int = 1000, seed: int = 0) -> xr.DataArray:
    """How often a sample of the fitted GEV is as far from its own fit as the maxima are from theirs.

    By the Anderson–Darling distance and the parametric bootstrap, which knows that the parameters
    were fitted and that members of a year are alike. Of cells where a GEV holds, a share p has a
    p-value below p.

    Parameters
    ----------
    maxima : DataArray, shape ([time,] [member,] ...), annual maxima of complete years

    Returns
    -------
    DataArray, the other dimensions, 1; NaN where all maxima are equal or one is missing

    Raises
    ------
    TooFewMaxima
        With fewer than 10 pooled maxima.
    """
    maxima, dims, count = design(maxima)
    rungs, correlation = ladder_of(maxima, replicates, seed)

    def p_value(values: np.ndarray) -> np.ndarray:
        parameters = gev_parameters(values)
        distance = anderson_darling(values, parameters)
        return rungs.p_value(parameters[0], distance)

    return per_cell(p_value, maxima, dims, {}).assign_attrs(
        long_name=f"p-value of a GEV of the {said(maxima)}",
        units="1",
        comment=f"Anderson-Darling, {replicates} parametric bootstrap samples of {count} maxima, "
        f"correlation of members within a year {correlation:g}",
    )


def return_period(
    maxima: xr.DataArray,
    event: xr.DataArray | float,
    *,
    farthest: float = FARTHEST,
    significance: float = SIGNIFICANCE,
    replicates: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """How many years pass on average between annual maxima above that of an event.

    1 / (1 − F(event)) of the GEV of pooled members and years. Where the event is rarer than
    `farthest` times the pooled years can tell, the period is that limit, flagged: it is at least that
    long. There is none where the fit is rejected, or where all maxima are equal, or one or the event is
    missing.

    Parameters
    ----------
    maxima : DataArray, shape ([time,] [member,] ...), annual maxima of complete years
    event : the same quantity in the same units, per cell or one number; other dimensions are kept
    farthest : in pooled years
    significance : p-value below which a fit is rejected

    Returns
    -------
    Dataset: `return_period`, years; `return_period_flag`, one of `FLAGS`

    Raises
    ------
    TooFewMaxima
        With fewer than 10 pooled maxima.
    """
    p_value = fit_p_value(maxima, replicates=replicates, seed=seed)
    name = said(maxima)
    maxima, dims, count = design(maxima)
    fitted = per_cell(
        lambda v: np.moveaxis(gev_parameters(v), 0, -1), maxima, dims, {"parameter": 3}
    )

    def years(value: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # above an upper bound: never
            return -1 / np.expm1(-exceedance_rate(value, np.moveaxis(parameters, -1, 0)))

    period = xr.apply_ufunc(
        years,
        event,
        fitted,
        input_core_dims=[[], ["parameter"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        keep_attrs=False,
    )
    limit = farthest * count
    flag = xr.where(period > limit, 1, 0)
    flag = xr.where(p_value < significance, 2, flag)
    flag = xr.where(period.isnull() | p_value.isnull(), 3, flag).astype(np.int8)
    flag = flag.drop_attrs(deep=False)
    period = period.clip(max=limit).where(flag < 2)
    return xr.Dataset(
        {
            "return_period": period.assign_attrs(
                long_name=f"return period of the {name} of the event", units="year",
                comment=f"GEV of {count} maxima; periods above {limit:g} years are cut to that",
                ancillary_variables="return_period_flag",
            ),
            "return_period_flag": flag.assign_attrs(
                long_name="how the return period came about", standard_name="status_flag",
                flag_values=np.arange(len(FLAGS), dtype=np.int8), flag_meanings=" ".join(FLAGS),
            ),
        }
    )  # fmt: skip


def return_periods_of(events: pd.DataFrame, maxima: xr.DataArray) -> pd.DataFrame:
    """A catalogue of events with the return period of the peak of each, in its cell.

    Parameters
    ----------
    events : of `events.largest_events`, with `peak` in the units of `maxima`, and `y`, `x`, `tile`
    maxima : DataArray, shape (time, member, [tile,] y, x), largest rates of a step of complete years

    Returns
    -------
    DataFrame, `events` with `return_period`, years, and `return_period_flag`, one of `FLAGS`

    Raises
    ------
    TooFewMaxima
        With fewer than 10 pooled maxima.
    """
    if "tile" in maxima.dims and "tile" not in events:  # there is but one
        maxima = maxima.isel(tile=0, drop=True)
    place = {
        d: xr.DataArray(events[d].to_numpy(), dims="event")
        for d in ("tile", "y", "x")
        if d in maxima.dims
    }
    here = maxima.isel(place).drop_vars([d for d in place if d in maxima.coords])
    found = return_period(here, xr.DataArray(events["peak"].to_numpy(float), dims="event"))
    flags = np.array(FLAGS)[found["return_period_flag"].values]
    return events.assign(return_period=found["return_period"].values, return_period_flag=flags)
