"""Tables of complete years and of periods to date, of months and of hours, as CF data.

A record is read once, piece by piece of the field, and each piece in time; what is read becomes
states (`accumulate`), and these months and years (`periods`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.accumulate import State
from stvd.diagnostics.accumulate_record import Piece, Record, cell_dims, pieces, thread_count
from stvd.diagnostics.accumulate_store import cell_coordinates, from_dataset
from stvd.diagnostics.annual import ATTRIBUTES, HOURLY
from stvd.diagnostics.days import Span, time_coordinates
from stvd.diagnostics.ensemble import area_mean, with_ensemble
from stvd.diagnostics.extremes import index_attributes, step_attributes, step_text
from stvd.diagnostics.periods import Sheet, Sheets, sheets
from stvd.lattice import TimeAxis, format_time
from stvd.score_pieces import assert_aligned

__all__ = ["Tables", "area_mean", "area_table", "tables", "tables_of_states"]


@dataclass(frozen=True)
class Tables:
    """What a record says about its years; each dataset is None when there is nothing for it.

    Parameters
    ----------
    annual : complete years alone
    period_to_date : the part that is there of every other year
    monthly : complete months
    diurnal : the diurnal cycle of complete years
    intensity : share of the area and time in each bin of rain rate (`stvd.intensity`), by year
    notes : in words, what was left out
    """

    annual: xr.Dataset | None
    period_to_date: xr.Dataset | None
    monthly: xr.Dataset | None
    diurnal: xr.Dataset | None
    intensity: xr.Dataset | None
    notes: tuple[str, ...]


def tables(
    pr: xr.DataArray,
    area: xr.DataArray,
    axis: TimeAxis,
    *,
    reference: xr.Dataset | xr.DataArray | None = None,
    cycles: bool = True,
    intensity: bool = False,
    threads: int | None = None,
) -> Tables:
    """Annual totals, means, wet days and extremes, months and the diurnal cycle, in one pass.

    Each chunk of `pr` is read once. Memory holds, for every thread, a chunk and two states (200 bytes
    a cell of a 3-hourly record, 330 of an hourly one), and the tables: a year of 10 members in 100 000
    cells takes 0.1 GB, 0.5 GB with `cycles`.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), a rate in the units that its attributes say
        (kg m-2 s-1, mm d-1, mm h-1, …), lazily or in memory
    area : DataArray, shape ([tile,] y, x), m2
    axis : lattice of time of the record
    reference : Dataset of `p95` and `p99`, percentiles of wet days in a reference period, mm d-1 (see
        `percentiles.wet_day_percentiles`); a DataArray is taken as `p95`
    cycles : whether months and the diurnal cycle are wanted
    intensity : whether the distribution of rates is wanted, which takes longer than all the rest
    threads : pieces of the field worked on at once; by default one a processor, if memory allows

    Returns
    -------
    Tables; each dataset has the dimensions `time` (with `time_bnds`), `member` and those of the grid,
    `diurnal` also `hour`. Of a quantity `q` there are `q` per member, `q_mean`, `q_std` and
    `q_quantile` of the ensemble, and `q_area` per member, its area-weighted mean

    Raises
    ------
    ValueError
        If `pr` is no rate of precipitation, times do not ascend, steps do not make up days
        (`days.DayLattice`), or coordinates differ.
    """
    assert_aligned(pr, area, "area")
    record = Record.of(pr, axis, reference=reference, area=area if intensity else None)
    parts = pieces(pr)
    threads = threads or thread_count(pr, parts)
    sizes = {d: pr.sizes[d] for d in cell_dims(pr)}
    found = sheets(record.states, parts, sizes, cycles=cycles, threads=threads)
    decoded = pr["time"].dtype != object
    return _tables(found, cell_coordinates(pr), sizes, area, axis, decoded=decoded)


def tables_of_states(
    states: Iterable[xr.Dataset],
    area: xr.DataArray,
    *,
    cycles: bool = True,
    threads: int = 1,
) -> Tables:
    """The tables of a record from the states of its parts, as `accumulate_store` keeps them.

    Parameters
    ----------
    states : datasets of states, in order of time, lazily or in memory; gone through once for each piece
        of the field, so no generator
    area : DataArray, shape ([tile,] y, x), m2
    cycles, threads : as in `tables`

    Returns
    -------
    Tables, those of the record that the states were made of

    Raises
    ------
    ValueError
        If states overlap or are of different records, grids or references.
    """
    begin, cells = _beginning(states)
    for dataset in states:
        assert_aligned(cells, dataset["total"].isel(part=0, drop=True), "other states")
    assert_aligned(cells, area, "states and area")
    sizes = {str(d): n for d, n in cells.sizes.items()}

    def read(piece: Piece) -> Iterator[State]:
        first = not any(piece[d].start for d in piece if d != "member")
        for dataset in states:
            # Areas by rate are of all cells, so that one piece of the field brings them in.
            held = dataset if first else dataset.drop_vars("histogram", errors="ignore")
            yield from from_dataset(held, piece)

    found = sheets(read, pieces(cells), sizes, cycles=cycles, threads=threads)
    decoded = begin.axis.decoded(begin.frames[:1])[0].dtype != object
    return _tables(found, cell_coordinates(cells), sizes, area, begin.axis, decoded=decoded)


def _beginning(states: Iterable[xr.Dataset]) -> tuple[State, xr.DataArray]:
    """The first state, of one cell, and a field of all cells."""
    for dataset in states:  # which is open only here
        cells = dataset["total"].isel(part=0, drop=True).load()
        return from_dataset(dataset, {str(d): slice(0, 1) for d in cells.dims})[0], cells
    raise ValueError("there are no states: count those of a record first, with partition_states")


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


def _tables(
    found: Sheets,
    coords: Mapping[str, xr.DataArray],
    sizes: Mapping[str, int],
    area: xr.DataArray,
    axis: TimeAxis,
    *,
    decoded: bool,
) -> Tables:
    """The sheets as CF datasets with the statistics of the ensemble."""
    known = {"areacella": area.reset_coords(drop=True), **coords}

    def dataset(sheet: Sheet, *inner: str) -> xr.Dataset | None:
        if not sheet.spans:
            return None
        dims = ("time", *inner, *sizes)
        made = xr.Dataset(
            {
                name: (dims, values, HOURLY if inner else _attributes(name, axis.step_seconds))
                for name, values in sheet.fields.items()
            },
            known,
        )
        return with_ensemble(made, area).assign_coords(_periods(sheet.spans, decoded))

    diurnal = dataset(found.diurnal, "hour")
    return Tables(
        annual=dataset(found.annual),
        period_to_date=dataset(found.period_to_date),
        monthly=dataset(found.monthly),
        diurnal=None if diurnal is None else diurnal.assign_coords(_hours(diurnal.sizes["hour"])),
        intensity=_intensity(found.intensity, coords, decoded),
        notes=tuple(_notes(found, axis)),
    )


def _attributes(name: str, step_seconds: int) -> dict[str, str]:
    if name == "rx1step":
        return step_attributes(step_seconds)
    return ATTRIBUTES.get(name) or index_attributes(name)


def _periods(spans: Sequence[Span], decoded: bool) -> dict[str, object]:
    """Coordinates along time."""
    coords: dict[str, object] = {
        **time_coordinates(spans, decoded=decoded),
        "year": ("time", [s.year for s in spans], {"long_name": "calendar year"}),
        "complete": (
            "time",
            np.array([s.complete for s in spans], np.int8),
            {"long_name": "whether every day of the period is there", "flag_values": np.array([0, 1], np.int8),
             "flag_meanings": "incomplete complete"},
        ),
        "days": (
            "time", [s.count for s in spans], {"long_name": "whole days counted", "units": "1"}
        ),
    }  # fmt: skip
    months = [s.month for s in spans if s.month is not None]
    if months:
        coords["month"] = ("time", months, {"long_name": "calendar month"})
    return coords


def _hours(bins: int) -> dict[str, object]:
    edges = np.linspace(0.0, 24.0, bins + 1)
    attrs = {"long_name": "hour of the day (UTC), middle of the interval", "units": "hour",
             "bounds": "hour_bnds"}  # fmt: skip
    return {
        "hour": ("hour", (edges[:-1] + edges[1:]) / 2, attrs),
        "hour_bnds": (("hour", "bnds"), np.stack([edges[:-1], edges[1:]], axis=-1)),
    }


def _intensity(
    sheet: Sheet, coords: Mapping[str, xr.DataArray], decoded: bool
) -> xr.Dataset | None:
    """Shares of the area and time from areas."""
    if not sheet.spans:
        return None
    areas = xr.DataArray(sheet.fields["area"], dims=("time", "member", "bin"))
    share = (areas / areas.sum("bin")).assign_attrs(
        long_name="share of the area and time in each bin of rain rate", units="1",
        cell_methods="time: area: sum",
    )  # fmt: skip
    named = {k: v for k, v in coords.items() if set(v.dims) <= {"member"}}
    return xr.Dataset({"histogram": share}, named).assign_coords(_periods(sheet.spans, decoded))


def _notes(found: Sheets, axis: TimeAxis) -> Iterator[str]:
    spans = sorted(found.annual.spans + found.period_to_date.spans, key=lambda s: s.year)
    if all(span.count == 0 for span in spans):
        span = spans[0]
        yield (
            f"The record {format_time(span.start)} to {format_time(span.end)} has no whole day: "
            f"totals and {step_text(axis.step_seconds)} maxima only, no daily index."
        )
        return
    if found.dropped:
        yield f"{found.dropped} frames of days that are not wholly covered were left out."
    for span in spans:
        if not span.complete:
            yield (
                f"{span.year} is not complete ({span.count} days of {format_time(span.start)} to "
                f"{format_time(span.end)}): published as period to date, not as annual."
            )
        if span.count < 5:
            yield f"{span.year} has {span.count} whole days: no rx5day, which needs five."
