"""A network over a field in pieces: every call sees what the neighbours hold at that moment.

A sampler calls the denoiser with the state of the whole field. Each piece is taken from it with its
halo, so that neighbours agree on the rain between them, and the predictions are merged before the
sampler goes on. Only some pieces at a time pass through the network, so that its memory does not
grow with the field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stvd.halo import HaloIndex
from stvd.model import STVD, Conditioning


@dataclass(frozen=True)
class TiledConditioning:
    """What the denoiser needs of windows of a whole field, computed once and shared by members.

    mean : Tensor, shape (window·member, time, 1, rows, columns); μ(x)
    inputs : Tensor, shape (window, time, c, rows, columns); x
    groups : pieces that share a network call
    features : μ's encoder features of every group; None to compute them at every call
    members : copies of the mean
    """

    mean: Tensor
    inputs: Tensor
    groups: list[slice]
    features: list[list[Tensor]] | None
    members: int = 1

    def repeat(self, members: int) -> TiledConditioning:
        """One copy a member, members of the same window side by side."""
        mean = self.mean.repeat_interleave(members, dim=0)
        return replace(self, mean=mean, members=self.members * members)

    def regrouped(self, together: int) -> TiledConditioning:
        """The same with at most so many pieces a call; what was kept of larger groups is computed anew."""
        if self.groups[0].stop <= together:
            return self
        return replace(self, groups=_groups(self.groups[-1].stop, together), features=None)


class TiledSTVD:
    """An STVD that takes and gives whole fields, their faces stacked along y, and works in pieces.

    Parameters
    ----------
    network : the model
    index : the pieces
    keep_bytes : most memory for features kept between calls; if they need more they are computed anew
    """

    def __init__(self, network: STVD, index: HaloIndex, keep_bytes: float = 2**31) -> None:
        self.network = network.wrap_x(index.wrap_x)
        self.index, self.keep_bytes = index, keep_bytes

    def condition(self, inputs: Tensor, together: int | None = None) -> TiledConditioning:
        """Run μ on x.

        Parameters
        ----------
        inputs : Tensor, shape (window, time, c, rows, columns)
        together : pieces of a window that share a network call, here and in `denoise`; all by default
        """
        windows, step = len(inputs), together or self.index.pieces
        groups = _groups(self.index.pieces, step)
        means, features, size = [], [], 0
        for group in groups:
            part = self.network.condition(self._take(inputs, group, windows))
            means.append(self._back(part.mean.float(), windows))
            size += sum(f.nbytes for f in part.features)
            if size <= self.keep_bytes:
                features.append(part.features)
            else:
                features.clear()
        mean = self.index.merge(torch.cat(means, dim=-3))
        kept = features if size <= self.keep_bytes else None
        return TiledConditioning(mean, inputs, groups, kept)

    def denoise(self, noisy: Tensor, log_snr: Tensor, condition: TiledConditioning) -> Tensor:
        """Predict the velocity v of the residual.

        Parameters
        ----------
        noisy : Tensor, shape (window·member, time, 1, rows, columns)
        log_snr : Tensor, shape (window·member, time), noise level of every frame
        condition : of the same batch

        Returns
        -------
        Tensor, shape (window·member, time, 1, rows, columns)
        """
        windows = len(condition.inputs)
        velocities = []
        for number, group in enumerate(condition.groups):
            state = self._take(noisy, group, windows)
            levels = log_snr.unflatten(0, (windows, 1, -1))
            levels = levels.expand(-1, len(state) // len(noisy), -1, -1).flatten(0, 2)
            x = self._take(condition.inputs, group, windows)
            kept = condition.features
            features = self.network.condition(x).features if kept is None else kept[number]
            # The mean that its neighbours see too, not the one of the piece alone.
            mean = self._take(condition.mean[:: condition.members], group, windows)
            shared = Conditioning(mean, x, features).repeat(condition.members)
            v = self.network.denoise(state, levels, shared).float()
            velocities.append(self._back(v, windows, condition.members))
        return self.index.merge(torch.cat(velocities, dim=-3))

    def _take(self, field: Tensor, group: slice, windows: int) -> Tensor:
        """Pieces of (window·member, time, c, rows, columns) as (window·piece·member, time, c, y, x)."""
        pieces = self.index.gather(field, group).movedim(-3, 1)
        return pieces.unflatten(0, (windows, -1)).transpose(1, 2).flatten(0, 2)

    def _back(self, pieces: Tensor, windows: int, members: int = 1) -> Tensor:
        """The reverse, with pieces before y: (window·member, time, c, piece, y, x)."""
        split = pieces.unflatten(0, (windows, -1, members)).transpose(1, 2).flatten(0, 1)
        return split.movedim(1, -3)


def _groups(pieces: int, together: int) -> list[slice]:
    return [slice(k, min(k + together, pieces)) for k in range(0, pieces, together)]
