"""A checkpoint and the classical baselines, scored side by side on one record in bounded memory.

Nothing here knows of Prefect. The ensemble is sampled while it is scored, a few windows at a time;
its numbers are those that a product of the same record, seed and sampler holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from stvd.baselines import Downscaler
from stvd.baselines.interpolation import Interpolation
from stvd.baselines.quantile_mapping import FILE as MAPPING
from stvd.baselines.quantile_mapping import QuantileMapping
from stvd.baselines.rainfarm import RainFARM
from stvd.checkpoint import Checkpoint, CheckpointError, write_atomically
from stvd.downscale import downscale
from stvd.engine import Engine
from stvd.event import spacing_km
from stvd.event_file import EventFile
from stvd.halo import cut_edges
from stvd.lattice import WindowLattice
from stvd.piece_statistics import ScoreConfig
from stvd.sampling import SamplerConfig
from stvd.scores import compare, score, tabulate
from stvd.statistics import Statistics, block_length, gather

SYSTEMS = ("stvd", "bicubic", "quantile_mapping", "rainfarm")
PIECE_VALUES = 4_000_000  # of an ensemble that are worked on at once
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
    sampler: SamplerConfig | None = None,
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
    sampler : of this checkpoint and its rivals; None samples each as it says itself
    rivals : further checkpoints by name
    folder : of the checkpoint, where the table of the quantile mapping lies beside the weights;
        without one that system is left out
    replicates : of the bootstrap of the intervals

    Raises
    ------
    ValueError
        If the record lacks what the checkpoint needs, or a system is not known.
    """
    how = sampler or SamplerConfig.of(checkpoint.card.sampler)
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


def records(
    checkpoint: Checkpoint,
    event: EventFile,
    *,
    members: int = 10,
    seed: int = 0,
    sampler: SamplerConfig | None = None,
    engine: Engine | None = None,
    systems: Sequence[str] = SYSTEMS,
    baselines: Mapping[str, Downscaler] | None = None,
    rivals: Mapping[str, Checkpoint] | None = None,
    folder: str | Path | None = None,
) -> tuple[dict[str, xr.DataArray], tuple[str, ...]]:
    """What systems make of a record, each made where it is read; parameters and errors as of `evaluate`.

    Returns
    -------
    DataArrays by system, shape (member, time, [tile,] y, x), kg m-2 s-1, those of checkpoints best read in
    order of time; and notes, e.g. which system was left out and why
    """
    known, absent = _baselines(folder)
    known |= baselines or {}
    sampling = {"stvd": checkpoint} | dict(rivals or {})
    there = dict.fromkeys((*SYSTEMS, *known, *sampling))
    unknown = [s for s in systems if s not in there]
    if unknown or not systems:
        raise ValueError(
            f"there is no system {', '.join(unknown) or 'given'}: choose of {', '.join(there)}"
        )
    notes = [absent[name] for name in systems if name in absent and name not in known]
    runs: dict[str, xr.DataArray] = {}
    for name in systems:
        if name in sampling:
            require(sampling[name], event)
            allowed, said = _widened(sampling[name], event)
            notes += [*said, *_held_texture(sampling[name], event)]
            own = sampler or SamplerConfig.of(allowed.card.sampler)
            runs[name] = sampled(allowed, event, members, seed, own, engine)
        elif name in known:
            runs[name] = _of_baseline(known[name], event, members, seed)
    return runs, tuple(notes)


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


def require(checkpoint: Checkpoint, event: EventFile) -> None:
    """Raise `CheckpointError` where the record lacks what the checkpoint needs."""
    channels = checkpoint.channels
    predictors = [v for v in channels.variables if v not in event.coarse]
    statics = [s for s in channels.statics if s not in event.grid]
    if predictors or statics:
        lacks = ", ".join([*predictors, *statics])
        has = ", ".join(str(v) for v in (*event.coarse.data_vars, *event.grid.data_vars))
        raise CheckpointError(
            f"{event.name} has no {lacks}, which checkpoint {checkpoint.name} needs; it has {has}. "
            "Give a file that has them, or a checkpoint that does without"
        )
    if event.factor != channels.factor:
        raise CheckpointError(
            f"{event.name} has {event.factor} fine cells a coarse cell, and checkpoint "
            f"{checkpoint.name} makes {channels.factor}"
        )


def _held_texture(checkpoint: Checkpoint, event: EventFile) -> list[str]:
    """What to say where a texture is asked for that the checkpoint was not trained on."""
    asked, told = event.coarse.attrs.get("texture"), checkpoint.channels.texture
    if asked is None or told is None or told.low <= asked <= told.high:
        return []
    return [
        f"texture {asked:.2f} is asked for, and {checkpoint.name} was trained on {told.low:.2f} to "
        f"{told.high:.2f}: it is told the nearest of these"
    ]


def sampled(
    checkpoint: Checkpoint,
    event: EventFile,
    members: int,
    seed: int,
    sampler: SamplerConfig,
    engine: Engine | None = None,
) -> xr.DataArray:
    """The ensemble of a checkpoint, sampled where it is read.

    Returns
    -------
    DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, float32; best read in order of time
    """

    def blocks(frames: range) -> Iterator[np.ndarray]:
        for block in downscale(
            checkpoint,
            event.coarse,
            event.grid,
            frames=frames,
            members=range(members),
            seed=seed,
            sampler=sampler,
            engine=engine,
        ):
            yield block.pr

    truth = event.truth
    array = _Ensemble(blocks, event.frames, (members, *truth.shape))
    pr = xr.DataArray(
        xr.Variable(("member", *truth.dims), indexing.LazilyIndexedArray(array)),
        coords={n: c for n, c in truth.coords.items() if set(c.dims) <= set(truth.dims)},
        name="pr",
        attrs={"units": "kg m-2 s-1"},
    )
    return pr.assign_coords(member=np.arange(members))


class _Ensemble(BackendArray):
    """Frames that are sampled when they are asked for, in order of time and each once.

    What was sampled is kept until a later frame is asked for; asked for an earlier one, it begins anew
    there, with the same numbers.
    """

    def __init__(
        self, blocks: Callable[[range], Iterator[np.ndarray]], frames: range, shape: tuple[int, ...]
    ) -> None:
        self.blocks, self.frames, self.shape = blocks, frames, shape
        self.dtype = np.dtype(np.float32)
        self.kept = np.empty((shape[0], 0, *shape[2:]), np.float32)
        self.first = 0
        self.source: Iterator[np.ndarray] = iter(())

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[int | slice, ...]) -> np.ndarray:
        wanted = np.atleast_1d(np.arange(self.shape[1])[key[1]])
        if not wanted.size:
            return np.empty(self.shape, np.float32)[key]
        low, high = int(wanted.min()), int(wanted.max()) + 1
        self._have(low, high)
        at = slice(0, high - low, key[1].step) if isinstance(key[1], slice) else 0
        return np.array(self.kept[(key[0], at, *key[2:])])

    def _have(self, start: int, stop: int) -> None:
        end = self.first + self.kept.shape[1]
        if start < self.first or start > end or not self.kept.shape[1]:
            self.first, end = start, start
            self.kept = self.kept[:, :0]
            self.source = self.blocks(self.frames[start:])
        parts = [self.kept[:, start - self.first :]]
        while end < stop:
            parts.append(next(self.source))
            end += parts[-1].shape[1]
        self.kept = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        self.first = start


def _of_baseline(system: Downscaler, event: EventFile, members: int, seed: int) -> xr.DataArray:
    """The record of a baseline, made a few frames at a time where it is read."""
    values = members * int(np.prod(event.truth.shape[1:]))
    few = max(1, PIECE_VALUES // values)
    start = event.frames.start - event.context.start
    coarse = event.coarse.isel(time=slice(start, start + len(event.frames))).chunk(time=few)
    pr = system.sample(coarse, event.grid, members=range(members), seed=seed)
    here = {n: c for n, c in event.truth.coords.items() if n in pr.coords}
    return pr.assign_coords(here)


def _baselines(folder: str | Path | None) -> tuple[dict[str, Downscaler], dict[str, str]]:
    """The classical baselines that can be run, and what to say of those that cannot, by name."""
    found: dict[str, Downscaler] = {"bicubic": Interpolation("bicubic")}
    absent = {}
    if folder is not None and (Path(folder) / MAPPING).is_file():
        found["quantile_mapping"] = QuantileMapping.read(folder)
    else:
        absent["quantile_mapping"] = (
            f"quantile_mapping is left out: there is no {MAPPING} beside the checkpoint"
        )
    if find_spec("pysteps") is not None:
        found["rainfarm"] = RainFARM()
    else:
        absent["rainfarm"] = "rainfarm is left out: pysteps is not installed"
    return found, absent


def _widened(checkpoint: Checkpoint, event: EventFile) -> tuple[Checkpoint, list[str]]:
    """The checkpoint allowed on this record, and a note where that is not what it was trained for."""
    step, spacing = event.axis.step_seconds, spacing_km(event.grid)
    contract = checkpoint.card.grid
    try:
        contract.require(factor=event.factor, step_seconds=step, spacing_km=spacing)
    except CheckpointError as error:
        steps, spacings = contract.step_seconds, contract.spacing_km
        wide = contract.model_copy(
            update={
                "step_seconds": (min(steps[0], step), max(steps[1], step)),
                "spacing_km": (min(spacings[0], spacing), max(spacings[1], spacing)),
            }
        )
        card = checkpoint.card.model_copy(update={"grid": wide})
        said = str(error).split(". ")[0]
        return replace(checkpoint, card=card), [f"{said}; it is scored there all the same"]
    return checkpoint, []


def _named(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def sha256_of(path: str | Path) -> str | None:
    """Digest of a file; None for a folder, such as a Zarr store."""
    if not Path(path).is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
