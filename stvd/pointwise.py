"""Sums of what is a function of one cell and time: CRPS, squared errors, ranks, rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scores.probability import crps_for_ensemble, tail_tw_crps_for_ensemble

Sums = dict[str, tuple[Any, Any]]
"""Name of a sum: its dimensions and its values."""


def ensemble_sums(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, *, wet: float, tails: Sequence[float]
) -> Sums:
    """Weighted sums over cells of the scores of an ensemble against the truth.

    The distribution of a single member is taken as a point: its CRPS, fair or not, is its absolute
    error; it has no variance and no ranks.

    Parameters
    ----------
    x : array, shape (member, cell), kg m-2 s-1, finite
    y : array, shape (cell,), kg m-2 s-1, finite
    weights : array, shape (cell,)
    wet : kg m-2 s-1; the wet ranks take cells where the truth or a member reaches it
    tails : kg m-2 s-1, thresholds of the threshold-weighted CRPS
    """
    members = len(x)
    # Where nothing rains every score is 0, and all ranks are tied.
    rains = (y != 0) | (x != 0).any(axis=0)
    dry = float(weights[~rains].sum())
    x, y, w = x[:, rains].astype(np.float64), y[rains].astype(np.float64), weights[rains]

    mean = x.mean(axis=0)
    absolute = sum(np.abs(member - y) for member in x) / members
    crps = _crps(x, y)
    out: Sums = {
        "weight": ((), float(weights.sum())),
        "crps": ((), float(w @ crps)),
        "crps_fair": ((), float(w @ _fair(crps, absolute, members))),
        "twcrps": ("tail", [_tail_crps(x, y, w, tail) for tail in tails]),
        "error": ((), float(w @ (mean - y))),
        "mse_mean": ((), float(w @ (mean - y) ** 2)),
        "mse_sample": ((), float(w @ sum((member - y) ** 2 for member in x)) / members),
    }
    if members == 1:
        return out | {"variance": ((), np.nan)}
    variance = sum((member - mean) ** 2 for member in x) / (members - 1)
    table = _rank_table(x, y)
    wet_weights = w * (np.maximum(x.max(axis=0), y) >= wet)
    ties = np.full(members + 1, dry / (members + 1))
    return out | {
        "variance": ((), float(w @ variance)),
        "rank_all": ("rank", _ranks(table, w, members) + ties),
        "rank_wet": ("rank", _ranks(table, wet_weights, members)),
    }


def _crps(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """CRPS of the empirical distribution of the members in each cell."""
    ensemble = xr.DataArray(x, dims=("member", "cell"))
    found = crps_for_ensemble(
        ensemble, xr.DataArray(y, dims="cell"), "member", method="ecdf", preserve_dims="all"
    )
    return np.asarray(found.values)


def _fair(crps: np.ndarray, absolute: np.ndarray, members: int) -> np.ndarray:
    """Fair CRPS: the spread Σ_mn |x_m − x_n| / 2M² becomes Σ_mn |x_m − x_n| / 2M(M − 1)."""
    return absolute - (absolute - crps) * members / max(members - 1, 1)


def _tail_crps(x: np.ndarray, y: np.ndarray, weights: np.ndarray, tail: float) -> float:
    """Weighted sum of the fair CRPS of max(·, tail), to which only cells above `tail` add."""
    above = np.maximum(x.max(axis=0), y) > tail
    if not above.any():
        return 0.0
    found = tail_tw_crps_for_ensemble(
        xr.DataArray(x[:, above], dims=("member", "cell")),
        xr.DataArray(y[above], dims="cell"),
        "member",
        tail,
        method="fair" if len(x) > 1 else "ecdf",
        preserve_dims="all",
    )
    return float(weights[above] @ found.values)


def _rank_table(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Members below the truth times (members + 1) plus members equal to it, per cell."""
    below, equal = np.zeros(y.shape, np.int64), np.zeros(y.shape, np.int64)
    for member in x:
        below += member < y
        equal += member == y
    return below * (len(x) + 1) + equal


def _ranks(table: np.ndarray, weights: np.ndarray, members: int) -> np.ndarray:
    """Weight of the truth in each rank, ties shared equally, shape (member + 1,)."""
    counted = np.bincount(table, weights, minlength=(members + 1) ** 2)
    counted = counted.reshape(members + 1, members + 1)
    ranks = np.zeros(members + 1)
    for b, t in np.argwhere(counted):
        ranks[b : b + t + 1] += counted[b, t] / (t + 1)
    return ranks
