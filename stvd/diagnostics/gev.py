"""The generalised extreme value distribution: fit by L-moments, quantiles, distance from a sample.

Its parameters are (c, loc, scale) as of `scipy.stats.genextreme`, whose shape c is −ξ: c < 0 has a
heavy tail, c > 0 an upper bound.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gamma
from scipy.stats import lmoment

FLOOR = 1e-9
"""Probabilities nearer than this to 0 or 1 count as this near in the distance from a sample."""


def gev_parameters(maxima: np.ndarray) -> np.ndarray:
    """GEV parameters by L-moments (Hosking, Wallis and Wood, 1985).

    With L-moments l1, l2, t3 = l3 / l2 and z = 2 / (3 + t3) − ln 2 / ln 3:
    c = 7.8590 z + 2.9554 z², scale = l2 c / ((1 − 2^−c) Γ(1 + c)),
    loc = l1 − scale (1 − Γ(1 + c)) / c.

    Parameters
    ----------
    maxima : array, shape (n, ...)

    Returns
    -------
    array, shape (3, ...): c, loc, scale; NaN where all maxima are equal or one is missing
    """
    maxima = np.asarray(maxima, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # equal maxima have no t3
        l1, l2, t3 = lmoment(maxima, order=[1, 2, 3], standardize=True, axis=0)
        z = 2 / (3 + t3) - np.log(2) / np.log(3)
        c = 7.8590 * z + 2.9554 * z**2
        c = np.where(np.abs(c) < 1e-6, 1e-6, c)  # the Gumbel limit, within rounding
        scale = l2 * c / ((1 - 2.0**-c) * gamma(1 + c))
        loc = l1 - scale * (1 - gamma(1 + c)) / c
    differ = np.max(maxima, axis=0) > np.min(maxima, axis=0)  # l2 of equal maxima is rounding
    return np.where(differ & (l2 > 0), np.stack([c, loc, scale]), np.nan)


def gev_quantile(parameters: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The values that stay unexceeded with the given chances: loc + scale (1 − (−ln p)^c) / c.

    Parameters
    ----------
    parameters : array, shape (3, ...)
    chance : array, shape (p,), between 0 and 1

    Returns
    -------
    array, shape (..., p)
    """
    c, loc, scale = parameters[..., None]
    return np.asarray(loc - scale * np.expm1(c * np.log(-np.log(chance))) / c)


def exceedance_rate(values: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """How often a year values are exceeded, −ln F = (1 − c (x − loc) / scale)^(1/c).

    0 above an upper bound, infinite below a lower one.

    Parameters
    ----------
    values : array that broadcasts against a parameter
    parameters : array, shape (3, ...)
    """
    c, loc, scale = parameters
    with np.errstate(divide="ignore", over="ignore"):
        inside = np.maximum(-c * (values - loc) / scale, -1.0)
        return np.asarray(np.exp(np.log1p(inside) / c))


def anderson_darling(maxima: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Distance A² of a sample from a GEV, which weighs the tails.

    A² = −n − Σ (2i − 1) [ln F(xᵢ) + ln(1 − F(xₙ₊₁₋ᵢ))] / n over the ascending xᵢ (Anderson and
    Darling, 1952). A value outside the support of the GEV has the chance 1e-9, not 0.

    Parameters
    ----------
    maxima : array, shape (n, ...)
    parameters : array, shape (3, ...)

    Returns
    -------
    array, shape (...); NaN where a parameter is
    """
    count = maxima.shape[0]
    rate = exceedance_rate(np.sort(maxima, axis=0), parameters)
    rate = np.clip(rate, FLOOR, -np.log(FLOOR))
    terms = np.log(-np.expm1(-rate[::-1])) - rate
    weights = (2 * np.arange(1, count + 1) - 1) / count
    return np.asarray(-count - np.tensordot(weights, terms, axes=(0, 0)))
