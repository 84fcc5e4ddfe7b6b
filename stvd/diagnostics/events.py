"""The catalogue of the largest events of a product: when, where, how large, and how many members agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.event_tracking import Event, Measure, Tracker, largest_first
from stvd.halo import extend_faces, find_joins
from stvd.lattice import TimeAxis, format_time

RATES = {"kg m-2 s-1": (3600.0, "mm h-1"), "mm h-1": (1.0, "mm h-1"), "mm d-1": (1.0, "mm d-1")}
"""By units: their factor to those of a catalogue, and these."""
SECONDS = {"mm h-1": 3600.0, "mm d-1": 86_400.0}
PIECE_BYTES = 128 * 2**20
COLUMNS = (
    "rank", "rank_in_member", "member", "start", "end", "duration_h", "peak_time", "lat", "lon",
    "tile", "y", "x", "peak", "threshold", "units", "footprint_km2", "volume_km3", "members",
    "truncated",
)  # fmt: skip


def largest_events(
    field: xr.DataArray,
    area: xr.DataArray,
    axis: TimeAxis,
    *,
    threshold: float,
    count: int = 20,
    by: Measure = "volume",
    periodic_x: bool = False,
) -> pd.DataFrame:
    """The largest events of each member: cells above a threshold that touch in space and time.

    Cells touch by a side, an edge or a corner, within a frame and from one to the next, over the ends
    of a row if it is periodic, and from face to face of a cubed sphere; a missing frame ends every event. The record
    is read once by pieces of time, a dask chunk or 128 MiB at most, and once more where there are
    events to compare between members; the memory is that of a piece, the events going on and the few
    kept, whatever the length of the record.

    Parameters
    ----------
    field : DataArray, shape (member, time, [tile,] y, x), with ascending mid-interval times; rates in
        kg m-2 s-1 or mm h-1, or daily amounts in mm d-1 with `axis` that of days
    area : DataArray, shape ([tile,] y, x), m2
    axis : lattice of time of `field`
    threshold : an event exceeds it; mm h-1 of a step, or mm d-1 where `field` is in these
    count : events of each member
    by : what is large: volume, peak, footprint or duration; of equals the earlier is larger
    periodic_x : whether the last column touches the first (`grid.is_periodic`)

    Returns
    -------
    DataFrame with `COLUMNS`, the largest event of all members first, no row where nothing exceeds the
    threshold. `start`, `end` (of the last step) and `peak_time` (middle of the step) are ISO 8601;
    `lat` and `lon` are those of the peak, whose cell is `tile`, `y`, `x`; `volume_km3` is the water
    that fell on the cells above the threshold while they were; `members` is the share of members, this
    one included, that exceed the threshold within the footprint between start and end; `truncated`
    says that the event touches an end of the record or a gap, so it may have been larger. The
    attribute `events` has how many events there are in all

    Raises
    ------
    ValueError
        If the units are no rate, times do not ascend, or the threshold is negative.
    """
    if str(field.attrs.get("units")) not in RATES:
        raise ValueError(
            f"{field.name} is in {field.attrs.get('units')}, and events are found in "
            f"{', '.join(RATES)}; convert it"
        )
    if threshold < 0 or count < 1:
        raise ValueError(f"a threshold of {threshold:g} or {count} events makes no catalogue")
    factor, units = RATES[str(field.attrs["units"])]
    frames = axis.locate(field["time"])
    if (np.diff(frames) <= 0).any():
        raise ValueError("the times do not ascend, or repeat; sort them and drop duplicates")
    field = field.transpose("member", "time", ..., "y", "x")
    if "tile" not in field.dims:
        field = field.expand_dims("tile", axis=2)
    size = area.transpose(..., "y", "x").values.reshape(field.shape[2:])
    members = range(field.sizes["member"])
    links = touching_cells(field, periodic_x)
    trackers = [Tracker(size, threshold, count, by, links) for _ in members]
    for piece in _pieces(field, frames):
        for m, values in _by_member(field, piece, factor):
            trackers[m].add(int(frames[piece][0]), values)
    found = [(m, event) for m in members for event in trackers[m].end()]
    found = sorted(found, key=lambda f: (*largest_first(by, f[1]), f[0]))
    kept: dict[int, int] = {}
    chosen = []
    for m, event in found:
        kept[m] = kept.get(m, 0) + 1
        chosen.append((m, event, kept[m]))
    shares = _shares(field, frames, [c[:2] for c in chosen], threshold, factor)
    rows = [
        {
            "rank": rank,
            "rank_in_member": rank_in_member,
            "member": _label(field, m),
            **_described(event, field, axis),
            "threshold": threshold,
            "units": units,
            "footprint_km2": event.area / 1e6,
            # mm × m2 is a litre, 1e12 of which are a km3.
            "volume_km3": event.volume * axis.step_seconds / SECONDS[units] / 1e12,
            "members": share,
        }
        for rank, ((m, event, rank_in_member), share) in enumerate(
            zip(chosen, shares, strict=True), 1
        )
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if field.sizes["tile"] == 1:
        table = table.drop(columns="tile")
    table.attrs["events"] = sum(t.found for t in trackers)
    return table


def touching_cells(field: xr.DataArray, periodic_x: bool) -> np.ndarray:
    """Cells that touch over the ends of a row or the sides of faces, shape (pair, 2), in both orders.

    Parameters
    ----------
    field : DataArray, shape (member, time, tile, y, x); which faces are adjacent is read off `lat` and
        `lon` of shape (tile, y, x)

    Returns
    -------
    array of places in the flattened (tile, y, x)
    """
    tiles, rows, columns = field.shape[2:]
    shape = (tiles, rows, columns)
    number = np.arange(np.prod(shape)).reshape(shape)
    dims = ("tile", "y", "x")
    placed = all(c in field.coords and field[c].ndim == 3 for c in ("lat", "lon"))
    if shape[0] > 1 and min(shape[1:]) > 1 and placed:
        lat, lon = (field[c].transpose(*dims).values for c in ("lat", "lon"))
        around = extend_faces(find_joins(lat, lon), shape, (1, 1), (1, 1))
    elif periodic_x:
        around = np.pad(number, ((0, 0), (0, 0), (1, 1)), mode="wrap")
        around = np.pad(around, ((0, 0), (1, 1), (0, 0)), constant_values=-1)
    else:
        return np.zeros((0, 2), np.int64)
    ny, nx = shape[1:]
    found = []
    for dy, dx in product((0, 1, 2), repeat=2):
        beyond = around[:, dy : dy + ny, dx : dx + nx]
        pairs = np.stack([number[beyond >= 0], beyond[beyond >= 0]], axis=1)
        tile, y, x = (np.diff(k, axis=1)[:, 0] for k in np.unravel_index(pairs, shape))
        beside = (tile == 0) & (abs(y) <= 1) & (abs(x) <= 1)
        found.append(pairs[~beside])
    one_way = np.concatenate(found)
    return np.unique(np.concatenate([one_way, one_way[:, ::-1]]), axis=0)


def _described(event: Event, field: xr.DataArray, axis: TimeAxis) -> dict[str, object]:
    """Time and place of an event."""
    tile, y, x = np.unravel_index(event.peak_cell, field.shape[2:])
    at = {"tile": int(tile), "y": int(y), "x": int(x)}
    place = {
        name: float(field[name].isel({d: at[str(d)] for d in field[name].dims}).item())
        if name in field.coords and set(field[name].dims) <= set(at)
        else np.nan
        for name in ("lat", "lon")
    }
    steps = event.last + 1 - event.first
    return {
        "start": format_time(axis.start(event.first)),
        "end": format_time(axis.start(event.last + 1)),
        "duration_h": steps * axis.step_seconds / 3600,
        "peak_time": format_time(axis.start(event.peak_frame) + axis.step / 2),
        **place,
        **at,
        "peak": event.peak,
        "truncated": event.truncated,
    }


def _label(field: xr.DataArray, member: int) -> int:
    """The number of a member as the record calls it."""
    for name in ("realization", "member"):
        if name in field.coords:
            return int(field[name].values[member])
    return member


def _pieces(field: xr.DataArray, frames: np.ndarray) -> Iterator[slice]:
    """Places of consecutive frames: dask chunks, cut where a frame is missing or at 128 MiB."""
    length = field.sizes["time"]
    cuts = {0, length, *(np.flatnonzero(np.diff(frames) > 1) + 1).tolist()}
    if field.chunks is not None:
        cuts |= set(np.cumsum(field.chunksizes["time"]).tolist())
    most = max(1, PIECE_BYTES // (4 * max(1, int(np.prod(field.shape[2:])))))
    for start, stop in pairwise(sorted(cuts)):
        for first in range(start, stop, most):
            yield slice(first, min(first + most, stop))


def _by_member(
    field: xr.DataArray, piece: slice, factor: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Each member's values of a piece, shape (time, tile, y, x), a chunk of members read at a time."""
    lazy = field.chunks is not None
    chunks = field.chunksizes["member"] if lazy else (1,) * field.sizes["member"]
    first = 0
    for width in chunks:
        block = field.isel(member=slice(first, first + width), time=piece).values
        for k in range(width):
            values = block[k] if factor == 1 else block[k] * np.asarray(factor, block.dtype)
            yield first + k, values
        first += width


def _shares(
    field: xr.DataArray,
    frames: np.ndarray,
    events: list[tuple[int, Event]],
    threshold: float,
    factor: float,
) -> list[float]:
    """Of each event the share of members that exceed the threshold in its footprint during it."""
    members = field.sizes["member"]
    hit = np.zeros((len(events), members), bool)
    for k, (m, _) in enumerate(events):
        hit[k, m] = True
    if members == 1:
        return hit.mean(axis=1).tolist()
    for piece in _pieces(field, frames):
        here = frames[piece]
        during = [
            (k, event, np.flatnonzero((here >= event.first) & (here <= event.last)))
            for k, (_, event) in enumerate(events)
        ]
        during = [d for d in during if d[2].size]
        if not during:
            continue
        for m, values in _by_member(field, piece, factor):
            flat = values.reshape(len(values), -1)
            for k, event, when in during:
                if not hit[k, m]:
                    part = flat[when[0] : when[-1] + 1][:, event.cells]
                    hit[k, m] = bool((part > threshold).any())
    return hit.mean(axis=1).tolist()
