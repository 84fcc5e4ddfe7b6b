"""The systems that are compared, and what each makes of a record, made where it is read.

Nothing is held but the piece that is read; numbers are those that a product of the same record, seed and
sampler holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from stvd.baselines import Downscaler
from stvd.baselines.interpolation import Interpolation
from stvd.baselines.quantile_mapping import FILE as MAPPING
from stvd.baselines.quantile_mapping import QuantileMapping
from stvd.baselines.rainfarm import RainFARM
from stvd.checkpoint import Checkpoint, CheckpointError
from stvd.downscale import downscale
from stvd.engine import Engine
from stvd.event import spacing_km
from stvd.event_file import EventFile
from stvd.lattice import WindowLattice
from stvd.sampling import SamplerConfig

Sampling = SamplerConfig | Mapping[str, object]
"""A sampler, or what is asked for in place of what each checkpoint says of itself."""
SYSTEMS = ("stvd", "bicubic", "quantile_mapping", "rainfarm")
PIECE_VALUES = 4_000_000  # of an ensemble that are worked on at once


def records(
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
) -> tuple[dict[str, xr.DataArray], tuple[str, ...]]:
    """What systems make of a record; parameters and errors are those of `stvd.evaluation.evaluate`.

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
            runs[name] = sampled(
                allowed, event, members, seed, sampler_of(allowed, sampler), engine
            )
        elif name in known:
            runs[name] = _of_baseline(known[name], event, members, seed)
    return runs, tuple(notes)


def sampler_of(checkpoint: Checkpoint, sampler: Sampling | None) -> SamplerConfig:
    """How a checkpoint is sampled."""
    if isinstance(sampler, SamplerConfig):
        return sampler
    return SamplerConfig.of(checkpoint.card.sampler, **(sampler or {}))


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

    lattice = WindowLattice(length=checkpoint.window, rule=sampler.windows)
    coarse = event.coarse_on(lattice.reads(event.frames, sampler.steps))

    def blocks(frames: range) -> Iterator[np.ndarray]:
        for block in downscale(
            checkpoint,
            coarse,
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
