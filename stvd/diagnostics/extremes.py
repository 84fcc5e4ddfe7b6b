"""Extreme rain: ETCCDI indices by xclim and sub-daily maxima."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import xarray as xr

AMOUNT = "lwe_thickness_of_precipitation_amount"
DAYS_ABOVE = f"number_of_days_with_{AMOUNT}_above_threshold"
SPELL = f"spell_length_of_days_with_{AMOUNT}"


class Index(NamedTuple):
    """An index of xclim's `icclim` module and its CF metadata."""

    indicator: str
    units: str
    cell_methods: str
    standard_name: str
    long_name: str


INDICES = {
    "rx1day": Index(
        "RX1day", "mm", "time: sum within days time: maximum over days", AMOUNT,
        "largest 1-day precipitation",
    ),
    "rx5day": Index(
        "RX5day", "mm", "time: sum (interval: 5 days) time: maximum", AMOUNT,
        "largest 5-day precipitation",
    ),
    "r10mm": Index("R10mm", "1", "time: sum over days", DAYS_ABOVE, "days with at least 10 mm"),
    "r20mm": Index("R20mm", "1", "time: sum over days", DAYS_ABOVE, "days with at least 20 mm"),
    "sdii": Index(
        "SDII", "mm d-1", "time: mean over days", "lwe_precipitation_rate",
        "mean precipitation of wet days (at least 1 mm)",
    ),
    "cdd": Index(
        "CDD", "day", "time: maximum over days", f"{SPELL}_below_threshold",
        "longest run of days below 1 mm",
    ),
    "cwd": Index(
        "CWD", "day", "time: maximum over days", f"{SPELL}_above_threshold",
        "longest run of days with at least 1 mm",
    ),
    "prcptot": Index("PRCPTOT", "mm", "time: sum over days", AMOUNT, "precipitation of wet days"),
}  # fmt: skip
THRESHOLDS = {"r10mm": 10.0, "r20mm": 20.0, "cdd": 1.0, "cwd": 1.0}


def etccdi(daily: xr.DataArray, reference: xr.DataArray | None = None) -> xr.Dataset:
    """The ETCCDI precipitation indices of one year, or of the part of it that is there.

    Computed by xclim, lazily, one value per cell and member; a missing day (NaN) adds nothing and
    ends a spell. `rx5day` needs five days. Cells without a wet day have no `sdii`.

    Parameters
    ----------
    daily : DataArray, shape (member, time, [tile,] y, x), mm d-1, days of one calendar year
    reference : DataArray, shape ([tile,] y, x), mm d-1, the 95th percentile of wet days in a
        reference period; with it `r95p` (mm), the precipitation of days above it, is added

    Returns
    -------
    Dataset, shape (member, [tile,] y, x)
    """
    import xclim  # takes seconds to import
    from xclim.indicators import icclim

    count = daily.sizes["time"]
    daily = _contiguous_in_time(_at_least_four(daily))
    daily = daily.assign_attrs(units="mm d-1", cell_methods="time: mean")
    out = {}
    with xclim.set_options(check_missing="skip", cf_compliance="log"):
        for name, index in INDICES.items():
            if name == "rx5day" and count < 5:
                continue
            value = getattr(icclim, index.indicator)(pr=daily, freq="YS").isel(time=0, drop=True)
            out[name] = value.astype(np.float32).assign_attrs(_attributes(name))
    if reference is not None:
        above = (daily >= 1.0) & (daily > reference)
        out["r95p"] = daily.where(above).sum("time").assign_attrs(
            units="mm", standard_name=AMOUNT, cell_methods="time: sum over days",
            long_name="precipitation of days above the 95th percentile of wet days",
        )  # fmt: skip
    return xr.Dataset({k: v.reset_coords(drop=True) for k, v in out.items()})


def _attributes(name: str) -> dict[str, str]:
    index = INDICES[name]
    attrs = {
        "long_name": index.long_name,
        "standard_name": index.standard_name,
        "units": index.units,
        "cell_methods": index.cell_methods + " area: mean",
    }
    if name in THRESHOLDS:
        attrs["comment"] = f"threshold {THRESHOLDS[name]:g} mm per day"
    return attrs


def _at_least_four(daily: xr.DataArray) -> xr.DataArray:
    """Missing days of the same year added to fewer than 4, the least in which xclim sees days."""
    times = list(daily.indexes["time"])
    day = timedelta(days=1)
    while len(times) < 4:
        times = [*times, times[-1] + day] if times[0].month < 7 else [times[0] - day, *times]
    return daily.reindex(time=times) if len(times) > daily.sizes["time"] else daily


def _contiguous_in_time(daily: xr.DataArray, cells: int = 4096) -> xr.DataArray:
    """One chunk in time, and few enough cells in each that a thread's work stays small."""
    if daily.chunks is None:
        return daily
    chunks: dict[str, int] = {"time": -1, "member": 1}
    side = int(cells**0.5)
    for dim in ("y", "x"):
        chunks[dim] = min(side, max(daily.chunksizes[dim]))
    return daily.chunk(chunks)


def subdaily_maximum(maximum: xr.DataArray, step_seconds: int) -> xr.DataArray:
    """The largest rate of a single step, `rx1step`.

    Parameters
    ----------
    maximum : DataArray, shape (member, time, [tile,] y, x), mm h-1, rates or their maxima
    step_seconds : length of a step

    Returns
    -------
    DataArray, shape (member, [tile,] y, x), mm h-1
    """
    return maximum.max("time").assign_attrs(
        long_name=f"largest rate of a {step_text(step_seconds)} step",
        standard_name="lwe_precipitation_rate",
        units="mm h-1",
        cell_methods=f"time: maximum (interval: {step_seconds} s) area: mean",
    )


def step_text(step_seconds: int) -> str:
    """A step as people say it, e.g. `3-hour` or `5-minute`."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if step_seconds % size == 0:
            return f"{step_seconds // size}-{unit}"
    return f"{step_seconds}-second"
