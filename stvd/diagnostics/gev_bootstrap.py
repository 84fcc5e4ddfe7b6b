"""What chance does to a GEV fit: its parametric bootstrap, run once and read for every cell.

Estimates by L-moments move and stretch with the sample: for draws from GEV(c, loc, scale) those of
(x − loc) / scale have a distribution of c and of the design alone. So the bootstrap is run for a
ladder of shapes c, and the interval or p-value of a cell is read between its two rungs. It costs
the same for one cell as for a continent.

Members of a year share the weather that drives them, so their maxima are no independent draws. They
are drawn with a correlation ρ within a year: their normal scores are √ρ u + √(1 − ρ) e, u of the year
and e of the member. With ρ = 0.5, 10 members of 30 years say as much as 55 independent years, not
300, and the interval is more than twice as wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import log_ndtr, ndtri
from scipy.stats import rankdata

from stvd.diagnostics.gev import anderson_darling, gev_parameters, gev_quantile

# The rungs cover every shape that L-moments can give, and leave out 0, where 1 / c is.
SHAPES = np.concatenate([np.arange(-0.95, 1.0, 0.1), np.arange(1.05, 3.6, 0.25)])


@dataclass(frozen=True)
class Ladder:
    """Estimates from bootstrap samples of standard GEVs (loc 0, scale 1), one rung per shape.

    Parameters
    ----------
    parameters : array, shape (shape, 3, replicate), estimates
    distances : array, shape (shape, replicate), Anderson–Darling, ascending
    """

    parameters: np.ndarray
    distances: np.ndarray

    def interval(
        self, parameters: np.ndarray, chance: np.ndarray, quantiles: np.ndarray
    ) -> np.ndarray:
        """Interval of levels x = GEV quantiles, from the factor by which estimates miss them.

        What the samples say of (x − loc) / (x̂ − loc) at the fitted shape is taken to hold for the
        cell, a pivot (Davison and Hinkley, 1997, section 2.4). So 90 % intervals for 10 to 100 years
        contain the truth 85 to 89 times in 100 (c = −0.1; 20 or 40 years, or 10 alike members of 5 or
        20 years); quantiles of x̂ itself do 75 to 87 times, and miss it above. Levels of less than 2
        years, near loc, have the pivot (x − x̂) / scale.

        Parameters
        ----------
        parameters : array, shape (3, ...), fitted
        chance : array, shape (p,), of the levels
        quantiles : array, shape (q,), of the bootstrap

        Returns
        -------
        array, shape (..., q, p); NaN where a parameter is
        """
        standard = np.stack([SHAPES, np.zeros_like(SHAPES), np.ones_like(SHAPES)])
        truth = gev_quantile(standard, chance)[:, None]
        estimates = np.moveaxis(self.parameters, 1, 0)
        misses = (truth - gev_quantile(estimates, chance)) / _stretch(estimates, chance)
        bounds = np.moveaxis(np.quantile(misses, quantiles, axis=1), 0, 1)
        rung, share = _place(parameters[0])
        share = share[..., None, None]
        between = bounds[rung] * (1 - share) + bounds[rung + 1] * share
        levels = gev_quantile(parameters, chance)[..., None, :]
        return np.asarray(levels + between * _stretch(parameters, chance)[..., None, :])

    def p_value(self, shape: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Share of bootstrap samples at least as far from their own fit.

        (1 + k) / (1 + R) with k of R samples as far (Davison and Hinkley, 1997), linear between the
        rungs.

        Parameters
        ----------
        shape, distance : arrays of equal shape, c and A² of the cells

        Returns
        -------
        array of that shape; NaN where c is
        """
        rung, share = _place(shape)
        found = np.full(np.shape(shape), np.nan)
        count = self.distances.shape[1]
        for k in np.unique(rung):
            at = rung == k
            lower, upper = (
                (1 + count - np.searchsorted(self.distances[i], distance[at])) / (1 + count)
                for i in (k, k + 1)
            )
            found[at] = lower * (1 - share[at]) + upper * share[at]
        return found


def _stretch(parameters: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """What misses are measured in: x̂ − loc, or the scale where that is small, shape (..., p)."""
    _, loc, scale = parameters[..., None]
    return np.where(chance >= 0.5, gev_quantile(parameters, chance) - loc, scale)


def _place(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rung below each shape, and how far it is to the next, 0…1; NaN stays NaN."""
    rung = np.clip(np.searchsorted(SHAPES, c) - 1, 0, len(SHAPES) - 2)
    return rung, np.clip((c - SHAPES[rung]) / (SHAPES[rung + 1] - SHAPES[rung]), 0.0, 1.0)


@lru_cache(maxsize=16)
def ladder(
    years: int, members: int, correlation: float, replicates: int = 1000, seed: int = 0
) -> Ladder:
    """Bootstrap samples of every shape: of `years` × `members` maxima, the same draws on each rung.

    Parameters
    ----------
    correlation : of the normal scores of members within a year, 0…1
    """
    rng = np.random.default_rng(seed)
    scores = _scores(rng, replicates, years, members, correlation)
    scores = np.sort(scores.reshape(replicates, -1).T, axis=0)
    log_rate = np.log(-log_ndtr(scores))  # ln(−ln F), the Gumbel variate less its sign
    parameters, distances = [], []
    for c in SHAPES:
        sample = -np.expm1(c * log_rate) / c
        parameters.append(gev_parameters(sample))
        distances.append(np.sort(anderson_darling(sample, parameters[-1])))
    return Ladder(np.stack(parameters), np.stack(distances))


def member_correlation(maxima: np.ndarray, cells: int = 1000) -> float:
    """Correlation of the annual maxima of members within a year, one number for all cells.

    The intraclass correlation of normal scores, (B − W) / (B + (m − 1) W) with the mean squares B
    between and W within years, averaged over cells (Fisher, 1925). Scores of few years spread less
    between years than the years did, so the ρ is taken whose samples have this value on average. At
    least 0; 0 too where it cannot be known, from one member or one year.

    Parameters
    ----------
    maxima : array, shape (cell, year, member); cells with a missing or no two different values are
        left out
    cells : as many cells, evenly spread, are used at most

    Returns
    -------
    float, 0…0.95, rounded to 0.01
    """
    maxima = maxima[:: -(-len(maxima) // cells) or 1]
    flat = maxima.reshape(len(maxima), -1)
    usable = np.isfinite(flat).all(axis=1) & (flat.max(axis=1) > flat.min(axis=1))
    years, members = maxima.shape[1:]
    if years < 2 or members < 2 or not usable.any():
        return 0.0
    expected = _expected_correlations(years, members)
    found = np.interp(_intraclass(maxima[usable]), expected, CORRELATIONS)
    return float(np.round(found, 2))


CORRELATIONS = np.arange(0.0, 1.0, 0.05)


@lru_cache(maxsize=16)
def _expected_correlations(years: int, members: int) -> np.ndarray:
    """Intraclass correlation of normal scores that samples of each of CORRELATIONS have."""
    samples = 1 + 200_000 // (years * members)
    rng = np.random.default_rng(0)
    found = [_intraclass(_scores(rng, samples, years, members, r)) for r in CORRELATIONS]
    return np.maximum.accumulate(found)


def _scores(
    rng: np.random.Generator, samples: int, years: int, members: int, correlation: float
) -> np.ndarray:
    """Normal scores with a correlation within years, shape (sample, year, member)."""
    of_year = rng.standard_normal((samples, years, 1))
    of_member = rng.standard_normal((samples, years, members))
    return np.sqrt(correlation) * of_year + np.sqrt(1 - correlation) * of_member


def _intraclass(values: np.ndarray) -> float:
    """Intraclass correlation of the normal scores of values, shape (cell, year, member)."""
    count, years, members = values.shape
    ranks = rankdata(values.reshape(count, -1), axis=1)
    scores = ndtri((ranks - 0.5) / (years * members)).reshape(values.shape)
    of_year = scores.mean(axis=2, keepdims=True)
    between = members * np.var(of_year, axis=1, ddof=1).mean()
    within = np.sum((scores - of_year) ** 2, axis=(1, 2)).mean() / (years * (members - 1))
    return float((between - within) / (between + (members - 1) * within))
