"""A deterministic UNet of the size of STVD, trained on the mean absolute error of the rain rate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from stvd.baselines.fields import fine_cells, finished, is_periodic, refined, without_positions
from stvd.checkpoint import (
    AnyCard,
    CheckpointError,
    GridContract,
    count_parameters,
    load_weights,
)
from stvd.conditioning import Channels
from stvd.contract import time_axis
from stvd.event import Event
from stvd.model.layers import set_recompute, set_wrap_x
from stvd.model.unet import UNet, UNetConfig
from stvd.optimisation import Progress, optimise
from stvd.training import grid_contract, training_record
from stvd.training_config import TrainingConfig
from stvd.transforms import MM_PER_HOUR, RainTransform

EQUAL_SIZE: dict[str, UNetConfig] = {
    "tiny": UNetConfig(width=8, multipliers=(2, 3), blocks=1, head_width=8, temporal_levels=(1,)),
    "small": UNetConfig(width=8, multipliers=(6, 12, 15), temporal_levels=(0, 1, 2)),
}
"""The UNet that has as many parameters, within 5%, as both networks of a preset together."""


class RegressionConfig(BaseModel):
    """Architecture of the deterministic UNet.

    Parameters
    ----------
    inputs : channels of the upsampled conditioning x; channel 0 is precipitation
    window : frames that it sees together
    unet : its size
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: int = Field(ge=1)
    window: int = Field(5, ge=1)
    unet: UNetConfig

    @classmethod
    def equal_to(cls, preset: str, inputs: int, window: int = 5) -> RegressionConfig:
        """The UNet as large as a preset of STVD; `ValueError` for a preset that has none."""
        if preset not in EQUAL_SIZE:
            raise ValueError(
                f"no UNet is as large as preset {preset}: choose {', '.join(EQUAL_SIZE)}"
            )
        return cls(inputs=inputs, window=window, unet=EQUAL_SIZE[preset])


class Regression(nn.Module):
    """Rain rate in mm h-1: that of channel 0 of x, plus what the UNet adds.

    The rate may fall below 0 where the network errs, so that its gradient does not vanish there.
    """

    noise_correlation = 0.0  # it takes no noise

    def __init__(self, config: RegressionConfig, rain: RainTransform) -> None:
        super().__init__()
        self.config, self.rain = config, rain
        self.unet = UNet(config.unet, config.inputs, 1)

    @property
    def multiple(self) -> int:
        """Both sides of the fine grid must be a multiple of this."""
        return self.config.unet.multiple

    def forward(self, inputs: Tensor) -> Tensor:
        """x, shape (batch, time, c, y, x), to mm h-1, shape (batch, time, 1, y, x)."""
        batch, frames = inputs.shape[:2]
        added, _ = self.unet(inputs.flatten(0, 1), frames)
        given = self.rain.inverse(inputs[:, :, :1].float()) / MM_PER_HOUR
        return given + added.float().unflatten(0, (batch, frames))

    def loss(
        self,
        target: Tensor,
        inputs: Tensor,
        *,
        time: Tensor,
        noise: Tensor,
        weight: Tensor | None = None,
        mean_weight: float = 0.0,
    ) -> Tensor:
        """Mean absolute error, mm h-1, over cells of weight 1; what belongs to diffusion is not used.

        Parameters
        ----------
        target : Tensor, shape (batch, time, 1, y, x), transformed rain; finite everywhere
        inputs : Tensor, shape (batch, time, c, y, x), x
        weight : Tensor that broadcasts against `target`, 0 where nothing is known of it; None is 1
        """
        rate = self.rain.inverse(target.float()) / MM_PER_HOUR
        weight = torch.ones_like(rate) if weight is None else weight.expand_as(rate)
        error = (rate - self(inputs)).abs()
        return (weight * error).sum() / weight.sum().clamp_min(1.0)

    def mean_loss(self, target: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        raise ValueError("a deterministic UNet has no mean to warm up: set mean_warmup to 0")


class RegressionCard(AnyCard):
    """What `checkpoint.json` of a deterministic UNet holds."""

    objective: Literal["unet"] = "unet"
    model: RegressionConfig


@dataclass(frozen=True)
class UNetBaseline:
    """A trained deterministic UNet as a `Downscaler` of one member.

    Windows sit on the absolute lattice of time; frames of a window that the record lacks are those
    nearest to them. Missing coarse cells enter as for STVD and leave missing fine cells. It serves any
    time step and grid spacing: what it was trained for is in `card.grid`.

    Parameters
    ----------
    card : what it is
    network : on the CPU
    device : where it runs
    """

    card: RegressionCard
    network: Regression
    device: str = field(default="cpu", kw_only=True)

    @property
    def name(self) -> str:
        return "unet"

    @property
    def digest(self) -> str:
        return self.card.digest

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> UNetBaseline:
        """Read the two files of a trained UNet.

        Raises
        ------
        CheckpointError
            If a file is missing, altered, or not of a deterministic UNet.
        """
        card = RegressionCard.read(folder)
        network = Regression(card.model, card.channels.rain)
        load_weights(network, Path(folder), card.weights_sha256)
        return cls(card, network, device=device)

    @classmethod
    def create(
        cls,
        name: str,
        network: Regression,
        channels: Channels,
        grid: GridContract,
        training: dict[str, Any],
        folder: str | Path,
    ) -> UNetBaseline:
        """Write both files and load them back."""
        RegressionCard.publish(
            folder,
            network,
            name=name,
            model=network.config,
            channels=channels,
            grid=grid,
            training=training,
        )
        return cls.load(folder)

    def sample(
        self, coarse: xr.Dataset, grid: xr.Dataset, *, members: range, seed: int
    ) -> xr.DataArray:
        """As `Downscaler.sample`; lazy records are computed window by window.

        Raises
        ------
        CheckpointError
            If the record lacks a variable or static field, or has another factor.
        ValueError
            If the network's levels do not divide the fine grid.
        """
        self._require(coarse, grid)
        pr, channels = coarse["pr"], self.card.channels
        frames = time_axis(coarse).locate(pr["time"])
        each = [without_positions(coarse[name]) for name in channels.variables]
        fields = xr.concat(each, "variable", coords="minimal", compat="override", join="override")
        fields = fields.drop_vars(["tile"], errors="ignore")
        numbers = xr.DataArray(frames, dims="time")
        if fields.chunks is not None:
            edges = np.flatnonzero(np.diff(frames // self.card.model.window)) + 1
            lengths = np.diff([0, *edges, len(frames)])
            fields = fields.chunk({"time": tuple(lengths.tolist()), "variable": -1})
            fields = fields.chunk({"tile": -1} if "tile" in pr.dims else {})
            numbers = numbers.chunk(time=tuple(lengths.tolist()))
        network = copy.deepcopy(self.network).to(self.device)
        set_wrap_x(network, is_periodic(grid))
        out = xr.apply_ufunc(
            self._windows,
            fields,
            numbers,
            kwargs={
                "network": network,
                "statics": _statics(grid, channels.statics),
                "periodic_x": is_periodic(grid),
            },
            input_core_dims=[["variable", "y", "x"], []],
            output_core_dims=[["y", "x"]],
            exclude_dims={"y", "x"},
            dask="parallelized",
            dask_gufunc_kwargs={"output_sizes": {d: grid.sizes[d] for d in ("y", "x")}},
            output_dtypes=[np.float32],
        ).expand_dims("member")
        comment = f"deterministic UNet {self.card.name}, mean absolute error"
        return finished(out, pr, grid, members=range(1), comment=comment)

    def _require(self, coarse: xr.Dataset, grid: xr.Dataset) -> None:
        channels = self.card.channels
        missing = [v for v in channels.variables if v not in coarse]
        missing += [s for s in channels.statics if s not in grid]
        if missing:
            raise CheckpointError(
                f"the record has no {', '.join(missing)}, which {self.card.name} was trained with"
            )
        if (factor := fine_cells(coarse["pr"], grid)) != channels.factor:
            raise CheckpointError(f"factor {factor}: {self.card.name} has factor {channels.factor}")
        if any(grid.sizes[d] % self.network.multiple for d in ("y", "x")):
            raise ValueError(
                f"the fine grid {grid.sizes['y']} × {grid.sizes['x']} must have sides that are "
                f"multiples of {self.network.multiple}, the levels of {self.card.name}"
            )

    def _windows(
        self,
        coarse: np.ndarray,
        frames: np.ndarray,
        *,
        network: Regression,
        statics: np.ndarray | None,
        periodic_x: bool,
    ) -> np.ndarray:
        """Shape (time, [tile,] variable, y, x) to ([tile,] fine y, x) of whole windows of frames."""
        tiled = coarse.ndim == 5
        coarse = coarse if tiled else coarse[:, None]
        frames = frames.reshape(-1)
        length, channels = self.card.model.window, self.card.channels
        out = np.empty((*coarse.shape[:2], *(n * channels.factor for n in coarse.shape[-2:])), "f4")
        for number in np.unique(frames // length):
            there = np.flatnonzero(frames // length == number)
            place = frames[there] - number * length
            nearest = there[np.abs(np.arange(length)[:, None] - place).argmin(axis=1)]
            for tile in range(coarse.shape[1]):
                given = torch.from_numpy(coarse[nearest, tile].astype(np.float32))
                fixed = None if statics is None else torch.from_numpy(statics[tile % len(statics)])
                x = channels.inputs(given, fixed, periodic_x=periodic_x)
                with torch.inference_mode():
                    rate = network(x[None].to(self.device))[0, :, 0].cpu().numpy()
                out[there, tile] = rate[place]
        out = np.maximum(out, 0.0) * np.float32(MM_PER_HOUR)
        out[refined(~np.isfinite(coarse[:, :, 0]), channels.factor)] = np.nan
        return out if tiled else out[:, 0]


def _statics(grid: xr.Dataset, names: tuple[str, ...]) -> np.ndarray | None:
    """Static fields, shape (tile, static, y, x), with one tile where the grid has none."""
    if not names:
        return None
    each = [grid[n].transpose(..., "y", "x").values.astype(np.float32) for n in names]
    stacked = np.stack(each, axis=-3)
    return stacked if stacked.ndim == 4 else stacked[None]


def train_unet(
    name: str,
    model: RegressionConfig,
    channels: Channels,
    events: list[Event],
    config: TrainingConfig,
    out: str | Path,
    *,
    device: str = "cpu",
    on_log: Callable[[Progress], None] | None = None,
    log_every: int = 50,
) -> UNetBaseline:
    """Train the deterministic UNet with the loop, crops and settings of STVD; resumable as that is.

    Raises
    ------
    ValueError
        If a setting of the diffusion is not at rest, `out` holds the state of another training, or the
        crop does not fit network and factor.
    """
    require_deterministic(config)
    torch.manual_seed(config.seed)
    network = Regression(model, channels.rain).to(device)
    set_recompute(network, config.recompute)
    optimise(network, model, channels, events, config, out, on_log=on_log, log_every=log_every)
    grid = grid_contract(events, channels.factor)
    record = training_record(events, config, {"unet": count_parameters(network)}, device)
    return UNetBaseline.create(name, network, channels, grid, record, out)


def require_deterministic(config: TrainingConfig) -> None:
    """Raise `ValueError` unless all settings of a training that only diffusion knows are 0."""
    settings = ("shared_level", "reveal", "mean_warmup", "mean_weight")
    if wrong := [name for name in settings if getattr(config, name)]:
        raise ValueError(
            f"a deterministic UNet has no {', '.join(wrong)}: leave it out of its recipe"
        )
