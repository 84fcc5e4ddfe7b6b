"""The UNet that serves both as mean downscaler and as denoiser."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from stvd.model.layers import (
    Conv2d,
    Down,
    LinearAttention,
    NoiseEmbedding,
    Recomputable,
    ResBlock,
    SpatialAttention,
    TemporalAttention,
)


class UNetConfig(BaseModel):
    """Size of a UNet.

    Parameters
    ----------
    layout : how blocks, skips and attentions are joined: `compact` (`UNet`) or `published`
        (`stvd.model.published.PublishedUNet`)
    width : channels of the first level
    multipliers : channels of each level in units of `width`
    patch : cells folded into channels at the entrance, 1 for none (space to depth)
    stem : kernel size of the first convolution
    blocks : residual blocks a level
    heads, head_width : of every attention
    linear_levels : levels with linear spatial attention, 0 = finest
    temporal_levels : levels with temporal attention
    temporal_side : the half of the UNet that has it
    bottleneck_attention : full spatial attention at the lowest level
    ordered_frames : temporal attention knows the order of frames
    norm : of the residual blocks: `group`, as published, whose statistics are those of the whole frame,
        or `channel`, which normalises each cell by itself
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["compact", "published"] = "compact"
    width: int = Field(32, ge=8)
    multipliers: tuple[int, ...] = (1, 2, 3)
    patch: Literal[1, 2, 4] = 2
    stem: int = 3
    blocks: int = Field(2, ge=1)
    heads: int = 4
    head_width: int = 16
    linear_levels: tuple[int, ...] = ()
    temporal_levels: tuple[int, ...] = (1, 2)
    temporal_side: Literal["encoder", "decoder", "both"] = "both"
    bottleneck_attention: bool = False
    ordered_frames: bool = True
    norm: Literal["group", "channel"] = "group"

    @model_validator(mode="after")
    def _levels_exist(self) -> UNetConfig:
        levels = range(len(self.multipliers))
        for level in (*self.linear_levels, *self.temporal_levels):
            if level not in levels:
                raise ValueError(f"level {level} does not exist: multipliers {self.multipliers}")
        if self.width % 8:
            raise ValueError(f"width {self.width} is not a multiple of 8 (the groups of the norms)")
        if self.layout == "published" and (self.blocks, self.patch) != (2, 1):
            raise ValueError(
                "the published layout has two blocks a level and no patch: set blocks 2, patch 1"
            )
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.width * m for m in self.multipliers)

    @property
    def features(self) -> tuple[int, ...]:
        """Channels of each of the features that are shared, finest first."""
        if self.layout == "compact":
            return self.channels
        upper = (self.width, *self.channels[:-1])
        return tuple(width for width in (*upper, self.channels[-1]) for _ in range(2))

    @property
    def multiple(self) -> int:
        """Both sides of the fine grid must be a multiple of this."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))


class UNet(Recomputable):
    """2-D UNet over frames folded into the batch, with factorised attention.

    Parameters
    ----------
    config : UNetConfig
    inputs, outputs : channels in and out
    shared : channels of each of another encoder's features, joined to this encoder's
    noise_level : whether a noise level modulates the blocks (FiLM)
    """

    def __init__(
        self,
        config: UNetConfig,
        inputs: int,
        outputs: int,
        shared: tuple[int, ...] | None = None,
        noise_level: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        embedding = 4 * config.width if noise_level else None
        self.embed = NoiseEmbedding(embedding) if embedding else None
        channels, patch = config.channels, config.patch
        self.stem = Conv2d(inputs * patch**2, channels[0], config.stem)
        self.encoder = nn.ModuleList()
        previous = channels[0]
        for level, width in enumerate(channels):
            joined = shared[level] if shared else 0
            self.encoder.append(
                _Level(config, level, previous + joined, width, embedding, "encoder")
            )
            previous = width
        self.down = nn.ModuleList(Down(width) for width in channels[:-1])
        self.middle = _Middle(config, channels[-1], embedding)
        self.decoder = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in reversed(range(len(channels))):
            width = channels[level]
            self.decoder.append(_Level(config, level, 2 * width, width, embedding, "decoder"))
            if level:
                self.up.append(Conv2d(width, channels[level - 1], 3))
        self.final = ResBlock(2 * channels[0], channels[0], embedding, config.norm)
        self.out = Conv2d(channels[0], outputs * patch**2, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        x: Tensor,
        frames: int,
        log_snr: Tensor | None = None,
        shared: list[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the network.

        Parameters
        ----------
        x : Tensor, shape (batch·frames, inputs, y, x)
        frames : frames a window
        log_snr : Tensor, shape (batch·frames,), the noise level, if the network has one
        shared : features of another encoder, finest first

        Returns
        -------
        Tensor, shape (batch·frames, outputs, y, x), and the encoder's features, finest first
        """
        embedding = self.embed(log_snr) if self.embed is not None else None
        if self.config.patch > 1:
            x = F.pixel_unshuffle(x, self.config.patch)
        x = x.contiguous(memory_format=torch.channels_last)
        stem = h = self.stem(x)
        features: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if shared is not None:
                h = torch.cat([h, shared[level]], dim=1)
            h = self.run(block, h, frames, embedding)
            features.append(h)
            if level < len(self.down):
                h = self.down[level](h)
        h = self.run(self.middle, h, frames, embedding)
        for step, block in enumerate(self.decoder):
            h = torch.cat([h, features[-1 - step]], dim=1)
            h = self.run(block, h, frames, embedding)
            if step < len(self.up):
                h = self.up[step](F.interpolate(h, scale_factor=2, mode="nearest"))
        h = self.run(self.final, h, embedding, stem)
        out = self.out(h)
        if self.config.patch > 1:
            out = F.pixel_shuffle(out, self.config.patch)
        return out, features


class _Level(nn.Module):
    """The blocks and attentions of one resolution on one side."""

    def __init__(
        self,
        config: UNetConfig,
        level: int,
        inputs: int,
        width: int,
        embedding: int | None,
        side: str,
    ) -> None:
        super().__init__()
        sizes = [inputs] + [width] * config.blocks
        self.blocks = nn.ModuleList(
            ResBlock(a, b, embedding, config.norm) for a, b in pairwise(sizes)
        )
        heads = (config.heads, config.head_width)
        self.attention = nn.ModuleList()
        if level in config.linear_levels:
            self.attention.append(LinearAttention(width, *heads))
        if level in config.temporal_levels and config.temporal_side in (side, "both"):
            self.attention.append(TemporalAttention(width, *heads, ordered=config.ordered_frames))

    def forward(self, x: Tensor, frames: int, embedding: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        for attention in self.attention:
            x = attention(x, frames)
        return x


class _Middle(nn.Module):
    """The bottleneck: block, spatial then temporal attention, block."""

    def __init__(self, config: UNetConfig, width: int, embedding: int | None) -> None:
        super().__init__()
        heads = (config.heads, config.head_width)
        self.before = ResBlock(width, width, embedding, config.norm)
        self.spatial = SpatialAttention(width, *heads) if config.bottleneck_attention else None
        self.temporal = TemporalAttention(width, *heads, ordered=config.ordered_frames)
        self.after = ResBlock(width, width, embedding, config.norm)

    def forward(self, x: Tensor, frames: int, embedding: Tensor | None) -> Tensor:
        x = self.before(x, embedding)
        if self.spatial is not None:
            x = self.spatial(x, frames)
        return self.after(self.temporal(x, frames), embedding)
