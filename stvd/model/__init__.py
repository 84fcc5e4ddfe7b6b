"""The STVD network, its diffusion process and its presets."""

from stvd.model.presets import preset
from stvd.model.stvd import STVD, Conditioning, ModelConfig
from stvd.model.unet import UNetConfig

__all__ = ["STVD", "Conditioning", "ModelConfig", "UNetConfig", "preset"]
