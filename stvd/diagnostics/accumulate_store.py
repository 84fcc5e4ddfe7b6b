"""States as a dataset, to be kept beside a product and read again when its next partition is there.

Along `part` lie the states of a partition, one for each month that it touches. Amounts are in mm;
they are whole numbers of 2⁻³⁰ mm, so nothing is lost either way in float64.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr

from stvd.diagnostics.accumulate import NO_REFERENCE, Fragment, Reference, State
from stvd.diagnostics.accumulate_days import QUANTUM, DayTally, Run
from stvd.diagnostics.accumulate_record import Piece, Record, cell_dims, pieces, thread_count
from stvd.diagnostics.accumulate_spells import FiveDays, Spell
from stvd.diagnostics.days import DayLattice
from stvd.lattice import TimeAxis

VERSION = 1
COUNTS = ("valid", "wet_days", "heavy_days", "very_heavy_days")
AMOUNTS = ("total", "wet_total", "very_wet", "max_day", "hours")
LEADING = {"very_wet": ("percentile",), "hours": ("hour",),
           "five_first": ("four",), "five_last": ("four",), "percentiles": ("percentile",),
           "head_hours": ("hour",), "tail_hours": ("hour",)}  # fmt: skip
"""Dimensions of a variable between `part` and those of the cells."""


def partition_states(
    pr: xr.DataArray,
    axis: TimeAxis,
    *,
    reference: xr.Dataset | xr.DataArray | None = None,
    area: xr.DataArray | None = None,
    threads: int | None = None,
) -> xr.Dataset:
    """The states of a part of a record, such as a partition, as a dataset; each chunk is read once.

    Parameters
    ----------
    pr, axis, reference, area : as in `accumulate_record.accumulate`
    threads : pieces of the field worked on at once; by default one a processor, if memory allows
    """
    record = Record.of(pr, axis, reference=reference, area=area)
    parts = pieces(pr)
    sizes = {d: pr.sizes[d] for d in cell_dims(pr)}
    found: dict[str, tuple[tuple[Hashable, ...], np.ndarray, dict[str, Any]]] = {}
    attrs: dict[str, Any] = {}

    def count(piece: Piece) -> xr.Dataset:
        return to_dataset(list(record.states(piece)))

    with ThreadPoolExecutor(threads or thread_count(pr, parts)) as pool:
        for piece, made in zip(parts, pool.map(count, parts), strict=True):
            attrs = made.attrs
            for name, variable in made.data_vars.items():
                shape = [sizes.get(str(d), n) for d, n in variable.sizes.items()]
                whole = found.setdefault(
                    str(name), (variable.dims, np.zeros(shape, variable.dtype), variable.attrs)
                )[1]
                place = tuple(piece.get(str(d), slice(None)) for d in variable.dims)
                if name == "histogram":
                    whole[place] += variable.values
                else:
                    whole[place] = variable.values
    return xr.Dataset(found, cell_coordinates(pr), attrs)


def to_dataset(states: Sequence[State], like: xr.DataArray | None = None) -> xr.Dataset:
    """States of one record as a dataset.

    Parameters
    ----------
    states : in order, with the same cells and reference
    like : array whose coordinates of the cells are copied
    """
    first = states[0]
    lattice = DayLattice.of(first.axis)
    rows = [_row(state, lattice) for state in states]
    found = {
        name: (("part", *LEADING.get(name, ()), *first.dims), np.stack([r[name] for r in rows]))
        for name in rows[0]
    }
    for side in ("head", "tail"):
        if all(getattr(state, side) is None for state in states):
            del found[f"{side}_hours"], found[f"{side}_max_step"]
    numbers = [_numbers(state) for state in states]
    found |= {name: (("part",), np.array([n[name] for n in numbers])) for name in numbers[0]}
    if first.reference.names:
        found["percentiles"] = (("percentile", *first.dims), first.reference.values.copy())
    if all(state.histogram is not None for state in states):
        found["histogram"] = (("part", "member", "rate_bin"),
                              np.stack([np.asarray(s.histogram) for s in states]))  # fmt: skip
    coords = {} if like is None else cell_coordinates(like)
    attrs = first.axis.model_dump() | {
        "title": "sums, counts, maxima and spells of precipitation of the parts of a record",
        "state_version": VERSION,
        "cells": " ".join(first.dims),
        "percentile_names": " ".join(first.reference.names),
    }
    dataset = xr.Dataset(found, coords, attrs)
    for name, variable in dataset.data_vars.items():
        if variable.ndim > 1:
            variable.attrs["units"] = _units(str(name))
    return dataset


def from_dataset(dataset: xr.Dataset, piece: Piece | None = None) -> list[State]:
    """The states of a dataset, of all cells or of a piece of the field.

    Raises
    ------
    ValueError
        If the dataset does not hold states of this version.
    """
    version = dataset.attrs.get("state_version")
    if version != VERSION:
        raise ValueError(
            f"the dataset holds states of version {version} and not {VERSION}; make them anew with "
            "accumulate"
        )
    piece = {d: s for d, s in (piece or {}).items() if d in dataset.dims}
    held = {
        str(name): variable.values
        for name, variable in dataset.isel(piece).data_vars.items()
        if "part" in variable.dims or name == "percentiles"
    }
    attrs = dataset.attrs
    axis = TimeAxis(
        epoch=attrs["epoch"],
        step_seconds=int(attrs["step_seconds"]),
        calendar=attrs["calendar"],
    )
    dims = tuple(attrs["cells"].split())
    names = tuple(attrs["percentile_names"].split())
    reference = Reference(names, held["percentiles"]) if names else NO_REFERENCE
    states = []
    for part in range(dataset.sizes["part"]):
        row = {name: values[part] for name, values in held.items() if name != "percentiles"}
        states.append(
            State(
                axis=axis,
                dims=dims,
                frames=range(int(row["first_frame"]), int(row["end_frame"])),
                count=int(row["count"]),
                head=_fragment(row, "head"),
                run=_run(row) if row["present"] else None,
                tail=_fragment(row, "tail"),
                reference=reference,
                histogram=row.get("histogram"),
            )
        )
    return states


def cell_coordinates(like: xr.DataArray) -> dict[str, xr.DataArray]:
    """Coordinates of the cells of a record: those that do not run along time.

    An array does not carry the bounds of its coordinates, so what names them goes.
    """
    known = ("time", "part")
    found = {
        str(name): coordinate.reset_coords(drop=True).copy()
        for name, coordinate in like.coords.items()
        if not set(known) & {name, *coordinate.dims}
    }
    for coordinate in found.values():
        for described in (coordinate.attrs, coordinate.encoding):
            described.pop("bounds", None)
    return found


def _row(state: State, lattice: DayLattice) -> dict[str, np.ndarray]:
    """Arrays of one state; zeros stand for a run or fragment that is not there."""
    shape = _shape(state)
    run = state.run
    if run is None:
        run = DayTally(0, shape, lattice.bins, state.reference.values).result()
    row: dict[str, np.ndarray] = {name: getattr(run, name) for name in COUNTS}
    row |= {name: getattr(run, name) * QUANTUM for name in AMOUNTS}
    row["max_step"] = run.max_step
    for kind in ("dry", "wet"):
        row |= {f"{kind}_{k}": v for k, v in getattr(run, kind)._asdict().items()}
    row |= {f"five_{name}": values * QUANTUM for name, values in run.five._asdict().items()}
    for side in ("head", "tail"):
        part: Fragment | None = getattr(state, side)
        row[f"{side}_hours"] = (
            np.zeros((lattice.bins, *shape)) if part is None else part.hours * QUANTUM
        )
        row[f"{side}_max_step"] = np.zeros(shape, np.float32) if part is None else part.max_step
    return row


def _numbers(state: State) -> dict[str, int]:
    """What holds for all cells of a state."""
    days = range(0) if state.run is None else state.run.days
    numbers = {
        "first_frame": state.frames.start,
        "end_frame": state.frames.stop,
        "count": state.count,
        "first_day": days.start,
        "end_day": days.stop,
        "present": state.present,
    }
    for side in ("head", "tail"):
        part: Fragment | None = getattr(state, side)
        numbers[f"{side}_day"] = 0 if part is None else part.day
        numbers[f"{side}_frames"] = 0 if part is None else part.frames
    return numbers


def _shape(state: State) -> tuple[int, ...]:
    if state.run is not None:
        return state.run.total.shape
    return state.fragments[0].max_step.shape


def _fragment(row: Mapping[str, Any], side: str) -> Fragment | None:
    frames = int(row[f"{side}_frames"])
    if not frames:
        return None
    hours = row[f"{side}_hours"] / QUANTUM
    return Fragment(int(row[f"{side}_day"]), frames, hours, row[f"{side}_max_step"])


def _run(row: Mapping[str, Any]) -> Run:
    return Run(
        days=range(int(row["first_day"]), int(row["end_day"])),
        present=int(row["present"]),
        **{name: row[name] for name in COUNTS},
        **{name: row[name] / QUANTUM for name in AMOUNTS},
        max_step=row["max_step"],
        dry=Spell(*(row[f"dry_{name}"] for name in Spell._fields)),
        wet=Spell(*(row[f"wet_{name}"] for name in Spell._fields)),
        five=FiveDays(*(row[f"five_{name}"] / QUANTUM for name in FiveDays._fields)),
    )


def _units(name: str) -> str:
    if name == "histogram":
        return "m2"
    if name == "percentiles":
        return "mm d-1"
    if name.endswith("max_step"):
        return "mm h-1"
    days = (
        name in COUNTS or name.startswith("dry_") or name in ("wet_first", "wet_last", "wet_best")
    )
    return "day" if days else "mm"
