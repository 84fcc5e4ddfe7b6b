"""Events connected in space and time, from frames that come in pieces, in bounded memory.

Cells above a threshold that touch, by a side, an edge or a corner, in space or from one frame to the
next, are one event. A piece is labelled together with the last frame before it, so an event that crosses
pieces stays one; kept are the events still going on and the few largest of those that are over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Measure = Literal["volume", "peak", "footprint", "duration"]


@dataclass(frozen=True)
class Event:
    """Cells above the threshold that hang together.

    Parameters
    ----------
    first, last : frames, both included
    peak : the largest value; of several, the earliest, then the one of the lowest cell
    peak_frame, peak_cell : where it is; a cell is its place in the flattened frame
    volume : Σ value × area over cells and frames
    cells : the footprint, every cell that was above the threshold, ascending
    area : of the footprint
    truncated : whether it touches the first or last frame, or a gap
    """

    first: int
    last: int
    peak: float
    peak_frame: int
    peak_cell: int
    volume: float
    cells: np.ndarray
    area: float
    truncated: bool = False


class Tracker:
    """Finds the events of one member in pieces of frames given in order.

    Parameters
    ----------
    area : array, shape ([tile,] y, x), of the cells
    threshold : an event exceeds it
    count : how many of the largest events are kept
    by : what is large
    links : array of int, shape (pair, 2), in both orders: places in the flattened frame of cells that
        touch though they do not lie beside each other there
    """

    def __init__(
        self, area: np.ndarray, threshold: float, count: int, by: Measure, links: np.ndarray
    ) -> None:
        self.area = np.nan_to_num(np.asarray(area, dtype=np.float64)).ravel()
        self.threshold = threshold
        self.count = count
        self.by = by
        self.links = links
        self.found = 0  # events that are over, kept or not
        self._largest: list[Event] = []
        self._open: list[Event] = []
        self._carried = np.zeros(np.shape(area), np.int64)  # open events of the last frame, from 1
        self._next: int | None = None
        self._start: int | None = None

    def add(self, first: int, values: np.ndarray) -> None:
        """Take the frames from number `first` on, shape (time, [tile,] y, x); missing cells exceed nothing.

        Frames that do not follow those before end every event.
        """
        if first != self._next:
            self.end()
            self._start = first
        self._next = first + len(values)
        above = values > self.threshold
        labels, count, same = self._label(above)
        size = count + len(self._open)
        links = coo_array((np.ones(same.shape[1], bool), (same[0], same[1])), shape=(size, size))
        events, event = connected_components(links, directed=False)  # of labels, then open events

        last = above[-1]
        going_on = np.unique(event[labels[-1][last] - 1])
        pieces = self._measured(
            first, values, above, event[labels[1:][above] - 1], np.union1d(going_on, event[count:])
        )
        for number, old in zip(event[count:].tolist(), self._open, strict=True):
            pieces[number] = self._merged(pieces[number], old) if number in pieces else old
        place = np.zeros(events, np.int64)
        place[going_on] = np.arange(1, going_on.size + 1)
        self._carried = np.zeros(last.shape, np.int64)
        self._carried[last] = place[event[labels[-1][last] - 1]]
        self._open = [pieces.pop(number) for number in going_on.tolist()]
        self.found += int(events) - going_on.size
        self._keep(pieces.values())

    def end(self) -> list[Event]:
        """End the events still going on; the largest so far, the largest first."""
        self.found += len(self._open)
        self._keep(replace(event, truncated=True) for event in self._open)
        self._open, self._next = [], None
        self._carried = np.zeros_like(self._carried)
        return list(self._largest)

    def _keep(self, events: Iterable[Event]) -> None:
        self._largest += [
            replace(e, truncated=True) if e.first == self._start else e for e in events
        ]
        self._largest.sort(key=lambda e: largest_first(self.by, e))
        del self._largest[self.count :]

    def _label(self, above: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
        """Labels of the last frame before and of the frames, and which of them are one event.

        Returns
        -------
        labels, shape (1 + time, [tile,] y, x), from 1; how many; array, shape (2, pair), of labels from
        0 and, after them, open events
        """
        whole = np.concatenate([self._carried[None] > 0, above])
        touching = np.ones((3,) * whole.ndim, bool)
        if whole.ndim > 3:
            touching[:, [0, 2]] = False  # faces lie one after another, not beside each other
        labels, count = ndimage.label(whole, structure=touching)
        carried = self._carried > 0
        pairs = [np.stack([labels[0][carried] - 1, self._carried[carried] - 1 + count])]
        flat, (a, b) = labels.reshape(len(labels), -1), self.links.T
        for one, other in ((flat[:, a], flat[:, b]), (flat[:-1, a], flat[1:, b])):
            both = (one > 0) & (other > 0)
            pairs.append(np.unique(np.stack([one[both], other[both]]), axis=1) - 1)
        return labels, int(count), np.concatenate(pairs, axis=1)

    def _measured(
        self,
        first: int,
        values: np.ndarray,
        above: np.ndarray,
        event: np.ndarray,
        wanted: np.ndarray,
    ) -> dict[int, Event]:
        """What the frames hold of the events `wanted`, and of the largest of all others.

        Parameters
        ----------
        event : number of the event of each cell that is above
        """
        if not event.size:
            return {}
        frame, *place = np.nonzero(above)
        cell = np.ravel_multi_index(tuple(place), above.shape[1:])
        value = values[above].astype(np.float64)
        order = np.lexsort((cell, frame, -value, event))  # the peak of each event first
        frame, cell, value, event = (a[order] for a in (frame + first, cell, value, event))
        numbers, begin = np.unique(event, return_index=True)
        which = np.repeat(np.arange(numbers.size), np.diff(np.append(begin, event.size)))
        owner, cells = np.divmod(np.unique(which * self.area.size + cell), self.area.size)
        start = np.searchsorted(owner, np.arange(numbers.size + 1))
        measures = {
            "first": np.minimum.reduceat(frame, begin),
            "last": np.maximum.reduceat(frame, begin),
            "peak": value[begin],
            "peak_frame": frame[begin],
            "peak_cell": cell[begin],
            "volume": np.add.reduceat(value * self.area[cell], begin),
            "area": np.bincount(owner, self.area[cells]),
        }
        largest = np.lexsort(largest_first(self.by, SimpleNamespace(**measures))[::-1])
        others = largest[~np.isin(numbers[largest], wanted)][: self.count]
        return {
            int(numbers[k]): Event(
                cells=cells[start[k] : start[k + 1]].copy(),
                **{name: found[k].item() for name, found in measures.items()},
            )
            for k in np.union1d(np.flatnonzero(np.isin(numbers, wanted)), others)
        }

    def _merged(self, one: Event, other: Event) -> Event:
        """The event of which both are parts."""
        peak = min(one, other, key=lambda e: largest_first("peak", e))
        cells = np.union1d(one.cells, other.cells)
        return replace(
            peak,
            first=min(one.first, other.first),
            last=max(one.last, other.last),
            volume=one.volume + other.volume,
            cells=cells,
            area=float(self.area[cells].sum()),
        )


def largest_first(by: Measure, event: Any) -> tuple[Any, Any, Any]:
    """Sorts the largest first, and of equals the earliest; of one event, or of arrays of many."""
    size = {
        "volume": event.volume,
        "peak": event.peak,
        "footprint": event.area,
        "duration": event.last - event.first,
    }[by]
    return -size, event.peak_frame, event.peak_cell
