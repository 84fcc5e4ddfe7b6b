"""Tidy tables for reading and CSV: what the ensemble says of each period, region and quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

QUANTILES = (0.1, 0.5, 0.9)
LABELS = ("season", "month", "hour", "complete", "coverage")
"""Coordinates that go into columns where a table has them."""


def ensemble_summary(
    means: xr.Dataset, quantiles: Sequence[float] = QUANTILES, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """A row per period, region and quantity; mean, spread, range and quantiles over members.

    Parameters
    ----------
    means : Dataset of quantities of shape ([time,] [hour,] [month,] member, [region]), such as
        `regions.region_means` of a table; with `time_bnds` where there is `time`
    quantiles : of the members
    names : quantities to take; by default all that have members and no other dimension

    Returns
    -------
    DataFrame: `start`, `end` (ISO 8601) and those of `LABELS` that apply, `region`, `quantity`,
    `units`, `mean`, `std` (NaN of one member), `min`, `max`, `q10`…, `members`, how many have a value.
    A row without any has NaN, and 0 members
    """
    allowed = {"time", "hour", "month", "region", "member"}
    if names is None:
        names = [
            str(n)
            for n, v in means.data_vars.items()
            if "member" in v.dims and set(v.dims) <= allowed
        ]
    return pd.concat(
        [_rows(means, name, quantiles) for name in names] or [pd.DataFrame()], ignore_index=True
    )


def _rows(means: xr.Dataset, name: str, quantiles: Sequence[float]) -> pd.DataFrame:
    field = means[name].transpose(..., "member")
    values = np.asarray(field.values, dtype=np.float64)
    dims = [str(d) for d in field.dims[:-1]]
    where = dict(zip(dims, np.indices(values.shape[:-1]).reshape(len(dims), -1), strict=True))
    columns: dict[str, object] = {}
    if "time" in where and "time_bnds" in means:
        for place, end in enumerate(("start", "end")):
            columns[end] = _stamps(means["time_bnds"].values[:, place])[where["time"]]
    for label in (*LABELS, "region"):
        if label in means.coords and means[label].ndim == 1 and means[label].dims[0] in where:
            columns[label] = means[label].values[where[str(means[label].dims[0])]]
    flat = values.reshape(-1, values.shape[-1])
    table = pd.DataFrame(columns, index=range(len(flat)))
    table["quantity"] = name
    table["units"] = field.attrs.get("units", "1")
    return table.join(_over_members(flat, quantiles))


def _over_members(values: np.ndarray, quantiles: Sequence[float]) -> pd.DataFrame:
    """Statistics of the members that are there, shape (row, member)."""
    members = pd.DataFrame(values)
    if np.isnan(values).any():  # slow, row by row, where a member is missing
        found = np.stack([members.quantile(q, axis=1).to_numpy() for q in quantiles], axis=1)
    else:
        found = np.quantile(values, quantiles, axis=1).T
    statistics = {
        "mean": members.mean(axis=1),
        "std": members.std(axis=1, ddof=1),
        "min": members.min(axis=1),
        "max": members.max(axis=1),
    }
    statistics |= {f"q{100 * q:g}": found[:, k] for k, q in enumerate(quantiles)}
    return pd.DataFrame(statistics).assign(members=members.notna().sum(axis=1))


def _stamps(times: np.ndarray) -> np.ndarray:
    return np.array([str(t)[:19].replace(" ", "T") for t in times])
