"""What every channel is scaled with, fitted on training events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from stvd.conditioning import ROUGHNESS, TEXTURE, Channels, Standard, Texture, upsample
from stvd.crops import HALO, Crops
from stvd.transforms import MM_PER_HOUR, RainTransform, half_normal_knots

_FITTING = (1 << 64) - 1  # the batch that scales are fitted on; no training comes that far


def fit_channels(
    crops: Crops,
    predictors: Sequence[str],
    statics: Sequence[str],
    *,
    seed: int,
    rain: RainTransform | None = None,
    mask: bool = False,
) -> Channels:
    """Scale every channel by the statistics of the training events.

    Means and standard deviations of predictors and statics are over all their cells; the rain
    transform's `s` is the standard deviation of the interpolation residual over 64 crops, on which the
    knots of a `quantile` transform are taken too.
    """
    events = crops.events
    scales: dict[str, Standard] = {}
    for i, name in enumerate(predictors):
        scales[name] = _standard([e.coarse[:, i + 1] for e in events])
    for i, name in enumerate(statics):
        scales[name] = _standard([e.statics[i] for e in events if e.statics is not None])
    coarse, _, truth, exponent, texture = crops.batch(seed, _FITTING, 64)
    if exponent is not None:
        scales[ROUGHNESS] = Standard(mean=float(exponent.mean()), std=float(exponent.std()) or 1.0)
    trained = None
    if exponent is not None and texture is not None:
        unmagnified = float(crops.textures[:, 0].mean())
        scales[TEXTURE] = Standard(mean=unmagnified, std=float(texture.std()) or 1.0)
        trained = _textures(crops, exponent, texture)
    rain = (rain or RainTransform()).model_copy(update={"s": 1.0})
    if rain.kind == "quantile" and not rain.knots:
        rates = truth[truth.isfinite()].numpy() / rain.c
        rain = rain.model_copy(
            update={"knots": half_normal_knots(rates, 0.1 * MM_PER_HOUR / rain.c)}
        )
    interpolated = upsample(rain.forward(coarse[:, :, :1]), crops.factor)
    edge = HALO * crops.factor
    residual = rain.forward(truth) - interpolated[..., edge:-edge, edge:-edge]
    return Channels(
        rain=rain.model_copy(update={"s": float(residual[residual.isfinite()].std())}),
        predictors=tuple(predictors),
        statics=tuple(statics),
        scales=scales,
        factor=crops.factor,
        mask=mask,
        roughness=crops.roughness,
        texture=trained,
    )


def _textures(crops: Crops, exponent: Tensor, texture: Tensor) -> Texture:
    """Range of the textures of all events, and a line through those of some crops."""
    away = exponent - exponent.mean()
    slope = float((away * texture).sum() / (away**2).sum().clamp_min(1e-6))
    return Texture(
        low=float(crops.textures.min()),
        high=float(crops.textures.max()),
        usual=(float(texture.mean()) - slope * float(exponent.mean()), slope),
    )


def _standard(fields: Sequence[np.ndarray]) -> Standard:
    values = np.concatenate([f.ravel() for f in fields]).astype(np.float64)
    std = float(np.nanstd(values))
    return Standard(mean=float(np.nanmean(values)), std=std if std > 0 else 1.0)
