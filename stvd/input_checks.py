"""Checks of the times and the grid of a dataset; no values are read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cftime
import numpy as np
import xarray as xr

from stvd.contract import Finding, source_of
from stvd.grid import coarsen_coordinates, unit_vectors
from stvd.lattice import CALENDARS, TimeAxis, as_cftime, canonical_calendar, format_time

POSITION_TOLERANCE = 0.25  # of the spacing of coarse cells: means weighted by area lie off centre


def unsupported_calendar(coarse: xr.Dataset, axis: TimeAxis) -> Iterator[Finding]:
    """A calendar that is unknown, or not that of the lattice."""
    said = str(coarse.attrs.get("calendar", ""))
    try:
        known = canonical_calendar(said)
    except ValueError:
        yield Finding(
            check="unsupported_calendar",
            variable="time",
            message=f"time of {source_of(coarse)} has the calendar {said!r}.",
            remedy=f"Supported are {', '.join(CALENDARS)}: correct the attribute calendar of time "
            "in the file.",
        )
        return
    if known != canonical_calendar(axis.calendar):
        yield Finding(
            check="unsupported_calendar",
            variable="time",
            message=f"time of {source_of(coarse)} has the calendar {known}, and the lattice "
            f"{axis.calendar}.",
            remedy="A product holds one calendar: make another product for this source.",
        )


def non_monotonic_times(coarse: xr.Dataset, axis: TimeAxis, frames: range) -> Iterator[Finding]:
    """Times that go back."""
    times = as_cftime(coarse["time"], axis.calendar)
    back = np.flatnonzero(times[1:] < times[:-1])
    if back.size:
        first = int(back[0])
        yield Finding(
            check="non_monotonic_times",
            variable="time",
            time=format_time(times[first + 1]),
            message=f"time of {source_of(coarse)} goes back from {format_time(times[first])} to "
            f"{format_time(times[first + 1])}{_more(back.size)}.",
            remedy="Sort the source by time, or open its files in order.",
        )


def duplicate_times(coarse: xr.Dataset, axis: TimeAxis, frames: range) -> Iterator[Finding]:
    """Times that come more than once."""
    times, counts = np.unique(as_cftime(coarse["time"], axis.calendar), return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if twice.size:
        first = int(twice[0])
        yield Finding(
            check="duplicate_times",
            variable="time",
            time=format_time(times[first]),
            message=f"time of {source_of(coarse)} has {format_time(times[first])} "
            f"{counts[first]} times{_more(twice.size)}.",
            remedy="Drop the repeats; files that overlap are the usual cause.",
        )


def wrong_step(coarse: xr.Dataset, axis: TimeAxis, frames: range) -> Iterator[Finding]:
    """Times that advance by another step than the lattice, or lie between its frames."""
    times = np.unique(as_cftime(coarse["time"], axis.calendar))
    if times.size > 1:
        step = round(float(np.median([d.total_seconds() for d in np.diff(times)])))
        if step != axis.step_seconds:
            yield Finding(
                check="wrong_step",
                variable="time",
                time=format_time(times[0]),
                message=f"time of {source_of(coarse)} advances by {step} s and not by "
                f"{axis.step_seconds} s.",
                remedy="Correct step_seconds of the catalog entry, or average the source to the "
                "step that the checkpoint was trained on.",
            )
            return
    off = [t for t in times if abs(_off_middle(t, axis)) > 1e-3 * axis.step_seconds]
    if off:
        yield Finding(
            check="wrong_step",
            variable="time",
            time=format_time(off[0]),
            message=f"time of {source_of(coarse)} has {format_time(off[0])}, "
            f"{_off_middle(off[0], axis):+.0f} s off the middle of a frame{_more(len(off))}.",
            remedy=f"Frames of {axis.step_seconds} s begin at {axis.epoch}: correct stamp or epoch "
            "of the catalog entry, or the times of the file.",
        )


def missing_times(coarse: xr.Dataset, axis: TimeAxis, frames: range) -> Iterator[Finding]:
    """Frames that are wanted and not there."""
    present = set(axis.locate(coarse["time"]).tolist())
    missing = [frame for frame in frames if frame not in present]
    if missing:
        gaps = 1 + sum(b - a > 1 for a, b in pairwise(missing))
        start = format_time(axis.start(missing[0]))
        yield Finding(
            check="missing_times",
            variable="time",
            time=start,
            message=f"time of {source_of(coarse)} lacks {len(missing)} of {len(frames)} frames in "
            f"{gaps} gap{'s' * (gaps > 1)}, the first at {start}.",
            remedy="Complete the source, or ask for a period without gaps.",
        )


def wrong_factor(coarse: xr.Dataset, grid: xr.Dataset, factor: int) -> Iterator[Finding]:
    """A fine grid that is not `factor` times the coarse one."""
    sizes = {d: (coarse.sizes.get(d, 0), grid.sizes.get(d, 0)) for d in ("y", "x")}
    if any(n * factor != m for n, m in sizes.values()):
        (ny, my), (nx, mx) = sizes["y"], sizes["x"]
        yield Finding(
            check="wrong_factor",
            message=f"{source_of(grid)} has {my} × {mx} cells and {source_of(coarse)} {ny} × {nx}: "
            f"not {factor} times as many along each axis.",
            remedy=f"Choose a grid of {ny * factor} × {nx * factor} cells, or a checkpoint of "
            "another factor.",
        )
    if coarse.sizes.get("tile", 1) != grid.sizes.get("tile", 1):
        yield Finding(
            check="wrong_grid",
            message=f"{source_of(grid)} has {grid.sizes.get('tile', 1)} tiles and "
            f"{source_of(coarse)} {coarse.sizes.get('tile', 1)}.",
            remedy="Name the grid of this source in its catalog entry.",
        )


def wrong_grid(coarse: xr.Dataset, grid: xr.Dataset, factor: int) -> Iterator[Finding]:
    """Coarse cells that do not lie where blocks of fine ones do, or rows and columns in reverse."""
    blocks = {"y": factor, "x": factor, "tile": 1}
    if any(coarse.sizes.get(d, 0) * n != grid.sizes.get(d, 0) for d, n in blocks.items()):
        return  # wrong_factor says so
    shapes = {"lat" in d.coords and d["lat"].ndim for d in (coarse, grid)}
    if len(shapes) > 1:
        yield Finding(
            check="wrong_grid",
            variable="lat",
            message=f"{source_of(coarse)} and {source_of(grid)} are not alike: one has lat along "
            "its rows, the other over its map or not at all.",
            remedy="Use the grid of this source, or name lat and lon in metadata.stvd.coords of "
            "both catalog entries.",
        )
        return
    for name, (off, spacing, where) in _offsets(coarse, grid, factor).items():
        if off > POSITION_TOLERANCE * spacing:
            yield Finding(
                check="wrong_grid",
                variable=name,
                message=f"{name} of {source_of(coarse)} is up to {off:.3g} {where} off the centre "
                f"of its {factor} × {factor} fine cells; coarse cells are {spacing:.3g} apart.",
                remedy="Use the grid of this source, its region and coordinates included; a shift "
                "by half a cell or a longitude from another origin are the usual causes.",
            )
    yield from not_ascending(coarse)
    yield from not_ascending(grid)
    if coarse.attrs.get("periodic_x") != grid.attrs.get("periodic_x"):
        yield Finding(
            check="wrong_grid",
            message=f"{source_of(coarse)} and {source_of(grid)} do not agree that x is periodic.",
            remedy="Set periodic_x in both catalog entries.",
        )


def not_ascending(dataset: xr.Dataset) -> Iterator[Finding]:
    """Rows or columns that are not in order."""
    for name in ("lat", "lon", "y", "x"):
        line = dataset.coords.get(name)
        if line is not None and line.ndim == 1 and not (np.diff(line.values) > 0).all():
            yield Finding(
                check="wrong_grid",
                variable=name,
                message=f"{name} of {source_of(dataset)} does not ascend.",
                remedy="Order rows from the south and columns from the west; longitudes must not "
                "jump inside the grid.",
            )


def _offsets(
    coarse: xr.Dataset, grid: xr.Dataset, factor: int
) -> dict[str, tuple[float, float, str]]:
    """By coordinate: how far coarse positions are off block centres, their spacing and its unit."""
    blocks = coarsen_coordinates(grid, factor)
    found: dict[str, tuple[float, float, str]] = {}
    for name in ("lat", "lon", "y", "x"):
        if name in blocks and name in coarse.coords and blocks[name].ndim == coarse[name].ndim == 1:
            there, here = blocks[name].values, coarse[name].values
            spacing = float(np.abs(np.diff(there)).mean()) if there.size > 1 else np.inf
            unit = "m" if name in ("y", "x") else "degrees"
            found[name] = (float(np.abs(there - here).max()), spacing, unit)
    if "lat" in blocks and blocks["lat"].ndim > 1 and coarse.coords.get("lat") is not None:
        there = unit_vectors(blocks["lat"].values, blocks["lon"].values)
        here = unit_vectors(coarse["lat"].values, coarse["lon"].values)
        off = np.rad2deg(np.linalg.norm(there - here, axis=-1).max())
        spacing = np.rad2deg(np.median(np.linalg.norm(np.diff(there, axis=-2), axis=-1)))
        found["lat"] = (float(off), float(spacing), "degrees")
    return found


def _off_middle(time: cftime.datetime, axis: TimeAxis) -> float:
    """Seconds by which a time is later than the middle of its frame."""
    frame = axis.frame(time)
    return float((time - axis.start(frame)).total_seconds() - axis.step_seconds / 2)


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
