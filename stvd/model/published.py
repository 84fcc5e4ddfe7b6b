"""The UNet in the layout of the published model and of its authors' released configuration."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
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
from stvd.model.unet import UNetConfig


class PublishedUNet(Recomputable):
    """`UNet` as published; the same arguments, the same interface.

    It differs from `stvd.model.unet.UNet` in that

    - each of the two blocks of a level passes its output across to the decoder, and to the encoder of
      the network it shares features with, where a level of `UNet` passes its last output alone;
    - spatial attention stands between the two blocks, temporal attention behind them;
    - the width grows on the way down and shrinks on the way up, not in the blocks;
    - the bottleneck has three blocks, two of which take shared features;
    - the lowest level has temporal attention in both halves.

    Features are those of the two blocks of every level, finest first, then of the bottleneck.
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
        lower = config.channels
        upper = (config.width, *lower[:-1])
        last = len(lower) - 1
        extra = shared or (0,) * len(config.features)
        self.stem = Conv2d(inputs, upper[0], config.stem)
        self.encoder = nn.ModuleList(
            _Level(config, level, width, extra[2 * level : 2 * level + 2], embedding, "encoder")
            for level, width in enumerate(upper)
        )
        self.down = nn.ModuleList(
            Down(a, b) if level < last else Conv2d(a, b, 3)
            for level, (a, b) in enumerate(zip(upper, lower, strict=True))
        )
        self.middle = _Level(config, None, lower[-1], extra[-2:], embedding, "bottleneck")
        self.after = ResBlock(lower[-1], lower[-1], embedding, config.norm)
        self.decoder = nn.ModuleList(
            _Level(config, level, lower[level], (upper[level],) * 2, embedding, "decoder")
            for level in reversed(range(len(lower)))
        )
        self.up = nn.ModuleList(
            Conv2d(b, a, 3) for a, b in reversed([*zip(upper, lower, strict=True)])
        )
        self.final = ResBlock(2 * upper[0], upper[0], embedding, config.norm)
        self.out = Conv2d(upper[0], outputs, 1)
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
        """As `UNet.forward`."""
        embedding = self.embed(log_snr) if self.embed is not None else None

        def half(part: Any, which: int, h: Tensor, other: Tensor | None) -> Tensor:
            h = self.run(part.blocks[which], h, embedding, other)
            attention = part.attentions[which]
            return self.run(attention, h, frames) if attention is not None else h

        stem = h = self.stem(x.contiguous(memory_format=torch.channels_last))
        features: list[Tensor] = []
        for level, part in enumerate([*self.encoder, self.middle]):
            for which in (0, 1):
                other = shared[len(features)] if shared is not None else None
                h = half(part, which, h, other)
                features.append(h)
            if level < len(self.down):
                h = self.down[level](h)
        h = self.run(self.after, h, embedding)
        skips = features[:-2]
        for step, part in enumerate(self.decoder):
            for which in (0, 1):
                h = half(part, which, h, skips.pop())
            if step < len(self.up) - 1:
                h = F.interpolate(h, scale_factor=2, mode="nearest")
            h = self.up[step](h)
        h = self.run(self.final, h, embedding, stem)
        return self.out(h), features


class _Level(nn.Module):
    """Two halves, each with a block and an attention: the first over cells, the second over frames."""

    def __init__(
        self,
        config: UNetConfig,
        level: int | None,
        width: int,
        joined: tuple[int, ...],
        embedding: int | None,
        side: str,
    ) -> None:
        super().__init__()
        heads = (config.heads, config.head_width)
        self.blocks = nn.ModuleList(
            ResBlock(width + j, width, embedding, config.norm) for j in joined
        )
        spatial: nn.Module | None = None
        if level is None and config.bottleneck_attention:
            spatial = SpatialAttention(width, *heads)
        elif level in config.linear_levels:
            spatial = LinearAttention(width, *heads)
        temporal: nn.Module | None = None
        lowest = level == len(config.multipliers) - 1
        here = lowest or config.temporal_side in (side, "both")
        if level is None or (level in config.temporal_levels and here):
            temporal = TemporalAttention(width, *heads, ordered=config.ordered_frames)
        # An absent one stays in the list as None.
        self.attentions = nn.ModuleList([spatial, temporal])  # type: ignore[list-item]
