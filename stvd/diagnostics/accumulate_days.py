"""Sums, counts, maxima and spells of a run of days, for every cell; runs join exactly.

Amounts are whole numbers of `QUANTUM` millimetres, held in float64: such numbers add without rounding
up to 2⁵³ of them (8 km of rain), so neither the order of days nor where a record is cut changes a
sum in the least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stvd.diagnostics.accumulate_spells import FiveDays, FiveDayTally, Spell, SpellTally

QUANTUM = 2.0**-30  # mm
WET_DAY = 1.0  # mm, the usual threshold of a wet day (ETCCDI)
HEAVY, VERY_HEAVY = 10.0, 20.0  # mm, of the indices r10mm and r20mm
SLACK = 1e-5
"""mm; a day this close below a threshold has reached it: single precision keeps 20 mm to 2e-6."""


def reaches(threshold: float) -> float:
    """The amount, in `QUANTUM`, from which on a day has reached a threshold in mm."""
    return (threshold - SLACK) / QUANTUM


@dataclass(frozen=True)
class Run:
    """Whole days from the first to the last, in every cell; missing days between them add nothing.

    Amounts are in `QUANTUM`; the shape (...) is that of the cells.

    Parameters
    ----------
    days : numbers of the days from the first that is there to the last
    present : days of which every frame is there
    valid : days with a value, int32
    total : amount of all days
    wet_days, wet_total : days of at least 1 mm, int32, and their amount
    heavy_days, very_heavy_days : days of at least 10 and 20 mm, int32
    very_wet : amount of the wet days above each percentile of the reference, shape (percentile, ...)
    max_day : largest amount of a day, NaN where there is none
    max_step : largest rate of a step, mm h-1, float32, NaN where there is none
    hours : amount by bin of the day, shape (bin, ...)
    dry, wet : spells of days below and of at least 1 mm
    five : sums over five days
    """

    days: range
    present: int
    valid: np.ndarray
    total: np.ndarray
    wet_days: np.ndarray
    wet_total: np.ndarray
    heavy_days: np.ndarray
    very_heavy_days: np.ndarray
    very_wet: np.ndarray
    max_day: np.ndarray
    max_step: np.ndarray
    hours: np.ndarray
    dry: Spell
    wet: Spell
    five: FiveDays

    def join(self, other: Run) -> Run:
        """This run and a later one, with the days that are missing between them.

        Raises
        ------
        ValueError
            If the other one does not begin after the last day of this.
        """
        gap = other.days.start - self.days.stop
        if gap < 0:
            raise ValueError(f"days {self.days} and {other.days} overlap or are not in order")
        lengths = len(self.days), len(other.days)
        return Run(
            days=range(self.days.start, other.days.stop),
            present=self.present + other.present,
            **{name: getattr(self, name) + getattr(other, name) for name in ADDED},
            max_day=np.fmax(self.max_day, other.max_day),
            max_step=np.fmax(self.max_step, other.max_step),
            dry=self.dry.join(lengths[0], other.dry, lengths[1], gap),
            wet=self.wet.join(lengths[0], other.wet, lengths[1], gap),
            five=self.five.join(lengths[0], other.five, lengths[1], gap),
        )


ADDED = (
    "valid", "total", "wet_days", "wet_total", "heavy_days", "very_heavy_days", "very_wet", "hours",
)  # fmt: skip
"""The fields of a run that add."""


class DayTally:
    """Counts whole days one after the other, in place.

    Parameters
    ----------
    first : number of the first day
    shape : of the cells
    bins : parts of the day
    percentiles : mm d-1, shape (percentile, ...) that broadcasts to the cells; above them a wet day
        is very wet
    """

    def __init__(
        self, first: int, shape: tuple[int, ...], bins: int, percentiles: np.ndarray
    ) -> None:
        self.days = range(first, first)
        self.present = 0
        counts = ("valid", "wet_days", "heavy_days", "very_heavy_days")
        self.counts = {name: np.zeros(shape, np.int32) for name in counts}
        self.total, self.wet_total = np.zeros(shape), np.zeros(shape)
        self.limits = percentiles / QUANTUM
        self.very_wet = np.zeros((len(percentiles), *shape))
        self.max_day, self.max_step = np.full(shape, np.nan), np.full(shape, np.nan, np.float32)
        self.hours = np.zeros((bins, *shape))
        self.dry, self.wet = SpellTally(shape), SpellTally(shape)
        self.five = FiveDayTally(shape)

    def add(self, day: int, hours: np.ndarray, max_step: np.ndarray) -> None:
        """A day, after those counted before.

        Parameters
        ----------
        hours : amounts, in `QUANTUM`, NaN where a frame is missing, shape (bin, ...)
        max_step : mm h-1
        """
        gap = day - self.days.stop
        if gap:
            self.dry.skip()
            self.wet.skip()
            self.five.skip(gap)
        self.days = range(self.days.start, day + 1)
        self.present += 1

        amount = hours.sum(axis=0)
        np.fmax(self.max_day, amount, out=self.max_day)
        there = ~np.isnan(amount)
        if there.all():
            rain = amount
        else:  # a cell whose day is missing adds nothing, not even the hours that it has
            hours, rain = np.where(there, hours, 0.0), np.where(there, amount, 0.0)
            max_step = np.where(there, max_step, np.float32(np.nan))
        self.five.add(amount)
        self.hours += hours
        self.total += rain
        np.fmax(self.max_step, max_step, out=self.max_step)

        wet = rain >= reaches(WET_DAY)
        wet_rain = rain * wet
        self.wet_total += wet_rain
        for name, those in (
            ("valid", there),
            ("wet_days", wet),
            ("heavy_days", rain >= reaches(HEAVY)),
            ("very_heavy_days", rain >= reaches(VERY_HEAVY)),
        ):
            self.counts[name] += those
        for total, limit in zip(self.very_wet, self.limits, strict=True):
            total += wet_rain * (wet_rain > limit)
        self.wet.add(wet)
        self.dry.add(there & ~wet)

    def result(self) -> Run:
        return Run(
            days=self.days,
            present=self.present,
            **self.counts,
            total=self.total,
            wet_total=self.wet_total,
            very_wet=self.very_wet,
            max_day=self.max_day,
            max_step=self.max_step,
            hours=self.hours,
            dry=self.dry.result(),
            wet=self.wet.result(),
            five=self.five.result(),
        )
