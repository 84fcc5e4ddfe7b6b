"""What a run of days has to remember so that spells and five-day sums go on in the next run.

A spell that a cut divides ends one run and begins the next: its length is the sum of the two. A sum
over five days that a cut divides needs at most the last four days before it and the first four after.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

FIVE = 5
KEPT = FIVE - 1


class Spell(NamedTuple):
    """Spells of days of one kind (wet, dry) in a run of days, in days.

    Parameters
    ----------
    first : length of the spell with which the run begins, int32, shape (...)
    last : of the one with which it ends
    best : of the longest
    """

    first: np.ndarray
    last: np.ndarray
    best: np.ndarray

    def join(self, length: int, other: Spell, other_length: int, gap: int) -> Spell:
        """Spells of this run of `length` days, `gap` missing days and the `other` run."""
        best = np.maximum(self.best, other.best)
        if gap:
            return Spell(self.first, other.last, best)
        return Spell(
            np.where(self.first == length, length + other.first, self.first),
            np.where(other.last == other_length, other_length + self.last, other.last),
            np.maximum(best, self.last + other.first),
        )


class SpellTally:
    """Counts spells day by day, in place."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.first, self.last, self.best = (np.zeros(shape, np.int32) for _ in range(3))
        self.unbroken = np.ones(shape, bool)

    def add(self, inside: np.ndarray) -> None:
        """A day; `inside` says where it belongs to a spell."""
        self.last += 1
        self.last *= inside
        np.maximum(self.best, self.last, out=self.best)
        self.unbroken &= inside
        self.first += self.unbroken

    def skip(self) -> None:
        """Days that are missing end every spell."""
        self.last[:] = 0
        self.unbroken[:] = False

    def result(self) -> Spell:
        return Spell(self.first, self.last, self.best)


class FiveDays(NamedTuple):
    """Sums over five days in a row, none of them missing.

    Parameters
    ----------
    best : largest sum, NaN where there is none, shape (...)
    first : the first four days of the run, NaN where missing, shape (4, ...)
    last : its last four days; of a shorter run the rest is NaN
    """

    best: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def join(self, length: int, other: FiveDays, other_length: int, gap: int) -> FiveDays:
        """Sums of this run of `length` days, `gap` missing days and the `other` run."""
        best = np.fmax(self.best, other.best)
        if not gap:
            across = np.concatenate([self.last, other.first])
            for k in range(KEPT):
                best = np.fmax(best, across[k : k + FIVE].sum(axis=0))
        between = np.full((min(gap, KEPT), *self.best.shape), np.nan)
        first = np.concatenate([self.first[: min(length, KEPT)], between, other.first])
        last = np.concatenate([self.last, between, other.last[max(KEPT - other_length, 0) :]])
        return FiveDays(best, first[:KEPT], last[-KEPT:])


class FiveDayTally:
    """Sums over five days, day by day."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.best = np.full(shape, np.nan)
        self.missing = np.full(shape, np.nan)
        self.first: list[np.ndarray] = []
        self.window: deque[np.ndarray] = deque(maxlen=FIVE)

    def add(self, amount: np.ndarray) -> None:
        """A day's amount, NaN where it is missing; the array is kept."""
        if len(self.first) < KEPT:
            self.first.append(amount)
        self.window.append(amount)
        if len(self.window) == FIVE:
            a, b, c, d, e = self.window
            np.fmax(self.best, a + b + c + d + e, out=self.best)

    def skip(self, days: int) -> None:
        """So many missing days."""
        for _ in range(min(days, FIVE)):
            self.add(self.missing)

    def result(self) -> FiveDays:
        padding = [self.missing] * KEPT
        last = [*padding, *self.window][-KEPT:]
        return FiveDays(self.best, np.stack([*self.first, *padding][:KEPT]), np.stack(last))
