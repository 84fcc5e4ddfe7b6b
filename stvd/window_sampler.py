"""Windows of one source through one checkpoint: read, condition, sample, hold what is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor

from stvd.checkpoint import Checkpoint
from stvd.conservation import conserve
from stvd.dataset import spacing_km
from stvd.engine import BatchPlan, Engine
from stvd.lattice import TimeAxis, WindowLattice
from stvd.model import Conditioning
from stvd.noise import window_noise
from stvd.sampling import Known, SamplerConfig


class WindowSampler:
    """One source through one checkpoint.

    `plan` says how much shares a network call; where that does not fit in memory it becomes smaller.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        coarse: xr.Dataset,
        grid: xr.Dataset,
        seed: int,
        sampler: SamplerConfig,
        engine: Engine,
    ) -> None:
        self.channels = checkpoint.channels
        self.lattice = WindowLattice(length=checkpoint.window, rule=sampler.windows)
        self.seed, self.sampler, self.engine = seed, sampler, engine
        self.plan = BatchPlan(1, 1, 1)
        _require_fit(checkpoint, coarse, grid)
        self.coarse = coarse
        self.axis = TimeAxis(
            epoch=coarse.attrs["epoch"],
            step_seconds=int(coarse.attrs["step_seconds"]),
            calendar=coarse.attrs["calendar"],
        )
        self.position = {int(k): i for i, k in enumerate(self.axis.locate(coarse["time"]))}
        self.record = range(min(self.position), max(self.position) + 1)
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

    def has(self, frames: range) -> bool:
        """Whether any of some frames lies within the record."""
        return frames.start < self.record.stop and self.record.start < frames.stop

    def require(self, frames: Sequence[int]) -> None:
        """Raise `ValueError` unless the record has every one of some frames."""
        absent = [k for k in frames if k not in self.position]
        if absent:
            raise ValueError(
                f"{self.coarse.attrs['source']} has no frame at {self.axis.period(range(absent[0], absent[0] + 1))}"
            )

    def read(self, frames: range) -> Tensor:
        """Coarse fields, shape (tile, time, variable, y, x); beyond the record its end is repeated."""
        inside = [min(max(k, self.record.start), self.record[-1]) for k in frames]
        self.require(inside)
        part = (
            self.coarse[list(self.channels.variables)]
            .isel(time=[self.position[k] for k in inside])
            .compute()
        )
        fields = [
            _tiled(part[v].transpose("time", ...), self.tiled) for v in self.channels.variables
        ]
        return torch.stack(fields, dim=2)

    def sample(
        self,
        windows: list[range],
        members: range,
        ends: list[dict[int, np.ndarray]] | None = None,
    ) -> list[np.ndarray]:
        """Each window of all members: ndarray (member, time, tile, y, x) of rates.

        Parameters
        ----------
        ends : of each window, the rates of frames that are known, (member, tile, y, x), by their place
            in the window; None where nothing is known
        """
        out: list[np.ndarray] = []
        while len(out) < len(windows):
            some = slice(len(out), len(out) + self.plan.windows)
            try:
                out += self.sample_batch(windows[some], members, ends[some] if ends else None)
            except torch.OutOfMemoryError:
                smaller = self.plan.smaller()
                if smaller is None:
                    raise
                torch.cuda.empty_cache()
                self.plan = smaller
        return out

    @torch.inference_mode()
    def sample_batch(
        self, windows: list[range], members: range, ends: list[dict[int, np.ndarray]] | None
    ) -> list[np.ndarray]:
        coarse = torch.stack([self.read(window) for window in windows], dim=1)
        coarse = coarse.to(self.engine.device)
        rates = []
        with self.autocast():
            conditions = self.condition(coarse)
            for first in range(0, len(members), self.plan.members):
                some = slice(first, first + self.plan.members)
                known = None
                if ends is not None:
                    known = [{at: pr[some] for at, pr in of.items()} for of in ends]
                rates.append(self.sample_members(windows, members[some], conditions, coarse, known))
        return list(np.concatenate(rates, axis=1))

    def condition(self, coarse: Tensor) -> list[Conditioning]:
        """What μ says of some windows, (tile, window, time, ...), for each of the chunks of tiles."""
        statics = None if self.statics is None else self.statics.to(coarse)[:, None]
        x = self.channels.inputs(coarse, statics, periodic_x=self.periodic_x)
        x = _pad(x, self.network.multiple, "replicate")
        return [self.network.condition(some.flatten(0, 1)) for some in x.split(self.plan.tiles)]

    def sample_members(
        self,
        windows: list[range],
        members: range,
        conditions: list[Conditioning],
        coarse: Tensor,
        ends: list[dict[int, np.ndarray]] | None,
    ) -> np.ndarray:
        """ndarray (window, member, time, tile, y, x) of rates."""
        batch = (self.tiles, len(windows), len(members))
        noise = torch.cat(
            [
                window_noise(self.seed, members, tile, window, self.shape)
                for tile in range(self.tiles)
                for window in windows
            ]
        )
        noise = _pad(noise.to(self.engine.device), self.network.multiple, "reflect")
        mean = torch.cat([c.mean for c in conditions]).float()
        mean = mean.repeat_interleave(len(members), dim=0)

        def denoiser(noisy: Tensor, log_snr: Tensor) -> Tensor:
            # Every tile of every window and member is at hand here, (tile · window · member, time, …)
            levels = log_snr.to(noisy).expand(noisy.shape[:2])
            size = self.plan.tiles * len(windows) * len(members)
            chunks = zip(noisy.split(size), levels.split(size), conditions, strict=True)
            return torch.cat(
                [self.network.denoise(x, n, c.repeat(len(members))).float() for x, n, c in chunks]
            )

        known = self.known(ends, mean, batch) if ends is not None else None
        residual = self.sampler.sample(denoiser, noise, known)
        y = (mean + residual)[:, :, 0, : self.shape[0], : self.shape[1]]
        rate = self.channels.rain.inverse(y).unflatten(0, batch)
        if self.sampler.conserve:
            for tile, area in enumerate(self.area.to(rate)):
                rain = coarse[tile, :, None, :, 0]
                rate[tile] = conserve(rate[tile], rain, area, self.channels.factor)
        return rate.movedim(0, 3).cpu().numpy()

    def known(
        self, ends: list[dict[int, np.ndarray]], mean: Tensor, batch: tuple[int, int, int]
    ) -> Known:
        """The residuals of the frames whose rates are known; 0 where these are missing (NaN)."""
        frames = torch.zeros(*batch, mean.shape[1], dtype=torch.bool, device=mean.device)
        clean = torch.zeros_like(mean).unflatten(0, batch)
        means = mean.unflatten(0, batch)
        for i, of in enumerate(ends):
            for at, pr in of.items():
                y = self.channels.rain.forward(torch.from_numpy(pr).to(mean).transpose(0, 1))
                y = _pad(y[:, :, None, None], self.network.multiple, "replicate")[:, :, 0]
                frames[:, i, :, at] = True
                clean[:, i, :, at] = (y - means[:, i, :, at]).nan_to_num(nan=0.0)
        return Known(frames.flatten(0, 2), clean.flatten(0, 2))

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
