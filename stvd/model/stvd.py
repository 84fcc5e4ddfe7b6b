"""STVD: a mean downscaler μ and a denoiser M of its residual, trained as one.

Srivastava et al., "Precipitation Downscaling with Spatiotemporal Video Diffusion", NeurIPS 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from stvd.model.diffusion import alpha_sigma, log_snr_of_time, velocity
from stvd.model.layers import set_wrap_x
from stvd.model.published import PublishedUNet
from stvd.model.unet import UNet, UNetConfig


class ModelConfig(BaseModel):
    """Architecture of one STVD.

    Parameters
    ----------
    inputs : channels of the upsampled conditioning x; channel 0 is precipitation
    window : frames sampled jointly, T
    mean, denoiser : the two UNets; the same number of levels, `patch` and `layout`
    interpolation_skip : μ(x) adds its network to the interpolated precipitation (channel 0 of x)
    noise_correlation : of the noise of neighbouring frames, which is AR(1) over a window (`stvd.noise`);
        0 as published
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: int = Field(ge=1)
    window: int = Field(5, ge=1)
    mean: UNetConfig = UNetConfig(width=24, temporal_side="encoder")
    denoiser: UNetConfig = UNetConfig(width=32, temporal_side="decoder")
    interpolation_skip: bool = True
    noise_correlation: float = Field(0.0, ge=0, lt=1)

    def build(self) -> STVD:
        return STVD(self)


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser needs of a window, computed once and shared by its members.

    mean : Tensor, shape (batch, time, 1, y, x); μ(x)
    inputs : Tensor, shape (batch, time, c, y, x); x
    features : μ's encoder features, finest first, each (batch·time, c, y, x)
    """

    mean: Tensor
    inputs: Tensor
    features: list[Tensor]

    def repeat(self, members: int) -> Conditioning:
        """One copy a member, members of the same window side by side."""
        frames = self.mean.shape[1]

        def each(folded: Tensor) -> Tensor:
            windows = folded.unflatten(0, (-1, frames))
            return windows.repeat_interleave(members, dim=0).flatten(0, 1)

        return Conditioning(
            self.mean.repeat_interleave(members, dim=0),
            self.inputs.repeat_interleave(members, dim=0),
            [each(f) for f in self.features],
        )


class STVD(nn.Module):
    """The mean downscaler and the denoiser.

    All fields are in the transformed space of `stvd.transforms`; shapes are (batch, time, c, y, x).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if (config.mean.patch, config.mean.layout, len(config.mean.multipliers)) != (
            config.denoiser.patch,
            config.denoiser.layout,
            len(config.denoiser.multipliers),
        ):
            raise ValueError(
                "mean and denoiser share features: equal `patch`, `layout` and number of levels"
            )
        self.config = config
        network = PublishedUNet if config.mean.layout == "published" else UNet
        self.mean = network(config.mean, config.inputs, 1)
        self.denoiser = network(
            config.denoiser,
            config.inputs + 2,
            1,
            shared=config.mean.features,
            noise_level=True,
        )

    @property
    def multiple(self) -> int:
        """Both sides of the fine grid must be a multiple of this."""
        return max(self.config.mean.multiple, self.config.denoiser.multiple)

    @property
    def noise_correlation(self) -> float:
        """Of the noise of neighbouring frames."""
        return self.config.noise_correlation

    def wrap_x(self, wrap: bool) -> STVD:
        """Treat x as a circle of longitude, or not; returns itself."""
        set_wrap_x(self, wrap)
        return self

    def condition(self, inputs: Tensor) -> Conditioning:
        """Run μ on x, shape (batch, time, c, y, x)."""
        batch, frames = inputs.shape[:2]
        out, features = self.mean(inputs.flatten(0, 1), frames)
        mean = out.unflatten(0, (batch, frames))
        if self.config.interpolation_skip:
            mean = mean + inputs[:, :, :1]
        return Conditioning(mean, inputs, features)

    def denoise(self, noisy: Tensor, log_snr: Tensor, condition: Conditioning) -> Tensor:
        """Predict the velocity v of the residual.

        Parameters
        ----------
        noisy : Tensor, shape (batch, time, 1, y, x)
        log_snr : Tensor, shape (batch, time), noise level of every frame
        condition : of the same batch

        Returns
        -------
        Tensor, shape (batch, time, 1, y, x)
        """
        batch, frames = noisy.shape[:2]
        x = torch.cat([noisy, condition.mean, condition.inputs], dim=2)
        v, _ = self.denoiser(x.flatten(0, 1), frames, log_snr.flatten(), condition.features)
        return v.unflatten(0, (batch, frames))

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
        """‖v − M(r_n, n, c)‖² of the residual r = y − μ(x), averaged over cells.

        The gradient reaches μ through r_n, through v and through the conditioning.

        Parameters
        ----------
        target : Tensor, shape (batch, time, 1, y, x), y; finite everywhere
        inputs : Tensor, shape (batch, time, c, y, x), x
        time : Tensor, shape (batch, time), diffusion time of each frame in [0, 1]
        noise : Tensor like `target`, standard normal
        weight : Tensor that broadcasts against `target`, ≥ 0; 0 where nothing is known of the target, or
            where there is nothing to predict. None is 1
        mean_weight : of ‖y − μ(x)‖², added to the loss; 0 as published
        """
        condition = self.condition(inputs)
        weight = torch.ones_like(target) if weight is None else weight.expand_as(target)
        total = weight.sum().clamp_min(1.0)
        residual = target - condition.mean.float()
        log_snr = log_snr_of_time(time)
        level = log_snr[:, :, None, None, None]
        alpha, sigma = alpha_sigma(level)
        noisy = alpha * residual + sigma * noise
        error = velocity(residual, noise, level) - self.denoise(noisy, log_snr, condition).float()
        loss = (weight * error**2).sum() / total
        if mean_weight:
            loss = loss + mean_weight * (weight * residual**2).sum() / total
        return loss

    def mean_loss(self, target: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        """‖y − μ(x)‖², averaged over cells: the objective of μ's warm-up."""
        error = target - self.condition(inputs).mean.float()
        weight = weight.expand_as(target)
        return (weight * error**2).sum() / weight.sum().clamp_min(1.0)
