"""Invertible maps between physical rain and the numbers a network sees."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

MM_PER_HOUR = 1 / 3600
"""1 mm h-1 in kg m-2 s-1."""


class RainTransform(BaseModel):
    """y = log(1 + P / c) / s.

    Rain below c is nearly linear in y, rain above it logarithmic, and P = 0 is y = 0 exactly. The
    inverse never rains less than nothing: y ≤ 0 is 0, and so is every rate below `dry`.

    Parameters
    ----------
    c : kg m-2 s-1, where the map turns from linear to logarithmic
    s : standard deviation of the interpolation residual of log(1 + P / c) over the training data, so
        that the diffusion sees a residual of about unit variance
    dry : kg m-2 s-1, rates below it are no rain
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    c: float = Field(0.1 * MM_PER_HOUR, gt=0)
    s: float = Field(1.0, gt=0)
    dry: float = Field(0.01 * MM_PER_HOUR, ge=0)

    def forward(self, rate: Tensor) -> Tensor:
        """Rate in kg m-2 s-1, ≥ 0, to y; any shape."""
        return (rate / self.c).log1p() / self.s

    def inverse(self, y: Tensor) -> Tensor:
        """y to rate in kg m-2 s-1, ≥ 0; any shape."""
        rate = self.c * (y * self.s).expm1()
        return rate.where(rate >= self.dry, 0.0).clamp_min(0.0)
