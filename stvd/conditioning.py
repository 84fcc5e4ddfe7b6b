"""From coarse fields to the channels of x: transform, interpolate to the fine grid, add orography."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from stvd.structure import scaling_exponent, squared_increments
from stvd.transforms import RainTransform

ROUGHNESS = "roughness"
TEXTURE = "texture"
"""Names of the scaling exponents of coarse and of fine rain among the scales."""


class Standard(BaseModel):
    """(value − mean) / std of one variable, in its own units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    std: float

    def forward(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.std


class Texture(BaseModel):
    """Scaling exponents (`stvd.structure`) of the fine rain that was trained on.

    Parameters
    ----------
    low, high : their range; what is asked for is held within it
    usual : intercept and slope of the line that gives the exponent of fine rain from that of coarse rain,
        where none is asked for
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    usual: tuple[float, float]

    def of(self, asked: Tensor | None, exponent: Tensor) -> Tensor:
        """The exponent to tell the model, given that of the coarse rain."""
        intercept, slope = self.usual
        wanted = intercept + slope * exponent if asked is None else asked.to(exponent)
        return wanted.clamp(self.low, self.high)


class Channels(BaseModel):
    """Which variables make x and how each is scaled.

    Parameters
    ----------
    rain : transform of precipitation, both coarse and fine
    predictors : coarse variables beside `pr`, in channel order
    statics : fixed fine fields (`orog`, `land_fraction`), in channel order
    scales : of every predictor and static
    factor : fine cells a coarse cell, in each direction
    mask : tell the model where coarse precipitation is missing, by a channel that is 1 where it is
        there and 0 where it is NaN; it follows the predictors
    roughness : tell the model the scaling exponent of the coarse rain of a window
        (`stvd.structure`), by a constant channel after the mask
    texture : tell the model the scaling exponent of the fine rain that is wanted, by a constant channel
        after that of `roughness`, which it needs: radar products differ in how much they are smoothed
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rain: RainTransform
    predictors: tuple[str, ...] = ()
    statics: tuple[str, ...] = ()
    scales: dict[str, Standard] = {}
    factor: int = 8
    mask: bool = False
    roughness: bool = False
    texture: Texture | None = None

    @model_validator(mode="after")
    def _every_channel_has_a_scale(self) -> Channels:
        named = {*self.predictors, *self.statics}
        named |= {ROUGHNESS} if self.roughness else set()
        named |= {TEXTURE} if self.texture else set()
        missing = named - set(self.scales)
        if self.texture and not self.roughness:
            raise ValueError("texture needs roughness: it is taken from it where none is asked for")
        if missing:
            raise ValueError(f"no scale for {', '.join(sorted(missing))}")
        return self

    def gone_on(self, fitted: Channels) -> Channels:
        """These, for a training that goes on with records that `fitted` was fitted to.

        Every scale stays, so that the network finds its inputs as they were; the range of textures
        becomes that of both, and the transform does not end in a line (`linear_from`).

        Raises
        ------
        ValueError
            If the two have other variables, another factor or another kind of transform.
        """
        if fitted._described != self._described:
            raise ValueError(
                f"the checkpoint to go on from has {self._described}; the recipe has "
                f"{fitted._described}: make them equal, or train from the beginning"
            )
        rain = self.rain.model_copy(update={"linear_from": None})
        if not (self.texture and fitted.texture):
            return self.model_copy(update={"rain": rain})
        low = min(self.texture.low, fitted.texture.low)
        high = max(self.texture.high, fitted.texture.high)
        texture = self.texture.model_copy(update={"low": low, "high": high})
        return self.model_copy(update={"rain": rain, "texture": texture})

    @property
    def _described(self) -> str:
        """Inputs, factor and kind of transform."""
        flags = [name for name in ("mask", "roughness", "texture") if getattr(self, name)]
        named = [*self.variables, *self.statics, *flags]
        rain = self.rain.model_dump(include={"kind", "c", "power", "dry"})
        said = ", ".join(f"{key} {value}" for key, value in rain.items())
        return f"the inputs {', '.join(named)} at factor {self.factor}, the transform {said}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The coarse variables needed, `pr` first."""
        return ("pr", *self.predictors)

    @property
    def channels(self) -> int:
        flags = self.mask + self.roughness + (self.texture is not None)
        return 1 + len(self.predictors) + flags + len(self.statics)

    def inputs(
        self,
        coarse: Tensor,
        statics: Tensor | None,
        *,
        periodic_x: bool,
        exponent: Tensor | None = None,
        texture: Tensor | None = None,
    ) -> Tensor:
        """Build x. Missing coarse values (NaN) enter as no rain, and as the mean of a predictor.

        Parameters
        ----------
        coarse : Tensor, shape (..., time, variable, y / factor, x / factor), physical units, `variables`
        statics : Tensor, shape (..., static, y, x), physical units, or None without statics
        periodic_x : x is a whole circle of longitude
        exponent : Tensor, shape (...), scaling exponent of each window; None computes it from `coarse`,
            which is right if that is the whole domain
        texture : Tensor, shape () or (...), scaling exponent of the fine rain that is wanted; None is the
            usual one (`Texture`)

        Returns
        -------
        Tensor, shape (..., time, channel, y, x)
        """
        scaled = [self.rain.forward(coarse[..., 0, :, :])]
        scaled += [
            self.scales[name].forward(coarse[..., i + 1, :, :])
            for i, name in enumerate(self.predictors)
        ]
        known = torch.stack(scaled, dim=-3).nan_to_num(nan=0.0)
        x = upsample(known, self.factor, periodic_x=periodic_x)
        if self.mask:
            valid = coarse[..., :1, :, :].isfinite().to(x.dtype)
            x = torch.cat([x, repeat_cells(valid, self.factor)], dim=-3)
        if self.roughness:
            if exponent is None:
                exponent = scaling_exponent(squared_increments(coarse[..., 0, :, :]).mean(-2))
            x = _with_constant(x, self.scales[ROUGHNESS].forward(exponent.to(x)))
            if self.texture:
                told = self.texture.of(texture, exponent.to(x))
                x = _with_constant(x, self.scales[TEXTURE].forward(told))
        if not self.statics:
            return x
        assert statics is not None
        fixed = self.scale_statics(statics)
        fixed = fixed.unsqueeze(-4).expand(*x.shape[:-3], *fixed.shape[-3:])
        return torch.cat([x, fixed], dim=-3)

    def scale_statics(self, statics: Tensor) -> Tensor:
        """Static fields, shape (..., static, y, x), physical units to scaled."""
        each = [self.scales[n].forward(statics[..., i, :, :]) for i, n in enumerate(self.statics)]
        return torch.stack(each, dim=-3)


def _with_constant(x: Tensor, value: Tensor) -> Tensor:
    """x, shape (..., time, channel, y, x), with a channel of one value a window, shape () or (...)."""
    value = value.expand(x.shape[:-4])[..., None, None, None, None]
    return torch.cat([x, value.expand(*x.shape[:-3], 1, *x.shape[-2:])], dim=-3)


def repeat_cells(coarse: Tensor, factor: int) -> Tensor:
    """Every coarse cell as `factor` × `factor` equal fine ones, shape (..., y · factor, x · factor)."""
    return coarse.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def upsample(coarse: Tensor, factor: int, *, periodic_x: bool = False) -> Tensor:
    """Bicubic interpolation (Keys 1981, a = −1/2: exact on a ramp) to a grid `factor` times finer.

    Parameters
    ----------
    coarse : Tensor, shape (..., y, x)
    factor : fine cells a coarse cell
    periodic_x : interpolate across the seam of longitude; else edge cells are repeated

    Returns
    -------
    Tensor, shape (..., y · factor, x · factor)
    """
    halo = 2  # the reach of a cubic kernel
    fields = coarse.reshape(-1, 1, *coarse.shape[-2:])
    fields = F.pad(fields, (0, 0, halo, halo), mode="replicate")
    fields = F.pad(fields, (halo, halo, 0, 0), mode="circular" if periodic_x else "replicate")
    # `antialias` changes nothing when refining but the kernel: a = −1/2 in place of −3/4.
    fields = F.interpolate(
        fields, scale_factor=factor, mode="bicubic", align_corners=False, antialias=True
    )
    edge = halo * factor
    fields = fields[..., edge:-edge, edge:-edge]
    return fields.reshape(*coarse.shape[:-2], *fields.shape[-2:])
