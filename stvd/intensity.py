"""The distribution of rain rates as one area-weighted histogram with logarithmic bins.

Histograms add, so pieces of a record merge by `+`; the tail quantiles and the distance between two
distributions follow from the sums. Bins are 0.3% wide, which bounds the error of a quantile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LOWEST, HIGHEST, BINS = 1e-8, 1.0, 6000

# kg m-2 s-1: [0, 1e-8), then 6000 equal steps of log10 up to 1; the ends take what lies beyond.
EDGES = np.concatenate([[0.0], np.geomspace(LOWEST, HIGHEST, BINS + 1)])


def intensity_histogram(rate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Total weight of the values in each bin of `EDGES`.

    Parameters
    ----------
    rate : array, kg m-2 s-1, finite
    weights : array, broadcastable to `rate`, for example cell areas

    Returns
    -------
    array, shape (6001,), the units of `weights`
    """
    step = BINS / np.log10(HIGHEST / LOWEST)
    spread = np.broadcast_to(weights, rate.shape)
    above = rate >= LOWEST
    position = np.log10(rate[above], dtype=np.float64) - np.log10(LOWEST)
    index = np.clip(np.floor(position * step) + 1, 1, BINS).astype(np.int64)
    histogram = np.bincount(index, weights=spread[above], minlength=BINS + 1)
    histogram = histogram.astype(np.float64)  # of no value at all they are integers
    histogram[0] = spread[~above].sum(dtype=np.float64)
    return histogram


def quantiles(histogram: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The rates below which given shares of the weight lie, linear within a bin.

    Parameters
    ----------
    histogram : array, shape (..., 6001)
    shares : each 0 … 1

    Returns
    -------
    array, shape (..., share), kg m-2 s-1; NaN for an empty histogram
    """
    cumulative = np.cumsum(histogram, axis=-1)
    rows = cumulative.reshape(-1, BINS + 1)
    flat = [[_invert(c, q * c[-1]) for q in shares] for c in rows]
    return np.array(flat).reshape(*histogram.shape[:-1], len(shares))


def quantile(histogram: np.ndarray, q: float) -> np.ndarray:
    """The rate below which a share `q` of the weight lies, see `quantiles`; shape (...)."""
    return np.asarray(quantiles(histogram, [q])[..., 0])


def _invert(cumulative: np.ndarray, target: float) -> float:
    if not cumulative[-1] > 0:
        return np.nan
    index = min(int(np.searchsorted(cumulative, target)), BINS)
    below = cumulative[index - 1] if index else 0.0
    mass = cumulative[index] - below
    share = (target - below) / mass if mass > 0 else 0.0
    return float(EDGES[index] + share * (EDGES[index + 1] - EDGES[index]))


def earth_mover_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1-Wasserstein distance ∫ |F_a − F_b| dp of two distributions, each of unit weight.

    Parameters
    ----------
    a, b : histograms, shape (..., 6001)

    Returns
    -------
    array, shape (...), kg m-2 s-1; NaN where one is empty
    """
    with np.errstate(invalid="ignore"):
        gap = np.cumsum(a, -1) / a.sum(-1)[..., None] - np.cumsum(b, -1) / b.sum(-1)[..., None]
    # |gap| at the upper edge of each bin; it runs linearly from its value at the lower edge.
    upper = np.abs(gap)
    lower = np.concatenate([np.zeros_like(upper[..., :1]), upper[..., :-1]], axis=-1)
    return np.asarray(((upper + lower) / 2 * np.diff(EDGES)).sum(-1))
