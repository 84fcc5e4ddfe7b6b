"""Windows of one source through one checkpoint: read, condition, sample, hold what is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stvd.checkpoint import Checkpoint
from stvd.conservation import conserve
from stvd.dataset import spacing_km
from stvd.domain import Domain, on_faces, stacked
from stvd.engine import KEPT, BatchPlan, Engine
from stvd.lattice import TimeAxis, WindowLattice
from stvd.noise import window_noise
from stvd.sampling import Known, SamplerConfig
from stvd.tiling import TiledConditioning, TiledSTVD


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
        self.correlation = checkpoint.network.noise_correlation
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
        self.domain = Domain.of(
            grid,
            self.channels,
            periodic_x=bool(coarse.attrs["periodic_x"]),
            joined=sampler.halo > 0,
        )
        network = checkpoint.network.to(engine.device)
        pieces = self.domain.pieces(sampler, network.multiple).to(engine.device)
        self.network = TiledSTVD(
            network, pieces, keep_bytes=KEPT * 2**30 * (engine.memory_gib or 1.0)
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
        """Coarse fields, shape (time, variable, tile, y, x); beyond the record its end is repeated."""
        inside = [min(max(k, self.record.start), self.record[-1]) for k in frames]
        self.require(inside)
        part = (
            self.coarse[list(self.channels.variables)]
            .isel(time=[self.position[k] for k in inside])
            .compute()
        )
        return torch.stack([on_faces(part[v]) for v in self.channels.variables], dim=1)

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
        coarse = torch.stack([self.read(window) for window in windows]).to(self.engine.device)
        rates = []
        with self.autocast():
            condition = self.network.condition(self.domain.inputs(coarse), self.plan.tiles)
            for first in range(0, len(members), self.plan.members):
                some = slice(first, first + self.plan.members)
                known = None
                if ends is not None:
                    known = [{at: pr[some] for at, pr in of.items()} for of in ends]
                rates.append(self.sample_members(windows, members[some], condition, coarse, known))
        return list(np.concatenate(rates, axis=1))

    def sample_members(
        self,
        windows: list[range],
        members: range,
        condition: TiledConditioning,
        coarse: Tensor,
        ends: list[dict[int, np.ndarray]] | None,
    ) -> np.ndarray:
        """ndarray (window, member, time, tile, y, x) of rates."""
        shared = condition.repeat(len(members))

        def denoiser(noisy: Tensor, log_snr: Tensor) -> Tensor:
            levels = log_snr.to(noisy).expand(noisy.shape[:2])
            return self.network.denoise(noisy, levels, shared)

        noise = torch.cat([self.noise(members, window, ends is None) for window in windows])
        known = self.known(ends, shared.mean, len(members)) if ends is not None else None
        residual = self.sampler.sample(denoiser, noise.to(self.engine.device), known)
        y = (shared.mean + residual)[:, :, 0]
        rate = self.channels.rain.inverse(y).unflatten(0, (len(windows), len(members)))
        if self.sampler.conserve:  # no block lies on two faces
            rain, area = stacked(coarse[:, None, :, 0]), stacked(self.domain.area.to(rate))
            rate = conserve(rate, rain, area, self.channels.factor)
        return rate.unflatten(-2, (self.domain.tiles, -1)).cpu().numpy()

    def noise(self, members: range, window: range, anchor: bool) -> Tensor:
        """Noise of all faces, shape (member, time, 1, tile·y, x)."""
        joints = self.lattice.joints(window.start // self.lattice.cycle) if anchor else {}
        faces = [
            window_noise(
                self.seed,
                members,
                tile,
                window,
                self.domain.shape,
                joints,
                self.sampler.share,
                self.correlation,
                bridge=not anchor,
            )
            for tile in range(self.domain.tiles)
        ]
        return torch.cat(faces, dim=-2)

    def known(self, ends: list[dict[int, np.ndarray]], mean: Tensor, members: int) -> Known:
        """The residuals of the frames whose rates are known; 0 where these are missing (NaN)."""
        means = mean.unflatten(0, (len(ends), members))
        clean = torch.zeros_like(means)
        frames = torch.zeros(means.shape[:3], dtype=torch.bool, device=mean.device)
        for i, of in enumerate(ends):
            for at, pr in of.items():
                y = self.channels.rain.forward(stacked(torch.from_numpy(pr).to(mean)))
                frames[i, :, at] = True
                clean[i, :, at, 0] = (y - means[i, :, at, 0]).nan_to_num(nan=0.0)
        return Known(frames.flatten(0, 1), clean.flatten(0, 1))

    def autocast(self) -> torch.autocast:
        enabled = self.engine.precision == "bfloat16"
        return torch.autocast(self.engine.device, torch.bfloat16, enabled=enabled)


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
