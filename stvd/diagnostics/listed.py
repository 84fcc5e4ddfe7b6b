"""Means over regions, events and skill as CF datasets: what the lists of a diagnosis say, for programs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.days import as_datetime64
from stvd.diagnostics.ensemble import with_ensemble
from stvd.diagnostics.regions import region_means
from stvd.diagnostics.return_periods import FLAGS
from stvd.lattice import TimeAxis, canonical_calendar, parse_time

PERIODS = ("annual", "period_to_date", "seasonal", "monthly", "change")
"""Tables of which means over regions are wanted."""
MEASURED = {
    "rank_in_member": ("rank among the events of the member", "1"),
    "y": ("row of the peak", "1"),
    "x": ("column of the peak", "1"),
    "tile": ("tile of the peak", "1"),
    "duration_h": ("duration", "hour"),
    "peak": ("largest rate of a step", None),
    "footprint_km2": ("area of all cells that exceed the threshold", "km2"),
    "volume_km3": ("water that fell on the cells above the threshold", "km3"),
    "members": ("share of members that exceed the threshold there and then", "1"),
    "return_period": ("return period of the peak in its cell", "year"),
}
"""Columns of events that are numbers: what they are, and units; those of the rate are None."""


def region_tables(made: Mapping[str, xr.Dataset], areas: xr.DataArray) -> dict[str, xr.Dataset]:
    """Means over regions of every table of `PERIODS`, of each member and of the ensemble.

    Parameters
    ----------
    made : of `climate_tables.climate_tables`
    areas : DataArray, shape (region, [tile,] y, x), m2, of `regions.region_areas`

    Returns
    -------
    dict `regions_<table>`: Dataset of quantities of shape ([time,] member, region), their `q_mean`, `q_std` and
    `q_quantile`, with `region_name`, and in `coverage` the share of the region on the grid
    """
    found = {}
    for table in (t for t in PERIODS if t in made):
        means = region_means(of_members(made[table]), areas)
        named = ("region", means["region"].values, {"long_name": "name of the region"})
        means = means.drop_vars("region").assign_coords(region_name=named)
        if "time" in means.dims:
            found[f"regions_{table}"] = with_ensemble(means, None)
        else:
            of_once = with_ensemble(means.expand_dims("time"), None)
            found[f"regions_{table}"] = of_once.isel(time=0)
    return found


def of_members(table: xr.Dataset) -> xr.Dataset:
    """The quantities of a table that the ensemble has a mean of; bounds of its coordinates stay."""
    return table.drop_vars([n for n in table.data_vars if f"{n}_mean" not in table])


def event_dataset(events: pd.DataFrame, axis: TimeAxis) -> xr.Dataset:
    """The catalogue of `events.largest_events` as points at the time and place of the peaks.

    Parameters
    ----------
    events : with at least one row, with or without return periods
    axis : lattice of time of the record

    Returns
    -------
    Dataset along `event`, the rank: a discrete sampling geometry of points where the grid has latitude and
    longitude
    """
    rate = str(events["units"].iloc[0])
    found: dict[str, object] = {
        name: ("event", events[name].to_numpy(), {"long_name": said, "units": units or rate})
        for name, (said, units) in MEASURED.items()
        if name in events
    }
    for name, said in (("start", "beginning of the first step"), ("end", "end of the last step")):
        found[name] = _times(events[name], axis, {"long_name": said})
    found["truncated"] = (
        "event",
        events["truncated"].to_numpy().astype(np.int8),
        {"long_name": "whether a gap or an end of the record cuts the event",
         "flag_values": np.array([0, 1], np.int8), "flag_meanings": "whole cut"},
    )  # fmt: skip
    if "return_period_flag" in events:
        flags = [FLAGS.index(flag) for flag in events["return_period_flag"]]
        found["return_period_flag"] = (
            "event",
            np.array(flags, np.int8),
            {"long_name": "how the return period came about", "standard_name": "status_flag",
             "flag_values": np.arange(len(FLAGS), dtype=np.int8), "flag_meanings": " ".join(FLAGS)},
        )  # fmt: skip
    coords: dict[str, object] = {
        "event": ("event", events["rank"].to_numpy(), {"long_name": "rank by volume", "units": "1"}),
        "time": _times(
            events["peak_time"], axis, {"standard_name": "time", "long_name": "time of the peak"}
        ),
        "realization": (
            "event", events["member"].to_numpy(), {"standard_name": "realization", "units": "1"}
        ),
        "threshold": (
            (), float(events["threshold"].iloc[0]), {"long_name": "rate exceeded", "units": rate}
        ),
    }  # fmt: skip
    placed = not events[["lat", "lon"]].isna().to_numpy().any()
    if placed:
        for name, said, units in (
            ("lat", "latitude", "degrees_north"),
            ("lon", "longitude", "degrees_east"),
        ):
            attrs = {"standard_name": said, "long_name": f"{said} of the peak", "units": units}
            coords[name] = ("event", events[name].to_numpy(), attrs)
    return xr.Dataset(found, coords, {"featureType": "point"} if placed else {})


def skill_dataset(rows: pd.DataFrame) -> xr.Dataset:
    """Scores by season, region, number of members and threshold, from the rows of `skill`.

    Returns
    -------
    Dataset with a variable for each score, of shape (part, system, estimate), whose names have `_` where the rows
    have a point; `by` and `of` say what a part is, and what a part or system has no score of is missing
    """
    parts = list(dict.fromkeys(zip(rows["by"], rows["of"], strict=True)))
    systems = list(dict.fromkeys(rows["system"]))
    shape = (len(parts), len(systems), 3)
    found = {}
    for name, scored in rows.groupby("score", sort=False):
        values = np.full(shape, np.nan)
        for row in scored.to_dict("records"):
            place = parts.index((row["by"], row["of"])), systems.index(row["system"])
            values[place] = row["value"], row["low"], row["high"]
        about = {"long_name": str(name).replace("_", " "), "units": scored["units"].iloc[0]}
        found[str(name).replace(".", "_")] = (("part", "system", "estimate"), values, about)
    by, of = (np.array([part[k] for part in parts], dtype=str) for k in (0, 1))
    bounds = {"long_name": "value of the score, and bounds of its 90% interval"}
    coords = {
        "by": ("part", by, {"long_name": "what scores are told apart by"}),
        "of": ("part", of, {"long_name": "season, region, number of members or threshold"}),
        "system": ("system", np.array(systems, dtype=str), {"long_name": "what made the rain"}),
        "estimate": ("estimate", np.array(["value", "low", "high"]), bounds),
    }
    return xr.Dataset(found, coords)


def _times(texts: pd.Series, axis: TimeAxis, attrs: Mapping[str, str]) -> xr.Variable:
    """ISO 8601 times along `event`, datetime64 where the record's are."""
    when = np.array([parse_time(text, axis.calendar) for text in texts], dtype=object)
    if axis.decoded(range(1))[0].dtype != object:
        when = as_datetime64(when)
    units = f"seconds since {axis.origin.strftime('%Y-%m-%d')} 00:00:00"
    encoding = {"units": units, "calendar": canonical_calendar(axis.calendar)}
    return xr.Variable("event", when, dict(attrs), encoding)
