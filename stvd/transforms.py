"""Invertible maps between physical rain and the numbers a network sees."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.stats import halfnorm
from torch import Tensor

MM_PER_HOUR = 1 / 3600
"""1 mm h-1 in kg m-2 s-1."""


class RainTransform(BaseModel):
    """y = g(P / c) / s with g increasing and g(0) = 0.

    | kind | g(u) |
    | --- | --- |
    | `log1p` | log(1 + u) |
    | `asinh` | asinh(u) |
    | `power` | ((1 + u)^p − 1) / p, the Box–Cox transform (1964) of 1 + u; p → 0 is `log1p` |
    | `quantile` | half-normal score of u among the wet rates of the training data, linear between `knots` |

    P = 0 is y = 0 exactly. The inverse never rains less than nothing: y ≤ 0 is 0, and so is every rate
    below `dry`.

    Parameters
    ----------
    c : kg m-2 s-1, where the map turns from linear to compressing
    s : standard deviation of the interpolation residual of g over the training data, so that the
        diffusion sees a residual of about unit variance
    dry : kg m-2 s-1, rates below it are no rain
    power : p of `power`, in (0, 1]
    linear_from : kg m-2 s-1, from here on `power` goes on as the straight line of its slope there, so that an
        error of y in the far tail is one of the rate, not of the rate's p-th power; None: nowhere
    knots : (u, g) pairs of `quantile`, both increasing from (0, 0); linear beyond the last. Without any
        it is still to be fitted
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["log1p", "asinh", "power", "quantile"] = "log1p"
    c: float = Field(0.1 * MM_PER_HOUR, gt=0)
    s: float = Field(1.0, gt=0)
    dry: float = Field(0.01 * MM_PER_HOUR, ge=0)
    power: float = Field(0.25, gt=0, le=1)
    linear_from: float | None = Field(None, gt=0)
    knots: tuple[tuple[float, float], ...] = ()

    @model_validator(mode="after")
    def _only_a_power_ends_in_a_line(self) -> RainTransform:
        if self.linear_from is not None and self.kind != "power":
            raise ValueError(
                f"linear_from is of the transform power, and this one is {self.kind}: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _knots_increase(self) -> RainTransform:
        if not self.knots:  # to be fitted (`stvd.channel_scales.fit_channels`)
            return self
        if len(self.knots) < 2 or self.knots[0] != (0.0, 0.0):
            raise ValueError("a quantile transform needs two knots or more, the first at (0, 0)")
        if any(b[0] <= a[0] or b[1] <= a[1] for a, b in pairwise(self.knots)):
            raise ValueError("the knots of a quantile transform must increase")
        return self

    def forward(self, rate: Tensor) -> Tensor:
        """Rate in kg m-2 s-1, ≥ 0, to y; any shape."""
        u = rate / self.c
        match self.kind:
            case "log1p":
                y = u.log1p()
            case "asinh":
                y = u.asinh()
            case "power":
                y = self._box_cox(u)
            case "quantile":
                y = _piecewise_linear(u, *self._fitted())
        return y / self.s

    def inverse(self, y: Tensor) -> Tensor:
        """y to rate in kg m-2 s-1, ≥ 0; any shape."""
        y = (y * self.s).clamp_min(0.0)
        match self.kind:
            case "log1p":
                u = y.expm1()
            case "asinh":
                u = y.sinh()
            case "power":
                u = self._inverse_box_cox(y)
            case "quantile":
                rates, scores = self._fitted()
                u = _piecewise_linear(y, scores, rates)
        rate = self.c * u
        return rate.masked_fill(rate < self.dry, 0.0)  # NaN stays, to be seen

    def _box_cox(self, u: Tensor) -> Tensor:
        if self.linear_from is None:
            return (u.log1p() * self.power).expm1() / self.power
        start, height, slope = self._line()
        below = (u.clamp_max(start).log1p() * self.power).expm1() / self.power
        return below.where(u <= start, height + slope * (u - start))

    def _inverse_box_cox(self, y: Tensor) -> Tensor:
        if self.linear_from is None:
            return ((y * self.power).log1p() / self.power).expm1()
        start, height, slope = self._line()
        below = ((y.clamp_max(height) * self.power).log1p() / self.power).expm1()
        return below.where(y <= height, start + (y - height) / slope)

    def _line(self) -> tuple[float, float, float]:
        """u, g and g' where the line begins."""
        assert self.linear_from is not None
        start = self.linear_from / self.c
        height = math.expm1(math.log1p(start) * self.power) / self.power
        return start, height, (1 + start) ** (self.power - 1)

    def _fitted(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if not self.knots:
            raise ValueError("a quantile transform has no knots before it is fitted")
        rates, scores = zip(*self.knots, strict=True)
        return rates, scores


def half_normal_knots(
    rates: np.ndarray, wet: float, *, count: int = 64
) -> tuple[tuple[float, float], ...]:
    """Knots of a `quantile` transform with c = 1: the half-normal score of every wet quantile.

    Parameters
    ----------
    rates : ndarray, kg m-2 s-1, of the training data
    wet : kg m-2 s-1, rates from here on are ranked; below it the map is linear
    count : knots, spaced evenly in score
    """
    ordered = np.sort(rates[rates >= wet])
    if len(ordered) < 10 * count:
        raise ValueError(
            f"{len(ordered)} wet values are too few for {count} knots: use another transform"
        )
    top = halfnorm.ppf(1 - 1 / len(ordered))
    scores = np.linspace(0.25, top, count)
    values = np.quantile(ordered, halfnorm.cdf(scores - 0.25))
    knots = [(0.0, 0.0)]
    for value, score in zip(values.tolist(), scores.tolist(), strict=True):
        if value > knots[-1][0] * (1 + 1e-6) and math.isfinite(value):
            knots.append((value, score))
    return tuple(knots)


def _piecewise_linear(x: Tensor, at: tuple[float, ...], values: tuple[float, ...]) -> Tensor:
    """Interpolate linearly through the points (at, values); the last piece goes on beyond them."""
    points = torch.tensor(at, dtype=torch.float64, device=x.device)
    heights = torch.tensor(values, dtype=torch.float64, device=x.device)
    slopes = heights.diff() / points.diff()
    piece = torch.bucketize(x.detach().double(), points[1:-1], right=True)
    return (heights[piece] + slopes[piece] * (x.double() - points[piece])).to(x.dtype)
