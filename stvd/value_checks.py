"""Checks of values: one pass over the data, then findings from its numbers per frame."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

import dask
import numpy as np
import xarray as xr

from stvd.contract import Finding, quantity, source_of, variables
from stvd.lattice import TimeAxis, format_time


class FrameNumbers(NamedTuple):
    """What the values of a variable are like in each frame, arrays of shape (frame,).

    `lowest` and `highest` are of the finite values, and NaN where there is none.
    """

    size: int
    missing: np.ndarray
    infinite: np.ndarray
    negative: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


class Survey(NamedTuple):
    """Numbers of every variable in the frames of a partition."""

    source: str
    step_seconds: int
    covers_earth: bool
    starts: list[str]
    numbers: dict[str, FrameNumbers]


def survey(coarse: xr.Dataset, axis: TimeAxis, frames: range, skip: Set[str | None]) -> Survey:
    """Go once over the values of `frames`, in bounded memory where the dataset is lazy.

    Parameters
    ----------
    coarse : dataset of the role coarse
    axis, frames : the frames that are wanted; others are not read
    skip : variables to leave out
    """
    located = axis.locate(coarse["time"])
    inside = np.flatnonzero((located >= frames.start) & (located < frames.stop))
    contiguous = inside.size > 0 and (np.diff(inside) == 1).all()
    index = slice(int(inside[0]), int(inside[-1]) + 1) if contiguous else inside
    part = coarse.isel(time=index)
    names = [n for n in variables(coarse) if n not in skip and "time" in coarse[n].dims]
    return Survey(
        source=source_of(coarse),
        step_seconds=axis.step_seconds,
        covers_earth=bool(coarse.attrs.get("periodic_x")) or coarse.sizes.get("tile") == 6,
        starts=[format_time(axis.start(int(k))) for k in located[inside]],
        numbers=_numbers(part[names]) if inside.size else {},
    )


def _numbers(fields: xr.Dataset) -> dict[str, FrameNumbers]:
    """The numbers of each variable, all computed together, a chunk of time after another."""
    lazy, sizes = {}, {}
    for name, field in fields.items():
        space = [d for d in field.dims if d != "time"]
        sizes[str(name)] = int(np.prod([field.sizes[d] for d in space]))
        whole = field if field.chunks is None else field.chunk(dict.fromkeys(space, -1))
        lazy[str(name)] = xr.apply_ufunc(
            _frame_numbers,
            whole,
            input_core_dims=[space],
            output_core_dims=[["number"]],
            dask="parallelized",
            dask_gufunc_kwargs={"output_sizes": {"number": 5}},
            output_dtypes=[np.float64],
        ).data
    (found,) = dask.compute(lazy)
    return {
        name: FrameNumbers(sizes[name], *of[:, :3].T.astype(int), *of[:, 3:].T)
        for name, of in found.items()
    }


def _frame_numbers(field: np.ndarray) -> np.ndarray:
    """Numbers of missing, infinite and negative values, lowest, highest: shape (frame, 5)."""
    flat = field.reshape(len(field), -1)
    finite = np.isfinite(flat)
    lowest = flat.min(axis=1, where=finite, initial=np.inf)
    highest = flat.max(axis=1, where=finite, initial=-np.inf)
    some = finite.any(axis=1)
    return np.stack(
        [
            np.isnan(flat).sum(axis=1),
            np.isinf(flat).sum(axis=1),
            (finite & (flat < 0)).sum(axis=1),
            np.where(some, lowest, np.nan),
            np.where(some, highest, np.nan),
        ],
        axis=1,
    ).astype(np.float64)


def missing_values(seen: Survey, tolerated_share: float) -> Iterator[Finding]:
    """Frames in which a larger share of a variable than tolerated is missing."""
    for name, of in seen.numbers.items():
        bad = of.missing > tolerated_share * of.size
        if bad.any():
            said = f"{of.missing[bad.argmax()]} of {of.size} values missing (NaN)"
            remedy = (
                "Fill or replace the frame in the source, or leave its period out; "
                f"quality.missing_share = {tolerated_share:g} is the share that is tolerated."
            )
            yield _finding(seen, bad, "missing_values", name, said, remedy)


def infinite_values(seen: Survey) -> Iterator[Finding]:
    """Frames with infinite values."""
    for name, of in seen.numbers.items():
        bad = of.infinite > 0
        if bad.any():
            said = f"{of.infinite[bad.argmax()]} of {of.size} values infinite"
            remedy = (
                "Infinite values come from a model that blew up or from a division by zero: "
                "replace the frame in the source, or leave its period out."
            )
            yield _finding(seen, bad, "infinite_values", name, said, remedy)


def negative_rain(seen: Survey, clipped_to: float, limit: float) -> Iterator[Finding]:
    """Frames with precipitation below zero; those that the policy clips are information.

    Parameters
    ----------
    clipped_to : kg m-2 s-1, how far below zero rain is set to zero; 0 for not at all
    limit : kg m-2 s-1, how far below zero it could be clipped
    """
    of = seen.numbers.get("pr")
    if of is None:
        return
    usual = "Negative rain usually means spectral ringing in the source"
    clipped = (of.lowest < 0) & (of.lowest >= -clipped_to)
    stops = (of.lowest < 0) & ~clipped
    if clipped.any():
        remedy = f"{usual}: it is set to 0."
        finding = _finding(seen, clipped, "negative_rain", "pr", _below_zero(of, clipped), remedy)
        yield finding.model_copy(update={"severity": "info"})
    if stops.any():
        remedy = (
            f'{usual}: set quality.negative = "clip" to allow up to -{limit:.0e}.'
            if (of.lowest[stops] >= -limit).all()
            else f"{usual}, but this is more than quality.negative_limit = {limit:.0e}: "
            "look at the source."
        )
        yield _finding(seen, stops, "negative_rain", "pr", _below_zero(of, stops), remedy)


def _below_zero(of: FrameNumbers, bad: np.ndarray) -> str:
    first = int(bad.argmax())
    return f"{of.negative[first]} values below 0 (min {of.lowest[first]:.2g} kg m-2 s-1)"


def absurd_values(seen: Survey, highest_rate: float) -> Iterator[Finding]:
    """Frames with values that no place on earth has."""
    for name, of in seen.numbers.items():
        known = quantity(name)
        if known is None:
            continue
        rain = known.units == "kg m-2 s-1"
        low, high = (-np.inf, highest_rate) if rain else (known.lowest, known.highest)
        bad = (of.lowest < low) | (of.highest > high)
        if bad.any():
            first = int(bad.argmax())
            said = f"values from {of.lowest[first]:.4g} to {of.highest[first]:.4g} {known.units}"
            remedy = (
                f"More than quality.highest_rate = {highest_rate:g} is absurd: rain in mm h-1 that "
                "is labelled kg m-2 s-1 is 3600 times too large; correct units_in of the catalog "
                "entry."
                if rain
                else f"Values beyond {low:g} to {high:g} are absurd: they may have other units "
                "than the file says; correct units_in of the catalog entry."
            )
            yield _finding(seen, bad, "absurd_values", name, said, remedy)


def all_zero(seen: Survey, dry_hours: float) -> Iterator[Finding]:
    """Rain that is nowhere for longer than is likely, or in one frame of the whole earth."""
    of = seen.numbers.get("pr")
    if of is None:
        return
    dry = (of.lowest == 0) & (of.highest == 0)
    longest, start = longest_run(dry)
    hours = longest * seen.step_seconds / 3600
    if longest and (seen.covers_earth or hours >= dry_hours):
        yield Finding(
            check="all_zero",
            variable="pr",
            time=seen.starts[start],
            message=f"pr of {seen.source} is 0 everywhere for {hours:g} hours from "
            f"{seen.starts[start]}.",
            remedy="A field that was never written is the usual cause; where it is that dry, raise "
            'quality.dry_hours or set quality.severity.all_zero = "warning".',
        )


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Length and start of the longest run of true values, shape (n,); (0, 0) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    if not starts.size:
        return 0, 0
    longest = int((stops - starts).argmax())
    return int((stops - starts)[longest]), int(starts[longest])


def static_values(grid: xr.Dataset) -> Iterator[Finding]:
    """Missing or impossible values in the fixed fields of a grid."""
    names = [n for n in variables(grid) if "time" not in grid[n].dims]
    for name, of in _numbers(grid[names].expand_dims("time")).items():
        known = quantity(name)
        gone = int(of.missing[0] + of.infinite[0])
        if gone:
            yield Finding(
                check="missing_values",
                variable=name,
                message=f"{name} of {source_of(grid)} has {gone} of {of.size} values missing.",
                remedy="Fill it in the source: sea has height 0 and land fraction 0.",
            )
        elif known and (of.lowest[0] < known.lowest or of.highest[0] > known.highest):
            yield Finding(
                check="absurd_values",
                variable=name,
                message=f"{name} of {source_of(grid)} has values from {of.lowest[0]:.4g} to "
                f"{of.highest[0]:.4g} {known.units}.",
                remedy="Values in other units than the file says are the usual cause: correct "
                "units_in of the catalog entry.",
            )


def _finding(
    seen: Survey, bad: np.ndarray, check: str, name: str, said: str, remedy: str
) -> Finding:
    """One finding for all bad frames: what is said of the first, then how many and until when."""
    where = np.flatnonzero(bad)
    first, last, more = int(where[0]), int(where[-1]), where.size - 1
    others = f", and {more} more frame{'s' * (more > 1)} to {seen.starts[last]}" if more else ""
    return Finding(
        check=check,
        variable=name,
        time=seen.starts[first],
        message=f"{name} at {seen.starts[first]} has {said}{others}.",
        remedy=remedy,
    )
