"""Where and how the network runs, and how much of the work shares a network call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch
from pydantic import BaseModel, ConfigDict, Field

from stvd.model import STVD

Precision = Literal["auto", "float32", "bfloat16"]

KEPT = 0.25
"""Share of the memory that what μ says of tiles may take; what is more is computed at every call."""
CPU_BATCH = 2**27
"""Bytes of activations a call on a CPU, which gains nothing by more: they leave its caches
(`benchmarks/batches.py`)."""


class Engine(BaseModel):
    """Where and how the network runs; nothing here is meant to change the numbers.

    Parameters
    ----------
    device : `auto` takes CUDA, then Apple's MPS, then the CPU
    precision : `auto` takes bfloat16 where the device computes in it
    memory_gib : budget of a batch; None takes a quarter of the memory of the CPU, 0.6 of a GPU's. A call on a
        CPU has no more than `CPU_BATCH` of it
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = "auto"
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
        precision = precision_on(device, self.precision)
        memory = self.memory_gib or _memory_bytes(device) / 2**30
        return Engine(device=device, precision=precision, memory_gib=memory)


def precision_on(device: str, precision: Precision) -> Precision:
    """The precision with `auto` decided: bfloat16 where the device computes in it, else float32."""
    if precision != "auto":
        return precision
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return "bfloat16" if fast else "float32"


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
    """How many tiles of a window and members of each share a network call."""

    tiles: int
    members: int

    def smaller(self) -> BatchPlan | None:
        """The next one to try where this one does not fit in memory; None after the smallest."""
        if self.tiles > 1:
            return BatchPlan(self.tiles // 2, self.members)
        return BatchPlan(1, self.members // 2) if self.members > 1 else None


def windows_held(calls: int) -> int:
    """Windows that are in work at once: one every second call, and those between (`stvd.window_chain`)."""
    return 2 * calls + 1


def plan_batches(
    network: STVD,
    shape: tuple[int, int],
    *,
    calls: int,
    tiles: int,
    members: int,
    memory_gib: float,
    device: str,
) -> BatchPlan:
    """The largest batch whose activations fit the budget beside what is held: members first, then tiles.

    On a CPU it has no more than `CPU_BATCH`, unless a single sample has.

    Parameters
    ----------
    shape : fine cells (y, x) of a tile, its halo included
    calls : of the network a sample
    tiles : of a frame
    members : of the ensemble
    """
    budget = memory_gib * 2**30
    budget -= min(windows_held(calls) * tiles * condition_bytes(network, shape), KEPT * budget)
    budget -= members * tiles * field_bytes(network, shape, calls)
    call = sample_bytes(network, shape)
    if device == "cpu":
        budget = min(budget, CPU_BATCH)
    if budget < members * call:
        return BatchPlan(1, max(1, int(budget / call)))
    return BatchPlan(min(tiles, int(budget / (members * call))), members)


def sample_bytes(network: STVD, shape: tuple[int, int]) -> int:
    """Memory of one (window, tile, member) of `shape` fine cells while the denoiser runs.

    It holds about 24 maps of its first level at once, in float32, and the conditioning twice
    (checked by `benchmarks/memory.py`).
    """
    config = network.config.denoiser
    maps = 24 * config.width / config.patch**2 + 2 * network.config.inputs
    return int(4 * network.config.window * shape[0] * shape[1] * maps)


def condition_bytes(network: STVD, shape: tuple[int, int]) -> int:
    """Memory of what μ says of one (window, tile): x and the features, about 3 maps of its width."""
    config = network.config
    maps = 3 * config.mean.width / config.mean.patch**2 + config.inputs
    return int(4 * config.window * shape[0] * shape[1] * maps)


def field_bytes(network: STVD, shape: tuple[int, int], calls: int) -> int:
    """Memory that a chain holds of one (tile, member) between calls, and a few fields within one.

    The noisy and the last clean field of every frame in work, the noise that frames have in common.
    """
    frames = windows_held(calls) * network.config.window
    return 4 * shape[0] * shape[1] * (2 * frames + 16 + 8 * network.config.window)
