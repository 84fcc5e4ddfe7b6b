"""Ensemble inference: batches over tiles × members, window by window, in bounded memory.

Windows sit on the absolute lattice of the source and noise is a function of (seed, member, tile,
frame). The numbers of a frame depend on the windows within a few calls of its own
(`stvd.window_chain`), and not on the piece of the record that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stvd.checkpoint import Checkpoint
from stvd.engine import BatchPlan, Engine, plan_batches
from stvd.sampling import SamplerConfig
from stvd.window_chain import WindowChain
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
    reaches over an end of the record sees its last frame repeated. So `coarse` should hold what there
    is of `WindowLattice.reads(frames, sampler.steps)`.

    Parameters
    ----------
    checkpoint : the model
    coarse, grid : datasets that meet the contract (`stvd.contract`); read lazily, a window at a time
    frames : absolute frames, any that `coarse` has
    members : of the ensemble
    seed : of the product
    progress : called with (network calls done, network calls in all), a call being one of a window

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
    how = sampler or SamplerConfig.of(checkpoint.card.sampler)
    run = WindowSampler(
        checkpoint, coarse, grid, members, seed, how, (engine or Engine()).resolve()
    )
    run.require(frames)
    run.plan = plan_batches(
        checkpoint.network,
        run.network.index.piece_shape,
        calls=how.steps,
        tiles=run.network.index.pieces,
        members=len(members),
        memory_gib=run.engine.memory_gib or 1.0,
        device=run.engine.device,
    )
    chain = WindowChain(run.lattice, how, run.record, frames)
    for done, finished in enumerate(chain.run(run), start=1):
        if progress:
            progress(done, chain.calls)
        if finished is not None:
            pr = run.rates(finished)
            yield Block(finished.frames, members, pr if run.domain.tiled else pr[:, :, 0], run.plan)
