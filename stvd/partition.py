"""Partitions of a product, and the plan of which of them to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from stvd.lattice import IndexRange, TimeAxis

Mode = Literal["missing", "stale", "replace"]
Action = Literal["run", "replace", "skip", "stale", "wait"]
_ID = re.compile(r"(\d{6,})-(\d{6,})_m(\d{3,})-(\d{3,})")


class Partition(BaseModel):
    """The unit of work, of idempotency and of commit: some members of one cell of time.

    Parameters
    ----------
    source : name of the coarse record in its catalog
    frames : absolute frames of the source, half-open
    members : ensemble members, half-open
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    frames: IndexRange
    members: IndexRange

    @model_validator(mode="after")
    def _not_empty(self) -> Partition:
        for name, indices in (("frames", self.frames), ("members", self.members)):
            if not indices or indices.start < 0:
                raise ValueError(
                    f"{name} {indices.start}-{indices.stop} of a partition must be a non-empty "
                    "range that starts at 0 or later"
                )
        return self

    @classmethod
    def from_id(cls, source: str, partition_id: str) -> Partition:
        """The partition of `source` that `partition_id` names, e.g. `000240-000480_m000-004`."""
        match = _ID.fullmatch(partition_id)
        if match is None:
            raise ValueError(
                f"{partition_id!r} is not a partition id; one looks like 000240-000480_m000-004"
            )
        first, last, low, high = map(int, match.groups())
        return cls(source=source, frames=range(first, last), members=range(low, high))

    @property
    def id(self) -> str:
        """Name of the partition within its product, both ranges half-open."""
        return (
            f"{self.frames.start:06d}-{self.frames.stop:06d}"
            f"_m{self.members.start:03d}-{self.members.stop:03d}"
        )


class Published(Protocol):
    """What planning needs to know of a published partition (`stvd.product.LedgerEntry`)."""

    @property
    def frames(self) -> range: ...
    @property
    def members(self) -> range: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def written_at(self) -> str: ...


P = TypeVar("P", bound=Published)


class Planned(BaseModel):
    """A partition, what to do with it, and why.

    `run` samples what is not there; `replace` samples what is there anew; `skip` leaves it;
    `stale` leaves it although its inputs changed; `wait` cannot run yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Partition
    action: Action
    reason: str

    @property
    def runs(self) -> bool:
        return self.action in ("run", "replace")


def plan(
    axis: TimeAxis,
    available: range,
    requested: range | None = None,
    *,
    source: str,
    cell_frames: int,
    members: range,
    reads: Callable[[range], range] | None = None,
    ledger: Mapping[str, P],
    fingerprint_of: Callable[[Partition], str] | None = None,
    changed: Callable[[P], str] | None = None,
    mode: Mode = "missing",
) -> list[Planned]:
    """Decide, cell by cell, what to do to have `members` of `requested` published.

    Every worker that calls this with the same arguments gets the same list in the same order:
    by time, then by member.

    Parameters
    ----------
    axis : time lattice of the source
    available : frames the source holds
    requested : frames wanted; the cells that they touch are planned. None: all that is available
    source : name of the source
    cell_frames : frames in a cell of the product
    members : members wanted
    reads : the frames of input that the frames of a cell need before it may run; None: its own
    ledger : what is published, by partition id; read once, never the store
    fingerprint_of : the fingerprint that a published partition would have today. Called once for
        each published partition that was asked for and that `changed` does not know to be stale;
        None: its input is not looked at
    changed : what is other today than when a partition was published, in words, as far as that can be
        told without its input; empty where nothing is
    mode : `missing` runs what is not there; `stale` also replaces what has another fingerprint;
        `replace` replaces all that was asked for

    Returns
    -------
    list of Planned, one for each published partition met and one for each gap between them
    """
    wanted = available if requested is None else requested
    published = _by_cell(ledger.values(), cell_frames)
    planned: list[Planned] = []
    for cell in range(wanted.start // cell_frames, -(-wanted.stop // cell_frames)):
        frames = range(cell * cell_frames, (cell + 1) * cell_frames)
        if frames.start < 0:
            continue
        entries = [e for e in published.get(cell, ()) if _overlap(e.members, members)]
        blocked = _not_available(axis, frames, reads(frames) if reads else frames, available)
        for entry in entries:
            partition = Partition(source=source, frames=frames, members=entry.members)
            other = changed(entry) if changed and not blocked else ""
            if not other and fingerprint_of and not blocked:
                other = _other(entry, fingerprint_of(partition))
            planned.append(_decide_published(partition, entry, other, mode, blocked))
        for gap in _gaps(members, [e.members for e in entries]):
            partition = Partition(source=source, frames=frames, members=gap)
            planned.append(
                Planned(partition=partition, action="wait", reason=blocked)
                if blocked
                else Planned(partition=partition, action="run", reason="not published yet")
            )
    return sorted(planned, key=lambda p: (p.partition.frames.start, p.partition.members.start))


def _other(entry: Published, current: str) -> str:
    same = current == entry.fingerprint
    return "" if same else f"its inputs now give {current[:12]}"


def _decide_published(
    partition: Partition, entry: Published, other: str, mode: Mode, blocked: str
) -> Planned:
    """What to do with a partition that is there; `other` says why it is stale, if it is."""
    standing = f"published {entry.written_at} with fingerprint {entry.fingerprint[:12]}"
    if other:
        standing += f", {other}"
    action: Action
    if blocked:
        action, standing = "skip", f"{standing}; {blocked}"
    elif mode == "replace" or (other and mode == "stale"):
        action = "replace"
    elif other:
        action, standing = "stale", f"{standing}: use mode stale or replace to sample it anew"
    else:
        action = "skip"
    return Planned(partition=partition, action=action, reason=standing)


def _by_cell(entries: Iterable[P], cell_frames: int) -> dict[int, list[P]]:
    cells: dict[int, list[P]] = {}
    for entry in entries:
        cells.setdefault(entry.frames.start // cell_frames, []).append(entry)
    return cells


def _not_available(axis: TimeAxis, frames: range, needed: range, available: range) -> str:
    """Why the source cannot fill `frames` from those that are `needed`; empty when it can."""
    have = str(axis.period(available)) if available else "nothing"
    if not (available.start <= frames.start and frames.stop <= available.stop):
        return (
            f"waits for {axis.period(frames)} (frames {frames.start}-{frames.stop}): "
            f"the source holds {have}"
        )
    if needed.stop > available.stop:
        ahead = range(frames.stop, needed.stop)
        return (
            f"waits for {axis.period(ahead)} (frames {ahead.start}-{ahead.stop}), with which its last "
            f"windows overlap: the source holds {have}. If it has ended, ask with open end"
        )
    return ""


def _overlap(a: range, b: range) -> bool:
    return a.start < b.stop and b.start < a.stop


def _gaps(members: range, taken: Sequence[range]) -> list[range]:
    """The parts of `members` that no range of `taken` covers."""
    gaps, start = [], members.start
    for block in sorted(taken, key=lambda r: r.start):
        if block.start > start:
            gaps.append(range(start, block.start))
        start = max(start, block.stop)
    if start < members.stop:
        gaps.append(range(start, members.stop))
    return gaps
