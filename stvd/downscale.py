"""Ensemble inference: batches over windows × tiles × members, in bounded memory.

Windows sit on the absolute lattice of the source and noise is a function of (seed, member, tile,
frame). Anchors depend on their own frames alone, a bridge on the anchors at its two ends: so the
numbers of a frame depend on a few frames of input around it, and not on the piece of the record that
was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stvd.checkpoint import Checkpoint
from stvd.engine import BatchPlan, Engine, plan_batches
from stvd.sampling import SamplerConfig
from stvd.window_sampler import WindowSampler


@dataclass(frozen=True)
class Block:
    """Some frames of all members.

    pr : ndarray of float32, shape (member, time, [tile,] y, x), kg m-2 s-1
    """

    frames: range
    members: range
    pr: np.ndarray
    plan: BatchPlan


def downscale(
    checkpoint: Checkpoint,
    coarse: xr.Dataset,
    grid: xr.Dataset,
    *,
    frames: range,
    members: range,
    seed: int,
    sampler: SamplerConfig | None = None,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Block]:
    """Sample an ensemble of fine precipitation, window by window.

    What is not in `coarse` before its first frame or after its last does not exist: a window that
    reaches over an end of the record sees its last frame repeated, and a bridge there has one known
    end. So `coarse` should hold what there is of `WindowLattice.reads(frames)`.

    Parameters
    ----------
    checkpoint : the model
    coarse, grid : datasets that meet the contract (`stvd.contract`); read lazily, a window at a time
    frames : absolute frames, any that `coarse` has
    members : of the ensemble
    seed : of the product
    progress : called with (windows done, windows in all)

    Yields
    ------
    Block, in order of time

    Raises
    ------
    ValueError
        If a frame is not there, or the grids do not fit.
    CheckpointError
        If the source does not fit what the checkpoint was trained for.
    """
    run = WindowSampler(
        checkpoint, coarse, grid, seed, sampler or SamplerConfig(), (engine or Engine()).resolve()
    )
    run.require(frames)
    cycles = run.lattice.cycles(frames)
    run.plan = plan_batches(
        checkpoint.network,
        run.network.index.piece_shape,
        # Windows share a call where `frames` are whole cycles, so that their numbers repeat.
        cycles=cycles if len(frames) == len(cycles) * run.lattice.cycle else range(1),
        tiles=run.network.index.pieces,
        members=len(members),
        memory_gib=run.engine.memory_gib or 1.0,
    )
    size, walk = run.plan.windows, _Walk(run, frames, members, progress)
    for first in range(cycles.start, cycles.stop, size):
        yield walk.block(range(first, min(first + size, cycles.stop)))


class _Walk:
    """The way through the cycles of a record, group by group, with the anchor that comes next.

    The first anchor of a group is sampled apart from the others: it is the one that the group before
    looks ahead to, so its bits must not depend on which windows it shares a network call with.
    """

    def __init__(
        self,
        run: WindowSampler,
        frames: range,
        members: range,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.run, self.lattice, self.frames, self.members = run, run.lattice, frames, members
        self.progress, self.done = progress, 0
        self.ahead: dict[int, np.ndarray] = {}
        cycles = self.lattice.cycles(frames)
        bridges = [c for c in cycles if self.wanted(c)]
        anchors = {c for c in cycles if run.has(self.lattice.anchor(c))}
        anchors |= {c + 1 for c in bridges if run.has(self.lattice.anchor(c + 1))}
        self.total = len(anchors) + len(bridges)

    def wanted(self, cycle: int) -> bool:
        """Whether a cycle's bridge holds frames that were asked for."""
        inside = self.lattice.bridge(cycle)[1:-1]
        asked = inside.start < self.frames.stop and self.frames.start < inside.stop
        return self.lattice.bridged and asked

    def block(self, group: range) -> Block:
        """The frames that were asked for of some cycles."""
        anchors = self.anchors(group)
        length, cycle = self.lattice.length, self.lattice.cycle
        shape = (len(self.members), len(group), cycle, *self.run.domain.area.shape)
        out = np.zeros(shape, np.float32)
        for i, number in enumerate(group):
            if number in anchors:
                out[:, i, :length] = anchors[number]
        bridges = [c for c in group if self.wanted(c)]
        for number, pr in zip(bridges, self.bridges(bridges, anchors), strict=True):
            out[:, number - group.start, length:] = pr[:, 1:-1]
        whole = range(group.start * cycle, group.stop * cycle)
        inside = range(max(whole.start, self.frames.start), min(whole.stop, self.frames.stop))
        pr = out.reshape(len(self.members), len(whole), *self.run.domain.area.shape)
        pr = pr[:, inside.start - whole.start : inside.stop - whole.start]
        pr = pr if self.run.domain.tiled else pr[:, :, 0]
        return Block(inside, self.members, pr, self.run.plan)

    def anchors(self, group: range) -> dict[int, np.ndarray]:
        """The anchors of a group, and the next where a bridge leads there, by number."""
        if not self.lattice.bridged:
            return self.sampled(group)
        head, rest, following = group[:1], group[1:], group[-1:]
        anchors = self.ahead or self.sampled(head)
        self.ahead = {}
        anchors = anchors | self.sampled(rest)
        if following and self.wanted(following[0]):
            self.ahead = self.sampled(range(group.stop, group.stop + 1))
        return anchors | self.ahead

    def sampled(self, numbers: range) -> dict[int, np.ndarray]:
        """Anchors of which at least one frame is in the record."""
        there = [number for number in numbers if self.run.has(self.lattice.anchor(number))]
        return dict(
            zip(there, self.sample([self.lattice.anchor(n) for n in there], None), strict=True)
        )

    def bridges(self, numbers: list[int], anchors: dict[int, np.ndarray]) -> list[np.ndarray]:
        """Bridges between anchors, held at the frame before them and the one behind them."""
        ends = []
        for number in numbers:
            left, right = anchors.get(number), anchors.get(number + 1)
            ends.append(
                ({} if left is None else {0: left[:, -1]})
                | ({} if right is None else {self.lattice.length - 1: right[:, 0]})
            )
        return self.sample([self.lattice.bridge(number) for number in numbers], ends)

    def sample(
        self, windows: list[range], ends: list[dict[int, np.ndarray]] | None
    ) -> list[np.ndarray]:
        pr = self.run.sample(windows, self.members, ends) if windows else []
        self.done += len(windows)
        if self.progress and windows:
            self.progress(self.done, self.total)
        return pr
