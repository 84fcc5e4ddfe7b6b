"""The ETCCDI indices by xclim from daily means: a second way to what `stvd.diagnostics` counts."""

from __future__ import annotations

from datetime import timedelta

import xarray as xr

INDICATORS = {
    "rx1day": "RX1day", "rx5day": "RX5day", "r10mm": "R10mm", "r20mm": "R20mm", "sdii": "SDII",
    "cdd": "CDD", "cwd": "CWD", "prcptot": "PRCPTOT",
}  # fmt: skip


def direct_days(pr: xr.DataArray, per_day: float) -> xr.DataArray:
    """Daily means by xarray's resampling, mm d-1; a day with a missing step is NaN.

    `pr` of whole days; `per_day` is what turns its units into mm d-1.
    """
    days = pr.resample(time="D").mean(skipna=False) * per_day
    return days.assign_attrs(
        units="mm d-1", cell_methods="time: mean", standard_name="precipitation_flux"
    )


def direct_indices(daily: xr.DataArray) -> xr.Dataset:
    """Indices of one year, or of a part of it, shape (member, y, x)."""
    import xclim
    from xclim.indicators import icclim

    count = daily.sizes["time"]
    daily = _at_least_four(daily)
    found = {}
    with xclim.set_options(check_missing="skip", cf_compliance="log"):
        for name, indicator in INDICATORS.items():
            if name != "rx5day" or count >= 5:
                made = getattr(icclim, indicator)(pr=daily, freq="YS")
                found[name] = made.isel(time=0, drop=True)
    return xr.Dataset(found)


def direct_shares(daily: xr.DataArray, reference: xr.Dataset) -> xr.Dataset:
    """Shares of the rain of days above the percentiles `p95` and `p99`."""
    import xclim
    from xclim.indicators import icclim

    with xclim.set_options(check_missing="skip", cf_compliance="log"):
        return xr.Dataset(
            {
                f"r{n}ptot": getattr(icclim, f"R{n}pTOT")(
                    pr=daily, pr_per=reference[f"p{n}"], freq="YS"
                ).isel(time=0, drop=True)
                for n in (95, 99)
            }
        )


def _at_least_four(daily: xr.DataArray) -> xr.DataArray:
    """Missing days of the same year added to fewer than 4, the least in which xclim sees days."""
    times = list(daily.indexes["time"])
    day = timedelta(days=1)
    while len(times) < 4:
        times = [*times, times[-1] + day] if times[0].month < 7 else [times[0] - day, *times]
    return daily.reindex(time=times) if len(times) > daily.sizes["time"] else daily
