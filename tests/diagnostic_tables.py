"""Small tables of years and months as `stvd.diagnostics` makes them, for the tests of what reads them."""

from __future__ import annotations

import cftime
import numpy as np
import xarray as xr


def stamps(bounds: list[tuple[cftime.datetime, cftime.datetime]]) -> dict[str, object]:
    """Coordinates of periods, datetime64 on the standard calendar."""
    ends = np.array(bounds, dtype=object)
    middle = ends[:, 0] + (ends[:, 1] - ends[:, 0]) / 2
    if ends[0, 0].calendar == "standard":
        middle, ends = (
            np.vectorize(lambda t: np.datetime64(t.isoformat(), "ns"), otypes=["M8[ns]"])(a)
            for a in (middle, ends)
        )
    return {"time": ("time", middle), "time_bnds": (("time", "bnds"), ends)}


def first_of(month: int, calendar: str) -> cftime.datetime:
    """The first day of a month counted from January of year 0."""
    return cftime.datetime(month // 12, month % 12 + 1, 1, calendar=calendar)


def monthly(
    months: list[int], calendar: str = "standard", start: int = 2001, **fields: np.ndarray
) -> xr.Dataset:
    """Fields of shape (member, time, y, x), or (time,) of one member and cell; month 0 is January."""
    numbers = [start * 12 + m for m in months]
    bounds = [(first_of(n, calendar), first_of(n + 1, calendar)) for n in numbers]
    table = xr.Dataset(coords=stamps(bounds))
    for name, values in fields.items():
        values = np.asarray(values, float)
        values = values[None, :, None, None] if values.ndim == 1 else values
        field = xr.DataArray(
            values.astype(np.float32), dims=("member", "time", "y", "x"),
            attrs={"units": "mm", "long_name": name, "cell_methods": "time: sum area: mean"},
        )  # fmt: skip
        table[name] = field.transpose("time", "member", "y", "x")
    return table


def annual(values: np.ndarray, start: int = 2001, name: str = "pr_total") -> xr.DataArray:
    """Years of `values`, shape (time, member, y, x), or (time,) of one member and cell."""
    values = np.asarray(values, float)
    values = values[:, None, None, None] if values.ndim == 1 else values
    calendar = "noleap"
    bounds = [
        (first_of(12 * y, calendar), first_of(12 * y + 12, calendar))
        for y in range(start, start + len(values))
    ]
    return xr.DataArray(
        values, dims=("time", "member", "y", "x"), name=name,
        coords={"time": stamps(bounds)["time"], "member": np.arange(values.shape[1])},
        attrs={
            "units": "mm", "long_name": "total precipitation",
            "standard_name": "lwe_thickness_of_precipitation_amount",
            "cell_methods": "time: sum area: mean",
        },
    )  # fmt: skip
