"""The training loop: resumable at any step with identical results."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from stvd.checkpoint import write_atomically
from stvd.conditioning import Channels, repeat_cells
from stvd.crops import HALO, Crops
from stvd.engine import precision_on
from stvd.event import Event
from stvd.noise import correlated
from stvd.training_config import TrainingConfig

STATE = "state.safetensors"


class Progress(BaseModel):
    """What the loop reports as it goes."""

    step: int
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds_per_step: float


class Trainable(Protocol):
    """A network with its objective; `STVD` says what the arguments are."""

    @property
    def multiple(self) -> int: ...

    @property
    def noise_correlation(self) -> float: ...

    def loss(
        self,
        target: Tensor,
        inputs: Tensor,
        *,
        time: Tensor,
        noise: Tensor,
        weight: Tensor | None,
        mean_weight: float,
    ) -> Tensor: ...

    def mean_loss(self, target: Tensor, inputs: Tensor, weight: Tensor) -> Tensor: ...

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool) -> Any: ...


class Architecture(Protocol):
    """What the loop asks of the configuration of a network."""

    @property
    def window(self) -> int: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def optimise(
    network: Trainable,
    model: Architecture,
    channels: Channels,
    events: list[Event],
    config: TrainingConfig,
    out: str | Path,
    *,
    start: str | None = None,
    on_log: Callable[[Progress], None] | None = None,
    log_every: int = 50,
) -> None:
    """Train a network where it is, and leave its averaged weights in it.

    A state is saved every `save_every` steps; run again with the same arguments, training goes on from
    it and ends with the same weights, bit for bit on the same device and thread count, because batch,
    noise and noise levels are functions of (seed, step).

    Parameters
    ----------
    start : what the weights of `network` are of: digest of a checkpoint, if any, and of what is made of it

    Raises
    ------
    ValueError
        If `out` holds the state of another training, or the crop does not fit network and factor.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if config.crop % math.lcm(network.multiple, channels.factor):
        raise ValueError(
            f"crop {config.crop} must be a multiple of {math.lcm(network.multiple, channels.factor)}: "
            "the model's levels and the factor"
        )
    loop = _Loop(network, config, _identity(model, channels, events, config, start))
    loop.resume(out / STATE)
    crops = config.crops(
        events,
        model.window,
        channels.factor,
        roughness=channels.roughness,
        texture=channels.texture is not None,
    )
    clock, since = time.perf_counter(), loop.step
    losses: list[Tensor] = []
    while loop.step < config.steps:
        target, inputs = _batch(crops, channels, config, loop.step, loop.device)
        loss, norm = loop.advance(target, inputs)
        losses.append(loss)
        if loop.step % config.save_every == 0 or loop.step == config.steps:
            loop.save(out / STATE)
        if on_log and (loop.step % log_every == 0 or loop.step == config.steps):
            on_log(
                Progress(
                    step=loop.step,
                    steps=config.steps,
                    loss=float(torch.stack(losses).mean()),
                    gradient_norm=float(norm),
                    learning_rate=loop.learning_rate(loop.step - 1),
                    seconds_per_step=(time.perf_counter() - clock) / (loop.step - since),
                )
            )
            clock, since, losses = time.perf_counter(), loop.step, []
    loop.take_average()


def _batch(
    crops: Crops, channels: Channels, config: TrainingConfig, step: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    coarse, statics, truth, exponent, texture = crops.batch(config.seed, step, config.batch)
    edge = HALO * channels.factor
    # Truth under a coarse cell without data is not scored: the model is not told what rained there.
    known = repeat_cells(coarse[:, :, :1].isfinite(), channels.factor)[..., edge:-edge, edge:-edge]
    truth = truth.where(known, float("nan"))
    fields = channels.model_copy(update={"statics": ()})
    x = fields.inputs(coarse, None, periodic_x=False, exponent=exponent, texture=texture)
    x = x[..., edge:-edge, edge:-edge]
    if statics is not None:
        fixed = channels.scale_statics(statics)
        x = torch.cat([x, fixed[:, None].expand(-1, x.shape[1], -1, -1, -1)], dim=2)
    return channels.rain.forward(truth).to(device), x.to(device)


def _levels(
    shape: tuple[int, ...], config: TrainingConfig, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Diffusion time of every frame, and which frames are known, both of shape (batch, time)."""
    batch, frames = shape
    level = torch.rand(batch, frames, generator=draw)
    choice = torch.rand(batch, 3 if config.reveal else 1, generator=draw)
    shared = choice[:, :1] < config.shared_level
    level = torch.where(shared, level[:, :1], level)
    known = torch.zeros(batch, frames, dtype=torch.bool)
    if config.reveal and frames > 2:
        revealed = choice[:, 1] < config.reveal
        known[:, 0] = revealed & (choice[:, 2] < 0.8)
        known[:, -1] = revealed & ((choice[:, 2] < 0.6) | (choice[:, 2] >= 0.8))
    return level.where(~known, 0.0), known


class _Loop:
    """Weights, their average and Adam's moments, moved on by one step at a time."""

    def __init__(self, network: Trainable, config: TrainingConfig, identity: str) -> None:
        self.network, self.config, self.identity = network, config, identity
        self.step = 0
        self.parameters = dict(network.named_parameters())
        self.average = {k: v.detach().clone() for k, v in self.parameters.items()}
        self.optimiser = torch.optim.Adam(self.parameters.values(), lr=config.learning_rate)
        self.device = next(iter(self.parameters.values())).device
        self.bfloat16 = precision_on(self.device.type, config.precision) == "bfloat16"

    def learning_rate(self, step: int) -> float:
        c = self.config
        if step < c.warmup:
            return c.learning_rate * (step + 1) / c.warmup
        done = (step - c.warmup) / max(1, c.steps - c.warmup)
        half = 0.5 * (1 + math.cos(math.pi * done))
        return c.final_learning_rate + (c.learning_rate - c.final_learning_rate) * half

    def advance(self, target: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns the loss and the norm of its gradient."""
        c = self.config
        draw = torch.Generator().manual_seed((c.seed << 32) + self.step)
        level, known = _levels(target.shape[:2], c, draw)
        hidden = ~known[:, :, None, None, None]
        noise = torch.randn(target.shape, generator=draw)
        noise = correlated(noise, self.network.noise_correlation).where(hidden, 0.0)
        level, noise, hidden = (t.to(self.device) for t in (level, noise, hidden))
        valid = target.isfinite().to(target.dtype)
        target = target.nan_to_num(nan=0.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            if self.step < c.mean_warmup:
                loss = self.network.mean_loss(target, inputs, valid)
            else:
                loss = self.network.loss(
                    target,
                    inputs,
                    time=level,
                    noise=noise,
                    weight=valid * hidden,
                    mean_weight=c.mean_weight,
                )
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {float(loss)} at step {self.step}: lower the learning rate, or look for "
                "unphysical values in the training data"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for parameter in self.parameters.values():
            if parameter.grad is None:  # M, while μ warms up: one count of steps serves all
                parameter.grad = torch.zeros_like(parameter)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), c.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimiser.step()
        self.step += 1
        # A young average forgets its random start faster.
        decay = min(c.ema, self.step / (self.step + 10))
        for key, average in self.average.items():
            average.lerp_(self.parameters[key].detach(), 1 - decay)
        return loss.detach(), norm.detach()

    def take_average(self) -> None:
        self.network.load_state_dict(self.average, strict=False)

    def save(self, path: Path) -> None:
        """Everything in one file, replaced in one move."""
        tensors = {f"weight/{k}": v.detach() for k, v in self.parameters.items()}
        tensors |= {f"average/{k}": v for k, v in self.average.items()}
        for key, parameter in self.parameters.items():
            moments = self.optimiser.state[parameter]
            tensors[f"first/{key}"] = moments["exp_avg"]
            tensors[f"second/{key}"] = moments["exp_avg_sq"]
        whole = {k: v.contiguous().cpu() for k, v in tensors.items()}
        write_atomically(path, save(whole, {"identity": self.identity, "step": str(self.step)}))

    def resume(self, path: Path) -> None:
        if not path.exists():
            return
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            if metadata["identity"] != self.identity:
                raise ValueError(
                    f"{path} belongs to a training with another model, data or configuration: choose "
                    "another output folder, or remove that file to start again"
                )
            self.step = int(metadata["step"])
            with torch.no_grad():
                for key, parameter in self.parameters.items():
                    parameter.copy_(file.get_tensor(f"weight/{key}"))
                    self.average[key].copy_(file.get_tensor(f"average/{key}"))
                    self.optimiser.state[parameter] = {
                        "step": torch.tensor(float(self.step)),
                        "exp_avg": file.get_tensor(f"first/{key}").to(self.device),
                        "exp_avg_sq": file.get_tensor(f"second/{key}").to(self.device),
                    }


def _identity(
    model: Architecture,
    channels: Channels,
    events: list[Event],
    config: TrainingConfig,
    start: str | None,
) -> str:
    """What must be equal for a saved state to be continued: all but what changes no number."""
    parts = [
        model.model_dump(mode="json"),
        channels.model_dump(mode="json"),
        [
            [e.name, list(e.coarse.shape), hashlib.sha256(e.coarse.tobytes()).hexdigest()]
            for e in events
        ],
        config.model_dump(mode="json", exclude={"save_every", "recompute"}),
        start,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
