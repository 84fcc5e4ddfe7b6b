"""The months and years of a record, made from the states of its months, piece by piece of the field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from stvd.diagnostics.accumulate import State, merge, merged
from stvd.diagnostics.accumulate_days import Run
from stvd.diagnostics.accumulate_record import Piece
from stvd.diagnostics.annual import Fields, diurnal_cycle, frame_totals, totals
from stvd.diagnostics.days import DayLattice, Span
from stvd.diagnostics.extremes import etccdi

MONTHLY = ("pr_total", "pr_mean", "wet_day_fraction", "rx1day", "rx1step")


@dataclass
class Sheet:
    """Quantities of spans: arrays by name, shape (time, ..., cells), float32.

    Parameters
    ----------
    spans : one along time
    fields : by name
    """

    spans: list[Span] = field(default_factory=list)
    fields: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Sheets:
    """What a record says about its months and years.

    Parameters
    ----------
    annual, period_to_date : of complete and of other years
    monthly : of complete months
    diurnal : of complete years, `pr_mean` of shape (time, bin, cells)
    intensity : of all years, `area` of shape (time, member, bin), m2, float64
    dropped : frames of days that are not whole
    """

    annual: Sheet = field(default_factory=Sheet)
    period_to_date: Sheet = field(default_factory=Sheet)
    monthly: Sheet = field(default_factory=Sheet)
    diurnal: Sheet = field(default_factory=Sheet)
    intensity: Sheet = field(default_factory=Sheet)
    dropped: int = 0


KINDS = ("annual", "period_to_date", "monthly", "diurnal")
Rows = dict[str, list[tuple[Span, Fields]]]
"""By kind of sheet."""


def sheets(
    states: Callable[[Piece], Iterable[State]],
    pieces: Sequence[Piece],
    sizes: Mapping[str, int],
    *,
    cycles: bool = True,
    threads: int = 1,
) -> Sheets:
    """Count the states of every piece of a field and lay the pieces side by side.

    Parameters
    ----------
    states : gives the states of a piece in order, each of frames of one month; several of a month merge
    pieces : parts of the field that make up the whole
    sizes : of the cells by dimension, in their order
    cycles : whether months and the diurnal cycle are wanted
    threads : pieces worked on at once
    """
    whole = Sheets()

    def count(piece: Piece) -> tuple[Rows, int]:
        return rows(states(piece), cycles=cycles)

    with ThreadPoolExecutor(threads) as pool:
        for piece, (found, dropped) in zip(pieces, pool.map(count, pieces), strict=True):
            whole.dropped = dropped
            place = tuple(piece.get(d, slice(None)) for d in sizes)
            for kind in KINDS:
                _lay(getattr(whole, kind), found.get(kind, []), place, tuple(sizes.values()))
            _add(whole.intensity, found.get("intensity", []), place[0], sizes)
    return whole


def rows(states: Iterable[State], *, cycles: bool = True) -> tuple[Rows, int]:
    """Spans and quantities of the months and years of a piece of the field, and frames left out."""
    found: Rows = {}
    dropped = 0
    parts: list[State] = []  # years without a whole day
    for year in _years(states, found, cycles):
        lattice = DayLattice.of(year.axis)
        dropped += year.dropped
        span = _span(year, lattice, yearly=True)
        if year.histogram is not None:
            found.setdefault("intensity", []).append((span, {"area": year.histogram}))
        if year.run is None:
            parts.append(year)
            continue
        fields = _quantities(year, year.run)
        kind = "annual" if span.complete else "period_to_date"
        found.setdefault(kind, []).append((span, _single(fields)))
        if span.complete and cycles:
            cycle = {"pr_mean": diurnal_cycle(year.run)}
            found.setdefault("diurnal", []).append((span, _single(cycle)))
    if parts and not (found.get("annual") or found.get("period_to_date")):
        record = reduce(merge, parts)
        fields = frame_totals(record.fragments, record.axis.step_seconds)
        span = _span(record, DayLattice.of(record.axis), yearly=True)
        found["period_to_date"] = [(span, _single(fields))]
    return found, dropped


def _years(states: Iterable[State], found: Rows, cycles: bool) -> Iterator[State]:
    """States of years; complete months are written down on the way."""

    def by_year() -> Iterator[tuple[int, State]]:
        for _, month in merged(_by_month(states)):
            span = _span(month, DayLattice.of(month.axis), yearly=False)
            if cycles and span.complete and month.run is not None:
                known = _quantities(month, month.run)
                fields = {name: known[name] for name in MONTHLY}
                found.setdefault("monthly", []).append((span, _single(fields)))
            yield span.year, month

    for _, year in merged(by_year()):
        yield year


def _by_month(states: Iterable[State]) -> Iterator[tuple[int, State]]:
    """States with the number of their month."""
    for state in states:
        ends = np.array([state.frames.start, state.frames.stop - 1])
        first, last = DayLattice.of(state.axis).months(ends).tolist()
        if first != last:
            raise ValueError(
                f"a state of frames {state.frames.start}-{state.frames.stop} has days of several "
                "months; make states of records with accumulate, which cuts them at months"
            )
        yield first, state


def _quantities(state: State, run: Run) -> Fields:
    indices = etccdi(run, state.reference.names)
    return totals(run) | indices | {"rx1step": run.max_step}


def _span(state: State, lattice: DayLattice, *, yearly: bool) -> Span:
    if state.run is None:
        start, end = (state.axis.start(k) for k in (state.frames.start, state.frames.stop))
        return Span(start.year, None, start, end, 0, False)
    days = state.run.days
    start, end = lattice.dates.start(days.start), lattice.dates.start(days.stop)
    month = None if yearly else start.month
    complete = state.present == lattice.length(start.year, month)
    return Span(start.year, month, start, end, state.present, complete)


def _single(fields: Fields) -> Fields:
    return {name: values.astype(np.float32) for name, values in fields.items()}


def _lay(
    sheet: Sheet,
    found: list[tuple[Span, Fields]],
    place: tuple[slice, ...],
    shape: tuple[int, ...],
) -> None:
    """Put a piece of a field where it belongs."""
    sheet.spans = [span for span, _ in found]
    for row, (_, fields) in enumerate(found):
        for name, values in fields.items():
            if name not in sheet.fields:
                inner = values.shape[: values.ndim - len(shape)]
                full = (len(found), *inner, *shape)
                sheet.fields[name] = np.full(full, np.nan, np.float32)
            where: Any = (row, ..., *place)
            sheet.fields[name][where] = values


def _add(
    sheet: Sheet, found: list[tuple[Span, Fields]], members: slice, sizes: Mapping[str, int]
) -> None:
    """Add the areas of a piece to those of its members."""
    if not found:
        return
    sheet.spans = [span for span, _ in found]
    for row, (_, fields) in enumerate(found):
        values = fields["area"]
        if not sheet.fields:
            sheet.fields["area"] = np.zeros((len(found), sizes["member"], values.shape[-1]))
        sheet.fields["area"][row, members] += values
