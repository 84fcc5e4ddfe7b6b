"""A checkpoint and the classical baselines, scored side by side on one record in bounded memory.

Nothing here knows of Prefect. The ensemble is sampled while it is scored, a few windows at a time;
its numbers are those that a product of the same record, seed and sampler holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from stvd.baselines import Downscaler
from stvd.checkpoint import Checkpoint, write_atomically
from stvd.engine import Engine
from stvd.event_file import EventFile
from stvd.halo import cut_edges
from stvd.lattice import WindowLattice
from stvd.piece_statistics import ScoreConfig
from stvd.sampling import SamplerConfig
from stvd.score_tables import tabulate
from stvd.scores import compare, score
from stvd.statistics import Statistics, block_length, gather
from stvd.systems import PIECE_VALUES, SYSTEMS, Sampling, records, sampler_of

PACKAGES = ("stvd", "torch", "numpy", "xarray", "scores")

Progress = Callable[[str, int, int], None]
"""Told the system, how many of its frames are done, and of how many."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of several systems on one record.

    runs : the records that were scored, by system: (member, time, [tile,] y, x), lazy
    statistics, scores : by system; what they are is said in `stvd.statistics` and `stvd.scores`
    notes : what a reader of the scores should know, e.g. which system was left out and why
    """

    event: EventFile
    checkpoint: Checkpoint
    members: int
    seed: int
    sampler: SamplerConfig
    runs: Mapping[str, xr.DataArray]
    statistics: Mapping[str, Statistics]
    scores: Mapping[str, xr.Dataset]
    notes: tuple[str, ...]

    def table(self) -> dict[str, dict[str, dict[str, float | str | None]]]:
        """`{system: {score: {value, low, high, units}}}`."""
        return {system: tabulate(scored) for system, scored in self.scores.items()}

    def comparison(self) -> dict[str, dict[str, dict[str, float | str | None]]]:
        """`{baseline: {score: …}}`: errors of stvd over those of each other system, paired in time."""
        if "stvd" not in self.statistics:
            return {}
        ours = self.statistics["stvd"]
        return {
            name: tabulate(compare(ours, other))
            for name, other in self.statistics.items()
            if name != "stvd"
        }

    def document(self, file: str | Path | None = None) -> dict[str, Any]:
        """All of it as plain numbers, for JSON.

        Parameters
        ----------
        file : that was read, to name it by its digest
        """
        event = self.event
        shape = [event.truth.sizes[d] for d in event.truth.dims if d != "time"]
        cells = int(event.valid.sum()) * event.factor**2
        return {
            "scores": self.table(),
            "comparison": self.comparison(),
            "data": {
                "name": event.name,
                "file": None if file is None else str(file),
                "sha256": None if file is None else sha256_of(file),
                "period": str(event.axis.period(event.frames)),
                "step_seconds": event.axis.step_seconds,
                "frames": len(event.frames),
                "frames_in_record": len(event.record),
                "cells": shape,
                "factor": event.factor,
                "scored_values": cells,
                "scored_share": float(event.valid.mean()),
                "periodic_x": event.periodic_x,
                "texture": event.texture,
                "texture_asked_for": event.coarse.attrs.get("texture"),
            },
            "checkpoint": {"name": self.checkpoint.name, "digest": self.checkpoint.digest},
            "members": self.members,
            "sampler": self.sampler.model_dump(mode="json"),
            "seed": self.seed,
            "intervals": {k: v.attrs["interval"] for k, v in self.scores.items()},
            "notes": list(self.notes),
            "versions": {name: version(name) for name in PACKAGES},
        }


def write(document: Mapping[str, Any], path: str | Path) -> None:
    """Write a document as JSON, whole or not at all."""
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def evaluate(
    checkpoint: Checkpoint,
    event: EventFile,
    *,
    members: int = 10,
    seed: int = 0,
    sampler: Sampling | None = None,
    engine: Engine | None = None,
    systems: Sequence[str] = SYSTEMS,
    baselines: Mapping[str, Downscaler] | None = None,
    rivals: Mapping[str, Checkpoint] | None = None,
    folder: str | Path | None = None,
    replicates: int = 200,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a checkpoint and baselines on a record.

    Parameters
    ----------
    members : of the ensembles; deterministic systems have one
    seed : of the noise of every system
    systems : of `SYSTEMS` and the names of `baselines` and `rivals`, in the order of the result
    baselines : further systems by name
    sampler : of this checkpoint and its rivals, or what is asked for, such as `steps`, in place of what each
        says itself
    rivals : further checkpoints by name
    folder : of the checkpoint, where the table of the quantile mapping lies beside the weights;
        without one that system is left out
    replicates : of the bootstrap of the intervals

    Raises
    ------
    ValueError
        If the record lacks what the checkpoint needs, or a system is not known.
    """
    how = sampler_of(checkpoint, sampler)
    runs, notes = records(
        checkpoint,
        event,
        members=members,
        seed=seed,
        sampler=sampler,
        engine=engine,
        systems=systems,
        baselines=baselines,
        rivals=rivals,
        folder=folder,
    )
    config = score_config(checkpoint, event, how)
    coarse, area = event.scored_coarse(), event.grid["areacella"]
    statistics: dict[str, Statistics] = {}
    for name, pr in runs.items():
        statistics[name] = gather(
            pr,
            event.truth,
            area,
            coarse,
            config=config,
            axis=event.axis,
            piece_values=PIECE_VALUES,
            progress=_named(progress, name),
        )
        config = statistics[name].config  # the cells of the spectrum are the same for all
    return Evaluation(
        event,
        checkpoint,
        members,
        seed,
        how,
        runs,
        statistics,
        {k: score(v, replicates=replicates) for k, v in statistics.items()},
        notes,
    )


def score_config(checkpoint: Checkpoint, event: EventFile, sampler: SamplerConfig) -> ScoreConfig:
    """What is counted: seams where windows and pieces of the checkpoint begin, blocks by the time step."""
    lattice = WindowLattice(length=checkpoint.window, rule=sampler.windows)
    multiple, sizes = checkpoint.network.multiple, event.truth.sizes
    y, x = (cut_edges(sizes[dim], sampler.tile, multiple) for dim in ("y", "x"))
    return ScoreConfig(
        window=lattice.cycle if lattice.cycle > 1 else None,
        window_edges=lattice.edges,
        tile_edges_y=y,
        tile_edges_x=(0, *x) if event.periodic_x else x,
        periodic_x=event.periodic_x,
        block_frames=block_length(len(event.frames), event.axis.step_seconds),
    )


def _named(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def sha256_of(path: str | Path) -> str | None:
    """Digest of a file; None for a folder, such as a Zarr store."""
    if not Path(path).is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
