"""Tables of complete years and of periods to date, per member and of the ensemble, as CF data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.annual import daily_totals, frame_totals
from stvd.diagnostics.days import Days, Span, time_coordinates, whole_days, whole_record, years
from stvd.diagnostics.extremes import etccdi, step_text, subdaily_maximum
from stvd.lattice import TimeAxis, format_time

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Tables:
    """What a record says about its years.

    `annual` holds complete years alone; `period_to_date` the part that is there of every other
    year; each is None when there is no such year. `notes` say in words what was left out.
    """

    annual: xr.Dataset | None
    period_to_date: xr.Dataset | None
    notes: tuple[str, ...]


def tables(
    pr: xr.DataArray,
    area: xr.DataArray,
    axis: TimeAxis,
    *,
    reference: xr.DataArray | None = None,
) -> Tables:
    """Annual totals, means, wet days and extremes, one year at a time.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, lazily or in memory
    area : DataArray, shape ([tile,] y, x), m2
    axis : lattice of time of the record
    reference : DataArray, shape ([tile,] y, x), mm d-1, see `extremes.etccdi`

    Returns
    -------
    Tables; each dataset has the dimensions `time` (one per year, with `time_bnds`), `member` and
    those of the grid. Of a quantity `q` there are `q` per member, `q_mean`, `q_std` and
    `q_quantile` of the ensemble, and `q_area` per member, its area-weighted mean

    Raises
    ------
    ValueError
        If times do not ascend or steps do not make up days (`days.whole_days`).
    """
    days = whole_days(pr, axis)
    spans = years(days) if days is not None else [whole_record(pr, axis)]
    parts = [_quantities(pr, days, span, axis, reference).compute() for span in spans]
    made = {}
    for complete in (True, False):
        chosen = [i for i, s in enumerate(spans) if s.complete is complete]
        if chosen:
            table = xr.concat([parts[i] for i in chosen], "time", combine_attrs="override")
            made[complete] = _finish(table, [spans[i] for i in chosen], area, pr["time"])
    return Tables(made.get(True), made.get(False), tuple(_notes(days, spans, axis)))


def area_mean(field: xr.DataArray, area: xr.DataArray) -> xr.DataArray:
    """Area-weighted mean over the cells that have a value (`sdii` has none where it never rained).

    Parameters
    ----------
    field : DataArray, shape (..., [tile,] y, x)
    area : DataArray, shape ([tile,] y, x), m2

    Returns
    -------
    DataArray, shape (...), the units of `field`
    """
    dims = [d for d in ("tile", "y", "x") if d in field.dims]
    weights = area.reset_coords(drop=True)
    return field.weighted(weights).mean(dims).assign_attrs(field.attrs)


def area_table(table: xr.Dataset) -> pd.DataFrame:
    """Area means for reading and CSV: a row per period and quantity, the ensemble in columns."""
    rows = []
    names = [str(n).removesuffix("_area") for n in table.data_vars if str(n).endswith("_area")]
    for index in range(table.sizes["time"]):
        at = table.isel(time=index)
        start, end = (str(t)[:19].replace(" ", "T") for t in at["time_bnds"].values)
        for name in names:
            values = at[name + "_area"].values.astype(float)
            rows.append(
                {
                    "start": start,
                    "end": end,
                    "complete": bool(at["complete"]),
                    "quantity": name,
                    "units": table[name].attrs["units"],
                    "mean": float(values.mean()),
                    "std": float(values.std(ddof=1)) if values.size > 1 else np.nan,
                    "min": float(values.min()),
                    "max": float(values.max()),
                    "members": values.size,
                }
            )
    return pd.DataFrame(rows)


def _quantities(
    pr: xr.DataArray,
    days: Days | None,
    span: Span,
    axis: TimeAxis,
    reference: xr.DataArray | None,
) -> xr.Dataset:
    if days is None:
        rate = (pr * 3600.0).assign_attrs(units="mm h-1")
        found = frame_totals(pr, axis)
    else:
        rate = days.maximum.isel(time=span.days)
        daily = days.mean.isel(time=span.days)
        found = daily_totals(daily).merge(etccdi(daily, reference))
    found["rx1step"] = subdaily_maximum(rate, axis.step_seconds)
    return found


def _finish(
    table: xr.Dataset, spans: Sequence[Span], area: xr.DataArray, like: xr.DataArray
) -> xr.Dataset:
    """Add the ensemble's statistics, area means, and the coordinates of the periods."""
    names = [str(n) for n in table.data_vars]
    table = table.astype(np.float32)
    for name in names:
        field, attrs = table[name], table[name].attrs
        said, methods = attrs["long_name"], attrs["cell_methods"]
        table[f"{name}_mean"] = field.mean("member").assign_attrs(
            attrs, long_name=f"ensemble mean of the {said}", cell_methods=f"{methods} member: mean"
        )
        if field.sizes["member"] > 1:
            table[f"{name}_std"] = field.std("member", ddof=1).assign_attrs(
                attrs,
                long_name=f"ensemble spread of the {said}",
                cell_methods=f"{methods} member: standard_deviation",
            )
            # skipna would send every cell through numpy's slow nanquantile, one by one.
            table[f"{name}_quantile"] = field.quantile(
                QUANTILES, "member", keep_attrs=True, skipna=False
            ).assign_attrs(long_name=f"ensemble quantile of the {said}")
        table[f"{name}_area"] = area_mean(field.astype(np.float64), area).assign_attrs(
            attrs, long_name=f"area mean of the {said}"
        )
    coords: dict[str, object] = {
        **time_coordinates(list(spans), like),
        "areacella": area.reset_coords(drop=True),
        "year": ("time", [s.year for s in spans], {"long_name": "calendar year"}),
        "complete": (
            "time",
            np.array([s.complete for s in spans], np.int8),
            {"long_name": "whether every day of the year is there", "flag_values": [0, 1],
             "flag_meanings": "incomplete complete"},
        ),
        "days": (
            "time", [s.count for s in spans], {"long_name": "whole days counted", "units": "1"}
        ),
    }  # fmt: skip
    return table.assign_coords(coords)


def _notes(days: Days | None, spans: Sequence[Span], axis: TimeAxis) -> list[str]:
    if days is None:
        span = spans[0]
        return [
            f"The record {format_time(span.start)} to {format_time(span.end)} has no whole day: "
            f"totals and {step_text(axis.step_seconds)} maxima only, no daily index."
        ]
    notes = []
    if days.dropped:
        notes.append(f"{days.dropped} frames of days that are not wholly covered were left out.")
    for span in spans:
        if not span.complete:
            notes.append(
                f"{span.year} is not complete ({span.count} days of {format_time(span.start)} to "
                f"{format_time(span.end)}): published as period to date, not as annual."
            )
        if span.count < 5:
            notes.append(f"{span.year} has {span.count} whole days: no rx5day, which needs five.")
    return notes
