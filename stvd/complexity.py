"""What a model costs: parameters, arithmetic and memory, found without executing it.

The networks run on PyTorch's meta device, where tensors have shapes and no values: the operations are
those of a real run, so their arithmetic can be counted and the tensors that are alive at once added up.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from stvd.checkpoint import count_parameters
from stvd.model import STVD, ModelConfig
from stvd.model.layers import set_recompute
from stvd.sampling import SamplerConfig


class Parameters(BaseModel, frozen=True):
    """Numbers that are trained."""

    mean: int
    denoiser: int
    total: int


class Flops(BaseModel, frozen=True):
    """Floating-point operations of convolutions and matrix products; a multiplication and an addition are two.

    Parameters
    ----------
    mean, denoiser : forward, one window, one member
    sample : μ once, then the denoiser as often as the sampler calls it
    training_step : forward and backward, one window
    """

    mean: int
    denoiser: int
    sample: int
    training_step: int


class Memory(BaseModel, frozen=True):
    """Bytes in float32. The peaks are tensors alive at once, without what a kernel needs for itself.

    Parameters
    ----------
    weights : of both networks
    sample : weights, conditioning and the denoiser's activations, one window, one member
    training_step : weights, their gradients, Adam's two moments, the moving average, and activations
    training_step_recompute : the same with blocks recomputed in the backward pass (`set_recompute`)
    """

    weights: int
    sample: int
    training_step: int
    training_step_recompute: int


class Complexity(BaseModel):
    """Cost of one window of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: int
    frames: int
    size: tuple[int, int]
    network_calls: int
    parameters: Parameters
    flops: Flops
    memory: Memory

    @classmethod
    def of(
        cls,
        model: ModelConfig,
        size: tuple[int, int],
        *,
        sampler: SamplerConfig | None = None,
    ) -> Complexity:
        """Count for a window of `size` = (y, x) fine cells.

        Raises
        ------
        ValueError
            If the networks cannot halve `size` as often as they have levels.
        """
        calls = (sampler or SamplerConfig()).steps
        with torch.device("meta"):
            network = model.build()
            if any(n < 1 or n % network.multiple for n in size):
                raise ValueError(
                    f"size {size[0]} × {size[1]}: both must be multiples of {network.multiple}, "
                    "one for every halving of the grid"
                )
            x = torch.empty(1, model.window, model.inputs, *size)
            field = torch.empty(1, model.window, 1, *size)
            level = torch.empty(1, model.window)
        weights = sum(t.nbytes for t in network.state_dict().values())
        mean, denoiser, step = _operations(network, x, field, level)
        alive = _alive_in_training(network, x, field, level)
        set_recompute(network, True)
        alive_recompute = _alive_in_training(network, x, field, level)
        parameters = [count_parameters(n) for n in (network.mean, network.denoiser)]
        kept = x.nbytes + field.nbytes
        optimiser = 3 * weights  # two moments and the moving average; gradients are among the alive
        return cls(
            inputs=model.inputs,
            frames=model.window,
            size=size,
            network_calls=calls,
            parameters=Parameters(
                mean=parameters[0], denoiser=parameters[1], total=sum(parameters)
            ),
            flops=Flops(
                mean=mean, denoiser=denoiser, sample=mean + calls * denoiser, training_step=step
            ),
            memory=Memory(
                weights=weights,
                sample=weights + kept + _alive_in_a_sample(network, x, field, level),
                training_step=weights + optimiser + kept + alive,
                training_step_recompute=weights + optimiser + kept + alive_recompute,
            ),
        )


def _operations(network: STVD, x: Tensor, field: Tensor, level: Tensor) -> tuple[int, int, int]:
    """Of μ forward, of the denoiser forward, of a training step."""
    counters = [FlopCounterMode(display=False) for _ in range(3)]
    with torch.no_grad():
        with counters[0]:
            condition = network.condition(x)
        with counters[1]:
            network.denoise(field, level, condition)
    with counters[2]:
        network.loss(field, x, time=level, noise=field).backward()
    network.zero_grad(set_to_none=True)
    mean, denoiser, step = (counter.get_total_flops() for counter in counters)
    return mean, denoiser, step


def _alive_in_a_sample(network: STVD, x: Tensor, noise: Tensor, level: Tensor) -> int:
    """Most bytes alive at once in μ and one call of the denoiser."""
    with torch.no_grad(), _Alive() as alive:
        network.denoise(noise, level, network.condition(x))
    return alive.peak


def _alive_in_training(network: STVD, x: Tensor, field: Tensor, level: Tensor) -> int:
    """Most bytes alive at once in a forward and a backward pass, gradients among them."""
    with _Alive() as alive:
        network.loss(field, x, time=level, noise=field).backward()
    network.zero_grad(set_to_none=True)
    return alive.peak


class _Alive(TorchDispatchMode):
    """Adds up the memory of the tensors that operations make, for as long as each is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        arguments = tree_leaves((args, kwargs))
        given = {id(t.untyped_storage()) for t in arguments if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if id(storage) not in given and id(storage) not in self._seen:
                    self._count(storage)
        return result

    def _count(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()

        def forget(_: Any) -> None:
            self.now -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)
