"""A student that goes in one network call where its teacher goes in several.

Progressive distillation (Salimans & Ho 2022) in one round: the way from noise to a sample is cut into as
many segments as the student has calls. From a noisy field at the beginning of one, the teacher goes to its
end with DPM-Solver++(2M), and the student is to expect the clean field with which a single step of DDIM
arrives at the same place. The student is the denoiser M alone: μ, with the features that it
shares, stays that of the teacher. Sampled with `ddim` and its own calls, it meets the levels that it
was trained at, and no others: a distilled checkpoint is sampled in no other way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from stvd.model import STVD
from stvd.model.diffusion import alpha_sigma, clean_from_velocity
from stvd.model.stvd import Conditioning
from stvd.sampling import SamplerConfig, SolverChoice
from stvd.training_config import TrainingConfig


class Distillation(BaseModel):
    """How many calls a student has, and its teacher for each of them.

    Parameters
    ----------
    calls : of the student
    teacher_calls : of the teacher, for one call of the student
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int = Field(2, ge=1)
    teacher_calls: int = Field(4, ge=2)

    @property
    def sampler(self) -> SolverChoice:
        """The one way in which the student is sampled."""
        return SolverChoice(solver="ddim", steps=self.calls)

    def require(self, config: TrainingConfig) -> None:
        """Raise `ValueError` unless all frames of a window have one level and M alone is trained."""
        wrong = [name for name in ("reveal", "mean_warmup", "mean_weight") if getattr(config, name)]
        if wrong:
            raise ValueError(f"distillation has no {', '.join(wrong)}: leave it out of the recipe")
        if config.shared_level != 1:
            raise ValueError(
                "the frames of a window that is sampled have one noise level: distillation needs "
                "shared_level 1"
            )


class Student(nn.Module):
    """The objective of a student, for `stvd.optimisation`.

    Parameters
    ----------
    network : of the student, first with the weights of the teacher; its M is trained
    teacher : whose μ is that of `network`
    """

    def __init__(self, network: STVD, teacher: STVD, distillation: Distillation) -> None:
        super().__init__()
        self.network = network
        self.teacher = teacher.eval().requires_grad_(False)
        self.calls = distillation.calls
        steps = distillation.calls * distillation.teacher_calls
        self.way = SamplerConfig(solver="dpmpp2m", steps=steps)
        self.substeps = distillation.teacher_calls

    @property
    def multiple(self) -> int:
        return self.network.multiple

    @property
    def noise_correlation(self) -> float:
        return self.network.noise_correlation

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Those that are trained, by their names in the network."""
        for name, parameter in self.network.denoiser.named_parameters():
            yield f"denoiser.{name}", parameter

    def load_state_dict(self, state_dict: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        return self.network.load_state_dict(state_dict, strict=False)

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
        """‖v − M(x, λ, c)‖² with v the velocity of the clean field that the student is to expect.

        Parameters
        ----------
        target, inputs, noise, weight : as in `STVD.loss`
        time : Tensor, shape (batch, time), uniform in [0, 1]; that of the first frame of the first window
            draws the segment
        mean_weight : not used, μ stands
        """
        call = min(int(float(time[0, 0]) * self.calls), self.calls - 1)
        with torch.no_grad():
            condition = self.teacher.condition(inputs)
            residual = target - condition.mean.float()
            start = self.way.levels()[call * self.substeps]
            alpha, sigma = (v.to(residual) for v in alpha_sigma(start))
            noisy = alpha * residual + sigma * noise
            clean = self.expected(noisy, call, condition)
            v = (alpha * noisy - clean) / sigma
        level = start.to(noisy).expand(noisy.shape[:2])
        error = v - self.network.denoise(noisy, level, condition).float()
        weight = torch.ones_like(target) if weight is None else weight.expand_as(target)
        return (weight * error**2).sum() / weight.sum().clamp_min(1.0)

    def expected(self, noisy: Tensor, call: int, condition: Conditioning) -> Tensor:
        """The clean field with which DDIM arrives where the teacher does, by its calls of one segment.

        Parameters
        ----------
        noisy : Tensor, shape (batch, time, 1, y, x), at the beginning of the segment
        call : of the student, from 0

        Returns
        -------
        Tensor like `noisy`; the sample itself, of the last segment
        """
        state, previous = noisy, None
        levels = self.way.levels()
        first = call * self.substeps
        for step in range(first, first + self.substeps):
            level = levels[step].to(state)
            v = self.teacher.denoise(state, level.expand(state.shape[:2]), condition)
            clean = clean_from_velocity(state, v.float(), level)
            if step == self.way.steps - 1:
                return clean
            state, previous = self.way.advance(step, state, clean, previous), clean
        (alpha, sigma), (alpha_then, sigma_then) = (
            alpha_sigma(levels[k]) for k in (first, first + self.substeps)
        )
        ratio = sigma_then / sigma
        return (state - ratio.to(state) * noisy) / (alpha_then - alpha * ratio).to(state)

    def mean_loss(self, target: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        raise ValueError("a student leaves μ as it is: set mean_warmup to 0")
