"""Scores as plain numbers, by flat names."""

from __future__ import annotations

import math
from collections.abc import Iterator

import xarray as xr

from stvd.score_formulas import RANKS


def tabulate(scored: xr.Dataset) -> dict[str, dict[str, float | str | None]]:
    """Every score by a flat name: `{"crps": {"value": …, "low": …, "high": …, "units": …}, …}`.

    Names carry what the score depends on: `twcrps_1mmh`, `fss_1mmh_8cells`, `p99_999_ratio`,
    `rapsd_8cells` (wavelengths of 8 to 16 cells), `rank_histogram_1`. Scores that are not defined are
    left out; an interval that is not defined is None.
    """
    table: dict[str, dict[str, float | str | None]] = {}
    for key, units, point in _points(scored):
        value, low, high = (v if math.isfinite(v) else None for v in point)
        if value is not None:
            table[key] = {"value": value, "low": low, "high": high, "units": units}
    for name in RANKS.keys() & scored.keys():
        columns = [scored[n].values.tolist() for n in (name, f"{name}_low", f"{name}_high")]
        for rank, (value, *bounds) in enumerate(zip(*columns, strict=True), start=1):
            if math.isfinite(value):
                low, high = (v if math.isfinite(v) else None for v in bounds)
                entry = {"value": value, "low": low, "high": high, "units": "1"}
                table[f"{name}_{rank}"] = entry
    return table


def flatten(scored: xr.Dataset, *, intervals: bool = True) -> dict[str, float]:
    """Scores as plain numbers, e.g. `{"crps": …, "crps_low": …, "fss_1mmh_8cells": …}`.

    Names as in `tabulate`, without the ranks. Numbers that are not defined (NaN) are left out; names
    suit MLflow metrics.
    """
    flat: dict[str, float] = {}
    for key, _, point in _points(scored):
        for number, suffix in zip(point, ("", "_low", "_high"), strict=True):
            if math.isfinite(number) and (intervals or not suffix):
                flat[key + suffix] = number
    return flat


def _points(scored: xr.Dataset) -> Iterator[tuple[str, str, list[float]]]:
    """Flat name, units, and value, low and high of every score."""
    for name, array in scored.data_vars.items():
        if "estimate" not in array.dims:
            continue
        others = [d for d in array.dims if d != "estimate"]
        points = array.stack(point=others).transpose("point", "estimate") if others else [array]
        for point in points:
            estimates = [float(point.sel(estimate=e)) for e in ("value", "low", "high")]
            yield _flat_name(str(name), point), array.attrs["units"], estimates


def _flat_name(name: str, point: xr.DataArray) -> str:
    if name == "quantile_ratio":
        return f"p{100 * float(point['level']):g}_ratio".replace(".", "_")
    parts = [name.removesuffix("_band")]
    parts += [f"{float(point[d]):g}mmh" for d in ("threshold", "tail") if d in point.coords]
    parts += [f"{int(point[d])}cells" for d in ("scale", "wavelength") if d in point.coords]
    return "_".join(parts)
