"""One source through one checkpoint: read, condition, predict, and back to rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stvd.checkpoint import Checkpoint
from stvd.conservation import conserve
from stvd.domain import Domain, on_faces, stacked
from stvd.engine import KEPT, BatchPlan, Engine, windows_held
from stvd.event import spacing_km
from stvd.lattice import TimeAxis, WindowLattice
from stvd.model.diffusion import clean_from_velocity
from stvd.noise import RecordNoise
from stvd.plausibility import ImplausibleSample
from stvd.sampling import SamplerConfig
from stvd.tiling import TiledConditioning, TiledSTVD
from stvd.value_checks import static_values
from stvd.window_chain import Finished


class WindowSampler:
    """One source through one checkpoint.

    `plan` says how much shares a network call; where that does not fit in memory it becomes smaller.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        coarse: xr.Dataset,
        grid: xr.Dataset,
        members: range,
        seed: int,
        sampler: SamplerConfig,
        engine: Engine,
    ) -> None:
        self.name, self.channels = checkpoint.name, checkpoint.channels
        self.lattice = WindowLattice(length=checkpoint.window, rule=sampler.windows)
        self.sampler, self.engine = sampler, engine
        self.plan = BatchPlan(1, 1)
        _require_fit(checkpoint, coarse, grid)
        checkpoint.card.require_sampler(sampler)
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
            texture=coarse.attrs.get("texture"),
        )
        network = checkpoint.network.to(engine.device)
        pieces = self.domain.pieces(sampler, network.multiple).to(engine.device)
        kept = KEPT * 2**30 * (engine.memory_gib or 1.0) / windows_held(sampler.steps)
        self.network = TiledSTVD(network, pieces, keep_bytes=kept)
        faces, correlation = (self.domain.tiles, self.domain.shape), sampler.noise_correlation
        correlation = network.noise_correlation if correlation is None else correlation
        self.draws = [
            RecordNoise(seed, members, *faces, correlation, draw)
            for draw in range(sampler.steps if sampler.stochastic else 1)
        ]

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

    @torch.inference_mode()
    def condition(self, window: range) -> TiledConditioning:
        """What the denoiser needs of a window, the same for all members."""
        coarse = self.read(window)[None].to(self.engine.device)
        while True:
            try:
                with self.autocast():
                    return self.network.condition(self.domain.inputs(coarse), self.plan.tiles)
            except torch.OutOfMemoryError:
                if self.plan.tiles == 1:
                    raise
                self.go_on_with(BatchPlan(self.plan.tiles // 2, self.plan.members))

    def noise(self, frame: int, draw: int) -> Tensor:
        """Noise of a frame, shape (member, 1, tile·y, x)."""
        return self.draws[draw].frame(frame).to(self.engine.device)

    def clean(self, noisy: Tensor, log_snr: Tensor, condition: TiledConditioning) -> Tensor:
        """The clean residual that the denoiser expects, shape (member, time, 1, tile·y, x)."""
        found: list[Tensor] = []
        done = 0
        while done < len(noisy):
            some = noisy[done : done + self.plan.members]
            try:
                found.append(self.predict(some, log_snr, condition.regrouped(self.plan.tiles)))
                done += len(some)
            except torch.OutOfMemoryError:
                smaller = self.plan.smaller()
                if smaller is None:
                    raise
                self.go_on_with(smaller)
        return torch.cat(found)

    @torch.inference_mode()
    def predict(self, noisy: Tensor, log_snr: Tensor, condition: TiledConditioning) -> Tensor:
        """As `clean`, of the members of one call."""
        levels = log_snr.to(noisy).expand(noisy.shape[:2])
        with self.autocast():
            v = self.network.denoise(noisy, levels, condition.repeat(len(noisy)))
        return clean_from_velocity(noisy, v, log_snr.to(noisy))

    def go_on_with(self, plan: BatchPlan) -> None:
        """A smaller batch, after one did not fit in memory."""
        torch.cuda.empty_cache()
        self.plan = plan

    @torch.inference_mode()
    def rates(self, done: Finished) -> np.ndarray:
        """What is sampled as rates, shape (member, time, tile, y, x), kg m-2 s-1."""
        rate = self.channels.rain.inverse(done.mean + done.residual)
        if not rate.isfinite().all():
            raise ImplausibleSample(
                f"{self.name} gives values that are not finite for {self.axis.period(done.frames)} of "
                f"{self.coarse.attrs['source']}. Look for infinite or absurd values in the input, and "
                "compare it with the training data of the checkpoint",
                ("the network gives values that are not finite",),
            )
        if self.sampler.conserve:  # no block lies on two faces
            rain = stacked(self.read(done.frames)[:, 0].to(rate))
            rate = conserve(
                rate, rain[None], stacked(self.domain.area.to(rate)), self.channels.factor
            )
        return rate.unflatten(-2, (self.domain.tiles, -1)).cpu().numpy()

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
    holes = [f for f in static_values(grid[[*channels.statics]]) if f.check == "missing_values"]
    if holes:
        raise ValueError("\n".join(map(str, holes)))
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
