"""Return levels of annual maxima, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from stvd.diagnostics.gev import gev_parameters, gev_quantile
from stvd.diagnostics.pooled_maxima import TooFewMaxima, count_of, design, ladder_of, per_cell, said

__all__ = ["PERIODS", "TooFewMaxima", "return_level_interval", "return_levels"]

FARTHEST = 2.0
"""Return periods of more than this many times the pooled years are extrapolated."""
PERIODS = (2, 5, 10, 20, 50, 100)

IntervalMethod = Literal["parametric", "resampled"]


def return_levels(
    maxima: xr.DataArray,
    return_periods: Sequence[float] = PERIODS,
    pool: Sequence[str] = ("member", "time"),
) -> xr.DataArray:
    """Levels exceeded once in so many years, from a GEV fitted to pooled annual maxima.

    Parameters
    ----------
    maxima : DataArray with the dimensions of `pool`, annual maxima of complete years; a cell with a
        missing one has no level
    return_periods : years, each above 1
    pool : dimensions whose maxima are taken as draws of the same climate

    Returns
    -------
    DataArray, the other dimensions and `return_period`, the units of `maxima`; its coordinate
    `extrapolated` marks periods of more than twice the pooled maxima

    Raises
    ------
    TooFewMaxima
        With fewer than 10 pooled maxima.
    """
    dims = [d for d in pool if d in maxima.dims]
    chance = _chances(return_periods)
    count = count_of(maxima, dims)

    def levels(values: np.ndarray) -> np.ndarray:
        return gev_quantile(gev_parameters(values), chance)

    fitted = per_cell(levels, maxima, dims, {"return_period": len(chance)})
    return _described(fitted, maxima, return_periods, count).assign_attrs(
        long_name=f"return level of the {said(maxima)}", comment=f"GEV of {count} maxima"
    )


def return_level_interval(
    maxima: xr.DataArray,
    return_periods: Sequence[float] = PERIODS,
    *,
    level: float = 0.9,
    method: IntervalMethod = "parametric",
    replicates: int = 1000,
    seed: int = 0,
) -> xr.DataArray:
    """Bootstrap interval of `return_levels` of maxima pooled over members and years.

    Parametric: samples of the fitted GEV, in which the members of a year are as correlated as they
    are here (`gev_bootstrap`). Resampled: whole years are drawn again, with all their members and
    cells, or members where there is one year. It assumes no distribution, but is too narrow, mostly
    above: 90 % intervals of the 100-year level contain the truth 76 times in 100 from 40 years, 68
    times from 20, where the parametric ones do 86 times. From two or three years neither says how
    years differ, however many members they have.

    Parameters
    ----------
    maxima : DataArray, shape ([time,] [member,] ...), annual maxima of complete years
    return_periods : years, each above 1
    level : chance that the interval is to contain the truth
    replicates : bootstrap samples
    seed : of the bootstrap

    Returns
    -------
    DataArray, the other dimensions, `quantile` ((1 − level) / 2 and (1 + level) / 2) and
    `return_period`, the units of `maxima`

    Raises
    ------
    TooFewMaxima
        With fewer than 10 pooled maxima.
    """
    chance, quantiles = _chances(return_periods), np.array([(1 - level) / 2, (1 + level) / 2])
    maxima, dims, count = design(maxima)
    years, members = maxima.sizes["time"], maxima.sizes["member"]
    if method == "parametric":
        rungs, correlation = ladder_of(maxima, replicates, seed)
        how = f"parametric bootstrap, correlation of members within a year {correlation:g}"
    else:
        draws = _draws(years, members, replicates, seed)
        how = f"resampled {'years, members together' if years > 1 else 'members of one year'}"

    def interval(values: np.ndarray) -> np.ndarray:
        if method == "parametric":
            return rungs.interval(gev_parameters(values), chance, quantiles)
        return _resampled(values, draws, chance, quantiles)

    sizes = {"quantile": len(quantiles), "return_period": len(chance)}
    found = per_cell(interval, maxima, dims, sizes)
    found = found.assign_coords(quantile=("quantile", quantiles, {"units": "1"}))
    return _described(found, maxima, return_periods, count).assign_attrs(
        long_name=f"{100 * level:g} % interval of the return level of the {said(maxima)}",
        comment=f"{how}; GEV of {count} maxima",
    )


def _chances(return_periods: Sequence[float]) -> np.ndarray:
    if any(p <= 1 for p in return_periods):
        raise ValueError("a return period is longer than one year")
    return 1 - 1 / np.asarray(return_periods, dtype=np.float64)


def _described(
    levels: xr.DataArray, maxima: xr.DataArray, return_periods: Sequence[float], count: int
) -> xr.DataArray:
    period = np.asarray(return_periods, dtype=np.float64)
    beyond = (period > FARTHEST * count).astype(np.int8)
    said = {
        "long_name": f"whether the period is longer than {FARTHEST:g} times the pooled years",
        "flag_values": np.array([0, 1], np.int8),
        "flag_meanings": "supported extrapolated",
    }
    return levels.assign_coords(
        return_period=("return_period", period, {"units": "year", "long_name": "return period"}),
        extrapolated=("return_period", beyond, said),
    ).assign_attrs(maxima.attrs)


def _draws(years: int, members: int, replicates: int, seed: int) -> np.ndarray:
    """Places in the pool of each replicate, shape (replicate, years × members)."""
    rng = np.random.default_rng(seed)
    place = np.arange(years * members).reshape(years, members)
    if years == 1:
        return place[0, rng.integers(members, size=(replicates, members))]
    return place[rng.integers(years, size=(replicates, years))].reshape(replicates, -1)


def _resampled(
    pooled: np.ndarray, draws: np.ndarray, chance: np.ndarray, quantiles: np.ndarray
) -> np.ndarray:
    """Quantiles of levels of resampled maxima, shape (cell, quantile, return_period).

    NaN where a draw has no two different maxima.
    """
    levels = [gev_quantile(gev_parameters(pooled[d]), chance) for d in draws]
    return np.moveaxis(np.quantile(np.stack(levels), quantiles, axis=0), 0, 1)
