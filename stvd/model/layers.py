"""Layers of the video UNet: frames are folded into the batch, so every tensor is (batch·time, c, y, x)."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Conv2d(nn.Conv2d):
    """3×3-style convolution, "same" padding, that can wrap around in x.

    `wrap_x` is set at run time by `set_wrap_x`: a network trained on crops serves a whole circle of
    longitude without an edge. Outside a circle, and in y, the padding is zero.
    """

    def __init__(self, inputs: int, outputs: int, size: int, standardise: bool = False) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.standardise = standardise
        self.wrap_x = False

    def forward(self, input: Tensor) -> Tensor:
        weight = _standardised(self.weight) if self.standardise else self.weight
        edge = self.kernel_size[0] // 2
        if self.wrap_x and edge:
            input = F.pad(input, (edge, edge, 0, 0), mode="circular")
            return F.conv2d(input, weight, self.bias, padding=(edge, 0))
        return F.conv2d(input, weight, self.bias, padding=edge)


class Down(nn.Module):
    """Half the resolution: pixel-unshuffle and a 1×1 convolution, written as a strided one."""

    def __init__(self, channels: int, outputs: int | None = None) -> None:
        super().__init__()
        outputs = outputs or channels
        self.weight = nn.Parameter(torch.empty(outputs, 4 * channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(len(self.weight), x.shape[1], 2, 2)
        return F.conv2d(x, weight, self.bias, stride=2)


def _standardised(weight: Tensor) -> Tensor:
    """Zero mean and unit variance over each output filter (Qiao et al. 2019, eq. 3)."""
    full = weight.float()
    mean = full.mean(dim=(1, 2, 3), keepdim=True)
    variance = full.var(dim=(1, 2, 3), unbiased=False, keepdim=True)
    return ((full - mean) * torch.rsqrt(variance + 1e-5)).to(weight.dtype)


def set_wrap_x(network: nn.Module, wrap: bool) -> None:
    """Make every convolution of `network` periodic in x, or not."""
    for module in network.modules():
        if isinstance(module, Conv2d):
            module.wrap_x = wrap


class Recomputable(nn.Module):
    """A network that can forget the insides of its blocks and compute them again for the gradient.

    `recompute` is set at run time by `set_recompute`. It changes neither results nor parameters: it saves
    most of the memory of a training step for about a third more arithmetic.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recompute = False

    def run(self, part: nn.Module, *arguments: Any) -> Tensor:
        """`part(*arguments)`."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(part, *arguments, use_reentrant=False)
        return part(*arguments)


def set_recompute(network: nn.Module, recompute: bool) -> None:
    """Make every UNet of `network` recompute its blocks in the backward pass, or not."""
    for module in network.modules():
        if isinstance(module, Recomputable):
            module.recompute = recompute


class GroupNorm(nn.Module):
    """Group normalisation, optionally followed by FiLM (a scale and a shift per sample and channel).

    Equal to `torch.nn.GroupNorm`, whose backward in channels-last bfloat16 is far slower on a CPU than
    these plain reductions over a channels-last view; without a gradient the library's own is used.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x, shape (b, c, y, x); `film` is (scale − 1, shift), each (b, c)."""
        if torch.is_grad_enabled():
            scale, shift = self._affine(x)
        else:
            x = F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
            if film is None:
                return x
            scale, shift = torch.ones_like(film[0]), torch.zeros_like(film[1])
        if film is not None:
            scale, shift = scale * (1 + film[0]), shift * (1 + film[0]) + film[1]
        b, c, h, w = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
        out = torch.addcmul(shift[:, None, :].to(x.dtype), flat, scale[:, None, :].to(x.dtype))
        return out.view(b, h, w, c).permute(0, 3, 1, 2)

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, each (b, c), that normalise x."""
        b, c, h, w = x.shape
        # Sums per channel first: one contiguous reduction, then a tiny one over the channels of a group.
        flat = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
        mean = flat.mean(dim=1, dtype=torch.float32)
        square = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float32) ** 2 / (h * w)
        group_mean = mean.view(b, self.groups, -1).mean(-1, keepdim=True)
        group_square = square.view(b, self.groups, -1).mean(-1, keepdim=True)
        scale = torch.rsqrt((group_square - group_mean**2).clamp_min(0) + self.eps)
        scale = scale.expand(-1, -1, c // self.groups).reshape(b, c) * self.weight
        shift = self.bias - group_mean.expand(-1, -1, c // self.groups).reshape(b, c) * scale
        return scale, shift


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each cell (Ba et al. 2016), optionally followed by FiLM.

    What it makes of a cell depends on that cell alone, so that a network of it serves any domain as it
    serves the crops of its training, dry surroundings or none, and tiles agree where they overlap.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, film: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x, shape (b, c, y, x); `film` is (scale − 1, shift), each (b, c)."""
        # Autocast would compute bfloat16 in float32; the kernel accumulates in it as it is.
        cast = x.dtype != torch.float32  # the meta device has no autocast to turn off
        with torch.autocast(x.device.type, enabled=False) if cast else nullcontext():
            cells = x.permute(0, 2, 3, 1)
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            out = F.layer_norm(cells, weight.shape, weight, bias, self.eps)
            if film is not None:
                scale, shift = (f[:, None, None, :].to(x.dtype) for f in film)
                out = torch.addcmul(shift, out, 1 + scale)
            return out.permute(0, 3, 1, 2)


class NoiseEmbedding(nn.Module):
    """Random Fourier features of the log signal-to-noise ratio, then a two-layer perceptron."""

    frequencies: Tensor

    def __init__(self, width: int, features: int = 16) -> None:
        super().__init__()
        fixed = torch.Generator().manual_seed(0)
        # Rounded, so that a checkpoint stores them exactly.
        self.register_buffer("frequencies", torch.randn(features, generator=fixed).half().float())
        self.mlp = nn.Sequential(nn.Linear(2 * features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, log_snr: Tensor) -> Tensor:
        phase = 2 * math.pi * (log_snr[..., None] / 8.0) * self.frequencies
        return self.mlp(torch.cat([phase.sin(), phase.cos()], dim=-1))


class ResBlock(nn.Module):
    """(weight-standardised 3×3 conv, norm, [FiLM], SiLU) twice, with a skip.

    `norm` is `group` (8 groups of channels, over the whole frame) or `channel` (each cell by itself).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int | None,
        norm: Literal["group", "channel"] = "group",
    ) -> None:
        super().__init__()
        new = ChannelNorm if norm == "channel" else partial(GroupNorm, 8)
        self.conv1 = Conv2d(inputs, outputs, 3, standardise=True)
        self.norm1 = new(outputs)
        self.conv2 = Conv2d(outputs, outputs, 3, standardise=True)
        self.norm2 = new(outputs)
        self.film = nn.Linear(embedding, 2 * outputs) if embedding else None
        self.skip = Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(
        self, x: Tensor, embedding: Tensor | None = None, joined: Tensor | None = None
    ) -> Tensor:
        """x, and channels `joined` to it; they come apart so that a caller need not keep their union."""
        film = None
        if joined is not None:
            x = torch.cat([x, joined], dim=1)
        if self.film is not None:
            assert embedding is not None
            scale, shift = self.film(embedding).float().chunk(2, dim=1)
            film = (scale, shift)
        h = F.silu(self.norm1(self.conv1(x), film))
        h = F.silu(self.norm2(self.conv2(h)))
        return h + self.skip(x)


class _Attention(nn.Module):
    """What the attentions share: a norm, one projection to q, k, v and one back."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, channels)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, tokens, c) to three of (n, heads, tokens, head width)."""
        n, length, _ = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).view(n, length, 3, self.heads, -1).unbind(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def merge(self, heads: Tensor) -> Tensor:
        return self.out(heads.transpose(1, 2).flatten(2))


class SpatialAttention(_Attention):
    """Full attention over the cells of each frame."""

    def forward(self, x: Tensor, frames: int) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.project(x.permute(0, 2, 3, 1).reshape(b, h * w, c))
        out = self.merge(F.scaled_dot_product_attention(q, k, v))
        return x + out.view(b, h, w, c).permute(0, 3, 1, 2)


class LinearAttention(_Attention):
    """Attention linear in the number of cells (Shen et al. 2021), over each frame."""

    def forward(self, x: Tensor, frames: int) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.project(x.permute(0, 2, 3, 1).reshape(b, h * w, c))
        context = k.softmax(dim=-2).transpose(-1, -2) @ v
        # The scale goes to the small matrix: q, of every cell, need not be kept twice for the gradient.
        out = self.merge(q.softmax(dim=-1) @ (context * q.shape[-1] ** -0.5))
        return x + out.view(b, h, w, c).permute(0, 3, 1, 2)


class TemporalAttention(_Attention):
    """Attention over the frames of each cell, with a learned bias per distance in time.

    Distances beyond `reach` share the outermost bias, so that any number of frames can be attended.
    Without `ordered` there is no bias, as published: the frames are then a set.
    """

    reach = 16

    def __init__(self, channels: int, heads: int, head_width: int, ordered: bool = True) -> None:
        super().__init__(channels, heads, head_width)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * self.reach + 1)) if ordered else None

    def forward(self, x: Tensor, frames: int) -> Tensor:
        bt, c, h, w = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(-1, frames, h * w, c).transpose(1, 2)
        tokens = tokens.reshape(-1, frames, c)
        q, k, v = self.project(tokens)
        mask = None
        if self.bias is not None:
            steps = torch.arange(frames, device=x.device)
            distance = (steps[None, :] - steps[:, None]).clamp(-self.reach, self.reach) + self.reach
            mask = self.bias[:, distance].to(q.dtype)
        # Written out: for a handful of frames this beats a fused kernel, forward and backward.
        score = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        weight = (score if mask is None else score + mask).softmax(dim=-1)
        out = self.merge(weight @ v).view(bt // frames, h * w, frames, c).transpose(1, 2)
        return x + out.reshape(bt, h, w, c).permute(0, 3, 1, 2)
