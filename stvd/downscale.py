"""Ensemble inference: batches over windows × tiles × members, in bounded memory.

Windows sit on the absolute lattice of the source and noise is a function of (seed, member, tile,
frame), so a block's numbers do not depend on the piece of the record that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch
import torch.nn.functional as F
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from stvd.checkpoint import Checkpoint
from stvd.conservation import conserve
from stvd.dataset import spacing_km
from stvd.lattice import TimeAxis, windows
from stvd.model import STVD, Conditioning
from stvd.noise import window_noise
from stvd.sampling import SamplerConfig


class Engine(BaseModel):
    """Where and how the network runs; nothing here is meant to change the numbers.

    Parameters
    ----------
    device : `auto` takes CUDA, then Apple's MPS, then the CPU
    precision : `auto` takes bfloat16 where the device computes in it
    memory_gib : budget of a batch; None takes a quarter of the memory of the CPU, 0.6 of a GPU's
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    memory_gib: float | None = Field(None, gt=0)

    def resolve(self) -> Engine:
        """The same with every `auto` decided.

        Raises
        ------
        ValueError
            If the device is not there.
        """
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            if device == "cpu" and torch.backends.mps.is_available():
                device = "mps"
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device cuda is not available: choose cpu, or install a CUDA wheel of torch"
            )
        if device == "mps" and not torch.backends.mps.is_available():
            raise ValueError("device mps is not available: choose cpu")
        precision = self.precision
        if precision == "auto":
            precision = "bfloat16" if _computes_bfloat16(device) else "float32"
        memory = self.memory_gib or _memory_bytes(device) / 2**30
        return Engine(device=device, precision=precision, memory_gib=memory)


def _computes_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _memory_bytes(device: str) -> float:
    """The budget of a batch: fixed by the machine, not by what else runs, so that plans repeat."""
    if device == "cuda":
        return 0.6 * torch.cuda.get_device_properties(0).total_memory
    total = psutil.virtual_memory().total
    limit = Path("/sys/fs/cgroup/memory.max")  # a container may have less than the machine
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return 0.25 * total


@dataclass(frozen=True)
class BatchPlan:
    """How many (window, tile) pairs share a conditioning pass, and members of each a network call."""

    pairs: int
    members: int


def plan_batches(
    network: STVD, shape: tuple[int, int], *, pairs: int, members: int, memory_gib: float
) -> BatchPlan:
    """The largest batch whose activations fit the budget.

    Parameters
    ----------
    shape : fine cells (y, x) of a tile
    pairs : most (window, tile) pairs that may be taken together
    members : of the ensemble
    """
    capacity = max(1, int(memory_gib * 2**30 / sample_bytes(network, shape)))
    if capacity < members:
        return BatchPlan(1, capacity)
    # A power of two, so that cells of equal length are cut alike.
    together = 1
    while 2 * together * members <= capacity and pairs % (2 * together) == 0:
        together *= 2
    return BatchPlan(together, members)


def sample_bytes(network: STVD, shape: tuple[int, int]) -> int:
    """Memory of one (window, tile, member) of `shape` fine cells while the denoiser runs.

    It holds about 24 maps of its first level at once, in float32, and the conditioning twice
    (checked by `benchmarks/memory.py`).
    """
    config = network.config.denoiser
    maps = 24 * config.width / config.patch**2 + 2 * network.config.inputs
    return int(4 * network.config.window * shape[0] * shape[1] * maps)


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

    Parameters
    ----------
    checkpoint : the model
    coarse, grid : datasets that meet the contract (`stvd.contract`); read lazily, a window at a time
    frames : absolute frames; begin and end at window edges
    members : of the ensemble
    seed : of the product
    progress : called with (windows done, windows in all)

    Yields
    ------
    Block, in order of time

    Raises
    ------
    ValueError
        If the frames are not there or not on the lattice of windows, or the grids do not fit.
    CheckpointError
        If the source does not fit what the checkpoint was trained for.
    """
    run = _Run(
        checkpoint, coarse, grid, seed, sampler or SamplerConfig(), (engine or Engine()).resolve()
    )
    cuts = list(windows(frames, checkpoint.window))
    plan = plan_batches(
        run.network,
        run.shape,
        pairs=len(cuts) * run.tiles,
        members=len(members),
        memory_gib=run.engine.memory_gib or 1.0,
    )
    # A group holds whole windows, so that a block has every tile.
    size = max(1, plan.pairs // run.tiles)
    for first in range(0, len(cuts), size):
        group = cuts[first : first + size]
        pr, plan = run.sample(group, members, plan)
        if progress:
            progress(first + len(group), len(cuts))
        yield Block(range(group[0].start, group[-1].stop), members, pr, plan)


class _Run:
    """One source through one checkpoint."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        coarse: xr.Dataset,
        grid: xr.Dataset,
        seed: int,
        sampler: SamplerConfig,
        engine: Engine,
    ) -> None:
        self.channels, self.window = checkpoint.channels, checkpoint.window
        self.seed, self.sampler, self.engine = seed, sampler, engine
        _require_fit(checkpoint, coarse, grid)
        self.coarse = coarse
        self.axis = TimeAxis(
            epoch=coarse.attrs["epoch"],
            step_seconds=int(coarse.attrs["step_seconds"]),
            calendar=coarse.attrs["calendar"],
        )
        self.position = {int(k): i for i, k in enumerate(self.axis.locate(coarse["time"]))}
        self.periodic_x = bool(coarse.attrs["periodic_x"])
        self.tiled = "tile" in coarse.dims
        self.tiles = coarse.sizes["tile"] if self.tiled else 1
        self.shape = (grid.sizes["y"], grid.sizes["x"])
        self.area = _tiled(grid["areacella"], self.tiled)
        self.statics = (
            torch.stack([_tiled(grid[n], self.tiled) for n in self.channels.statics], dim=1)
            if self.channels.statics
            else None
        )
        self.network = checkpoint.network.to(engine.device).wrap_x(self.periodic_x)
        if self.periodic_x and self.shape[1] % self.network.multiple:
            raise ValueError(
                f"a circle of {self.shape[1]} cells cannot be padded: the model needs a multiple of "
                f"{self.network.multiple}"
            )

    def read(self, frames: range) -> Tensor:
        """Coarse fields, shape (tile, time, variable, y, x)."""
        absent = [k for k in frames if k not in self.position]
        if absent:
            raise ValueError(
                f"{self.coarse.attrs['source']} has no frame at {self.axis.period(range(absent[0], absent[0] + 1))}"
            )
        part = (
            self.coarse[list(self.channels.variables)]
            .isel(time=[self.position[k] for k in frames])
            .compute()
        )
        fields = [
            _tiled(part[v].transpose("time", ...), self.tiled) for v in self.channels.variables
        ]
        return torch.stack(fields, dim=2)

    def sample(
        self, group: list[range], members: range, plan: BatchPlan
    ) -> tuple[np.ndarray, BatchPlan]:
        """All tiles of some windows: ndarray (member, time, [tile,] y, x), and the plan it took."""
        pairs = [
            (w, tile, fields[tile])
            for w in group
            for fields in [self.read(w)]
            for tile in range(self.tiles)
        ]
        out = np.empty((len(members), len(group), self.window, self.tiles, *self.shape), np.float32)
        done = 0
        while done < len(pairs):
            batch = pairs[done : done + plan.pairs]
            try:
                rates = self.sample_pairs(batch, members, plan)
            except torch.OutOfMemoryError:
                if plan == BatchPlan(1, 1):
                    raise
                torch.cuda.empty_cache()
                half = (max(1, plan.pairs // 2), plan.members)
                plan = BatchPlan(*half) if plan.pairs > 1 else BatchPlan(1, plan.members // 2)
                continue
            for offset in range(len(batch)):
                window, tile = divmod(done + offset, self.tiles)
                out[:, window, :, tile] = rates[offset]
            done += len(batch)
        out = out.reshape(len(members), len(group) * self.window, self.tiles, *self.shape)
        return (out if self.tiled else out[:, :, 0]), plan

    @torch.inference_mode()
    def sample_pairs(
        self, pairs: list[tuple[range, int, Tensor]], members: range, plan: BatchPlan
    ) -> np.ndarray:
        """ndarray (pair, member, time, y, x) of rates."""
        device = self.engine.device
        tiles = [tile for _, tile, _ in pairs]
        coarse = torch.stack([fields for _, _, fields in pairs]).to(device)
        statics = None if self.statics is None else self.statics[tiles].to(device)
        x = _pad(
            self.channels.inputs(coarse, statics, periodic_x=self.periodic_x),
            self.network.multiple,
            "replicate",
        )
        rates = []
        with self.autocast():
            condition = self.network.condition(x)
            for first in range(members.start, members.stop, plan.members):
                some = range(first, min(first + plan.members, members.stop))
                rates.append(self.sample_members(pairs, some, condition, coarse))
        return np.concatenate(rates, axis=1)

    def sample_members(
        self,
        pairs: list[tuple[range, int, Tensor]],
        members: range,
        condition: Conditioning,
        coarse: Tensor,
    ) -> np.ndarray:
        noise = torch.cat(
            [window_noise(self.seed, members, tile, w, self.shape) for w, tile, _ in pairs]
        )
        noise = _pad(noise.to(self.engine.device), self.network.multiple, "reflect")
        shared = condition.repeat(len(members))

        def denoiser(noisy: Tensor, log_snr: Tensor) -> Tensor:
            levels = log_snr.to(noisy).expand(noisy.shape[:2])
            return self.network.denoise(noisy, levels, shared).float()

        residual = self.sampler.sample(denoiser, noise)
        y = (shared.mean.float() + residual)[:, :, 0, : self.shape[0], : self.shape[1]]
        rate = self.channels.rain.inverse(y).unflatten(0, (len(pairs), len(members)))
        if self.sampler.conserve:
            for i, (_, tile, _) in enumerate(pairs):
                area = self.area[tile].to(rate)
                rate[i] = conserve(rate[i], coarse[i, :, 0], area, self.channels.factor)
        return rate.cpu().numpy()

    def autocast(self) -> torch.autocast:
        enabled = self.engine.precision == "bfloat16"
        return torch.autocast(self.engine.device, torch.bfloat16, enabled=enabled)


def _tiled(field: xr.DataArray, tiled: bool) -> Tensor:
    """A field as float32 with the tile dimension first: (tile, ..., y, x)."""
    if not tiled:
        return torch.from_numpy(np.array(field.values, dtype=np.float32))[None]
    return torch.from_numpy(np.array(field.transpose("tile", ...).values, dtype=np.float32))


def _pad(fields: Tensor, multiple: int, mode: str) -> Tensor:
    """Grow (..., c, y, x) at its far edges until `multiple` divides both sides."""
    grow = [(-size) % multiple for size in fields.shape[-2:]]
    if not any(grow):
        return fields
    flat = fields.flatten(0, -4)
    return F.pad(flat, (0, grow[1], 0, grow[0]), mode=mode).unflatten(0, fields.shape[:-3])


def _require_fit(checkpoint: Checkpoint, coarse: xr.Dataset, grid: xr.Dataset) -> None:
    """Refuse a source that the checkpoint was not made for, before any work."""
    name, channels = coarse.attrs["source"], checkpoint.channels
    missing = [v for v in channels.variables if v not in coarse]
    missing += [s for s in channels.statics if s not in grid]
    if missing:
        raise ValueError(
            f"{name} has no {', '.join(missing)}, which checkpoint {checkpoint.name} needs: map them in the "
            "catalog, or use a checkpoint that does without"
        )
    factor = int(coarse.attrs["factor"])
    checkpoint.card.grid.require(
        factor=factor,
        step_seconds=int(coarse.attrs["step_seconds"]),
        spacing_km=spacing_km(grid),
    )
    for dim in ("y", "x"):
        if grid.sizes[dim] != factor * coarse.sizes[dim]:
            raise ValueError(
                f"{name}: {coarse.sizes[dim]} coarse cells along {dim} times factor {factor} are not the "
                f"{grid.sizes[dim]} cells of the fine grid"
            )
