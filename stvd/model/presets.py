"""Named sizes of the model."""

from __future__ import annotations

from stvd.model.stvd import ModelConfig
from stvd.model.unet import UNetConfig

PRESETS = ("tiny", "small", "paper")


def preset(name: str, inputs: int, window: int = 5) -> ModelConfig:
    """The configuration called `name` for `inputs` conditioning channels.

    `paper` has the published widths, multipliers and attentions; `small` is the size of the
    checkpoints that come with the project; `tiny` is for tests.
    """
    if name == "tiny":
        unet = UNetConfig(width=8, multipliers=(1, 2), blocks=1, head_width=8, temporal_levels=(1,))
        return ModelConfig(inputs=inputs, window=window, mean=unet, denoiser=unet)
    if name == "small":
        return ModelConfig(inputs=inputs, window=window)
    if name == "paper":
        common = UNetConfig(
            width=64,
            multipliers=(1, 1, 2, 2, 3, 4),
            patch=1,
            stem=7,
            heads=4,
            head_width=32,
            linear_levels=(0, 1, 2, 3, 4, 5),
            temporal_levels=(1, 2, 3, 4, 5),
            temporal_side="encoder",
            bottleneck_attention=True,
            ordered_frames=False,
        )
        return ModelConfig(
            inputs=inputs,
            window=window,
            mean=common,
            denoiser=common.model_copy(update={"temporal_side": "decoder"}),
            interpolation_skip=False,
        )
    raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
